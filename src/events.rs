//! What happens to streams and members, told to the application.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;

/// Events that wait for a slow application; those that come then are missed, and counted.
const QUEUE: usize = 256;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The number of the stream that it happened to, which the log calls `hub`; `None` for what is of no one stream.
    pub stream: Option<u64>,
    /// For people: the stream's name, without credentials, or the other member's.
    pub name: String,
    /// What it is.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// The stream goes by this server now: its first source, or where it is published to.
    Connected {
        /// The server's URL, without credentials.
        endpoint: String,
    },
    /// Another source has taken the place of the stream's. Readers go on, in one line of numbers.
    Spliced {
        /// The source before, without credentials.
        from: String,
        /// The source now.
        to: String,
        /// Why, in the word of `msm_failovers_total` or `msm_successions_total`.
        reason: &'static str,
        /// It sends the same packets, and goes on with the very next one.
        identical: bool,
        /// How long nothing came, where that is known.
        gap: Option<Duration>,
    },
    /// A flow to another member is protected in another way than before.
    ProtectionChanged {
        /// What the other member calls the flow.
        label: String,
        /// What is done, and why, in one line.
        plan: String,
    },
    /// Another member has proven who it is: by its SPIFFE ID, which is the event's `name`.
    PeerConnected {
        /// Its address.
        remote: SocketAddr,
    },
    /// There is no connection to it any more, and what lived on it has ended.
    PeerLost {
        /// Its address.
        remote: SocketAddr,
        /// Why, for people.
        reason: String,
    },
    /// The stream is over.
    Ended {
        /// Why.
        cause: EndCause,
    },
    /// So many events came while the application had left 256 untaken: they are lost to it.
    Missed {
        /// How many.
        events: u64,
    },
}

/// Why a stream is over, by who is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndCause {
    /// The server that it came from or went to ended it or was lost, and none took its place.
    #[error("{0}")]
    Upstream(String),
    /// Its publisher has left.
    #[error("its publisher has left")]
    Publisher,
    /// Nobody reads it any more.
    #[error("nobody reads it")]
    Unused,
    /// The mesh shuts down.
    #[error("shutdown")]
    Shutdown,
}

impl From<String> for EndCause {
    fn from(why: String) -> Self {
        Self::Upstream(why)
    }
}

/// Events in the order in which they happened, from [`Mesh::events`](crate::Mesh::events), [`Reader::events`](crate::Reader::events) or
/// [`Publisher::events`](crate::Publisher::events). A [`Stream`](futures_core::Stream) as well.
///
/// Nothing waits for whoever takes them too slowly: see [`EventKind::Missed`].
#[derive(Debug)]
pub struct Events {
    queue: mpsc::Receiver<Event>,
    missed: Arc<AtomicU64>,
}

impl Events {
    /// The next event; `None` when there will be none: the mesh, or the one stream that they are of, is over.
    ///
    /// Cancel safe: an event is either returned or still there for the next call.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// The same without waiting: `None` where nothing is there.
    pub fn try_next(&mut self) -> Option<Event> {
        match self.poll(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(event) => event,
            Poll::Pending => None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        // What was missed came after what waits.
        if self.queue.is_empty() {
            let events = self.missed.swap(0, Ordering::Relaxed);
            if events > 0 {
                let kind = EventKind::Missed { events };
                return Poll::Ready(Some(Event { stream: None, name: String::new(), kind }));
            }
        }
        self.queue.poll_recv(cx)
    }
}

impl futures_core::Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.get_mut().poll(cx)
    }
}

/// The stream that somebody is told of: another one once that has taken its place.
pub(crate) type Following = Arc<AtomicU64>;

/// Who is told what happens.
#[derive(Default)]
pub(crate) struct Subscribers(Mutex<Vec<Subscriber>>);

struct Subscriber {
    queue: mpsc::Sender<Event>,
    missed: Arc<AtomicU64>,
    only: Option<Following>,
}

impl Subscribers {
    /// Somebody wants to be told of everything.
    pub(crate) fn add(&self) -> Events {
        self.enter(None, || None)
    }

    /// The same of one stream. `over` is its end, which is asked for while nobody is told anything.
    pub(crate) fn add_for(&self, only: Following, over: impl FnOnce() -> Option<Event>) -> Events {
        self.enter(Some(only), over)
    }

    fn enter(&self, only: Option<Following>, over: impl FnOnce() -> Option<Event>) -> Events {
        let (queue, events) = mpsc::channel(QUEUE);
        let missed = Arc::<AtomicU64>::default();
        let mut all = self.all();
        match over() {
            Some(end) => drop(queue.try_send(end)),
            None => all.push(Subscriber { queue, missed: Arc::clone(&missed), only }),
        }
        Events { queue: events, missed }
    }

    /// Tells whoever wants to know. Nothing is made where nobody does.
    pub(crate) fn tell(&self, stream: Option<u64>, event: impl FnOnce() -> (String, EventKind)) {
        let mut all = self.all();
        all.retain(|one| !one.queue.is_closed());
        let wants = |one: &Subscriber| {
            one.only.as_ref().is_none_or(|only| Some(only.load(Ordering::Relaxed)) == stream)
        };
        if !all.iter().any(wants) {
            return;
        }
        let (name, kind) = event();
        let ends = matches!(kind, EventKind::Ended { .. });
        let event = Event { stream, name, kind };
        all.retain(|one| {
            if !wants(one) {
                return true;
            }
            if one.queue.try_send(event.clone()).is_err() {
                one.missed.fetch_add(1, Ordering::Relaxed);
            }
            // Nothing happens to a stream that is over.
            !(ends && one.only.is_some())
        });
    }

    /// Nothing happens any more.
    pub(crate) fn close(&self) {
        self.all().clear();
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Subscriber>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(number: u64) -> (String, EventKind) {
        (String::new(), EventKind::Connected { endpoint: number.to_string() })
    }

    fn told(events: &mut Events) -> Vec<EventKind> {
        std::iter::from_fn(|| events.try_next()).map(|event| event.kind).collect()
    }

    #[test]
    fn who_wants_one_stream_is_told_of_it_and_of_what_takes_its_place_until_it_is_over() {
        let subscribers = Subscribers::default();
        let following = Following::new(1.into());
        let mut all = subscribers.add();
        let mut one = subscribers.add_for(Arc::clone(&following), || None);
        for stream in [Some(1), Some(2), None] {
            subscribers.tell(stream, || connected(stream.unwrap_or(0)));
        }
        following.store(2, Ordering::Relaxed);
        let ended = || EventKind::Ended { cause: EndCause::Publisher };
        for stream in [1, 2] {
            subscribers.tell(Some(stream), || (String::new(), ended()));
        }
        assert_eq!(told(&mut one), [connected(1).1, ended()]);
        assert!(one.queue.is_closed() && !all.queue.is_closed());
        assert_eq!(told(&mut all).len(), 5);
        let over = || Some(Event { stream: Some(2), name: String::new(), kind: ended() });
        let mut late = subscribers.add_for(following, over);
        assert_eq!(told(&mut late), [ended()]);
        assert!(late.queue.is_closed());
    }

    #[test]
    fn who_is_slow_is_told_how_much_was_missed_and_who_has_gone_is_forgotten() {
        let subscribers = Subscribers::default();
        let mut slow = subscribers.add();
        for number in 0..QUEUE as u64 + 7 {
            subscribers.tell(None, || connected(number));
        }
        let kinds = told(&mut slow);
        assert_eq!(kinds.len(), QUEUE + 1);
        assert_eq!(kinds.last(), Some(&EventKind::Missed { events: 7 }));
        subscribers.tell(None, || connected(0));
        assert_eq!(told(&mut slow), [connected(0).1]);
        drop(slow);
        let mut made = false;
        subscribers.tell(None, || {
            made = true;
            connected(0)
        });
        assert!(!made && subscribers.all().is_empty(), "nothing is made for nobody");
    }

    #[test]
    fn nothing_comes_when_nothing_happens_any_more() {
        let subscribers = Subscribers::default();
        let mut events = subscribers.add();
        assert!(events.try_next().is_none() && !events.queue.is_closed());
        subscribers.close();
        assert!(events.try_next().is_none() && events.queue.is_closed());
    }
}
