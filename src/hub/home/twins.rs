//! A second source that plays at once, into a hub of its own: what it brings of the same packets is merged into the stream's line.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use msm_core::burst::{Burst, SegmentTable};
use msm_core::hub::twin::{Offset, Side, Twin};

use super::Home;
use crate::hub::feed::Feed;
use crate::hub::succession::Kept;

/// Longer than any packet waits for one that is missing.
const NO_MORE: Duration = Duration::from_secs(3600);

/// What two homes on one worker share.
struct Pair {
    twin: RefCell<Twin>,
    first: Weak<Home>,
    second: Weak<Home>,
    lines: RefCell<Lines>,
    /// Of what was merged, so much is counted.
    counted: Cell<u64>,
}

/// Where packets are written that go from one to the other.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    parts: Vec<(usize, usize)>,
    table: SegmentTable,
}

/// What a home is of a pair, if anything.
#[derive(Default)]
pub(super) struct Twinned {
    now: RefCell<Option<(Rc<Pair>, Side)>>,
    /// The pair that was, until what one of them had brought has come of the other one, too.
    before: RefCell<Option<Rc<Pair>>>,
}

impl Home {
    /// `second` has another source of the same stream; `numbers` are its payload types and the stream's. What both bring is compared
    /// from now on.
    pub(crate) fn pair(self: &Rc<Self>, second: &Rc<Self>, numbers: &[Vec<(u8, u8)>]) {
        self.part();
        let twin = Twin::new(&self.handle.tracks(), numbers, self.worker.shared.seed());
        let pair = Rc::new(Pair {
            twin: RefCell::new(twin),
            first: Rc::downgrade(self),
            second: Rc::downgrade(second),
            lines: RefCell::default(),
            counted: Cell::new(0),
        });
        *second.twinned.now.borrow_mut() = Some((Rc::clone(&pair), Side::Second));
        *self.twinned.now.borrow_mut() = Some((pair, Side::First));
    }

    /// Whether the second source is known to bring the same packets.
    pub(crate) fn is_identical(&self) -> bool {
        self.twinned.now.borrow().as_ref().is_some_and(|(pair, _)| pair.twin.borrow().is_identical())
    }

    /// Packets that readers have from the second source, since the last call.
    pub(crate) fn take_filled(&self) -> u64 {
        let own = self.twinned.now.borrow();
        let pair =
            own.as_ref().map(|(pair, _)| Rc::clone(pair)).or_else(|| self.twinned.before.borrow().clone());
        pair.map_or(0, |pair| {
            let filled = pair.twin.borrow().filled();
            filled.saturating_sub(pair.counted.replace(filled))
        })
    }

    /// This home, or the other one of the pair, ends: what both have brought is not sent twice.
    pub(super) fn part(&self) {
        let Some((pair, side)) = self.twinned.now.borrow_mut().take() else { return };
        let other = if side == Side::First { &pair.second } else { &pair.first };
        if let Some(other) = other.upgrade() {
            other.twinned.now.borrow_mut().take();
        }
        if let Some(first) = pair.first.upgrade().filter(|first| !first.ended.get()) {
            pair.twin.borrow_mut().leave();
            *first.twinned.before.borrow_mut() = Some(pair);
        }
    }

    /// The source of a track has begun anew.
    pub(super) fn begin_anew(&self, track: usize) {
        self.twinned.before.borrow_mut().take();
        if let Some((pair, side)) = &*self.twinned.now.borrow() {
            pair.twin.borrow_mut().forget(*side, track);
        }
    }

    /// Packets on their way to readers, or to nobody: those that readers have already are marked invalid; what is the other's turn is sent.
    pub(super) fn meet(&self, now: Instant, track: usize, burst: &mut Burst<'_>) {
        let mut before = self.twinned.before.borrow_mut();
        if let Some(pair) = &*before {
            let mut twin = pair.twin.borrow_mut();
            twin.handle_alone(track, burst);
            let is_over = twin.is_over();
            drop(twin);
            if is_over {
                before.take();
            }
        }
        drop(before);
        let own = self.twinned.now.borrow();
        let Some((pair, side)) = &*own else { return };
        let (pair, side) = (Rc::clone(pair), *side);
        drop(own);
        match side {
            Side::First => {
                pair.twin.borrow_mut().handle_first(track, burst);
                self.give(now, &pair, track);
            }
            Side::Second => {
                pair.twin.borrow_mut().handle_second(track, burst);
                if let Some(first) = pair.first.upgrade() {
                    first.give(now, &pair, track);
                }
            }
        }
    }

    /// Sends readers what is the second source's turn.
    fn give(&self, now: Instant, pair: &Pair, track: usize) {
        let Lines { bytes, parts, table } = &mut *pair.lines.borrow_mut();
        while pair.twin.borrow_mut().poll_burst(track, bytes, parts) {
            let mut burst = Burst::from_parts(bytes, parts, now, 0, table);
            self.heard.given(now);
            self.deliver(now, track, &mut burst);
        }
    }

    /// The source is lost. If the second one brings the same, readers get what only that has brought so far, and its numbers become the
    /// stream's by what this returns.
    pub(super) fn take_from_second(&self, now: Instant) -> Option<Vec<Option<Offset>>> {
        let pair = match &*self.twinned.now.borrow() {
            Some((pair, Side::First)) => Rc::clone(pair),
            _ => return None,
        };
        let offsets = pair.twin.borrow_mut().take_over()?;
        (0..offsets.len()).for_each(|track| self.give(now, &pair, track));
        self.twinned.now.borrow_mut().take();
        if let Some(second) = pair.second.upgrade() {
            second.twinned.now.borrow_mut().take();
        }
        *self.twinned.before.borrow_mut() = Some(pair);
        Some(offsets)
    }

    /// Hands on what waits for packets that are missing: nothing brings them back any more.
    pub(crate) fn release_mended(&self, now: Instant) {
        for (track, mend) in self.mends.borrow_mut().iter_mut().enumerate() {
            if let Some(mend) = mend {
                mend.handle_timeout(now + NO_MORE, &mut |burst| self.handle_ordered(now, track, burst));
            }
        }
    }

    /// The wall clock of the source that has taken over, if that is known of all tracks: readers keep the one before otherwise, as tracks must
    /// not have two.
    pub(crate) fn take_clocks(&self, now: Instant, kept: &[Kept]) {
        if kept.iter().any(|kept| kept.clock.is_none()) {
            return;
        }
        for (track, clock) in kept.iter().enumerate().filter_map(|(track, kept)| Some((track, kept.clock?))) {
            self.tell_remotes(|| Feed::SenderReport { track, clock });
            self.shard.handle_sender_report(now, track, clock);
        }
    }
}
