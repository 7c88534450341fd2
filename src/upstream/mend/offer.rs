//! What an upstream offers against loss, of one track.

use std::time::Duration;

use msm_fec::nack::wire::RtxFormat;
use msm_rtsp::sdp::Track;

/// What of it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    /// How long a packet may wait for those before it.
    pub(crate) budget: Duration,
    /// Packets may be asked for again.
    pub(crate) nack: bool,
    /// Payload types of retransmissions: again, and original.
    pub(crate) rtx: Vec<(u8, u8)>,
    /// The payload type of ULPFEC packets in the media's own line.
    pub(crate) ulpfec: Option<u8>,
}

impl Offer {
    /// What the upstream offers of a track that it sends; `None` where that is nothing. `budget` is what the route allows, and
    /// `asks` whether packets may be asked for.
    ///
    /// Repair packets that have numbers of the media's line are taken out of it, whether or not anything may be lost: readers
    /// would miss them.
    pub(crate) fn of(track: &Track, budget: Duration, asks: bool) -> Option<Self> {
        let repair = &track.protecting;
        let formats =
            |encoding: &'static str| repair.formats.iter().filter(move |own| own.encoding == encoding);
        let nack = asks && !budget.is_zero() && repair.can_ask();
        let rtx = formats("rtx").filter(|_| nack);
        let rtx = rtx.filter_map(|own| Some((own.number, RtxFormat::read(&own.parameters)?.apt))).collect();
        let ulpfec = formats("ulpfec").next().map(|own| own.number);
        (nack || ulpfec.is_some()).then_some(Self { budget, nack, rtx, ulpfec })
    }

    /// The original payload type of a retransmission.
    pub(super) fn original(&self, payload_type: u8) -> Option<u8> {
        self.rtx.iter().find(|(again, _)| *again == payload_type).map(|(_, of)| *of)
    }

    /// Whether packets of this type are not the media itself.
    #[inline]
    pub(super) fn is_repair(&self, payload_type: u8) -> bool {
        self.ulpfec == Some(payload_type) || self.original(payload_type).is_some()
    }
}
