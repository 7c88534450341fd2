//! From repair packets to source packets (RFC 5109 §9).

use super::header::Header;
use crate::xor::recover::{Counters, Engine, Limits, Recovered, Refusal, Repair, Sources};
use msm_core::rtp::RtpView;

/// What a [`Decoder`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecoderOptions {
    /// The SSRC of the stream that is protected, and of its repair packets.
    pub ssrc: u32,
    /// The payload type of repair packets.
    pub payload_type: u8,
    /// What it may keep.
    pub limits: Limits,
}

/// Recovers packets of one stream. See [`crate::xor`] for how it is driven.
///
/// A packet comes out when it is protected to its end: what level 0 alone has of it is not a packet.
#[derive(Clone, Debug)]
pub struct Decoder {
    payload_type: u8,
    engine: Engine,
}

impl Decoder {
    /// A decoder that has seen nothing.
    #[must_use]
    pub fn new(options: DecoderOptions) -> Self {
        Self { payload_type: options.payload_type, engine: Engine::new(options.ssrc, options.limits) }
    }

    /// A source packet came, and `sources` finds it.
    pub fn handle_source(&mut self, index: u64, sources: &impl Sources) {
        self.engine.handle_source(index, sources);
    }

    /// Takes a repair packet, a whole RTP packet.
    ///
    /// # Errors
    ///
    /// Why it is of no use; counted.
    pub fn handle_repair(&mut self, packet: &[u8], sources: &impl Sources) -> Result<(), Refusal> {
        self.engine.counters.repairs += 1;
        let result = self.open_packet(packet).and_then(|payload| self.read(payload, sources));
        result.inspect_err(|refusal| self.engine.counters.refuse(*refusal))
    }

    /// Takes the payload of a repair packet, such as a block of a `red` packet of the stream.
    ///
    /// # Errors
    ///
    /// Why it is of no use; counted.
    pub fn handle_payload(&mut self, payload: &[u8], sources: &impl Sources) -> Result<(), Refusal> {
        self.engine.counters.repairs += 1;
        let result = self.read(payload, sources);
        result.inspect_err(|refusal| self.engine.counters.refuse(*refusal))
    }

    fn open_packet<'a>(&self, packet: &'a [u8]) -> Result<&'a [u8], Refusal> {
        let view = RtpView::parse(packet).map_err(|_| Refusal::NotRtp)?;
        if view.payload_type() != self.payload_type {
            return Err(Refusal::PayloadType);
        }
        if view.ssrc() != self.engine.ssrc() {
            return Err(Refusal::OtherStream);
        }
        Ok(view.payload())
    }

    fn read(&mut self, payload: &[u8], sources: &impl Sources) -> Result<(), Refusal> {
        let header = Header::parse(payload)?;
        let base = self.engine.place(header.base)?;
        let (first, levels) = header.place(base)?;
        let repair =
            Repair { head: header.head, cover: first.cover, body: first.at..first.at + first.len, levels };
        self.engine.handle_repair(payload, repair, sources)
    }

    /// The next packet that was recovered, each once.
    pub fn poll_recovered(&mut self) -> Option<Recovered<'_>> {
        self.engine.poll_recovered()
    }

    /// What became of repair packets.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.engine.counters
    }

    /// Repair packets that wait for source packets.
    #[must_use]
    pub fn open(&self) -> usize {
        self.engine.open()
    }
}
