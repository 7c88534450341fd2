//! Packets that are lost on plain hops, and what peers and we do about it by their standards.

use crate::lab::{CLIENT, Lab, PROXY, Place, SERVER};
use crate::need::{Peer, have, workspace};
use crate::proxy::{LOCAL, Proxy, to_server, url};
use crate::publish::published;
use crate::readers::{FFMPEG_TCP, FFMPEG_UDP, GST_PATIENT, Reader};
use crate::servers;
use crate::stalls::{Run, unless_stalled};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// One packet in so many is lost. An odd number: media and repair packets may take turns.
const ONE_IN: u32 = 23;

/// A reader behind a link that loses packets of media. Whatever it lost, the upstream was asked for nothing.
fn reads(reader: Reader) {
    if !have(&[Peer::GstServer, reader.peer, Peer::Ffmpeg, Peer::Nftables]) {
        return;
    }
    let lab = Lab::alone();
    let server = servers::gstreamer(&lab, &[]);
    // GStreamer is told that it may ask only where that is wished.
    let config = to_server("udp").replace("match:", "protection: {nack: on}, match:");
    let proxy = Proxy::start(&lab, &config);
    lab.lose(Place::Client, ONE_IN, &format!("ip saddr {PROXY} udp sport 8000"));
    let missed = reader.begin(&lab, &url("test")).missed();
    let lost = lab.lost(Place::Client);
    let again = proxy.metric("msm_retransmitted_total", &[]);
    assert!(lost > 5, "{lost} packets were lost");
    assert!(again >= lost as f64 / 2.0, "{lost} were lost, {again} sent again");
    // They ask as seldom as RTCP's timing has it, ffmpeg every 200 ms, and what they ask for can be lost as well.
    assert!(missed <= lost / 2, "{missed} missed of {lost}");
    assert_eq!(proxy.metric("msm_lost_total", &[]), 0.0, "between server and proxy nothing was lost");
    assert_eq!(servers::count(&server, "play"), 1);
}

#[test]
fn gstreamer_gets_retransmissions() {
    reads(GST_PATIENT);
}

#[test]
fn ffmpeg_gets_packets_again() {
    reads(FFMPEG_UDP);
}

/// Time enough for a peer that shares its processors with other tests to answer.
const PATIENCE: Duration = Duration::from_secs(1);

fn patient(config: &str) -> String {
    config.replace("match:", &format!("protection: {{latency: {}s}}, match:", PATIENCE.as_secs()))
}

/// A server that keeps packets, behind a link that loses them. tshark reads what we ask for.
#[test]
fn gstreamer_s_server_is_asked_again() {
    if !have(&[Peer::GstServer, Peer::Ffmpeg, Peer::Tshark, Peer::Nftables]) {
        return;
    }
    unless_stalled(PATIENCE, a_server_is_asked_again);
}

fn a_server_is_asked_again() -> Run {
    let lab = Lab::alone();
    let _server = servers::gstreamer(&lab, &["--rtx", "1000"]);
    let proxy = Proxy::start(&lab, &patient(&to_server("udp")));
    let mut command = lab.command(Place::Server, "dumpcap");
    command.args([
        "-q",
        "-i",
        "srv0",
        "-f",
        "udp and dst host 10.71.0.2 or src host 10.71.0.2",
        "-w",
        "up.pcapng",
    ]);
    let mut capture = lab.start("dumpcap", command);
    capture.until(Duration::from_secs(10), "capture", |process| process.err().contains("File:"));
    // Reports are small, and media in this stream mostly is not.
    lab.lose(Place::Proxy, ONE_IN, &format!("ip saddr {SERVER} udp length > 60"));
    let mut run = Run::begin();
    FFMPEG_TCP.begin(&lab, &url("test")).judge(&mut run);
    run.end();
    all_came_again(&lab, &proxy, &mut run);
    capture.interrupt(Duration::from_secs(10));
    let asked = requests(&lab);
    let recovered = proxy.metric("msm_recovered_total", &["by=\"nack\""]);
    assert!(asked.len() as f64 >= recovered / 2.0, "tshark reads {} requests", asked.len());
    assert!(asked.iter().all(|request| request.starts_with("201,202,205\t")), "{asked:?}");
    run
}

/// What the link to the proxy lost came again, and in time.
fn all_came_again(lab: &Lab, proxy: &Proxy<'_>, run: &mut Run) {
    proxy.print_losses();
    let lost = lab.lost(Place::Proxy);
    let recovered = proxy.metric("msm_recovered_total", &["by=\"nack\""]);
    let unrecovered = proxy.metric("msm_unrecovered_total", &[]);
    assert!(lost > 5, "{lost} packets were lost");
    assert!(recovered >= lost as f64 / 2.0, "{lost} were lost, {recovered} came again");
    run.in_time(unrecovered == 0.0, || {
        format!("{lost} were lost, {recovered} came again, {unrecovered} did not")
    });
}

/// What tshark reads of the requests in `up.pcapng`: kinds of packets, senders, sources, numbers.
fn requests(lab: &Lab) -> Vec<String> {
    let read = |filter: &str| {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(lab.file("up.pcapng")).args(["--enable-heuristic", "rtcp_udp", "-T", "fields"]);
        command.args([
            "--enable-heuristic",
            "rtp_udp",
            "-Y",
            filter,
            "-e",
            "rtcp.pt",
            "-e",
            "rtcp.senderssrc",
        ]);
        command.args(["-e", "rtcp.mediassrc", "-e", "rtcp.rtpfb.nack_pid", "-e", "rtcp.rtpfb.nack_blp"]);
        let finished = lab.run("tshark", command, Duration::from_secs(60)).success();
        finished.out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(read("rtcp.rtpfb.fmt == 1 && _ws.malformed"), Vec::<String>::new());
    read(&format!("ip.dst == {SERVER} && rtcp.rtpfb.fmt == 1"))
}

/// A server that sends repair packets among the media (RFC 5109): what they give back is not asked for.
#[test]
fn repair_packets_of_gstreamer_s_server_are_used() {
    if !have(&[Peer::GstServer, Peer::Ffmpeg, Peer::Nftables]) {
        return;
    }
    let lab = Lab::alone();
    let _server = servers::gstreamer(&lab, &["--ulpfec", "100"]);
    let proxy = Proxy::start(&lab, &patient(&to_server("udp")));
    // Without loss nobody sees that there are such packets.
    FFMPEG_TCP.read(&lab, &url("test"));
    assert_eq!(proxy.metric("msm_lost_total", &[]), 0.0);
    // Its encoder protects frames, which end with a marker: Opus has none. Repair packets themselves nothing repairs.
    lab.lose(Place::Proxy, 11, &format!("ip saddr {SERVER} udp length > 60 @th,72,8 & 0x7f == 96"));
    FFMPEG_TCP.read(&lab, &url("test"));
    proxy.print_losses();
    let lost = lab.lost(Place::Proxy);
    let recovered = proxy.metric("msm_recovered_total", &["by=\"fec\""]);
    assert!(lost > 5, "{lost} packets were lost");
    // The last frame of the stream may still be on its way.
    assert!(recovered >= lost as f64 - 1.0, "{lost} were lost, {recovered} computed");
}

/// GStreamer's recorder announces retransmissions; the link to the proxy loses packets of what it publishes.
#[test]
fn a_publisher_is_asked_again() {
    if !have(&[Peer::Gstreamer, Peer::Ffmpeg, Peer::Nftables]) {
        return;
    }
    unless_stalled(PATIENCE, a_recorder_is_asked_again);
}

fn a_recorder_is_asked_again() -> Run {
    let lab = Lab::alone();
    let proxy = Proxy::start(&lab, &patient(LOCAL));
    let mut command = lab.command(Place::Client, "/usr/bin/python3");
    command.arg(workspace().join("msm-proxy/tests/peers/gst_publisher.py")).args([
        &url("cam"),
        "avpf",
        "0",
        "20",
    ]);
    let mut publisher = lab.start("gst-publisher", command);
    published(&lab, &mut publisher, "cam");
    lab.lose(Place::Proxy, ONE_IN, &format!("ip saddr {CLIENT} udp length > 60"));
    let mut run = Run::begin();
    FFMPEG_TCP.begin(&lab, &url("cam")).judge(&mut run);
    run.end();
    all_came_again(&lab, &proxy, &mut run);
    run
}

/// Repair packets that we send, to a server that takes them: GStreamer's decoder is the judge.
#[test]
fn a_server_that_records_takes_our_repair_packets() {
    if !have(&[Peer::GstServer, Peer::Gstreamer, Peer::Ffmpeg, Peer::Nftables]) {
        return;
    }
    let lab = Lab::alone();
    let server = servers::gstreamer(&lab, &["--record", "--ulpfec", "50"]);
    let config = to_server("udp").replace("backends:", "protection: {fec: 50%}, backends:");
    let _proxy = Proxy::start(&lab, &config);
    lab.lose(Place::Server, 41, "ip saddr 10.71.0.2 udp length > 60");
    let mut command = lab.command(Place::Client, "/usr/bin/python3");
    command.arg(workspace().join("msm-proxy/tests/peers/gst_publisher.py")).args([
        &url("test"),
        "avp",
        "0",
        "8",
    ]);
    let _publisher = lab.start("gst-publisher", command);
    let deadline = Instant::now() + Duration::from_secs(20);
    let (recovered, unrecovered) = loop {
        let out = server.out();
        let last = out.lines().rfind(|line| line.starts_with("repaired ")).unwrap_or("repaired 0 0");
        let mut counts = last.split(' ').skip(1).map(|count| count.parse::<u64>().unwrap());
        let counts = (counts.next().unwrap(), counts.next().unwrap());
        if counts.0 >= 5 || Instant::now() > deadline {
            break counts;
        }
        sleep(Duration::from_millis(200));
    };
    // Repair packets are lost, too, and nothing repairs them: one in three, and two where small packets pass the link.
    let lost = lab.lost(Place::Server);
    assert!(recovered >= 5, "{recovered} recovered, {unrecovered} not, of {lost} lost");
    assert!(unrecovered <= 2 * recovered, "{recovered} recovered, {unrecovered} not, of {lost} lost");
}
