//! The Transport header: whatever is read can be written and is then read the same way, in both versions.
#![allow(clippy::panic, clippy::unwrap_used)]

use msm_rtsp::message::Version;
use msm_rtsp::server::{Offer, Srtp, negotiate};
use msm_rtsp::transport::{MAX_SPECS, TransportSpec};

/// Reads `data` as a header's value.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let specs = TransportSpec::parse_list(&text);
    assert!(specs.len() <= MAX_SPECS);
    for spec in &specs {
        for version in [Version::V1_0, Version::V2_0] {
            let written = spec.write(version);
            assert!(!written.contains(['\r', '\n']), "{written:?}");
            let again = TransportSpec::parse(&written).unwrap_or_else(|| panic!("{written:?} does not read"));
            assert_eq!(again.write(version), written);
        }
    }
    let offer = Offer { udp: true, tcp: true, multicast: true, srtp: Srtp::default() };
    if let Ok(chosen) = negotiate(Some(&text), offer) {
        // What only a server may say is never taken from a client.
        assert!(chosen.destination.is_none() && chosen.source.is_none() && chosen.server_port.is_none());
    }
}
