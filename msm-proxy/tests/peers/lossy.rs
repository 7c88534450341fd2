//! That the readers' judgement is one: on a link that loses packets, each of them must fail.

use crate::lab::{DOWN, Lab, Place};
use crate::need::{Peer, have};
use crate::process::Process;
use crate::proxy::{Proxy, to_server, url};
use crate::readers::{self, Reader};
use crate::servers;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Lets through what a keyframe is too large for: a queue of a few packets on the way to the clients.
fn squeeze(lab: &Lab) -> Process {
    let mut command = lab.command(Place::Proxy, "tc");
    command.args([
        "qdisc", "add", "dev", DOWN, "root", "tbf", "rate", "120kbit", "burst", "1600", "limit", "3000",
    ]);
    lab.start("squeeze", command)
}

fn notices(reader: Reader, says: &str) {
    if !have(&[Peer::GstServer, reader.peer, Peer::Ffmpeg]) {
        return;
    }
    let lab = Lab::new();
    let _server = servers::gstreamer(&lab, &[]);
    let _proxy = Proxy::start(&lab, &to_server("udp"));
    squeeze(&lab).finish(std::time::Duration::from_secs(5)).success();
    let outcome = catch_unwind(AssertUnwindSafe(|| reader.read(&lab, &url("test"))));
    let Err(verdict) = outcome else {
        panic!("{:?} is content with a stream that lost packets", reader.peer)
    };
    // Not for want of time: it saw what is missing.
    let verdict = verdict.downcast_ref::<String>().map_or("", String::as_str);
    assert!(verdict.contains(says), "{verdict}");
}

#[test]
fn ffmpeg_notices() {
    notices(readers::FFMPEG_UDP, "missed");
}

#[test]
fn gstreamer_notices() {
    notices(readers::GST_UDP, "packets lost");
}

#[test]
fn openrtsp_notices() {
    notices(readers::OPENRTSP_UDP, "packets lost");
}

#[test]
fn vlc_notices() {
    notices(readers::VLC_UDP, "frames, not");
}
