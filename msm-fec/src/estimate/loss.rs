//! Loss rate, and a Gilbert-Elliott fit of it.

/// Packets that the fast estimate remembers, at least; at most twice as many.
pub const FAST_PACKETS: u64 = 1024;

/// Packets that the slow estimate remembers, at least; at most twice as many.
pub const SLOW_PACKETS: u64 = 65_536;

/// Packets that the quick estimate remembers, at least; at most twice as many. It is believed in only if it differs by more than chance.
const QUICK_PACKETS: u64 = 256;

/// Losses and packets that are believed in before any was seen: 5 %, until the first forty have come.
const PRIOR: (f64, f64) = (2.0, 40.0);

/// Losses that the fast estimate must have seen to be taken for more than chance.
const ENOUGH: u64 = 8;

/// So many standard deviations, and runs, the number of runs lately may be from what it is over a longer time by chance.
const CHANCE: (f64, f64) = (4.0, 2.0);

/// After a time in which so many runs were to be expected, and none came, the loss is over.
const OVER: f64 = 10.0;

/// Runs of one that are believed in before any was seen, where plans are made of it.
const SINGLE: u64 = 2;

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    packets: u64,
    lost: u64,
    runs: u64,
}

impl Counts {
    fn add(&mut self, received: u64, lost: u64, most: u64) {
        self.packets = self.packets.saturating_add(received).saturating_add(lost);
        self.lost = self.lost.saturating_add(lost);
        self.runs += u64::from(lost > 0);
        // One step, however much was added: a run may be longer than the memory.
        while self.packets >= most.saturating_mul(2) {
            self.packets /= 2;
            self.lost /= 2;
            self.runs /= 2;
        }
    }

    fn rate(self) -> f64 {
        if self.packets == 0 { 0.0 } else { self.lost as f64 / self.packets as f64 }
    }
}

/// Mean run, with a few runs of one beside what was seen, so that the first loss of two packets does not make all loss come in pairs.
fn mean(counts: Counts, single: u64) -> f64 {
    ((counts.lost + single) as f64 / (counts.runs + single) as f64).max(1.0)
}

/// How much is lost, and how much of it in a row.
///
/// The fit is the simple Gilbert model: a good state that loses nothing and is left with probability `p` a packet, a bad one
/// that loses everything and is left with `r`. Its mean run of lost packets is `1/r`, its loss `p/(p+r)`; independent loss of
/// rate `l` is `p = l`, `r = 1 - l`.
#[derive(Debug, Clone, Default)]
pub struct Loss {
    quick: Counts,
    fast: Counts,
    slow: Counts,
    /// Received since the last loss, not in the counts yet: what keeps a packet at one addition.
    pending: u64,
}

impl Loss {
    /// An estimate that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet came in its place.
    #[inline]
    pub const fn handle_received(&mut self) {
        self.pending = self.pending.wrapping_add(1);
    }

    /// `count` packets in a row are missing.
    pub fn handle_gap(&mut self, count: u64) {
        let received = std::mem::take(&mut self.pending);
        self.quick.add(received, count, QUICK_PACKETS);
        self.fast.add(received, count, FAST_PACKETS);
        self.slow.add(received, count, SLOW_PACKETS);
    }

    /// A packet that was missing came by itself: it was late, not lost.
    pub fn handle_late(&mut self) {
        for counts in [&mut self.quick, &mut self.fast, &mut self.slow] {
            counts.lost = counts.lost.saturating_sub(1);
            counts.runs = counts.runs.min(counts.lost);
        }
    }

    fn settled(&self) -> (Counts, Counts) {
        let (mut fast, mut slow) = (self.fast, self.slow);
        fast.add(self.pending, 0, FAST_PACKETS);
        slow.add(self.pending, 0, SLOW_PACKETS);
        (fast, slow)
    }

    /// Share of packets that are lost, `0..=1`, over the slow memory.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.settled().1.rate()
    }

    /// Share of packets lost lately.
    #[must_use]
    pub fn recent(&self) -> f64 {
        self.settled().0.rate()
    }

    /// A loss rate to be prepared for: the higher of the slow and the fast estimate, and never below what so few packets could
    /// hide. Falls towards zero as packets come and none is lost.
    #[must_use]
    pub fn bound(&self) -> f64 {
        let (fast, slow) = self.settled();
        let cautious = (slow.lost as f64 + PRIOR.0) / (slow.packets as f64 + PRIOR.1);
        if fast.lost >= ENOUGH { cautious.max(fast.rate()) } else { cautious }
    }

    /// Mean number of packets that are lost in a row; 1 before any was.
    #[must_use]
    pub fn burst(&self) -> f64 {
        let (fast, slow) = self.settled();
        mean(if fast.runs >= 4 * ENOUGH { fast } else { slow }, SINGLE)
    }

    /// Loss rate and mean run to plan by: over the slow memory, unless what came lately tells by more than chance that the path has
    /// changed, for the better or the worse. A plan that follows each fluctuation is most of the time too large or too small.
    #[must_use]
    pub fn current(&self) -> (f64, f64) {
        let (fast, slow) = self.settled();
        let frequency = slow.runs as f64 / slow.packets.max(1) as f64;
        if frequency * self.pending as f64 > OVER {
            return (fast.rate().min(3.0 / self.pending as f64), mean(fast, SINGLE));
        }
        let mut quick = self.quick;
        quick.add(self.pending, 0, QUICK_PACKETS);
        // What is new is compared with what was before it.
        let older = slow.packets.saturating_sub(fast.packets);
        let frequency = match slow.runs.saturating_sub(fast.runs) {
            runs if older > fast.packets => runs as f64 / older as f64,
            _ => frequency,
        };
        let (deviations, more) = CHANCE;
        for counts in [quick, fast] {
            let expected = frequency * counts.packets as f64;
            let chance = deviations * expected.sqrt() + more;
            if (counts.runs as f64 - expected).abs() > chance {
                return (counts.rate(), mean(if counts.runs >= ENOUGH { counts } else { slow }, SINGLE));
            }
        }
        (slow.rate(), mean(slow, SINGLE))
    }

    /// The fit: probabilities `(p, r)` that the good and the bad state are left.
    #[must_use]
    pub fn gilbert(&self) -> (f64, f64) {
        let (_, slow) = self.settled();
        let good = slow.packets.saturating_sub(slow.lost);
        let p = if good == 0 { 0.0 } else { (slow.runs as f64 / good as f64).min(1.0) };
        let r = if slow.lost == 0 { 1.0 } else { (slow.runs as f64 / slow.lost as f64).min(1.0) };
        (p, r)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use msm_core::rng::Rng;

    /// A chain with these probabilities, `packets` long.
    fn feed(loss: &mut Loss, rng: &mut Rng, (p, r): (f64, f64), packets: u64) {
        let (mut bad, mut run) = (false, 0);
        for _ in 0..packets {
            bad = if bad { rng.next_f64() >= r } else { rng.next_f64() < p };
            if bad {
                run += 1;
            } else {
                if run > 0 {
                    loss.handle_gap(std::mem::take(&mut run));
                }
                loss.handle_received();
            }
        }
    }

    #[test]
    fn finds_the_chain_that_made_the_loss() {
        for (p, r) in [(0.1, 0.9), (0.01, 1.0 / 3.0), (0.005, 0.1), (0.2, 0.8)] {
            let mut loss = Loss::new();
            feed(&mut loss, &mut Rng::new(7), (p, r), 120_000);
            let (fit_p, fit_r) = loss.gilbert();
            assert!((fit_p / p - 1.0).abs() < 0.15 && (fit_r / r - 1.0).abs() < 0.15, "{fit_p} {fit_r}");
            assert!((loss.rate() / (p / (p + r)) - 1.0).abs() < 0.15, "{}", loss.rate());
            assert!((loss.burst() * r - 1.0).abs() < 0.4, "{}", loss.burst());
        }
    }

    #[test]
    fn grows_fast_and_forgets_slowly() {
        let mut loss = Loss::new();
        assert!((loss.bound() - 0.05).abs() < 0.001, "cautious at first");
        let mut rng = Rng::new(1);
        feed(&mut loss, &mut rng, (0.0, 1.0), 60_000);
        assert!(loss.bound() < 1e-4 && loss.rate() == 0.0);
        feed(&mut loss, &mut rng, (0.1, 0.9), 1_500);
        assert!(loss.bound() > 0.05, "{}", loss.bound());
        feed(&mut loss, &mut rng, (0.0, 1.0), 10_000);
        assert!(loss.bound() < 0.02 && loss.rate() > 1e-4);
        feed(&mut loss, &mut rng, (0.0, 1.0), 2_000_000);
        assert!(loss.rate() < 1e-4, "{}", loss.rate());
    }

    #[test]
    fn what_is_planned_by_stays_until_the_path_changes() {
        for (p, r) in [(0.01, 0.99), (0.1, 0.9), (0.005, 0.1)] {
            let (mut loss, mut rng) = (Loss::new(), Rng::new(3));
            feed(&mut loss, &mut rng, (p, r), 60_000);
            let (rate, mut differs) = (p / (p + r), 0);
            for _ in 0..600 {
                feed(&mut loss, &mut rng, (p, r), 200);
                let (now, burst) = loss.current();
                differs += u32::from((now / rate - 1.0).abs() > 0.25 || (burst * r - 1.0).abs() > 0.25);
            }
            assert!(differs <= 6, "{p} {r}: {differs}");
            // For the worse, and for the better.
            feed(&mut loss, &mut rng, (0.3, 0.7), 800);
            assert!(loss.current().0 > 0.1, "{:?}", loss.current());
            feed(&mut loss, &mut rng, (0.3, 0.7), 60_000);
            feed(&mut loss, &mut rng, (0.001, 1.0), 4_000);
            assert!(loss.current().0 < 0.01, "{:?}", loss.current());
            feed(&mut loss, &mut rng, (0.0, 1.0), 20_000);
            assert!(loss.current().0 < 0.001, "{:?}", loss.current());
        }
        assert_eq!(Loss::new().current(), (0.0, 1.0));
    }

    #[test]
    fn a_late_packet_is_no_loss_and_absurd_runs_end() {
        let mut loss = Loss::new();
        loss.handle_gap(2);
        loss.handle_late();
        loss.handle_late();
        loss.handle_late();
        assert_eq!((loss.rate(), loss.gilbert()), (0.0, (0.0, 1.0)));
        loss.handle_gap(u64::MAX);
        loss.handle_gap(u64::MAX);
        assert!(loss.rate() <= 1.0 && loss.burst() >= 1.0);
    }
}
