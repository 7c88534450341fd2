//! Real players and publishers whose URL becomes a redirect while they are at it: none of them must fail at being asked to go.

use crate::lab::{Lab, Place};
use crate::media::programme;
use crate::need::{Peer, have};
use crate::proxy::{LOCAL, Proxy, url};
use crate::publish::published;
use crate::readers::{FFMPEG_TCP, FFMPEG_UDP, GST_RTSP2, GST_TCP, OPENRTSP_UDP, VLC_UDP};
use std::time::{Duration, Instant};

const MOVED: &str = "routes: [{name: moved, match: {url: \"rtsp://*/{path...}\"}, redirect: {to: \"rtsp://10.72.0.9/{path...}\", leave_within: 60s}}]\n";

#[test]
fn they_go_on_until_they_leave_by_themselves() {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer, Peer::Live555, Peer::Vlc]) {
        return;
    }
    let lab = Lab::new();
    let proxy = Proxy::start(&lab, LOCAL);
    let mut command = lab.command(Place::Client, "ffmpeg");
    command.args(["-v", "warning", "-nostdin", "-re", "-i"]).arg(programme(&lab));
    command.args(["-t", "20", "-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", &url("live/cam")]);
    let mut publisher = lab.start("ffmpeg-publisher", command);
    published(&lab, &mut publisher, "live/cam");
    let readers = [FFMPEG_UDP, FFMPEG_TCP, GST_TCP, GST_RTSP2, OPENRTSP_UDP, VLC_UDP];
    let readings = readers.map(|reader| reader.begin(&lab, &url("live/cam")));
    // Each reads for three seconds: they are asked once as many as can be play at the same time.
    let patience = Instant::now() + Duration::from_secs(3);
    while proxy.metric("msm_readers", &[]) < readings.len() as f64 && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(50));
    }
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
