//! Another process in the place of a member, and of one that speaks TLS with players.

use std::sync::Arc;
use std::time::Duration;

use msm_auth::identity::source::IdentitySource;

use crate::common::member::Ca;
use crate::common::pair::{free_port, near, pass};
use crate::common::succession::{Way, on_runtime};
use crate::common::tls::{Authority, connect};
use crate::common::{Line, Publisher, Reader, TcpPublisher, TcpReader, TestMesh, keyframe, reader_port};

/// The other member publishes below `from/`, which anybody may read, and reads everything else.
const ROUTES: &str = "routes:\n\
  - {name: comes, match: {url: '/from/{path...}', actions: [publish]}, allow: ['spiffe://test.example/near']}\n\
  - {name: read, match: {url: '/from/{path...}', actions: [read]}}\n\
  - {name: in, match: {url: '/{path...}', actions: [publish]}}\n\
  - {name: out, match: {url: '/{path...}', actions: [read]}, allow: ['spiffe://test.example/near']}\n";

fn far_yaml() -> String {
    far_yaml_at(free_port(&["127.0.0.1"]))
}

/// The same, with its mesh port.
fn far_yaml_at(port: u16) -> String {
    format!(
        "workers: 2\nlisteners:\n  - {{name: plain, address: \"127.0.0.1:0\", ports: {}}}\n  \
         - {{name: mesh, address: \"127.0.0.1:{port}\", protocol: mesh}}\n{ROUTES}",
        reader_port(),
    )
}

fn by_udp(mesh: &TestMesh) {
    let status = mesh.block_on(mesh.mesh.status());
    assert!(status.hops.iter().all(|hop| hop.way.starts_with("udp")), "{:?}", status.hops);
}

/// Packets from the publisher to the reader, in order and without a gap.
struct Flow {
    publisher: Publisher,
    reader: Reader,
    line: Line,
    next: u16,
}

impl Flow {
    fn new(publisher: Publisher, reader: Reader) -> Self {
        let mut flow = Self { publisher, reader, line: Line::default(), next: 0 };
        flow.pass(50);
        flow
    }

    fn pass(&mut self, packets: u16) {
        pass((&self.publisher, &self.reader), &mut self.line, &mut self.next, packets);
    }
}

#[test]
fn streams_of_members_flow_on_both_ways_and_new_ones_come_to_the_new_process() {
    let ca = Ca::new("test.example");
    let yaml = far_yaml();
    let source = ca.member("/far") as Arc<dyn IdentitySource>;
    let far = TestMesh::with(&yaml, |builder| builder.identity(Arc::clone(&source)));
    let hop = far.addresses[1];
    let near_by = near(&ca.member("/near"), hop, "");
    let mut down = Flow::new(Publisher::start(&far, "live/one"), Reader::start(&near_by, "live/one"));
    let mut up = Flow::new(Publisher::start(&near_by, "from/near"), Reader::start(&far, "from/near"));
    by_udp(&near_by);
    let way = Way::new();
    let door = way.door(&far.mesh);
    let taking = {
        let source = Arc::clone(&source);
        std::thread::spawn(move || way.successor(&yaml, |builder| builder.identity(source)))
    };
    while !taking.is_finished() {
        down.pass(1);
        up.pass(1);
    }
    let new = taking.join().unwrap();
    door.join().unwrap().unwrap();
    assert_eq!(new.addresses, far.addresses);
    // Longer than a path may be silent.
    for _ in 0..1500 {
        down.pass(1);
        up.pass(1);
    }
    by_udp(&near_by);
    by_udp(&far);
    for mesh in [&far, &new, &near_by] {
        assert_eq!(mesh.counter("msm_dropped"), 0.0, "{}", mesh.metrics());
        assert_eq!(mesh.counter("msm_hop_lost"), 0.0, "{}", mesh.metrics());
    }
    // Another member has an association with the new process, next to the old one's at the same port.
    let other = near(&ca.member("/near"), hop, "");
    let mut fresh = Flow::new(Publisher::start(&new, "live/two"), Reader::start(&other, "live/two"));
    for _ in 0..200 {
        fresh.pass(1);
        down.pass(1);
        up.pass(1);
    }
    by_udp(&other);
    by_udp(&new);
    assert_eq!(new.block_on(new.mesh.status()).hops.len(), 1);
}

#[test]
fn a_third_process_gets_its_packets_while_streams_of_the_first_flow() {
    let ca = Ca::new("test.example");
    let yaml = far_yaml();
    let source = ca.member("/far") as Arc<dyn IdentitySource>;
    let with = |builder: msm::Builder| builder.identity(Arc::clone(&source));
    let first = TestMesh::with(&yaml, with);
    let hop = first.addresses[1];
    let one = near(&ca.member("/near"), hop, "");
    let mut down = Flow::new(Publisher::start(&first, "live/one"), Reader::start(&one, "live/one"));
    let way = Way::new();
    let door = way.door(&first.mesh);
    let second = way.successor(&yaml, with);
    door.join().unwrap().unwrap();
    down.pass(50);
    on_runtime(second.mesh.shutdown(Duration::ZERO));
    let alone = async { tokio::time::timeout(Duration::from_secs(10), first.mesh.left_alone()).await };
    on_runtime(alone).expect("in 10 s");
    down.pass(50);
    // Who does not ask is told why it cannot be.
    let other = far_yaml_at(hop.port());
    let config = msm::config::Config::from_yaml(&other, "t.yaml", std::iter::empty()).unwrap();
    let refused = on_runtime(async {
        let mesh = with(msm::Mesh::builder().config(config)).build().await.unwrap();
        mesh.serve().await.unwrap_err().to_string()
    });
    assert!(refused.starts_with(&format!("mesh port {hop}/udp: another process has it")), "{refused}");
    let door = way.door(&first.mesh);
    let third = way.successor(&yaml, with);
    door.join().unwrap().unwrap();
    let other = near(&ca.member("/near"), hop, "");
    let mut fresh = Flow::new(Publisher::start(&third, "live/two"), Reader::start(&other, "live/two"));
    // Longer than a path may be silent.
    for _ in 0..1500 {
        fresh.pass(1);
        down.pass(1);
    }
    for mesh in [&first, &third, &one, &other] {
        by_udp(mesh);
        assert_eq!(mesh.counter("msm_dropped"), 0.0, "{}", mesh.metrics());
        assert_eq!(mesh.counter("msm_hop_lost"), 0.0, "{}", mesh.metrics());
    }
}

#[test]
fn a_member_that_cannot_go_on_by_a_new_connection_goes_on_by_the_one_it_has() {
    let ca = Ca::new("test.example");
    let yaml = far_yaml();
    let source = ca.member("/far") as Arc<dyn IdentitySource>;
    let with = |builder: msm::Builder| builder.identity(Arc::clone(&source));
    let old = TestMesh::with(&yaml, with);
    let own = ca.member("/near");
    let one = near(&own, old.addresses[1], "");
    let mut down = Flow::new(Publisher::start(&old, "live/one"), Reader::start(&one, "live/one"));
    own.put(ca.svid("/near", 3600), [ca.bundle()]);
    one.wait_value("msm_hop_rekeys", 1.0);
    let way = Way::new();
    let door = way.door(&old.mesh);
    let new = way.successor(&yaml, with);
    door.join().unwrap().unwrap();
    // Its new connection comes to the new process, which has none of the keys, and refuses it again and again.
    own.put(ca.svid("/near", 3600), [ca.bundle()]);
    new.wait_counter("msm_handshake_seconds_count{hop=\"mesh\",direction=\"accepted\"}", 3.0);
    down.pass(300);
    by_udp(&one);
    assert_eq!((one.counter("msm_hop_rekeys"), one.counter("msm_hop_lost")), (1.0, 0.0));
    assert_eq!(one.block_on(one.mesh.status()).hops[0].epoch, 2);
}

#[test]
fn connections_within_tls_go_on_with_the_old_process_by_the_new_one() {
    let authority = Authority::new();
    authority.issue("server", "127.0.0.1");
    let yaml = format!(
        "workers: 2\nlisteners:\n  - {{name: test, address: \"127.0.0.1:0\", protocol: rtsps, tls: {}}}\n",
        authority.yaml("server", "")
    );
    let old = TestMesh::from_yaml(&yaml);
    let url = format!("rtsps://{}/one", old.address);
    let to = old.address;
    let client = || connect(to, authority.plain_client());
    let mut publisher = TcpPublisher::over(client(), url.clone());
    let mut reader = TcpReader::over(client(), url.clone());
    let mut lines = [Line::default(), Line::default()];
    let way = Way::new();
    let door = way.door(&old.mesh);
    let new = way.successor(&yaml, |builder| builder);
    door.join().unwrap().unwrap();
    // A reader that comes now, of a stream that only the old process has: its media is carried, too.
    let mut late = TcpReader::over(client(), url.clone());
    for number in 0..300u16 {
        let length = if number % 20 == 0 { 40_000 } else { 1000 };
        let packet = keyframe(number, u32::from(number) * 3000, 7, length);
        publisher.send(&packet);
        lines[0].check(&reader.recv(), &packet);
        lines[1].check(&late.recv(), &packet);
    }
    assert_eq!((old.counter("msm_sessions "), new.counter("msm_sessions ")), (3.0, 0.0));
    let answer = client().ask("TEARDOWN", &url, &[("Session", late.session.as_str())], b"");
    assert_eq!(answer.status, 200);
    old.wait_value("msm_sessions ", 2.0);
}
