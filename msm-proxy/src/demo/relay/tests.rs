use std::io::{Read, Write};
use std::time::Instant;

use msm_link::Loss;

use super::*;

fn relay(settings: Settings) -> (Relay, UdpSocket, TcpListener) {
    let place = Place::find().unwrap();
    let udp = UdpSocket::bind(place.studio).unwrap();
    let tcp = TcpListener::bind(place.studio).unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    (Relay::start(place, settings, 1).unwrap(), udp, tcp)
}

fn edge() -> UdpSocket {
    let edge = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    edge.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    edge
}

#[test]
fn datagrams_arrive_when_they_are_due() {
    let delay = Duration::from_millis(15);
    let (relay, studio, _tcp) = relay(Settings { delay, ..Settings::default() });
    let edge = edge();
    let mut buffer = [0; 100];
    let mut late: Vec<Duration> = Vec::new();
    for number in 0..40 {
        let sent = Instant::now();
        edge.send_to(&[number; 100], relay.address()).unwrap();
        assert_eq!(studio.recv_from(&mut buffer).unwrap(), (100, relay.address()));
        assert_eq!(buffer, [number; 100]);
        let there = sent.elapsed();
        assert!(there >= delay, "early: {there:?}");
        late.push(there - delay);
        let sent = Instant::now();
        studio.send_to(&[number; 50], relay.address()).unwrap();
        assert_eq!(edge.recv_from(&mut buffer).unwrap(), (50, relay.address()));
        assert!(sent.elapsed() >= delay, "early: {:?}", sent.elapsed());
    }
    late.sort_unstable();
    // A machine that is busy is late more often than not, one that is coarse always.
    assert!(late[0] < Duration::from_millis(1), "late by {:?} at least, {:?} mostly", late[0], late[20]);
}

#[test]
fn what_the_link_counts_as_lost_is_what_does_not_arrive() {
    let (relay, studio, _tcp) = relay(Settings { loss: Loss::Random(0.2), ..Settings::default() });
    let edge = edge();
    let mut packet = [0; 60];
    packet[0] = 0x80;
    // Fewer than a socket's buffer holds.
    for number in 0..200_u16 {
        // Three audio packets, and RTCP after them.
        packet[1] = if number % 4 == 3 { 200 } else { 97 };
        packet[11] = 9;
        edge.send_to(&packet, relay.address()).unwrap();
        if number == 0 {
            // From here on the relay knows where the edge is.
            while relay.passed().to_studio.all.packets == 0 {
                thread::yield_now();
            }
        }
        studio.send_to(&packet, relay.address()).unwrap();
        while relay.passed().to_edge.all.packets <= u64::from(number) {
            thread::yield_now();
        }
    }
    let arrived =
        |socket: &UdpSocket| (0..).take_while(|_| socket.recv(&mut [0; 100]).is_ok()).count() as u64;
    let (at_studio, at_edge) = (arrived(&studio), arrived(&edge));
    let Passed { to_edge, to_studio, .. } = relay.passed();
    for (direction, arrived) in [(to_studio, at_studio), (to_edge, at_edge)] {
        assert_eq!((direction.all.packets, direction.all.bytes), (200, 12_000));
        assert_eq!(direction.all.lost, 200 - arrived);
        assert!((15..70).contains(&direction.all.lost), "{} of 200", direction.all.lost);
        let media = direction.sum([9]);
        assert_eq!(media.packets, 150);
        assert!(media.lost > 0 && media.lost < direction.all.lost, "{media:?}");
    }
}

#[test]
fn a_connection_is_delayed_and_loses_nothing() {
    let delay = Duration::from_millis(20);
    let (relay, _udp, tcp) = relay(Settings { delay, loss: Loss::Random(0.5), ..Settings::default() });
    let mut edge = TcpStream::connect(relay.address()).unwrap();
    let (mut studio, _) = tcp.accept().unwrap();
    let began = Instant::now();
    edge.write_all(b"question").unwrap();
    let mut question = [0; 8];
    studio.read_exact(&mut question).unwrap();
    assert!(began.elapsed() >= delay, "{:?}", began.elapsed());
    let answer: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_be_bytes()[3]).collect();
    let sent = answer.clone();
    let sender = thread::spawn(move || studio.write_all(&sent));
    let mut received = Vec::new();
    // Its end arrives, too.
    edge.read_to_end(&mut received).unwrap();
    sender.join().unwrap().unwrap();
    assert!(received == answer, "{} bytes of {}", received.len(), answer.len());
    assert!(began.elapsed() >= 2 * delay, "{:?}", began.elapsed());
    drop(relay);
    assert!(matches!(edge.write_all(b"x").and_then(|()| edge.read(&mut question)), Ok(0) | Err(_)));
}

#[test]
fn two_demos_do_not_meet() {
    let (first, _udp, _tcp) = relay(Settings::default());
    let (second, _udp, _tcp) = relay(Settings::default());
    assert_ne!(first.address(), second.address());
}
