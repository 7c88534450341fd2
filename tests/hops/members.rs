//! What two members share, and what becomes of it when one of them leaves.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::common::member::Ca;
use crate::common::pair::{far, near, near_by, near_on, numbered};
use crate::common::relay::{Relay, Way};
use crate::common::{Publisher, Reader, TcpReader, TestMesh, VIDEO};

/// As `dial` has it: how long a connection stays that no session uses.
const WARM: Duration = Duration::from_secs(30);

const DIALLED: &str = "msm_handshake_seconds_count{hop=\"mesh\",direction=\"dialled\"}";
const SOON: Duration = Duration::from_secs(5);

/// Streams of the far member's application.
fn streams(far: &TestMesh, count: usize) -> Vec<msm::Publisher> {
    (0..count).map(|n| far.block_on(far.mesh.publish(&far.url(&format!("s{n}")), VIDEO)).unwrap()).collect()
}

fn open(near: &TestMesh, number: usize) -> msm::Reader {
    near.block_on(near.mesh.open(&near.url(&format!("s{number}")))).unwrap()
}

/// Sends a packet of each stream, and takes it at its reader.
fn pass(near: &TestMesh, number: u16, publishers: &[msm::Publisher], readers: &mut [msm::Reader]) {
    let sent = numbered(number);
    for (publisher, reader) in publishers.iter().zip(readers) {
        publisher.send(0, sent.clone()).unwrap();
        let packet = near.block_on(async { timeout(SOON, reader.next()).await }).unwrap().unwrap().unwrap();
        assert_eq!(packet.payload[..], sent[12..]);
    }
}

#[test]
fn many_streams_share_a_connection_which_stays_warm_for_a_while() {
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let near = near_on(&ca.member("/near"), hop, 1, "");
    let publishers = streams(&far, 6);
    let mut readers: Vec<_> = (0..6).map(|number| open(&near, number)).collect();
    for number in 0..20 {
        pass(&near, number, &publishers, &mut readers);
    }
    for mesh in [&near, &far] {
        let hops = mesh.block_on(mesh.mesh.status()).hops;
        assert_eq!(hops.len(), 1, "{hops:?}");
        assert_eq!(
            hops[0].flows,
            3 * 6 + 2,
            "both ways of each stream, what protects it, and both of the control flow"
        );
    }
    assert_eq!(near.counter(DIALLED), 1.0);

    // Nobody uses it, and whoever comes next finds it open.
    drop(readers);
    near.wait_value("msm_streams ", 0.0);
    drop(open(&near, 3));
    near.wait_value("msm_streams ", 0.0);
    let left = Instant::now();
    assert_eq!(near.counter(DIALLED), 1.0);
    assert_eq!(near.counter("msm_hop_associations"), 1.0);
    let deadline = left + 2 * WARM;
    while near.counter("msm_hop_associations") > 0.0 {
        assert!(Instant::now() < deadline, "it is kept for nobody");
        std::thread::sleep(Duration::from_millis(100));
    }
    // A tick earlier at most than it was seen to be unused.
    assert!(left.elapsed() + Duration::from_secs(3) > WARM, "{:?}", left.elapsed());
    // All the time the round trip was measured, every ten seconds.
    let measured =
        near.counter("msm_hop_rtt_seconds_count{cluster=\"far\",direction=\"dialled\",path=\"1\"}");
    assert!((3.0..=5.0).contains(&measured), "{measured}");
    far.wait_value("msm_connections ", 0.0);
}

/// Members with two workers each, somebody between them, and streams whose flows come to both of the near one's.
struct Spread {
    publishers: Vec<msm::Publisher>,
    readers: Vec<msm::Reader>,
    relay: Relay,
    near: TestMesh,
    far: TestMesh,
}

impl Spread {
    fn new() -> Self {
        let ca = Ca::new("test.example");
        let (far, hop) = far(&ca.member("/far"), "");
        let relay = Relay::start(hop);
        // Of what protects the media nothing is to come between.
        let near = near_by(&ca.member("/near"), relay.address, ", protection: {latency: 0s}");
        let publishers = streams(&far, 8);
        let readers = (0..8).map(|number| open(&near, number)).collect();
        let hops = near.block_on(near.mesh.status()).hops;
        assert_eq!(hops.len(), 2, "one of each worker: {hops:?}");
        assert_eq!(near.counter(DIALLED), 2.0, "shared by the streams of a worker");
        Self { publishers, readers, relay, near, far }
    }

    fn pass(&mut self, number: u16) {
        pass(&self.near, number, &self.publishers, &mut self.readers);
    }

    fn strays(&self) -> [f64; 2] {
        [&self.near, &self.far].map(|mesh| mesh.counter("reason=\"hop_stray\""))
    }
}

/// The worker that a datagram of media is for, by its label.
fn worker_of(datagram: &[u8]) -> Option<u8> {
    (!(192..=223).contains(&datagram[1])).then(|| datagram[8])
}

#[test]
fn the_kernel_gives_each_worker_its_own_packets() {
    let mut spread = Spread::new();
    let seen: Arc<Mutex<BTreeMap<u8, usize>>> = Arc::default();
    let sink = Arc::clone(&seen);
    spread.relay.set(move |way, datagram| {
        if let Some(worker) = worker_of(datagram).filter(|_| way == Way::ToDialler) {
            *sink.lock().unwrap().entry(worker).or_default() += 1;
        }
        vec![datagram.to_vec()]
    });
    for number in 0..100 {
        spread.pass(number);
    }
    let seen = seen.lock().unwrap().clone();
    assert!(seen.len() == 2 && seen.values().all(|count| *count >= 100), "labels of both workers: {seen:?}");
    assert_eq!(spread.strays(), [0.0, 0.0]);
}

#[test]
fn what_comes_to_another_worker_arrives_all_the_same() {
    let mut spread = Spread::new();
    spread.pass(0);
    let held: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let sink = Arc::clone(&held);
    spread.relay.set(move |way, datagram| {
        if way == Way::ToDialler && worker_of(datagram).is_some() {
            sink.lock().unwrap().push(datagram.to_vec());
            return vec![];
        }
        vec![datagram.to_vec()]
    });
    let sent = numbered(1);
    for publisher in &spread.publishers {
        publisher.send(0, sent.clone()).unwrap();
    }
    let deadline = Instant::now() + SOON;
    while held.lock().unwrap().len() < spread.publishers.len() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    // The kernel looks at the first label of datagrams that are sent as one, and gives all of them to its worker.
    let mut held = held.lock().unwrap().clone();
    held.sort_by_key(|datagram| std::cmp::Reverse(datagram.len()));
    let segment = held[0].len();
    let whole = held.iter().take_while(|datagram| datagram.len() == segment).count();
    assert!(whole + 1 >= held.len(), "only the last may be shorter: {:?}", held.iter().map(Vec::len));
    let first = worker_of(&held[0]).unwrap();
    let strays = held.iter().filter(|datagram| worker_of(datagram) != Some(first)).count();
    assert!(strays > 0, "there are some for both");
    let stranger = UdpSocket::bind("127.0.0.3:0").unwrap();
    let stranger = msm_udp::Socket::new(stranger).unwrap();
    let transmit = msm_udp::Transmit {
        destination: spread.relay.dialler(),
        contents: &held.concat(),
        segment_size: Some(segment),
        ecn: None,
        src_ip: None,
    };
    stranger.send(&transmit).unwrap();
    for reader in &mut spread.readers {
        let next = spread.near.block_on(async { timeout(SOON, reader.next()).await });
        assert_eq!(next.unwrap().unwrap().unwrap().payload[..], sent[12..]);
    }
    assert_eq!(spread.strays(), [strays as f64, 0.0]);
}

/// Shuts a member down and waits for what must not take a timeout: the shortest that it could be is ten seconds.
fn at_once(leaves: TestMesh, wait: impl FnOnce()) {
    let began = Instant::now();
    drop(leaves);
    wait();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn what_a_member_reads_or_publishes_ends_with_it_at_once() {
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let near = near(&ca.member("/near"), hop, "");
    let publisher = Publisher::start(&far, "read");
    let reader = Reader::start(&near, "read");
    publisher.send(&numbered(0));
    reader.recv();
    let published = near.block_on(near.mesh.publish(&near.url("from/near"), VIDEO)).unwrap();
    let mut last = far.block_on(far.mesh.open(&far.url("from/near"))).unwrap();
    published.send(0, numbered(0)).unwrap();
    far.block_on(last.next()).unwrap().unwrap();
    assert_eq!(far.counter("msm_sessions "), 3.0);
    at_once(near, || {
        far.wait_value("msm_sessions ", 1.0);
        let end = far.block_on(async { timeout(SOON, last.next()).await });
        assert!(end.unwrap().unwrap().is_none());
        far.wait_value("msm_streams ", 1.0);
    });
    drop(published);
}

#[test]
fn what_is_read_from_or_published_to_a_member_ends_with_it_at_once() {
    let ca = Ca::new("test.example");
    let (far, hop) = far(&ca.member("/far"), "");
    let near = near(&ca.member("/near"), hop, "    failover: {hold: 0s}\n");
    let publisher = Publisher::start(&far, "read");
    let mut reader = Reader::start(&near, "read");
    let mut tcp = TcpReader::start(&near, "read");
    publisher.send(&numbered(0));
    reader.recv();
    tcp.recv();
    let mut published = Publisher::start(&near, "from/near");
    assert_eq!(near.counter("msm_sessions "), 3.0);
    at_once(far, || {
        assert!(reader.rtsp.is_closed() && tcp.rtsp.is_closed() && published.rtsp.is_closed());
        near.wait_value("msm_sessions ", 0.0);
        near.wait_value("msm_streams ", 0.0);
    });
}
