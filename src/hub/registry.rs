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
type Slot = Arc<tokio::sync::Mutex<Option<Arc<HubHandle>>>>;

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
        if let Some(handle) = place.as_ref().filter(|handle| !handle.is_ended()) {
            return Ok(Arc::clone(handle));
        }
        *place = None;
        let handle = open().await?;
        *place = Some(Arc::clone(&handle));
        Ok(handle)
    }

    /// The stream, if it is there now.
    pub(crate) async fn get(&self, key: &HubKey) -> Option<Arc<HubHandle>> {
        let visit = self.visit(key, false);
        let place = visit.slot.as_ref()?.lock().await;
        place.as_ref().filter(|handle| !handle.is_ended()).map(Arc::clone)
    }

    /// Enters a stream that is published into this process.
    ///
    /// # Errors
    /// [`Error::AlreadyPublished`] while another publisher holds the place.
    pub(crate) async fn publish(&self, key: &HubKey, handle: Arc<HubHandle>) -> Result<(), Error> {
        let visit = self.visit(key, true);
        let Some(slot) = visit.slot.as_ref() else { return Err(Error::Stopped) };
        let mut place = slot.lock().await;
        if place.as_ref().is_some_and(|present| !present.is_ended()) {
            return Err(Error::AlreadyPublished);
        }
        *place = Some(handle);
        Ok(())
    }

    /// Takes the stream `id` out of its place, so that the next who asks opens it anew.
    pub(crate) fn forget(&self, key: &HubKey, id: u64) {
        let visit = self.visit(key, false);
        // Locked: somebody is opening it anew.
        if let Some(Ok(mut place)) = visit.slot.as_ref().map(|slot| slot.try_lock())
            && place.as_ref().is_some_and(|handle| handle.id == id)
        {
            *place = None;
        }
    }

    /// Every stream that is up.
    pub(crate) fn streams(&self) -> Vec<Arc<HubHandle>> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots
            .values()
            .filter_map(|slot| {
                slot.try_lock().ok()?.as_ref().filter(|handle| !handle.is_ended()).map(Arc::clone)
            })
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
            Arc::strong_count(slot) == 1
                && slot.try_lock().is_ok_and(|place| place.as_ref().is_none_or(|handle| handle.is_ended()))
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
