//! From FEC packets to source packets.

use super::header::HEADERS;
use super::{Direction, FecPacket, MAX_COLUMNS, MAX_MATRIX, MAX_ROWS};
use crate::xor::recover::{self, Cover, EXTRA_LEVELS, Engine, Limits, Refusal, Repair, Scheme, Sources};

/// The largest matrix that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimensions {
    /// L at most.
    pub columns: u8,
    /// D at most.
    pub rows: u8,
    /// L × D at most.
    pub matrix: u16,
}

impl Default for Dimensions {
    /// What the standard allows.
    fn default() -> Self {
        Self { columns: MAX_COLUMNS, rows: MAX_ROWS, matrix: MAX_MATRIX }
    }
}

/// What a [`Decoder`] is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecoderOptions {
    /// The SSRC of the stream that is protected: FEC packets do not tell it.
    pub ssrc: u32,
    /// The largest matrix that is accepted.
    pub dimensions: Dimensions,
    /// What it may keep.
    pub limits: Limits,
}

/// Recovers packets of one stream, by packets of either FEC stream. See [`crate::xor`] for how it is driven.
///
/// L and D are what the first FEC packets say. What says otherwise later is refused, until [`Decoder::forget_dimensions`].
pub type Decoder = recover::Decoder<St2022>;

/// ST 2022-1, with what is known of the matrix.
#[derive(Clone, Debug)]
pub struct St2022 {
    allowed: Dimensions,
    columns: Option<u8>,
    rows: Option<u8>,
}

impl Decoder {
    /// A decoder that has seen nothing.
    #[must_use]
    pub fn new(options: DecoderOptions) -> Self {
        let scheme = St2022 { allowed: options.dimensions, columns: None, rows: None };
        Self { scheme, engine: Engine::new(options.ssrc, options.limits) }
    }

    /// The SSRC of source packets, which recovered ones will have.
    pub const fn set_ssrc(&mut self, ssrc: u32) {
        self.engine.set_ssrc(ssrc);
    }

    /// The SSRC that recovered packets have.
    #[must_use]
    pub const fn ssrc(&self) -> u32 {
        self.engine.ssrc()
    }

    /// L and D, as far as they are known.
    #[must_use]
    pub const fn matrix(&self) -> (Option<u8>, Option<u8>) {
        (self.scheme.columns, self.scheme.rows)
    }

    /// Learns L and D anew: for a sender that begins again.
    pub const fn forget_dimensions(&mut self) {
        (self.scheme.columns, self.scheme.rows) = (None, None);
    }
}

impl Scheme for St2022 {
    fn read(&mut self, engine: &mut Engine, packet: &[u8], sources: &impl Sources) -> Result<(), Refusal> {
        let fec = FecPacket::parse(packet)?;
        let (columns, rows) = match fec.direction {
            Direction::Column => (fec.offset, Some(fec.count)),
            Direction::Row => (fec.count, None),
        };
        let step_fits = fec.direction == Direction::Column || fec.offset == 1;
        if columns == 0 || fec.count == 0 || !step_fits {
            return Err(Refusal::Dimensions);
        }
        let (known_columns, known_rows) = (self.columns.unwrap_or(columns), self.rows.or(rows));
        if known_columns != columns || rows.is_some() && known_rows != rows {
            return Err(Refusal::Changed);
        }
        let matrix = u16::from(columns) * u16::from(known_rows.unwrap_or(1));
        let allowed = self.allowed;
        if columns > allowed.columns
            || known_rows.is_some_and(|rows| rows > allowed.rows)
            || matrix > allowed.matrix
        {
            return Err(Refusal::Dimensions);
        }
        let base = engine.place(fec.base)?;
        let cover = Cover::stride(base, u64::from(fec.offset), usize::from(fec.count));
        let body = HEADERS..packet.len();
        let repair = Repair { head: fec.head, cover, body, levels: [None; EXTRA_LEVELS] };
        engine.handle_repair(packet, repair, sources)?;
        (self.columns, self.rows) = (Some(columns), known_rows);
        Ok(())
    }
}
