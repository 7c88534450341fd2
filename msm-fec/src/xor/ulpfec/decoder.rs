//! From repair packets to source packets (RFC 5109 §9).

use super::header::Header;
use crate::xor::recover::{self, Engine, Limits, Refusal, Repair, Scheme, Sources};
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
pub type Decoder = recover::Decoder<UlpFec>;

/// ULPFEC, with the payload type that was agreed on.
#[derive(Clone, Debug)]
pub struct UlpFec {
    payload_type: u8,
}

impl Decoder {
    /// A decoder that has seen nothing.
    #[must_use]
    pub fn new(options: DecoderOptions) -> Self {
        let DecoderOptions { ssrc, payload_type, limits } = options;
        Self { scheme: UlpFec { payload_type }, engine: Engine::new(ssrc, limits) }
    }

    /// Takes the payload of a repair packet, such as a block of a `red` packet of the stream.
    ///
    /// # Errors
    ///
    /// Why it is of no use; counted.
    pub fn handle_payload(&mut self, payload: &[u8], sources: &impl Sources) -> Result<(), Refusal> {
        let result = read(&mut self.engine, payload, sources);
        self.count(result)
    }
}

impl Scheme for UlpFec {
    fn read(&mut self, engine: &mut Engine, packet: &[u8], sources: &impl Sources) -> Result<(), Refusal> {
        let view = RtpView::parse(packet).map_err(|_| Refusal::NotRtp)?;
        if view.payload_type() != self.payload_type {
            return Err(Refusal::PayloadType);
        }
        if view.ssrc() != engine.ssrc() {
            return Err(Refusal::OtherStream);
        }
        read(engine, view.payload(), sources)
    }
}

fn read(engine: &mut Engine, payload: &[u8], sources: &impl Sources) -> Result<(), Refusal> {
    let header = Header::parse(payload)?;
    let base = engine.place(header.base)?;
    let (first, levels) = header.place(base)?;
    let repair =
        Repair { head: header.head, cover: first.cover, body: first.at..first.at + first.len, levels };
    engine.handle_repair(payload, repair, sources)
}
