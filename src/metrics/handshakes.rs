//! How long TLS takes to begin, and why it did not.

use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{DialLabels, HandshakeLabels, HopKind};
use crate::net::tls::TlsError;

/// The instruments of TLS handshakes.
pub(crate) struct Handshakes {
    took: Family<HandshakeLabels, Histogram>,
    failed: Family<DialLabels, Counter>,
}

impl Handshakes {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self { took: Family::new_with_constructor(super::latency), failed: Family::default() };
        registry.register_with_unit(
            "handshake",
            "TLS handshakes that succeeded: of listeners (accepted) and with endpoints (dialled)",
            Unit::Seconds,
            own.took.clone(),
        );
        registry.register(
            "dial_failures",
            "TLS handshakes with endpoints that failed, by reason; those of listeners are bad input",
            own.failed.clone(),
        );
        own
    }

    /// A listener's handshake is done.
    pub(crate) fn accepted(&self, hop: HopKind, took: Duration) {
        self.observe(hop, "accepted", took);
    }

    /// Does a handshake with an endpoint.
    ///
    /// # Errors
    /// Those of the handshake. Where it is given up from outside, that is counted as one that took too long: what dials
    /// has a time limit around it.
    pub(crate) async fn dial(
        &self,
        hop: HopKind,
        handshake: impl Future<Output = Result<(), TlsError>>,
    ) -> Result<(), TlsError> {
        let began = Instant::now();
        let mut dial = Dial { own: self, hop, failed: Some("tls_timeout") };
        let outcome = handshake.await;
        dial.failed = outcome.as_ref().err().map(TlsError::name);
        if outcome.is_ok() {
            self.observe(hop, "dialled", began.elapsed());
        }
        outcome
    }

    fn observe(&self, hop: HopKind, direction: &'static str, took: Duration) {
        self.took.get_or_create(&HandshakeLabels { hop: hop.name(), direction }).observe(took.as_secs_f64());
    }
}

/// A handshake under way.
struct Dial<'a> {
    own: &'a Handshakes,
    hop: HopKind,
    failed: Option<&'static str>,
}

impl Drop for Dial<'_> {
    fn drop(&mut self) {
        if let Some(reason) = self.failed {
            self.own.failed.get_or_create(&DialLabels { hop: self.hop.name(), reason }).inc();
        }
    }
}
