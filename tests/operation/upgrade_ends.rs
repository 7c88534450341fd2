//! What becomes of the processes before one that ends, as it was asked to or not. All are in this process here.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::common::succession::{Way, on_runtime, wait};
use crate::common::{Publisher, Reader, TestMesh, keyframe, reader_port};
use msm::upgrade::Door;

/// One listener on any port, and a second one where `ports` has two pairs.
fn yaml(ports: &[u16]) -> String {
    let mut yaml = "workers: 2\nroutes: [{name: all, publish: {resume: 0s}}]\nlisteners:\n".to_owned();
    for (number, port) in ports.iter().enumerate() {
        yaml += &format!("  - {{name: l{number}, address: \"127.0.0.1:0\", ports: {port}}}\n");
    }
    yaml
}

/// Whether somebody answers there.
fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut answer = [0; 12];
    stream.write_all(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && &answer == b"RTSP/1.0 200"
}

/// Whichever worker the kernel chooses.
fn wait_answers(address: SocketAddr) {
    wait("answers of all workers", || (0..20).all(|_| answers(address)));
}

/// In time, so that a test that waits for nothing fails.
fn soon(work: impl Future<Output = ()>) {
    on_runtime(async { tokio::time::timeout(Duration::from_secs(10), work).await }).expect("in 10 s");
}

/// A packet from one to the other, behind what was sent before a late reader came.
fn passes(publisher: &Publisher, reader: &Reader, number: u16) {
    let packet = keyframe(number, u32::from(number) * 3000, 7, 500);
    publisher.send(&packet);
    while reader.recv()[12..] != packet[12..] {}
}

#[test]
fn every_listener_of_before_is_there_again_when_the_new_process_is_lost() {
    let way = Way::new();
    let ports = [reader_port(), reader_port()];
    let old = TestMesh::from_yaml(&yaml(&ports));
    let publisher = Publisher::start(&old, "one");
    let before = Reader::start(&old, "one");
    let door = way.door(&old.mesh);
    let lost = way.lost(&yaml(&ports[..1]));
    door.join().unwrap().unwrap();
    assert!(answers(old.address));
    // The new process has no use for the other listener, and the old one lets go of it in a second, its pair of ports among it.
    let other = old.addresses[1];
    wait("the end of the other listener", || TcpStream::connect(other).is_err());
    wait("the end of its ports", || UdpSocket::bind(("127.0.0.1", ports[1])).is_ok());
    drop(lost);
    soon(old.mesh.taken_back());
    wait_answers(old.address);
    wait_answers(other);
    passes(&publisher, &before, 1);
    // Who comes by it is served from its ports.
    let mut late = TestMesh::from_yaml(&yaml(&[reader_port()]));
    late.address = other;
    let reader = Reader::start(&late, "one");
    assert_eq!(reader.server_port, ports[1]);
    passes(&publisher, &reader, 2);
    assert_eq!(before.recv().len(), 500, "who was there is served as well");
    old.wait_value("msm_sessions ", 3.0);
}

#[test]
fn one_after_the_other_they_serve_again() {
    let (way, yaml) = (Way::new(), yaml(&[reader_port()]));
    let first = TestMesh::from_yaml(&yaml);
    let publisher = Publisher::start(&first, "one");
    let door = way.door(&first.mesh);
    let second = way.lost(&yaml);
    door.join().unwrap().unwrap();
    let door = way.door(&second);
    let third = way.lost(&yaml);
    door.join().unwrap().unwrap();
    wait_answers(first.address);
    drop(third);
    soon(second.taken_back());
    wait_answers(first.address);
    assert!(first.block_on(async {
        tokio::time::timeout(Duration::from_millis(200), first.mesh.taken_back()).await.is_err()
    }));
    drop(second);
    soon(first.mesh.taken_back());
    wait_answers(first.address);
    let reader = Reader::start(&first, "one");
    passes(&publisher, &reader, 1);
}

#[test]
fn the_next_process_takes_over_from_the_one_that_is_left_alone() {
    let port = reader_port();
    let (way, yaml) = (Way::new(), yaml(&[port]) + "limits: {session_timeout: 5s}\n");
    let first = TestMesh::from_yaml(&yaml);
    let publisher = Publisher::start(&first, "one");
    let reader = Reader::start(&first, "one");
    let door = way.door(&first.mesh);
    let second = way.successor(&yaml, |builder| builder);
    door.join().unwrap().unwrap();
    on_runtime(second.mesh.shutdown(Duration::ZERO));
    soon(first.mesh.left_alone());
    assert!(TcpStream::connect(first.address).is_err(), "nobody serves");
    passes(&publisher, &reader, 1);
    let door = way.door(&first.mesh);
    let third = way.successor(&yaml, |builder| builder);
    door.join().unwrap().unwrap();
    wait_answers(third.address);
    wait("its word", || third.block_on(third.mesh.status()).predecessors.len() == 1);
    // Reports go by the sockets that both have: the session lives by nothing else.
    let Reader { rtsp, rtcp, socket, .. } = reader;
    drop(rtsp);
    let to = SocketAddr::new(third.address.ip(), port + 1);
    for number in 2..90 {
        publisher.send(&keyframe(number, 0, 7, 100));
        rtcp.send_to(&[0x80, 201, 0, 1, 0, 0, 0, 9], to).unwrap();
        socket.recv(&mut [0; 2048]).expect("who reports is served");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!((first.counter("msm_dropped"), third.counter("msm_dropped")), (0.0, 0.0));
    let reader = Reader::start(&third, "one");
    passes(&publisher, &reader, 99);
    assert_eq!((first.counter("msm_sessions "), third.counter("msm_sessions ")), (3.0, 0.0));
}

#[test]
fn a_process_that_ends_is_followed_while_its_sessions_end() {
    let (way, yaml) = (Way::new(), yaml(&[reader_port()]));
    let old = TestMesh::from_yaml(&yaml);
    let publisher = Publisher::start(&old, "one");
    let door = way.door(&old.mesh);
    let ending = {
        let mesh = old.mesh.clone();
        std::thread::spawn(move || on_runtime(mesh.shutdown(Duration::from_secs(20))))
    };
    let describe = |mesh: &TestMesh, path: &str| {
        mesh.connect().ask("DESCRIBE", &mesh.url(path), &[("Accept", "application/sdp")], b"").status
    };
    wait("the drain", || describe(&old, "one") == 503);
    let new = way.successor(&yaml, |builder| builder);
    door.join().unwrap().unwrap();
    assert_eq!(describe(&new, "none"), 404);
    // A reader of its stream is let in, which nobody else has.
    wait("the stream", || describe(&new, "one") == 200);
    let reader = Reader::start(&new, "one");
    passes(&publisher, &reader, 1);
    drop((publisher, reader));
    ending.join().unwrap();
    wait("its end", || new.block_on(new.mesh.status()).predecessors.is_empty());
    assert_eq!(describe(&new, "one"), 404);
}

#[test]
fn what_a_process_had_that_has_ended_meanwhile_is_the_next_ones() {
    let (way, yaml) = (Way::new(), yaml(&[reader_port()]));
    let old = TestMesh::from_yaml(&yaml);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (path, mesh) = (way.path(), old.mesh.clone());
    let (open, opened) = std::sync::mpsc::channel();
    let door = std::thread::spawn(move || {
        on_runtime(async move {
            let mut door = Door::open(&path).unwrap();
            open.send(()).unwrap();
            tokio::select! {
                _ = door.next(&mesh, &[]) => panic!("it is not ready before the end"),
                _ = stopped => {}
            }
        });
    });
    opened.recv().unwrap();
    let takeover = way.ask().unwrap().unwrap();
    // Who connects now waits for whoever accepts next.
    on_runtime(old.mesh.shutdown(Duration::ZERO));
    let mut waiting = old.connect();
    drop(stop);
    door.join().unwrap();
    let new = TestMesh::with(&yaml, |builder| builder.take_over(takeover));
    assert_eq!(new.address, old.address);
    assert_eq!(waiting.ask("OPTIONS", "*", &[], b"").status, 200);
    assert!(new.block_on(new.mesh.status()).predecessors.is_empty());
    let (publisher, reader) = (Publisher::start(&new, "one"), Reader::start(&new, "one"));
    passes(&publisher, &reader, 1);
}
