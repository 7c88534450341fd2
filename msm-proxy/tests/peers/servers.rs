//! Real servers, as upstreams.

use crate::lab::{Lab, PROXY, Place, SERVER};
use crate::need::workspace;
use crate::process::Process;
use std::time::Duration;

const START: Duration = Duration::from_secs(15);

/// `gst_server.py` in the server's namespace.
pub(crate) fn gstreamer(lab: &Lab, options: &[&str]) -> Process {
    gstreamer_at(lab, Place::Server, options)
}

/// `gst_server.py`, at the server's or at the proxy's address.
pub(crate) fn gstreamer_at(lab: &Lab, place: Place, options: &[&str]) -> Process {
    let mut command = lab.command(place, "/usr/bin/python3");
    command.arg(workspace().join("msm-proxy/tests/peers/gst_server.py"));
    command.args(["--address", if place == Place::Server { SERVER } else { PROXY }]).args(options);
    let mut process = lab.start("gst-server", command);
    process.until(START, "ready", |process| process.out().contains("ready"));
    process
}

/// How often the server said `event`.
pub(crate) fn count(server: &Process, event: &str) -> usize {
    server.out().lines().filter(|line| line.split(' ').next() == Some(event)).count()
}

/// live555MediaServer, which serves the files of the test's directory on port 8554 or, if it gets that, 554. Returns the
/// URL that it names.
pub(crate) fn live555(lab: &Lab) -> (Process, String) {
    let mut process = lab.start("live555MediaServer", lab.in_sid(Place::Server, "live555MediaServer"));
    process.until(START, "address", |process| process.err().contains("rtsp://"));
    let text = process.err();
    let port = text.split("rtsp://").nth(1).and_then(|rest| rest.split('/').next());
    let port = port.and_then(|address| address.rsplit_once(':')).map_or("554", |(_, port)| port);
    (process, format!("rtsp://{SERVER}:{port}"))
}

/// VLC, which serves `file` of the test's directory over and over at `/vlc`.
pub(crate) fn vlc(lab: &Lab, file: &str) -> Process {
    let mut command = lab.in_sid(Place::Server, "setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.args(["cvlc", "-I", "dummy", "--no-dbus", "--aout", "dummy", &format!("/w/{file}")]);
    command.args(["--sout", "#rtp{sdp=rtsp://:8554/vlc}", "--sout-keep", "--loop", "--sout-all"]);
    let mut process = lab.start("vlc-server", command);
    process.until(START, "open port", |_| listens(lab, Place::Server));
    process
}

/// ffmpeg waiting for one publisher, whose stream it decodes. Ends with that publisher.
pub(crate) fn ffmpeg_sink(lab: &Lab, place: Place, transport: &str) -> Process {
    let mut command = lab.command(place, "ffmpeg");
    command.args(["-v", "error", "-nostdin", "-rtsp_flags", "listen", "-rtsp_transport", transport]);
    let address = if place == Place::Server { SERVER } else { PROXY };
    command.args(["-i", &format!("rtsp://{address}:8554/sink"), "-map", "0", "-vsync", "passthrough"]);
    command.args(["-f", "framecrc", "-flush_packets", "1", "sink.frames"]);
    let mut process = lab.start("ffmpeg-sink", command);
    process.until(START, "open port", |_| listens(lab, place));
    process
}

/// Whether something listens on port 8554.
fn listens(lab: &Lab, place: Place) -> bool {
    let mut command = lab.command(place, "ss");
    !command.args(["-Hltn", "sport = :8554"]).output().unwrap().stdout.is_empty()
}
