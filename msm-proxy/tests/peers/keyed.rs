//! SRTP on plain hops, with keys by SDES as ffmpeg takes them and by MIKEY as GStreamer does.

use crate::lab::{DOWN, Lab, PROXY, Place, SERVER};
use crate::media::programme;
use crate::need::{Peer, have};
use crate::process::Process;
use crate::proxy::{LOCAL, Proxy, forwarding, url};
use crate::readers::{FFMPEG_TCP, FFMPEG_UDP, GST_SRTP, GST_TCP, GST_TLS};
use crate::rtsps::certify;
use crate::servers;
use std::fs;
use std::time::Duration;

/// The proxy with a plain listener, and one on port 8322 that describes media as SRTP.
fn start<'lab>(lab: &'lab Lab, config: &str) -> Proxy<'lab> {
    certify(lab, PROXY);
    let listeners = format!(
        "listeners:\n  - {{name: apps, address: \"[::]:8554\", interface: {DOWN}}}\n  \
         - {{name: secure, protocol: rtsps, srtp: true, ports: 8100, interface: {DOWN}, \
         tls: {{certificate: server.pem, key: server.key}}}}\n"
    );
    Proxy::with_listeners(lab, &listeners, config)
}

fn at(path: &str) -> String {
    format!("rtsps://{PROXY}:8322/{path}")
}

/// What the proxy says of the tracks that it protects: the protocol that the keys came by.
fn keyed_by(proxy: &Proxy<'_>, protocol: &str) -> usize {
    proxy.log().lines().filter(|line| line.contains("SRTP") && line.contains(protocol)).count()
}

/// What was refused, by SRTP's reasons.
fn refused(proxy: &Proxy<'_>) -> f64 {
    ["srtp_forged", "srtp_replayed", "srtp_too_short", "srtp_no_key", "send_srtp"]
        .iter()
        .map(|reason| proxy.metric("msm_dropped_total", &[&format!("reason=\"{reason}\"")]))
        .sum()
}

/// Publishes the programme by GStreamer: keys by MIKEY, media as SRTP over `protocols`.
fn gst_publisher(lab: &Lab, url: &str, protocols: &str) -> Process {
    let file = programme(lab);
    let mut command = lab.command(Place::Client, "gst-launch-1.0");
    command.args(["-q", "filesrc", &format!("location={}", file.display()), "!", "matroskademux", "name=d"]);
    command.args(["rtspclientsink", &format!("location={url}"), &format!("protocols={protocols}")]);
    command.args(["profiles=savp", "tls-validation-flags=0", "name=s"]);
    command.args(["d.audio_0", "!", "queue", "!", "opusparse", "!", "s.sink_0"]);
    command.args(["d.video_0", "!", "queue", "!", "h264parse", "!", "s.sink_1"]);
    lab.start("gst-publisher", command)
}

fn receives(proxy: &Proxy<'_>, publisher: &mut Process) {
    publisher.until(Duration::from_secs(15), "media at the proxy", |_| {
        proxy.metric("msm_packets_total", &["direction=\"rx\""]) > 50.0
    });
}

#[test]
fn players_take_srtp_by_either_keying() {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer, Peer::GstTls, Peer::Openssl]) {
        return;
    }
    let lab = Lab::new();
    let proxy = start(&lab, LOCAL);
    let file = programme(&lab);
    let mut command = lab.command(Place::Client, "ffmpeg");
    command.args(["-v", "warning", "-nostdin", "-re", "-i"]).arg(file).args(["-t", "15", "-c", "copy"]);
    command.args(["-f", "rtsp", "-rtsp_transport", "udp", &url("live/cam")]);
    let mut publisher = lab.start("ffmpeg-publisher", command);
    receives(&proxy, &mut publisher);
    // ffmpeg takes the connection in any case, and GStreamer what it is told to.
    let secure = [FFMPEG_TCP, GST_SRTP, GST_TLS].map(|reader| reader.begin(&lab, &at("live/cam")));
    let plain = FFMPEG_UDP.begin(&lab, &url("live/cam"));
    for reading in secure {
        reading.done();
    }
    plain.done();
    assert_eq!((keyed_by(&proxy, "SDES"), keyed_by(&proxy, "MIKEY")), (2, 4), "{}", proxy.log());
    // GStreamer's reports come as SRTCP; ffmpeg's come in the clear, and are not taken.
    assert_eq!(proxy.metric("msm_dropped_total", &["reason=\"send_srtp\""]), 0.0);
    assert_eq!(proxy.metric("msm_dropped_total", &["reason=\"srtp_forged\""]), 0.0);
}

fn published_by_gstreamer(protocols: &str) {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer, Peer::GstTls, Peer::Openssl]) {
        return;
    }
    let lab = Lab::new();
    let proxy = start(&lab, LOCAL);
    let mut publisher = gst_publisher(&lab, &at("live/cam"), protocols);
    receives(&proxy, &mut publisher);
    let readings = [(FFMPEG_UDP, url("live/cam")), (GST_TCP, url("live/cam")), (GST_SRTP, at("live/cam"))]
        .map(|(reader, url)| reader.begin(&lab, &url));
    for reading in readings {
        reading.done();
    }
    assert_eq!(refused(&proxy), 0.0);
    assert_eq!(keyed_by(&proxy, "MIKEY"), 4, "two tracks in, two out: {}", proxy.log());
}

#[test]
fn gstreamer_publishes_srtp_over_udp() {
    published_by_gstreamer("udp");
}

#[test]
fn gstreamer_publishes_srtp_over_tcp() {
    published_by_gstreamer("tcp");
}

/// A server that describes its media as SRTP is read as that, without a word in the configuration.
fn read_from_gstreamer(transport: &str) {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer, Peer::GstServer]) {
        return;
    }
    let lab = Lab::new();
    let server = servers::gstreamer(&lab, &["--srtp", "--transports", transport]);
    let proxy = Proxy::start(&lab, &forwarding(&format!("rtsp://{SERVER}:8554"), ""));
    let readings = [FFMPEG_UDP, GST_TCP].map(|reader| reader.begin(&lab, &url("test")));
    for reading in readings {
        reading.done();
    }
    assert_eq!(servers::count(&server, "play"), 1, "one upstream session");
    assert_eq!(keyed_by(&proxy, "MIKEY"), 2, "{}", proxy.log());
    assert_eq!(refused(&proxy), 0.0);
    assert!(proxy.log().contains("keys came in the clear"), "the operator is warned");
}

#[test]
fn gstreamer_is_read_from_over_udp() {
    read_from_gstreamer("udp");
}

#[test]
fn gstreamer_is_read_from_over_tcp() {
    read_from_gstreamer("tcp");
}

/// What is published in the clear goes on to a server as SRTP, over TLS and UDP.
#[test]
fn gstreamer_is_published_to() {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer, Peer::GstServer, Peer::GstTls, Peer::Openssl]) {
        return;
    }
    let lab = Lab::new();
    certify(&lab, SERVER);
    let both = ["key", "pem"].map(|end| fs::read_to_string(lab.file(&format!("server.{end}"))).unwrap());
    fs::write(lab.file("both.pem"), both.concat()).unwrap();
    let server = servers::gstreamer(&lab, &["--srtp", "--record", "--auth", "digest", "--tls", "both.pem"]);
    let cluster = "srtp: true, transport: udp, tls: {ca: server.pem}, auth: {user: alice, password: secret}";
    let proxy = Proxy::start(&lab, &forwarding(&format!("rtsps://{SERVER}:8554"), cluster));
    let file = programme(&lab);
    let mut command = lab.command(Place::Client, "ffmpeg");
    command.args(["-v", "warning", "-nostdin", "-re", "-i"]).arg(file).args(["-t", "8", "-c", "copy"]);
    command.args(["-f", "rtsp", "-rtsp_transport", "tcp", &url("test")]);
    let mut publisher = lab.start("ffmpeg-publisher", command);
    publisher.until(Duration::from_secs(20), "decoded frames at the server", |_| {
        let frames = server.out();
        let last = frames.lines().rfind(|line| line.starts_with("frames"));
        let mut counts = last.unwrap_or_default().split(' ').skip(1).map(|count| count.parse::<usize>());
        counts.next().is_some_and(|video| video.is_ok_and(|video| video > 60))
            && counts.next().is_some_and(|audio| audio.is_ok_and(|audio| audio > 60))
    });
    assert_eq!(keyed_by(&proxy, "suite"), 2, "{}", proxy.log());
    assert_eq!(refused(&proxy), 0.0);
}
