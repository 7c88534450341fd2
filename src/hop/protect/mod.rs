//! Protection of a hop's tracks: what `msm_fec::protect` decides, on the flows between two members. See *Protection* in
//! ARCHITECTURE.md.

mod counts;
pub(crate) mod formats;
mod keeper;
pub(crate) mod receiving;
pub(crate) mod sending;
pub(crate) mod timer;

use std::rc::Rc;
use std::time::Duration;

use msm_core::hop::Label;
use msm_core::route::{Fec, Protection};
use msm_fec::control::Limits;
use msm_rtsp::hop::HopHeader;
use msm_rtsp::sdp::{Track, TrackWay};

use super::association::Association;
use super::inlet::Inlet;
use super::outlet::Outlet;
use crate::error::Error;

pub(crate) use counts::Counts;
pub(crate) use formats::Formats;
pub(crate) use receiving::{ReceivePlan, Receiving};
pub(crate) use sending::{SendPlan, Sending};

/// Bytes that a sender keeps of a track to be sent again, at most.
pub(crate) const HISTORY_BYTES: usize = 8 << 20;

/// What a sender may do for a track.
pub(crate) fn limits(protection: &Protection) -> Limits {
    let overhead = f64::from(protection.overhead) / 100.0;
    let share = match protection.fec {
        Fec::Share(share) => Some(f64::from(share) / 100.0),
        Fec::Auto | Fec::Off => None,
    };
    Limits { overhead, fec: protection.fec != Fec::Off, nack: protection.nack, share, ..Limits::default() }
}

/// What the receiver's route says, as a header has it.
pub(crate) fn wishes(own: &Protection) -> HopHeader {
    HopHeader {
        latency: milliseconds(own.latency),
        overhead: Some(own.overhead),
        fec: match own.fec {
            Fec::Auto => None,
            Fec::Off => Some(0),
            Fec::Share(share) => Some(share),
        },
        nack: Some(own.nack),
        ..HopHeader::default()
    }
}

/// What both sides' routes allow: what one of them does not want is not done.
fn agreed(own: &Protection, wishes: &HopHeader) -> Option<Protection> {
    let latency = latency(own, wishes.latency)?;
    let fec = match (own.fec, wishes.fec) {
        (Fec::Off, _) | (_, Some(0)) => Fec::Off,
        (own, None) => own,
        (Fec::Auto, Some(share)) => Fec::Share(share),
        (Fec::Share(own), Some(share)) => Fec::Share(own.max(share)),
    };
    let overhead = own.overhead.min(wishes.overhead.unwrap_or(100));
    let nack = own.nack && wishes.nack.unwrap_or(true);
    Some(Protection { latency, fec, overhead, nack, ..own.clone() })
}

/// Protects the track that `outlet` sends: the peer calls the flow beside it `repair`, in the track that `token` names.
pub(crate) fn send(
    association: &Rc<Association>,
    token: u64,
    outlet: &Rc<Outlet>,
    repair: u32,
    plan: SendPlan,
) -> Result<(), Error> {
    let beside = association.outlet_beside(token, Label::from_ssrc(repair))?;
    let first = association.seed()? as u16;
    let told = association.protected_flow()?;
    outlet.protect_by(Sending::new(plan, outlet.label, beside, first, told));
    Ok(())
}

/// Protects the track that `inlet` receives; `beside` is the flow with what repairs it.
pub(crate) fn receive(inlet: &Rc<Inlet>, beside: Rc<Inlet>, plan: ReceivePlan) {
    inlet.protect(Receiving::new(plan, inlet.label, beside, inlet.copies()));
}

/// The budget of a track: each side says what it can bear; `None` if either wants no protection.
pub(crate) fn latency(own: &Protection, proposed: Option<u32>) -> Option<Duration> {
    let own = Some(own).filter(|own| own.is_on())?.latency;
    Some(own.min(Duration::from_millis(proposed?.into()))).filter(|latency| !latency.is_zero())
}

/// How each track is described for a member that may ask for its protection.
pub(crate) fn offers(tracks: &[Track], protection: &Protection) -> Vec<TrackWay> {
    let offer = |track: &Track| {
        let offer = Some(protection).filter(|own| own.is_on());
        offer.and_then(|own| Formats::offer(track, own.latency)).map(|(_, protecting)| protecting)
    };
    let way = |track| TrackWay { protecting: offer(track).unwrap_or_default(), ..TrackWay::default() };
    tracks.iter().map(way).collect()
}

/// What is sent of a track that was offered to be protected, and is to be within this budget.
pub(crate) fn send_plan(
    track: &Track,
    own: &Protection,
    wishes: &HopHeader,
    stream: &str,
) -> Option<SendPlan> {
    let (formats, _) = Formats::offer(track, own.latency)?;
    let protection = agreed(own, wishes)?;
    let marks = track.media.eq_ignore_ascii_case("video");
    Some(SendPlan { formats, marks, stream: stream.to_owned(), protection })
}

/// What is received of a track whose sender offers to protect it; `proposed` is its budget, or that of the description.
pub(crate) fn receive_plan(
    track: &Track,
    own: &Protection,
    proposed: Option<u32>,
    stream: &str,
) -> Option<ReceivePlan> {
    let formats = Formats::offered(&track.protecting)?;
    let latency = latency(own, proposed.or(track.protecting.latency))?;
    let protection = Protection { latency, ..own.clone() };
    Some(ReceivePlan { formats, stream: stream.to_owned(), protection })
}

/// A budget as a header has it; `None` for no protection.
pub(crate) fn milliseconds(latency: Duration) -> Option<u32> {
    u32::try_from(latency.as_millis()).ok().filter(|latency| *latency > 0)
}
