//! From source packets to FEC packets.

use super::{Direction, FecPacket, MAX_COLUMNS, MAX_MATRIX, MAX_ROWS};
use crate::xor::grid::Grid;
use crate::xor::outbox::{EncodeError, Outbox, payload_type, source};
use crate::xor::recover::Parity;
use std::collections::VecDeque;

/// The fewest rows of a matrix with columns.
const MIN_ROWS: u8 = 4;

/// What an [`Encoder`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderOptions {
    /// L: 1 to 20, 4 to 20 with rows.
    pub columns: u8,
    /// D: 4 to 20, and L × D is at most 100.
    pub rows: u8,
    /// Whether rows are summed, too.
    pub row_fec: bool,
    /// The payload type of FEC packets.
    pub payload_type: u8,
    /// The numbers of the first packets of the column stream and of the row stream.
    pub sequences: (u16, u16),
    /// Bytes of a source packet at most.
    pub packet: usize,
}

impl EncoderOptions {
    /// A matrix with rows and columns, payload type 96, packets of 2048 bytes.
    #[must_use]
    pub const fn new(columns: u8, rows: u8) -> Self {
        Self { columns, rows, row_fec: true, payload_type: 96, sequences: (0, 0), packet: 2048 }
    }
}

/// Makes FEC packets of one stream, whose numbers have to be consecutive: behind a gap the matrix begins anew.
///
/// A row is sent as soon as it is full. The columns of a matrix are spread over the next one, so that the stream's rate stays even
/// and a burst does not take a packet and its repair together: column c follows packet c × D of the next matrix.
#[derive(Clone, Debug)]
pub struct Encoder {
    options: EncoderOptions,
    grid: Grid,
    /// Columns of the last matrix whose turn has not come.
    held: VecDeque<Vec<u8>>,
    columns: Outbox,
    rows: Outbox,
}

impl Encoder {
    /// An encoder that has seen nothing.
    ///
    /// # Errors
    ///
    /// When the standard does not allow the matrix.
    pub fn new(options: EncoderOptions) -> Result<Self, EncodeError> {
        payload_type(options.payload_type)?;
        let (columns, rows) = (options.columns, options.rows);
        let fewest = if options.row_fec { MIN_ROWS } else { 1 };
        if !(fewest..=MAX_COLUMNS).contains(&columns)
            || !(MIN_ROWS..=MAX_ROWS).contains(&rows)
            || u16::from(columns) * u16::from(rows) > MAX_MATRIX
        {
            let (columns, rows) = (usize::from(columns), usize::from(rows));
            return Err(EncodeError::Dimensions { scheme: "ST 2022-1", columns, rows });
        }
        let (columns, rows, capacity) = (usize::from(columns), usize::from(rows), options.packet + 32);
        Ok(Self {
            options,
            grid: Grid::new(columns, rows, options.packet),
            held: VecDeque::with_capacity(columns),
            columns: Outbox::new(options.sequences.0, 2 * columns, capacity),
            rows: Outbox::new(options.sequences.1, 2 * rows, capacity),
        })
    }

    /// Shows it a source packet as it is sent.
    ///
    /// # Errors
    ///
    /// When it is no RTP packet or too long: then it is not protected.
    pub fn handle_source(&mut self, index: u64, packet: &[u8]) -> Result<(), EncodeError> {
        let (head, body) = source(packet, self.options.packet)?;
        let added = self.grid.add(index, head, body);
        let (width, height) = (self.options.columns, self.options.rows);
        if added.at.is_multiple_of(usize::from(height))
            && let Some(column) = self.held.pop_front()
        {
            self.columns.push(column);
        }
        if let (Some(base), true) = (added.row, self.options.row_fec) {
            let mut out = self.rows.blank();
            self.options.write(Direction::Row, base, (1, width), self.grid.row(), &mut out);
            self.rows.push(out);
        }
        if let Some(base) = added.matrix {
            self.flush();
            for (base, column) in (base..).zip(self.grid.columns()) {
                let mut out = self.columns.blank();
                self.options.write(Direction::Column, base, (width, height), column, &mut out);
                self.held.push_back(out);
            }
        }
        Ok(())
    }

    /// Lets go of the columns of the last matrix at once: at the end of a stream.
    pub fn flush(&mut self) {
        while let Some(column) = self.held.pop_front() {
            self.columns.push(column);
        }
    }

    /// The next FEC packet that is due, and its stream; `timestamp` is now in the clock of the source.
    pub fn poll_transmit(&mut self, timestamp: u32) -> Option<(Direction, &[u8])> {
        if self.rows.len() > 0 {
            return self.rows.pop(timestamp).map(|packet| (Direction::Row, packet));
        }
        self.columns.pop(timestamp).map(|packet| (Direction::Column, packet))
    }

    /// FEC packets that were not polled in time.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.rows.dropped + self.columns.dropped
    }

    /// Source packets without protection, as their numbers were not consecutive.
    #[must_use]
    pub const fn unprotected(&self) -> u64 {
        self.grid.unprotected
    }
}

impl EncoderOptions {
    fn write(&self, direction: Direction, base: u64, shape: (u8, u8), parity: &Parity, out: &mut Vec<u8>) {
        FecPacket::write(direction, base as u16, shape, self.payload_type, parity, out);
    }
}
