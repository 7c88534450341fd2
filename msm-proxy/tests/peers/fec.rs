//! Streams that others protect by XOR are recovered: ffmpeg's and GStreamer's ST 2022-1, GStreamer's ULPFEC. What is lost, the
//! test decides.

use crate::lab::Lab;
use crate::need::{Peer, have};
use crate::sockets::{datagrams, no_room, port, sockets};
use msm_core::rng::Rng;
use msm_core::seq::Unwrapper;
use msm_fec::xor::recover::{Decoder, Limits, Recovered, Scheme, Store, StoreLimits};
use msm_fec::xor::{st2022, ulpfec};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::Duration;

pub(crate) const LIMIT: Duration = Duration::from_secs(40);
/// Source packets of a stream that is judged.
pub(crate) const PACKETS: usize = 600;
pub(crate) const ULPFEC: u8 = 122;

/// What came, in the order of its coming: packets of the source, and repair packets.
#[derive(Debug, Clone)]
enum Came {
    Source(u64, Vec<u8>),
    Repair(Vec<u8>),
}

/// Records a stream that comes to sockets at these ports, anew where a busy machine lost some of it in them.
fn record_whole(
    from: &Receiver<(usize, Vec<u8>)>,
    ports: &[u16],
    is_repair: impl Fn(usize, &[u8]) -> bool,
) -> Vec<Came> {
    for _ in 0..3 {
        let before = no_room(ports);
        let came = record(from, &is_repair);
        let lost = no_room(ports) - before;
        if lost == 0 {
            return came;
        }
        println!("recorded anew, as sockets had no room for {lost} packets");
    }
    panic!("sockets have no room again and again");
}

/// Records a stream, of which `is_repair` tells the repair packets by socket and bytes.
fn record(from: &Receiver<(usize, Vec<u8>)>, is_repair: impl Fn(usize, &[u8]) -> bool) -> Vec<Came> {
    let mut unwrapper = Unwrapper::new();
    let (mut came, mut sources) = (Vec::new(), 0);
    while sources < PACKETS {
        let (at, packet) = from.recv_timeout(LIMIT).expect("packets come");
        if is_repair(at, &packet) {
            came.push(Came::Repair(packet));
        } else {
            let index = unwrapper.unwrap(u16::from_be_bytes([packet[2], packet[3]]));
            came.push(Came::Source(index, packet));
            sources += 1;
        }
    }
    came
}

/// Which packets come back of `lost`. Each is byte for byte what was not let through.
fn recover<S: Scheme>(came: &[Came], lost: &BTreeSet<u64>, mut decoder: Decoder<S>) -> BTreeSet<u64> {
    let mut store = Store::new(StoreLimits::default());
    let mut recovered = BTreeMap::new();
    for packet in came {
        match packet {
            Came::Source(index, _) if lost.contains(index) => {}
            Came::Source(index, packet) => {
                store.insert(*index, packet);
                decoder.handle_source(*index, &store);
            }
            // Before the first source packet there is none to place it by; everything else is a fault.
            Came::Repair(packet) => {
                if let Err(refusal) = decoder.handle_repair(packet, &store) {
                    assert_eq!(refusal.name(), "no_source", "{:02x?}", &packet[..32.min(packet.len())]);
                }
            }
        }
        while let Some(Recovered { index, packet }) = decoder.poll_recovered() {
            assert!(recovered.insert(index, packet.to_vec()).is_none(), "{index} comes twice");
        }
    }
    for packet in came {
        if let Came::Source(index, packet) = packet
            && let Some(recovered) = recovered.get(index)
        {
            assert_eq!(packet, recovered, "{index}");
        }
    }
    // Sockets are read one beside the other, so a sum can overtake what it sums: what is late comes back, too.
    recovered.into_keys().filter(|index| lost.contains(index)).collect()
}

/// Indices of the source packets, but for some at the beginning and at the end, whose repair packets may not have been recorded.
fn middle(came: &[Came], edge: usize) -> Vec<u64> {
    let indices = came.iter().filter_map(|came| match came {
        Came::Source(index, _) => Some(*index),
        Came::Repair(_) => None,
    });
    let all: BTreeSet<u64> = indices.collect();
    all.into_iter().skip(edge).take(PACKETS - 2 * edge).collect()
}

fn st2022_decoder(came: &[Came]) -> st2022::Decoder {
    let Some(Came::Source(_, packet)) = came.iter().find(|came| matches!(came, Came::Source(..))) else {
        panic!("no source packet")
    };
    let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
    st2022::Decoder::new(st2022::DecoderOptions { ssrc, ..Default::default() })
}

/// Loses packets of a stream with 8 columns and 4 rows in several ways.
fn judge_st2022(came: &[Came]) {
    const L: u64 = 8;
    const D: u64 = 4;
    let repairs: Vec<_> = came
        .iter()
        .filter_map(|came| if let Came::Repair(packet) = came { Some(packet) } else { None })
        .collect();
    for direction in [st2022::Direction::Column, st2022::Direction::Row] {
        let count = repairs
            .iter()
            .filter(|packet| st2022::FecPacket::parse(packet).unwrap().direction == direction)
            .count();
        assert!(count > PACKETS / 12, "{count} of {direction:?}");
    }
    let indices = middle(came, 3 * (L * D) as usize);
    let (first, end) = (indices[0], indices[indices.len() - 1]);
    assert_eq!(end - first + 1, indices.len() as u64, "the stream is recorded without a gap");
    // Bursts of a row's length, wherever they begin: each column has one.
    let bursts: BTreeSet<u64> = indices.iter().copied().filter(|index| (index - first) % 67 < L).collect();
    assert_eq!(recover(came, &bursts, st2022_decoder(came)), bursts);
    // One in each eight, wherever.
    for offset in 0..L {
        let each: BTreeSet<u64> =
            indices.iter().copied().filter(|index| index % 32 == offset * 5 % 32).collect();
        assert_eq!(recover(came, &each, st2022_decoder(came)), each);
    }
    // At random: what comes out is right. Nearly all of 5 % comes back.
    for (share, at_least) in [(5, 90), (15, 40)] {
        let mut rng = Rng::new(share);
        let lost: BTreeSet<u64> = indices.iter().copied().filter(|_| rng.range(0..100) < share).collect();
        let recovered = recover(came, &lost, st2022_decoder(came));
        println!("{share} %: {} of {} come back", recovered.len(), lost.len());
        assert!(recovered.len() * 100 >= lost.len() * at_least);
    }
}

#[test]
fn what_ffmpeg_sums_recovers() {
    if !have(&[Peer::Ffmpeg]) {
        return;
    }
    let lab = Lab::new();
    let sockets = sockets(&[2, 4]);
    let ports: Vec<u16> = sockets.iter().map(port).collect();
    let to = format!("rtp://127.0.0.1:{}", ports[0]);
    let from = datagrams(sockets);
    let mut command = Command::new("ffmpeg");
    command.args(
        "-v warning -nostdin -re -f lavfi -i testsrc2=s=640x480:r=25 -c:v mpeg2video -b:v 4M -t 30"
            .split(' '),
    );
    command.args(["-f", "rtp_mpegts", "-fec", "prompeg=l=8:d=4", &to]).current_dir(lab.dir());
    let _sender = lab.start("ffmpeg", command);
    judge_st2022(&record_whole(&from, &ports, |socket, _| socket > 0));
}

#[test]
fn what_gstreamer_sums_recovers() {
    if !have(&[Peer::Gstreamer]) {
        return;
    }
    let lab = Lab::new();
    let sockets = sockets(&[2, 4]);
    let ports: Vec<u16> = sockets.iter().map(port).collect();
    let from = datagrams(sockets);
    let mut command = Command::new("gst-launch-1.0");
    let sink = |port: u16| format!("udpsink host=127.0.0.1 port={port} sync=false async=false");
    // Its encoder takes a stream of SSRC 0 only.
    let pipeline = format!(
        "-q videotestsrc is-live=true pattern=snow ! video/x-raw,width=320,height=240,framerate=25/1 ! \
         x264enc tune=zerolatency speed-preset=ultrafast bitrate=3000 ! mpegtsmux alignment=7 ! rtpmp2tpay ssrc=0 ! \
         rtpst2022-1-fecenc name=e rows=4 columns=8 e.src ! {} e.fec_0 ! {} e.fec_1 ! {}",
        sink(ports[0]),
        sink(ports[1]),
        sink(ports[2])
    );
    command.args(pipeline.split(' ').filter(|word| !word.is_empty()));
    let _sender = lab.start("gstreamer", command);
    judge_st2022(&record_whole(&from, &ports, |socket, _| socket > 0));
}

#[test]
fn what_gstreamer_protects_by_ulpfec_recovers() {
    if !have(&[Peer::Gstreamer]) {
        return;
    }
    let lab = Lab::new();
    let sockets = sockets(&[]);
    let to = port(&sockets[0]);
    let from = datagrams(sockets);
    let mut command = Command::new("gst-launch-1.0");
    let pipeline = format!(
        "-q videotestsrc is-live=true pattern=snow ! video/x-raw,width=320,height=240,framerate=25/1 ! \
         x264enc tune=zerolatency speed-preset=ultrafast bitrate=3000 ! rtph264pay pt=96 ssrc=1234 ! \
         rtpulpfecenc pt={ULPFEC} multipacket=true percentage=100 percentage-important=100 ! \
         udpsink host=127.0.0.1 port={to} sync=false async=false"
    );
    command.args(pipeline.split(' ').filter(|word| !word.is_empty()));
    let _sender = lab.start("gstreamer", command);
    let came = record_whole(&from, &[to], |_, packet| packet[1] & 0x7f == ULPFEC);
    let decoder = || {
        let limits = Limits::default();
        ulpfec::Decoder::new(ulpfec::DecoderOptions { ssrc: 1234, payload_type: ULPFEC, limits })
    };
    let indices = middle(&came, 100);
    // Each packet alone.
    let lone: Vec<u64> = indices
        .iter()
        .copied()
        .filter(|index| recover(&came, &BTreeSet::from([*index]), decoder()).is_empty())
        .collect();
    assert!(lone.is_empty(), "{lone:?} do not come back");
    for (share, at_least) in [(5, 90), (20, 60)] {
        let mut rng = Rng::new(share);
        let lost: BTreeSet<u64> = indices.iter().copied().filter(|_| rng.range(0..100) < share).collect();
        let recovered = recover(&came, &lost, decoder());
        println!("{share} %: {} of {} come back", recovered.len(), lost.len());
        assert!(recovered.len() * 100 >= lost.len() * at_least);
    }
}
