//! Retransmission with GStreamer, each side once: it sends again what we ask for, and it asks for what we send again. And
//! tshark reads our requests.

use crate::fec::{LIMIT, PACKETS, datagrams, port, sockets};
use crate::lab::Lab;
use crate::need::{Peer, have};
use msm_core::rng::Rng;
use msm_core::rtcp::{Acceptance, Compound, Writer};
use msm_core::seq::Unwrapper;
use msm_fec::nack::rtx::{self, Identity, restore};
use msm_fec::nack::{
    Arrival, ByteRing, History, HistoryLimits, Place, Requester, RequesterConfig, Responder, ResponderConfig,
    wire,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

const MEDIA: Identity = Identity { ssrc: 1234, payload_type: 96 };
const RTX: Identity = Identity { ssrc: 5678, payload_type: 97 };
/// Our own, in RTCP.
const OWN: u32 = 77;
/// Which payload type is sent again as which, and under which SSRC.
const TYPES: &str = "payload-type-map=application/x-rtp-pt-map,96=(uint)97";
const SOURCES: &str = "ssrc-map=application/x-rtp-ssrc-map,1234=(uint)5678";
/// Numbers begin here, so that they wrap.
const FIRST: u64 = 65_100;
/// Packets of ours that it has to have.
const JUDGED: u64 = 200;
/// Of a hundred packets that are sent, and that it sends again.
const LOST: u64 = 8;
const AGAIN_LOST: u64 = 25;

fn gst(pipeline: &str) -> Command {
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
    while media < PACKETS || lost.len() > back.len() {
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
    assert_eq!(lost, back, "byte for byte");
}

#[test]
#[ignore = "flaky: behind other tests GStreamer's jitter buffer leaves some numbers unasked; passes alone"]
fn gstreamer_asks_and_we_send_again() {
    if !have(&[Peer::Gstreamer]) {
        return;
    }
    let lab = Lab::alone();
    let theirs = port(&sockets(&[])[0]);
    let ours = sockets(&[1]);
    let (out, reports) = (port(&ours[0]), port(&ours[1]));
    let from = datagrams(ours);
    let _player = lab.start(
        "gstreamer",
        gst(&format!(
            "-q rtpsession name=s rtp-profile=avpf udpsrc address=127.0.0.1 port={theirs} \
             caps=application/x-rtp,media=video,clock-rate=90000,encoding-name=H264,payload=96,ssrc=(uint)1234 ! \
             s.recv_rtp_sink \
             s.recv_rtp_src ! rtprtxreceive {TYPES} {SOURCES} ! rtpssrcdemux ! \
             rtpjitterbuffer do-retransmission=true latency=4000 ! \
             udpsink host=127.0.0.1 port={out} sync=false async=false \
             s.send_rtcp_src ! udpsink host=127.0.0.1 port={reports} sync=false async=false"
        )),
    );
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Its jitter buffer asks for SSRC -1 unless a demultiplexer in front of it knows better.
    let begin = Instant::now();
    let mut rng = Rng::new(5);
    // It sends reports, and requests with them, half a second apart.
    let limits = HistoryLimits { age: Duration::from_secs(5), ..HistoryLimits::default() };
    let (mut history, mut ring) = (History::<Place>::new(limits), ByteRing::new(4 << 20));
    let mut responder = Responder::new(ResponderConfig::default());
    let mut writer = rtx::Writer::new(RTX, 65_530);
    let (mut missing, mut lost, mut asked) = (BTreeMap::new(), BTreeSet::new(), 0);
    let (mut next, mut judged_from) = (FIRST, None);
    let mut sent = 0;
    let mut due = begin;
    while sent < JUDGED || !missing.is_empty() {
        let now = Instant::now();
        assert!(
            now < begin + 2 * LIMIT,
            "of {} from {judged_from:?} on, {:?} are missing; {asked} numbers asked for: {:?}",
            lost.len(),
            missing.keys(),
            responder.stats()
        );
        if now >= due {
            due = now + Duration::from_millis(4);
            // Its jitter buffer goes by the clock, so timestamps do, too.
            let mut packet = vec![0x80, MEDIA.payload_type];
            packet.extend((next as u16).to_be_bytes());
            packet.extend(((begin.elapsed().as_micros() * 9 / 100) as u32).to_be_bytes());
            packet.extend(MEDIA.ssrc.to_be_bytes());
            packet.resize(100 + next as usize % 1000, next as u8);
            history.push(now, next, packet.len(), ring.push(&packet).unwrap());
            responder.handle_media(packet.len());
            // Those before are for it to come up.
            let judged = judged_from.is_some_and(|from| (from..from + JUDGED).contains(&next));
            if judged {
                missing.insert(next as u16, packet.clone());
                sent += 1;
            }
            if judged && rng.range(0..100) < LOST {
                lost.insert(next);
            } else {
                // Nobody may listen yet.
                let _ = socket.send_to(&packet, ("127.0.0.1", theirs));
            }
            next += 1;
        }
        let wait = due.saturating_duration_since(Instant::now());
        match from.recv_timeout(wait) {
            Ok((0, packet)) => {
                judged_from.get_or_insert(next);
                if let Some(expected) = missing.remove(&u16::from_be_bytes([packet[2], packet[3]])) {
                    assert_eq!(packet, expected);
                }
            }
            Ok((_, datagram)) => {
                let compound = Compound::parse(&datagram, Acceptance::ReducedSize).unwrap();
                let numbers: Vec<u16> =
                    wire::requests(&compound, MEDIA.ssrc).flat_map(|nack| nack.lost()).collect();
                asked += numbers.len();
                responder.handle_request(Instant::now(), &mut history, numbers);
            }
            Err(_) => {}
        }
        while let Some(answer) = responder.poll_transmit(&history) {
            let mut buffer = [0; 1500];
            let len = writer.write(ring.get(answer.reference).unwrap(), &mut buffer).unwrap();
            socket.send_to(&buffer[..len], ("127.0.0.1", theirs)).unwrap();
        }
    }
    println!("{} of {sent} packets lost, {asked} asked for: {:?}", lost.len(), responder.stats());
    assert!(lost.len() > 5 && asked >= lost.len());
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
