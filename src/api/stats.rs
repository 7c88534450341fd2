//! Figures of one reader or publisher.

use std::sync::Arc;

use serde::Serialize;

use crate::error::Error;
use crate::hub::handle::HubHandle;
use crate::shared::Shared;
use crate::status::StreamStatus;

/// What a [`Reader`](crate::Reader) has had so far.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ReaderStats {
    /// RTP packets that came, those among them that wait to be taken.
    pub packets: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
    /// RTP packets that were lost to this reader as it took too slowly what came.
    pub dropped: u64,
    /// The stream: what of it came into this process, and what was lost before.
    pub stream: StreamStatus,
}

/// What a [`Publisher`](crate::Publisher) has sent so far.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PublisherStats {
    /// Sends that were lost as the worker took too slowly what was sent: each a packet or a burst.
    pub dropped: u64,
    /// The stream: what of it was taken, and by how many.
    pub stream: StreamStatus,
}

/// What its worker says now.
pub(super) async fn stream(shared: &Arc<Shared>, handle: &Arc<HubHandle>) -> Result<StreamStatus, Error> {
    let id = handle.id;
    shared
        .worker(handle.worker)?
        .call(move |worker| {
            if let Some(home) = worker.homes.borrow().get(&id) {
                home.publish_metrics();
            }
        })
        .await?;
    Ok(StreamStatus::of(handle))
}
