//! Servers other than GStreamer's, and servers that want a password.

use crate::lab::{Lab, Place};
use crate::media::{programme, recording_for_live555};
use crate::need::{Peer, have};
use crate::proxy::{Proxy, forwarding, url};
use crate::readers::{FFMPEG_TCP, FFMPEG_UDP, Reader, VLC_UDP};
use crate::servers;
use crate::{lab, readers};
use std::time::Duration;

const GST: &str = "rtsp://10.71.0.1:8554";

fn with_password(method: &str) {
    if !have(&[Peer::GstServer, Peer::Ffmpeg]) {
        return;
    }
    let lab = Lab::new();
    let server = servers::gstreamer(&lab, &["--auth", method]);
    let _proxy = Proxy::start(&lab, &forwarding(GST, "auth: {user: alice, password: secret}"));
    FFMPEG_UDP.read(&lab, &url("test"));
    assert_eq!(servers::count(&server, "play"), 1);
}

#[test]
fn digest() {
    with_password("digest");
}

#[test]
fn basic() {
    with_password("basic");
}

/// A reader learns that the upstream refused, and soon; the password is not in the log.
#[test]
fn wrong_password() {
    if !have(&[Peer::GstServer, Peer::Ffmpeg]) {
        return;
    }
    let lab = Lab::new();
    let server = servers::gstreamer(&lab, &["--auth", "digest"]);
    let proxy = Proxy::start(&lab, &forwarding(GST, "auth: {user: alice, password: guess-5309}"));
    let mut command = lab.command(Place::Client, "ffprobe");
    command.args(["-v", "error", "-rtsp_transport", "tcp", &url("test")]);
    let finished = lab.run("ffprobe", command, Duration::from_secs(15));
    let status = finished.status.expect("ffprobe gets an answer soon");
    assert!(
        servers::count(&server, "describe") + server.err().matches("not authorized").count() < 10,
        "endless attempts"
    );
    assert!(!status.success(), "{}", finished.err);
    assert!(finished.err.contains(" 50"), "an error of the server, not of the reader: {}", finished.err);
    assert_eq!(servers::count(&server, "setup"), 0);
    let log = proxy.log();
    assert!(!log.contains("guess-5309"), "{log}");
}

/// live555 answers 461 to the `RTP/AVP/UDP` that ffmpeg sends; through the proxy the two play.
#[test]
fn live555_to_ffmpeg_over_udp() {
    if !have(&[Peer::Live555, Peer::Ffmpeg]) {
        return;
    }
    let lab = Lab::new();
    recording_for_live555(&lab);
    let (_server, endpoint) = servers::live555(&lab);

    let mut command = lab.command(Place::Proxy, "ffmpeg");
    command.args([
        "-v",
        "error",
        "-nostdin",
        "-rtsp_transport",
        "udp",
        "-i",
        &format!("{endpoint}/recording.mkv"),
    ]);
    command.args(["-t", "1", "-f", "null", "-"]);
    let direct = lab.run("direct", command, LIMIT);
    assert!(direct.err.contains("461"), "live555 has learned RTP/AVP/UDP: {}", direct.err);

    let _proxy = Proxy::start(&lab, &forwarding(&endpoint, "transport: udp"));
    FFMPEG_UDP.read(&lab, &url("recording.mkv"));
}

const LIMIT: Duration = Duration::from_secs(20);

fn live555_to(reader: Reader, transport: &str) {
    if !have(&[Peer::Live555, Peer::Ffmpeg, reader.peer]) {
        return;
    }
    let lab = Lab::new();
    recording_for_live555(&lab);
    let (_server, endpoint) = servers::live555(&lab);
    let _proxy = Proxy::start(&lab, &forwarding(&endpoint, &format!("transport: {transport}")));
    reader.read(&lab, &url("recording.mkv"));
}

#[test]
fn live555_over_tcp_to_ffmpeg_over_udp() {
    live555_to(FFMPEG_UDP, "tcp");
}

#[test]
fn live555_over_udp_to_vlc() {
    live555_to(VLC_UDP, "udp");
}

/// VLC serves over UDP only and gives both its tracks payload type 96.
fn vlc_to(reader: Reader) {
    if !have(&[Peer::Vlc, Peer::Ffmpeg]) {
        return;
    }
    let lab = Lab::new();
    programme(&lab);
    let _server = servers::vlc(&lab, "programme.mkv");
    let _proxy = Proxy::start(&lab, &forwarding(GST, "transport: auto"));
    reader.read(&lab, &url("vlc"));
}

#[test]
fn vlc_to_ffmpeg_over_udp() {
    vlc_to(FFMPEG_UDP);
}

#[test]
fn vlc_to_ffmpeg_over_tcp() {
    vlc_to(FFMPEG_TCP);
}

/// Readers by IPv6, the server by IPv4.
#[test]
fn ipv6_readers_of_an_ipv4_server() {
    if !have(&[Peer::GstServer, Peer::Ffmpeg]) {
        return;
    }
    let lab = Lab::new();
    let _server = servers::gstreamer(&lab, &[]);
    let _proxy = Proxy::start(&lab, &forwarding(GST, ""));
    let url = format!("rtsp://[{}]:8554/test", lab::PROXY_V6);
    let readings = [readers::FFMPEG_UDP, readers::FFMPEG_TCP].map(|reader| reader.begin(&lab, &url));
    for reading in readings {
        reading.done();
    }
}
