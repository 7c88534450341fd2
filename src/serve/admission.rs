//! Limits on what peers may open: connections in all, connections and sessions of one address, set-ups a second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much is let in.
#[derive(Clone, Debug)]
pub(crate) struct AdmissionLimits {
    /// TCP connections of all peers together.
    pub(crate) connections: usize,
    /// Sessions of one address.
    pub(crate) sessions_per_peer: usize,
    /// New sessions a second, all peers together.
    pub(crate) setup_rate: usize,
}

#[derive(Default)]
struct Counts {
    connections: usize,
    sessions: HashMap<IpAddr, usize>,
    window: Option<Instant>,
    set_up: usize,
}

/// The process's doorkeeper.
pub(crate) struct Admission {
    pub(crate) limits: AdmissionLimits,
    counts: Arc<Mutex<Counts>>,
}

/// A connection that was let in.
pub(crate) struct ConnectionPass(Arc<Mutex<Counts>>);

/// A session that was let in.
pub(crate) struct SessionPass(Arc<Mutex<Counts>>, IpAddr);

/// Why a session was refused, as the name of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    SessionsPerPeer,
    SetupRate,
}

impl Admission {
    pub(crate) fn new(limits: AdmissionLimits) -> Self {
        Self { limits, counts: Arc::default() }
    }

    /// Lets a connection in while there are fewer than the limit.
    pub(crate) fn connection(&self, _peer: IpAddr) -> Option<ConnectionPass> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.connections >= self.limits.connections {
            return None;
        }
        counts.connections += 1;
        Some(ConnectionPass(Arc::clone(&self.counts)))
    }

    /// Lets a session of `peer` in.
    pub(crate) fn session(&self, peer: IpAddr, now: Instant) -> Result<SessionPass, Refused> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.sessions.get(&peer).is_some_and(|open| *open >= self.limits.sessions_per_peer) {
            return Err(Refused::SessionsPerPeer);
        }
        if counts.window.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1)) {
            counts.window = Some(now);
            counts.set_up = 0;
        }
        if counts.set_up >= self.limits.setup_rate {
            return Err(Refused::SetupRate);
        }
        counts.set_up += 1;
        *counts.sessions.entry(peer).or_default() += 1;
        Ok(SessionPass(Arc::clone(&self.counts), peer))
    }
}

impl Drop for ConnectionPass {
    fn drop(&mut self) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.connections = counts.connections.saturating_sub(1);
    }
}

impl Drop for SessionPass {
    fn drop(&mut self) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = counts.sessions.get_mut(&self.1) {
            *open -= 1;
            if *open == 0 {
                counts.sessions.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission::new(AdmissionLimits { connections: 2, sessions_per_peer: 2, setup_rate: 3 })
    }

    #[test]
    fn places_are_given_back() {
        let admission = admission();
        let peer = IpAddr::from([192, 0, 2, 1]);
        let first = admission.connection(peer);
        let second = admission.connection(peer);
        assert!(first.is_some() && second.is_some() && admission.connection(peer).is_none());
        drop(first);
        assert!(admission.connection(peer).is_some());
    }

    #[test]
    fn one_peer_cannot_take_all_sessions_nor_all_of_a_second() {
        let admission = admission();
        let now = Instant::now();
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let _first = admission.session(one, now).unwrap();
        let _second = admission.session(one, now).unwrap();
        assert_eq!(admission.session(one, now).err(), Some(Refused::SessionsPerPeer));
        let _third = admission.session(two, now).unwrap();
        assert_eq!(admission.session(two, now).err(), Some(Refused::SetupRate));
        assert!(admission.session(two, now + Duration::from_secs(1)).is_ok());
    }
}
