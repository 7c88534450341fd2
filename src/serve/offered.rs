//! The keys that the descriptions of one connection told its client.

use std::collections::VecDeque;

use msm_rtsp::sdp::TrackWay;

use crate::error::Error;
use crate::srtp::{OwnKey, SUITE, SharedKey, random_ssrc};

/// Presentations of one connection whose keys are kept: the last that were described.
const MAX_PRESENTATIONS: usize = 16;

/// By the presentation's URL.
#[derive(Default)]
pub(crate) struct Offered(VecDeque<(String, Vec<SharedKey>)>);

impl Offered {
    /// New keys for a presentation of so many tracks, in place of those told before.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the system has no randomness.
    pub(crate) fn describe(&mut self, url: &str, tracks: usize) -> Result<Vec<TrackWay>, Error> {
        let mut offers = Vec::with_capacity(tracks);
        let mut ways = Vec::with_capacity(tracks);
        for _ in 0..tracks {
            let key = OwnKey::new(SUITE, random_ssrc()?)?;
            ways.push(TrackWay { keying: Some(key.attributes()?), ..TrackWay::default() });
            offers.push(SharedKey::new(key));
        }
        let url = name(url);
        self.0.retain(|(own, _)| own != url);
        if self.0.len() >= MAX_PRESENTATIONS {
            self.0.pop_front();
        }
        self.0.push_back((url.to_owned(), offers));
        Ok(ways)
    }

    /// Whether the client was told a key for this track.
    pub(crate) fn has(&self, url: &str, track: usize) -> bool {
        let url = name(url);
        self.0.iter().any(|(own, offers)| own == url && track < offers.len())
    }

    /// The key for a session. A second session has another SSRC under it; `None` where none was told, or it was used too
    /// often.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the system has no randomness.
    pub(crate) fn take(&self, url: &str, track: usize) -> Result<Option<OwnKey>, Error> {
        let url = name(url);
        let offer = self.0.iter().find(|(own, _)| own == url).and_then(|(_, own)| own.get(track));
        offer.map_or(Ok(None), SharedKey::take)
    }
}

fn name(url: &str) -> &str {
    url.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::MAX_USES;
    use std::collections::BTreeSet;

    #[test]
    fn a_key_has_each_source_once_and_not_for_ever() {
        let mut offered = Offered::default();
        assert!(offered.take("rtsps://a/b", 0).unwrap().is_none());
        assert_eq!(offered.describe("rtsps://a/b/", 2).unwrap().len(), 2);
        assert!(offered.has("rtsps://a/b", 1) && !offered.has("rtsps://a/b", 2));
        let keys: Vec<_> = (0..MAX_USES).map(|_| offered.take("rtsps://a/b", 1).unwrap().unwrap()).collect();
        let sources: BTreeSet<u32> = keys.iter().map(|key| key.ssrc).collect();
        assert_eq!(sources.len(), MAX_USES);
        assert!(keys.windows(2).all(|two| two[0].key.key_and_salt() == two[1].key.key_and_salt()));
        assert!(offered.take("rtsps://a/b", 1).unwrap().is_none(), "used too often");
        assert!(offered.take("rtsps://a/b", 0).unwrap().is_some());
        offered.describe("rtsps://a/b", 2).unwrap();
        let again = offered.take("rtsps://a/b", 1).unwrap().unwrap();
        assert_ne!(again.key.key_and_salt(), keys[0].key.key_and_salt());
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut offered = Offered::default();
        for number in 0..=MAX_PRESENTATIONS {
            offered.describe(&format!("rtsps://a/{number}"), 1).unwrap();
        }
        assert!(!offered.has("rtsps://a/0", 0) && offered.has("rtsps://a/1", 0));
    }
}
