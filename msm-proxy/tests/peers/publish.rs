//! Real publishers: into the proxy, where readers find the stream, and through it to a server.

use crate::lab::{Lab, Place, direct};
use crate::media::programme;
use crate::need::{Peer, have};
use crate::process::Process;
use crate::proxy::{LOCAL, Proxy, to_server, url};
use crate::readers::{FFMPEG_UDP, Frames, GST_TCP, OPENRTSP_UDP};
use crate::servers;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Starts to publish `seconds` of a programme.
type Publish = fn(lab: &Lab, url: &str, seconds: u32) -> Process;

fn ffmpeg(lab: &Lab, url: &str, seconds: u32, transport: &str) -> Process {
    let file = programme(lab);
    let mut command = lab.command(Place::Client, "ffmpeg");
    command.args(["-v", "warning", "-nostdin", "-re", "-i"]).arg(file).args(["-t", &seconds.to_string()]);
    command.args(["-c", "copy", "-f", "rtsp", "-rtsp_transport", transport, url]);
    lab.start("ffmpeg-publisher", command)
}

fn ffmpeg_tcp(lab: &Lab, url: &str, seconds: u32) -> Process {
    ffmpeg(lab, url, seconds, "tcp")
}

fn ffmpeg_udp(lab: &Lab, url: &str, seconds: u32) -> Process {
    ffmpeg(lab, url, seconds, "udp")
}

fn gstreamer_tcp(lab: &Lab, url: &str, _seconds: u32) -> Process {
    let file = programme(lab);
    let mut command = lab.command(Place::Client, "gst-launch-1.0");
    command.args(["-q", "filesrc", &format!("location={}", file.display()), "!", "matroskademux", "name=d"]);
    command.args(["rtspclientsink", &format!("location={url}"), "protocols=tcp", "name=s"]);
    // It announces its tracks in the reverse order: video is to be the first, as the recording servers expect.
    command.args(["d.audio_0", "!", "queue", "!", "opusparse", "!", "s.sink_0"]);
    command.args(["d.video_0", "!", "queue", "!", "h264parse", "!", "s.sink_1"]);
    lab.start("gst-publisher", command)
}

/// Waits until the proxy answers DESCRIBE of `path` by 200.
pub(crate) fn published(lab: &Lab, publisher: &mut Process, path: &str) {
    let url = url(path);
    let host = crate::lab::PROXY;
    let ask = format!(
        "exec 3<>/dev/tcp/{host}/8554 && printf 'DESCRIBE {url} RTSP/1.0\\r\\nCSeq: 1\\r\\nAccept: application/sdp\\r\\n\\r\\n' >&3 && head -n 1 <&3"
    );
    publisher.until(Duration::from_secs(15), "stream at the proxy", |_| {
        let output = lab.command(Place::Client, "timeout").args(["5", "bash", "-c", &ask]).output().unwrap();
        output.stdout.starts_with(b"RTSP/1.0 200")
    });
}

/// Readers of three kinds read what one publisher publishes.
fn to_readers(peer: Peer, publish: Publish) {
    if !have(&[peer, Peer::Ffmpeg, Peer::Gstreamer, Peer::Live555]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = Proxy::start(&lab, LOCAL);
    let mut publisher = publish(&lab, &url("live/cam"), 15);
    published(&lab, &mut publisher, "live/cam");
    // Between two key frames, as a reader comes in life.
    sleep(Duration::from_millis(700));
    let readings = [FFMPEG_UDP, GST_TCP, OPENRTSP_UDP].map(|reader| reader.begin(&lab, &url("live/cam")));
    for reading in readings {
        reading.done();
    }
}

#[test]
fn ffmpeg_publishes_over_tcp() {
    to_readers(Peer::Ffmpeg, ffmpeg_tcp);
}

#[test]
fn ffmpeg_publishes_over_udp() {
    to_readers(Peer::Ffmpeg, ffmpeg_udp);
}

#[test]
fn gstreamer_publishes_over_tcp() {
    to_readers(Peer::Gstreamer, gstreamer_tcp);
}

/// Where a sink stands, and the proxy in front of it unless it stands in the proxy's place.
fn place() -> Place {
    if direct() { Place::Proxy } else { Place::Server }
}

/// A publisher through the proxy to ffmpeg, which must get and decode all but the first and last moments.
fn to_ffmpeg(peer: Peer, publish: Publish, towards: &str) {
    if !have(&[peer, Peer::Ffmpeg]) {
        return;
    }
    let lab = Lab::new();
    let sink = servers::ffmpeg_sink(&lab, place(), towards);
    let _proxy = (place() == Place::Server).then(|| Proxy::start(&lab, &to_server(towards)));
    publish(&lab, &url("sink"), 5).finish(Duration::from_secs(20)).success();
    let sink = sink.interrupt(Duration::from_secs(10));
    let frames = Frames::read(&lab.file("sink.frames"));
    assert!(
        frames.video >= 110 && frames.audio >= 220,
        "of 125 and 250 frames came {frames:?}\n{}",
        sink.err
    );
    assert!(!sink.err.contains("error while decoding"), "{}", sink.err);
}

#[test]
fn ffmpeg_over_udp_reaches_ffmpeg_over_tcp() {
    to_ffmpeg(Peer::Ffmpeg, ffmpeg_udp, "tcp");
}

#[test]
fn ffmpeg_over_tcp_reaches_ffmpeg_over_udp() {
    to_ffmpeg(Peer::Ffmpeg, ffmpeg_tcp, "udp");
}

/// A publisher through the proxy to GStreamer's recording server.
fn to_gstreamer(peer: Peer, publish: Publish) {
    if !have(&[peer, Peer::Ffmpeg, Peer::GstServer]) {
        return;
    }
    let lab = Lab::new();
    let server = servers::gstreamer_at(&lab, place(), &["--record"]);
    let _proxy = (place() == Place::Server).then(|| Proxy::start(&lab, &to_server("tcp")));
    let _publisher = publish(&lab, &url("test"), 8);
    let deadline = Instant::now() + Duration::from_secs(20);
    let counts = loop {
        let counts = recorded(&server);
        if counts.0 >= 100 && counts.1 >= 200 || Instant::now() > deadline {
            break counts;
        }
        sleep(Duration::from_millis(200));
    };
    assert!(counts.0 >= 100 && counts.1 >= 200, "recorded frames: {counts:?}");
}

/// The pictures and audio frames that the server has decoded.
pub(crate) fn recorded(server: &Process) -> (usize, usize) {
    let text = server.out();
    let last = text.lines().rfind(|line| line.starts_with("frames "));
    let mut counts = last.unwrap_or("").split(' ').skip(1).filter_map(|count| count.parse().ok());
    (counts.next().unwrap_or(0), counts.next().unwrap_or(0))
}

#[test]
fn ffmpeg_reaches_gstreamer() {
    to_gstreamer(Peer::Ffmpeg, ffmpeg_tcp);
}

/// GStreamer sends `mode=RECORD` in capitals.
#[test]
fn gstreamer_reaches_gstreamer() {
    to_gstreamer(Peer::Gstreamer, gstreamer_tcp);
}

/// ffmpeg's listening side takes only `mode=record`, GStreamer says `mode=RECORD`: they meet through the proxy.
#[test]
fn gstreamer_reaches_ffmpeg_that_refuses_its_spelling() {
    if !have(&[Peer::Gstreamer, Peer::Ffmpeg]) || place() == Place::Proxy {
        return;
    }
    let lab = Lab::new();
    let sink = servers::ffmpeg_sink(&lab, Place::Server, "tcp");
    let _proxy = Proxy::start(&lab, &to_server("tcp"));
    let _publisher = gstreamer_tcp(&lab, &url("sink"), 8);
    let deadline = Instant::now() + Duration::from_secs(20);
    let file = lab.file("sink.frames");
    while Frames::read(&file).video < 100 && Instant::now() < deadline {
        sleep(Duration::from_millis(200));
    }
    let sink = sink.interrupt(Duration::from_secs(10));
    assert!(Frames::read(&file).video >= 100, "{:?}\n{}", Frames::read(&file), sink.err);
}
