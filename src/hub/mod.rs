//! Streams inside this process: their homes, their shards on each worker, and the table that finds them.

mod coalesce;
pub(crate) mod dest;
pub(crate) mod feed;
pub(crate) mod handle;
pub(crate) mod home;
pub(crate) mod receive;
pub(crate) mod registry;
pub(crate) mod shard;

use std::time::Instant;

use tokio::sync::Notify;

/// Waits for a deadline, or for a change of it.
async fn wait(deadline: Option<Instant>, rearm: &Notify) {
    match deadline {
        Some(at) => tokio::select! {
            () = tokio::time::sleep_until(at.into()) => {}
            () = rearm.notified() => {}
        },
        None => rearm.notified().await,
    }
}
