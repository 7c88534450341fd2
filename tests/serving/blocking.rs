//! The mesh as a program without an async runtime uses it.

use std::thread;
use std::time::{Duration, Instant};

use msm::blocking::Mesh;
use msm::{Burst, EndCause, Error, EventKind};

use crate::common::{VIDEO, rtp};

const SOON: Option<Duration> = Some(Duration::from_secs(5));

fn start() -> Mesh {
    Mesh::start(msm::Mesh::builder().config_text("workers: 1").unwrap()).unwrap()
}

fn packet(number: u16) -> Vec<u8> {
    rtp(number, u32::from(number) * 3000, 7, if number == 0 { 0x65 } else { 0x41 }, 200)
}

#[test]
fn what_is_published_is_read_by_calls_that_wait() {
    let mesh = start();
    let mut publisher = mesh.publish("rtsp://test/in", VIDEO).unwrap();
    let mut reader = mesh.open("rtsp://test/in").unwrap();
    assert_eq!((reader.description().tracks.len(), publisher.readers()), (1, 1));
    let begin = Instant::now();
    assert!(matches!(reader.recv(Some(Duration::from_millis(20))), Err(Error::TimedOut)));
    assert!(begin.elapsed() >= Duration::from_millis(20));
    assert!(matches!(reader.recv_burst(Some(Duration::ZERO)), Err(Error::TimedOut)));

    publisher.send(0, packet(0)).unwrap();
    assert_eq!(reader.recv(SOON).unwrap().unwrap().payload[..], packet(0)[12..]);
    let two = [packet(1), packet(2)].concat();
    publisher.feed(Burst::new(0, two.clone(), 200).unwrap(), SOON).unwrap();
    let burst = reader.recv_burst(SOON).unwrap().unwrap();
    assert!(
        burst.raw().flat_map(|packet| &packet[12..]).eq(two.chunks(200).flat_map(|packet| &packet[12..]))
    );

    let (stats, published) = (reader.stats().unwrap(), publisher.stats().unwrap());
    assert_eq!((stats.packets, published.dropped), (3, 0));
    assert_eq!(mesh.status().unwrap().streams.len(), 1);
    assert!(mesh.metrics_text().unwrap().contains("msm_streams 1"));
    let mut events = reader.events();
    assert!(events.try_recv().is_none() && reader.end_cause().is_none());
    publisher.send(0, packet(3)).unwrap();
    publisher.close(SOON).unwrap();
    let rest: Vec<_> = reader.packets().map(|packet| packet.payload.len()).collect();
    assert_eq!(rest, [188]);
    assert_eq!(events.recv(SOON).unwrap().unwrap().kind, EventKind::Ended { cause: EndCause::Publisher });
    assert!(events.next().is_none());
}

#[test]
fn who_waits_is_woken_by_the_end() {
    let mesh = start();
    let publisher = mesh.publish("rtsp://test/in", VIDEO).unwrap();
    let mut reader = mesh.open("rtsp://test/in").unwrap();
    let mut all = mesh.events();
    let waiting = thread::spawn(move || reader.recv(None).unwrap().is_none() && reader.is_ended());
    thread::sleep(Duration::from_millis(10));
    mesh.shutdown(Duration::ZERO);
    assert!(waiting.join().unwrap());
    assert_eq!(publisher.end_cause(), Some(EndCause::Shutdown));
    assert!(all.any(|event| event.kind == EventKind::Ended { cause: EndCause::Shutdown }));
    assert!(matches!(mesh.open("rtsp://test/in"), Err(Error::Stopped)));
    // Twice is no harm.
    mesh.shutdown(Duration::ZERO);
}

#[test]
fn errors_are_those_of_the_mesh() {
    let mesh = start();
    assert!(matches!(mesh.open("no url"), Err(Error::BadUrl { .. })));
    assert!(matches!(mesh.open("rtsp://test/nobody"), Err(Error::NotPublished { .. })));
    assert!(matches!(mesh.publish("rtsp://test/in", "v=0\r\n"), Err(Error::BadDescription(_))));
    let wrong = msm::Mesh::builder().config_text("workerz: 1").err();
    assert!(matches!(wrong, Some(Error::Configuration(text)) if text.contains("workers")));
}

/// It blocks a thread of it, as any call that waits, and does no worse.
#[test]
fn calls_may_be_made_within_a_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mesh = start();
        let publisher = mesh.publish("rtsp://test/in", VIDEO).unwrap();
        let mut reader = mesh.open("rtsp://test/in").unwrap();
        // More than a task of the runtime may take without giving way.
        for number in 0..300 {
            publisher.send(0, packet(number)).unwrap();
            assert!(reader.recv_burst(SOON).unwrap().is_some(), "{number}");
        }
        // And what waits asynchronously is there as well.
        let mut reader = reader.into_async();
        publisher.send(0, packet(300)).unwrap();
        assert!(reader.next().await.unwrap().is_some());
        assert!(mesh.as_async().status().await.streams.len() == 1);
    });
}
