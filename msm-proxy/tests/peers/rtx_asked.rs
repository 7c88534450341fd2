//! GStreamer asks, and we send again.
//!
//! When it asks is its own affair: it expects each packet at a time of its own, bundles requests in reports half a second apart, and
//! gives up a packet when its latency is over. So what is judged is what it asked for in time.

use crate::fec::LIMIT;
use crate::lab::Lab;
use crate::need::{Peer, have};
use crate::rtx::{LOST, MEDIA, RTX, SOURCES, TYPES, gst};
use crate::sockets::{datagrams, packets, port, sockets};
use msm_core::rng::Rng;
use msm_core::rtcp::{Acceptance, Compound};
use msm_fec::nack::rtx::Writer;
use msm_fec::nack::{ByteRing, History, HistoryLimits, Place, Responder, ResponderConfig, wire};
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// Numbers begin here, so that they wrap.
const FIRST: u64 = 65_100;
/// Packets that are judged.
const JUDGED: u64 = 400;
/// How long GStreamer waits for a packet.
const LATENCY: Duration = Duration::from_secs(4);
/// It asked in time when so much of that was left for the answer.
const LEFT: Duration = Duration::from_secs(1);

/// One packet of those that are judged.
#[derive(Debug)]
struct Judged {
    packet: Vec<u8>,
    sent: Instant,
    /// It was not sent the first time.
    lost: bool,
    /// GStreamer asked for it in time.
    asked: bool,
    /// It came out of GStreamer.
    came: bool,
}

/// Timestamps go by the clock, as GStreamer does.
fn media(number: u64, since: Duration) -> Vec<u8> {
    let mut packet = vec![0x80, MEDIA.payload_type];
    packet.extend((number as u16).to_be_bytes());
    packet.extend(((since.as_micros() * 9 / 100) as u32).to_be_bytes());
    packet.extend(MEDIA.ssrc.to_be_bytes());
    packet.resize(100 + number as usize % 1000, number as u8);
    packet
}

#[test]
fn gstreamer_asks_and_we_send_again() {
    if !have(&[Peer::Gstreamer]) {
        return;
    }
    let lab = Lab::alone();
    let theirs = port(&sockets(&[])[0]);
    let ours = sockets(&[]);
    let reports = port(&ours[0]);
    let requests = datagrams(ours);
    let (out, came_out) = packets();
    // Its jitter buffer asks for SSRC -1 unless a demultiplexer in front of it knows better.
    let _player = lab.start(
        "gstreamer",
        gst(&format!(
            "-q rtpsession name=s rtp-profile=avpf udpsrc address=127.0.0.1 port={theirs} buffer-size=1000000 \
             caps=application/x-rtp,media=video,clock-rate=90000,encoding-name=H264,payload=96,ssrc=(uint)1234 ! \
             s.recv_rtp_sink \
             s.recv_rtp_src ! rtprtxreceive {TYPES} {SOURCES} ! rtpssrcdemux ! \
             rtpjitterbuffer do-retransmission=true latency={} ! \
             rtpstreampay ! tcpclientsink host=127.0.0.1 port={out} sync=false async=false \
             s.send_rtcp_src ! udpsink host=127.0.0.1 port={reports} sync=false async=false",
            LATENCY.as_millis()
        )),
    );
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let begin = Instant::now();
    let mut rng = Rng::new(5);
    let limits = HistoryLimits { age: LATENCY + LEFT, ..HistoryLimits::default() };
    let (mut history, mut ring) = (History::<Place>::new(limits), ByteRing::new(4 << 20));
    let mut responder = Responder::new(ResponderConfig::default());
    let mut writer = Writer::new(RTX, 65_530);
    let mut judged: BTreeMap<u16, Judged> = BTreeMap::new();
    let (mut next, mut judged_from, mut asked, mut due) = (FIRST, None, 0, begin);
    // Until all are there, or none can come any more.
    while judged.len() < JUDGED as usize
        || judged.values().any(|judged| !judged.came && judged.sent.elapsed() < LATENCY + LEFT)
    {
        let now = Instant::now();
        assert!(now < begin + LIMIT, "{} of {JUDGED} sent, from {judged_from:?} on", judged.len());
        if now >= due {
            due = now + Duration::from_millis(4);
            let packet = media(next, begin.elapsed());
            history.push(now, next, packet.len(), ring.push(&packet).unwrap());
            responder.handle_media(packet.len());
            // Those before are for it to come up.
            let counts = judged_from.is_some_and(|from| (from..from + JUDGED).contains(&next));
            let lost = counts && rng.range(0..100) < LOST;
            if !lost {
                // Nobody may listen yet.
                let _ = socket.send_to(&packet, ("127.0.0.1", theirs));
            }
            if counts {
                let one = Judged { packet, sent: now, lost, asked: false, came: false };
                judged.insert(next as u16, one);
            }
            next += 1;
        }
        for packet in came_out.try_iter() {
            judged_from.get_or_insert(next);
            if let Some(one) = judged.get_mut(&u16::from_be_bytes([packet[2], packet[3]])) {
                assert_eq!(packet, one.packet);
                assert!(!std::mem::replace(&mut one.came, true), "a packet comes out twice");
            }
        }
        if let Ok((_, datagram)) = requests.recv_timeout(due.saturating_duration_since(Instant::now())) {
            let compound = Compound::parse(&datagram, Acceptance::ReducedSize).unwrap();
            let numbers: Vec<u16> =
                wire::requests(&compound, MEDIA.ssrc).flat_map(|nack| nack.lost()).collect();
            asked += numbers.len();
            for number in &numbers {
                if let Some(one) = judged.get_mut(number) {
                    one.asked |= one.sent.elapsed() < LATENCY - LEFT;
                }
            }
            responder.handle_request(Instant::now(), &mut history, numbers);
        }
        while let Some(answer) = responder.poll_transmit(&history) {
            let mut buffer = [0; 1500];
            let len = writer.write(ring.get(answer.reference).unwrap(), &mut buffer).unwrap();
            socket.send_to(&buffer[..len], ("127.0.0.1", theirs)).unwrap();
        }
    }
    let stats = responder.stats();
    let lost = judged.values().filter(|one| one.lost);
    let back = lost.clone().filter(|one| one.asked && one.came).count();
    let lost = lost.count();
    println!("{lost} of {JUDGED} packets lost, {back} came back; {asked} asked for: {stats:?}");
    let missing: Vec<_> =
        judged.iter().filter(|(_, one)| one.asked && !one.came).map(|(number, _)| number).collect();
    assert!(missing.is_empty(), "{missing:?} were asked for in time, and did not come out: {stats:?}");
    // Nothing else brings back what was lost, so that it asks for nearly all of that.
    assert!(lost > 15 && back * 10 >= lost * 9, "{back} of {lost} came back: {stats:?}");
    assert!(judged.values().filter(|one| one.came).count() as u64 * 10 >= JUDGED * 9);
}
