//! What a member tells of a session by itself.

use std::cell::{Cell, RefCell};

use msm_rtsp::message::{Method, Request};
use tokio::sync::Notify;

/// Of one session. Both can be told before anybody looks, and neither is forgotten for the other.
#[derive(Default)]
pub(crate) struct Told {
    ended: Cell<bool>,
    /// Where to go instead, if that was said; until somebody has looked.
    elsewhere: RefCell<Option<Option<String>>>,
    wake: Notify,
}

/// One of the things that can be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// The session has ended.
    Ended,
    /// The member asks to go elsewhere with it (`RFC 2326 §10.10`); it goes on until then.
    Elsewhere(Option<String>),
}

impl Told {
    /// The member tells something.
    pub(super) fn handle(&self, request: &Request) {
        match request.method {
            Method::Teardown => self.end(),
            Method::Redirect => {
                *self.elsewhere.borrow_mut() = Some(request.headers.get("Location").map(str::to_owned));
                self.wake.notify_one();
            }
            _ => {}
        }
    }

    /// The session is over, whoever says so.
    pub(super) fn end(&self) {
        self.ended.set(true);
        self.wake.notify_one();
    }

    /// Completes when something is told. Cancel safe.
    pub(super) async fn next(&self) -> Word {
        loop {
            if self.ended.get() {
                return Word::Ended;
            }
            if let Some(to) = self.elsewhere.borrow_mut().take() {
                return Word::Elsewhere(to);
            }
            self.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_told_at_once_is_heard_in_turn() {
        let told = Told::default();
        told.handle(&Request::new(Method::Options, "*"));
        told.handle(&Request::new(Method::Redirect, "rtsp://a/").with("Location", "rtsp://b/"));
        assert_eq!(told.next().await, Word::Elsewhere(Some("rtsp://b/".into())));
        // Once; and it goes on until it ends.
        told.handle(&Request::new(Method::Redirect, "rtsp://a/"));
        assert_eq!(told.next().await, Word::Elsewhere(None));
        told.handle(&Request::new(Method::Redirect, "rtsp://a/"));
        told.handle(&Request::new(Method::Teardown, "*"));
        assert_eq!(told.next().await, Word::Ended);
        assert_eq!(told.next().await, Word::Ended);
    }
}
