//! What a stream's home does in its time.

use std::rc::{Rc, Weak};
use std::time::Instant;

use tokio::sync::Notify;

use super::Home;
use crate::hub::coalesce::Coalescer;
use crate::hub::{wait, wake_at};

impl Home {
    fn handle_timeout(&self, now: Instant) {
        let mut ingest = self.ingest.borrow_mut();
        ingest.handle_timeout(now);
        self.pump(now, &mut ingest);
        drop(ingest);
        for (track, mend) in self.mends.borrow_mut().iter_mut().enumerate() {
            if let Some(mend) = mend.as_mut().filter(|mend| mend.poll_timeout().is_some_and(|due| due <= now))
            {
                mend.handle_timeout(now, &mut |burst| self.handle_ordered(now, track, burst));
                self.ask_again(now, track, mend);
            }
        }
        if let Some(held) = &mut *self.held.borrow_mut() {
            held.handle_timeout(now, &mut |track, burst| self.fan_out(now, track, burst));
        }
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let ingest = self.ingest.borrow().poll_timeout();
        let ingest = ingest.map(|due| wake_at(due, self.worker.epoch, now));
        let held = self.held.borrow().as_ref().and_then(Coalescer::poll_timeout);
        let mends = self.mends.borrow();
        let mends = mends.iter().flatten().filter_map(|mend| mend.poll_timeout());
        ingest.into_iter().chain(held).chain(mends).min()
    }
}

pub(super) async fn run(home: Weak<Home>, rearm: Rc<Notify>) {
    loop {
        let Some(deadline) = home.upgrade().map(|home| home.deadline(Instant::now())) else { return };
        wait(deadline, &rearm).await;
        let Some(home) = home.upgrade().filter(|home| !home.ended.get()) else { return };
        let now = Instant::now();
        if home.deadline(now).is_some_and(|at| at <= now) {
            home.handle_timeout(now);
        }
    }
}
