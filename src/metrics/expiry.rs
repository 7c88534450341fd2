//! What will be valid no longer, and when: looked up when somebody asks.

use msm_auth::identity::UnixTime;
use msm_auth::identity::source::IdentitySource;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::labels::ListenerLabels;
use crate::serve::listener::ListenerShared;

/// The instruments of identities and certificates.
pub(crate) struct Expiry {
    identity: Gauge,
    problem: Gauge,
    peers: Gauge,
    certificates: Family<ListenerLabels, Gauge>,
}

impl Expiry {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self {
            identity: Gauge::default(),
            problem: Gauge::default(),
            peers: Gauge::default(),
            certificates: Family::default(),
        };
        registry.register_with_unit(
            "identity_expires",
            "Unix time at which the own SVID expires, 0 without one",
            Unit::Seconds,
            own.identity.clone(),
        );
        registry.register(
            "identity_problem",
            "1 while something keeps the own identity from being renewed; the status says what",
            own.problem.clone(),
        );
        registry.register_with_unit(
            "hop_peer_expires",
            "Unix time at which the first SVID expires of those that members showed on associations that are up, 0 \
             without any",
            Unit::Seconds,
            own.peers.clone(),
        );
        registry.register_with_unit(
            "certificate_expires",
            "Unix time at which the first certificate expires of the chain that an rtsps listener shows",
            Unit::Seconds,
            own.certificates.clone(),
        );
        own
    }

    /// Takes in how things are now. `peers` is the first expiry of the members' SVIDs.
    pub(crate) fn look<'a>(
        &self,
        source: Option<&dyn IdentitySource>,
        listeners: impl Iterator<Item = &'a ListenerShared>,
        peers: Option<UnixTime>,
    ) {
        self.identity.set(seconds(source.and_then(|own| own.snapshot()).map(|own| own.svid.not_after())));
        self.problem.set(i64::from(source.is_some_and(|own| own.problem().is_some())));
        self.peers.set(seconds(peers));
        for listener in listeners {
            if let Some(tls) = &listener.settings.tls {
                // The name is of the configuration, so their number is bounded.
                let labels = ListenerLabels { listener: listener.settings.name.clone() };
                self.certificates.get_or_create(&labels).set(seconds(tls.get().expires));
            }
        }
    }
}

fn seconds(time: Option<UnixTime>) -> i64 {
    time.and_then(|time| i64::try_from(time.as_secs()).ok()).unwrap_or(0)
}
