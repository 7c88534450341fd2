//! A key that a peer was told before it is known how many sessions use it.

use std::cell::RefCell;

use super::OwnKey;
use super::keys::random_ssrc;
use crate::error::Error;

/// How often a key that was told once is used for a session: each has another SSRC.
pub(crate) const MAX_USES: usize = 16;

/// A key of ours, and the sources that it was used with.
#[derive(Debug)]
pub(crate) struct SharedKey(RefCell<(OwnKey, Vec<u32>)>);

impl SharedKey {
    pub(crate) fn new(key: OwnKey) -> Self {
        Self(RefCell::new((key, Vec::new())))
    }

    /// The key for one session, which is the only one with its source; `None` if it was used too often.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the system has no randomness.
    pub(crate) fn take(&self) -> Result<Option<OwnKey>, Error> {
        let (key, used) = &mut *self.0.borrow_mut();
        if used.len() >= MAX_USES {
            return Ok(None);
        }
        while used.contains(&key.ssrc) {
            key.ssrc = random_ssrc()?;
        }
        used.push(key.ssrc);
        Ok(Some(key.clone()))
    }
}
