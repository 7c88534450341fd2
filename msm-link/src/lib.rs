//! A link between two ends in virtual time: what it loses, delays, reorders and repeats follows from a seed.
//!
//! A [`Link`] is one direction, a [`Pair`] two. It opens no socket, reads no clock and draws no randomness of its own, so a run
//! is the same on every machine, and an hour of traffic takes as long as its packets. Tests, the loss matrix and the
//! demonstration all drive it the same way:
//!
//! ```
//! use std::time::{Duration, Instant};
//! use msm_link::{Link, Loss, Settings};
//!
//! let start = Instant::now();
//! let settings = Settings { delay: Duration::from_millis(20), loss: Loss::bursts(0.05, 3.0), ..Settings::default() };
//! let mut link = Link::new(settings, 1);
//! for number in 0..10_u8 {
//!     link.handle_send(start, vec![number; 1200])?;
//! }
//! let mut arrived = 0;
//! // With real time, this is where a relay sleeps until `at` or until its socket has something.
//! while let Some(at) = link.poll_timeout() {
//!     while let Some(packet) = link.poll_arrival(at) {
//!         assert_eq!((packet.len(), at), (1200, start + Duration::from_millis(20)));
//!         arrived += 1;
//!     }
//! }
//! assert_eq!(arrived, 10 - link.statistics().lost);
//! # Ok::<(), msm_link::TooLarge>(())
//! ```
//!
//! **The contract**: times do not go backwards; after [`Link::handle_send`] and at each [`Link::poll_timeout`], poll arrivals until
//! there are none. Polled late, as real time does, a link hands over all that is due, in the order of arrival.
//!
//! **The way of a packet**: the MTU refuses it; the queue of the rate limit takes it, or drops it (tail drop); an outage loses it as
//! it leaves the queue; the loss model loses it, having used its share of the rate; then it is under way for delay and jitter,
//! perhaps held back behind others, perhaps twice. Each of these draws from a line of random numbers of its own: to switch one on
//! does not change what the others do.

mod chance;
mod flight;
mod held;
mod link;
mod loss;
mod outage;
mod pair;
mod queue;
mod settings;
mod statistics;

pub use link::{Link, TooLarge};
pub use loss::Loss;
pub use outage::Outage;
pub use pair::Pair;
pub use settings::{Jitter, Rate, Reorder, Settings};
pub use statistics::Statistics;

/// What a link carries: it needs to know no more than a packet's size.
///
/// Everything that is bytes is one; a harness that counts packets may carry a number and a size instead.
pub trait Packet {
    /// Bytes that the rate limit and the MTU see.
    fn size(&self) -> usize;
}

impl<T: AsRef<[u8]>> Packet for T {
    fn size(&self) -> usize {
        self.as_ref().len()
    }
}
