//! The paths of an association: opened one by one, and what flows ask of them.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use msm_core::hop::Label;
use msm_core::hop::path::{Ends, Path, PathConfig};
use msm_core::hub::SendOutcome;

use super::path::{HopPath, MAX_PATHS, came_by};
use super::{Association, Way, way};
use crate::error::Error;
use crate::hop::inlet::{Inlet, Target};
use crate::hop::keys::RTCP_OVERHEAD;

/// How soon one of several paths is tried again that went down: media does not move to and fro with it.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Which of the paths that are up packets take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// One: the main path, or the first that is up instead.
    One,
    /// Each, with the same packets.
    All,
    /// Another than that one, in turn where there are more.
    Others,
}

impl Association {
    /// Begins the main path's control flow: `theirs` is the peer's label for it, `remotes` its UDP addresses where signalling
    /// told them. The dialling side's packets leave by `local`, if that is given.
    pub(crate) fn open_control(
        self: &Rc<Self>,
        inlet: Rc<Inlet>,
        theirs: Label,
        remotes: &[SocketAddr],
        local: Option<IpAddr>,
    ) -> Result<(), Error> {
        *self.remotes.borrow_mut() = remotes.to_vec();
        self.open_path(0, self.id, inlet, theirs, local)?;
        tokio::task::spawn_local(way::run(Rc::downgrade(self)));
        Ok(())
    }

    /// The control flow from the peer of a further path, which [`Self::open_path`] then begins.
    ///
    /// # Errors
    /// [`Error::Refused`] for a number that no further path has.
    pub(crate) fn path_inlet(self: &Rc<Self>, number: usize, token: u64) -> Result<Rc<Inlet>, Error> {
        if !(1..MAX_PATHS).contains(&number) {
            let told = number + 1;
            return Err(Error::Refused(format!("path {told}: there are {MAX_PATHS}, the first its own")));
        }
        self.inlet_on(number, token, Target::Control)
    }

    /// Begins a path, or begins it anew: `theirs` is the peer's label for its control flow, in the track that `token` names.
    ///
    /// # Errors
    /// [`Error::Stopped`] at the end of the process.
    pub(crate) fn open_path(
        self: &Rc<Self>,
        number: usize,
        token: u64,
        inlet: Rc<Inlet>,
        theirs: Label,
        local: Option<IpAddr>,
    ) -> Result<(), Error> {
        let outlet = self.outlet(token, theirs, &inlet)?;
        let worker = self.worker.upgrade().ok_or(Error::Stopped)?;
        // A socket on one address sends from it unasked.
        let local = local.filter(|_| self.port.has_any_address());
        let now = Instant::now();
        let machine = self.machine(worker.shared.seed(), now, local);
        let count = worker.shared.metrics.hops.path(number);
        let path = Rc::new(HopPath::new(number, self.side, local, machine, (inlet, outlet), count));
        let before =
            self.paths.borrow_mut().get_mut(number).and_then(|place| place.replace(Rc::clone(&path)));
        // Its flows are left when nothing is borrowed.
        drop(before);
        if self.paths.borrow().iter().flatten().count() > 1 {
            for path in self.paths.borrow().iter().flatten() {
                path.machine.borrow_mut().set_first_retry(FIRST_RETRY);
            }
        }
        self.settle(&path);
        self.drive(&path, now);
        Ok(())
    }

    fn machine(&self, seed: u64, now: Instant, local: Option<IpAddr>) -> Path {
        let ceiling = if self.remote.is_ipv4() { 1472 } else { 1452 };
        let config = PathConfig { overhead: RTCP_OVERHEAD, ceiling, ..PathConfig::default() };
        let mut machine = Path::new(config, seed, now);
        for remote in &*self.remotes.borrow() {
            machine.add_remote(Ends { remote: *remote, local });
        }
        machine.start(now);
        machine
    }

    /// A path, if it is open.
    pub(super) fn path(&self, number: usize) -> Option<Rc<HopPath>> {
        self.paths.borrow().get(number)?.clone()
    }

    /// Sends protected packets of one size, of which the last may be shorter, by the paths that are to be taken and are up: by
    /// what [`Self::transmit`] takes if none is.
    pub(crate) fn transmit_by(&self, take: Take, packets: &[u8], segment: usize) -> SendOutcome {
        let up = self.paths_up.get();
        match (take, self.way.get()) {
            (Take::All, Way::Udp(..)) if up.count_ones() > 1 => {
                let mut outcome = SendOutcome::Failed;
                for path in (0..MAX_PATHS).filter(|path| up >> path & 1 == 1) {
                    if self.transmit_on(path, packets, segment) == SendOutcome::Sent {
                        outcome = SendOutcome::Sent;
                    }
                }
                outcome
            }
            (Take::Others, Way::Udp(main, _)) if up.count_ones() > 1 => {
                let mut turns = (1..=MAX_PATHS).map(|step| (self.turn.get() + step) % MAX_PATHS);
                let next = turns.find(|path| *path != main && up >> path & 1 == 1).unwrap_or(main);
                self.turn.set(next);
                self.transmit_on(next, packets, segment)
            }
            _ => self.transmit(packets, segment),
        }
    }

    fn transmit_on(&self, path: usize, packets: &[u8], segment: usize) -> SendOutcome {
        let to = self.paths.borrow().get(path).and_then(|path| path.as_ref()?.to.get());
        to.map_or(SendOutcome::Failed, |to| self.send_by(path, to, packets, segment))
    }

    /// The largest UDP payload that every path takes that is up, or what takes its place.
    pub(crate) fn least_datagram(&self) -> usize {
        self.least_datagram.get()
    }

    /// The path that something came by, of those that are up: of a flow of path `named`.
    pub(crate) fn path_of(&self, named: usize, from: Option<Ends>) -> usize {
        let Some(from) = from else { return named };
        came_by(&self.paths.borrow(), named, from).map_or(named, |path| path.number)
    }

    /// The path that all goes by that is for no other: the first that is up, else the main one.
    pub(super) fn path_in_use(&self) -> Option<Rc<HopPath>> {
        let number = match self.way.get() {
            Way::Udp(path, _) => path,
            Way::Unknown | Way::Tcp => 0,
        };
        self.path(number)
    }

    /// A path came up, moved, went down, or takes another size of datagram.
    pub(super) fn settle(&self, path: &HopPath) {
        let is_up = path.to.get().is_some();
        let bit = 1 << path.number;
        let up = self.paths_up.get();
        self.paths_up.set(if is_up { up | bit } else { up & !bit });
        path.count.borrow_mut().set_up(is_up);
        let up =
            |path: &Option<Rc<HopPath>>| path.as_ref().and_then(|path| Some((path.number, path.to.get()?)));
        let first = self.paths.borrow().iter().find_map(up);
        let is_blocked = self.path(0).is_some_and(|main| main.is_blocked.get());
        match (first, self.way.get()) {
            (Some((number, to)), _) => self.set_way(Way::Udp(number, to)),
            // It is not known yet whether the main path passes.
            (None, Way::Unknown) if !is_blocked => {}
            (None, _) => self.set_way(Way::Tcp),
        }
        let main = self.path_in_use().map(|path| path.max_datagram());
        let up = |path: &Option<Rc<HopPath>>| path.as_ref().filter(|path| path.to.get().is_some()).cloned();
        let least = self.paths.borrow().iter().filter_map(up).map(|path| path.max_datagram()).min();
        let (most, least) = match self.way.get() {
            Way::Tcp => (Some(way::FRAME), Some(way::FRAME)),
            Way::Udp(..) | Way::Unknown => (main, least.or(main)),
        };
        self.max_datagram.set(most.unwrap_or(self.max_datagram.get()));
        self.least_datagram.set(least.unwrap_or(self.least_datagram.get()));
    }
}
