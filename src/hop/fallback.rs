//! Endpoints of mesh clusters that know no mesh hop, and are spoken to by plain RTSP over the same TLS (`fallback: rtsps`).
//!
//! What counts is the answer of a peer that has proved to be one of the cluster's `peers`. Whoever is on the path can make a
//! connection fail, and a connection that fails is an error, never a reason to ask for less.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use msm_rtsp::hop::HEADER;
use msm_rtsp::message::Response;

use crate::status::FallbackStatus;

/// How long an endpoint's answer is believed. Then it is asked again, before the next session.
pub(crate) const BELIEVED: Duration = Duration::from_secs(60);

/// A cluster, and the authority of one of its endpoints.
pub(crate) type Place = (String, String);

/// The endpoints that were found to know no mesh hop. There are no more of them than the configuration has endpoints.
#[derive(Default)]
pub(crate) struct Fallbacks(Mutex<BTreeMap<Place, Found>>);

struct Found {
    peer: String,
    answer: String,
    /// Its TLS agreed on `msm/1` all the same.
    is_member: bool,
    since: Instant,
    /// When it answered; none if that is not to be believed any more.
    asked: Option<Instant>,
}

impl Found {
    /// How long its answer is still believed.
    fn left(&self, now: Instant) -> Duration {
        self.asked
            .map_or(Duration::ZERO, |asked| BELIEVED.saturating_sub(now.saturating_duration_since(asked)))
    }
}

impl Fallbacks {
    /// What is believed of an endpoint now: whether its TLS agrees on `msm/1`, though it knows no hop. `None` if it is to be
    /// asked.
    pub(crate) fn known(&self, place: &Place, now: Instant) -> Option<bool> {
        let found = self.lock();
        let found = found.get(place)?;
        (!found.left(now).is_zero()).then_some(found.is_member)
    }

    /// What is there looks like another than it was: it is to be asked.
    pub(crate) fn doubt(&self, place: &Place) {
        if let Some(found) = self.lock().get_mut(place) {
            found.asked = None;
        }
    }

    /// An endpoint's peer has answered that it knows no hop. Tells whether that is news.
    pub(crate) fn enter(
        &self,
        place: &Place,
        peer: &str,
        answer: &str,
        is_member: bool,
        now: Instant,
    ) -> bool {
        let mut found = self.lock();
        let before = found.get(place).filter(|before| before.peer == peer).map(|before| before.since);
        let own = Found {
            peer: peer.to_owned(),
            answer: answer.to_owned(),
            is_member,
            since: before.unwrap_or(now),
            asked: Some(now),
        };
        found.insert(place.clone(), own);
        before.is_none()
    }

    /// It is a member. Tells whether that is news.
    pub(crate) fn forget(&self, place: &Place) -> bool {
        self.lock().remove(place).is_some()
    }

    /// For people.
    pub(crate) fn status(&self, now: Instant) -> Vec<FallbackStatus> {
        let found = self.lock();
        let status = found.iter().map(|((cluster, endpoint), found)| FallbackStatus {
            cluster: cluster.clone(),
            endpoint: endpoint.clone(),
            peer: found.peer.clone(),
            answer: found.answer.clone(),
            since: now.saturating_duration_since(found.since).as_secs(),
            asked_again_in: found.left(now).as_secs(),
        });
        status.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Found>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer to the opening is one of somebody who does not know the tag: 551 (`RFC 2326 §12.32`), or, as many servers
/// do not look at `Require`, a success without `Msm-Hop` of somebody who did not agree on `msm/1` either.
pub(crate) fn knows_no_hop(response: &Response, is_member: bool) -> bool {
    let ignored = response.is_success() && !is_member && response.headers.get(HEADER).is_none();
    response.status == 551 || ignored
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        ("far".into(), "h:8050".into())
    }

    #[test]
    fn an_answer_is_believed_for_a_while_and_told_of_once() {
        let fallbacks = Fallbacks::default();
        let now = Instant::now();
        assert_eq!(fallbacks.known(&place(), now), None);
        assert!(fallbacks.enter(&place(), "spiffe://a/b", "551", false, now));
        assert_eq!(fallbacks.known(&place(), now + BELIEVED - Duration::from_millis(1)), Some(false));
        assert_eq!(fallbacks.known(&("other".into(), "h:8050".into()), now), None, "of another cluster");
        let later = now + BELIEVED;
        assert_eq!(fallbacks.known(&place(), later), None, "to be asked again");
        assert_eq!(fallbacks.status(later)[0].asked_again_in, 0);
        assert!(!fallbacks.enter(&place(), "spiffe://a/b", "551", true, later), "no news");
        assert_eq!(fallbacks.known(&place(), later), Some(true));
        let status = fallbacks.status(later + Duration::from_secs(5));
        assert_eq!((status[0].since, status[0].asked_again_in), (65, 55));
        assert!(fallbacks.enter(&place(), "spiffe://a/c", "551", false, later), "somebody else is");
        fallbacks.doubt(&place());
        assert_eq!(fallbacks.known(&place(), later), None, "asked before its time");
        assert_eq!(fallbacks.status(later).len(), 1);
        assert!(fallbacks.forget(&place()) && !fallbacks.forget(&place()));
        assert_eq!(fallbacks.known(&place(), later), None);
        assert!(fallbacks.status(later).is_empty());
    }

    #[test]
    fn only_who_does_not_know_the_tag_is_fallen_back_to() {
        let with = |status, header: bool| {
            let response = Response::new(status);
            if header { response.with(HEADER, "label=01000001;port=9") } else { response }
        };
        for is_member in [false, true] {
            assert!(knows_no_hop(&with(551, false), is_member));
            for status in [400, 401, 403, 404, 454, 500, 501, 503] {
                assert!(!knows_no_hop(&with(status, false), is_member), "{status}");
            }
            assert!(!knows_no_hop(&with(200, true), is_member), "whoever answers with labels knows it");
        }
        assert!(knows_no_hop(&with(200, false), false) && !knows_no_hop(&with(200, false), true));
    }
}
