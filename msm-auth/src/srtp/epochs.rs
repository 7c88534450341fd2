//! The keys of several epochs, by MKI.

use super::cipher::SessionKeys;
use super::{MAX_EPOCHS, MAX_MKI, MasterKey, SrtpError, Suite};

/// The keys that one side has.
#[derive(Debug)]
pub(super) struct Epochs {
    mki_len: usize,
    /// Beside what its owner needs for each packet anyway: to fetch it is a good part of what a packet after a pause costs.
    newest: Option<Epoch>,
    /// The oldest first.
    older: Vec<Epoch>,
}

#[derive(Debug)]
pub(super) struct Epoch {
    pub(super) mki: [u8; MAX_MKI],
    pub(super) keys: SessionKeys,
}

impl Epochs {
    pub(super) fn new(mki_len: usize) -> Self {
        Self { mki_len: mki_len.min(MAX_MKI), newest: None, older: Vec::new() }
    }

    pub(super) fn mki_len(&self) -> usize {
        self.mki_len
    }

    pub(super) fn suite(&self) -> Option<Suite> {
        self.newest.as_ref().map(|epoch| epoch.keys.suite())
    }

    /// Adds an epoch, or replaces that of the same MKI. The oldest gives way.
    pub(super) fn install(&mut self, master: &MasterKey, mki: &[u8]) -> Result<(), SrtpError> {
        if mki.len() != self.mki_len || self.suite().is_some_and(|suite| suite != master.suite()) {
            return Err(SrtpError::KeyMismatch);
        }
        let epoch = Epoch { mki: padded(mki), keys: SessionKeys::derive(master)? };
        self.retire(mki);
        if let Some(before) = self.newest.replace(epoch) {
            if self.older.len() + 1 >= MAX_EPOCHS {
                self.older.remove(0);
            }
            self.older.push(before);
        }
        Ok(())
    }

    pub(super) fn retire(&mut self, mki: &[u8]) {
        if mki.len() != self.mki_len {
            return;
        }
        let mki = padded(mki);
        self.older.retain(|epoch| epoch.mki != mki);
        if self.newest.as_ref().is_some_and(|epoch| epoch.mki == mki) {
            self.newest = self.older.pop();
        }
    }

    #[inline]
    pub(super) fn get(&self, mki: &[u8]) -> Option<&Epoch> {
        if mki.len() != self.mki_len {
            return None;
        }
        let mki = padded(mki);
        self.newest.iter().chain(self.older.iter().rev()).find(|epoch| epoch.mki == mki)
    }
}

#[inline]
fn padded(mki: &[u8]) -> [u8; MAX_MKI] {
    let mut out = [0; MAX_MKI];
    for (place, byte) in out.iter_mut().zip(mki) {
        *place = *byte;
    }
    out
}
