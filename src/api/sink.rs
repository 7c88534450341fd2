//! Publishing with back-pressure: what is sent waits for room.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::mpsc::error::{SendError, TrySendError};

use super::burst::Burst;
use super::packet::Packet;
use super::publisher::{Published, Publisher};
use crate::error::Error;

type Permit = Result<OwnedPermit<Published>, SendError<()>>;

/// A place in the queue.
pub(super) enum Reserving {
    Waiting(Pin<Box<dyn Future<Output = Permit> + Send + Sync>>),
    Had(OwnedPermit<Published>),
}

impl Publisher {
    fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let queue = &self.queue;
        let first = || match queue.clone().try_reserve_owned() {
            Ok(permit) => Reserving::Had(permit),
            Err(TrySendError::Full(queue) | TrySendError::Closed(queue)) => {
                Reserving::Waiting(Box::pin(queue.reserve_owned()))
            }
        };
        if let Reserving::Waiting(waiting) = self.reserving.get_or_insert_with(first) {
            let permit = ready!(waiting.as_mut().poll(cx));
            self.reserving = permit.ok().map(Reserving::Had);
        }
        Poll::Ready(self.reserving.as_ref().map(|_| ()).ok_or(Error::StreamEnded))
    }

    /// Sends in the place that [`Self::poll_place`] had.
    fn place(&mut self, item: Published) -> Result<(), Error> {
        match self.reserving.take() {
            Some(Reserving::Had(permit)) => {
                permit.send(item);
                Ok(())
            }
            Some(Reserving::Waiting(_)) | None => Err(Error::Refused(
                "a sink is to be asked whether it is ready before it is given something".into(),
            )),
        }
    }
}

macro_rules! sink {
    ($item:ty, $published:expr) => {
        /// Waits for room in the queue, and drops nothing. What was taken is with the stream's worker at once: to flush or to close
        /// it waits for nothing, and the stream ends when the publisher is dropped.
        impl Sink<$item> for Publisher {
            type Error = Error;

            fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
                self.get_mut().poll_place(cx)
            }

            fn start_send(self: Pin<&mut Self>, item: $item) -> Result<(), Error> {
                self.get_mut().place($published(item))
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
                Poll::Ready(Ok(()))
            }
        }
    };
}

sink!(Packet, |packet: Packet| {
    let bytes = packet.raw().clone();
    Published { track: packet.track, rtcp: false, segment: bytes.len(), bytes }
});
sink!(Burst, |burst: Burst| Published {
    track: burst.track(),
    rtcp: false,
    segment: burst.segment(),
    bytes: burst.bytes().clone(),
});
