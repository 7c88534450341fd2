//! Weights change while readers read: those who are to go over do, and keep what they have.

use std::time::{Duration, Instant};

use msm::config::{Config, Question};

use crate::common::{Line, Reader, TcpPublisher, TcpReader, TestMesh, keyframe, reader_port, rtp};

const MOMENT: Duration = Duration::from_millis(100);

/// Two servers of one stream, and a mesh whose route splits between them.
struct Split {
    front: TestMesh,
    port: u16,
    servers: [TestMesh; 2],
}

impl Split {
    fn start(migrate: bool) -> Split {
        let servers = [TestMesh::start(""), TestMesh::start("")];
        let port = reader_port();
        let yaml = yaml(port, &servers, [1, 0], migrate);
        Split { front: TestMesh::from_yaml(&yaml), port, servers }
    }

    fn weigh(&self, weights: [u32; 2], migrate: bool) {
        let yaml = yaml(self.port, &self.servers, weights, migrate);
        let config = Config::from_yaml(&yaml, "test.yaml", std::iter::empty()).unwrap();
        self.front.block_on(self.front.mesh.reload(config)).unwrap();
    }
}

fn yaml(port: u16, servers: &[TestMesh; 2], weights: [u32; 2], migrate: bool) -> String {
    let [old, new] = servers.each_ref().map(|server| server.address);
    let [of_old, of_new] = weights;
    format!(
        "listeners:\n  - {{name: test, address: \"127.0.0.1:0\", ports: {port}}}\nworkers: 2\nroutes:\n  - {{name: r, match: {{url: \"/cam\"}}, \
         migrate: {migrate}, idle_timeout: 500ms, backends: [{{cluster: old, weight: {of_old}}}, {{cluster: new, weight: {of_new}}}]}}\nclusters:\n  \
         old: {{endpoints: [\"rtsp://{old}\"], transport: udp}}\n  new: {{endpoints: [\"rtsp://{new}\"], transport: udp}}\n"
    )
}

/// Readers of one stream by UDP and in their connection, who get the same.
struct Both {
    udp: Reader,
    tcp: TcpReader,
    of_udp: Line,
    of_tcp: Line,
    number: u16,
}

impl Both {
    fn start(front: &TestMesh, path: &str) -> Both {
        let (udp, tcp) = (Reader::start(front, path), TcpReader::start(front, path));
        Both { udp, tcp, of_udp: Line::default(), of_tcp: Line::default(), number: 100 }
    }

    /// They get the next packet that `from` publishes.
    fn get(&mut self, from: &mut TcpPublisher, nal: u8) {
        let packet = rtp(self.number, u32::from(self.number) * 3600, 1, nal, 400);
        self.number += 1;
        from.send(&packet);
        self.of_udp.check(&self.udp.recv(), &packet);
        self.of_tcp.check(&self.tcp.recv(), &packet);
    }

    /// They go over as soon as `to` has a keyframe for them.
    fn go_over(&mut self, to: &mut TcpPublisher) {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut sent = 0;
        let packet = loop {
            assert!(Instant::now() < deadline, "nobody goes over");
            to.send(&key(sent));
            sent += 1;
            if let Some(packet) = self.udp.try_recv(MOMENT) {
                break packet;
            }
        };
        // The first packets of a source may be on probation: whichever keyframe it was, the line goes on.
        self.of_udp.check(&packet, &key(sent - 1));
        let mut last = self.tcp.recv();
        while last.len() != 500 {
            last = self.tcp.recv();
        }
        self.of_tcp.check(&last, &key(sent - 1));
    }
}

/// A keyframe of the stream that they go over to.
fn key(number: u16) -> Vec<u8> {
    keyframe(9 + number, 700_000 + u32::from(number) * 90, 2, 500)
}

#[test]
fn readers_go_over_at_a_keyframe_of_the_other_stream() {
    let split = Split::start(true);
    let mut old = TcpPublisher::start(&split.servers[0], "cam");
    let mut new = TcpPublisher::start(&split.servers[1], "cam");
    let mut both = Both::start(&split.front, "cam");
    both.get(&mut old, 0x65);
    both.get(&mut old, 0x41);
    split.weigh([0, 1], true);
    std::thread::sleep(3 * MOMENT);
    // Until the other one has a keyframe they get what they got.
    both.get(&mut old, 0x41);
    both.go_over(&mut new);
    // The other stream is read by nobody any more.
    split.servers[0].wait_value("msm_readers{", 0.0);
}

#[test]
fn without_migrate_they_stay_and_who_comes_goes_there() {
    let split = Split::start(false);
    let mut old = TcpPublisher::start(&split.servers[0], "cam");
    let mut new = TcpPublisher::start(&split.servers[1], "cam");
    let stays = Reader::start(&split.front, "cam");
    let mut line = Line::default();
    let packet = keyframe(1, 1, 1, 400);
    old.send(&packet);
    line.check(&stays.recv(), &packet);
    split.weigh([0, 1], false);
    std::thread::sleep(3 * MOMENT);
    let late = Reader::start(&split.front, "cam");
    let key = keyframe(5, 5, 2, 500);
    new.send(&key);
    assert!(late.recv()[12..] == key[12..]);
    let packet = rtp(2, 3600, 1, 0x41, 300);
    old.send(&packet);
    line.check(&stays.recv(), &packet);
}

/// A mesh on whose route `new` is on trial, and a stream of `new`'s that readers of the mesh get.
fn trial(servers: &[TestMesh; 2], migrate: bool) -> (TestMesh, String) {
    let [old, new] = servers.each_ref().map(|server| server.address);
    let yaml = format!(
        "listeners:\n  - {{name: test, address: \"127.0.0.1:0\", ports: {}}}\nworkers: 2\nroutes:\n  - {{name: r, match: {{url: \"/{{n}}\"}}, \
         migrate: {migrate}, idle_timeout: 500ms, backends: [{{cluster: old}}, {{cluster: new}}], canary: {{cluster: new}}}}\nclusters:\n  \
         old: {{endpoints: [\"rtsp://{old}\"], transport: udp}}\n  new: {{endpoints: [\"rtsp://{new}\"], transport: udp}}\n",
        reader_port()
    );
    let config = Config::from_yaml(&yaml, "test.yaml", std::iter::empty()).unwrap();
    let is_new = |path: &String| {
        let client = Some([127, 0, 0, 1].into());
        let question = Question { client, ..Question::read(format!("rtsp://h/{path}")) };
        config.explain(&question).unwrap().backends[1].chosen == Some(true)
    };
    let path = (0..).map(|number| format!("cam{number}")).find(is_new).unwrap();
    (TestMesh::from_yaml(&yaml), path)
}

#[test]
fn readers_of_a_canary_that_is_rolled_back_go_over_at_a_keyframe() {
    for migrate in [true, false] {
        let servers = [TestMesh::start(""), TestMesh::start("")];
        let (front, path) = trial(&servers, migrate);
        let mut old = TcpPublisher::start(&servers[0], &path);
        let mut new = TcpPublisher::start(&servers[1], &path);
        let mut both = Both::start(&front, &path);
        both.get(&mut new, 0x65);
        both.get(&mut new, 0x41);
        // Of what else is asked for, only the other backend has anything.
        let others: Vec<_> = (0..60).map(|number| format!("other{number}")).collect();
        let _published: Vec<_> = others.iter().map(|path| TcpPublisher::start(&servers[0], path)).collect();
        let rolled_back = || front.block_on(front.mesh.status()).canaries[0].rolled_back.is_some();
        for path in &others {
            front.connect().ask("DESCRIBE", &front.url(path), &[("Accept", "application/sdp")], b"");
        }
        assert!(rolled_back(), "{:?}", front.block_on(front.mesh.status()).canaries);
        std::thread::sleep(3 * MOMENT);
        both.get(&mut new, 0x41);
        if !migrate {
            old.send(&key(0));
            assert!(both.udp.try_recv(3 * MOMENT).is_none(), "they stay where they are");
            both.get(&mut new, 0x41);
            continue;
        }
        both.go_over(&mut old);
        servers[1].wait_value("msm_readers{", 0.0);
        assert_eq!(servers[0].counter("msm_readers{"), 1.0);
    }
}
