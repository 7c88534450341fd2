//! The way of bursts from a stream's home worker to another worker that has readers of it.
//!
//! A pair of single-producer rings: full buffers one way, empty ones back. After the buffers have grown to the size of
//! the stream's bursts nothing allocates.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use msm_core::hub::twin::Offset;
use msm_core::hub::{LivePoint, RtpInfo, SenderClock, Snapshot};
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use tokio::sync::Notify;

use super::succession::ParameterSets;

/// Items that may wait between two workers. A worker that lags by more loses bursts, counted as `worker_ring`.
pub(crate) const RING_ITEMS: usize = 256;

/// What is not a burst and must not be lost: so much of it waits for a ring that is full.
const LATE_ITEMS: usize = 256;

/// One burst, copied out of the home's receive buffer.
#[derive(Default)]
pub(crate) struct FeedBurst {
    pub(crate) track: usize,
    pub(crate) bytes: Vec<u8>,
    /// Offset and length of each packet in `bytes`.
    pub(crate) parts: Vec<(usize, usize)>,
    pub(crate) arrival: Option<Instant>,
}

/// What a home tells the shards of its stream.
pub(crate) enum Feed {
    Burst(Box<FeedBurst>),
    SenderReport { track: usize, clock: SenderClock },
    SourceChanged { track: usize },
    Expect { track: usize, live: LivePoint },
    Renumber { track: usize, by: Offset },
    RtpInfo { track: usize, info: RtpInfo },
    ParameterSets { track: usize, sets: Arc<ParameterSets> },
    Cname { track: usize, cname: Arc<[u8]> },
    Snapshot(Box<Snapshot>),
    Flush,
    Ended,
}

/// The home's end.
pub(crate) struct FeedSender {
    items: Producer<Feed>,
    /// What found the ring full: it goes first.
    late: VecDeque<Feed>,
    empty: Consumer<Box<FeedBurst>>,
    wake: Arc<Notify>,
    /// Bursts that found the ring full.
    pub(crate) dropped: u64,
}

/// The shard's end.
pub(crate) struct FeedReceiver {
    items: Consumer<Feed>,
    empty: Producer<Box<FeedBurst>>,
    wake: Arc<Notify>,
}

/// Makes a joined pair.
pub(crate) fn channel() -> (FeedSender, FeedReceiver) {
    let (items, items_out) = RingBuffer::new(RING_ITEMS);
    let (empty, empty_out) = RingBuffer::new(RING_ITEMS);
    let wake = Arc::new(Notify::new());
    (
        FeedSender { items, late: VecDeque::new(), empty: empty_out, wake: Arc::clone(&wake), dropped: 0 },
        FeedReceiver { items: items_out, empty, wake },
    )
}

impl FeedSender {
    /// Copies the packets of a burst into a recycled buffer and hands it over.
    pub(crate) fn send_burst<'p>(
        &mut self,
        track: usize,
        arrival: Instant,
        packets: impl Iterator<Item = &'p [u8]>,
    ) {
        self.catch_up();
        if self.items.is_full() || !self.late.is_empty() {
            self.dropped += packets.count() as u64;
            return;
        }
        let mut burst = self.empty.pop().unwrap_or_default();
        burst.track = track;
        burst.arrival = Some(arrival);
        burst.bytes.clear();
        burst.parts.clear();
        for packet in packets {
            burst.parts.push((burst.bytes.len(), packet.len()));
            burst.bytes.extend_from_slice(packet);
        }
        self.send(Feed::Burst(burst));
    }

    /// Hands over an item; one that finds the ring full goes before whatever comes later.
    pub(crate) fn send(&mut self, item: Feed) {
        self.catch_up();
        if !self.late.is_empty() || self.items.is_full() {
            self.keep(item);
        } else if let Err(PushError::Full(item)) = self.items.push(item) {
            self.keep(item);
        }
        self.wake.notify_one();
    }

    fn keep(&mut self, item: Feed) {
        if self.late.len() < LATE_ITEMS {
            self.late.push_back(item);
        } else {
            self.dropped += 1;
        }
    }

    fn catch_up(&mut self) {
        while !self.late.is_empty() && !self.items.is_full() {
            let Some(item) = self.late.pop_front() else { return };
            if let Err(PushError::Full(item)) = self.items.push(item) {
                return self.late.push_front(item);
            }
        }
    }

    /// Whether the shard has gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.items.is_abandoned()
    }
}

impl FeedReceiver {
    /// The next item, `None` when the ring is empty.
    pub(crate) fn try_recv(&mut self) -> Option<Feed> {
        self.items.pop().ok()
    }

    /// Gives a buffer back.
    pub(crate) fn recycle(&mut self, burst: Box<FeedBurst>) {
        let _ = self.empty.push(burst);
    }

    /// Whether the home has gone and everything it sent was received.
    pub(crate) fn is_finished(&self) -> bool {
        self.items.is_abandoned() && self.items.is_empty()
    }

    /// What wakes this end.
    pub(crate) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }
}

impl Drop for FeedSender {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_the_line_is_not_lost_in_a_full_ring() {
        let (mut sender, mut receiver) = channel();
        let packets: [&[u8]; 1] = [b"one"];
        for _ in 0..RING_ITEMS {
            sender.send_burst(0, Instant::now(), packets.iter().copied());
        }
        sender.send(Feed::SourceChanged { track: 7 });
        sender.send_burst(0, Instant::now(), packets.iter().copied());
        assert_eq!(sender.dropped, 1, "a burst must not overtake it");
        for _ in 0..RING_ITEMS {
            assert!(matches!(receiver.try_recv(), Some(Feed::Burst(_))));
        }
        sender.send_burst(1, Instant::now(), packets.iter().copied());
        assert!(matches!(receiver.try_recv(), Some(Feed::SourceChanged { track: 7 })));
        assert!(matches!(receiver.try_recv(), Some(Feed::Burst(burst)) if burst.track == 1));
        // Without end, if nobody takes anything.
        for _ in 0..10 * RING_ITEMS {
            sender.send(Feed::Flush);
        }
        assert!(sender.late.len() <= LATE_ITEMS);
    }

    #[test]
    fn buffers_travel_round_and_a_full_ring_counts() {
        let (mut sender, mut receiver) = channel();
        let packets: [&[u8]; 2] = [b"one", b"three"];
        sender.send_burst(1, Instant::now(), packets.iter().copied());
        let Some(Feed::Burst(burst)) = receiver.try_recv() else { panic!("a burst was sent") };
        assert_eq!(burst.parts, [(0, 3), (3, 5)]);
        assert_eq!(burst.bytes, b"onethree");
        let address = burst.bytes.as_ptr();
        receiver.recycle(burst);
        sender.send_burst(0, Instant::now(), packets.iter().copied());
        let Some(Feed::Burst(again)) = receiver.try_recv() else { panic!("a burst was sent") };
        assert_eq!(again.bytes.as_ptr(), address, "the buffer came back and was used again");
        for _ in 0..RING_ITEMS + 3 {
            sender.send_burst(0, Instant::now(), packets.iter().copied());
        }
        assert_eq!(sender.dropped, 6);
        assert!(!receiver.is_finished());
        drop(sender);
        while receiver.try_recv().is_some() {}
        assert!(receiver.is_finished());
    }
}
