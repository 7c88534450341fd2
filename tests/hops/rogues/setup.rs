//! What a member says of protection in SETUP.

use std::collections::HashSet;
use std::time::Duration;

use msm_core::rtcp::Writer;

use super::rogue::stage;
use crate::common::Publisher;
use crate::common::pair::numbered;

#[test]
fn a_flow_beside_the_media_s_with_its_label_is_refused() {
    let (far, mut rogue) = stage("");
    let _publisher = Publisher::start(&far, "live/one");
    let url = rogue.url("live/one");
    let (token, media, _) = rogue.names();
    let header = format!("token={token:016x};label={media:08x};repair={media:08x};latency=100");
    let answer = rogue.ask_set_up(&url, &header, "", None);
    assert!((400..500).contains(&answer.status), "two flows would have one key: {answer:?}");
}

#[test]
fn absurd_wishes_are_bounded_or_refused() {
    let (far, mut rogue) = stage("");
    let publisher = Publisher::start(&far, "live/one");
    let url = rogue.url("live/one");
    for more in [
        ";latency=4294967296",
        ";latency=-1",
        ";latency=0",
        ";latency=1e3",
        ";overhead=255",
        ";overhead=-1",
        ";fec=256",
        ";fec=NaN",
        ";nack=2",
        ";repair=00000000",
        ";repair=1",
        ";paths=3",
        ";path=0",
    ] {
        let (token, media, beside) = rogue.names();
        let header = format!("token={token:016x};label={media:08x};repair={beside:08x}{more}");
        let answer = rogue.ask_set_up(&url, &header, "", None);
        assert_eq!(answer.status, 461, "{more}: {answer:?}");
    }
    for (number, more) in [
        ";latency=4294967295;overhead=100;fec=100",
        ";latency=1",
        ";overhead=0;fec=100;latency=500",
        ";fec=100;nack=0;latency=1",
        ";latency=60000;paths=duplicate",
        ";latency=4294967295;paths=spread;path=4",
    ]
    .into_iter()
    .enumerate()
    {
        let track = rogue.read("live/one", more);
        let latency = track.header.latency;
        assert!(latency.is_some_and(|latency| (1..=100).contains(&latency)), "{more}: {:?}", track.header);
        let first = number as u16 * 300;
        let (mut media, mut beside) = (0, 0);
        for number in first..first + 300 {
            publisher.send(&numbered(number));
            while let Some(got) = rogue.poll(Duration::from_micros(500)) {
                if got.label == track.media && !got.is_rtcp {
                    media += got.packet.len();
                } else {
                    beside += got.packet.len();
                }
            }
        }
        assert!(media > 250_000, "{more}: {media}");
        let share = if more.contains("overhead=0") { 0.01 } else { 0.5 };
        assert!(beside as f64 <= media as f64 * share, "{more}: {beside} beside {media}");
        rogue.request("TEARDOWN", &url, &track.session);
    }
}

#[test]
fn paths_that_there_are_not_are_refused() {
    let (far, mut rogue) = stage("");
    let _publisher = Publisher::start(&far, "live/one");
    for number in [0, 1, 5, 9, 255, 256] {
        let (token, label, _) = rogue.names();
        let header = format!("path={number};token={token:016x};label={label:08x}");
        let asked = [("Require", "msm-hop-1"), ("Msm-Hop", header.as_str())];
        let answer = rogue.rtsp.ask("OPTIONS", "*", &asked, b"");
        assert!((400..500).contains(&answer.status), "path {number}: {answer:?}");
    }
    // One that is opened again and again is one.
    for _ in 0..50 {
        let (token, label, _) = rogue.names();
        let header = format!("path=2;token={token:016x};label={label:08x}");
        let asked = [("Require", "msm-hop-1"), ("Msm-Hop", header.as_str())];
        assert_eq!(rogue.rtsp.ask("OPTIONS", "*", &asked, b"").status, 200);
    }
    let status = far.block_on(far.mesh.status());
    assert_eq!(status.hops[0].paths.len(), 2, "{status:?}");
    assert_eq!(status.hops[0].flows, 4, "{status:?}");
}

#[test]
fn sessions_that_are_left_leave_nothing() {
    let (far, mut rogue) = stage("");
    let publisher = Publisher::start(&far, "live/one");
    let url = rogue.url("live/one");
    let mut number = 0u16;
    for round in 0..60 {
        let mut track = rogue.read("live/one", ";latency=500");
        for _ in 0..20 {
            publisher.send(&numbered(number));
            number += 1;
        }
        let _ = rogue.poll(Duration::from_millis(2));
        let mut compound = [0; 100];
        let mut writer = Writer::new(&mut compound);
        writer.nack(1, track.media, &[number, number.wrapping_sub(3), 7]).unwrap();
        let length = writer.len();
        let datagram = track.out.rtcp(&compound[..length]);
        rogue.send(&datagram);
        if round % 2 == 0 {
            rogue.request("TEARDOWN", &url, &track.session);
        }
    }
    let flows = |far: &crate::common::TestMesh| {
        let status = far.block_on(far.mesh.status());
        status.hops.iter().map(|hop| (hop.flows, hop.protection.len())).collect::<Vec<_>>()
    };
    // Those that are there: a control flow each way, and three flows a session.
    assert_eq!(flows(&far), [(2 + 30 * 3, 30)]);
    let labels: HashSet<String> = {
        let status = far.block_on(far.mesh.status());
        status.hops[0].protection.iter().map(|flow| flow.label.clone()).collect()
    };
    assert_eq!(labels.len(), 30);
    // Who goes without a word is waited for, and then nothing is left.
    drop(rogue);
    let deadline = std::time::Instant::now() + Duration::from_secs(40);
    while !flows(&far).is_empty() {
        assert!(std::time::Instant::now() < deadline, "{:?}", flows(&far));
        std::thread::sleep(Duration::from_millis(200));
    }
    far.wait_value("msm_hop_associations", 0.0);
    assert_eq!(far.counter("msm_sessions "), 1.0, "the publisher's\n{}", far.metrics());
}
