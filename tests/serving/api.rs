//! The mesh as an application uses it.

use std::future::poll_fn;
use std::net::TcpStream;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_core::Stream;
use msm::config::Config;
use msm::{Error, Mesh, Packet};
use tokio::time::timeout;

use crate::common::{Publisher, Reader, TestMesh, VIDEO, keyframe, reader_port, rtp};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn what_is_published_is_read_byte_for_byte() {
    let mesh = TestMesh::start("workers: 2");
    let url = mesh.url("in/process");
    mesh.block_on(async {
        let publisher = mesh.mesh.publish(&url, VIDEO).await.unwrap();
        let mut one = mesh.mesh.open(&url).await.unwrap();
        let mut two = mesh.mesh.open(&url).await.unwrap();
        assert_eq!(one.description().tracks.len(), 1);
        assert_eq!(publisher.readers(), 2);
        let packets: Vec<_> = (0..40u16)
            .map(|number| {
                rtp(number, u32::from(number) * 3000, 7, if number == 0 { 0x65 } else { 0x41 }, 1000)
            })
            .collect();
        for packet in &packets[..20] {
            publisher.send(0, packet.clone()).unwrap();
        }
        publisher.send_burst(0, packets[20..].concat(), 1000).unwrap();
        for reader in [&mut one, &mut two] {
            let mut next = None;
            for sent in &packets {
                let packet = timeout(SOON, reader.next()).await.unwrap().unwrap().unwrap();
                assert_eq!(packet.payload[..], sent[12..]);
                assert_eq!(next.unwrap_or(packet.sequence), packet.sequence);
                assert_eq!((packet.track, packet.payload_type, packet.marker), (0, 96, true));
                next = Some(packet.sequence.wrapping_add(1));
            }
        }
        drop(two);
        let deadline = Instant::now() + SOON;
        while publisher.readers() != 1 {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!publisher.is_ended());
        drop(publisher);
        assert!(timeout(SOON, one.next()).await.unwrap().unwrap().is_none(), "the stream ended");
        // Its URL is free again.
        let again = timeout(SOON, async {
            loop {
                match mesh.mesh.publish(&url, VIDEO).await {
                    Ok(publisher) => return publisher,
                    Err(error) => assert!(matches!(error, Error::AlreadyPublished), "{error}"),
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        drop(again.await.unwrap());
    });
    mesh.wait_value("msm_streams ", 0.0);
    mesh.wait_value("msm_readers{", 0.0);
}

#[test]
fn packets_are_taken_one_by_one_in_bursts_and_as_a_stream() {
    let mesh = TestMesh::start("workers: 2");
    let url = mesh.url("in/bursts");
    mesh.block_on(async {
        let publisher = mesh.mesh.publish(&url, VIDEO).await.unwrap();
        let mut reader = mesh.mesh.open(&url).await.unwrap();
        assert!(reader.try_recv_burst().unwrap().is_none() && !reader.is_ended());
        let kind = |number| if number == 0 { 0x65 } else { 0x41 };
        // The last of a burst may be shorter.
        let length = |number| if number % 8 == 7 { 300 } else { 1000 };
        let packets: Vec<_> = (0..32u16)
            .map(|number| rtp(number, u32::from(number / 8) * 3000, 7, kind(number), length(number)))
            .collect();
        for burst in packets.chunks(8) {
            publisher.send_burst(0, burst.concat(), 1000).unwrap();
        }
        let first = timeout(SOON, reader.recv_burst()).await.unwrap().unwrap().unwrap();
        assert_eq!((first.track(), first.len(), first.segment(), first.is_empty()), (0, 8, 1000, false));
        assert_eq!(first.bytes().len(), 7 * 1000 + 300);
        let payloads: Vec<_> = first.views().map(|view| view.payload().to_vec()).collect();
        for (number, packet) in first.packets().enumerate() {
            assert_eq!(packet.payload[..], packets[number][12..]);
            assert_eq!(payloads[number], packet.payload);
            assert_eq!((packet.arrival, packet.track), (first.arrival(), 0));
        }
        assert_eq!(first.raw().len(), 8);
        assert_eq!(first.into_iter().count(), 8);
        // What is left of a burst is a burst.
        let single = timeout(SOON, reader.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(single.payload[..], packets[8][12..]);
        let rest = timeout(SOON, reader.recv_burst()).await.unwrap().unwrap().unwrap();
        let payloads = rest.packets().map(|packet| packet.payload);
        assert!(payloads.eq(packets[9..16].iter().map(|packet| packet[12..].to_vec())));
        let mut taken = Vec::new();
        drop(publisher);
        let stream = &mut reader;
        while let Some(packet) =
            timeout(SOON, poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx))).await.unwrap()
        {
            taken.push(packet.unwrap().payload);
        }
        assert!(taken.into_iter().eq(packets[16..].iter().map(|packet| packet[12..].to_vec())));
        assert!(reader.is_ended() && reader.try_recv_burst().unwrap().is_none());
        assert!(reader.recv_burst().await.unwrap().is_none());
    });
}

#[test]
fn who_stops_waiting_for_packets_loses_none() {
    let mesh = TestMesh::start("");
    let url = mesh.url("in/stops");
    mesh.block_on(async {
        let publisher = mesh.mesh.publish(&url, VIDEO).await.unwrap();
        let mut reader = mesh.mesh.open(&url).await.unwrap();
        publisher.send(0, keyframe(0, 0, 7, 100)).unwrap();
        let first = timeout(SOON, reader.next()).await.unwrap().unwrap().unwrap();
        let place = |packet: Packet| packet.sequence.wrapping_sub(first.sequence);
        let mut taken = Vec::new();
        for number in 0..200u16 {
            let pair = [1, 2].map(|place| rtp(2 * number + place, 3000, 7, 0x41, 100));
            publisher.send_burst(0, pair.concat(), 100).unwrap();
            // Waits, and gives up at some point or other.
            let limit = Duration::from_micros(u64::from(number) * 7 % 400);
            if number % 2 == 0 {
                if let Ok(burst) = timeout(limit, reader.recv_burst()).await {
                    taken.extend(burst.unwrap().unwrap().packets().map(place));
                }
            } else if let Ok(packet) = timeout(limit, reader.next()).await {
                taken.push(place(packet.unwrap().unwrap()));
            }
        }
        drop(publisher);
        while let Some(packet) = timeout(SOON, reader.next()).await.unwrap().unwrap() {
            taken.push(place(packet));
        }
        assert!(taken.into_iter().eq(1..=400));
    });
}

#[test]
fn who_closes_a_publisher_publishes_there_again_at_once() {
    let mesh = TestMesh::start("");
    let url = mesh.url("again");
    mesh.block_on(async {
        for _ in 0..200 {
            mesh.mesh.publish(&url, VIDEO).await.unwrap().close().await;
        }
        let publisher = mesh.mesh.publish(&url, VIDEO).await.unwrap();
        let vacated = publisher.vacated();
        drop(publisher);
        vacated.await;
        mesh.mesh.publish(&url, VIDEO).await.unwrap();
    });
}

#[test]
fn a_paused_reader_gets_nothing_and_goes_on_where_the_stream_is() {
    let mesh = TestMesh::start("");
    let url = mesh.url("pause");
    mesh.block_on(async {
        let publisher = mesh.mesh.publish(&url, VIDEO).await.unwrap();
        let mut reader = mesh.mesh.open(&url).await.unwrap();
        publisher.send(0, keyframe(1, 0, 7, 100)).unwrap();
        let first = timeout(SOON, reader.next()).await.unwrap().unwrap().unwrap();
        reader.pause().await.unwrap();
        publisher.send(0, rtp(2, 3000, 7, 0x41, 200)).unwrap();
        assert!(timeout(Duration::from_millis(200), reader.next()).await.is_err(), "paused");
        reader.resume().await.unwrap();
        publisher.send(0, keyframe(3, 6000, 7, 300)).unwrap();
        loop {
            let packet = timeout(SOON, reader.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(packet.ssrc, first.ssrc);
            if packet.payload.len() == 288 {
                break;
            }
        }
        drop(publisher);
        assert!(timeout(SOON, reader.next()).await.unwrap().unwrap().is_none());
        assert!(matches!(reader.resume().await, Err(Error::StreamEnded)));
    });
}

#[test]
fn errors_say_what_to_do() {
    let mesh = TestMesh::start("limits: {readers: 1, streams: 1}");
    mesh.block_on(async {
        let open = |path: &'static str| mesh.mesh.open(path);
        assert!(matches!(open("http://h/x").await.unwrap_err(), Error::BadUrl { .. }));
        let error = mesh.mesh.open(&mesh.url("nobody")).await.unwrap_err();
        assert!(
            matches!(error, Error::NotPublished { .. }) && error.to_string().contains("/nobody"),
            "{error}"
        );
        let error = mesh.mesh.open("rtsp://user:secret@127.0.0.1/nobody").await.unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        let bad = mesh.mesh.publish(&mesh.url("bad"), "v=0\r\n").await.unwrap_err();
        assert!(matches!(bad, Error::BadDescription(_)), "{bad}");
        let publisher = mesh.mesh.publish(&mesh.url("one"), VIDEO).await.unwrap();
        let error = mesh.mesh.publish(&mesh.url("one"), VIDEO).await.unwrap_err();
        assert!(matches!(error, Error::AlreadyPublished | Error::Capacity { .. }), "{error}");
        let error = mesh.mesh.publish(&mesh.url("two"), VIDEO).await.unwrap_err();
        assert!(error.to_string().contains("`limits.streams`"), "{error}");
        let reader = mesh.mesh.open(&mesh.url("one")).await.unwrap();
        let error = mesh.mesh.open(&mesh.url("one")).await.unwrap_err();
        assert!(error.to_string().contains("`limits.readers`"), "{error}");
        assert_eq!(publisher.readers(), 1, "who was refused holds nothing");
        drop(reader);
        timeout(SOON, async {
            while mesh.mesh.open(&mesh.url("one")).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
    });
}

#[test]
fn a_mesh_without_configuration_dials_what_it_is_given() {
    let back = TestMesh::start("workers: 2");
    let publisher = Publisher::start(&back, "dial");
    let plain = Reader::start(&back, "dial");
    let url = back.url("dial");
    back.block_on(async {
        let mesh = Mesh::builder().workers(2).build().await.unwrap();
        let mut reader = mesh.open(&url).await.unwrap();
        let packet = keyframe(1, 0, 7, 640);
        publisher.send(&packet);
        let received = timeout(SOON, reader.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(received.payload[..], packet[12..]);
        assert_eq!(plain.recv()[12..], packet[12..]);
        // Publishing goes to the server of the URL.
        let pushed = mesh.publish(&back.url("pushed"), VIDEO).await.unwrap();
        let mut far = back.mesh.open(&back.url("pushed")).await.unwrap();
        pushed.send(0, packet.clone()).unwrap();
        assert_eq!(timeout(SOON, far.next()).await.unwrap().unwrap().unwrap().payload[..], packet[12..]);
        // Where the server stops to record, the publisher sees it.
        drop(far);
        let error = mesh.publish(&back.url("pushed"), VIDEO).await.unwrap_err();
        assert!(
            matches!(error, Error::AlreadyPublished | Error::UpstreamStatus { status: 403, .. }),
            "{error}"
        );
        mesh.shutdown(Duration::ZERO).await;
        assert!(pushed.is_ended());
        assert!(timeout(SOON, reader.next()).await.unwrap().unwrap().is_none());
        assert!(matches!(mesh.open(&url).await, Err(Error::Stopped)));
    });
    back.wait_value("msm_sessions ", 2.0);
}

#[test]
fn a_publisher_is_ended_when_its_server_goes() {
    let back = TestMesh::start("");
    let url = back.url("gone");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mesh = runtime.block_on(Mesh::builder().workers(1).build()).unwrap();
    let publisher = runtime.block_on(mesh.publish(&url, VIDEO)).unwrap();
    drop(back);
    let deadline = Instant::now() + SOON;
    while !publisher.is_ended() {
        assert!(Instant::now() < deadline, "the publisher never ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    runtime.block_on(async {
        timeout(SOON, async {
            while publisher.send(0, keyframe(1, 0, 7, 100)).is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("sending says that the stream ended");
        mesh.shutdown(Duration::ZERO).await;
    });
}

#[test]
fn opening_that_is_given_up_leaves_nothing_behind() {
    let mesh = TestMesh::start("workers: 2");
    let url = mesh.url("given/up");
    let publisher = mesh.block_on(async {
        let publisher = mesh.mesh.publish(&url, VIDEO).await.unwrap();
        for round in 0..200u64 {
            // Given up at any of its steps.
            let _ = timeout(Duration::from_micros(round * 5), mesh.mesh.open(&url)).await;
        }
        timeout(SOON, async {
            while publisher.readers() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("every hold on the stream is given back");
        publisher
    });
    for number in 1..4 {
        publisher.send(0, keyframe(number, 0, 7, 100)).unwrap();
    }
    mesh.wait_counter("direction=\"rx\"", 3.0);
    let sent = mesh.counter("direction=\"tx\"");
    assert_eq!(sent, 0.0, "nobody is sent to");
}

#[test]
fn an_application_that_does_not_read_loses_packets_and_nothing_else() {
    let mesh = TestMesh::start("");
    let url = mesh.url("slow");
    let plain_publisher = mesh.block_on(mesh.mesh.publish(&url, VIDEO)).unwrap();
    let mut sleeper = mesh.block_on(mesh.mesh.open(&url)).unwrap();
    let plain = Reader::start(&mesh, "slow");
    for number in 0..2000u16 {
        plain_publisher.send(0, rtp(number, u32::from(number) * 90, 7, 0x65, 300)).unwrap();
        plain.recv();
    }
    mesh.wait_counter("reader_queue", 1.0);
    let packet = mesh.block_on(async { timeout(SOON, sleeper.next()).await.unwrap().unwrap() });
    assert!(packet.is_some());
}

#[test]
fn the_last_one_to_go_ends_the_mesh() {
    let port = reader_port();
    let yaml = format!("listeners:\n  - {{name: test, address: \"127.0.0.1:0\", ports: {port}}}\n");
    let config = Config::from_yaml(&yaml, "test.yaml", std::iter::empty()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (publisher, mut reader, address) = runtime.block_on(async {
        let mesh = Mesh::builder().config(config).build().await.unwrap();
        let address = mesh.serve().await.unwrap().addresses()[0];
        let url = format!("rtsp://{address}/last");
        (mesh.publish(&url, VIDEO).await.unwrap(), mesh.open(&url).await.unwrap(), address)
    });
    // The mesh is dropped, and goes on for those who use it.
    publisher.send(0, keyframe(1, 0, 7, 100)).unwrap();
    publisher.send(0, keyframe(2, 0, 7, 100)).unwrap();
    let packet = runtime.block_on(async { timeout(SOON, reader.next()).await.unwrap() });
    assert!(packet.unwrap().is_some());
    TcpStream::connect(address).unwrap();
    drop((publisher, reader));
    let until = Instant::now() + SOON;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < until, "nobody holds it, and it still listens");
        std::thread::sleep(Duration::from_millis(10));
    }
}
