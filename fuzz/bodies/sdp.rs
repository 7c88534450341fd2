//! Descriptions: what is accepted can be rewritten for readers, reads again with the same tracks, and names nothing of the
//! hop that it came over.
#![allow(clippy::panic, clippy::unwrap_used)]

use msm_rtsp::limits::Limits;
use msm_rtsp::sdp::{Description, Keying, TrackWay};

/// Reads `data` as a description.
pub fn run(data: &[u8]) {
    let limits = Limits::default();
    let Ok(description) = Description::parse(data, &limits) else { return };
    assert!(!description.tracks.is_empty() && description.tracks.len() <= limits.media_sections);
    let infos = description.track_infos();
    assert_eq!(infos.len(), description.tracks.len());
    for v6 in [false, true] {
        let written = description.for_reader(v6, &[]);
        let wide = Limits { body_bytes: usize::MAX, ..limits.clone() };
        let again = Description::parse(&written, &wide)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&written)));
        assert_eq!(again.tracks.len(), description.tracks.len());
        assert_eq!(again.track_infos(), infos);
        let text = String::from_utf8_lossy(&written);
        for attribute in text.lines().filter_map(|line| line.strip_prefix("a=")) {
            let name = attribute.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
            assert!(
                !["crypto", "key-mgmt", "acap", "candidate", "source-filter"].contains(&name.as_str()),
                "{text}"
            );
        }
        for (index, track) in again.tracks.iter().enumerate() {
            assert_eq!(track.control.as_deref(), Some(format!("trackID={index}").as_str()));
        }
    }
    // Written for an encrypted hop it has the keys of that hop alone.
    let own = Keying {
        crypto: vec!["1 suite inline:own".to_owned().into()],
        key_mgmt: vec!["mikey own".to_owned().into()],
    };
    let way = TrackWay { keying: Some(own.clone()), ..TrackWay::default() };
    let written = description.for_announce(&vec![way; description.tracks.len()]);
    let again = Description::parse(&written, &Limits { body_bytes: usize::MAX, ..limits }).unwrap();
    assert!(again.tracks.iter().all(|track| track.keying == own));
}
