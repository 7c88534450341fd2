//! Master keys and salts.

use super::Suite;
use std::fmt;
use thiserror::Error;
use zeroize::Zeroize;

/// The longest master key followed by the longest salt.
const MAX: usize = 32 + 14;

/// A master key and salt for one suite: what SDES, MIKEY or a TLS exporter hands over.
///
/// Wiped on drop; `Debug` shows the suite alone.
#[derive(Clone)]
pub struct MasterKey {
    suite: Suite,
    bytes: [u8; MAX],
}

/// Key material of a length that the suite has no use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{} needs {} bytes of key and {} of salt, got {got} together", suite.name(), suite.key_len(), suite.salt_len())]
pub struct InvalidMasterKey {
    suite: Suite,
    got: usize,
}

impl MasterKey {
    /// From key ‖ salt, the form in which SDES, MIKEY and exporters give it; exactly
    /// [`Suite::key_len`] + [`Suite::salt_len`] bytes.
    ///
    /// # Errors
    /// Another number of bytes.
    pub fn from_bytes(suite: Suite, key_and_salt: &[u8]) -> Result<MasterKey, InvalidMasterKey> {
        let wanted = suite.key_len() + suite.salt_len();
        let mut bytes = [0; MAX];
        match bytes.get_mut(..wanted) {
            Some(room) if key_and_salt.len() == wanted => room.copy_from_slice(key_and_salt),
            _ => return Err(InvalidMasterKey { suite, got: key_and_salt.len() }),
        }
        Ok(MasterKey { suite, bytes })
    }

    /// The suite it is for.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The master key.
    pub fn key(&self) -> &[u8] {
        self.bytes.get(..self.suite.key_len()).unwrap_or_default()
    }

    /// The master salt.
    pub fn salt(&self) -> &[u8] {
        self.bytes.get(self.suite.key_len()..self.len()).unwrap_or_default()
    }

    /// Key ‖ salt, for a keying protocol's message. The caller wipes what it copies.
    pub fn key_and_salt(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }

    fn len(&self) -> usize {
        self.suite.key_len() + self.suite.salt_len()
    }
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("suite", &self.suite).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_salt_are_split_by_the_suite_and_never_shown() {
        let material: Vec<u8> = (100..130).collect();
        let key = MasterKey::from_bytes(Suite::AesCm128HmacSha1_80, &material).expect("30 bytes");
        assert_eq!((key.key(), key.salt()), (&material[..16], &material[16..]));
        assert_eq!(key.key_and_salt(), material);
        assert!(!format!("{key:?}").contains("100"), "{key:?}");
        let error = MasterKey::from_bytes(Suite::AeadAes128Gcm, &material).expect_err("28 bytes are wanted");
        assert_eq!(
            error.to_string(),
            "AEAD_AES_128_GCM needs 16 bytes of key and 12 of salt, got 30 together"
        );
    }
}
