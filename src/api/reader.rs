//! Reading a stream inside the application.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use msm_core::hub::{Kind, ReaderId};
use msm_rtsp::sdp::Description;
use tokio::sync::mpsc;

use super::packet::Packet;
use crate::alive::Alive;
use crate::error::Error;
use crate::hub::dest::AppBurst;
use crate::hub::handle::{Lease, PlayRequest};
use crate::quota::QuotaPass;
use crate::shared::Shared;
use crate::worker::Worker;

/// Bursts that wait for a slow application; more are dropped, counted as `reader_queue`.
pub(crate) const QUEUE_BURSTS: usize = 512;

/// A reader's place in the fan-out of a stream, given up on drop.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    worker: usize,
    hub: u64,
    id: ReaderId,
    _quota: QuotaPass,
}

impl Seat {
    pub(crate) fn new(worker: &Worker, hub: u64, id: ReaderId, quota: QuotaPass) -> Self {
        Self { shared: Arc::clone(&worker.shared), worker: worker.id, hub, id, _quota: quota }
    }
}

/// A stream being read. Dropping it leaves the stream.
pub struct Reader {
    lease: Lease,
    seat: Seat,
    queue: mpsc::Receiver<AppBurst>,
    ready: VecDeque<Packet>,
    _alive: Alive,
}

impl Reader {
    pub(crate) fn new(lease: Lease, seat: Seat, queue: mpsc::Receiver<AppBurst>, alive: Alive) -> Self {
        Self { lease, seat, queue, ready: VecDeque::new(), _alive: alive }
    }

    /// What the stream is made of.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.lease.description
    }

    /// The next packet, of any track, in the order of arrival. `None` when the stream has ended.
    ///
    /// Cancel safe: a packet is either returned or still there for the next call.
    ///
    /// # Errors
    /// None today: what is not valid RTP never gets this far.
    pub async fn next(&mut self) -> Result<Option<Packet>, Error> {
        loop {
            if let Some(packet) = self.ready.pop_front() {
                return Ok(Some(packet));
            }
            let Some(burst) = self.queue.recv().await else { return Ok(None) };
            self.unpack(&burst);
        }
    }

    /// Pauses: nothing comes until [`Self::resume`]. On a stream of this reader's own (VOD) the source pauses too.
    ///
    /// # Errors
    /// The upstream refused.
    pub async fn pause(&mut self) -> Result<(), Error> {
        if self.lease.unshared {
            self.lease.pause().await?;
        }
        let (hub, id) = (self.seat.hub, self.seat.id);
        self.seat
            .shared
            .worker(self.seat.worker)?
            .call(move |worker| {
                if let Some(shard) = worker.shards.borrow().get(&hub).map(std::rc::Rc::clone) {
                    shard.pause(std::time::Instant::now(), id);
                }
            })
            .await
    }

    /// Goes on after [`Self::pause`].
    ///
    /// # Errors
    /// The stream ended meanwhile, or the upstream refused.
    pub async fn resume(&mut self) -> Result<(), Error> {
        let (hub, id) = (self.seat.hub, self.seat.id);
        self.seat
            .shared
            .worker(self.seat.worker)?
            .call(move |worker| {
                let shard =
                    worker.shards.borrow().get(&hub).map(std::rc::Rc::clone).ok_or(Error::StreamEnded)?;
                shard.play(std::time::Instant::now(), id).map_err(Error::from)
            })
            .await??;
        self.lease.play(PlayRequest::default()).await?;
        Ok(())
    }

    fn unpack(&mut self, burst: &AppBurst) {
        if burst.kind != Kind::Rtp {
            return;
        }
        let mut rest: Bytes = burst.bytes.clone();
        while !rest.is_empty() {
            let packet = rest.split_to(burst.segment.clamp(1, rest.len()));
            if let Ok(packet) = Packet::parse(burst.track, packet, burst.arrival) {
                self.ready.push_back(packet);
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (hub, id) = (self.hub, self.id);
        if let Ok(worker) = self.shared.worker(self.worker) {
            let _ = worker.post(move |worker| {
                let shard = worker.shards.borrow().get(&hub).map(std::rc::Rc::clone);
                if let Some(shard) = shard {
                    shard.remove(std::time::Instant::now(), id, false);
                }
            });
        }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("stream", &self.lease.name).finish_non_exhaustive()
    }
}
