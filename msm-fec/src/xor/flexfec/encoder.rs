//! From source packets to repair packets (RFC 8627 §6.2).

use super::{Header, MAX_MASK, Pattern};
use crate::xor::block::Block;
use crate::xor::grid::Grid;
use crate::xor::outbox::{EncodeError, Line, Outbox, payload_type, source};
use crate::xor::recover::{FIXED, Parity};

/// Which packets repair packets protect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Blocks of `packets` source packets with `repairs` repair packets, named by masks. Each repair packet protects every
    /// `repairs`-th source packet, so that a burst of `repairs` packets can be lost. Numbers may have gaps.
    Mask {
        /// Source packets of a block.
        packets: usize,
        /// Repair packets of a block.
        repairs: usize,
    },
    /// A repair packet behind each `columns` consecutive packets (L > 0, D = 0).
    Rows {
        /// L.
        columns: u8,
    },
    /// `columns` repair packets behind each `columns` × `rows` consecutive packets (D > 1).
    Columns {
        /// L.
        columns: u8,
        /// D, two at least.
        rows: u8,
    },
    /// Rows and columns of the same packets (D = 1, then D > 1).
    Grid {
        /// L.
        columns: u8,
        /// D, two at least.
        rows: u8,
    },
}

/// What an [`Encoder`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderOptions {
    /// The stream that is protected.
    pub ssrc: u32,
    /// Whence repair packets come.
    pub line: Line,
    /// Which packets they protect.
    pub shape: Shape,
    /// Bytes of a source packet at most.
    pub packet: usize,
    /// Repair packets that may wait to be polled; the oldest gives way.
    pub waiting: usize,
}

impl EncoderOptions {
    /// Packets of 2048 bytes, and as many repair packets waiting as a block has, twice.
    #[must_use]
    pub fn new(ssrc: u32, line: Line, shape: Shape) -> Self {
        let block = match shape {
            Shape::Mask { repairs, .. } => repairs,
            Shape::Rows { .. } => 1,
            Shape::Columns { columns, .. } => usize::from(columns),
            Shape::Grid { columns, .. } => usize::from(columns) + 1,
        };
        Self { ssrc, line, shape, packet: 2048, waiting: 2 * block.min(512) }
    }
}

#[derive(Clone, Debug)]
enum State {
    Mask(Block),
    Grid { grid: Grid, rows: bool, columns: bool },
}

/// Makes repair packets of one stream.
#[derive(Clone, Debug)]
pub struct Encoder {
    options: EncoderOptions,
    state: State,
    outbox: Outbox,
}

impl Encoder {
    /// An encoder that has seen nothing.
    ///
    /// # Errors
    ///
    /// When a header has no room for the shape: masks reach [`MAX_MASK`] packets, and no repair packet may be without packets.
    pub fn new(options: EncoderOptions) -> Result<Self, EncodeError> {
        payload_type(options.line.payload_type)?;
        let grid = |columns: u8, rows: u8| Grid::new(usize::from(columns), usize::from(rows), options.packet);
        let state = match options.shape {
            Shape::Mask { packets, repairs } if repairs > 0 && repairs <= packets && packets <= MAX_MASK => {
                State::Mask(Block::new(packets, repairs, MAX_MASK as u64, options.packet))
            }
            Shape::Rows { columns: columns @ 1.. } => {
                State::Grid { grid: grid(columns, 1), rows: true, columns: false }
            }
            Shape::Columns { columns: columns @ 1.., rows: rows @ 2.. } => {
                State::Grid { grid: grid(columns, rows), rows: false, columns: true }
            }
            Shape::Grid { columns: columns @ 1.., rows: rows @ 2.. } => {
                State::Grid { grid: grid(columns, rows), rows: true, columns: true }
            }
            Shape::Mask { packets, repairs } => return Err(dimensions(packets, repairs)),
            Shape::Rows { columns } => return Err(dimensions(usize::from(columns), 1)),
            Shape::Columns { columns, rows } | Shape::Grid { columns, rows } => {
                return Err(dimensions(usize::from(columns), usize::from(rows)));
            }
        };
        let outbox = Outbox::new(options.line.sequence, options.waiting, options.packet + 64);
        Ok(Self { options, state, outbox })
    }

    /// Shows it a source packet as it is sent. Rows and columns need consecutive indices: behind a gap they begin anew.
    ///
    /// # Errors
    ///
    /// When it is no RTP packet or too long: then it is not protected.
    pub fn handle_source(&mut self, index: u64, packet: &[u8]) -> Result<(), EncodeError> {
        let (head, body) = source(packet, self.options.packet)?;
        match &mut self.state {
            State::Mask(block) => {
                if !block.has_room(index) {
                    self.flush();
                }
                if let State::Mask(block) = &mut self.state
                    && block.add(index, head, body)
                {
                    self.flush();
                }
            }
            State::Grid { grid, rows, columns } => {
                let added = grid.add(index, head, body);
                let (width, height) = self.options.shape.size();
                if let (Some(base), true) = (added.row, *rows) {
                    let pattern = Pattern::Fixed { columns: width, rows: u8::from(*columns) };
                    push(&mut self.outbox, &self.options, grid.row(), base, pattern);
                }
                if let (Some(base), true) = (added.matrix, *columns) {
                    let pattern = Pattern::Fixed { columns: width, rows: height };
                    for (base, column) in (base..).zip(grid.columns()) {
                        push(&mut self.outbox, &self.options, column, base, pattern);
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the block that masks protect, however many packets it has: at the end of a stream, or when it takes too long to fill.
    /// Rows and columns cannot be cut short, and are left as they are.
    pub fn flush(&mut self) {
        if let State::Mask(block) = &mut self.state {
            for part in block.parts() {
                push(&mut self.outbox, &self.options, &part.parity, part.base, Pattern::Mask(part.mask));
            }
            block.clear();
        }
    }

    /// Sends a source packet again, as a repair packet (RFC 8627 §4.2.2.3).
    ///
    /// # Errors
    ///
    /// When it is no RTP packet or too long.
    pub fn retransmit(&mut self, packet: &[u8]) -> Result<(), EncodeError> {
        source(packet, self.options.packet)?;
        let mut out = self.outbox.blank();
        let line = self.options.line;
        out.extend([0x80, line.payload_type, 0, 0, 0, 0, 0, 0]);
        out.extend(line.ssrc.to_be_bytes());
        out.extend_from_slice(packet);
        if let Some(first) = out.get_mut(FIXED) {
            *first = 0x80 | *first & 0x3f;
        }
        self.outbox.push(out);
        Ok(())
    }

    /// The next repair packet, to be sent now; `timestamp` is now in the clock of the repair stream (RFC 8627 §4.2.1).
    pub fn poll_transmit(&mut self, timestamp: u32) -> Option<&[u8]> {
        self.outbox.pop(timestamp)
    }

    /// Repair packets that were not polled in time.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.outbox.dropped
    }

    /// Source packets without protection, as their numbers were not consecutive.
    #[must_use]
    pub const fn unprotected(&self) -> u64 {
        match &self.state {
            State::Mask(_) => 0,
            State::Grid { grid, .. } => grid.unprotected,
        }
    }
}

impl Shape {
    const fn size(self) -> (u8, u8) {
        match self {
            Self::Mask { .. } => (0, 0),
            Self::Rows { columns } => (columns, 0),
            Self::Columns { columns, rows } | Self::Grid { columns, rows } => (columns, rows),
        }
    }
}

const fn dimensions(columns: usize, rows: usize) -> EncodeError {
    EncodeError::Dimensions { scheme: "FlexFEC", columns, rows }
}

fn push(outbox: &mut Outbox, options: &EncoderOptions, parity: &Parity, base: u64, pattern: Pattern) {
    let mut out = outbox.blank();
    out.extend([0x81, options.line.payload_type, 0, 0, 0, 0, 0, 0]);
    out.extend(options.line.ssrc.to_be_bytes());
    out.extend(options.ssrc.to_be_bytes());
    Header::write(parity.head, base as u16, pattern, &mut out);
    out.extend_from_slice(&parity.body);
    outbox.push(out);
}
