//! Two members, and what goes between them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use msm::{Event, EventKind};
use msm_auth::identity::UnixTime;
use msm_auth::identity::ephemeral::{Ephemeral, EphemeralCa, EphemeralSource};
use msm_auth::identity::id::{SpiffeId, TrustDomain};
use tokio::time::timeout;

use crate::common::pair::{far, near, numbered};
use crate::common::{Line, Publisher, Reader, TcpReader, VIDEO, rtp};

const SOON: Duration = Duration::from_secs(5);

/// An authority for one test.
struct Authority(Arc<EphemeralCa>);

impl Authority {
    fn new() -> Self {
        let domain = TrustDomain::parse("test.example").unwrap();
        Self(Arc::new(EphemeralCa::new(Ephemeral::ForTests, domain, UnixTime::now()).unwrap()))
    }

    fn source(&self, path: &str) -> Arc<EphemeralSource> {
        let id = SpiffeId::parse(&format!("spiffe://test.example{path}")).unwrap();
        Arc::new(
            EphemeralSource::new(Arc::clone(&self.0), id, Duration::from_secs(3600), UnixTime::now())
                .unwrap(),
        )
    }
}

#[test]
fn a_plain_player_reads_through_two_members() {
    let authority = Authority::new();
    let (far, hop) = far(&authority.source("/far"), "");
    let near = near(&authority.source("/near"), hop, "");
    let publisher = Publisher::start(&far, "live/one");
    let readers: Vec<_> = (0..2).map(|_| Reader::start(&near, "live/one")).collect();
    let mut tcp: Vec<_> = (0..2).map(|_| TcpReader::start(&near, "live/one")).collect();
    let mut lines: Vec<_> = (0..4).map(|_| Line::default()).collect();
    assert_eq!(far.counter("msm_sessions "), 2.0, "the publisher's, and one of the other member");
    for number in 0..200u16 {
        let packet = numbered(number);
        publisher.send(&packet);
        for (reader, line) in readers.iter().zip(&mut lines) {
            line.check(&reader.recv(), &packet);
        }
        for (reader, line) in tcp.iter_mut().zip(&mut lines[2..]) {
            line.check(&reader.recv(), &packet);
        }
    }
    drop(readers);
    drop(tcp);
    assert_eq!(near.counter("msm_dropped_total{reason=\"srtp"), 0.0, "{}", near.metrics());
}

#[test]
fn an_application_reads_and_publishes_without_a_proxy_of_its_own() {
    let authority = Authority::new();
    let (far, hop) = far(&authority.source("/far"), "");
    let near = near(&authority.source("/near"), hop, "");
    let url = near.url("from/app");
    let mut events = [near.mesh.events(), far.mesh.events()];
    near.block_on(async {
        let publisher = near.mesh.publish(&url, VIDEO).await.unwrap();
        let mut reader = near.mesh.open(&url).await.unwrap();
        for number in 0..100u16 {
            let sent = numbered(number);
            publisher.send(0, sent.clone()).unwrap();
            let packet = timeout(SOON, reader.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(packet.payload[..], sent[12..]);
        }
        drop(publisher);
        assert!(timeout(SOON, reader.next()).await.unwrap().unwrap().is_none(), "its end crosses both hops");
    });
    for (events, peer) in events.iter_mut().zip(["/far", "/near"]) {
        let told: Vec<_> = std::iter::from_fn(|| events.try_next()).collect();
        let is_peer = |event: &&Event| matches!(event.kind, EventKind::PeerConnected { .. });
        // Each worker has connections of its own.
        let mut peers: Vec<_> = told.iter().filter(is_peer).map(|event| event.name.as_str()).collect();
        peers.dedup();
        assert_eq!(peers, [format!("spiffe://test.example{peer}")], "{told:?}");
    }
    far.wait_value("msm_sessions ", 0.0);
    far.wait_value("msm_streams ", 0.0);
}

#[test]
fn gaps_upstream_stay_gaps_and_large_packets_cross_in_two() {
    let authority = Authority::new();
    let (far, hop) = far(&authority.source("/far"), "");
    let near = near(&authority.source("/near"), hop, "");
    let publisher = Publisher::start(&far, "live/gaps");
    let reader = Reader::start(&near, "live/gaps");
    let mut first = None;
    for number in (0..60u16).filter(|number| ![7, 8, 9, 30].contains(number)) {
        let size = if number % 3 == 0 { 1460 } else { 700 };
        let packet = rtp(number, u32::from(number) * 3000, 7, if number == 0 { 0x65 } else { 0x41 }, size);
        publisher.send(&packet);
        let received = reader.recv();
        assert_eq!(received[12..], packet[12..]);
        let sequence = u16::from_be_bytes([received[2], received[3]]);
        let first = *first.get_or_insert(sequence);
        assert_eq!(sequence.wrapping_sub(first), number);
    }
}

#[test]
fn a_new_identity_re_keys_without_a_packet_lost() {
    let authority = Authority::new();
    let (near_id, far_id) = (authority.source("/near"), authority.source("/far"));
    let (far, hop) = far(&far_id, "");
    let near = near(&near_id, hop, "");
    let publisher = Publisher::start(&far, "live/keys");
    let reader = Reader::start(&near, "live/keys");
    let mut line = Line::default();
    for number in 0..900u16 {
        if number % 200 == 100 {
            near_id.rotate(UnixTime::now()).unwrap();
        }
        let packet = numbered(number);
        publisher.send(&packet);
        line.check(&reader.recv(), &packet);
        std::thread::sleep(Duration::from_millis(1));
    }
    let deadline = Instant::now() + SOON;
    while far.counter("msm_hop_rekeys_total") < 4.0 {
        assert!(Instant::now() < deadline, "{}", far.metrics());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_member_that_no_route_allows_is_refused_and_never_served_by_a_broader_one() {
    let authority = Authority::new();
    let routes = "routes:\n  \
         - {name: secret, match: {url: '/secret/{path...}', actions: [read]}, allow: ['spiffe://test.example/other']}\n  \
         - {name: out, match: {url: '/open/{path...}', actions: [read]}, allow: ['spiffe://test.example/*']}\n  \
         - {name: in, match: {url: '/{path...}'}}\n";
    let (far, hop) = far(&authority.source("/far"), routes);
    let near = near(&authority.source("/near"), hop, "");
    let publisher = near.block_on(async {
        // The far member's own application.
        let secret = far.mesh.publish(&far.url("secret/a"), VIDEO).await.unwrap();
        let open = far.mesh.publish(&far.url("open/a"), VIDEO).await.unwrap();
        let plain = far.mesh.publish(&far.url("plain/a"), VIDEO).await.unwrap();
        (secret, open, plain)
    });
    let status = |path: &str| {
        let mut rtsp = near.connect();
        rtsp.ask("DESCRIBE", &near.url(path), &[], b"").status
    };
    assert_eq!(status("open/a"), 200);
    assert_eq!(status("secret/a"), 403);
    assert_eq!(status("plain/a"), 403, "a route without `allow` serves no member");
    drop(publisher);
    assert!(far.counter("msm_authorization_total{decision=\"deny\",route=\"secret\"}") >= 1.0);
    assert!(far.counter("msm_authorization_total{decision=\"deny\",route=\"in\"}") >= 1.0);
    assert!(far.counter("msm_authorization_total{decision=\"allow\",route=\"out\"}") >= 1.0);
}

#[test]
fn a_server_that_is_not_who_it_must_be_serves_nothing() {
    let authority = Authority::new();
    let (_far, hop) = far(&authority.source("/somebody"), "");
    let near = near(&authority.source("/near"), hop, "");
    let mut rtsp = near.connect();
    assert_eq!(rtsp.ask("DESCRIBE", &near.url("live/one"), &[], b"").status, 502);
    let error = near.block_on(near.mesh.open(&near.url("live/one"))).err().unwrap().to_string();
    assert!(error.contains("spiffe://test.example/somebody"), "{error}");
}
