//! A process takes the place of another one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what goes wrong here fails the test"
)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Process, SDP, free, get, pair, wait};

/// The processes whose sessions end, as whoever answers now says.
fn predecessors(admin: SocketAddr) -> Vec<u64> {
    let status: serde_json::Value = serde_json::from_str(&get(admin, "/status").1).unwrap_or_default();
    let list = status.get("predecessors").and_then(|list| list.as_array()).cloned().unwrap_or_default();
    list.iter().filter_map(|own| own.get("pid")?.as_u64()).collect()
}

/// Listener, admin server, and a file that says so; streams end with their publishers.
fn configured(dir: &Path, more: &str) -> (SocketAddr, SocketAddr, PathBuf) {
    let (rtsp, admin, file) = (free(), free(), dir.join("msm.yaml"));
    let yaml = format!(
        "listeners: [{{address: \"{rtsp}\", ports: {}}}]\nworkers: 2\n\
         admin: {{address: \"{admin}\", metrics: off, ready: off}}\n\
         routes: [{{name: local, publish: {{resume: 0s}}}}]\n\
         upgrade: {{socket: \"{}\", drain_timeout: 1m}}\n{more}",
        pair(),
        dir.join("upgrade.sock").display()
    );
    fs::write(&file, yaml).unwrap();
    (rtsp, admin, file)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn nobody_notices_that_another_process_serves() {
    let dir = tempfile::tempdir().unwrap();
    let (rtsp, admin, file) = configured(dir.path(), "");
    let socket = dir.path().join("upgrade.sock");
    let mut old = Process::start(&file);
    wait("ready", || (get(admin, "/ready").0 == 200).then_some(()));
    wait("the door", || socket.exists().then_some(()));
    assert_eq!(predecessors(admin), [0; 0]);
    let runtime = runtime();
    let url = format!("rtsp://{rtsp}/cam");
    let client = runtime.block_on(msm::Mesh::builder().workers(1).build()).unwrap();
    let publisher = runtime.block_on(client.publish(&url, SDP)).unwrap();
    let reader = runtime.block_on(msm::Mesh::builder().workers(1).build()).unwrap();
    let mut packets = runtime.block_on(reader.open(&url)).unwrap();
    let mut number = 0u16;
    let mut last = None;
    let mut pass = |count: usize| {
        for _ in 0..count {
            let mut packet = vec![0x80, 0x80 | 96];
            packet.extend(number.to_be_bytes());
            packet.extend((u32::from(number) * 3000).to_be_bytes());
            packet.extend([0, 0, 0, 7, 0x65, 0x88]);
            packet.extend(number.to_be_bytes());
            packet.resize(600, 1);
            number += 1;
            publisher.send(0, packet).unwrap();
            let next = async { tokio::time::timeout(Duration::from_secs(5), packets.next()).await };
            let got = runtime.block_on(next).expect("in time").unwrap().expect("a packet");
            assert_eq!(got.payload.get(2..4), Some(&(number - 1).to_be_bytes()[..]), "after {last:?}");
            last = Some(number);
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    pass(50);
    // Whoever looks meanwhile is answered, and told that all is well.
    let stop = Arc::new(AtomicBool::new(false));
    let looking = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(get(admin, "/ready").0, 200);
                let mut stream = TcpStream::connect(rtsp).unwrap();
                stream.write_all(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n").unwrap();
                let mut answer = [0; 12];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, b"RTSP/1.0 200");
            }
        })
    };
    let mut new = Process::start(&file);
    let began = Instant::now();
    let own = u64::from(old.child.id());
    while predecessors(admin) != [own] {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", new.log());
        pass(1);
    }
    pass(300);
    stop.store(true, Ordering::Relaxed);
    looking.join().unwrap();
    assert!(old.says("another process serves now") && new.says("serving in the place of another process"));
    let shown = Command::new(env!("CARGO_BIN_EXE_msm-proxy"))
        .args(["status", "--address", &admin.to_string()])
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("predecessors (1)") && shown.contains(&own.to_string()), "{shown}");
    assert!(old.child.try_wait().unwrap().is_none() && new.child.try_wait().unwrap().is_none());
    // It dies, and the one of before serves again, until there is another.
    new.child.kill().unwrap();
    wait("the old one again", || (get(admin, "/ready").0 == 200).then_some(()));
    pass(50);
    assert_eq!(predecessors(admin), [0; 0]);
    // Another one that dies, and the next at once: it takes over from whoever is there.
    let mut new = Process::start(&file);
    new.wait_for("serving in the place of another process");
    new.child.kill().unwrap();
    let mut new = Process::start(&file);
    new.wait_for("started");
    pass(50);
    assert_eq!(predecessors(admin), [own]);
    drop(packets);
    drop(publisher);
    runtime.block_on(client.shutdown(Duration::ZERO));
    runtime.block_on(reader.shutdown(Duration::ZERO));
    assert_eq!(old.code(), Some(0), "{}", old.log());
    wait("the news of its end", || predecessors(admin).is_empty().then_some(()));
    // The same again, with nobody there; and an end by a signal.
    let mut third = Process::start(&file);
    assert_eq!(new.code(), Some(0), "{}", new.log());
    assert_eq!(get(admin, "/ready").0, 200);
    third.signal("TERM");
    assert_eq!(third.code(), Some(0));
}

#[test]
fn what_was_asked_to_end_leaves_room_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (rtsp, admin, file) = configured(dir.path(), "drain_timeout: 20s\n");
    let mut first = Process::start(&file);
    first.wait_for("started");
    let own = u64::from(first.child.id());
    let runtime = runtime();
    let url = format!("rtsp://{rtsp}/cam");
    let client = runtime.block_on(msm::Mesh::builder().workers(1).build()).unwrap();
    let publisher = runtime.block_on(client.publish(&url, SDP)).unwrap();
    let mut second = Process::start(&file);
    second.wait_for("started");
    second.signal("TERM");
    assert_eq!(second.code(), Some(0), "{}", second.log());
    first.wait_for("has ended as it was asked to");
    // Whoever is left says so, and lets nobody in.
    wait("its answer", || (get(admin, "/ready").0 == 503).then_some(()));
    assert_eq!(predecessors(admin), [0; 0]);
    assert!(TcpStream::connect(rtsp).is_err());
    let mut third = Process::start(&file);
    third.wait_for("started");
    assert_eq!(get(admin, "/ready").0, 200);
    wait("the first one", || (predecessors(admin) == [own]).then_some(()));
    // Asked to end with a session, and followed at once.
    let other = runtime.block_on(client.publish(&format!("{url}2"), SDP)).unwrap();
    third.signal("TERM");
    third.wait_for("draining");
    let mut fourth = Process::start(&file);
    fourth.wait_for("started");
    assert_eq!(get(admin, "/ready").0, 200);
    let both = [u64::from(third.child.id()), own];
    wait("both before it", || (predecessors(admin) == both).then_some(()));
    drop((publisher, other));
    runtime.block_on(client.shutdown(Duration::ZERO));
    assert_eq!(first.code(), Some(0), "{}", first.log());
    assert_eq!(third.code(), Some(0), "{}", third.log());
    wait("the news of their end", || predecessors(admin).is_empty().then_some(()));
    fourth.signal("TERM");
    assert_eq!(fourth.code(), Some(0));
}

#[test]
fn two_requests_to_stop_are_no_accident() {
    let dir = tempfile::tempdir().unwrap();
    let (rtsp, admin, file) = configured(dir.path(), "drain_delay: 1m\n");
    let first = Process::start(&file);
    first.wait_for("started");
    let runtime = runtime();
    let client = runtime.block_on(msm::Mesh::builder().workers(1).build()).unwrap();
    let publisher = runtime.block_on(client.publish(&format!("rtsp://{rtsp}/cam"), SDP)).unwrap();
    let mut second = Process::start(&file);
    second.wait_for("started");
    second.signal("INT");
    second.wait_for("draining");
    second.signal("INT");
    assert_eq!(second.code(), Some(1), "{}", second.log());
    first.wait_for("has ended as it was asked to");
    wait("its answer", || (get(admin, "/ready").0 == 503).then_some(()));
    drop(publisher);
    runtime.block_on(client.shutdown(Duration::ZERO));
}
