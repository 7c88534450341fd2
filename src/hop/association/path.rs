//! One path of an association: where the other member is on it, and what is known of it.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use msm_core::hop::path::{Ends, Path};

use super::Side;
use crate::hop::inlet::Inlet;
use crate::hop::outlet::Outlet;
use crate::metrics::PathCount;
use crate::status::{PathStatus, milliseconds};

/// Paths of an association: those that one flow may have.
pub(crate) const MAX_PATHS: usize = 4;

/// The paths of an association, the main one first.
pub(super) type Paths = [Option<Rc<HopPath>>; MAX_PATHS];

/// One path. It has a control flow of its own, and so challenges, probes and round trips of its own.
pub(crate) struct HopPath {
    /// Its place among the association's paths: 0 is the main one.
    pub(super) number: usize,
    side: Side,
    /// The own address that the dialling side's packets are to leave by; `None` leaves it to the system.
    local: Option<IpAddr>,
    pub(super) machine: RefCell<Path>,
    /// Where packets go, while it is up.
    pub(super) to: Cell<Option<Ends>>,
    /// Nothing passes, and that is known.
    pub(super) is_blocked: Cell<bool>,
    pub(super) control: (Rc<Inlet>, Rc<Outlet>),
    pub(super) count: RefCell<PathCount>,
}

impl HopPath {
    pub(super) fn new(
        number: usize,
        side: Side,
        local: Option<IpAddr>,
        machine: Path,
        control: (Rc<Inlet>, Rc<Outlet>),
        count: PathCount,
    ) -> Self {
        Self {
            number,
            side,
            local,
            machine: RefCell::new(machine),
            to: Cell::new(None),
            is_blocked: Cell::new(false),
            control,
            count: RefCell::new(count),
        }
    }

    /// Whether what came from there came by this path: the dialling side knows its paths by its own addresses, the accepting
    /// side by the addresses that answered.
    pub(super) fn has(&self, came: Ends) -> bool {
        match self.side {
            Side::Dialler => self.local.is_some() && self.local == came.local,
            Side::Acceptor => self.to.get() == Some(came),
        }
    }

    /// The ends of this path, for what came from there.
    pub(super) fn ends(&self, came: Ends) -> Ends {
        match self.side {
            Side::Dialler => Ends { local: self.local, ..came },
            Side::Acceptor => came,
        }
    }

    /// What passes for certain.
    pub(super) fn max_datagram(&self) -> usize {
        self.machine.borrow().max_datagram()
    }

    /// The round trip, while it is up.
    pub(super) fn rtt(&self) -> Option<Duration> {
        self.machine.borrow().rtt()
    }

    pub(super) fn status(&self) -> PathStatus {
        let to = self.to.get();
        PathStatus {
            path: self.number + 1,
            from: self.local.or(to.and_then(|to| to.local)).map(|local| local.to_string()),
            to: to.map(|to| to.to_string()),
            up: to.is_some(),
            rtt_ms: self.rtt().map(milliseconds),
            max_datagram: self.max_datagram(),
        }
    }
}

/// The path that something came by. It has the labels of path `named`, but what is sent for a path that is down goes by another:
/// there it is heard, and moves neither.
pub(super) fn came_by(paths: &Paths, named: usize, came: Ends) -> Option<&Rc<HopPath>> {
    let own = paths.get(named)?.as_ref()?;
    if own.has(came) {
        return Some(own);
    }
    Some(paths.iter().flatten().find(|path| path.has(came)).unwrap_or(own))
}
