//! Retransmission: GStreamer sends again what we ask for, and tshark reads our requests.

use crate::fec::{LIMIT, PACKETS};
use crate::lab::Lab;
use crate::need::{Peer, have};
use crate::sockets::{datagrams, port, sockets};
use msm_core::rng::Rng;
use msm_core::rtcp::Writer;
use msm_core::seq::Unwrapper;
use msm_fec::nack::rtx::{Identity, restore};
use msm_fec::nack::{Arrival, Requester, RequesterConfig, wire};
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) const MEDIA: Identity = Identity { ssrc: 1234, payload_type: 96 };
pub(crate) const RTX: Identity = Identity { ssrc: 5678, payload_type: 97 };
/// Our own, in RTCP.
const OWN: u32 = 77;
/// Which payload type is sent again as which, and under which SSRC.
pub(crate) const TYPES: &str = "payload-type-map=application/x-rtp-pt-map,96=(uint)97";
pub(crate) const SOURCES: &str = "ssrc-map=application/x-rtp-ssrc-map,1234=(uint)5678";
/// Of a hundred packets that are sent, and that it sends again.
pub(crate) const LOST: u64 = 8;
const AGAIN_LOST: u64 = 25;

pub(crate) fn gst(pipeline: &str) -> Command {
    let mut command = Command::new("gst-launch-1.0");
    command.args(pipeline.split(' ').filter(|word| !word.is_empty()));
    command
}

/// A compound packet as RFC 3550 §6.1 wants it, with a request at its end.
fn compound<'p>(buffer: &mut [u8], passes: impl IntoIterator<Item = &'p [u64]>) -> usize {
    let mut writer = Writer::new(buffer);
    writer.receiver_report(OWN, &[]).unwrap().sdes_cname(OWN, "asks").unwrap();
    wire::write_request(&mut writer, OWN, MEDIA.ssrc, passes).unwrap();
    writer.len()
}

#[test]
fn gstreamer_sends_again_what_we_ask_for() {
    if !have(&[Peer::Gstreamer]) {
        return;
    }
    let lab = Lab::alone();
    let theirs = port(&sockets(&[])[0]);
    let sockets = sockets(&[1]);
    let to = port(&sockets[0]);
    let from = datagrams(sockets);
    let _sender = lab.start(
        "gstreamer",
        gst(&format!(
            "-q rtpsession name=s rtp-profile=avpf \
             videotestsrc is-live=true pattern=snow ! video/x-raw,width=320,height=240,framerate=25/1 ! \
             x264enc tune=zerolatency speed-preset=ultrafast bitrate=3000 ! \
             rtph264pay pt=96 ssrc=1234 seqnum-offset=65400 ! rtprtxsend {TYPES} {SOURCES} max-size-packets=1000 ! \
             s.send_rtp_sink s.send_rtp_src ! udpsink host=127.0.0.1 port={to} sync=false async=false \
             s.send_rtcp_src ! udpsink host=127.0.0.1 port={} sync=false async=false \
             udpsrc address=127.0.0.1 port={theirs} caps=application/x-rtcp ! s.recv_rtcp_sink",
            to + 1
        )),
    );
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut requester = Requester::new(RequesterConfig::new(Duration::from_secs(1)));
    let (mut rng, mut unwrapper) = (Rng::new(3), Unwrapper::new());
    let (mut lost, mut back) = (BTreeMap::new(), BTreeMap::new());
    let (mut media, mut again) = (0, 0);
    let end = Instant::now() + LIMIT;
    while media < PACKETS || lost.keys().any(|index| !back.contains_key(index)) {
        assert!(Instant::now() < end, "{media} packets, {} of {} came again", back.len(), lost.len());
        let wait = requester.poll_timeout().map_or(Duration::from_millis(50), |(due, _)| {
            due.saturating_duration_since(Instant::now()).min(Duration::from_millis(50))
        });
        let came = from.recv_timeout(wait);
        let now = Instant::now();
        match came {
            Ok((0, mut packet)) if packet[1] & 0x7f == RTX.payload_type => {
                again += 1;
                if rng.range(0..100) >= AGAIN_LOST {
                    let (number, original) = restore(&mut packet, RTX, MEDIA).unwrap();
                    let index = unwrapper.unwrap(number);
                    requester.handle_packet(now, index, Arrival::Retransmission);
                    back.insert(index, original.to_vec());
                }
            }
            // Behind the last that counts, nothing is lost any more.
            Ok((0, packet)) => {
                let index = unwrapper.unwrap(u16::from_be_bytes([packet[2], packet[3]]));
                media += 1;
                if (20..PACKETS).contains(&media) && rng.range(0..100) < LOST {
                    lost.insert(index, packet);
                } else {
                    requester.handle_packet(now, index, Arrival::Media);
                }
            }
            _ => {}
        }
        requester.handle_timeout(now);
        while let Some(request) = requester.poll_transmit() {
            let mut buffer = [0; 1400];
            let len = compound(&mut buffer, request.passes());
            socket.send_to(&buffer[..len], ("127.0.0.1", theirs)).unwrap();
        }
    }
    println!("{} of {media} packets lost, {again} sent again: {:?}", lost.len(), requester.stats());
    assert!(lost.len() > PACKETS / 30 && again > lost.len());
    // What a busy machine lost by itself came again, too, and nobody can say how it was.
    back.retain(|index, _| lost.contains_key(index));
    assert_eq!(lost, back, "byte for byte");
}

/// A capture of datagrams to one port, from nowhere: what `tcpdump` would have written of them (pcap, LINKTYPE_RAW).
fn pcap(datagrams: &[Vec<u8>], to: u16) -> Vec<u8> {
    let mut file = vec![];
    for word in [0xa1b2_c3d4_u32, 0x0002_0004_u32.rotate_left(16), 0, 0, 65_535, 101] {
        file.extend(word.to_le_bytes());
    }
    for (second, datagram) in datagrams.iter().enumerate() {
        let length = 28 + datagram.len();
        for word in [second as u32, 0, length as u32, length as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend([0x45, 0]);
        file.extend((length as u16).to_be_bytes());
        file.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        for half in [5000, to, datagram.len() as u16 + 8, 0] {
            file.extend(half.to_be_bytes());
        }
        file.extend(datagram);
    }
    file
}

#[test]
fn tshark_reads_our_requests() {
    if !have(&[Peer::Tshark]) {
        return;
    }
    let lab = Lab::alone();
    let mut rng = Rng::new(9);
    // Alone, a run, across the wrap, scattered, and some of them twice.
    let requests: Vec<Vec<Vec<u64>>> = vec![
        vec![vec![5]],
        vec![(100..140).collect()],
        vec![(0x1_fff0..0x2_0015).collect()],
        vec![(0..200).map(|at| 1000 + 7 * at + rng.range(0..7)).collect()],
        vec![(50..60).collect(), vec![52, 57], vec![57]],
    ];
    let mut sent = Vec::new();
    for (at, passes) in requests.iter().enumerate() {
        let mut buffer = [0; 1400];
        let len = if at % 2 == 0 {
            compound(&mut buffer, passes.iter().map(Vec::as_slice))
        } else {
            // Reduced-size (RFC 5506): the request alone.
            let mut writer = Writer::new(&mut buffer);
            wire::write_request(&mut writer, OWN, MEDIA.ssrc, passes.iter().map(Vec::as_slice)).unwrap();
            writer.len()
        };
        sent.push(buffer[..len].to_vec());
    }
    std::fs::write(lab.file("requests.pcap"), pcap(&sent, 5001)).unwrap();
    let mut command = Command::new("tshark");
    command.arg("-r").arg(lab.file("requests.pcap")).args(["-d", "udp.port==5001,rtcp", "-T", "fields"]);
    for field in [
        "rtcp.rtpfb.fmt",
        "rtcp.senderssrc",
        "rtcp.mediassrc",
        "rtcp.rtpfb.nack_pid",
        "_ws.expert.message",
        "_ws.malformed",
    ] {
        command.args(["-e", field]);
    }
    let read = lab.run("tshark", command, Duration::from_secs(60)).success();
    let lines: Vec<&str> = read.out.lines().collect();
    assert_eq!(lines.len(), requests.len(), "{}", read.out);
    for (line, passes) in lines.iter().zip(&requests) {
        let fields: Vec<&str> = line.split('\t').collect();
        let numbers = |at: usize| -> Vec<u32> {
            let number = |text: &str| match text.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16).unwrap(),
                None => text.parse().unwrap(),
            };
            fields[at].split(',').map(number).collect()
        };
        assert!(numbers(0).iter().all(|format| *format == 1), "{line}");
        assert!(numbers(1).contains(&OWN) && numbers(2).contains(&MEDIA.ssrc), "{line}");
        // It names them all: those of the bit masks, too, which it lets go on beyond 65535.
        let named: Vec<u16> = numbers(3).into_iter().map(|number| number as u16).collect();
        let expected: Vec<u16> = passes.iter().flatten().map(|index| *index as u16).collect();
        assert_eq!(named, expected);
        assert!(fields[4..].iter().all(|said| said.is_empty()), "tshark finds fault: {line}");
    }
}
