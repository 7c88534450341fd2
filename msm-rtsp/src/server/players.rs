//! What clients are known to read.

/// Names in `User-Agent` of clients that take media sections of the profile `RTP/AVPF`, and ask for lost packets in no other:
/// GStreamer, and ffmpeg, whose packets are asked for by what it calls feedback. live555, and with it VLC, takes no such section, and
/// of others it is not known.
const EARLY_FEEDBACK: &[&str] = &["Lavf", "msm"];

/// One that takes them as well, and then takes packets for lost that come in another rhythm than before, as to a reader that joins late:
/// it expects each packet at a time of its own (`do-retransmission` of rtspsrc, which is on by default).
const EAGER: &[&str] = &["GStreamer"];

/// Those that answer 200 to whatever a server asks, and look at none of it: rtspsrc of GStreamer.
const NODDING: &[&str] = &["GStreamer"];

/// Whether the answer of the client of this `User-Agent` to an ANNOUNCE means anything. Of most it is a refusal; who says yes without having
/// read the description would get media that it takes for something else.
#[must_use]
pub fn reads_announcements(user_agent: Option<&str>) -> bool {
    !first_word(user_agent).is_some_and(|name| is_one_of(name, NODDING.iter()))
}

/// Whether the client of this `User-Agent` takes a description of the profile with early feedback (`RFC 4585`); `eager`: also one that is
/// better off without.
#[must_use]
pub fn takes_early_feedback(user_agent: Option<&str>, eager: bool) -> bool {
    let eager = EAGER.iter().filter(|_| eager);
    first_word(user_agent).is_some_and(|name| is_one_of(name, EARLY_FEEDBACK.iter().chain(eager)))
}

fn first_word(user_agent: Option<&str>) -> Option<&str> {
    user_agent?.split(['/', ' ']).find(|word| !word.is_empty())
}

fn is_one_of<'a>(name: &str, mut known: impl Iterator<Item = &'a &'static str>) -> bool {
    known.any(|own| name.get(..own.len()).is_some_and(|head| head.eq_ignore_ascii_case(own)))
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

    #[test]
    fn who_says_yes_to_everything_says_nothing() {
        assert!(!reads_announcements(Some("GStreamer/1.22.0")));
        for agent in [Some("Lavf62.1.1"), Some("LibVLC/3.0.21 (LIVE555)"), Some("VLC (like GStreamer)"), None]
        {
            assert!(reads_announcements(agent), "{agent:?}");
        }
    }
}
