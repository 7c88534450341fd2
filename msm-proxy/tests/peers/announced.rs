//! Real players whose stream goes on in another codec, where its readers are told by ANNOUNCE: what they answer, and what becomes of them.

use crate::lab::{Lab, Place, SERVER};
use crate::need::{Peer, have, workspace};
use crate::process::Process;
use crate::proxy::{Proxy, forwarding, url};
use crate::servers;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

/// Reads until it is ended, and says so in what it writes and by its end.
fn ffmpeg(lab: &Lab, transport: &str) -> Process {
    let mut command = lab.command(Place::Client, "ffmpeg");
    command.args(["-v", "level+warning", "-nostdin", "-rtsp_transport", transport, "-i", &url("test")]);
    command.args(["-map", "0:v", "-f", "framecrc", "-flush_packets", "1", "-"]);
    lab.start(&format!("ffmpeg-{transport}"), command)
}

fn gstreamer(lab: &Lab, name: &str, more: &[&str]) -> Process {
    let mut command = lab.command(Place::Client, "/usr/bin/python3");
    command.arg(workspace().join("msm-proxy/tests/peers/gst_watcher.py"));
    command.args([&url("test"), "protocols=tcp"]).args(more);
    lab.start(name, command)
}

fn vlc(lab: &Lab) -> Process {
    let mut command = lab.in_sid(Place::Client, "setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.args(["cvlc", "-I", "dummy", "--no-dbus", "--aout", "dummy", &url("test")]);
    command.args(["--sout", "#standard{access=file,mux=ts,dst=/w/vlc.ts}", "vlc://quit"]);
    lab.start("vlc", command)
}

fn pictures(process: &Process) -> usize {
    process.out().lines().filter(|line| line.starts_with("0,")).count()
}

#[test]
fn players_end_unless_they_say_yes_and_none_waits_unseen() {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer, Peer::GstServer, Peer::Vlc]) {
        return;
    }
    let lab = Lab::new();
    let server = servers::gstreamer(&lab, &[]);
    let cluster = "transport: tcp, failover: {on_change: announce, announce_timeout: 4s}";
    let proxy = Proxy::start(&lab, &forwarding(&format!("rtsp://{SERVER}:8554"), cluster));
    let mut players = [ffmpeg(&lab, "tcp"), ffmpeg(&lab, "udp"), gstreamer(&lab, "gst-known", &[])];
    // It does not say what it is, and says yes to what it does not read.
    let mut nods = gstreamer(&lab, "gst-unknown", &["user-agent=Watcher/1"]);
    let vlc = vlc(&lab);
    for player in players.iter_mut().chain([&mut nods]) {
        player.until(SOON, "pictures", |player| pictures(player) > 25);
    }
    let patience = Instant::now() + SOON;
    while proxy.metric("msm_readers", &[]) < 5.0 {
        assert!(Instant::now() < patience, "VLC does not read");
        sleep(Duration::from_millis(50));
    }
    drop(server);
    let _server = servers::gstreamer(&lab, &["--vp8"]);
    for player in players {
        let finished = player.finish(SOON);
        assert!(
            finished.status.is_some(),
            "{} waits for what does not come:\n{}",
            finished.name,
            finished.err
        );
        println!("{}: {:?}\n{}", finished.name, finished.status, finished.err);
    }
    let finished = vlc.finish(SOON);
    assert!(finished.status.is_some(), "VLC waits for what does not come");
    let outcome = |outcome: &str| proxy.metric("msm_announces_total", &[&format!("outcome=\"{outcome}\"")]);
    assert_eq!(
        (outcome("refused"), outcome("unanswered")),
        (3.0, 0.0),
        "both ffmpegs and VLC:\n{}",
        proxy.log()
    );
    assert_eq!((outcome("not_asked"), outcome("moved")), (1.0, 1.0), "both GStreamers");
    // Who said yes and did not mean it gets media of which it can make nothing: it is seen in the log alone.
    let before = pictures(&nods);
    sleep(Duration::from_secs(3));
    assert!(pictures(&nods) <= before + 1, "it takes what it was told, after all");
    let finished = nods.finish(Duration::ZERO);
    println!("{}: {:?}\n{}", finished.name, finished.status, finished.err);
    let log = proxy.log();
    for status in ["501", "405"] {
        assert!(log.contains(&format!("answers ANNOUNCE with {status}")), "{status}");
    }
    for line in log.lines().filter(|line| line.contains("another form")) {
        println!("{line}");
    }
}
