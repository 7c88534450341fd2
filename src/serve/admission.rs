//! Limits on what peers may open: connections in all, connections and sessions of one address, set-ups a second, and logins
//! that may fail.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::rate::Rate;

/// The time of `setup_rate`.
const SECOND: Duration = Duration::from_secs(1);

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
    /// Logins of one address, or IPv6 network, that may fail within the window.
    pub(crate) auth_failures_per_peer: usize,
    pub(crate) auth_failures_window: Duration,
}

struct Counts {
    limits: AdmissionLimits,
    connections: usize,
    peers: HashMap<IpAddr, Peer>,
    /// Closing sessions does not win new ones: whoever has set some up is remembered for its second.
    set_ups: Rate,
    failures: Rate,
}

/// What one address holds; forgotten when it holds nothing.
#[derive(Default)]
struct Peer {
    connections: usize,
    sessions: usize,
}

/// The process's doorkeeper.
pub(crate) struct Admission {
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

/// Too many logins from where the peer is have failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LockedOut {
    /// How long it has to wait.
    pub(crate) wait: Duration,
    /// Nobody was told of it yet.
    pub(crate) is_news: bool,
}

impl Admission {
    pub(crate) fn new(limits: AdmissionLimits) -> Self {
        let counts = Counts {
            connections: 0,
            peers: HashMap::new(),
            set_ups: Rate::new(limits.setup_rate, SECOND),
            failures: Rate::new(limits.auth_failures_per_peer, limits.auth_failures_window),
            limits,
        };
        Self { counts: Arc::new(Mutex::new(counts)) }
    }

    /// Lets in as much from now on; what is there stays.
    pub(crate) fn set_limits(&self, limits: AdmissionLimits) {
        let mut counts = self.lock();
        counts.set_ups.set_limit(limits.setup_rate, SECOND);
        counts.failures.set_limit(limits.auth_failures_per_peer, limits.auth_failures_window);
        counts.limits = limits;
    }

    /// Connections of all peers together that are let in.
    pub(crate) fn max_connections(&self) -> usize {
        self.lock().limits.connections
    }

    /// Lets a connection in while there are fewer than the limits.
    pub(crate) fn connection(&self, peer: IpAddr) -> Option<ConnectionPass> {
        let mut counts = self.lock();
        let of_peer = counts.peers.get(&peer).map_or(0, |own| own.connections);
        let limits = &counts.limits;
        if counts.connections >= limits.connections || of_peer >= limits.connections_per_peer {
            return None;
        }
        counts.connections += 1;
        counts.peers.entry(peer).or_default().connections += 1;
        Some(ConnectionPass(Arc::clone(&self.counts), peer))
    }

    /// Lets a session of `peer` in.
    pub(crate) fn session(&self, peer: IpAddr, now: Instant) -> Result<SessionPass, Refused> {
        let mut counts = self.lock();
        let of_peer = counts.peers.get(&peer).map_or(0, |own| own.sessions);
        if of_peer >= counts.limits.sessions_per_peer {
            return Err(Refused::SessionsPerPeer);
        }
        if counts.set_ups.wait(peer, now).is_some() {
            return Err(Refused::SetupRate);
        }
        counts.set_ups.add(peer, now);
        counts.peers.entry(peer).or_default().sessions += 1;
        Ok(SessionPass(Arc::clone(&self.counts), peer))
    }

    /// Whether a login from this address is looked at.
    ///
    /// Failures of an address are nobody's in particular, so nothing but time takes them back: were a success to, whoever has
    /// one account could guess another's for ever.
    pub(crate) fn login(&self, peer: IpAddr, now: Instant) -> Result<(), LockedOut> {
        let (mut counts, place) = (self.lock(), network(peer));
        match counts.failures.wait(place, now) {
            None => Ok(()),
            Some(wait) => Err(LockedOut { wait, is_news: counts.failures.tell(place) }),
        }
    }

    /// A login from this address has failed.
    pub(crate) fn login_failed(&self, peer: IpAddr, now: Instant) {
        self.lock().failures.add(network(peer), now);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one customer has: an address, of IPv6 a /64 (`RFC 6177`, `RFC 7421`), within which everybody has addresses without end.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

impl Counts {
    fn release(&mut self, peer: IpAddr, change: impl FnOnce(&mut Peer)) {
        if let Some(own) = self.peers.get_mut(&peer) {
            change(own);
            if own.connections == 0 && own.sessions == 0 {
                self.peers.remove(&peer);
            }
        }
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
            auth_failures_per_peer: 3,
            auth_failures_window: Duration::from_secs(60),
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

    #[test]
    fn failed_logins_lock_their_own_network_out_until_the_window_is_over() {
        let admission = admission();
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let home = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
        for host in 0..3 {
            assert_eq!(admission.login(home(host), later(10)), Ok(()));
            admission.login_failed(home(host), later(10));
        }
        let locked = |wait, is_news| Err(LockedOut { wait: Duration::from_secs(wait), is_news });
        assert_eq!(admission.login(home(77), later(20)), locked(50, true), "any host of the /64");
        assert_eq!(admission.login(home(0), later(69)), locked(1, false), "told once, and not put off");
        let next = IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1]);
        assert_eq!(admission.login(next, later(20)), Ok(()));
        assert_eq!(admission.login(home(0), later(70)), Ok(()));
        // Of IPv4, an address is one of its own.
        let [one, two] = [1, 2].map(|host| IpAddr::from([192, 0, 2, host]));
        for _ in 0..3 {
            admission.login_failed(one, now);
        }
        assert!(admission.login(one, now).is_err() && admission.login(two, now).is_ok());
    }
}
