//! Two ends, the links between them, and virtual time.

use std::time::{Duration, Instant};

use msm_core::rng::Rng;
use msm_link::{Packet, Pair};

use super::cell::{Cell, Paths, Step};
use super::scheme::{Receiver, Scheme, Sender};
use super::tally::{Outcome, Tally};
use super::traffic::{FRAME, Traffic, sent_after};

/// How long ends may go on after the last packet could have been handed over in time.
const DRAIN: Duration = Duration::from_secs(1);

/// How often the world may turn at one instant: more is an end whose timeouts never pass.
const TURNS: u32 = 10_000;

/// An end that does not keep the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its timeout stays in the past, this long after the start.
    Stuck(Duration),
    /// It sends on a path that is not there.
    NoSuchPath(usize),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stuck(at) => {
                write!(formatter, "an end's timeout stays in the past, {at:?} after the start")
            }
            Self::NoSuchPath(path) => write!(formatter, "an end sends on path {path}, which is not there"),
        }
    }
}

impl std::error::Error for Fault {}

/// Runs one cell with a scheme. All that happens follows from `seed`.
///
/// # Errors
///
/// An end does not keep the contract.
pub fn run<S: Scheme>(cell: &Cell, seed: u64) -> Result<Outcome, Fault> {
    World::<S>::new(cell, cell.seed(seed)).go()
}

/// What changes on the links by itself.
#[derive(Debug, Clone, Copy)]
struct Change {
    at: Instant,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// The loss is that of the step, or not.
    Loss(Step, bool),
    /// This path is cut.
    Cut(usize),
    /// This path is back.
    Mend(usize),
}

struct World<S: Scheme> {
    cell: Cell,
    start: Instant,
    now: Instant,
    paths: Vec<Pair<S::Packet>>,
    sender: S::Sender,
    receiver: S::Receiver,
    traffic: Traffic,
    change: Option<Change>,
    tally: Tally,
    end: Instant,
}

impl<S: Scheme> World<S> {
    fn new(cell: &Cell, seed: u64) -> Self {
        let start = Instant::now();
        let mut seeds = Rng::new(seed);
        let per_frame = cell.rate.per_frame();
        let first = Cell::WARM_UP.as_nanos().div_ceil(FRAME.as_nanos()) as u64 * per_frame;
        let packets = cell.packets.div_ceil(per_frame) * per_frame;
        let change = match (cell.step, cell.paths) {
            (Some(step), _) => Some(Change { at: start + step.every, what: What::Loss(step, true) }),
            (None, Paths::One) => None,
            (None, Paths::TwoWithCuts) => Some(Change { at: start + Cell::CUT_EVERY, what: What::Cut(0) }),
        };
        let settings = cell.settings(cell.loss);
        let paths = (0..cell.path_count()).map(|_| Pair::new(settings, seeds.next_u64())).collect();
        let (sender, receiver) = S::ends(cell, seeds.next_u64(), start);
        Self {
            cell: *cell,
            start,
            now: start,
            paths,
            sender,
            receiver,
            traffic: Traffic::new(cell.rate, first + packets, start),
            change,
            tally: Tally::new(cell, first, packets, start),
            end: start + sent_after(cell.rate, first + packets) + cell.rtt + cell.latency() + DRAIN,
        }
    }

    fn go(mut self) -> Result<Outcome, Fault> {
        let began = Instant::now();
        let mut turns = 0;
        while let Some(next) = self.next().filter(|&next| next <= self.end) {
            turns = if next > self.now { 0 } else { turns + 1 };
            if turns > TURNS {
                return Err(Fault::Stuck(self.now - self.start));
            }
            self.now = self.now.max(next);
            self.turn()?;
        }
        let (mut lost, mut passed, mut sent) = (0, 0, 0);
        for path in &self.paths {
            let there = path.there.statistics();
            (lost, passed) = (lost + there.missing(), passed + there.passed);
            sent += there.sent + path.back.statistics().sent;
        }
        let loss = lost as f64 / (lost + passed).max(1) as f64;
        Ok(self.tally.finish(loss, sent, self.sender.code(), began.elapsed()))
    }

    /// When something is due next.
    fn next(&self) -> Option<Instant> {
        let ends = [self.traffic.next_at(), self.sender.poll_timeout(), self.receiver.poll_timeout()];
        let change = self.change.map(|change| change.at);
        let links = self.paths.iter().map(Pair::poll_timeout);
        links.chain(ends).chain([change]).flatten().min()
    }

    /// Does all that is due now.
    fn turn(&mut self) -> Result<(), Fault> {
        let now = self.now;
        while let Some(change) = self.change.filter(|change| change.at <= now) {
            self.apply(change);
        }
        for path in 0..self.paths.len() {
            while let Some(packet) = self.paths.get_mut(path).and_then(|pair| pair.there.poll_arrival(now)) {
                self.receiver.handle_arrival(now, path, packet);
                self.drain_receiver()?;
            }
            while let Some(packet) = self.paths.get_mut(path).and_then(|pair| pair.back.poll_arrival(now)) {
                self.sender.handle_arrival(now, path, packet);
                self.drain_sender()?;
            }
        }
        while let Some(media) = self.traffic.due(now) {
            self.sender.handle_media(now, media);
            self.drain_sender()?;
        }
        if self.sender.poll_timeout().is_some_and(|at| at <= now) {
            self.sender.handle_timeout(now);
            self.drain_sender()?;
        }
        if self.receiver.poll_timeout().is_some_and(|at| at <= now) {
            self.receiver.handle_timeout(now);
            self.drain_receiver()?;
        }
        Ok(())
    }

    fn drain_sender(&mut self) -> Result<(), Fault> {
        while let Some((path, packet)) = self.sender.poll_transmit(self.now) {
            self.tally.sent(self.now, packet.size());
            let pair = self.paths.get_mut(path).ok_or(Fault::NoSuchPath(path))?;
            // A link without an MTU refuses nothing.
            let _ = pair.there.handle_send(self.now, packet);
        }
        Ok(())
    }

    fn drain_receiver(&mut self) -> Result<(), Fault> {
        while let Some((path, packet)) = self.receiver.poll_transmit(self.now) {
            self.tally.sent(self.now, packet.size());
            let pair = self.paths.get_mut(path).ok_or(Fault::NoSuchPath(path))?;
            let _ = pair.back.handle_send(self.now, packet);
        }
        while let Some(index) = self.receiver.poll_delivery(self.now) {
            self.tally.delivered(self.now, index);
        }
        Ok(())
    }

    fn apply(&mut self, change: Change) {
        let at = change.at;
        let next = match change.what {
            What::Loss(step, stepped) => {
                let settings = self.cell.settings(if stepped { step.to } else { self.cell.loss });
                self.paths.iter_mut().for_each(|path| path.set(at, settings));
                Change { at: at + step.every, what: What::Loss(step, !stepped) }
            }
            What::Cut(path) => {
                self.paths.iter_mut().skip(path).take(1).for_each(|path| path.set_up(at, false));
                Change { at: at + Cell::CUT, what: What::Mend(path) }
            }
            What::Mend(path) => {
                self.paths.iter_mut().skip(path).take(1).for_each(|path| path.set_up(at, true));
                let other = (path + 1) % self.paths.len().max(1);
                Change { at: at + Cell::CUT_EVERY - Cell::CUT, what: What::Cut(other) }
            }
        };
        self.change = Some(next);
    }
}
