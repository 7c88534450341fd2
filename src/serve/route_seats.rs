//! How many sessions of clients each route has, and how many of them read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use msm_core::route::{Action, RouteLimits};

use crate::routing::Resolved;

#[derive(Clone, Copy, Default)]
struct Taken {
    sessions: u32,
    readers: u32,
}

/// The sessions of all routes, by the routes' names: a limit that comes by a change of the configuration counts those from before it.
#[derive(Default)]
pub(crate) struct RouteSeats(Mutex<BTreeMap<String, Taken>>);

/// One of them, given back on drop.
pub(crate) struct RouteSeat {
    seats: Arc<RouteSeats>,
    route: String,
    action: Action,
}

/// The route has as many as it may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RouteFull {
    pub(crate) route: String,
    /// The key of the limit.
    key: &'static str,
    limit: u32,
}

impl RouteFull {
    /// As the label `decision` says it.
    pub(crate) fn decision(&self) -> &'static str {
        if self.key == "readers" { "limit_readers" } else { "limit" }
    }
}

impl fmt::Display for RouteFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limit `limits.{}` of route `{}` is reached: {}", self.key, self.route, self.limit)
    }
}

impl RouteSeats {
    /// Takes one, for a session that reads or publishes.
    ///
    /// # Errors
    /// The route's limit is reached.
    pub(crate) fn take(
        self: &Arc<Self>,
        resolved: &Resolved,
        action: Action,
    ) -> Result<RouteSeat, RouteFull> {
        self.take_of(&resolved.route, &resolved.limits, action)
    }

    fn take_of(
        self: &Arc<Self>,
        route: &str,
        limits: &RouteLimits,
        action: Action,
    ) -> Result<RouteSeat, RouteFull> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = all.get(route).copied().unwrap_or_default();
        let full = |key, limit| Err(RouteFull { route: route.to_owned(), key, limit });
        if let Some(limit) = limits.sessions.filter(|limit| taken.sessions >= *limit) {
            return full("sessions", limit);
        }
        if action == Action::Read {
            if let Some(limit) = limits.readers.filter(|limit| taken.readers >= *limit) {
                return full("readers", limit);
            }
            taken.readers = taken.readers.saturating_add(1);
        }
        taken.sessions = taken.sessions.saturating_add(1);
        all.insert(route.to_owned(), taken);
        Ok(RouteSeat { seats: Arc::clone(self), route: route.to_owned(), action })
    }
}

impl Drop for RouteSeat {
    fn drop(&mut self) {
        let mut all = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(&self.route) {
            Some(taken) if taken.sessions > 1 => {
                taken.sessions -= 1;
                if self.action == Action::Read {
                    taken.readers = taken.readers.saturating_sub(1);
                }
            }
            _ => {
                all.remove(&self.route);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(sessions: Option<u32>, readers: Option<u32>) -> RouteLimits {
        RouteLimits { sessions, readers }
    }

    #[test]
    fn each_route_has_its_own_and_what_is_given_back_can_be_taken_again() {
        let seats: Arc<RouteSeats> = Arc::default();
        let take = |route: &str, limit| seats.take_of(route, &limits(Some(limit), None), Action::Publish);
        let taken: Vec<_> = (0..2).map(|_| take("a", 2).unwrap_or_else(|full| panic!("{full}"))).collect();
        let full = take("a", 2).err().map(|full| full.to_string()).unwrap_or_default();
        assert_eq!(full, "limit `limits.sessions` of route `a` is reached: 2");
        assert!(take("a", 3).is_ok(), "a limit that was raised counts at once");
        assert!(take("b", 1).is_ok());
        drop(taken);
        assert!(take("a", 1).is_ok() && seats.0.lock().unwrap().is_empty());
    }

    #[test]
    fn readers_are_counted_apart_and_among_all() {
        let seats: Arc<RouteSeats> = Arc::default();
        let take = |action, sessions, readers| seats.take_of("a", &limits(sessions, readers), action);
        let publisher = take(Action::Publish, None, Some(1)).ok();
        let reader = take(Action::Read, None, Some(1)).ok();
        assert!(publisher.is_some() && reader.is_some());
        let full = take(Action::Read, Some(9), Some(1)).err().unwrap();
        assert_eq!((full.decision(), full.to_string().contains("`limits.readers`")), ("limit_readers", true));
        assert!(take(Action::Publish, None, Some(1)).is_ok(), "who publishes is no reader");
        let full = take(Action::Read, Some(2), Some(2)).err().unwrap();
        assert_eq!(full.decision(), "limit", "a reader is a session, too");
        drop(reader);
        assert!(take(Action::Read, Some(2), Some(1)).is_ok());
    }
}
