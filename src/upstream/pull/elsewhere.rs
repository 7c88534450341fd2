//! A source whose server asks its sessions to go elsewhere (REDIRECT): it plays on while another one is made ready.

use std::time::{Duration, Instant};

use msm_rtsp::url::RtspUrl;

use super::Pull;
use super::source::Reason;
use crate::cluster::Held;
use crate::upstream::onward::{self, Onward};

/// How long an endpoint that asked to be left is kept where no other one could be had, before it is left again; it doubles up to the
/// longest. The others may well not have the stream, and none is to be asked without end.
const LEAVE_AGAIN: Duration = Duration::from_secs(4);
const LONGEST_LEAVE_AGAIN: Duration = Duration::from_secs(60);

/// How long a source is kept at least that was just begun: two servers may send us to each other.
const LEAST_STAY: Duration = Duration::from_secs(1);

/// What the server has asked for.
#[derive(Default)]
pub(super) struct Elsewhere {
    /// The endpoint that it named, until that was tried.
    first: Option<Held>,
    again: Duration,
}

impl Pull {
    /// The server sends its sessions elsewhere. It is left as an endpoint that was removed is: by a splice, if there is another one. Until then,
    /// and where there is none, it plays on for as long as it does.
    pub(super) fn go_elsewhere(&mut self, to: Option<&RtspUrl>) {
        let (hub, upstream) = (self.making.handle.id, self.making.handle.source.endpoint());
        if self.held.is_asked_to_leave() {
            // Again: it is on its way, and asked no oftener for being told so.
            tracing::debug!(hub, upstream, "the server sends its sessions elsewhere once more");
            return;
        }
        let first = to.and_then(|to| self.named(to));
        tracing::info!(
            hub,
            upstream,
            to = to.map(tracing::field::display),
            named = first.as_ref().map(|held| tracing::field::display(&held.url)),
            "the server sends its sessions elsewhere"
        );
        self.held.ask_to_leave();
        self.elsewhere = Elsewhere { first, again: Duration::ZERO };
        self.leave_after = Instant::now().max(self.since + LEAST_STAY);
    }

    /// The endpoint that the server names, if it may choose that.
    fn named(&self, to: &RtspUrl) -> Option<Held> {
        let (resolved, settings) = (&self.making.resolved, self.making.settings());
        match onward::rule(resolved, &settings, &self.held.url, to) {
            Ok(Onward::Endpoint(held)) => (held.url != self.held.url).then_some(held),
            Ok(Onward::Stranger(to)) => {
                let is_host_alone = matches!(to.resource().as_str(), "" | "/");
                let own = self.held.url.resource();
                Some(Held::direct(if is_host_alone { to.with_resource(&own) } else { to }))
            }
            Err(refusal) => {
                let (hub, why) = (self.making.handle.id, refusal.why(&settings.name));
                tracing::warn!(hub, to = %to.without_credentials(), why, "is not followed: the next endpoint is asked");
                None
            }
        }
    }

    /// The endpoint that the server named, once.
    pub(super) fn take_named(&mut self) -> Option<Held> {
        self.elsewhere.first.take()
    }

    /// Why the endpoint is left, for the metrics.
    pub(super) fn leaving(&self) -> Reason {
        if self.held.is_asked_to_leave() { Reason::Redirected } else { Reason::Left }
    }

    /// How long until it is left again, where that did not work.
    pub(super) fn leave_again(&mut self, usual: Duration) -> Duration {
        if !self.held.is_asked_to_leave() {
            return usual;
        }
        self.elsewhere.again = longer(self.elsewhere.again);
        self.elsewhere.again
    }
}

/// The pause after one of this length.
fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(LEAVE_AGAIN, LONGEST_LEAVE_AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let mut pause = Duration::ZERO;
        let mut seconds = || {
            pause = longer(pause);
            pause.as_secs()
        };
        assert_eq!([(); 6].map(|()| seconds()), [4, 8, 16, 32, 60, 60]);
    }
}
