//! The examples do what they say.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::common::TestMesh;

const SOON: Duration = Duration::from_secs(10);

/// An example as it was built beside this test; it ends with its owner.
struct Example(Child);

impl Example {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let own = std::env::current_exe().unwrap();
        let path: PathBuf = own.ancestors().nth(2).unwrap().join("examples").join(name);
        let mut command = Command::new(&path);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        // A whole `cargo test` builds them, or `cargo build --examples` does.
        Self(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// Its next lines.
    fn lines(&mut self, count: usize) -> Vec<String> {
        let lines = BufReader::new(self.0.stdout.as_mut().unwrap()).lines();
        lines.take(count).map(Result::unwrap).collect()
    }

    fn succeeds(mut self) {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return assert!(status.success(), "{status}");
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for somebody to publish.
fn published(mesh: &TestMesh, streams: f64) {
    mesh.wait_value("msm_streams ", streams);
}

#[test]
fn one_publishes_and_another_reads() {
    let mesh = TestMesh::start("workers: 1");
    let url = mesh.url("in/tone");
    let publisher = Example::start("publisher", &[&url, "2"]);
    published(&mesh, 1.0);
    let mut reader = Example::start("reader", &[&url]);
    let lines = reader.lines(5);
    let stamps = lines.iter().map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        assert_eq!(
            (words[..3].to_vec(), &words[4..]),
            (vec!["track", "0", "timestamp"], &["160", "bytes"][..])
        );
        words[3].parse::<u32>().unwrap()
    });
    let stamps: Vec<_> = stamps.collect();
    assert!(stamps.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 160), "{stamps:?}");
    // It reads until the publisher has gone.
    publisher.succeeds();
    reader.succeeds();
    mesh.wait_value("msm_streams ", 0.0);
}

/// How loud a packet of G.711 is: the most of it.
fn loudness(payload: &[u8]) -> i32 {
    payload
        .iter()
        .map(|byte| {
            let byte = !byte;
            (((i32::from(byte & 0x0f) << 3) + 0x84) << (byte >> 4 & 7)) - 0x84
        })
        .max()
        .unwrap_or(0)
}

#[test]
fn the_mixer_sums_what_it_reads() {
    let mesh = TestMesh::start("workers: 1");
    let (one, two, sum) = (mesh.url("in/one"), mesh.url("in/two"), mesh.url("in/sum"));
    let sources = [&one, &two].map(|url| Example::start("publisher", &[url, "20"]));
    published(&mesh, 2.0);
    let mixer = Example::start("mixer", &[&sum, &one, &two]);
    published(&mesh, 3.0);
    mesh.block_on(async {
        let mut reader = mesh.mesh.open(&sum).await.unwrap();
        let mut loudest = 0;
        // The two tones are not in step: now and then they are nearly.
        for _ in 0..100 {
            let packet = timeout(SOON, reader.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(packet.payload.len(), 160);
            loudest = loudest.max(loudness(&packet.payload));
        }
        assert!(loudest > 500, "{loudest}");
    });
    drop(sources);
    drop(mixer);
    mesh.wait_value("msm_streams ", 0.0);
}

#[test]
fn the_gateway_lets_players_in_to_a_server() {
    let back = TestMesh::start("workers: 1");
    let source = Example::start("publisher", &[&back.url("live"), "20"]);
    published(&back, 1.0);
    let mut gateway = Example::start("gateway", &["127.0.0.1:0", &format!("rtsp://{}", back.address)]);
    let listening = gateway.lines(1).remove(0);
    let address = listening.strip_prefix("listening on ").unwrap();
    let mut reader = Example::start("reader", &[&format!("rtsp://{address}/cam/live")]);
    assert_eq!(reader.lines(3).len(), 3);
    drop(source);
}
