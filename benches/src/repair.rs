//! What repair costs while there is nothing to repair: its bookkeeping for each packet, without loss.
//!
//! The sender keeps a reference to each packet and counts what answers it allows; the receiver looks for gaps and for order;
//! a merge sees each packet twice. Beside it stands a copy of the same packets, which is what a history by reference saves. All of
//! them take turns within each round; figures are medians of the rounds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use msm_fec::nack::{
    Arrival, History, HistoryLimits, Requester, RequesterConfig, Responder, ResponderConfig, Tail, TailConfig,
};
use msm_fec::order::{Limits, Source, Verdict, Window};
use msm_fec::paths::{Merge, MergeConfig};

use crate::report::{Limit, Report, median};
use crate::{PACKET_BYTES, Result};

/// Nanoseconds a packet that are held.
const BOUND: f64 = 15.0;
/// Packets that come or go together, at one time.
const BURST: u64 = 32;
const BURSTS: u64 = 500;
const ROUNDS: usize = 301;
const BUDGET: Duration = Duration::from_millis(100);

/// Where packets go that are copied: as large as a history.
const RING: usize = 4 << 20;

struct Subject {
    now: Instant,
    index: u64,
    history: History<u64>,
    responder: Responder,
    tail: Tail,
    requester: Requester,
    window: Window,
    merge: Merge,
    packet: Vec<u8>,
    ring: Vec<u8>,
}

/// Each part's cost a packet.
///
/// # Errors
///
/// A part does not do its work.
pub fn repair(report: &mut Report) -> Result<()> {
    let mut subject = Subject {
        now: Instant::now(),
        index: 2,
        history: History::new(HistoryLimits::default()),
        responder: Responder::new(ResponderConfig::default()),
        tail: Tail::new(TailConfig::new(BUDGET)),
        requester: Requester::new(RequesterConfig::new(BUDGET)),
        window: Window::new(Limits::new(BUDGET)),
        merge: Merge::new(MergeConfig::default()),
        packet: vec![0x5a; PACKET_BYTES],
        ring: vec![0; RING],
    };
    println!("medians of {ROUNDS} rounds of {} packets, without loss", BURST * BURSTS);
    let mut rounds: [Vec<f64>; 6] = Default::default();
    for _ in 0..ROUNDS {
        for (all, time) in rounds.iter_mut().zip(subject.round()?) {
            all.push(time.as_nanos() as f64 / (BURST * BURSTS) as f64);
        }
    }
    let names = [
        "history and answers' allowance (sender)",
        "tail probes' timing (sender)",
        "gaps and requests (receiver)",
        "order window (receiver)",
        "merge of two paths, for each packet that came",
        "a copy of the packet, for comparison",
    ];
    for (place, (name, times)) in names.iter().zip(&rounds).enumerate() {
        let cost = median(times).unwrap_or(f64::NAN);
        println!("{cost:6.2} ns  {name}");
        if place < 5 {
            report.bound(format!("ns a packet without loss: {name}"), cost, Limit::Most(BOUND));
        }
    }
    Ok(())
}

impl Subject {
    /// Time that each part takes for the round's packets.
    fn round(&mut self) -> Result<[Duration; 6]> {
        let mut sums = [Duration::ZERO; 6];
        for _ in 0..BURSTS {
            self.now += Duration::from_micros(300);
            for (sum, time) in sums.iter_mut().zip(self.burst()?) {
                *sum += time;
            }
            self.index += BURST;
        }
        Ok(sums)
    }

    fn burst(&mut self) -> Result<[Duration; 6]> {
        let (now, burst) = (self.now, self.index..self.index + BURST);
        let mut marks = [Instant::now(); 7];
        for index in burst.clone() {
            black_box(self.history.push(now, black_box(index), PACKET_BYTES, index));
            self.responder.handle_media(PACKET_BYTES);
        }
        marks[1] = Instant::now();
        for index in burst.clone() {
            self.tail.handle_packet(now, black_box(index), PACKET_BYTES, false);
        }
        marks[2] = Instant::now();
        for index in burst.clone() {
            self.requester.handle_packet(now, black_box(index), Arrival::Media);
        }
        marks[3] = Instant::now();
        let mut passed = 0;
        for index in burst.clone() {
            let verdict = self.window.handle_packet(now, black_box(index), Source::Media, &self.packet);
            passed += u64::from(verdict == Verdict::Pass);
        }
        marks[4] = Instant::now();
        let mut first = 0;
        // Half as many packets, twice.
        for path in [0, 1] {
            for index in burst.start / 2..burst.end / 2 {
                first += u64::from(self.merge.handle_packet(now, path, black_box(index)).is_first());
            }
        }
        marks[5] = Instant::now();
        for index in burst {
            let start = (index as usize * PACKET_BYTES) % (RING - PACKET_BYTES);
            let place = self.ring.get_mut(start..start + PACKET_BYTES).ok_or("no place")?;
            black_box(place).copy_from_slice(black_box(&self.packet));
        }
        marks[6] = Instant::now();
        if passed != BURST || first != BURST / 2 || self.requester.poll_transmit().is_some() {
            return Err(format!("{passed} packets of {BURST} passed, {first} were the first").into());
        }
        let mut times = [Duration::ZERO; 6];
        for (time, pair) in times.iter_mut().zip(marks.windows(2)) {
            if let [before, after] = pair {
                *time = after.saturating_duration_since(*before);
            }
        }
        Ok(times)
    }
}
