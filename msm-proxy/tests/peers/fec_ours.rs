//! GStreamer recovers what the test loses of our streams, by our repair packets: ST 2022-1 and ULPFEC.

use crate::fec::{LIMIT, PACKETS, ULPFEC};
use crate::lab::Lab;
use crate::need::{Peer, have, workspace};
use crate::process::Process;
use crate::sockets::{packets, port, sockets};
use msm_core::rng::Rng;
use msm_fec::xor::{Line, st2022, ulpfec};
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// Numbers of ours begin here, so that they wrap.
const FIRST: u16 = 65_000;

/// A packet of a transport stream's size.
fn packet(payload_type: u8, sequence: u16, ssrc: u32, timestamp: u32, len: usize) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    let mut body = vec![0; len];
    Rng::new(u64::from(sequence)).fill(&mut body);
    packet.extend(body);
    packet
}

/// Sends packets until one comes out on the other side, so that the peer is known to be there. The number of the next.
fn knock(socket: &UdpSocket, to: u16, from: &Receiver<Vec<u8>>, make: impl Fn(u16) -> Vec<u8>) -> u16 {
    for sequence in FIRST..FIRST + 500 {
        // Nobody may listen yet.
        let _ = socket.send_to(&make(sequence), ("127.0.0.1", to));
        if from.recv_timeout(LIMIT / 500).is_ok() {
            return sequence + 1;
        }
    }
    panic!("nothing comes out");
}

/// Where a packet's timestamp is, which is another one for each packet of ours.
const TIMESTAMP: std::ops::Range<usize> = 4..8;

/// All that was sent comes out as it was, what was lost with the rest; of each packet the bytes `same` are looked at.
fn complete(from: &Receiver<Vec<u8>>, sent: &[Vec<u8>], same: impl Fn(&[u8]) -> Vec<u8>) {
    let end = Instant::now() + LIMIT;
    let mut missing: BTreeMap<Vec<u8>, Vec<u8>> =
        sent.iter().map(|packet| (packet[TIMESTAMP].to_vec(), same(packet))).collect();
    while !missing.is_empty() && Instant::now() < end {
        let Ok(packet) = from.recv_timeout(Duration::from_secs(5)) else { break };
        if let Some(expected) = missing.remove(&packet[TIMESTAMP]) {
            assert_eq!(same(&packet), expected);
        }
    }
    assert!(missing.is_empty(), "{} of {} are missing", missing.len(), sent.len());
}

#[test]
fn gstreamer_recovers_by_our_sums() {
    if !have(&[Peer::Gstreamer]) {
        return;
    }
    let lab = Lab::new();
    let sockets = sockets(&[2, 4]);
    let ports: Vec<u16> = sockets.iter().map(port).collect();
    drop(sockets);
    let (out, from) = packets();
    let mut command = Command::new("gst-launch-1.0");
    let pipeline = format!(
        "-q rtpst2022-1-fecdec name=d size-time=5000000000 d.src ! rtpstreampay ! \
         tcpclientsink host=127.0.0.1 port={out} sync=false async=false"
    );
    command.args(pipeline.split_whitespace());
    for (port, pad) in ports.iter().zip(["d.sink", "d.fec_0", "d.fec_1"]) {
        command.args(["udpsrc", "address=127.0.0.1", &format!("port={port}"), "buffer-size=1000000"]);
        command.args([
            "caps=application/x-rtp,media=video,clock-rate=90000,encoding-name=MP2T,payload=33",
            "!",
            pad,
        ]);
    }
    let _player = lab.start("gstreamer", command);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Whatever the SSRC of a stream, what GStreamer recovers of it has 0.
    let make = |sequence: u16| packet(33, sequence, 0, u32::from(sequence) * 90, 1316);
    let first = knock(&socket, ports[0], &from, make);
    let mut encoder = st2022::Encoder::new(st2022::EncoderOptions::new(8, 4)).unwrap();
    let (mut sent, mut lost) = (Vec::new(), 0);
    let mut rng = Rng::new(1);
    for at in 0..PACKETS as u64 / 32 * 32 {
        let sequence = first.wrapping_add(at as u16);
        let packet = make(sequence);
        // A burst of a row's length in each second matrix, and one packet of the others.
        let drop = match at / 32 % 2 {
            0 => (5..13).contains(&(at % 32)),
            _ => at % 32 == rng.range(0..32),
        };
        if drop {
            lost += 1;
        } else {
            socket.send_to(&packet, ("127.0.0.1", ports[0])).unwrap();
        }
        encoder.handle_source(u64::from(first) + at, &packet).unwrap();
        if at + 1 == PACKETS as u64 / 32 * 32 {
            encoder.flush();
        }
        sent.push(packet);
        while let Some((direction, fec)) = encoder.poll_transmit(u32::from(sequence) * 90) {
            let to = if direction == st2022::Direction::Column { ports[1] } else { ports[2] };
            socket.send_to(fec, ("127.0.0.1", to)).unwrap();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(lost > 70);
    complete(&from, &sent, <[u8]>::to_vec);
}

#[test]
fn gstreamer_recovers_by_our_ulpfec() {
    if !have(&[Peer::Gstreamer]) {
        return;
    }
    let lab = Lab::new();
    let to = port(&sockets(&[])[0]);
    let (out, from) = packets();
    let mut command = Command::new("/usr/bin/python3");
    command.arg(workspace().join("msm-proxy/tests/peers/gst_fec.py")).args([
        to.to_string(),
        out.to_string(),
        ULPFEC.to_string(),
        "1234".to_owned(),
    ]);
    let mut player = lab.start("gstreamer", command);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Its jitter buffer goes by the clock, so timestamps do, too.
    let begin = Instant::now();
    let clock = || (begin.elapsed().as_micros() * 9 / 100) as u32;
    let make = |sequence: u16| packet(96, sequence, 1234, clock(), 100 + 13 * usize::from(sequence % 80));
    let first = knock(&socket, to, &from, make);
    let line = Line { payload_type: ULPFEC, ssrc: 1234, sequence: 0 };
    let mut encoder = ulpfec::Encoder::new(ulpfec::EncoderOptions::new(line, 8, 2)).unwrap();
    let (mut sent, mut lost) = (Vec::new(), 0);
    let mut index = u64::from(first);
    for at in 0..400_u32 {
        let packet = make(index as u16);
        encoder.handle_source(index, &packet).unwrap();
        // Two neighbours of each third block.
        if at / 8 % 3 == 1 && (3..5).contains(&(at % 8)) {
            lost += 1;
        } else {
            socket.send_to(&packet, ("127.0.0.1", to)).unwrap();
        }
        sent.push(packet);
        index += 1;
        while let Some(repair) = encoder.poll_transmit(clock()) {
            // It finds repair packets in the media's own line of numbers only.
            let mut repair = repair.to_vec();
            msm_core::rtp::RtpRewriter::parse(&mut repair).unwrap().set_sequence(index as u16);
            socket.send_to(&repair, ("127.0.0.1", to)).unwrap();
            index += 1;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(lost > 30);
    // It takes repair packets out, and numbers what is left anew.
    complete(&from, &sent, |packet| [&packet[..2], &packet[4..]].concat());
    player.until(LIMIT, "its own count", |player: &Process| {
        player.out().lines().last() == Some(&format!("recovered {lost}"))
    });
}
