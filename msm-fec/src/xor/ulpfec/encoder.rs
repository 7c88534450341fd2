//! From source packets to repair packets (RFC 5109 §8).

use super::MAX_MASK;
use super::header::Header;
use crate::xor::block::Block;
use crate::xor::outbox::{EncodeError, Line, Outbox, payload_type, source};

/// What an [`Encoder`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderOptions {
    /// Whence repair packets come. Their SSRC is that of the stream (RFC 5109 §7.2).
    pub line: Line,
    /// Source packets of a block, at most [`MAX_MASK`].
    pub packets: usize,
    /// Repair packets of a block. Each protects every `repairs`-th source packet.
    pub repairs: usize,
    /// Bytes of a source packet at most.
    pub packet: usize,
}

impl EncoderOptions {
    /// Packets of 2048 bytes.
    #[must_use]
    pub const fn new(line: Line, packets: usize, repairs: usize) -> Self {
        Self { line, packets, repairs, packet: 2048 }
    }
}

/// Makes repair packets of one stream.
#[derive(Clone, Debug)]
pub struct Encoder {
    options: EncoderOptions,
    block: Block,
    outbox: Outbox,
}

impl Encoder {
    /// An encoder that has seen nothing.
    ///
    /// # Errors
    ///
    /// When a block has more packets than a mask names, or repair packets that protect nothing.
    pub fn new(options: EncoderOptions) -> Result<Self, EncodeError> {
        payload_type(options.line.payload_type)?;
        let EncoderOptions { packets, repairs, packet, line } = options;
        if repairs == 0 || repairs > packets || packets > MAX_MASK {
            return Err(EncodeError::Dimensions { scheme: "ULPFEC", columns: packets, rows: repairs });
        }
        let block = Block::new(packets, repairs, MAX_MASK as u64, packet);
        Ok(Self { options, block, outbox: Outbox::new(line.sequence, 2 * repairs, packet + 32) })
    }

    /// Shows it a source packet as it is sent. Numbers may have gaps.
    ///
    /// # Errors
    ///
    /// When it is no RTP packet or too long: then it is not protected.
    pub fn handle_source(&mut self, index: u64, packet: &[u8]) -> Result<(), EncodeError> {
        let (head, body) = source(packet, self.options.packet)?;
        if !self.block.has_room(index) {
            self.flush();
        }
        if self.block.add(index, head, body) {
            self.flush();
        }
        Ok(())
    }

    /// Ends the block, however many packets it has: at the end of a frame or stream, or when it takes too long to fill.
    pub fn flush(&mut self) {
        for part in self.block.parts() {
            let mut out = self.outbox.blank();
            out.extend([0x80, self.options.line.payload_type, 0, 0, 0, 0, 0, 0]);
            out.extend(self.options.line.ssrc.to_be_bytes());
            Header::write(part.base as u16, part.mask, &part.parity, usize::MAX, &mut out);
            self.outbox.push(out);
        }
        self.block.clear();
    }

    /// The next repair packet, a whole RTP packet of their own line; `timestamp` is now in the clock of the source. What stands
    /// behind its first 12 bytes is what a `red` block takes.
    ///
    /// Who sends repair packets in the media's line, as browsers do, numbers them as they are sent
    /// ([`msm_core::rtp::RtpRewriter::set_sequence`]).
    pub fn poll_transmit(&mut self, timestamp: u32) -> Option<&[u8]> {
        self.outbox.pop(timestamp)
    }

    /// Repair packets that were not polled in time.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.outbox.dropped
    }
}
