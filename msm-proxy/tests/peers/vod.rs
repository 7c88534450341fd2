//! Recordings: seek, pause and speed reach the server, and one reader's do not touch another's. The media tells the time
//! that it shows, so a position is judged by what arrives, not by what a header says.

use crate::lab::{Lab, PROXY, Place, direct};
use crate::media::{ramp, recording};
use crate::need::{Peer, have, workspace};
use crate::process::Process;
use crate::proxy::{Proxy, forwarding, to_server, url};
use crate::readers::quality;
use crate::servers;
use std::fs;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(40);

/// GStreamer's server with the recording, and the proxy in front of it.
fn gst_recording<'lab>(lab: &'lab Lab, transport: &str) -> (Process, Option<Proxy<'lab>>) {
    let file = recording(lab);
    let file = file.to_str().unwrap();
    if direct() {
        return (servers::gstreamer_at(lab, Place::Proxy, &["--file", file]), None);
    }
    (servers::gstreamer(lab, &["--file", file]), Some(Proxy::start(lab, &to_server(transport))))
}

/// What the player did in one step.
#[derive(Debug)]
struct Step {
    pictures: usize,
    first: f64,
    last: f64,
    seconds: f64,
}

/// Starts GStreamer as a viewer that takes `steps`, see `gst_player.py`.
fn player(lab: &Lab, name: &str, transport: &str, steps: &[&str]) -> Process {
    let mut command = lab.command(Place::Client, "/usr/bin/python3");
    command.arg(workspace().join("msm-proxy/tests/peers/gst_player.py"));
    command.args([&url("test"), transport]).args(steps);
    lab.start(name, command)
}

fn steps(process: Process) -> Vec<Step> {
    let finished = process.finish(LIMIT).success();
    let step = |line: &str| {
        let mut values = line.split(' ').skip(1).map(|value| value.parse::<f64>().unwrap());
        let mut next = || values.next().unwrap();
        Step { pictures: next() as usize, first: next(), last: next(), seconds: next() }
    };
    finished.out.lines().map(step).collect()
}

fn near(what: &str, value: f64, wanted: f64, tolerance: f64) {
    assert!((value - wanted).abs() <= tolerance, "{what} is {value}, not {wanted} ± {tolerance}");
}

fn pause(transport: &str) {
    if !have(&[Peer::GstServer, Peer::Gstreamer, Peer::Ffmpeg]) {
        return;
    }
    let lab = Lab::new();
    let (server, _proxy) = gst_recording(&lab, transport);
    let pausing = player(&lab, "pausing", transport, &["play=2", "pause=2", "play=2"]);
    let other = player(&lab, "other", transport, &["play=5"]);
    let pausing = steps(pausing);
    assert_eq!(pausing.len(), 3);
    assert_eq!(pausing[1].pictures, 0, "pictures come in a pause: {pausing:?}");
    near("the first picture after the pause", pausing[2].first, pausing[0].last, 0.5);
    assert!(pausing[2].pictures >= 40, "{pausing:?}");

    let other = steps(other);
    assert!(other[0].pictures >= 110, "the other reader was paused, too: {other:?}");
    // Its own session: it saw the beginning, too.
    near("the other reader's first picture", other[0].first, 0.0, 0.5);
    assert!(servers::count(&server, "pause") >= 1);
}

#[test]
fn pause_over_udp() {
    pause("udp");
}

#[test]
fn pause_over_tcp() {
    pause("tcp");
}

fn seek_and_speed(transport: &str) {
    if !have(&[Peer::GstServer, Peer::Gstreamer, Peer::Ffmpeg]) {
        return;
    }
    let lab = Lab::new();
    let (_server, _proxy) = gst_recording(&lab, transport);
    let steps = steps(player(&lab, "player", transport, &["play=1", "seek=12", "speed=2"]));
    assert_eq!(steps.len(), 3);
    near("the first picture after the seek", steps[1].first, 12.0, 0.6);
    let fast = &steps[2];
    near("seconds shown in a second", (fast.last - fast.first) / fast.seconds, 2.0, 0.6);
}

#[test]
fn seek_and_speed_over_udp() {
    seek_and_speed("udp");
}

#[test]
fn seek_and_speed_over_tcp() {
    seek_and_speed("tcp");
}

fn ffmpeg_seeks(transport: &str) {
    if !have(&[Peer::GstServer, Peer::Ffmpeg]) {
        return;
    }
    let lab = Lab::new();
    let (_server, _proxy) = gst_recording(&lab, transport);
    let mut command = lab.command(Place::Client, "ffmpeg");
    command.args([
        "-v",
        "level+error",
        "-nostdin",
        "-ss",
        "10",
        "-rtsp_transport",
        transport,
        "-i",
        &url("test"),
    ]);
    command.args([
        "-map",
        "0:v",
        "-t",
        "1",
        "-vsync",
        "passthrough",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
        "seek.gray",
    ]);
    lab.run("ffmpeg", command, LIMIT).success();
    let pictures = fs::read(lab.file("seek.gray")).unwrap();
    let times: Vec<f64> = pictures.chunks_exact(160 * 120).map(|p| (f64::from(p[0]) - 16.0) / 10.0).collect();
    assert!(times.len() >= 20, "{times:?}");
    // ffmpeg opens the stream at its beginning before it seeks: a picture of before may be on its way.
    near("a picture after the seek", times[4], 10.2, 0.6);
}

#[test]
fn ffmpeg_seeks_over_udp() {
    ffmpeg_seeks("udp");
}

#[test]
fn ffmpeg_seeks_over_tcp() {
    ffmpeg_seeks("tcp");
}

/// openRTSP plays two seconds of the ramp, in which the sample at time t is 1000 × t. Returns the samples.
fn ramp_by_live555(options: &[&str]) -> Option<Vec<i16>> {
    if !have(&[Peer::Live555, Peer::Ffmpeg]) {
        return None;
    }
    let lab = Lab::new();
    ramp(&lab);
    let (_server, endpoint) = servers::live555(&lab);
    let _proxy = (!direct()).then(|| Proxy::start(&lab, &forwarding(&endpoint, "")));
    let url = if direct() { format!("{endpoint}/ramp.wav") } else { format!("rtsp://{PROXY}:8554/ramp.wav") };
    let mut command = lab.in_sid(Place::Client, "openRTSP");
    command.args(options).args(["-d", "2", "-Q", "-F", "ramp", &url]);
    let finished = lab.run("openRTSP", command, LIMIT).success();
    let quality = quality(&finished);
    assert!(quality.iter().all(|(received, lost)| *received >= 10 && *lost == 0), "{quality:?}");
    let bytes = fs::read(lab.file("rampaudio-L16-1")).unwrap();
    Some(bytes.chunks_exact(2).map(|sample| i16::from_be_bytes([sample[0], sample[1]])).collect())
}

#[test]
fn live555_seeks() {
    let Some(samples) = ramp_by_live555(&["-s", "10"]) else { return };
    near("the first sample", f64::from(samples[0]), 10_000.0, 20.0);
    let last = samples[samples.len() - 1];
    near("the last sample", f64::from(last), 12_000.0, 100.0);
}

#[test]
fn live555_plays_at_double_speed() {
    let Some(samples) = ramp_by_live555(&["-z", "2"]) else { return };
    // Each sample stands for twice its time.
    let slope = f64::from(samples[8000] - samples[0]);
    near("the rise in a second", slope, 2000.0, 20.0);
}
