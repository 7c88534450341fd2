//! What PLAY says to an upstream, and what its answer tells.

use msm_core::hub::RtpInfo;
use msm_rtsp::client::Described;
use msm_rtsp::headers::{Range, parse_rtp_info};
use msm_rtsp::message::Response;

use crate::hub::handle::{PlayAnswer, PlayRequest};

/// The headers of a PLAY. `first` is the session's first; a shared stream's readers have no range of their own.
pub(crate) fn headers(request: &PlayRequest, unshared: bool, first: bool) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    let range = match (&request.range, unshared) {
        (Some(range), true) => Some(range.as_str().to_owned()),
        // A first PLAY says where from, as some servers want it said; a resume says nothing.
        _ => first.then(|| "npt=0.000-".to_owned()),
    };
    headers.extend(range.map(|range| ("Range", range)));
    if unshared {
        headers.extend(request.scale.clone().map(|scale| ("Scale", scale)));
        headers.extend(request.speed.clone().map(|speed| ("Speed", speed)));
    }
    headers
}

/// What the answer says of the media.
pub(crate) fn answer(response: &Response, described: &Described) -> PlayAnswer {
    let entries = parse_rtp_info(response.headers.get("RTP-Info").unwrap_or_default());
    let count = entries.len();
    let rtp_info = entries
        .into_iter()
        .enumerate()
        .filter_map(|(place, entry)| {
            // By the URL; where a server writes a wrong one, by its place if it names all tracks.
            let by_place = (count == described.setup.len()).then_some(place);
            let exact = described.setup.iter().position(|setup| *setup == entry.url);
            let track = exact.or_else(|| described.description.track_of(&entry.url)).or(by_place)?;
            Some((track, RtpInfo { seq: entry.seq?, rtptime: entry.rtptime? }))
        })
        .collect();
    let header = |name| response.headers.get(name).map(str::to_owned);
    PlayAnswer {
        range: response.headers.get("Range").and_then(Range::parse),
        scale: header("Scale"),
        speed: header("Speed"),
        rtp_info,
    }
}
