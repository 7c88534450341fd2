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

    fn slot(&self, key: &HubKey) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(key.clone()).or_default())
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
        let slot = self.slot(key);
        let mut place = slot.lock().await;
        if let Some(handle) = place.as_ref().filter(|handle| !handle.is_ended()) {
            return Ok(Arc::clone(handle));
        }
        *place = None;
        match open().await {
            Ok(handle) => {
                *place = Some(Arc::clone(&handle));
                Ok(handle)
            }
            Err(error) => {
                drop(place);
                self.forget(key, None);
                Err(error)
            }
        }
    }

    /// The stream, if it is there now.
    pub(crate) async fn get(&self, key: &HubKey) -> Option<Arc<HubHandle>> {
        let slot = {
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.get(key)?)
        };
        let place = slot.lock().await;
        place.as_ref().filter(|handle| !handle.is_ended()).map(Arc::clone)
    }

    /// Enters a stream that is published into this process.
    ///
    /// # Errors
    /// [`Error::AlreadyPublished`] while another publisher holds the place.
    pub(crate) async fn publish(&self, key: &HubKey, handle: Arc<HubHandle>) -> Result<(), Error> {
        let slot = self.slot(key);
        let mut place = slot.lock().await;
        if place.as_ref().is_some_and(|present| !present.is_ended()) {
            return Err(Error::AlreadyPublished);
        }
        *place = Some(handle);
        Ok(())
    }

    /// Removes a stream: the one named by `id`, or an empty place.
    pub(crate) fn forget(&self, key: &HubKey, id: Option<u64>) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = slots.get(key).is_some_and(|slot| match slot.try_lock() {
            Ok(place) => place.as_ref().map(|handle| handle.id) == id,
            // Somebody is opening it anew.
            Err(_) => false,
        });
        if gone {
            slots.remove(key);
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

/// A reader's track, found by where its RTCP comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReaderRef {
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
