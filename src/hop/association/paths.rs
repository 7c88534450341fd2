//! The paths of an association: opened one by one, and what flows ask of them.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use msm_core::hop::Label;
use msm_core::hop::path::{Ends, Path, PathConfig};
use msm_core::hub::SendOutcome;

use super::path::{HopPath, MAX_PATHS};
use super::{Association, Way, way};
use crate::error::Error;
use crate::hop::inlet::{Inlet, Target};
use crate::hop::keys::RTCP_OVERHEAD;

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

    /// A path leaves by this address from now on: its interface has another. The peer finds it there by its own challenge.
    pub(crate) fn set_local(&self, number: usize, local: IpAddr) {
        let (Some(path), Some(worker)) = (self.path(number), self.worker.upgrade()) else { return };
        if path.local() == Some(local) || !self.port.has_any_address() {
            return;
        }
        let now = Instant::now();
        path.restart(Some(local), self.machine(worker.shared.seed(), now, Some(local)));
        self.settle(&path);
        self.drive(&path, now);
    }

    /// A path, if it is open.
    pub(super) fn path(&self, number: usize) -> Option<Rc<HopPath>> {
        self.paths.borrow().get(number)?.clone()
    }

    /// Whether a path is open, up or not.
    pub(crate) fn has_path(&self, number: usize) -> bool {
        self.path(number).is_some()
    }

    /// The paths that are up: bit 0 is the main one. Whoever compares it with what it was learns that one died or returned.
    #[inline]
    pub(crate) fn paths_up(&self) -> u8 {
        self.paths_up.get()
    }

    /// Sends protected packets of one size, of which the last may be shorter, by this path and no other.
    pub(crate) fn transmit_on(&self, path: usize, packets: &[u8], segment: usize) -> SendOutcome {
        match self.udp_on(path) {
            Some(to) => self.send_by(path, to, packets, segment),
            None => SendOutcome::Failed,
        }
    }

    /// Where packets go by this path, while it is up.
    #[inline]
    pub(crate) fn udp_on(&self, path: usize) -> Option<Ends> {
        self.paths.borrow().get(path)?.as_ref()?.to.get()
    }

    /// The largest UDP payload that this path takes for certain.
    pub(crate) fn max_datagram_of(&self, path: usize) -> Option<usize> {
        Some(self.path(path)?.max_datagram())
    }

    /// The round trip of a path, while it is up.
    pub(crate) fn rtt_of(&self, path: usize) -> Option<Duration> {
        self.path(path)?.rtt()
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
        let most = match self.way.get() {
            Way::Tcp => Some(way::FRAME),
            Way::Udp(number, _) => self.max_datagram_of(number),
            Way::Unknown => self.max_datagram_of(0),
        };
        if let Some(most) = most {
            self.max_datagram.set(most);
        }
    }
}
