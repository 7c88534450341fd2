//! Limits on what peers may open: connections in all, connections and sessions of one address, set-ups a second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses that are remembered before those that hold nothing are forgotten.
const PRUNE_ABOVE: usize = 1024;

/// How much is let in.
#[derive(Clone, Debug)]
pub(crate) struct AdmissionLimits {
    /// TCP connections of all peers together.
    pub(crate) connections: usize,
    /// TCP connections of one address.
    pub(crate) connections_per_peer: usize,
    /// Sessions of one address.
    pub(crate) sessions_per_peer: usize,
    /// New sessions a second of one address.
    pub(crate) setup_rate: usize,
}

#[derive(Default)]
struct Counts {
    connections: usize,
    peers: HashMap<IpAddr, Peer>,
}

/// What one address holds; forgotten when it holds nothing.
#[derive(Default)]
struct Peer {
    connections: usize,
    sessions: usize,
    window: Option<Instant>,
    set_up: usize,
}

/// The process's doorkeeper.
pub(crate) struct Admission {
    pub(crate) limits: AdmissionLimits,
    counts: Arc<Mutex<Counts>>,
}

/// A connection that was let in.
pub(crate) struct ConnectionPass(Arc<Mutex<Counts>>, IpAddr);

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

    /// Lets a connection in while there are fewer than the limits.
    pub(crate) fn connection(&self, peer: IpAddr) -> Option<ConnectionPass> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = counts.peers.get(&peer).map_or(0, |own| own.connections);
        if counts.connections >= self.limits.connections || of_peer >= self.limits.connections_per_peer {
            return None;
        }
        counts.connections += 1;
        counts.peers.entry(peer).or_default().connections += 1;
        Some(ConnectionPass(Arc::clone(&self.counts), peer))
    }

    /// Lets a session of `peer` in.
    pub(crate) fn session(&self, peer: IpAddr, now: Instant) -> Result<SessionPass, Refused> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.prune(now);
        let own = counts.peers.entry(peer).or_default();
        if own.sessions >= self.limits.sessions_per_peer {
            return Err(Refused::SessionsPerPeer);
        }
        if own.window.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1)) {
            own.window = Some(now);
            own.set_up = 0;
        }
        if own.set_up >= self.limits.setup_rate {
            return Err(Refused::SetupRate);
        }
        own.set_up += 1;
        own.sessions += 1;
        Ok(SessionPass(Arc::clone(&self.counts), peer))
    }
}

impl Counts {
    fn release(&mut self, peer: IpAddr, change: impl FnOnce(&mut Peer)) {
        if let Some(own) = self.peers.get_mut(&peer) {
            change(own);
            // Who has set sessions up is remembered for its second: closing them does not win new ones.
            if own.connections == 0 && own.sessions == 0 && own.window.is_none() {
                self.peers.remove(&peer);
            }
        }
    }

    /// Forgets who holds nothing and has been quiet for its second, once there are many.
    fn prune(&mut self, now: Instant) {
        if self.peers.len() < PRUNE_ABOVE {
            return;
        }
        let recent = |at: Instant| now.saturating_duration_since(at) < Duration::from_secs(1);
        self.peers.retain(|_, own| own.connections > 0 || own.sessions > 0 || own.window.is_some_and(recent));
    }
}

impl Drop for ConnectionPass {
    fn drop(&mut self) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.connections = counts.connections.saturating_sub(1);
        counts.release(self.1, |own| own.connections = own.connections.saturating_sub(1));
    }
}

impl Drop for SessionPass {
    fn drop(&mut self) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.release(self.1, |own| own.sessions = own.sessions.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission::new(AdmissionLimits {
            connections: 3,
            connections_per_peer: 2,
            sessions_per_peer: 2,
            setup_rate: 2,
        })
    }

    #[test]
    fn places_are_given_back() {
        let admission = admission();
        let peer = IpAddr::from([192, 0, 2, 1]);
        let first = admission.connection(peer);
        let second = admission.connection(peer);
        assert!(first.is_some() && second.is_some() && admission.connection(peer).is_none());
        let other = admission.connection(IpAddr::from([192, 0, 2, 2]));
        assert!(other.is_some() && admission.connection(IpAddr::from([192, 0, 2, 3])).is_none());
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
        drop(admission.session(two, now).unwrap());
        let _held = admission.session(two, now).unwrap();
        assert_eq!(admission.session(two, now).err(), Some(Refused::SetupRate));
        assert!(admission.session(two, now + Duration::from_secs(1)).is_ok());
    }
}
