//! Requests from a peer, and a receiver whose packets come as the input has it: answers and memory are bounded, packets leave in
//! order and once, and whatever is asked for is missing.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use msm_core::rtcp::{Acceptance, Compound, Writer};
use msm_fec::nack::{
    Arrival, History, HistoryLimits, MAX_ANSWERS, MAX_REQUEST, Requester, RequesterConfig, Responder,
    ResponderConfig, wire,
};
use msm_fec::order::{Limits, Source, Verdict, Window};
use msm_fec::paths::{Merge, MergeConfig};

/// Reads `data` as a datagram with requests, and as what comes to a receiver.
pub fn run(data: &[u8]) {
    answers(data);
    receives(data);
}

/// Packets 0xfff0 to 0x1_0010 were sent, of 1000 bytes each, of which ten may be answered at once.
fn answers(data: &[u8]) {
    let Ok(compound) = Compound::parse(data, Acceptance::ReducedSize) else { return };
    let now = Instant::now();
    let mut history = History::new(HistoryLimits::default());
    for index in 0xfff0..0x1_0011_u64 {
        history.push(now, index, 1000, index);
    }
    let mut responder =
        Responder::new(ResponderConfig { start: 10_000, burst: 10_000, ..Default::default() });
    let mut answers = vec![];
    for _ in 0..3 {
        // Whatever stream it is about.
        let nacks = compound.packets().filter_map(|packet| match packet {
            Ok(msm_core::rtcp::Packet::Nack(nack)) => Some(nack),
            _ => None,
        });
        responder.handle_request(now, &mut history, nacks.flat_map(|nack| nack.lost()));
        answers.extend(std::iter::from_fn(|| responder.poll_transmit(&history)));
    }
    assert!(answers.len() <= 10);
    for answer in &answers {
        assert!((0xfff0..0x1_0011).contains(&answer.index) && answer.reference == answer.index);
        let copies = answers.iter().filter(|other| other.index == answer.index).count();
        assert!(copies <= usize::from(MAX_ANSWERS));
    }
    let stats = responder.stats();
    assert_eq!(stats.requested, stats.answered + stats.suppressed + stats.unknown + stats.throttled);
}

/// Four bytes an event: what, how much later, and two of the index.
fn receives(data: &[u8]) {
    let mut now = Instant::now() + Duration::from_secs(1000);
    let budget = Duration::from_millis(50);
    let mut requester = Requester::new(RequesterConfig { max_gaps: 300, ..RequesterConfig::new(budget) });
    let mut window = Window::new(Limits { packets: 128, bytes: 500, ..Limits::new(budget) });
    let mut merge = Merge::new(MergeConfig::default());
    let mut last: Option<u64> = None;
    for event in data.as_chunks::<4>().0.iter().take(2000) {
        let [kind, later, high, low] = *event;
        now += Duration::from_micros(u64::from(later) * 100);
        let near = u64::from(u16::from_be_bytes([high, low]));
        // Near where the line is, anywhere, or far off.
        let index = match kind & 3 {
            0 => last.unwrap_or(0x1_0000) + 1,
            1 => (last.unwrap_or(0x1_0000) + u64::from(low)).saturating_sub(u64::from(high)),
            2 => near,
            _ => near << (low & 63),
        };
        match kind >> 2 & 7 {
            0 => {
                requester.handle_next(now, index);
                window.handle_next(now, index);
            }
            1 if later > 200 => now -= Duration::from_millis(u64::from(later)),
            1 => requester.handle_rtt(Duration::from_micros(near * 10)),
            kind => {
                let (arrival, source) = match kind {
                    2 => (Arrival::Retransmission, Source::Nack),
                    3 => (Arrival::Repaired, Source::Fec),
                    _ => (Arrival::Media, Source::Media),
                };
                merge.handle_packet(now, usize::from(high & 7), index);
                requester.handle_packet(now, index, arrival);
                let packet = index.to_be_bytes();
                let mut verdict = window.handle_packet(now, index, source, &packet);
                if verdict == Verdict::Again {
                    leave(&mut window, &mut last);
                    verdict = window.handle_packet(now, index, source, &packet);
                    assert_ne!(verdict, Verdict::Again);
                }
                if verdict == Verdict::Pass {
                    restarted(&mut window, &mut last);
                    assert!(last.is_none_or(|last| index > last));
                    last = Some(index);
                }
            }
        }
        requester.handle_timeout(now);
        window.handle_timeout(now);
        merge.handle_timeout(now);
        leave(&mut window, &mut last);
        assert!(window.held().0 <= 128 && window.held().1 <= 500);
        asks(&mut requester);
        while requester.poll_event().is_some() || merge.poll_event().is_some() {}
        let _ = (requester.poll_timeout(), window.poll_timeout(), merge.poll_timeout());
    }
}

/// Behind a new start, order begins anew.
fn restarted(window: &mut Window, last: &mut Option<u64>) {
    while let Some(event) = window.poll_event() {
        if matches!(event, msm_fec::order::Event::Restarted { .. }) {
            *last = None;
        }
    }
}

fn leave(window: &mut Window, last: &mut Option<u64>) {
    while let Some(ready) = window.poll_ready() {
        assert!(last.is_none_or(|last| ready.index > last));
        assert_eq!(ready.packet, ready.index.to_be_bytes());
        *last = Some(ready.index);
    }
    restarted(window, last);
}

/// Requests end, and read as they were meant.
fn asks(requester: &mut Requester) {
    for _ in 0..100 {
        let Some(request) = requester.poll_transmit() else { return };
        let mut buffer = [0; 8192];
        let mut writer = Writer::new(&mut buffer);
        wire::write_request(&mut writer, 1, 2, request.passes()).unwrap();
        let compound = Compound::parse(writer.as_bytes(), Acceptance::ReducedSize).unwrap();
        let nacks: Vec<_> = wire::requests(&compound, 2).collect();
        let passes: Vec<Vec<u64>> = request.passes().map(<[u64]>::to_vec).collect();
        assert_eq!(nacks.len(), passes.len());
        assert!(passes.len() <= usize::from(MAX_ANSWERS) && !passes.is_empty());
        for (nack, pass) in nacks.iter().zip(&passes) {
            assert!(pass.len() <= MAX_REQUEST);
            assert!(nack.lost().eq(pass.iter().map(|index| *index as u16)));
            assert!(pass.iter().all(|index| requester.is_missing(*index)));
        }
    }
    unreachable!("requests without end");
}
