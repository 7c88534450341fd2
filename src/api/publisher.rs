//! Publishing a stream from inside the application.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use msm_core::route::Publish;
use tokio::sync::mpsc;

use crate::alive::Alive;
use crate::error::Error;
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

/// A stream being published. Dropping it ends the stream.
pub struct Publisher {
    shared: Arc<Shared>,
    handle: Arc<HubHandle>,
    queue: mpsc::Sender<Published>,
    _alive: Alive,
}

impl Publisher {
    pub(crate) fn new(
        shared: Arc<Shared>,
        handle: Arc<HubHandle>,
        queue: mpsc::Sender<Published>,
        alive: Alive,
    ) -> Self {
        Self { shared, handle, queue, _alive: alive }
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

    fn offer(&self, item: Published) -> Result<(), Error> {
        match self.queue.try_send(item) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
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
