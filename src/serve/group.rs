//! The multicast reader of a stream: one send a burst, whatever the number of those who listen.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use msm_core::hub::{ReaderId, ReaderSetup, ReaderTrack};
use msm_core::rng::Rng;
use tokio::sync::Mutex;

use super::multicast::GroupLease;
use crate::error::Error;
use crate::hub::dest::Dest;
use crate::hub::handle::{HubHandle, Lease};
use crate::net::multicast;
use crate::shared::Shared;
use crate::worker::Worker;

/// Where a track is sent to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) ttl: u8,
}

/// A stream's multicast reader, on the stream's home worker; it ends with the last session that holds it, wherever
/// that lives.
pub(crate) struct GroupReader {
    pub(crate) groups: Vec<Group>,
    shared: Weak<Shared>,
    id: ReaderId,
    started: AtomicBool,
    lease: Lease,
    _leases: Vec<GroupLease>,
}

/// The group readers of a mesh, by listener and stream.
#[derive(Default)]
pub(crate) struct GroupTable(Mutex<BTreeMap<(usize, u64), Weak<GroupReader>>>);

/// The group reader of a stream: the one there is, or a new one.
///
/// # Errors
/// The pool has no free group, or a socket could not be opened.
pub(crate) async fn join(
    shared: &Arc<Shared>,
    listener: usize,
    handle: &Arc<HubHandle>,
) -> Result<Arc<GroupReader>, Error> {
    let key = (listener, handle.id);
    // Held while one is made, so that sessions which come together share it.
    let mut table = shared.groups.0.lock().await;
    table.retain(|_, group| group.strong_count() > 0);
    if let Some(present) = table.get(&key).and_then(Weak::upgrade) {
        return Ok(present);
    }
    let stream = Arc::clone(handle);
    let home = shared.worker(handle.worker)?;
    let reader = home.run(move |worker| async move { enter(&worker, listener, &stream).await }).await??;
    let reader = Arc::new(reader);
    table.insert(key, Arc::downgrade(&reader));
    Ok(reader)
}

async fn enter(worker: &Rc<Worker>, listener: usize, handle: &Arc<HubHandle>) -> Result<GroupReader, Error> {
    let refused = || Error::Refused("multicast is not served here".into());
    let listener = worker.listener(listener).ok_or_else(refused)?.shared();
    let pool = listener.groups.as_ref().ok_or_else(refused)?;
    let socket = multicast::sender(pool.is_v6(), pool.ttl, &listener.settings.options)
        .map_err(|error| Error::socket("multicast sender", error))?;
    let socket = Rc::new(socket);
    let shard = worker.shard(handle).await?;
    let mut rng = Rng::new(worker.shared.seed());
    let (mut groups, mut leases, mut tracks) = (Vec::new(), Vec::new(), Vec::new());
    for track in 0..handle.tracks().len() {
        let lease = pool.take().ok_or(Error::Capacity {
            what: "multicast groups",
            limit: leases.len(),
            key: "listeners.multicast.group_pool",
        })?;
        let group = Group { address: lease.group, port: lease.port, ttl: pool.ttl };
        tracks.push(ReaderTrack {
            track,
            dest: Dest::Udp {
                rtp: Rc::clone(&socket),
                rtcp: Rc::clone(&socket),
                rtp_to: SocketAddr::new(group.address, group.port),
                rtcp_to: SocketAddr::new(group.address, group.port.saturating_add(1)),
                source: None,
            },
            ssrc: rng.next_u32(),
            payload_types: Vec::new(),
        });
        groups.push(group);
        leases.push(lease);
    }
    // Whoever tunes in hears what is being sent: a group has no late joiners to serve from the start.
    let setup = ReaderSetup { seed: rng.next_u64(), tracks, late_join: false };
    let id = shard.add_reader(Instant::now(), setup, Box::new(|_| {})).map_err(Error::from)?;
    Ok(GroupReader {
        groups,
        shared: Arc::downgrade(&worker.shared),
        id,
        started: AtomicBool::new(false),
        lease: handle.lease(),
        _leases: leases,
    })
}

impl GroupReader {
    /// Starts to send, if nobody has asked for it yet; asks for a keyframe for whoever has just tuned in.
    pub(crate) async fn play(&self) -> Result<(), Error> {
        let shared = self.shared.upgrade().ok_or(Error::Stopped)?;
        let first = !self.started.swap(true, Ordering::AcqRel);
        let (hub, id, tracks) = (self.lease.id, self.id, self.groups.len());
        shared
            .worker(self.lease.worker)?
            .call(move |worker| {
                let shard = worker.shard_of(hub).ok_or(Error::StreamEnded)?;
                let now = Instant::now();
                if first {
                    shard.play(now, id).map_err(Error::from)?;
                } else {
                    (0..tracks).for_each(|track| worker.request_keyframe(&shard.handle, now, track));
                }
                Ok(())
            })
            .await?
    }
}

impl Drop for GroupReader {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let (hub, id) = (self.lease.id, self.id);
        if let Ok(home) = shared.worker(self.lease.worker) {
            let _ = home.post(move |worker| {
                if let Some(shard) = worker.shard_of(hub) {
                    shard.remove(Instant::now(), id, true);
                }
            });
        }
    }
}
