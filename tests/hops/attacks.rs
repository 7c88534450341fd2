//! Attackers on the path between two members, off it, and among the members.

use std::collections::HashSet;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::member::{Ca, Hop, begin, connect, member_config};
use crate::common::pair::{FAR_ROUTES, far, near, numbered};
use crate::common::relay::{Relay, Way};
use crate::common::stage::{Stage, is_rtp};
use crate::common::{self, Line, Publisher, Reader, VIDEO};

#[test]
fn what_is_replayed_changed_cut_or_forged_on_the_path_is_not_delivered() {
    let mut stage = Stage::new();
    let mut turn = 0usize;
    stage.relay.set(move |_, datagram| {
        turn += 1;
        let mut passed = vec![];
        // Before the genuine one, so that it is first that comes.
        let mut changed = datagram.to_vec();
        let at = turn * 7 % changed.len();
        // The label has to stay for the packet to be looked at.
        let at = if (1..12).contains(&at) { 12 } else { at };
        changed[at] ^= 1 << (turn % 8);
        passed.push(changed);
        passed.push(datagram[..12 + turn * 11 % (datagram.len() - 12)].to_vec());
        let mut forged = datagram.to_vec();
        forged[12..].fill(turn as u8);
        passed.push(forged);
        passed.push(datagram.to_vec());
        passed.push(datagram.to_vec());
        passed
    });
    stage.pass(300);
    let dropped = |reason: &str| stage.near.counter(&format!("msm_dropped_total{{reason=\"{reason}\""));
    assert!(dropped("srtp_replayed") >= 300.0, "{}", stage.near.metrics());
    assert!(dropped("srtp_forged") + dropped("srtp_unknown_mki") >= 500.0, "{}", stage.near.metrics());
    assert_eq!(stage.near.counter("msm_hop_lost_total"), 0.0);
}

/// No protection.
const OFF: &str = ", protection: {latency: 0s}";

#[test]
fn packets_in_another_order_are_delivered_with_their_own_numbers() {
    // Protection would put them in order.
    let mut stage = Stage::by(OFF);
    stage.swap();
    for pair in 0..100u16 {
        let packets = stage.send_two();
        let mut received = [stage.reader.recv(), stage.reader.recv()];
        received.sort_by_key(|packet| u16::from_be_bytes([packet[2], packet[3]]));
        for (packet, sent) in received.iter().zip(&packets) {
            assert_eq!(packet[12..], sent[12..], "pair {pair}");
            stage.line.check(packet, sent);
        }
    }
}

#[test]
fn strangers_who_know_or_guess_labels_change_nothing() {
    let mut stage = Stage::new();
    let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let sink = Arc::clone(&seen);
    stage.relay.set(move |way, datagram| {
        if way == Way::ToDialler {
            sink.lock().unwrap().push(datagram.to_vec());
        }
        vec![datagram.to_vec()]
    });
    stage.pass(100);
    let to = stage.relay.dialler();
    let stranger = UdpSocket::bind("127.0.0.3:0").unwrap();
    let known = seen.lock().unwrap().clone();
    let before = stage.way();
    for (turn, datagram) in known.iter().enumerate() {
        stranger.send_to(datagram, to).unwrap();
        let mut forged = datagram.clone();
        let number = u16::from_be_bytes([forged[2], forged[3]]).wrapping_add(500);
        forged[2..4].copy_from_slice(&number.to_be_bytes());
        let last = forged.len() - 1;
        forged[last - turn % 100.min(last - 12)] ^= 0x80;
        stranger.send_to(&forged, to).unwrap();
    }
    // Labels next to the right one, and any others.
    let sample = known.iter().find(|datagram| is_rtp(datagram)).unwrap();
    let right = u32::from_be_bytes(sample[8..12].try_into().unwrap());
    for guess in
        (1..300u32).map(|turn| right.wrapping_add(turn)).chain((0..300).map(|turn| turn << 21 | turn))
    {
        let mut datagram = sample.clone();
        datagram[8..12].copy_from_slice(&guess.to_be_bytes());
        stranger.send_to(&datagram, to).unwrap();
        stranger.send_to(&datagram[..guess as usize % 20], to).unwrap();
    }
    stage.pass(200);
    let metrics = stage.near.metrics();
    for reason in ["hop_unknown_label", "hop_malformed", "srtp_forged", "srtp_replayed"] {
        let count = stage.near.counter(&format!("msm_dropped_total{{reason=\"{reason}\""));
        assert!(count > 0.0, "{reason}\n{metrics}");
    }
    assert_eq!(stage.way(), before, "media goes where it went");
    stranger.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(stranger.recv(&mut [0; 2000]).is_err(), "a stranger is answered");
}

#[test]
fn a_flood_of_forged_packets_leaves_media_whole() {
    let mut stage = Stage::new();
    let sample: Arc<Mutex<Vec<u8>>> = Arc::default();
    let sink = Arc::clone(&sample);
    stage.relay.set(move |way, datagram| {
        if way == Way::ToDialler && is_rtp(datagram) {
            *sink.lock().unwrap() = datagram.to_vec();
        }
        vec![datagram.to_vec()]
    });
    stage.pass(1);
    let (to, over) = (stage.relay.dialler(), Arc::new(AtomicBool::new(false)));
    let flood = {
        let (over, mut forged) = (Arc::clone(&over), sample.lock().unwrap().clone());
        std::thread::spawn(move || {
            let stranger = UdpSocket::bind("127.0.0.3:0").unwrap();
            let mut sent = 0u32;
            while !over.load(Ordering::Relaxed) {
                // Paced, so that the receiver's socket has room: what is tested is what a packet costs and spoils.
                for _ in 0..20 {
                    sent += 1;
                    forged[2..4].copy_from_slice(&(sent as u16).to_be_bytes());
                    let _ = stranger.send_to(&forged, to);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            sent
        })
    };
    stage.pass(1000);
    over.store(true, Ordering::Relaxed);
    let sent = flood.join().unwrap();
    let refused = stage.near.counter("msm_dropped_total{reason=\"srtp_");
    assert!(sent > 5000 && refused > 0.8 * f64::from(sent), "{refused} of {sent}\n{}", stage.near.metrics());
    assert_eq!(stage.near.counter("msm_hop_lost_total"), 0.0);
}

#[test]
fn media_does_not_follow_genuine_packets_from_a_victim_s_address() {
    let mut stage = Stage::new();
    let victim = UdpSocket::bind("127.0.0.4:0").unwrap();
    victim.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let acceptor = {
        let mut address = stage.relay.address;
        address.set_ip([127, 0, 0, 1].into());
        address
    };
    let spent = Arc::new(AtomicUsize::new(0));
    let (counted, own) = (Arc::clone(&spent), victim.try_clone().unwrap());
    stage.relay.set(move |way, datagram| {
        if way == Way::ToAcceptor {
            // The copy is there first, and the genuine one is the replay.
            own.send_to(datagram, acceptor).unwrap();
            counted.fetch_add(datagram.len(), Ordering::Relaxed);
        }
        vec![datagram.to_vec()]
    });
    stage.pass(2500);
    let mut received = 0;
    while let Ok(length) = victim.recv(&mut [0; 65536]) {
        received += length;
    }
    let spent = spent.load(Ordering::Relaxed);
    assert!(spent > 100, "nothing was copied");
    assert!(received <= 3 * spent, "{received} bytes for {spent}");
    let status = stage.far.block_on(stage.far.mesh.status());
    assert_eq!(status.hops[0].way, format!("udp {}", stage.relay.address), "media follows");
}

#[test]
fn a_cut_connection_is_made_again_and_media_goes_on() {
    let mut stage = Stage::new();
    for round in 1..=3u16 {
        stage.relay.refuse(round == 2);
        stage.relay.cut();
        stage.pass(700);
        stage.relay.refuse(false);
        stage.far.wait_counter("msm_hop_rekeys_total", f64::from(round));
    }
    // Requests are answered on the new one.
    let mut second = Reader::start(&stage.near, "live/one");
    stage.pass(20);
    let _ = second.rtsp.ask("TEARDOWN", &second.url.clone(), &[("Session", &second.session.clone())], b"");
    assert_eq!(stage.near.counter("msm_hop_lost_total"), 0.0);
}

#[test]
fn where_udp_does_not_pass_media_goes_through_the_connection_and_back() {
    let mut stage = Stage::new();
    assert!(stage.way().starts_with("udp "), "{}", stage.way());
    stage.relay.set(|_, _| vec![]);
    // What was sent into the void before that was noticed is lost.
    stage.wait_way("tcp");
    stage.far.wait_value("msm_hop_associations", 1.0);
    stage.pass(200);
    stage.relay.set(|_, datagram| vec![datagram.to_vec()]);
    stage.wait_way("udp ");
    stage.pass(200);
}

#[test]
fn without_udp_from_the_start_the_first_packet_comes_all_the_same() {
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let relay = Relay::start(hop);
    relay.set(|_, _| vec![]);
    let near = near(&ca.member("/near"), relay.address, "");
    let publisher = Publisher::start(&far, "live/tcp");
    let reader = Reader::start(&near, "live/tcp");
    let mut line = Line::default();
    for number in 0..300 {
        // Larger than a datagram of the path, too: a frame has room.
        let packet = if number % 10 == 5 { common::rtp(number, 0, 7, 0x41, 1460) } else { numbered(number) };
        publisher.send(&packet);
        line.check(&reader.recv(), &packet);
    }
    assert_eq!(near.block_on(near.mesh.status()).hops[0].way, "tcp");
    assert_eq!(far.block_on(far.mesh.status()).hops[0].way, "tcp");
}

#[test]
fn no_index_is_sealed_twice_whatever_the_publisher_does() {
    let mut stage = Stage::new();
    let seen: Arc<Mutex<Vec<[u8; 8]>>> = Arc::default();
    let sink = Arc::clone(&seen);
    stage.relay.set(move |way, datagram| {
        if way == Way::ToDialler && is_rtp(datagram) {
            // Number, label and epoch: fewer than 2^16 packets, so that a number is an index.
            let mut key = [0; 8];
            key[..2].copy_from_slice(&datagram[2..4]);
            key[2..6].copy_from_slice(&datagram[8..12]);
            key[6] = datagram[datagram.len() - 1];
            sink.lock().unwrap().push(key);
        }
        vec![datagram.to_vec()]
    });
    stage.pass(100);
    let next = stage.next;
    let send = |number: u16, source: u8, payload: u8| {
        let mut packet = numbered(number);
        (packet[11], packet[20]) = (source, payload);
        // Readers of a stream that begins anew wait for one.
        packet[12] = if number.is_multiple_of(10) { 0x65 } else { 0x41 };
        stage.publisher.send(&packet);
        std::thread::sleep(Duration::from_micros(500));
    };
    for number in next..next + 50 {
        send(number, 7, 1);
        send(number, 7, 2);
    }
    // A restart, a jump over more than half of the numbers, another source with the same ones, and back.
    for (source, numbers) in [(7, 0..60), (7, 40_000..40_060), (9, 0..60), (7, 30..90)] {
        numbers.for_each(|number| send(number, source, 3));
    }
    std::thread::sleep(Duration::from_millis(200));
    let seen = seen.lock().unwrap();
    let distinct: HashSet<_> = seen.iter().collect();
    assert!(seen.len() >= 280, "{} packets\n{}", seen.len(), stage.far.metrics());
    assert_eq!(distinct.len(), seen.len(), "a number was used again");
    assert_eq!(stage.near.counter("msm_dropped_total{reason=\"srtp"), 0.0, "{}", stage.near.metrics());
    assert_eq!(stage.far.counter("msm_dropped_total{reason=\"srtp"), 0.0, "{}", stage.far.metrics());
}

#[test]
fn no_two_flows_get_one_key_whatever_a_member_asks() {
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let _publisher = Publisher::start(&far, "live/one");
    let url = format!("rtsp://{hop}/live/one");
    let mut member = connect(hop, member_config(&ca.member("/near")));
    let association = 5;
    assert_eq!(begin(&mut member, association, 1), 200);
    let first = session(&mut member, &url, 7, SRTP);
    assert_eq!(first.status, 200, "{first:?}");
    // A second session, with the name that the first one's keys come from, and with that of the control flow.
    for token in [7, association, 0] {
        let again = session(&mut member, &url, token, SRTP);
        assert_eq!(again.status, 455, "{token}: {again:?}");
    }
    // Neither when the first one is over.
    let held = first.session();
    let named = [("Require", "msm-hop-1"), ("Session", held.as_str())];
    assert_eq!(member.ask("TEARDOWN", &url, &named, b"").status, 200);
    assert_eq!(session(&mut member, &url, 7, SRTP).status, 455);
    assert_eq!(session(&mut member, &url, 8, SRTP).status, 200);
    assert_eq!(session(&mut member, &url, 6, SRTP).status, 200, "in whatever order");
}

fn session(hop: &mut Hop, url: &str, token: u64, transport: &str) -> common::Answer {
    let header = format!("token={token:016x};label={:08x}", 0x0100_0100 + token);
    let headers = [("Require", "msm-hop-1"), ("Transport", transport), ("Msm-Hop", header.as_str())];
    hop.ask("SETUP", &format!("{url}/trackID=0"), &headers, b"")
}

const SRTP: &str = "RTP/SAVP;unicast;rtcp-mux";

#[test]
fn an_association_goes_on_for_who_began_it_alone() {
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let _publisher = Publisher::start(&far, "live/one");
    let mut first = connect(hop, member_config(&ca.member("/near")));
    let association = 0x1234_5678_9abc_def0;
    assert_eq!(begin(&mut first, association, 1), 200);
    let url = format!("rtsp://{hop}/live/one");
    let set_up = session(&mut first, &url, 1, SRTP);
    assert_eq!(set_up.status, 200, "{set_up:?}");
    let held = set_up.session();

    let mut other = connect(hop, member_config(&ca.member("/other")));
    assert_eq!(begin(&mut other, association, 2), 455, "somebody else's");
    let mut other = connect(hop, member_config(&ca.member("/other")));
    let named = [("Require", "msm-hop-1"), ("Session", held.as_str())];
    assert_eq!(other.ask("TEARDOWN", &url, &named, b"").status, 454, "nor its sessions");

    let mut again = connect(hop, member_config(&ca.member("/near")));
    assert_eq!(begin(&mut again, association, 1), 455, "an epoch comes once");
    assert_eq!(begin(&mut again, association, 2), 200);
    assert_eq!(begin(&mut again, association, 2), 455);
    assert_eq!(begin(&mut again, 77, 1), 455, "a connection carries one association");
    let mut unknown = connect(hop, member_config(&ca.member("/near")));
    assert_eq!(begin(&mut unknown, 78, 2), 455, "nobody began it");
    assert_eq!(
        again.ask("TEARDOWN", &url, &named, b"").status,
        200,
        "its sessions are its own on any connection"
    );
}

#[test]
fn a_member_gets_media_through_the_hop_and_in_no_other_way() {
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let _publisher = Publisher::start(&far, "live/one");
    let url = format!("rtsp://{hop}/live/one");
    for (token, begun) in [(1, false), (2, true)] {
        let mut member = connect(hop, member_config(&ca.member("/near")));
        if begun {
            assert_eq!(begin(&mut member, 5, 1), 200);
        }
        for transport in [
            "RTP/AVP;unicast;client_port=5000-5001",
            "RTP/AVP/TCP;unicast;interleaved=0-1",
            "RTP/AVP;multicast",
        ] {
            assert_eq!(session(&mut member, &url, token, transport).status, 461, "{transport}");
        }
        let plain = [("Require", "msm-hop-1"), ("Transport", SRTP)];
        assert_eq!(member.ask("SETUP", &format!("{url}/trackID=0"), &plain, b"").status, 461, "without keys");
        assert_eq!(session(&mut member, &url, token, SRTP).status, if begun { 200 } else { 461 });
    }
    // A client that does not say that it is a member, and one that wants what there is not.
    let mut member = connect(hop, member_config(&ca.member("/near")));
    let strange = [("Require", "msm-hop-2")];
    assert_eq!(member.ask("OPTIONS", "*", &strange, b"").status, 551);
}

#[test]
fn sessions_without_end_meet_a_limit() {
    let ca = Ca::new("test.example");
    let routes = format!("{FAR_ROUTES}limits: {{sessions_per_peer: 20, connections_per_peer: 5}}\n");
    let (far, hop) = far(&ca.member("/far"), &routes);
    let publisher = far.block_on(far.mesh.publish(&far.url("live/one"), VIDEO)).unwrap();
    let mut member = connect(hop, member_config(&ca.member("/near")));
    assert_eq!(begin(&mut member, 500, 1), 200);
    let url = format!("rtsp://{hop}/live/one");
    let answers: Vec<_> = (1..=60).map(|token| session(&mut member, &url, token, SRTP)).collect();
    let (good, refused) = answers.split_at(20);
    assert!(good.iter().all(|answer| answer.status == 200), "{good:?}");
    assert!(refused.iter().all(|answer| answer.status == 453), "{refused:?}");
    let held = good[7].session();
    let named = [("Require", "msm-hop-1"), ("Session", held.as_str())];
    assert_eq!(member.ask("TEARDOWN", &url, &named, b"").status, 200);
    assert_eq!(session(&mut member, &url, 99, SRTP).status, 200, "a place that was given back");
    // Connections without end: the sixth is closed unserved.
    let mut held: Vec<_> = (0..4).map(|_| connect(hop, member_config(&ca.member("/near")))).collect();
    for (more, own) in held.iter_mut().enumerate() {
        assert_eq!(begin(own, 100 + more as u64, 1), 200);
    }
    let mut sixth = connect(hop, member_config(&ca.member("/near")));
    let sent = std::io::Write::write_all(&mut sixth.stream, b"OPTIONS * RTSP/1.0\r\n\r\n");
    assert!(sent.is_err() || sixth.is_closed());
    assert_eq!(far.counter("msm_sessions "), 20.0);
    drop(publisher);
}
