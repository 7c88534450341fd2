//! "A panic is our bug, never bad input": bursts, calls and times at random.

use std::time::Duration;

use proptest::prelude::*;

use super::super::super::testing::*;
use super::super::super::*;
use crate::burst::Burst;
use crate::rng::Rng;
use crate::rtcp::Writer;

/// A burst that is RTP, mutated, cut, or nothing of the kind.
fn garbage(rng: &mut Rng, publisher: &mut Publisher) -> Vec<u8> {
    let mut bytes = publisher.frame().concat();
    match rng.range(0..6) {
        0 => rng.fill(&mut bytes),
        1 => bytes.truncate(rng.range(0..bytes.len() as u64) as usize),
        2 => {
            for _ in 0..rng.range(1..40) {
                let at = rng.range(0..bytes.len() as u64) as usize;
                bytes[at] = rng.next_u16() as u8;
            }
        }
        3 => publisher.sequence = rng.next_u16(),
        4 => publisher.timestamp = rng.next_u32(),
        _ => {}
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_panics_and_nothing_grows(seed: u64) {
        let mut rng = Rng::new(seed);
        let config = FanoutConfig {
            cache_bytes: 20_000,
            history_bytes: rng.range(0..20_000) as usize,
            max_readers: 6,
            ..FanoutConfig::default()
        };
        let most = 20_000 + tracks().len() * config.history_bytes;
        let mut world = World::new(config);
        let mut ingest = Ingest::new(tracks(), IngestConfig::default(), seed, world.now);
        let mut publisher = Publisher::new(1 + rng.range(0..20) as u32, Sets::Apart);
        let mut out = [0; 512];
        let mut millis = 0;
        for _ in 0..400 {
            millis += rng.range(0..200);
            world.pass(at(millis));
            let now = world.now;
            let ids: Vec<_> = world.fanout.reader_ids().collect();
            let id = ids.get(rng.range(0..8) as usize).copied();
            let track = rng.range(0..3) as usize;
            let mut bytes = garbage(&mut rng, &mut publisher);
            match (rng.range(0..16), id) {
                (0, _) if ids.len() < 6 => {
                    let join = world.join(rng.range(0..4) as usize, rng.range(0..2) == 0);
                    world.play(join);
                }
                (1, Some(id)) => drop(world.fanout.remove(id)),
                (10, Some(id)) => {
                    let (answers, at_once) = (rng.range(0..4) != 0, rng.range(0..2) == 0);
                    let history = History { age: Duration::from_millis(rng.range(0..4_000)), answers, at_once };
                    let _ = world.fanout.set_history(now, id, track, (rng.range(0..6) != 0).then_some(history));
                }
                (11, Some(id)) => {
                    let ssrc = ssrc_of(rng.range(0..4) as usize, track);
                    let lost: Vec<u16> = (0..rng.range(1..300)).map(|_| rng.next_u16()).collect();
                    let mut buffer = [0; 2_000];
                    let mut writer = Writer::new(&mut buffer);
                    writer.nack(7, ssrc, &lost).unwrap();
                    world.reader_rtcp(id, track, writer.as_bytes());
                    let _ = world.fanout.packet(id, track, rng.range(0..2_000));
                }
                (2, Some(id)) => world.fanout.pause(now, id).unwrap(),
                (3, Some(id)) => drop(world.play(id)),
                (4, Some(id)) => world.fanout.handle_reader_rtcp(now, id, track, &bytes, &mut world.sink),
                (5, _) => ingest.handle_rtcp(now, track, &bytes),
                (6, _) => world.fanout.handle_source_changed(now, track),
                (7, _) => world.fanout.flush(now),
                (8, _) => {
                    let snapshot = world.fanout.snapshot();
                    world.fanout.restore(now, snapshot);
                }
                (9, _) => {
                    if let Some(got) = world.sink.got.get_mut(track) {
                        got.full = !got.full;
                    }
                }
                _ => {
                    let stride = rng.range(0..400) as usize;
                    let mut burst = Burst::from_gro(&mut bytes, stride, now, 3, &mut world.table);
                    if rng.range(0..4) != 0 {
                        ingest.handle_rtp(now, track, &mut burst);
                    }
                    world.fanout.handle_rtp(now, track, &mut burst, &mut world.sink);
                }
            }
            world.drain();
            while let Some(event) = ingest.poll_event() {
                match event {
                    IngestEvent::SenderReport { track, clock } => {
                        world.fanout.handle_sender_report(now, track, clock, &mut world.sink);
                    }
                    IngestEvent::SourceChanged { track, .. } => world.fanout.handle_source_changed(now, track),
                    IngestEvent::Cname { track, cname } => world.fanout.set_cname(track, cname),
                    IngestEvent::Bye { .. } => {}
                }
            }
            for _ in 0..8 {
                if ingest.poll_transmit(now, &mut out).is_none() {
                    break;
                }
            }
            prop_assert!(ingest.poll_transmit(now, &mut out).is_none(), "the ingest never stops sending");
            prop_assert!(world.fanout.cached_bytes() <= most);
        }
    }
}
