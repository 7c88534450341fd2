//! Requests of ours to a client: numbered, and known again by their answers.

use std::collections::VecDeque;

use crate::error::MessageError;
use crate::message::{Request, Response, method_name};

/// Requests whose answers are waited for: of those before, no answer is looked for any more.
pub const MOST_ASKED: usize = 64;

/// What we have asked the client of one connection. Both sides of a connection number their requests for themselves
/// (`RFC 2326 §12.17`), so ours begin at 1, whatever the client's do.
///
/// Send what [`write`](Self::write) gives; answers come as [`ServerEvent::Response`](super::ServerEvent::Response), and
/// [`handle_response`](Self::handle_response) says what they answer: whoever waits for one answer keeps the number that
/// [`write`](Self::write) gave. A client need not answer at all: nothing waits here for ever.
#[derive(Debug, Default)]
pub struct Asks {
    last: u32,
    waiting: VecDeque<(u32, String)>,
}

impl Asks {
    /// The request as it is sent, with its number.
    ///
    /// # Errors
    /// [`MessageError::Injection`] for one that cannot be written.
    pub fn write(&mut self, request: Request) -> Result<(u32, Vec<u8>), MessageError> {
        let number = self.last.wrapping_add(1).max(1);
        let method = method_name(&request.method).to_owned();
        let mut text = Vec::new();
        request.with("CSeq", number.to_string()).write(&mut text)?;
        self.last = number;
        if self.waiting.len() >= MOST_ASKED {
            self.waiting.pop_front();
        }
        self.waiting.push_back((number, method));
        Ok((number, text))
    }

    /// The number and method of the request that this answers, once; `None` for what nobody asked, and for answers that say that the
    /// real one is still to come (1xx).
    ///
    /// A refusal without a number, as ffmpeg answers all that it does not know, is of the oldest that waits. No consent goes without.
    pub fn handle_response(&mut self, response: &Response) -> Option<(u32, String)> {
        if (100..200).contains(&response.status) {
            return None;
        }
        match response.cseq() {
            Some(number) => {
                let place = self.waiting.iter().position(|(own, _)| *own == number)?;
                self.waiting.remove(place)
            }
            None if response.status >= 300 => self.waiting.pop_front(),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtsp_types::Method;

    fn answer(status: u16, number: u32) -> Response {
        Response::new(status).with("CSeq", number.to_string())
    }

    #[test]
    fn requests_have_numbers_of_their_own_and_are_answered_once() {
        let mut asks = Asks::default();
        let (first, text) =
            asks.write(Request::new(Method::Redirect, "rtsp://h/a").with("Session", "7")).unwrap();
        assert_eq!(
            text,
            b"REDIRECT rtsp://h/a RTSP/1.0\r\nSession: 7\r\nCSeq: 1\r\n\r\n",
            "{}",
            String::from_utf8_lossy(&text)
        );
        let (second, _) = asks.write(Request::new(Method::Teardown, "*")).unwrap();
        assert_eq!((first, second), (1, 2));
        assert_eq!(asks.handle_response(&answer(100, 2)), None, "the answer is still to come");
        assert_eq!(asks.handle_response(&answer(501, 2)), Some((2, "TEARDOWN".into())));
        assert_eq!(asks.handle_response(&answer(200, 2)), None, "twice");
        assert_eq!(asks.handle_response(&answer(200, 3)), None, "nobody asked");
        assert_eq!(asks.handle_response(&Response::new(200)), None, "no number");
        assert_eq!(asks.handle_response(&answer(200, 1)), Some((1, "REDIRECT".into())));
    }

    #[test]
    fn a_refusal_without_a_number_is_of_the_oldest() {
        let mut asks = Asks::default();
        assert_eq!(asks.handle_response(&Response::new(501)), None, "nobody asked");
        asks.write(Request::new(Method::Announce, "rtsp://h/a")).unwrap();
        asks.write(Request::new(Method::Redirect, "rtsp://h/a")).unwrap();
        assert_eq!(asks.handle_response(&Response::new(200)), None, "consent to what?");
        assert_eq!(asks.handle_response(&Response::new(501)), Some((1, "ANNOUNCE".into())));
        assert_eq!(asks.handle_response(&Response::new(501)), Some((2, "REDIRECT".into())));
    }

    #[test]
    fn of_clients_that_do_not_answer_the_oldest_are_forgotten() {
        let mut asks = Asks::default();
        for _ in 0..=MOST_ASKED {
            asks.write(Request::new(Method::Redirect, "rtsp://h/a")).unwrap();
        }
        assert_eq!(asks.waiting.len(), MOST_ASKED);
        assert_eq!(asks.handle_response(&answer(200, 1)), None);
        assert!(asks.handle_response(&answer(200, 2)).is_some());
    }

    #[test]
    fn what_cannot_be_written_takes_no_number() {
        let mut asks = Asks::default();
        assert!(asks.write(Request::new(Method::Redirect, "rtsp://h/a\r\nX: y")).is_err());
        assert_eq!(asks.write(Request::new(Method::Redirect, "rtsp://h/a")).unwrap().0, 1);
    }
}
