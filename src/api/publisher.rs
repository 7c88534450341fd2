//! Publishing a stream from inside the application.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use msm_core::route::Publish;
use tokio::sync::mpsc;

use super::sink::Reserving;
use super::stats::{self, PublisherStats};
use crate::alive::Alive;
use crate::error::Error;
use crate::events::{EndCause, Events, Following};
use crate::hub::handle::HubHandle;
use crate::hub::home::Home;
use crate::hub::registry::HubKey;
use crate::mirror::Mirrored;
use crate::quota::QuotaPass;
use crate::serve::succession;
use crate::shared::Shared;
use crate::worker::Worker;

/// Sends that wait for a worker that lags; more are dropped, counted as `publisher_queue`.
pub(crate) const QUEUE_BURSTS: usize = 512;

/// What the application hands to its stream's worker.
pub(crate) struct Published {
    pub(crate) track: usize,
    pub(crate) rtcp: bool,
    pub(crate) bytes: Bytes,
    pub(crate) segment: usize,
}

/// A stream being published. Dropping it ends the stream, and so does [`Self::close`], which waits for that.
///
/// What is sent waits in a queue of 512 packets or bursts for the stream's worker. There are two ways to send, which may take turns: `send` and its kin
/// never wait, and drop what the queue has no room for, as a network does; for a source that can be held up, such as a file, there is
/// [`Self::ready`], and [`Sink`](futures_sink::Sink) of [`Packet`](crate::Packet) or [`Burst`](crate::Burst), which wait for room and drop nothing.
pub struct Publisher {
    shared: Arc<Shared>,
    handle: Arc<HubHandle>,
    pub(super) queue: mpsc::Sender<Published>,
    dropped: AtomicU64,
    /// What `Sink` waits for.
    pub(super) reserving: Option<Reserving>,
    _alive: Alive,
}

impl Publisher {
    pub(crate) fn new(
        shared: Arc<Shared>,
        handle: Arc<HubHandle>,
        queue: mpsc::Sender<Published>,
        alive: Alive,
    ) -> Self {
        Self { shared, handle, queue, dropped: AtomicU64::new(0), reserving: None, _alive: alive }
    }

    /// Sends one RTP packet of `track` (index of its `m=` section), header included (RFC 3550 §5.1). Never waits. What is no RTP, or of no
    /// payload type that was described, is dropped and counted by its worker.
    ///
    /// # Errors
    /// [`Error::StreamEnded`] when the stream is over. A full queue is not an error: the packet is dropped and
    /// counted, as on a network.
    pub fn send(&self, track: usize, packet: impl Into<Bytes>) -> Result<(), Error> {
        let bytes = packet.into();
        let segment = bytes.len();
        self.offer(Published { track, rtcp: false, bytes, segment })
    }

    /// Sends several packets of `track` at once: `bytes` holds them one after the other, each `segment` bytes but the
    /// last, which may be shorter. Cheaper than one by one. Never waits.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_burst(&self, track: usize, bytes: impl Into<Bytes>, segment: usize) -> Result<(), Error> {
        self.offer(Published { track, rtcp: false, bytes: bytes.into(), segment })
    }

    /// Sends a compound RTCP packet of `track` (RFC 3550 §6.1): sender reports carry the stream's wall clock to readers. Never waits.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_rtcp(&self, track: usize, datagram: impl Into<Bytes>) -> Result<(), Error> {
        let bytes = datagram.into();
        let segment = bytes.len();
        self.offer(Published { track, rtcp: true, bytes, segment })
    }

    /// Waits until there is room for a packet or burst more: what this task sends next is not dropped, where no other one sends. Cancel safe.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn ready(&self) -> Result<(), Error> {
        self.queue.reserve().await.map(drop).map_err(|_| Error::StreamEnded)
    }

    /// Readers in this process that hold the stream now.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.handle.readers()
    }

    /// Whether the stream is over: ended by the upstream that it is pushed to, or by shutdown.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.handle.is_ended()
    }

    /// Why the stream is over, once it is.
    #[must_use]
    pub fn end_cause(&self) -> Option<EndCause> {
        self.handle.end_cause().cloned()
    }

    /// What was sent, and what the stream has. Asks its worker. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the mesh has shut down.
    pub async fn stats(&self) -> Result<PublisherStats, Error> {
        let stream = stats::stream(&self.shared, &self.handle).await?;
        Ok(PublisherStats { dropped: self.dropped.load(Ordering::Relaxed), stream })
    }

    /// What happens to the stream from now on; the last is that it is over.
    #[must_use]
    pub fn events(&self) -> Events {
        self.handle.events(Following::new(self.handle.id.into()))
    }

    /// Ends the stream once what was sent is on its way, and waits until another publisher is let in at its URL: who publishes there right
    /// after a drop may be told that it is published already. Cancelled, it ends the stream all the same.
    pub async fn close(self) {
        let vacated = self.vacated();
        drop(self);
        vacated.await;
    }

    /// What [`Self::close`] waits for, for a publisher that ends otherwise: dropped elsewhere, or because its stream is over. One waits at a time.
    pub fn vacated(&self) -> impl Future<Output = ()> + Send + Sync + use<> {
        let handle = Arc::clone(&self.handle);
        let mut stopping = self.shared.stopping.subscribe();
        async move {
            tokio::select! {
                () = handle.vacated.notified() => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        }
    }

    fn offer(&self, item: Published) -> Result<(), Error> {
        match self.queue.try_send(item) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                self.shared.metrics.add_dropped("publisher_queue", 1);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Error::StreamEnded),
        }
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("stream", &self.handle.name).finish_non_exhaustive()
    }
}

/// A stream of the application's on its worker.
pub(crate) struct Own {
    pub(crate) home: Rc<Home>,
    pub(crate) key: HubKey,
    pub(crate) publish: Publish,
    /// The place of its shadow.
    pub(crate) mirror: Mirrored,
}

/// The worker's end: takes what the application sends until it drops the publisher.
pub(crate) async fn pump(
    worker: Rc<Worker>,
    own: Own,
    mut queue: mpsc::Receiver<Published>,
    _quota: QuotaPass,
) {
    let Own { home, key, publish, mirror } = own;
    let mut scratch: Vec<u8> = Vec::new();
    while let Some(item) = queue.recv().await {
        if home.handle.is_ended() {
            break;
        }
        let now = Instant::now();
        if item.rtcp {
            home.handle_rtcp(now, item.track, &item.bytes);
        } else {
            // The fan-out patches headers in place; the application's bytes may be shared.
            scratch.clear();
            scratch.extend_from_slice(&item.bytes);
            home.handle_run(now, item.track, &mut scratch, item.segment);
        }
    }
    drop(mirror);
    succession::left(worker, key, home, publish, true).await;
}
