//! URLs, control attributes and challenges: what was read can be written and read again, tracks are found where they
//! were put, and nothing that is made of a peer's text ends a header line.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use msm_rtsp::auth::{Authenticator, Credentials};
use msm_rtsp::message::{Headers, Method, Request};
use msm_rtsp::url::{
    ControlPolicy, MatchPolicy, RtspUrl, Target, check_control, join_control, match_control, match_track,
    percent_decode, presentation, track_control,
};

const POLICIES: [ControlPolicy; 3] =
    [ControlPolicy::Append, ControlPolicy::Resolve, ControlPolicy::BeforeQuery];

/// Reads the lines of `data` as a URL, a second URL, and control attributes.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let controls: Vec<&str> = lines.take(8).collect();
    for url in [first, second] {
        parsed(url);
        own_tracks_are_found(url);
        challenged(url);
        let _ = percent_decode(url);
    }
    for policy in [MatchPolicy::Exact, MatchPolicy::SamePath, MatchPolicy::Suffix] {
        let found = match_track(first, second, &controls, policy);
        if let Some(Target::Track(track)) = found {
            assert!(track < controls.len());
            assert_eq!(check_control(controls[track]), Ok(()));
        }
        assert!(found.is_none() || check_control(first).is_ok());
    }
    for control in controls {
        others_tracks_are_found(first, control);
    }
}

fn parsed(text: &str) {
    let Ok(url) = RtspUrl::parse(text) else { return };
    assert!(matches!(url.scheme(), "rtsp" | "rtsps" | "rtspu"));
    assert!(!url.host().is_empty() && url.port() != 0);
    assert!(url.path().is_empty() || url.path().starts_with('/'));
    let decoded = percent_decode(url.path());
    assert!(!decoded.split(['/', '\\']).any(|segment| segment == ".."), "{url} climbs");
    let shown = url.to_string();
    assert!(shown.bytes().all(|byte| byte > b' ' && byte != 0x7f), "{shown:?}");
    // What is shown is the same place, without its secrets.
    let again = RtspUrl::parse(&shown).unwrap();
    assert_eq!(again, url.without_credentials());
    assert_eq!(again.credentials(), None);
    assert_eq!(url.with_resource(&url.resource()), url);
    // It can stand in a request.
    Request::new(Method::Describe, shown).write(&mut Vec::new()).unwrap();
}

fn own_tracks_are_found(uri: &str) {
    if let Some((_, Some(track))) = match_control(uri, 3) {
        assert!(track < 3);
    }
    let base = presentation(uri);
    // One that still ends like a track is told from a track by nobody.
    if match_control(&base, usize::MAX).is_some_and(|(_, track)| track.is_some()) {
        return;
    }
    for policy in [ControlPolicy::Append, ControlPolicy::BeforeQuery] {
        let setup = join_control(&base, &track_control(3), policy);
        for setup in [format!("{setup}/"), setup] {
            let (found, track) = match_control(&setup, 4).unwrap();
            assert_eq!((found.as_str(), track), (base.as_str(), Some(3)), "{setup} of {uri:?}");
            assert_eq!(match_control(&setup, 3), None);
        }
    }
}

fn others_tracks_are_found(base: &str, control: &str) {
    if check_control(control).is_err() || matches!(control, "" | "*") {
        return;
    }
    for policy in POLICIES {
        let setup = join_control(base, control, policy);
        if check_control(&setup).is_ok() {
            assert_eq!(
                match_track(&setup, base, &[control], MatchPolicy::SamePath),
                Some(Target::Track(0)),
                "{setup} of {base:?} and {control:?}"
            );
        }
    }
}

/// A challenge is answered with a header that can be written, or not at all.
fn challenged(value: &str) {
    let mut headers = Headers::default();
    if headers.push("WWW-Authenticate", value).is_err() {
        return;
    }
    let credentials = Credentials { user: "al\"ice".into(), password: "sec:ret".into() };
    let mut auth = Authenticator::new(Some(credentials), 7);
    if auth.handle_challenge(headers.all("WWW-Authenticate")).is_err() {
        assert_eq!(auth.authorize("PLAY", "rtsp://h/s"), None);
        return;
    }
    let header = auth.authorize("PLAY", "rtsp://h/s").unwrap();
    assert!(header.starts_with("Basic ") || header.starts_with("Digest "));
    assert!(!header.contains("sec:ret"));
    headers.push("Authorization", &header).unwrap();
}
