//! Real players and publishers whose URL becomes a redirect while they are at it: none of them must fail at being asked to go.

use crate::lab::{Lab, Place};
use crate::media::programme;
use crate::need::{Peer, have, workspace};
use crate::process::Process;
use crate::proxy::{LOCAL, Proxy, url};
use crate::publish::published;
use crate::readers::{FFMPEG_TCP, FFMPEG_UDP, Frames, GST_RTSP2, GST_TCP, OPENRTSP_UDP, VLC_UDP};
use std::time::{Duration, Instant};

const MOVED: &str = "routes: [{name: moved, match: {url: \"rtsp://*/{path...}\"}, redirect: {to: \"rtsp://10.72.0.9/{path...}\", leave_within: 60s}}]\n";

/// How long readers have in [`SHORT`].
const WITHIN: Duration = Duration::from_secs(4);
/// Of readers alone, whose publisher stays.
const SHORT: &str = "routes:\n  - {name: moved, match: {url: \"rtsp://*/{path...}\", actions: [read]}, redirect: {to: \"rtsp://10.72.0.9/{path...}\", leave_within: 4s}}\n  - {name: local, match: {url: \"rtsp://*/{path...}\", actions: [publish]}}\n";
/// How much later than that a session may be ended, and its reader notice.
const LATER: Duration = Duration::from_secs(4);

/// Publishes for so many seconds.
fn publisher(lab: &Lab, seconds: &str) -> Process {
    let mut command = lab.command(Place::Client, "ffmpeg");
    command.args(["-v", "warning", "-nostdin", "-re", "-stream_loop", "-1", "-i"]).arg(programme(lab));
    command.args(["-t", seconds, "-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", &url("live/cam")]);
    let mut publisher = lab.start("ffmpeg-publisher", command);
    published(lab, &mut publisher, "live/cam");
    publisher
}

/// Waits until so many readers play.
fn play(proxy: &Proxy<'_>, readers: usize, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    while proxy.metric("msm_readers", &[]) < readers as f64 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    proxy.metric("msm_readers", &[]) >= readers as f64
}

#[test]
fn who_does_not_leave_ends_when_its_time_is_over() {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer]) {
        return;
    }
    let lab = Lab::new();
    let proxy = Proxy::start(&lab, LOCAL);
    let publisher = publisher(&lab, "40");
    let ffmpeg = |transport: &str| {
        let name = format!("ffmpeg-{transport}");
        let mut command = lab.command(Place::Client, "ffmpeg");
        command.args([
            "-v",
            "level+warning",
            "-nostdin",
            "-rtsp_transport",
            transport,
            "-i",
            &url("live/cam"),
        ]);
        command.args(["-c", "copy", "-f", "framecrc", &format!("{name}.frames")]);
        lab.start(&name, command)
    };
    let gstreamer = |options: &str| {
        let mut command = lab.command(Place::Client, "/usr/bin/python3");
        command.arg(workspace().join("msm-proxy/tests/peers/gst_reader.py"));
        // They read on for as long as there is anything.
        command.args([&url("live/cam"), "1000000", "1000000"]).args(options.split(' '));
        lab.start(&format!("gst-{}", options.replace(['=', ' '], "-")), command)
    };
    let readers = [
        ffmpeg("udp"),
        ffmpeg("tcp"),
        gstreamer("protocols=udp"),
        gstreamer("protocols=tcp"),
        gstreamer("protocols=tcp default-rtsp-version=2-0"),
    ];
    let count = readers.len();
    assert!(play(&proxy, count, Duration::from_secs(15)), "not all of them play");
    let asked = Instant::now();
    proxy.reload(SHORT);
    std::thread::sleep(WITHIN - Duration::from_millis(500));
    assert!(proxy.metric("msm_readers", &[]) >= 1.0, "all of them left at being asked");
    let ends: Vec<_> = std::thread::scope(|scope| {
        let waiting = readers.map(|reader| {
            scope.spawn(move || {
                let finished = reader.finish(2 * WITHIN + LATER);
                (finished, asked.elapsed())
            })
        });
        waiting.into_iter().map(|waiting| waiting.join().unwrap()).collect()
    });
    for (finished, after) in &ends {
        println!("{} ended {after:.1?} after it was asked to go: {:?}", finished.name, finished.status);
    }
    for (finished, after) in &ends {
        assert!(finished.status.is_some(), "{} goes on:\n{}", finished.name, finished.err);
        assert!(*after < WITHIN + LATER, "{} ended after {after:?}:\n{}", finished.name, finished.err);
    }
    for transport in ["udp", "tcp"] {
        let frames = Frames::read(&lab.file(&format!("ffmpeg-{transport}.frames")));
        assert!(
            frames.video > 75 && frames.audio > 150,
            "over {transport} media came until then: {frames:?}"
        );
    }
    assert_eq!(proxy.metric("msm_readers", &[]), 0.0);
    assert_eq!(proxy.metric("msm_streams", &[]), 1.0, "their publisher stays");
    let _ = publisher.interrupt(Duration::from_secs(5));
}

#[test]
fn they_go_on_until_they_leave_by_themselves() {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer, Peer::Live555, Peer::Vlc]) {
        return;
    }
    let lab = Lab::new();
    let proxy = Proxy::start(&lab, LOCAL);
    let publisher = publisher(&lab, "20");
    let readers = [FFMPEG_UDP, FFMPEG_TCP, GST_TCP, GST_RTSP2, OPENRTSP_UDP, VLC_UDP];
    let readings = readers.map(|reader| reader.begin(&lab, &url("live/cam")));
    // Each reads for three seconds: they are asked once as many as can be play at the same time.
    play(&proxy, readings.len(), Duration::from_secs(3));
    proxy.reload(MOVED);
    for reading in readings {
        reading.done();
    }
    publisher.finish(Duration::from_secs(40)).success();
    let log = proxy.log();
    let sent = log.matches("session is sent elsewhere").count();
    // At least the publisher and some of the readers.
    assert!(sent >= 3, "{sent} were asked");
    for line in log.lines().filter(|line| line.contains("the client answers")) {
        println!("{line}");
    }
}
