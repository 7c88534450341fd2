//! When a client began to ask for a stream: that is before there is a session of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Instant;

/// Presentations of one connection that are remembered; the oldest gives way, and its session counts from its SETUP.
const MOST: usize = 64;

/// The latest DESCRIBE or ANNOUNCE of each presentation on a connection that has no session of it yet. Only a hash of its
/// URL is kept: for a measurement that is enough.
#[derive(Default)]
pub(crate) struct FirstAsked(RefCell<VecDeque<(u64, Instant)>>);

impl FirstAsked {
    /// The presentation is asked for. Whoever asks again begins anew.
    pub(crate) fn begin(&self, url: &str, now: Instant) {
        let url = hash(url);
        let mut asked = self.0.borrow_mut();
        asked.retain(|(own, _)| *own != url);
        if asked.len() >= MOST {
            asked.pop_front();
        }
        asked.push_back((url, now));
    }

    /// A session of the presentation begins: when it was asked for.
    pub(crate) fn take(&self, url: &str) -> Option<Instant> {
        let url = hash(url);
        let mut asked = self.0.borrow_mut();
        let place = asked.iter().position(|(own, _)| *own == url)?;
        asked.remove(place).map(|(_, at)| at)
    }
}

fn hash(url: &str) -> u64 {
    // As `Content-Base` has it, or not.
    BuildHasherDefault::<DefaultHasher>::default().hash_one(url.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_latest_question_counts_once_and_there_are_not_too_many() {
        let asked = FirstAsked::default();
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        asked.begin("rtsp://h/a", at(0));
        asked.begin("rtsp://h/b", at(1));
        asked.begin("rtsp://h/a", at(2));
        assert_eq!(asked.take("rtsp://h/a/"), Some(at(2)));
        assert_eq!(asked.take("rtsp://h/a"), None);
        for number in 0..MOST {
            asked.begin(&format!("rtsp://h/{number}"), at(3));
        }
        assert_eq!(asked.take("rtsp://h/b"), None, "the oldest gave way");
        assert_eq!(asked.take("rtsp://h/0"), Some(at(3)));
        assert!(asked.0.borrow().len() < MOST);
    }
}
