//! The streams of this process by what they are, and who sends receiver reports from where.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use msm_core::hub::ReaderId;

use super::handle::HubHandle;
use crate::error::Error;

/// What makes two requests ask for the same stream: cluster (or `local`), path and query behind the rewrite.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HubKey {
    pub(crate) backend: String,
    pub(crate) resource: String,
}

/// A stream's place in the table. Whoever opens it holds the lock meanwhile, so that readers who arrive together share
/// one upstream session.
type Slot = Arc<tokio::sync::Mutex<Place>>;

/// Who is at a stream's place.
#[derive(Default)]
struct Place {
    /// The stream that readers get.
    active: Option<Arc<HubHandle>>,
    /// Of the active one's publisher.
    priority: u32,
    /// Streams of other publishers of the same, who are ready to take over.
    standby: Vec<(u32, Arc<HubHandle>)>,
}

impl Place {
    fn active(&self) -> Option<&Arc<HubHandle>> {
        self.active.as_ref().filter(|handle| !handle.is_ended())
    }

    /// What becomes of another publisher of this priority.
    fn admits(&self, priority: u32) -> Result<Entrance, Error> {
        let Some(active) = self.active() else { return Ok(Entrance::Free) };
        let equal = |(other, handle): &(u32, Arc<HubHandle>)| *other == priority && !handle.is_ended();
        if self.standby.iter().any(equal) {
            return Err(Error::AlreadyPublished);
        }
        match priority.cmp(&self.priority) {
            _ if active.is_waiting() => Ok(Entrance::Over(Arc::clone(active))),
            std::cmp::Ordering::Equal => Err(Error::AlreadyPublished),
            std::cmp::Ordering::Less => Ok(Entrance::Standby),
            std::cmp::Ordering::Greater => Ok(Entrance::Over(Arc::clone(active))),
        }
    }

    fn is_empty(&self) -> bool {
        self.active().is_none() && self.standby.iter().all(|(_, handle)| handle.is_ended())
    }
}

/// How a publisher came to a place.
pub(crate) enum Entrance {
    /// Nobody was there.
    Free,
    /// Readers get another one's stream, as long as that lives.
    Standby,
    /// The stream before it is not the one that readers get any more.
    Over(Arc<HubHandle>),
}

/// What is left where a publisher has gone.
pub(crate) enum Left {
    /// Another publisher's stream, which readers get from now on.
    Next(Arc<HubHandle>),
    /// Nobody. The place is kept: [`Registry::forget`] gives it up.
    Nobody,
    /// Readers get another one's stream anyway.
    Another,
}

/// All streams of this process.
#[derive(Default)]
pub(crate) struct Registry {
    slots: Mutex<BTreeMap<HubKey, Slot>>,
    next_id: AtomicU64,
}

impl Registry {
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Holds on to a stream's place, which is made if `create` says so.
    fn visit<'a>(&'a self, key: &'a HubKey, create: bool) -> Visit<'a> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = if create {
            Some(Arc::clone(slots.entry(key.clone()).or_default()))
        } else {
            slots.get(key).map(Arc::clone)
        };
        Visit { registry: self, key, slot }
    }

    /// The stream, opened by `open` if it is not there yet.
    pub(crate) async fn get_or_open<F>(
        &self,
        key: &HubKey,
        open: impl FnOnce() -> F,
    ) -> Result<Arc<HubHandle>, Error>
    where
        F: Future<Output = Result<Arc<HubHandle>, Error>>,
    {
        let visit = self.visit(key, true);
        let Some(slot) = visit.slot.as_ref() else { return open().await };
        let mut place = slot.lock().await;
        if let Some(handle) = place.active() {
            return Ok(Arc::clone(handle));
        }
        place.active = None;
        let handle = open().await?;
        place.active = Some(Arc::clone(&handle));
        Ok(handle)
    }

    /// The stream, if it is there now.
    pub(crate) async fn get(&self, key: &HubKey) -> Option<Arc<HubHandle>> {
        let visit = self.visit(key, false);
        let place = visit.slot.as_ref()?.lock().await;
        place.active().map(Arc::clone)
    }

    /// Whether a publisher of this priority would be let in.
    ///
    /// # Errors
    /// As of [`Self::publish`].
    pub(crate) async fn admits(&self, key: &HubKey, priority: u32) -> Result<(), Error> {
        let visit = self.visit(key, false);
        let Some(slot) = visit.slot.as_ref() else { return Ok(()) };
        slot.lock().await.admits(priority).map(drop)
    }

    /// Enters a stream that is published into this process. One of a higher priority takes the place of a lower one, which
    /// stands by from then on; any takes that of one whose publisher has gone.
    ///
    /// # Errors
    /// [`Error::AlreadyPublished`] while another publisher of the same priority is there.
    pub(crate) async fn publish(
        &self,
        key: &HubKey,
        handle: Arc<HubHandle>,
        priority: u32,
    ) -> Result<Entrance, Error> {
        let visit = self.visit(key, true);
        let Some(slot) = visit.slot.as_ref() else { return Err(Error::Stopped) };
        let mut place = slot.lock().await;
        place.standby.retain(|(_, handle)| !handle.is_ended());
        let entrance = place.admits(priority)?;
        match &entrance {
            Entrance::Standby => place.standby.push((priority, handle)),
            Entrance::Free | Entrance::Over(_) => {
                let before = place.active.replace(handle);
                let before = before.filter(|before| !before.is_ended() && !before.is_waiting());
                if let Some(before) = before {
                    let priority = place.priority;
                    place.standby.push((priority, before));
                }
                place.priority = priority;
            }
        }
        Ok(entrance)
    }

    /// The publisher of the stream `id` has gone: the best of those that stand by takes its place.
    pub(crate) async fn leave(&self, key: &HubKey, id: u64) -> Left {
        let visit = self.visit(key, false);
        let Some(slot) = visit.slot.as_ref() else { return Left::Another };
        let mut place = slot.lock().await;
        place.standby.retain(|(_, handle)| !handle.is_ended() && handle.id != id);
        let Some(active) = place.active().filter(|active| active.id == id) else { return Left::Another };
        active.set_waiting();
        let best = place.standby.iter().enumerate().max_by_key(|(_, (priority, _))| *priority);
        let Some(best) = best.map(|(index, _)| index) else { return Left::Nobody };
        let (priority, next) = place.standby.swap_remove(best);
        place.priority = priority;
        place.active = Some(Arc::clone(&next));
        Left::Next(next)
    }

    /// Another stream takes the place of the stream `id`, if that is still there: whoever asks from now on gets `next`.
    pub(crate) async fn replace(&self, key: &HubKey, id: u64, next: &Arc<HubHandle>) {
        let visit = self.visit(key, false);
        let Some(slot) = visit.slot.as_ref() else { return };
        let mut place = slot.lock().await;
        if place.active.as_ref().is_some_and(|active| active.id == id) {
            place.active = Some(Arc::clone(next));
        }
    }

    /// Takes the stream `id` out of its place, so that the next who asks opens it anew.
    pub(crate) fn forget(&self, key: &HubKey, id: u64) {
        let visit = self.visit(key, false);
        // Locked: somebody is opening it anew.
        if let Some(Ok(mut place)) = visit.slot.as_ref().map(|slot| slot.try_lock()) {
            place.standby.retain(|(_, handle)| handle.id != id);
            if place.active.as_ref().is_some_and(|handle| handle.id == id) {
                place.active = None;
            }
        }
    }

    /// Every stream that is up.
    pub(crate) fn streams(&self) -> Vec<Arc<HubHandle>> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots
            .values()
            .filter_map(|slot| {
                let place = slot.try_lock().ok()?;
                let standby = place.standby.iter().map(|(_, handle)| handle).filter(|own| !own.is_ended());
                Some(place.active().into_iter().chain(standby).map(Arc::clone).collect::<Vec<_>>())
            })
            .flatten()
            .collect()
    }
}

/// A hold on a stream's place. The last to leave a place that has no stream removes it, however it left: nothing stays
/// behind where opening failed or was given up, and nobody waits at a place that is in the table no more.
struct Visit<'a> {
    registry: &'a Registry,
    key: &'a HubKey,
    slot: Option<Slot>,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut slots = self.registry.slots.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.slot.take());
        // Holds are only taken under the table's lock: a count of one is the table's own.
        let is_unused = slots.get(self.key).is_some_and(|slot| {
            Arc::strong_count(slot) == 1 && slot.try_lock().is_ok_and(|place| place.is_empty())
        });
        if is_unused {
            slots.remove(self.key);
        }
    }
}

/// A reader's track, found by where its RTCP comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReaderRef {
    /// The worker of the session, which a report keeps alive.
    pub(crate) owner: usize,
    /// The worker of the fan-out.
    pub(crate) worker: usize,
    pub(crate) hub: u64,
    pub(crate) reader: ReaderId,
    pub(crate) track: usize,
}

/// Senders of receiver reports. The kernel spreads them over the workers by address, so any worker may see any.
#[derive(Default)]
pub(crate) struct ReportSources(Mutex<HashMap<SocketAddr, ReaderRef>>);

impl ReportSources {
    pub(crate) fn insert(&self, from: SocketAddr, reader: ReaderRef) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(from, reader);
    }

    pub(crate) fn get(&self, from: SocketAddr) -> Option<ReaderRef> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&from).copied()
    }

    /// Forgets `from`, unless another reader has taken the address since.
    pub(crate) fn remove(&self, from: SocketAddr, reader: ReaderId, hub: u64) {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.get(&from).is_some_and(|entry| entry.reader == reader && entry.hub == hub) {
            sources.remove(&from);
        }
    }
}
