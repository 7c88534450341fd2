//! From repair packets to source packets (RFC 8627 §6.3).

use super::{Header, Pattern};
use crate::xor::recover::{self, Cover, EXTRA_LEVELS, Engine, Limits, Refusal, Repair, Scheme, Sources};
use msm_core::rtp::RtpView;

/// What a [`Decoder`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecoderOptions {
    /// The stream that is protected.
    pub ssrc: u32,
    /// The payload type of repair packets.
    pub payload_type: u8,
    /// The SSRC of repair packets, where it is known (`a=ssrc-group:FEC-FR`, RFC 5956 §4.3).
    pub repair_ssrc: Option<u32>,
    /// What it may keep. The window in packets takes the place of the `repair-window`, which is a time.
    pub limits: Limits,
}

/// Recovers packets of one stream. See [`crate::xor`] for how it is driven.
///
/// A repair packet that protects several streams is read, but not made use of: [`Refusal::SeveralStreams`].
pub type Decoder = recover::Decoder<FlexFec>;

/// FlexFEC, with what was agreed on.
#[derive(Clone, Debug)]
pub struct FlexFec(DecoderOptions);

impl Decoder {
    /// A decoder that has seen nothing.
    #[must_use]
    pub fn new(options: DecoderOptions) -> Self {
        Self { scheme: FlexFec(options), engine: Engine::new(options.ssrc, options.limits) }
    }
}

impl Scheme for FlexFec {
    fn read(&mut self, engine: &mut Engine, packet: &[u8], sources: &impl Sources) -> Result<(), Refusal> {
        let view = RtpView::parse(packet).map_err(|_| Refusal::NotRtp)?;
        if view.payload_type() != self.0.payload_type {
            return Err(Refusal::PayloadType);
        }
        if self.0.repair_ssrc.is_some_and(|ssrc| ssrc != view.ssrc()) {
            return Err(Refusal::OtherStream);
        }
        let payload = view.payload();
        let Some(header) = Header::parse(payload, view.csrcs())? else {
            // R = 1 and F = 0 are the version 2 of the packet's own header (RFC 8627 §4.2.2.3).
            let source = RtpView::parse(payload).map_err(|_| Refusal::Inconsistent)?;
            if source.ssrc() != self.0.ssrc {
                return Err(Refusal::OtherStream);
            }
            return engine.handle_copy(payload, sources);
        };
        let mut ours = None;
        for (at, protected) in header.protected().enumerate() {
            if at > 0 {
                return Err(Refusal::SeveralStreams);
            }
            ours = Some(protected).filter(|protected| protected.ssrc == self.0.ssrc);
        }
        let protected = ours.ok_or(Refusal::OtherStream)?;
        let base = engine.place(protected.base)?;
        let cover = match protected.pattern {
            Pattern::Mask(mask) => Cover::mask(base, mask),
            Pattern::Fixed { columns, rows: 0 | 1 } => Cover::stride(base, 1, usize::from(columns)),
            Pattern::Fixed { columns, rows } => Cover::stride(base, u64::from(columns), usize::from(rows)),
        };
        let body = header.len..payload.len();
        let repair = Repair { head: header.head, cover, body, levels: [None; EXTRA_LEVELS] };
        engine.handle_repair(payload, repair, sources)
    }
}
