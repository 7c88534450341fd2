//! A descriptor to poll: readable once a call that would have had to wait may not have to any more.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::result::Failure;

/// The descriptor, and what raises it.
pub(crate) struct Ready {
    raised: Arc<Raised>,
    waker: Waker,
}

struct Raised {
    descriptor: EventFd,
    /// It was written to since it was read.
    is: AtomicBool,
}

impl Ready {
    /// One that is raised: nobody has asked yet what there is.
    pub(crate) fn new() -> Result<Self, Failure> {
        let descriptor = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let descriptor = descriptor.map_err(|error| Failure::system("a descriptor to poll", error))?;
        let raised = Arc::new(Raised { descriptor, is: AtomicBool::new(false) });
        raised.raise();
        Ok(Self { waker: Waker::from(Arc::clone(&raised)), raised })
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.raised.descriptor.as_fd().as_raw_fd()
    }

    /// Polls, and leaves the descriptor raised unless there is nothing: it is raised again then once there may be.
    pub(crate) fn poll<R>(&self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>) -> Poll<R> {
        let mut cx = Context::from_waker(&self.waker);
        let outcome = poll(&mut cx);
        if outcome.is_ready() {
            return outcome;
        }
        // What comes after this raises it, or is found by the second look. Whoever raises it may have said so and not have written yet: so it is read each
        // time, whether it was raised or not.
        self.raised.lower();
        let outcome = poll(&mut cx);
        if outcome.is_ready() {
            self.raised.raise();
        }
        outcome
    }

    /// Somebody has waited otherwise: who polls is to look for himself.
    pub(crate) fn raise(&self) {
        self.raised.raise();
    }
}

impl Raised {
    fn raise(&self) {
        if !self.is.swap(true, Ordering::AcqRel) {
            // It holds 2^64 - 2 of these.
            let _ = self.descriptor.write(1);
        }
    }

    fn lower(&self) {
        // In this order: what raises it in between writes nothing, and is found by who lowers it. The other way round it would write what is read
        // here, and never again.
        let _ = self.descriptor.read();
        self.is.store(false, Ordering::Release);
    }
}

impl Wake for Raised {
    fn wake(self: Arc<Self>) {
        self.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raise();
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use tokio::sync::mpsc;

    use super::*;

    fn is_readable(ready: &Ready) -> bool {
        let descriptor = ready.raised.descriptor.as_fd();
        poll(&mut [PollFd::new(descriptor, PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn it_is_raised_as_long_as_something_may_be_there() {
        let (sender, mut receiver) = mpsc::channel(8);
        let ready = Ready::new().unwrap();
        let mut take = || ready.poll(|cx| receiver.poll_recv(cx));
        assert!(is_readable(&ready), "nobody has looked yet");
        assert_eq!(take(), Poll::Pending);
        assert!(!is_readable(&ready));
        for number in 0..3 {
            sender.try_send(number).unwrap();
            assert!(is_readable(&ready));
        }
        for number in 0..3 {
            assert_eq!(take(), Poll::Ready(Some(number)));
            assert!(is_readable(&ready), "more may be there");
        }
        assert_eq!(take(), Poll::Pending);
        assert!(!is_readable(&ready));
        // Something that came before the first look, and nothing after.
        sender.try_send(3).unwrap();
        assert_eq!(take(), Poll::Ready(Some(3)));
        assert!(is_readable(&ready));
        assert_eq!(take(), Poll::Pending);
        drop(sender);
        assert!(is_readable(&ready), "the end is something, too");
        assert_eq!(take(), Poll::Ready(None));
    }

    #[test]
    fn nothing_is_missed_between_threads() {
        let (sender, mut receiver) = mpsc::channel(1024);
        let ready = Ready::new().unwrap();
        let other = std::thread::spawn(move || {
            for number in 0..100_000u32 {
                while sender.try_send(number).is_err() {
                    std::thread::yield_now();
                }
            }
        });
        let mut next = 0;
        loop {
            let descriptor = ready.raised.descriptor.as_fd();
            let polled =
                poll(&mut [PollFd::new(descriptor, PollFlags::POLLIN)], PollTimeout::from(10_000u16));
            assert_eq!(polled.unwrap(), 1, "after {next}");
            while let Poll::Ready(number) = ready.poll(|cx| receiver.poll_recv(cx)) {
                let Some(number) = number else {
                    assert_eq!(next, 100_000);
                    return other.join().unwrap();
                };
                assert_eq!(number, next);
                next += 1;
            }
        }
    }
}
