//! The timer of one protected flow.

use std::cell::Cell;
use std::time::Instant;

use tokio::sync::Notify;

/// Sleeps until what is due, and is woken up only for what is due sooner.
#[derive(Default)]
pub(crate) struct Timer {
    armed: Cell<Option<Instant>>,
    rearm: Notify,
}

impl Timer {
    /// Something is due at this time now.
    #[inline]
    pub(crate) fn arm(&self, due: Option<Instant>) {
        if let Some(due) = due
            && self.armed.get().is_none_or(|armed| due < armed)
        {
            self.armed.set(Some(due));
            self.rearm.notify_one();
        }
    }

    /// Whoever waits looks whether there is still something to wait for.
    pub(crate) fn end(&self) {
        self.rearm.notify_one();
    }

    /// Waits until what is due, or until that changed. Cancel safe.
    pub(crate) async fn wait(&self, due: Option<Instant>) {
        self.armed.set(due);
        match due {
            Some(at) => tokio::select! {
                () = tokio::time::sleep_until(at.into()) => {}
                () = self.rearm.notified() => {}
            },
            None => self.rearm.notified().await,
        }
    }
}
