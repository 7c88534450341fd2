//! How many sessions of clients each route has.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::routing::Resolved;

/// The sessions of all routes, by the routes' names: a limit that comes by a change of the configuration counts those from before it.
#[derive(Default)]
pub(crate) struct RouteSeats(Mutex<BTreeMap<String, u32>>);

/// One of them, given back on drop.
pub(crate) struct RouteSeat {
    seats: Arc<RouteSeats>,
    route: String,
}

/// The route has as many as it may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RouteFull {
    pub(crate) route: String,
    limit: u32,
}

impl fmt::Display for RouteFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limit `limits.sessions` of route `{}` is reached: {}", self.route, self.limit)
    }
}

impl RouteSeats {
    /// Takes one.
    ///
    /// # Errors
    /// The route's limit is reached.
    pub(crate) fn take(self: &Arc<Self>, resolved: &Resolved) -> Result<RouteSeat, RouteFull> {
        self.take_of(&resolved.route, resolved.sessions.unwrap_or(u32::MAX))
    }

    fn take_of(self: &Arc<Self>, route: &str, limit: u32) -> Result<RouteSeat, RouteFull> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(route).copied().unwrap_or_default();
        if count >= limit {
            return Err(RouteFull { route: route.to_owned(), limit });
        }
        taken.insert(route.to_owned(), count.saturating_add(1));
        Ok(RouteSeat { seats: Arc::clone(self), route: route.to_owned() })
    }
}

impl Drop for RouteSeat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.route) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.remove(&self.route);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_has_its_own_and_what_is_given_back_can_be_taken_again() {
        let seats: Arc<RouteSeats> = Arc::default();
        let taken: Vec<_> =
            (0..2).map(|_| seats.take_of("a", 2).unwrap_or_else(|full| panic!("{full}"))).collect();
        let full = seats.take_of("a", 2).err().map(|full| full.to_string()).unwrap_or_default();
        assert_eq!(full, "limit `limits.sessions` of route `a` is reached: 2");
        assert!(seats.take_of("a", 3).is_ok(), "a limit that was raised counts at once");
        assert!(seats.take_of("b", 1).is_ok());
        drop(taken);
        assert!(seats.take_of("a", 1).is_ok() && seats.0.lock().unwrap().is_empty());
    }
}
