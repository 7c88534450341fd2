//! The multicast reader of a stream: one send a burst, whatever the number of those who listen.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
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

/// A stream's multicast reader, on the worker that was home to the stream when it began; it ends with the last session that holds it, wherever
/// that lives.
pub(crate) struct GroupReader {
    pub(crate) groups: Vec<Group>,
    shared: Weak<Shared>,
    listener: usize,
    worker: usize,
    started: AtomicBool,
    reads: std::sync::Mutex<Reads>,
    /// Held while it goes over to another stream.
    crossing: Mutex<()>,
    _leases: Vec<GroupLease>,
}

/// What it reads, and as which of the readers there.
struct Reads {
    lease: Lease,
    id: ReaderId,
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
    let listening = worker.listener(listener).ok_or_else(refused)?.shared();
    let pool = listening.groups.as_ref().ok_or_else(refused)?;
    let socket = multicast::sender(pool.is_v6(), pool.ttl, &listening.settings.options)
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
        listener,
        worker: worker.id,
        started: AtomicBool::new(false),
        reads: std::sync::Mutex::new(Reads { lease: handle.lease(), id }),
        crossing: Mutex::default(),
        _leases: leases,
    })
}

impl GroupReader {
    /// Starts to send, if nobody has asked for it yet; asks for a keyframe for whoever has just tuned in.
    pub(crate) async fn play(self: &Arc<Self>) -> Result<(), Error> {
        let shared = self.shared.upgrade().ok_or(Error::Stopped)?;
        let (own, tracks) = (Arc::clone(self), self.groups.len());
        shared
            .worker(self.worker)?
            .call(move |worker| {
                // On the worker that it goes over on: it is either before or behind that.
                let (hub, id) = own.place();
                let first = !own.started.swap(true, Ordering::AcqRel);
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

    fn reads(&self) -> MutexGuard<'_, Reads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream that it reads, and its number there.
    fn place(&self) -> (u64, ReaderId) {
        let reads = self.reads();
        (reads.lease.id, reads.id)
    }

    /// Whether it reads this stream.
    pub(crate) fn is_of(&self, handle: &HubHandle) -> bool {
        self.place().0 == handle.id
    }

    /// Goes over to `next`, from its next keyframe on (`at_once`: from the one that is kept), with all who listen: to the same addresses,
    /// with the same SSRC, in one line of numbers. The first session of the group that goes over has it do so, the others wait for that.
    ///
    /// # Errors
    /// The other stream cannot be had. The group stays where it is.
    pub(crate) async fn move_to(self: &Arc<Self>, next: &Arc<HubHandle>, at_once: bool) -> Result<(), Error> {
        let _turn = self.crossing.lock().await;
        if self.is_of(next) {
            return Ok(());
        }
        let shared = self.shared.upgrade().ok_or(Error::Stopped)?;
        let (key, entry) = ((self.listener, next.id), Arc::downgrade(self));
        // Who comes from now on joins it, unless somebody has begun another one meanwhile.
        let mut table = shared.groups.0.lock().await;
        let place = table.entry(key).or_default();
        if place.strong_count() == 0 {
            place.clone_from(&entry);
        }
        drop(table);
        let (own, stream) = (Arc::clone(self), Arc::clone(next));
        let crossing = shared.worker(self.worker)?.run(move |worker| async move {
            let shard = worker.shard(&stream).await?;
            if own.started.load(Ordering::Acquire) {
                shard.await_keyframe(at_once).await;
            }
            // From here on in one turn: nothing comes in between.
            let (hub, id) = own.place();
            let before = worker.shard_of(hub).ok_or(Error::StreamEnded)?;
            let plays = own.started.load(Ordering::Acquire);
            let there = shard.take_over(Instant::now(), &before, id, plays).map_err(Error::from)?;
            let left = std::mem::replace(&mut *own.reads(), Reads { lease: stream.lease(), id: there });
            drop(left);
            Ok::<(), Error>(())
        });
        let outcome = crossing.await.flatten();
        if outcome.is_err() {
            let mut table = shared.groups.0.lock().await;
            if table.get(&key).is_some_and(|place| place.ptr_eq(&entry)) {
                table.remove(&key);
            }
        }
        outcome
    }
}

impl Drop for GroupReader {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let (hub, id) = self.place();
        if let Ok(home) = shared.worker(self.worker) {
            let _ = home.post(move |worker| {
                if let Some(shard) = worker.shard_of(hub) {
                    shard.remove(Instant::now(), id, true);
                }
            });
        }
    }
}
