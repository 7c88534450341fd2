//! Waiting for a future on the thread that wants its outcome.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::task::coop::unconstrained;

/// Runs a future on this thread until it is done; for `patience` at most, where it says so, with `None` if it was not done by then. It is polled
/// once even with no patience at all. For futures that need no runtime, as those of readers, publishers and events; dropped unfinished,
/// they do what their documentation says of cancelling.
pub fn wait<F: Future>(future: F, patience: Option<Duration>) -> Option<F::Output> {
    // A patience beyond what the clock can tell is none.
    let deadline = patience.map(|patience| Instant::now().checked_add(patience));
    let deadline = deadline.flatten();
    let parked = Arc::new(Parked { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&parked));
    let mut cx = Context::from_waker(&waker);
    // A task that this thread runs has a budget of what it may take in one go; this call does not give way to others until it is done.
    let mut future = pin!(unconstrained(future));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return None;
        }
        while !parked.woken.swap(false, Ordering::Acquire) {
            let Some(deadline) = deadline else {
                thread::park();
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            thread::park_timeout(left);
        }
    }
}

/// A thread that waits.
struct Parked {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn what_is_ready_needs_no_patience() {
        assert_eq!(wait(ready(7), Some(Duration::ZERO)), Some(7));
        assert_eq!(wait(pending::<()>(), Some(Duration::ZERO)), None);
        assert_eq!(wait(pending::<()>(), Some(Duration::from_millis(2))), None);
        assert_eq!(wait(ready(7), Some(Duration::MAX)), Some(7));
    }

    #[test]
    fn another_thread_wakes_it() {
        let (tell, told) = oneshot::channel();
        let other = thread::spawn(move || tell.send(7));
        assert_eq!(wait(told, None), Some(Ok(7)));
        other.join().unwrap().unwrap();
    }

    #[test]
    fn who_wakes_itself_again_and_again_is_not_waited_for_any_longer() {
        let future = poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert_eq!(wait(future, Some(Duration::from_millis(2))), None);
    }

    #[test]
    fn who_wakes_itself_is_polled_again() {
        let mut polled = 0;
        let future = poll_fn(|cx| {
            polled += 1;
            cx.waker().wake_by_ref();
            if polled < 1000 { Poll::Pending } else { Poll::Ready(()) }
        });
        assert_eq!(wait(future, None), Some(()));
        assert_eq!(polled, 1000);
    }
}
