//! Reading a stream inside the application.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use msm_core::hub::ReaderId;
use msm_rtsp::sdp::Description;
use tokio::sync::mpsc;

use super::burst::Burst;
use super::packet::Packet;
use super::stats::{self, ReaderStats};
use crate::alive::Alive;
use crate::error::Error;
use crate::events::{EndCause, Events, Following};
use crate::hub::dest::AppBurst;
use crate::hub::handle::{HubHandle, Lease, PlayRequest};
use crate::quota::QuotaPass;
use crate::shared::Shared;
use crate::worker::Worker;

/// Bursts that wait for a slow application; more are dropped, counted as `reader_queue`.
pub(crate) const QUEUE_BURSTS: usize = 512;

/// A reader's place in the fan-out of a stream, given up on drop.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    worker: usize,
    place: Arc<Mutex<SeatPlace>>,
    _quota: QuotaPass,
}

/// Where a seat is: it goes over to another stream when that takes the place of its own.
pub(crate) struct SeatPlace {
    lease: Lease,
    id: ReaderId,
    paused: bool,
    following: Following,
}

impl Seat {
    pub(crate) fn new(worker: &Worker, lease: Lease, id: ReaderId, quota: QuotaPass) -> Self {
        let following = Following::new(lease.id.into());
        let place = Arc::new(Mutex::new(SeatPlace { lease, id, paused: false, following }));
        let mut seats = worker.seats.borrow_mut();
        seats.retain(|seat| seat.strong_count() > 0);
        seats.push(Arc::downgrade(&place));
        Self { shared: Arc::clone(&worker.shared), worker: worker.id, place, _quota: quota }
    }

    fn at(&self) -> (Arc<HubHandle>, ReaderId) {
        let place = lock(&self.place);
        (place.lease.handle(), place.id)
    }

    fn set_paused(&self, paused: bool) {
        lock(&self.place).paused = paused;
    }
}

fn lock(place: &Mutex<SeatPlace>) -> MutexGuard<'_, SeatPlace> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The seats of this worker that read the stream `from` read `next` from that one's next keyframe on; `at_once`: from the one that is kept.
pub(crate) async fn move_seats(worker: &Rc<Worker>, from: u64, next: &Arc<HubHandle>, at_once: bool) {
    let seats: Vec<_> = worker.seats.borrow().iter().filter_map(std::sync::Weak::upgrade).collect();
    let seats: Vec<_> = seats.into_iter().filter(|seat| lock(seat).lease.id == from).collect();
    if seats.is_empty() {
        return;
    }
    let Ok(shard) = worker.shard(next).await else { return };
    shard.await_keyframe(at_once).await;
    let now = Instant::now();
    for seat in seats {
        let mut place = lock(&seat);
        let Some(before) = worker.shard_of(place.lease.id) else { continue };
        match shard.take_over(now, &before, place.id, !place.paused) {
            Ok(id) => {
                (place.lease, place.id) = (next.lease(), id);
                place.following.store(next.id, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::warn!(stream = next.name, %error, "a reader cannot go over to another publisher's stream");
            }
        }
    }
}

/// A stream being read. Dropping it leaves the stream.
///
/// It is a [`Stream`](futures_core::Stream) of packets as well. Whoever takes them too slowly loses the newest: so many bursts as a queue holds (512)
/// wait, and what comes while it is full is counted (`msm_dropped_total{reason="reader_queue"}`). Nobody else waits for it.
pub struct Reader {
    description: Arc<Description>,
    seat: Seat,
    queue: mpsc::Receiver<AppBurst>,
    /// What is left of the burst that packets are taken from.
    rest: Option<Burst>,
    _alive: Alive,
}

impl Reader {
    pub(crate) fn new(
        description: Arc<Description>,
        seat: Seat,
        queue: mpsc::Receiver<AppBurst>,
        alive: Alive,
    ) -> Self {
        Self { description, seat, queue, rest: None, _alive: alive }
    }

    /// What the stream is made of.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The next packet, of any track, in the order of arrival. `None` when the stream has ended.
    ///
    /// Cancel safe: a packet is either returned or still there for the next call.
    ///
    /// # Errors
    /// None today: what is not valid RTP never gets this far.
    pub async fn next(&mut self) -> Result<Option<Packet>, Error> {
        std::future::poll_fn(|cx| self.poll_packet(cx)).await
    }

    /// The next packets, all of one track, in the order of arrival: those that came together, or what [`Self::next`] left of them. `None` when the
    /// stream has ended.
    ///
    /// Cancel safe: a burst is either returned or still there for the next call.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn recv_burst(&mut self) -> Result<Option<Burst>, Error> {
        std::future::poll_fn(|cx| self.poll_burst(cx)).await
    }

    /// As [`Self::recv_burst`], without waiting: `Ok(None)` where nothing is there, which may also be as the stream
    /// [is over](Self::is_ended).
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn try_recv_burst(&mut self) -> Result<Option<Burst>, Error> {
        match self.poll_burst(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(burst) => burst,
            Poll::Pending => Ok(None),
        }
    }

    /// Whether the stream has ended and all that came of it was taken.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.rest.is_none() && self.queue.is_closed() && self.queue.is_empty()
    }

    /// Why the stream is over, once it is: nothing comes any more but what waits already.
    #[must_use]
    pub fn end_cause(&self) -> Option<EndCause> {
        self.seat.at().0.end_cause().cloned()
    }

    /// What this reader has had, and what its stream has. Asks their workers. Cancel safe.
    ///
    /// # Errors
    /// [`Error::StreamEnded`] when the stream is over, [`Error::Stopped`] when the mesh is.
    pub async fn stats(&self) -> Result<ReaderStats, Error> {
        let (handle, id) = self.seat.at();
        let hub = handle.id;
        let worker = self.seat.shared.worker(self.seat.worker)?;
        let shard = move |worker: &Rc<Worker>| worker.shard_of(hub).map(|shard| shard.reader_counters(id));
        let counters = worker.call(shard).await?.ok_or(Error::StreamEnded)?;
        let stream = stats::stream(&self.seat.shared, &handle).await?;
        let (packets, bytes) = (counters.packets, counters.bytes);
        Ok(ReaderStats { packets, bytes, dropped: counters.reader_queue, stream })
    }

    /// What happens to the stream from now on, or to what takes its place; the last is that it is over.
    #[must_use]
    pub fn events(&self) -> Events {
        let (stream, _) = self.seat.at();
        stream.events(Arc::clone(&lock(&self.seat.place).following))
    }

    pub(super) fn poll_burst(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Burst>, Error>> {
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Ok(Some(rest)));
        }
        while let Some(burst) = ready!(self.queue.poll_recv(cx)) {
            if let Some(burst) = Burst::of(burst) {
                return Poll::Ready(Ok(Some(burst)));
            }
        }
        Poll::Ready(Ok(None))
    }

    fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Packet>, Error>> {
        while let Some(mut burst) = ready!(self.poll_burst(cx))? {
            let packet = burst.take();
            self.rest = Some(burst).filter(|burst| !burst.is_empty());
            if packet.is_some() {
                return Poll::Ready(Ok(packet));
            }
        }
        Poll::Ready(Ok(None))
    }

    /// Pauses: nothing comes until [`Self::resume`]. On a stream of this reader's own (VOD) the source pauses too. Cancelled, it may have
    /// paused all the same.
    ///
    /// # Errors
    /// The upstream refused.
    pub async fn pause(&mut self) -> Result<(), Error> {
        let (stream, id) = self.seat.at();
        if stream.unshared {
            stream.pause().await?;
        }
        self.seat.set_paused(true);
        let hub = stream.id;
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

    /// Goes on after [`Self::pause`]. Cancelled, it may go on all the same.
    ///
    /// # Errors
    /// The stream ended meanwhile, or the upstream refused.
    pub async fn resume(&mut self) -> Result<(), Error> {
        self.seat.set_paused(false);
        let (stream, id) = self.seat.at();
        let hub = stream.id;
        self.seat
            .shared
            .worker(self.seat.worker)?
            .call(move |worker| {
                let shard =
                    worker.shards.borrow().get(&hub).map(std::rc::Rc::clone).ok_or(Error::StreamEnded)?;
                shard.play(std::time::Instant::now(), id).map_err(Error::from)
            })
            .await??;
        stream.play(PlayRequest::default()).await?;
        Ok(())
    }
}

/// As [`Reader::next`].
impl futures_core::Stream for Reader {
    type Item = Result<Packet, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_packet(cx).map(Result::transpose)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (stream, id) = self.at();
        let hub = stream.id;
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
        f.debug_struct("Reader").field("stream", &self.seat.at().0.name).finish_non_exhaustive()
    }
}
