//! RED with GStreamer, in both directions: what it packs we take apart, and it takes apart what we pack.

use crate::fec::LIMIT;
use crate::lab::Lab;
use crate::need::{Peer, have};
use crate::sockets::{datagrams, packets, port, sockets};
use msm_core::rng::Rng;
use msm_core::rtp::RtpView;
use msm_fec::xor::red::{self, Block};
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

/// The payload types of RED, and of what is in it: PCMU.
const RED: u8 = 100;
const MEDIA: u8 = 0;
/// Ticks of a packet.
const TICKS: u32 = 160;
/// How many packets later a packet is there again.
const DISTANCE: u32 = 2;
const PACKETS: usize = 200;

fn gst(pipeline: &str) -> Command {
    let mut command = Command::new("gst-launch-1.0");
    command.args(pipeline.split(' ').filter(|word| !word.is_empty()));
    command
}

#[test]
fn what_gstreamer_packs_is_taken_apart() {
    if !have(&[Peer::Gstreamer]) {
        return;
    }
    let lab = Lab::new();
    let sockets = sockets(&[2]);
    let to = port(&sockets[0]);
    let from = datagrams(sockets);
    // The same packets to one port as they are, and to the other in RED.
    let _sender = lab.start(
        "gstreamer",
        gst(&format!(
            "-q audiotestsrc is-live=true wave=white-noise ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! \
             rtppcmupay pt={MEDIA} min-ptime=20000000 max-ptime=20000000 ! tee name=t \
             t. ! queue ! udpsink host=127.0.0.1 port={to} sync=false async=false \
             t. ! queue ! rtpredenc pt={RED} distance={DISTANCE} ! \
             udpsink host=127.0.0.1 port={} sync=false async=false",
            to + 2
        )),
    );
    let (mut plain, mut packed) = (BTreeMap::new(), BTreeMap::new());
    while plain.len().min(packed.len()) < PACKETS {
        let (at, packet) = from.recv_timeout(LIMIT).expect("packets come");
        let view = RtpView::parse(&packet).unwrap();
        assert_eq!(view.payload_type(), if at == 0 { MEDIA } else { RED });
        let kept = if at == 0 { &mut plain } else { &mut packed };
        kept.insert(view.timestamp(), view.payload().to_vec());
    }
    let mut twice = 0;
    for (timestamp, payload) in &packed {
        let Some(media) = plain.get(timestamp) else { continue };
        let blocks: Vec<Block<'_>> = red::parse(payload).unwrap().collect();
        let (newest, older) = blocks.split_last().unwrap();
        assert_eq!(*newest, Block { payload_type: MEDIA, timestamp_offset: 0, data: media });
        for block in older {
            // The first packets have nothing as old behind them.
            let age = u32::from(block.timestamp_offset);
            assert!(block.payload_type == MEDIA && age.is_multiple_of(TICKS) && age <= DISTANCE * TICKS);
            if let Some(before) = plain.get(&timestamp.wrapping_sub(age)) {
                assert_eq!(block.data, before);
                twice += u32::from(age == DISTANCE * TICKS);
            }
        }
    }
    println!("{twice} of {} are there twice", packed.len());
    assert!(twice as usize > PACKETS - 20);
}

#[test]
fn gstreamer_takes_apart_what_we_pack() {
    if !have(&[Peer::Gstreamer]) {
        return;
    }
    let lab = Lab::new();
    let theirs = port(&sockets(&[])[0]);
    let (to, from) = packets();
    let _player = lab.start(
        "gstreamer",
        gst(&format!(
            "-q udpsrc address=127.0.0.1 port={theirs} buffer-size=1000000 \
             caps=application/x-rtp,media=audio,clock-rate=8000,encoding-name=RED,payload={RED} ! \
             rtpreddec pt={RED} ! rtpstreampay ! tcpclientsink host=127.0.0.1 port={to} sync=false async=false"
        )),
    );
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let bytes = |number: u32| {
        let mut bytes = vec![0; 20 + number as usize % 300];
        Rng::new(u64::from(number)).fill(&mut bytes);
        bytes
    };
    let packet = |number: u32| {
        let before = number.checked_sub(DISTANCE).map(bytes).unwrap_or_default();
        let now = bytes(number);
        let blocks = [
            Block { payload_type: MEDIA, timestamp_offset: (TICKS * DISTANCE) as u16, data: &before },
            Block { payload_type: MEDIA, timestamp_offset: 0, data: &now },
        ];
        let mut packet = vec![0x80, RED];
        packet.extend((65_500_u32.wrapping_add(number) as u16).to_be_bytes());
        packet.extend((number * TICKS).to_be_bytes());
        packet.extend(1234_u32.to_be_bytes());
        red::write(&blocks, &mut packet).unwrap();
        packet
    };
    // Each packet until something comes out: then it is there.
    let mut number = DISTANCE;
    while socket.send_to(&packet(number), ("127.0.0.1", theirs)).is_err()
        || from.recv_timeout(Duration::from_millis(50)).is_err()
    {
        number += 1;
        assert!(number < 500, "nothing comes out");
    }
    let first = number + 1;
    let mut missing: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let mut lost = 0;
    for number in first..first + PACKETS as u32 {
        // The last ones come alone.
        if number % 5 == 3 && number + DISTANCE < first + PACKETS as u32 {
            lost += 1;
        } else {
            socket.send_to(&packet(number), ("127.0.0.1", theirs)).unwrap();
        }
        missing.insert(number * TICKS, bytes(number));
        std::thread::sleep(Duration::from_millis(1));
    }
    let end = Instant::now() + LIMIT;
    while !missing.is_empty() && Instant::now() < end {
        let Ok(packet) = from.recv_timeout(Duration::from_secs(5)) else { break };
        let view = RtpView::parse(&packet).unwrap();
        assert_eq!(view.payload_type(), MEDIA);
        if let Some(expected) = missing.remove(&view.timestamp()) {
            assert_eq!(view.payload(), expected);
        }
    }
    assert!(missing.is_empty(), "{} of {PACKETS} are missing, {lost} were lost", missing.len());
}
