//! The keys of several epochs, by MKI.

use super::cipher::SessionKeys;
use super::{MAX_EPOCHS, MAX_MKI, MasterKey, SrtpError, Suite};

/// The keys that one side has, the oldest first.
#[derive(Debug)]
pub(super) struct Epochs {
    mki_len: usize,
    keys: Vec<Epoch>,
}

#[derive(Debug)]
pub(super) struct Epoch {
    pub(super) mki: [u8; MAX_MKI],
    pub(super) keys: SessionKeys,
}

impl Epochs {
    pub(super) fn new(mki_len: usize) -> Self {
        Self { mki_len: mki_len.min(MAX_MKI), keys: Vec::with_capacity(MAX_EPOCHS) }
    }

    pub(super) fn mki_len(&self) -> usize {
        self.mki_len
    }

    pub(super) fn suite(&self) -> Option<Suite> {
        self.keys.last().map(|epoch| epoch.keys.suite())
    }

    /// Adds an epoch, or replaces that of the same MKI. The oldest gives way.
    pub(super) fn install(&mut self, master: &MasterKey, mki: &[u8]) -> Result<(), SrtpError> {
        if mki.len() != self.mki_len || self.suite().is_some_and(|suite| suite != master.suite()) {
            return Err(SrtpError::KeyMismatch);
        }
        let epoch = Epoch { mki: padded(mki), keys: SessionKeys::derive(master)? };
        self.retire(mki);
        if self.keys.len() >= MAX_EPOCHS {
            self.keys.remove(0);
        }
        self.keys.push(epoch);
        Ok(())
    }

    pub(super) fn retire(&mut self, mki: &[u8]) {
        if mki.len() != self.mki_len {
            return;
        }
        let mki = padded(mki);
        self.keys.retain(|epoch| epoch.mki != mki);
    }

    #[inline]
    pub(super) fn get(&self, mki: &[u8]) -> Option<&Epoch> {
        if mki.len() != self.mki_len {
            return None;
        }
        let mki = padded(mki);
        // Nearly always the newest.
        self.keys.iter().rev().find(|epoch| epoch.mki == mki)
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
