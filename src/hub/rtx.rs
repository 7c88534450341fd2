//! Packets that are sent again to plain readers, as they take them.

use std::time::Duration;

use msm_core::route::{Fec, Protection};
use msm_fec::nack::rtx::{Identity, OVERHEAD, Writer};

use super::parity::ParityPlan;

/// For how long packets can be asked for again. Players wait for as long as their own buffers are, and half a second is much
/// for one that is live.
pub(crate) const HISTORY: Duration = Duration::from_secs(1);

/// For how long a reader may ask, whose route has this protection; `None` where it may not.
pub(crate) fn history(protection: &Protection) -> Option<Duration> {
    (protection.nack && !protection.latency.is_zero()).then_some(HISTORY)
}

/// The repair packets that a server gets which a route's streams are published to, as a percentage of the media. What is chosen by
/// measurements is nothing for plain hops: few peers report.
pub(crate) fn parity(protection: &Protection) -> Option<u8> {
    match protection.fec {
        Fec::Share(percent) if percent > 0 && !protection.latency.is_zero() => Some(percent),
        Fec::Share(_) | Fec::Auto | Fec::Off => None,
    }
}

/// How a reader gets what it lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// By repair packets among the media, whether it asks or not.
    Parity(ParityPlan),
    /// When it asks, as it was: whoever was told of retransmissions and did not choose their profile. They would be packets of a
    /// stranger to it.
    AsItWas {
        /// Packets are kept from the start, as it is known to ask.
        at_once: bool,
    },
    /// When it asks, as retransmissions (`RFC 4588`).
    Rtx(RtxPlan),
}

/// What retransmissions are told by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RtxPlan {
    /// Their source.
    pub(crate) ssrc: u32,
    /// Their payload types: original, and again.
    pub(crate) types: Vec<(u8, u8)>,
    /// Their first sequence number.
    pub(crate) first: u16,
}

/// Makes retransmissions of one track for one reader.
#[derive(Clone, Debug)]
pub(crate) struct Rtx {
    writer: Writer,
    types: Vec<(u8, u8)>,
    buffer: Vec<u8>,
}

impl Rtx {
    pub(crate) fn new(plan: RtxPlan) -> Self {
        let payload_type = plan.types.first().map_or(0, |(_, again)| *again);
        let identity = Identity { ssrc: plan.ssrc, payload_type };
        Self { writer: Writer::new(identity, plan.first), types: plan.types, buffer: Vec::new() }
    }

    /// The retransmission of a packet; `None` for one of a type that has none.
    pub(crate) fn write(&mut self, packet: &[u8]) -> Option<&mut [u8]> {
        let of = packet.get(1)? & 0x7f;
        let (_, again) = self.types.iter().find(|(own, _)| *own == of)?;
        self.buffer.resize(packet.len() + OVERHEAD, 0);
        let length = self.writer.write(packet, &mut self.buffer).ok()?;
        let written = self.buffer.get_mut(..length)?;
        if let Some(marker_pt) = written.get_mut(1) {
            *marker_pt = *marker_pt & 0x80 | again;
        }
        Some(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use msm_fec::nack::rtx::restore;

    fn packet(payload_type: u8, number: u8) -> Vec<u8> {
        vec![0x80, 0x80 | payload_type, 0, number, 0, 0, 0, 9, 0, 0, 0, 7, 1, 2, 3, number]
    }

    #[test]
    fn each_type_has_its_own_and_all_have_one_line_of_numbers() {
        let plan = RtxPlan { ssrc: 0x55, types: vec![(96, 98), (0, 99)], first: u16::MAX };
        let mut rtx = Rtx::new(plan);
        assert_eq!(rtx.write(&packet(97, 1)), None, "no number is taken");
        for (number, (of, again)) in [(96, 98), (0, 99), (96, 98)].into_iter().enumerate() {
            let original = packet(of, number as u8);
            let written = rtx.write(&original).unwrap();
            assert_eq!(written[2..4], u16::MAX.wrapping_add(number as u16).to_be_bytes());
            let from = Identity { ssrc: 0x55, payload_type: again };
            let (sequence, restored) =
                restore(written, from, Identity { ssrc: 7, payload_type: of }).unwrap();
            assert_eq!((usize::from(sequence), &*restored), (number, &original[..]));
        }
        assert_eq!(rtx.write(&[0x80]), None);
        assert_eq!(rtx.write(&packet(96, 1)[..11]), None);
    }
}
