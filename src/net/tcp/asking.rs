//! What a server asks the client of a connection, and who waits for its answers.

use msm_rtsp::message::{Request, Response};
use tokio::sync::oneshot;

use super::Connection;

/// What may wait for a client that is asked something, behind as much media as may wait for it.
pub(super) const UNREAD_REQUESTS: usize = 64 * 1024;

impl Connection {
    /// Whether its client reads what it is sent, so that it may be asked something that it need not be.
    pub(crate) fn takes_requests(&self) -> bool {
        !self.is_closed() && self.queued() <= self.limit.saturating_add(UNREAD_REQUESTS)
    }

    /// Sends a request of ours to the client, with a number of ours.
    pub(crate) fn send_request(&self, request: Request) {
        match self.asks.borrow_mut().write(request) {
            Ok((_, text)) => self.send_message(&text),
            Err(error) => tracing::debug!(%error, "a request to a client cannot be written"),
        }
    }

    /// The same, for whoever waits for the answer: its status, or an error once no answer comes any more.
    pub(crate) fn ask(&self, request: Request) -> oneshot::Receiver<u16> {
        let (tell, told) = oneshot::channel();
        let written = self.asks.borrow_mut().write(request);
        match written {
            Ok((number, text)) => {
                self.send_message(&text);
                let mut awaited = self.awaited.borrow_mut();
                awaited.retain(|(_, waiting)| !waiting.is_closed());
                awaited.push((number, tell));
            }
            Err(error) => tracing::debug!(%error, "a request to a client cannot be written"),
        }
        told
    }

    /// The method of the request of ours that the client has answered. Who waits for it is told.
    pub(crate) fn answered(&self, response: &Response) -> Option<String> {
        let (number, method) = self.asks.borrow_mut().handle_response(response)?;
        let mut awaited = self.awaited.borrow_mut();
        if let Some(place) = awaited.iter().position(|(own, _)| *own == number) {
            let _ = awaited.swap_remove(place).1.send(response.status);
        }
        Some(method)
    }
}
