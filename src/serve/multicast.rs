//! Multicast groups that streams are sent to for all their multicast readers.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use super::listener::MulticastSettings;

/// The groups of a listener. Each track of a stream takes one; they differ in their low 23 bits where the pool is
/// contiguous, so that no two share an Ethernet address.
pub(crate) struct GroupPool {
    first: u128,
    groups: u128,
    v6: bool,
    first_port: u16,
    port_pairs: u16,
    pub(crate) ttl: u8,
    taken: Arc<Mutex<BTreeSet<u128>>>,
    /// Those of the process before this one.
    held: Mutex<Vec<u128>>,
}

/// A group in use, given back on drop.
pub(crate) struct GroupLease {
    pub(crate) group: IpAddr,
    /// RTP; RTCP is one above. Players receive every group that they joined on a port: each track has its own.
    pub(crate) port: u16,
    number: u128,
    taken: Arc<Mutex<BTreeSet<u128>>>,
}

impl GroupPool {
    pub(crate) fn new(settings: &MulticastSettings) -> Self {
        let (first, last, v6) = match (settings.first, settings.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                (u128::from(first.to_bits()), u128::from(last.to_bits()), false)
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => (first.to_bits(), last.to_bits(), true),
            _ => (1, 0, false),
        };
        Self {
            first,
            groups: last.checked_sub(first).map_or(0, |span| span.saturating_add(1)),
            v6,
            first_port: settings.first_port,
            port_pairs: (settings.last_port.saturating_sub(settings.first_port) / 2).saturating_add(1),
            ttl: settings.ttl,
            taken: Arc::default(),
            held: Mutex::default(),
        }
    }

    /// Groups in use.
    pub(crate) fn taken(&self) -> Vec<IpAddr> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.iter().filter_map(|number| self.group(*number)).collect()
    }

    /// Has nobody take these: another process sends to them.
    pub(crate) fn hold(&self, groups: &[IpAddr]) {
        let numbers = groups.iter().map(|group| match group {
            IpAddr::V4(group) => u128::from(group.to_bits()),
            IpAddr::V6(group) => group.to_bits(),
        });
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend(numbers.filter(|number| taken.insert(*number)));
    }

    /// That process has ended.
    pub(crate) fn release(&self) {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for number in held {
            taken.remove(&number);
        }
    }

    fn group(&self, number: u128) -> Option<IpAddr> {
        if self.v6 {
            return Some(IpAddr::V6(Ipv6Addr::from_bits(number)));
        }
        Some(IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).ok()?)))
    }

    pub(crate) fn is_v6(&self) -> bool {
        self.v6
    }

    /// A free group, or `None` when all are in use.
    pub(crate) fn take(&self) -> Option<GroupLease> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // At most one more step than there are groups in use.
        let limit = self.groups.min(taken.len() as u128 + 1);
        let number =
            (0..limit).map(|step| self.first.wrapping_add(step)).find(|number| !taken.contains(number))?;
        taken.insert(number);
        let group = self.group(number)?;
        let place = u16::try_from(number.wrapping_sub(self.first) % u128::from(self.port_pairs)).ok()?;
        let port = self.first_port.saturating_add(place.saturating_mul(2));
        Some(GroupLease { group, port, number, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for GroupLease {
    fn drop(&mut self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_distinct_and_come_back() {
        let pool = GroupPool::new(&MulticastSettings {
            first: "239.1.1.1".parse().unwrap(),
            last: "239.1.1.2".parse().unwrap(),
            first_port: 5000,
            last_port: 5003,
            ttl: 1,
        });
        let first = pool.take().unwrap();
        let second = pool.take().unwrap();
        assert_ne!(first.group, second.group);
        assert_eq!((first.port, second.port), (5000, 5002));
        assert!(pool.take().is_none());
        drop(first);
        assert_eq!(pool.take().unwrap().group.to_string(), "239.1.1.1");
        assert_eq!(pool.taken(), [second.group]);
        // Another process's are left alone until it has ended.
        let other = GroupPool { taken: Arc::default(), held: Mutex::default(), ..pool };
        other.hold(&[second.group, "239.1.1.1".parse().unwrap()]);
        assert!(other.take().is_none());
        other.release();
        assert!(other.taken().is_empty() && other.take().is_some());
    }
}
