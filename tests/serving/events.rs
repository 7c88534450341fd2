//! What an application is told: what happens, and figures.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_sink::Sink;
use msm::{Burst, EndCause, Error, Event, EventKind, Events, Mesh, Packet, Publisher, Reader};
use tokio::time::timeout;

use crate::common::{TestMesh, VIDEO, keyframe, rtp};

const SOON: Duration = Duration::from_secs(5);

/// All until there is no more.
async fn rest(mut events: Events) -> Vec<EventKind> {
    let mut kinds = Vec::new();
    while let Some(Event { kind, .. }) = timeout(SOON, events.next()).await.expect("events end") {
        kinds.push(kind);
    }
    kinds
}

fn ended(cause: EndCause) -> EventKind {
    EventKind::Ended { cause }
}

/// Longer than a stream waits for another source (`failover.hold`).
const HELD: Duration = Duration::from_secs(20);

async fn drain(reader: &mut Reader) {
    while timeout(HELD, reader.next()).await.expect("the stream ends").unwrap().is_some() {}
}

#[test]
fn handles_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Mesh>();
    shared::<Publisher>();
    shared::<Reader>();
    shared::<Events>();
    shared::<Burst>();
}

#[test]
fn who_reads_and_who_publishes_is_told_why_it_is_over() {
    let mesh = TestMesh::start("workers: 2");
    let url = mesh.url("in/end");
    mesh.block_on(async {
        let publisher = mesh.mesh.publish(&url, VIDEO).await.unwrap();
        let mut reader = mesh.mesh.open(&url).await.unwrap();
        let all = [reader.events(), publisher.events()];
        assert!(reader.end_cause().is_none() && publisher.end_cause().is_none());
        drop(publisher);
        drain(&mut reader).await;
        assert_eq!(reader.end_cause(), Some(EndCause::Publisher));
        for events in all {
            assert_eq!(rest(events).await, [ended(EndCause::Publisher)]);
        }
        // Who asks late is told, too.
        assert_eq!(rest(reader.events()).await, [ended(EndCause::Publisher)]);

        let publisher = mesh.mesh.publish(&mesh.url("in/stop"), VIDEO).await.unwrap();
        let (own, all) = (publisher.events(), mesh.mesh.events());
        mesh.mesh.shutdown(Duration::ZERO).await;
        assert_eq!(rest(own).await, [ended(EndCause::Shutdown)]);
        assert_eq!(rest(all).await, [ended(EndCause::Shutdown)]);
        assert_eq!(publisher.end_cause(), Some(EndCause::Shutdown));
        assert!(matches!(publisher.stats().await, Err(Error::Stopped)));
    });
}

#[test]
fn a_stream_of_a_server_says_where_it_comes_from_and_why_it_is_over() {
    let back = TestMesh::start("");
    let url = back.url("cam");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let source = back.block_on(back.mesh.publish(&url, VIDEO)).unwrap();
    runtime.block_on(async {
        let mesh = Mesh::builder().workers(1).build().await.unwrap();
        let mut events = mesh.events();
        let mut reader = mesh.open(&url).await.unwrap();
        let event = timeout(SOON, events.next()).await.unwrap().unwrap();
        assert_eq!(event.kind, EventKind::Connected { endpoint: url.clone() });
        assert!(event.stream.is_some());
        let own = reader.events();
        drop(source);
        drain(&mut reader).await;
        let kinds = rest(own).await;
        assert!(
            matches!(&kinds[..], [EventKind::Ended { cause: EndCause::Upstream(why) }] if !why.is_empty()),
            "{kinds:?}"
        );
        mesh.shutdown(Duration::ZERO).await;
    });
}

#[test]
fn figures_are_those_of_the_reader_and_of_its_stream() {
    let mesh = TestMesh::start("");
    let url = mesh.url("in/figures");
    mesh.block_on(async {
        let publisher = mesh.mesh.publish(&url, VIDEO).await.unwrap();
        let mut reader = mesh.mesh.open(&url).await.unwrap();
        // Number 4 is lost before it comes here.
        for number in (0..10u16).filter(|number| *number != 4) {
            publisher.send(0, rtp(number, u32::from(number) * 90, 7, 0x65, 300)).unwrap();
        }
        for _ in 0..9 {
            timeout(SOON, reader.next()).await.unwrap().unwrap().unwrap();
        }
        let stats = reader.stats().await.unwrap();
        assert_eq!((stats.packets, stats.bytes, stats.dropped), (9, 9 * 300, 0));
        assert_eq!((stats.stream.readers, stats.stream.tracks.len()), (1, 1));
        let track = &stats.stream.tracks[0];
        // The first of a source is on probation (RFC 3550 A.1).
        assert_eq!((track.codec.as_str(), track.packets, track.lost), ("H264", 8, 1));
        let stats = publisher.stats().await.unwrap();
        assert_eq!((stats.dropped, stats.stream.tracks[0].packets), (0, 8));
        for number in 10..1000u16 {
            publisher.ready().await.unwrap();
            publisher.send(0, rtp(number, u32::from(number) * 90, 7, 0x65, 300)).unwrap();
        }
        let stats = timeout(SOON, async {
            loop {
                let stats = reader.stats().await.unwrap();
                if stats.stream.tracks[0].packets == 998 && stats.dropped > 0 {
                    return stats;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let stats = stats.await.unwrap();
        assert!((512..999).contains(&stats.packets), "the reader takes nothing: {stats:?}");
        assert_eq!(publisher.stats().await.unwrap().dropped, 0, "there was room for each");
    });
}

async fn feed<T>(publisher: &mut Publisher, item: T) -> Result<(), Error>
where
    Publisher: Sink<T, Error = Error>,
{
    poll_fn(|cx| Sink::<T>::poll_ready(Pin::new(publisher), cx)).await?;
    Sink::<T>::start_send(Pin::new(publisher), item)
}

#[test]
fn a_sink_holds_up_its_source_and_drops_nothing() {
    let mesh = TestMesh::start("workers: 2");
    let (from, to) = (mesh.url("in/from"), mesh.url("in/to"));
    mesh.block_on(async {
        let source = mesh.mesh.publish(&from, VIDEO).await.unwrap();
        let mut reader = mesh.mesh.open(&from).await.unwrap();
        let mut sink = mesh.mesh.publish(&to, VIDEO).await.unwrap();
        let mut last = mesh.mesh.open(&to).await.unwrap();
        let packets: Vec<_> = (0..400u16)
            .map(|number| rtp(number, 3000, 7, if number == 0 { 0x65 } else { 0x41 }, 200))
            .collect();
        for burst in packets.chunks(4) {
            source.ready().await.unwrap();
            source.send_burst(0, burst.concat(), 200).unwrap();
        }
        drop(source);
        // By packets, and by bursts: what is read is what is published.
        for _ in 0..10 {
            let packet: Packet = timeout(SOON, reader.next()).await.unwrap().unwrap().unwrap();
            feed(&mut sink, packet).await.unwrap();
        }
        while let Some(burst) = timeout(SOON, reader.recv_burst()).await.unwrap().unwrap() {
            feed(&mut sink, burst).await.unwrap();
        }
        let mut taken = Vec::new();
        while taken.len() < packets.len() {
            let packet = timeout(SOON, last.next()).await.unwrap().unwrap().unwrap();
            taken.push(packet.payload);
        }
        assert!(taken.into_iter().eq(packets.iter().map(|packet| packet[12..].to_vec())));
        assert_eq!(sink.stats().await.unwrap().dropped, 0);
        // Unasked, it takes nothing.
        let packet = Packet::new(0, keyframe(0, 0, 7, 100)).unwrap();
        let refused = Sink::<Packet>::start_send(Pin::new(&mut sink), packet.clone());
        assert!(matches!(refused, Err(Error::Refused(_))));
        mesh.mesh.shutdown(Duration::ZERO).await;
        let over = timeout(SOON, async { while feed(&mut sink, packet.clone()).await.is_ok() {} });
        over.await.expect("it says that the stream is over");
        assert!(matches!(feed(&mut sink, packet).await, Err(Error::StreamEnded)));
        assert!(matches!(sink.ready().await, Err(Error::StreamEnded)));
    });
}

#[test]
fn what_is_no_packet_is_refused_before_it_is_sent() {
    for bytes in [&[][..], &[0x80; 11], &[0x00; 40]] {
        assert!(matches!(Packet::new(0, bytes.to_vec()), Err(Error::Refused(_))), "{bytes:?}");
    }
    assert!(matches!(Burst::new(0, Vec::new(), 100), Err(Error::Refused(_))));
    assert!(matches!(Burst::new(0, vec![0x80; 24], 0), Err(Error::Refused(_))));
    assert_eq!(Burst::new(3, vec![0x80; 25], 12).unwrap().len(), 3);
}

#[test]
fn a_sink_waits_while_the_queue_is_full() {
    let mesh = TestMesh::start("workers: 1");
    let url = mesh.url("in/full");
    mesh.block_on(async {
        let mut sink = mesh.mesh.publish(&url, VIDEO).await.unwrap();
        // Made before: to send them takes less time than to take them.
        let burst = |number: u64| {
            let packets = (0..32).map(|place| rtp((32 * number + place) as u16, 3000, 7, 0x65, 100));
            Burst::new(0, packets.collect::<Vec<_>>().concat(), 100).unwrap()
        };
        let mut bursts = (0..4000).map(burst).collect::<Vec<_>>().into_iter();
        let mut sent = 0;
        let full = poll_fn(|cx| {
            while Sink::<Burst>::poll_ready(Pin::new(&mut sink), cx).is_ready() {
                let Some(burst) = bursts.next() else { return Poll::Ready(false) };
                Sink::<Burst>::start_send(Pin::new(&mut sink), burst).unwrap();
                sent += 1;
            }
            Poll::Ready(true)
        });
        assert!(full.await, "the worker keeps up with everything");
        feed(&mut sink, bursts.next().unwrap()).await.unwrap();
        let all = 32 * (sent + 1);
        let taken = timeout(SOON, async {
            while sink.stats().await.unwrap().stream.tracks[0].packets + 1 < all {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        taken.await.expect("all that was sent is taken");
    });
}
