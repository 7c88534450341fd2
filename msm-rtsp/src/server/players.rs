//! What clients are known to read.

/// Names in `User-Agent` of clients that take media sections of the profile `RTP/AVPF`, and ask for lost packets in no other:
/// GStreamer, and ffmpeg, whose packets are asked for by what it calls feedback. live555, and with it VLC, takes no such section, and
/// of others it is not known.
const EARLY_FEEDBACK: &[&str] = &["Lavf", "msm"];

/// One that takes them as well, and then takes packets for lost that come in another rhythm than before, as to a reader that joins late:
/// it expects each packet at a time of its own (`do-retransmission` of rtspsrc, which is on by default).
const EAGER: &[&str] = &["GStreamer"];

/// Whether the client of this `User-Agent` takes a description of the profile with early feedback (`RFC 4585`); `eager`: also one that is
/// better off without.
#[must_use]
pub fn takes_early_feedback(user_agent: Option<&str>, eager: bool) -> bool {
    let first = user_agent.and_then(|agent| agent.split(['/', ' ']).find(|word| !word.is_empty()));
    first.is_some_and(|name| {
        let eager = EAGER.iter().filter(|_| eager);
        EARLY_FEEDBACK.iter().chain(eager).any(|own| {
            let head = name.get(..own.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(own))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_known_by_the_first_word() {
        for agent in ["GStreamer/1.22.0", "Lavf59.27.100", "Lavf62.1.1", "msm/0.1.0"] {
            assert!(takes_early_feedback(Some(agent), true), "{agent}");
            let gstreamer = agent.starts_with("GStreamer");
            assert_eq!(takes_early_feedback(Some(agent), false), !gstreamer, "{agent}");
        }
        for agent in [
            "LibVLC/3.0.21 (LIVE555 Streaming Media v2026.10.24)",
            "openRTSP (LIVE555 Streaming Media v2026.10.24)",
            "VLC (like GStreamer)",
            "é",
            "",
        ] {
            assert!(!takes_early_feedback(Some(agent), true), "{agent}");
        }
        assert!(!takes_early_feedback(None, true));
    }
}
