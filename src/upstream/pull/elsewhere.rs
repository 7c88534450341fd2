//! A source whose server asks its sessions to go elsewhere (REDIRECT): it plays on while another one is made ready.

use std::time::{Duration, Instant};

use msm_rtsp::url::RtspUrl;

use super::Pull;
use super::source::Reason;
use crate::cluster::Held;
use crate::config::OnRedirect;
use crate::upstream::reach::keeps_tls;

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

    /// The endpoint that the server names, if it may choose that. Servers choose among the cluster's endpoints and nothing else, unless the
    /// cluster says otherwise: a server must not have this process ask anybody for anything.
    fn named(&self, to: &RtspUrl) -> Option<Held> {
        let (resolved, settings) = (&self.making.resolved, self.making.settings());
        let (hub, cluster) = (self.making.handle.id, &settings.name);
        // Between members it is the certificate that counts, whatever the URL says.
        let is_safe = |to: &RtspUrl| settings.members.is_some() || keeps_tls(&self.held.url, to);
        if let Some(held) = resolved.endpoint_at(to) {
            return (held.url != self.held.url && is_safe(&held.url)).then_some(held);
        }
        if settings.failover.on_redirect != OnRedirect::Follow {
            tracing::info!(hub, cluster, %to, "is no endpoint of the cluster that can be had now: the next one is asked (`failover.on_redirect`)");
            return None;
        }
        if !is_safe(to) {
            tracing::warn!(hub, cluster, %to, "is not followed, as it leads from TLS to a connection in the clear");
            return None;
        }
        let own = self.held.url.resource();
        let is_host_alone = matches!(to.resource().as_str(), "" | "/");
        Some(Held::direct(if is_host_alone { to.with_resource(&own) } else { to.without_credentials() }))
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
