//! Many readers of one stream, readers that come late, and what an independent judge sees on the wire.

use crate::lab::{CLIENT, Lab, PROXY, Place, direct};
use crate::need::{Peer, have};
use crate::process::Process;
use crate::proxy::{Proxy, to_server, url};
use crate::readers::{
    FFMPEG_MULTICAST, FFMPEG_UDP, Frames, GST_UDP, OPENRTSP_UDP, Reader, no_damage, quality,
};
use crate::servers;
use crate::tshark::{Capture, Flow};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// GStreamer's live server over UDP, and the proxy in front of it.
fn live<'lab>(lab: &'lab Lab, options: &[&str]) -> (Process, Option<Proxy<'lab>>) {
    if direct() {
        let all = ["--transports", "udp,tcp,multicast", "--group", "239.20.10"];
        return (servers::gstreamer_at(lab, Place::Proxy, &[&all, options].concat()), None);
    }
    (servers::gstreamer(lab, options), Some(Proxy::start(lab, &to_server("udp"))))
}

/// Nothing lost, in order, at the pace of its timestamps, and with less jitter than a frame.
fn judge(name: &str, flow: &Flow) {
    assert!(flow.packets.len() >= 100, "{name}: {} packets", flow.packets.len());
    assert_eq!(flow.lost(), 0, "{name}: lost packets");
    assert_eq!(flow.out_of_order(), 0, "{name}: packets out of order");
    let (jitter, pace) = (flow.jitter(flow.rate()), flow.pace(flow.rate()));
    assert!(jitter < 0.02, "{name}: jitter {:.1} ms", jitter * 1000.0);
    assert!((0.9..1.1).contains(&pace), "{name}: {pace:.3} s of media a second");
}

fn judged(reader: Reader, destination: impl Fn(&str) -> bool) {
    if !have(&[Peer::GstServer, Peer::Ffmpeg, Peer::Tshark]) {
        return;
    }
    let lab = Lab::alone();
    let (_server, proxy) = live(&lab, &[]);
    let capture = Capture::start(&lab);
    reader.read(&lab, &url("test"));
    let flows = capture.flows(PROXY);
    if let Some(proxy) = &proxy {
        proxy.print_losses();
    }
    assert_eq!(flows.len(), 2, "one flow a track: {:?}", flows.keys());
    for ((address, port, ssrc), flow) in &flows {
        assert!(destination(address), "media goes to {address}");
        judge(&format!("{address}:{port} {ssrc:08x}"), flow);
    }
}

#[test]
fn tshark_judges_udp() {
    judged(FFMPEG_UDP, |address| address == CLIENT);
}

#[test]
fn tshark_judges_multicast() {
    judged(FFMPEG_MULTICAST, |address| address.starts_with("239."));
}

/// Three readers of a multicast stream are one flow a track on the wire.
#[test]
fn multicast_readers_share_one_send() {
    if !have(&[Peer::GstServer, Peer::Ffmpeg, Peer::Gstreamer, Peer::Tshark]) {
        return;
    }
    let lab = Lab::alone();
    let (_server, _proxy) = live(&lab, &[]);
    let capture = Capture::start(&lab);
    let readings = [(); 3].map(|()| FFMPEG_MULTICAST.begin(&lab, &url("test")));
    for reading in readings {
        reading.done();
    }
    let flows = capture.flows(PROXY);
    assert_eq!(flows.len(), 2, "one flow a track: {:?}", flows.keys());
    for flow in flows.values() {
        assert_eq!(flow.lost(), 0);
        assert_eq!(flow.out_of_order(), 0, "packets sent twice or out of order");
    }
}

/// A reader that joins at any moment of a group of pictures decodes its first 100 frames without an error. The group is
/// four seconds long, and parameter sets come only with its key frame.
#[test]
fn late_readers_decode_from_the_first_frame() {
    if !have(&[Peer::GstServer, Peer::Ffmpeg]) {
        return;
    }
    let lab = Lab::alone();
    let (server, _proxy) = live(&lab, &["--gop", "100"]);
    let first = late(&lab, 0, "udp");
    let others: Vec<_> = (1..=8)
        .map(|number| {
            sleep(Duration::from_millis(530));
            late(&lab, number, ["udp", "tcp"][number % 2])
        })
        .collect();
    for (number, process) in std::iter::once(first).chain(others).enumerate() {
        let finished = process.finish(Duration::from_secs(40)).success();
        assert_eq!(finished.err, "", "reader {number}");
        let frames = Frames::read(&lab.file(&format!("late-{number}.frames")));
        assert_eq!(frames.video, 100, "reader {number}");
    }
    assert!(direct() || servers::count(&server, "play") == 1, "one upstream session");
}

fn late(lab: &Lab, number: usize, transport: &str) -> Process {
    let mut command = lab.command(Place::Client, "ffmpeg");
    command.args(["-v", "error", "-nostdin", "-rtsp_transport", transport]);
    command.args(own_ports(number)).args(["-i", &url("test"), "-map", "0:v"]);
    // Not by a time: what decodes is counted, and a damaged beginning would only make it later.
    command.args([
        "-frames:v",
        "100",
        "-vsync",
        "passthrough",
        "-f",
        "framecrc",
        &format!("late-{number}.frames"),
    ]);
    lab.start(&format!("late-{number}"), command)
}

/// UDP ports for one ffmpeg of many: left to themselves they choose at random, and now and then the same.
fn own_ports(number: usize) -> [String; 4] {
    let port = 10_000 + number * 8;
    ["-min_port".into(), port.to_string(), "-max_port".into(), (port + 7).to_string()]
}

/// What the readers of the crowd are.
const CROWD: usize = 100;

/// Those of them that start at a time.
const STARTING: usize = 8;

/// A hundred readers of four kinds on one stream: one upstream session, and no packet lost by any of them.
#[test]
fn a_hundred_readers_of_one_stream() {
    if !have(&[Peer::GstServer, Peer::Ffmpeg, Peer::Gstreamer, Peer::Live555, Peer::Tshark]) {
        return;
    }
    let lab = Lab::alone();
    let (server, proxy) = live(&lab, &[]);
    let capture = Capture::start(&lab);
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        crowd.push(member(&lab, number));
        // Starting a process costs more than a second of reading, and all at once would leave the proxy no time; the last one starts
        // while the first still reads.
        let deadline = Instant::now() + Duration::from_secs(2);
        while number >= STARTING && !reads(&lab, number - STARTING) && Instant::now() < deadline {
            sleep(Duration::from_millis(5));
        }
    }
    if let Some(proxy) = &proxy {
        let deadline = Instant::now() + Duration::from_secs(10);
        while proxy.metric("msm_readers", &[]) < CROWD as f64 && Instant::now() < deadline {
            sleep(Duration::from_millis(200));
        }
        println!("resident with {CROWD} readers: {} KiB", proxy.resident());
        assert_eq!(proxy.metric("msm_readers", &[]), CROWD as f64, "readers at once");
    }
    let mut over_udp = 0;
    let crowd: Vec<_> = crowd.into_iter().map(|process| process.finish(Duration::from_secs(60))).collect();
    if let Some(proxy) = &proxy {
        proxy.print_losses();
    }
    for (number, finished) in crowd.into_iter().enumerate() {
        let finished = finished.success();
        over_udp += usize::from(number.is_multiple_of(2));
        if number % 5 == 4 {
            let quality = quality(&finished);
            assert_eq!(quality.len(), 2, "reader {number}: {}", finished.err);
            assert!(
                quality.iter().all(|(received, lost)| *received > 1000 && *lost == 0),
                "{number}: {quality:?}"
            );
        } else {
            no_damage(&format!("reader {number}"), &finished.err);
            let file = lab.file(&format!("crowd-{number}.frames"));
            let frames = Frames::read(&file);
            assert!(frames.video >= 600, "reader {number} got {frames:?}, not {:?}", Frames::holes(&file));
        }
    }
    if !direct() {
        assert_eq!(servers::count(&server, "play"), 1, "one upstream session");
    }
    let flows = capture.flows(PROXY);
    assert_eq!(flows.len(), 2 * over_udp, "flows on the wire");
    for ((_, port, ssrc), flow) in &flows {
        assert_eq!(flow.lost(), 0, "to port {port}, {ssrc:08x}");
    }
    if let Some(proxy) = proxy {
        for name in ["msm_lost_total", "msm_unrecovered_total", "msm_reader_lost_total"] {
            assert_eq!(proxy.metric(name, &[]), 0.0, "{name}");
        }
        assert!(proxy.interrupt().status.is_some_and(|status| status.success()), "the proxy ends well");
    }
}

/// One reader for 25 seconds: every fifth is openRTSP, the others ffmpeg; every other one over UDP. They copy and
/// do not decode, which would be too much for a small machine.
fn member(lab: &Lab, number: usize) -> Process {
    let name = format!("crowd-{number}");
    let udp = number.is_multiple_of(2);
    if number % 5 == 4 {
        let mut command = lab.in_sid(Place::Client, "openRTSP");
        command.args(["-d", "25", "-Q", "-F", &name]).args((!udp).then_some("-t")).arg(url("test"));
        return lab.start(&name, command);
    }
    let mut command = lab.command(Place::Client, "ffmpeg");
    command.args(["-v", "level+warning", "-nostdin", "-rtsp_transport", if udp { "udp" } else { "tcp" }]);
    command.args(own_ports(number)).args([
        "-i",
        &url("test"),
        "-map",
        "0:v",
        "-map",
        "0:a",
        "-c",
        "copy",
        "-t",
        "25",
    ]);
    command.args(["-flush_packets", "1", "-f", "framecrc", &format!("{name}.frames")]);
    lab.start(&name, command)
}

/// Whether a member has media already.
fn reads(lab: &Lab, number: usize) -> bool {
    let files = [format!("crowd-{number}.frames"), format!("crowd-{number}video-H264-1")];
    files.iter().any(|file| lab.file(file).metadata().is_ok_and(|file| file.len() > 0))
}

/// Readers of two kinds leave nothing behind: after the last one the upstream session ends.
#[test]
fn the_upstream_session_ends_after_the_last_reader() {
    if !have(&[Peer::GstServer, Peer::Gstreamer, Peer::Live555, Peer::Ffmpeg]) || direct() {
        return;
    }
    let lab = Lab::new();
    let server = servers::gstreamer(&lab, &[]);
    let config = to_server("udp").replace("{name: all,", "{name: all, idle_timeout: 1s,");
    let _proxy = Proxy::start(&lab, &config);
    let readings = [GST_UDP, OPENRTSP_UDP].map(|reader| reader.begin(&lab, &url("test")));
    for reading in readings {
        reading.done();
    }
    assert_eq!(servers::count(&server, "play"), 1);
    sleep(Duration::from_secs(3));
    assert_eq!(servers::count(&server, "teardown"), 1, "{}", server.out());
}
