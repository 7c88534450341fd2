//! What a handle holds that calls wait for.

use std::future::poll_fn;
use std::os::fd::RawFd;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use msm::blocking::wait;
use tokio::sync::{Mutex, MutexGuard, watch};

use crate::ready::Ready;
use crate::result::{Failure, msm_result};

/// How long a call waits: as long as it takes where it does not say.
pub(crate) fn patience(timeout_ms: i64) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().map(Duration::from_millis)
}

/// One thread at a time waits for it; others that would wait for their turn, as long as their patience lasts.
pub(crate) struct Held<T> {
    /// Held by who waits, as only one can be woken; and by who looks, as nobody else is woken then.
    turn: Mutex<()>,
    /// Locked for each look, and for what takes a while: who waits for a look waits no longer than his patience.
    own: Mutex<T>,
    closed: watch::Sender<bool>,
    ready: OnceLock<Ready>,
}

impl<T> Held<T> {
    pub(crate) fn new(own: T) -> Self {
        Self {
            turn: Mutex::default(),
            own: Mutex::new(own),
            closed: watch::Sender::new(false),
            ready: OnceLock::new(),
        }
    }

    /// Has whoever waits return: the handle was freed.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// The descriptor to poll for those who do not wait.
    pub(crate) fn descriptor(&self) -> Result<RawFd, Failure> {
        if let Some(ready) = self.ready.get() {
            return Ok(ready.descriptor());
        }
        let new = Ready::new()?;
        Ok(self.ready.get_or_init(|| new).descriptor())
    }

    /// Polls until there is something, for `patience` at most. `poll` loses nothing where it is not asked again.
    pub(crate) fn turn<R>(
        &self,
        patience: Option<Duration>,
        mut poll: impl FnMut(&mut T, &mut Context<'_>) -> Poll<R>,
    ) -> Result<R, msm_result> {
        if let (Ok(turn), Ok(mut own)) = (self.turn.try_lock(), self.own.try_lock()) {
            let first = match self.ready.get() {
                Some(ready) => ready.poll(|cx| poll(&mut own, cx)),
                None => poll(&mut own, &mut Context::from_waker(Waker::noop())),
            };
            drop((own, turn));
            if let Poll::Ready(outcome) = first {
                return Ok(outcome);
            }
        }
        if patience == Some(Duration::ZERO) {
            return Err(msm_result::Again);
        }
        let mut closed = self.closed.subscribe();
        let taken = wait(
            async {
                let taking = async {
                    let _turn = self.turn.lock().await;
                    loop {
                        let mut own = self.own.lock().await;
                        if let Poll::Ready(outcome) = poll_fn(|cx| Poll::Ready(poll(&mut own, cx))).await {
                            return outcome;
                        }
                        drop(own);
                        // Who has looked is woken.
                        let mut looked = false;
                        poll_fn(|_| {
                            if std::mem::replace(&mut looked, true) { Poll::Ready(()) } else { Poll::Pending }
                        })
                        .await;
                    }
                };
                tokio::select! {
                    biased;
                    _ = closed.wait_for(|closed| *closed) => Err(msm_result::Closed),
                    outcome = taking => Ok(outcome),
                }
            },
            patience,
        );
        // It was waited for here instead.
        if let Some(ready) = self.ready.get() {
            ready.raise();
        }
        taken.unwrap_or(Err(msm_result::TimedOut))
    }

    /// What is held, for what else is done with it. Who waits for something does not hold it.
    pub(crate) fn own(&self) -> MutexGuard<'_, T> {
        loop {
            if let Some(own) = wait(self.own.lock(), None) {
                return own;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::Instant;

    use tokio::sync::mpsc;

    use super::*;

    fn held() -> (mpsc::Sender<u32>, Arc<Held<mpsc::Receiver<u32>>>) {
        let (sender, receiver) = mpsc::channel(8);
        (sender, Arc::new(Held::new(receiver)))
    }

    fn take(held: &Held<mpsc::Receiver<u32>>, timeout_ms: i64) -> Result<Option<u32>, msm_result> {
        held.turn(patience(timeout_ms), mpsc::Receiver::poll_recv)
    }

    #[test]
    fn who_does_not_wait_takes_what_is_there() {
        let (sender, held) = held();
        assert_eq!(take(&held, 0), Err(msm_result::Again));
        assert_eq!(take(&held, 1), Err(msm_result::TimedOut));
        sender.try_send(7).unwrap();
        assert_eq!(take(&held, 0), Ok(Some(7)));
        drop(sender);
        assert_eq!((take(&held, 0), take(&held, -1)), (Ok(None), Ok(None)));
    }

    #[test]
    fn threads_take_turns_and_each_has_its_own_patience() {
        let (sender, held) = held();
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let held = Arc::clone(&held);
                thread::spawn(move || take(&held, -1))
            })
            .collect();
        let begin = Instant::now();
        // Whether it has its turn or waits for it.
        assert!(matches!(take(&held, 20), Err(msm_result::TimedOut)));
        assert!(begin.elapsed() >= Duration::from_millis(20));
        for number in 0..4 {
            sender.blocking_send(number).unwrap();
        }
        let mut all: Vec<_> = waiting.into_iter().map(|one| one.join().unwrap().unwrap().unwrap()).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
    }

    #[test]
    fn who_waits_returns_when_the_handle_is_freed() {
        let (_sender, held) = held();
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let held = Arc::clone(&held);
                thread::spawn(move || take(&held, -1))
            })
            .collect();
        thread::sleep(Duration::from_millis(10));
        held.close();
        for one in waiting {
            assert_eq!(one.join().unwrap(), Err(msm_result::Closed));
        }
        assert_eq!(take(&held, -1), Err(msm_result::Closed));
    }
}
