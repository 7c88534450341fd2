//! The multicast reader of a stream: one send a burst, whatever the number of those who listen.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use msm_core::hub::{ReaderId, ReaderSetup, ReaderTrack, RtpInfo};

use super::listener::ListenerShared;
use super::multicast::GroupLease;
use crate::error::Error;
use crate::hub::dest::Dest;
use crate::hub::handle::{HubHandle, Lease};
use crate::net::multicast;
use crate::worker::Worker;

/// Where a track is sent to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) ttl: u8,
    pub(crate) ssrc: u32,
}

/// A stream's multicast reader on this worker; it ends with the last session that holds it.
pub(crate) struct GroupReader {
    pub(crate) groups: Vec<Group>,
    worker: Weak<Worker>,
    hub: u64,
    id: ReaderId,
    started: RefCell<Option<Vec<(usize, Option<RtpInfo>)>>>,
    _leases: Vec<GroupLease>,
    _lease: Lease,
}

/// The group readers of a worker, by listener and stream.
pub(crate) type GroupTable = RefCell<BTreeMap<(usize, u64), Weak<GroupReader>>>;

/// The group reader of a stream: the one there is, or a new one.
///
/// # Errors
/// The pool has no free group, or a socket could not be opened.
pub(crate) async fn join(
    worker: &Rc<Worker>,
    listener: (usize, &Arc<ListenerShared>),
    handle: &Arc<HubHandle>,
    seed: u64,
) -> Result<Rc<GroupReader>, Error> {
    let key = (listener.0, handle.id);
    let present = worker.groups.borrow().get(&key).and_then(Weak::upgrade);
    if let Some(present) = present {
        return Ok(present);
    }
    let pool =
        listener.1.groups.as_ref().ok_or_else(|| Error::Refused("multicast is not served here".into()))?;
    let options = &listener.1.settings.options;
    let socket = multicast::sender(pool.is_v6(), pool.ttl, options)
        .map_err(|error| Error::socket("multicast sender", error))?;
    let socket = Rc::new(socket);
    let shard = worker.shard(handle).await?;
    let mut rng = msm_core::rng::Rng::new(seed);
    let (mut groups, mut leases, mut tracks) = (Vec::new(), Vec::new(), Vec::new());
    for track in 0..handle.tracks().len() {
        let lease = pool.take().ok_or(Error::Capacity {
            what: "multicast groups",
            limit: leases.len(),
            key: "listeners.multicast.groups",
        })?;
        let group = Group { address: lease.group, port: pool.port, ttl: pool.ttl, ssrc: rng.next_u32() };
        tracks.push(ReaderTrack {
            track,
            dest: Dest::Udp {
                rtp: Rc::clone(&socket),
                rtcp: Rc::clone(&socket),
                rtp_to: SocketAddr::new(group.address, group.port),
                rtcp_to: SocketAddr::new(group.address, group.port.saturating_add(1)),
                source: None,
            },
            ssrc: group.ssrc,
            payload_types: Vec::new(),
        });
        groups.push(group);
        leases.push(lease);
    }
    // Whoever tunes in hears what is being sent: a group has no late joiners to serve from the start.
    let setup = ReaderSetup { seed: rng.next_u64(), tracks, late_join: false };
    let id = shard
        .add_reader(Instant::now(), setup, Box::new(|_| {}))
        .map_err(|error| Error::Refused(error.to_string()))?;
    let reader = Rc::new(GroupReader {
        groups,
        worker: Rc::downgrade(worker),
        hub: handle.id,
        id,
        started: RefCell::new(None),
        _leases: leases,
        _lease: handle.lease(),
    });
    worker.groups.borrow_mut().insert(key, Rc::downgrade(&reader));
    Ok(reader)
}

impl GroupReader {
    /// Starts to send, if nobody has asked for it yet, and a keyframe for whoever has just tuned in.
    pub(crate) fn play(&self) -> Result<(), Error> {
        let worker = self.worker.upgrade().ok_or(Error::Stopped)?;
        let shard = worker.shard_of(self.hub).ok_or(Error::StreamEnded)?;
        let now = Instant::now();
        if self.started.borrow().is_none() {
            let info = shard.play(now, self.id).map_err(|error| Error::Refused(error.to_string()))?;
            *self.started.borrow_mut() = Some(info);
        } else {
            for track in 0..self.groups.len() {
                worker.request_keyframe(&shard.handle, now, track);
            }
        }
        Ok(())
    }
}

impl Drop for GroupReader {
    fn drop(&mut self) {
        let Some(worker) = self.worker.upgrade() else { return };
        worker.groups.borrow_mut().retain(|_, group| group.strong_count() > 0);
        if let Some(shard) = worker.shard_of(self.hub) {
            shard.remove(Instant::now(), self.id, true);
        }
    }
}
