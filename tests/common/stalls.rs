//! What a test of timing says on a machine that stands still now and then: the stalls are measured, and only what they can have
//! caused is tried again.

#![allow(dead_code, unreachable_pub, reason = "as the other helpers of tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, available_parallelism, sleep, spawn};
use std::time::{Duration, Instant};

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// How often a run is repeated.
const AGAIN: usize = 2;

/// Watches for stalls: threads that sleep for a moment, as proxies and players do for the next packet, and see how late they wake.
/// There is one for each processor, as each can be kept from running by itself.
#[derive(Debug)]
struct Stalls {
    /// In microseconds.
    longest: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Stalls {
    fn watch() -> Self {
        let (longest, over): (Arc<AtomicU64>, Arc<AtomicBool>) = Default::default();
        let threads = (0..available_parallelism().map_or(1, usize::from)).map(|_| {
            let (longest, over) = (Arc::clone(&longest), Arc::clone(&over));
            spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let before = Instant::now();
                    sleep(LOOK);
                    let late = before.elapsed().saturating_sub(LOOK);
                    longest.fetch_max(late.as_micros().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
                }
            })
        });
        Self { threads: threads.collect(), longest, over }
    }

    /// Ends the watch; the longest stall.
    fn end(mut self) -> Duration {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        Duration::from_micros(self.longest.load(Ordering::Relaxed))
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// What a run has found out.
#[derive(Debug, Default)]
pub struct Run {
    /// What was missed of what has to come in time. Anything else that is wrong panics, and is not tried again.
    missed: Vec<String>,
    watch: Option<Stalls>,
    /// The longest stall while that was judged.
    stall: Duration,
}

impl Run {
    /// From now on time matters.
    pub fn begin() -> Self {
        Self { watch: Some(Stalls::watch()), ..Self::default() }
    }

    /// From now on it does not any more.
    pub fn end(&mut self) {
        if let Some(watch) = self.watch.take() {
            self.stall = watch.end();
            println!("the longest stall was {:?}", self.stall);
        }
    }

    /// Something else that keeps time was kept from that for so long.
    pub fn stood_still(&mut self, stall: Duration) {
        println!("and by others {stall:?}");
        self.stall = self.stall.max(stall);
    }

    /// Whether nothing was missed so far.
    pub fn is_well(&self) -> bool {
        self.missed.is_empty()
    }

    /// Something that has to hold on a machine that keeps time.
    pub fn in_time(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.missed.push(otherwise());
        }
    }
}

/// Runs a test whose packets have `budget` to come in. Where some did not, and the machine stood still for more than a third of
/// that meanwhile, it says nothing, and is repeated; where the machine did not, it has failed.
///
/// # Panics
///
/// When something is missed without such a stall, or each time.
pub fn unless_stalled(budget: Duration, test: impl Fn() -> Run) {
    for again in 0.. {
        let mut run = test();
        run.end();
        if run.is_well() {
            return;
        }
        let missed = run.missed.join("\n");
        assert!(run.stall > budget / 3, "{missed}\n(the machine stood still for {:?} at most)", run.stall);
        assert!(
            again < AGAIN,
            "{missed}\n(the machine stands still again and again, now for {:?})",
            run.stall
        );
        println!("tried again, as the machine stood still:\n{missed}");
    }
}

#[test]
fn only_a_stall_has_a_run_repeated() {
    use std::cell::Cell;
    let budget = Duration::from_millis(90);
    // What it missed and the stall, in milliseconds, of each run; whether it passes, and after how many.
    type Runs = &'static [(bool, u64)];
    let cases: [(Runs, bool, usize); 6] = [
        (&[(false, 0)], true, 1),
        (&[(false, 500)], true, 1),
        (&[(true, 30)], false, 1),
        (&[(true, 31), (false, 0)], true, 2),
        (&[(true, 31), (true, 0)], false, 2),
        (&[(true, 31), (true, 31), (true, 31)], false, 3),
    ];
    for (runs, passes, after) in cases {
        let count = Cell::new(0);
        let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            unless_stalled(budget, || {
                let (missed, stall) = runs[count.get()];
                count.set(count.get() + 1);
                let mut run = Run { stall: Duration::from_millis(stall), ..Run::default() };
                run.in_time(!missed, || "a packet".to_owned());
                run
            });
        }));
        assert_eq!((judged.is_ok(), count.get()), (passes, after), "{runs:?}");
    }
}

#[test]
fn a_watch_sees_time_pass() {
    let stalls = Stalls::watch();
    sleep(Duration::from_millis(20));
    assert!(stalls.end() > Duration::ZERO, "no thread wakes at its very microsecond");
}
