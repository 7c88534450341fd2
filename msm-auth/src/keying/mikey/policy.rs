//! Security policies: which suite the parameters stand for (RFC 3830 §6.10.1, RFC 7714 §14.3).

use super::MikeyError;
use super::wire::{auth, cipher, param};
use crate::srtp::Suite;

/// The length of HMAC-SHA1's session key (RFC 3711 §8.2).
const HMAC_KEY: u8 = 20;

/// Parameters of one policy; what is absent has SRTP's default.
#[derive(Debug, Default)]
pub(super) struct Policy {
    cipher: Option<u8>,
    key_len: Option<u8>,
    auth: Option<u8>,
    auth_key_len: Option<u8>,
    salt_len: Option<u8>,
    tag_len: Option<u8>,
    aead_tag_len: Option<u8>,
    srtp_authenticated: Option<u8>,
}

impl Policy {
    /// Takes one parameter.
    pub(super) fn set(&mut self, kind: u8, value: &[u8]) -> Result<(), MikeyError> {
        let refused = MikeyError::Parameter { kind };
        if kind == param::KEY_DERIVATION_RATE {
            return if value.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(refused) };
        }
        let [value] = *value else { return Err(refused) };
        let slot = match kind {
            param::CIPHER => &mut self.cipher,
            param::KEY_LEN => &mut self.key_len,
            param::AUTH => &mut self.auth,
            param::AUTH_KEY_LEN => &mut self.auth_key_len,
            param::SALT_LEN => &mut self.salt_len,
            param::TAG_LEN => &mut self.tag_len,
            param::AEAD_TAG_LEN => &mut self.aead_tag_len,
            param::SRTP_AUTHENTICATED => &mut self.srtp_authenticated,
            param::SRTP_ENCRYPTED if value == 0 => return Err(MikeyError::Downgrade("SRTP encryption")),
            param::SRTCP_ENCRYPTED if value == 0 => return Err(MikeyError::Downgrade("SRTCP encryption")),
            param::SRTP_ENCRYPTED | param::SRTCP_ENCRYPTED if value == 1 => return Ok(()),
            param::PRF | param::FEC_ORDER | param::PREFIX_LEN if value == 0 => return Ok(()),
            // What is not known can change packets, as a ROC that travels in the tag does (RFC 4771 §4).
            _ => return Err(refused),
        };
        *slot = Some(value);
        Ok(())
    }

    /// The suite that the parameters together stand for.
    pub(super) fn suite(&self) -> Result<Suite, MikeyError> {
        let suite = match self.cipher.unwrap_or(cipher::AES_CM) {
            cipher::NULL => return Err(MikeyError::Downgrade("encryption")),
            cipher::AES_CM => self.counter_mode()?,
            cipher::AES_GCM => self.galois_mode()?,
            _ => return Err(MikeyError::Parameter { kind: param::CIPHER }),
        };
        match self.salt_len {
            Some(length) if usize::from(length) != suite.salt_len() => {
                Err(MikeyError::Parameter { kind: param::SALT_LEN })
            }
            _ => Ok(suite),
        }
    }

    fn counter_mode(&self) -> Result<Suite, MikeyError> {
        if self.srtp_authenticated == Some(0) || self.auth == Some(auth::NULL) {
            return Err(MikeyError::Downgrade("SRTP authentication"));
        }
        only(param::SRTP_AUTHENTICATED, self.srtp_authenticated, &[1])?;
        only(param::AUTH, self.auth, &[auth::HMAC_SHA1])?;
        only(param::KEY_LEN, self.key_len, &[16])?;
        only(param::AEAD_TAG_LEN, self.aead_tag_len, &[])?;
        // GStreamer says 10 or 4 where it means the tag; other peers say 20, and may say the tag's length as well.
        only(param::AUTH_KEY_LEN, self.auth_key_len, &[HMAC_KEY, 10, 4])?;
        let tag = self.tag_len.or(self.auth_key_len.filter(|length| *length == 4)).unwrap_or(10);
        match tag {
            10 => Ok(Suite::AesCm128HmacSha1_80),
            4 => Ok(Suite::AesCm128HmacSha1_32),
            _ => Err(MikeyError::Parameter { kind: param::TAG_LEN }),
        }
    }

    /// The tag is the cipher's own, whatever is said of another.
    fn galois_mode(&self) -> Result<Suite, MikeyError> {
        only(param::AEAD_TAG_LEN, self.aead_tag_len, &[16])?;
        only(param::TAG_LEN, self.tag_len, &[0, 16])?;
        match self.key_len.unwrap_or(16) {
            16 => Ok(Suite::AeadAes128Gcm),
            32 => Ok(Suite::AeadAes256Gcm),
            _ => Err(MikeyError::Parameter { kind: param::KEY_LEN }),
        }
    }
}

fn only(kind: u8, value: Option<u8>, allowed: &[u8]) -> Result<(), MikeyError> {
    match value {
        Some(value) if !allowed.contains(&value) => Err(MikeyError::Parameter { kind }),
        _ => Ok(()),
    }
}

/// Parameters that say `suite` to every reader that is known: type and value.
pub(super) fn params(suite: Suite) -> [(u8, u8); 8] {
    let key_len = match suite {
        Suite::AeadAes256Gcm => 32,
        _ => 16,
    };
    let (cipher, auth, auth_key_len, tag) = match suite {
        Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => {
            (cipher::AES_GCM, auth::NULL, 0, (param::AEAD_TAG_LEN, 16))
        }
        // live555 takes no other length than 20 and no other tag than 10; GStreamer takes 20 for a tag of 10.
        Suite::AesCm128HmacSha1_80 => (cipher::AES_CM, auth::HMAC_SHA1, HMAC_KEY, (param::TAG_LEN, 10)),
        // The only way to tell GStreamer, which ignores the tag's length.
        Suite::AesCm128HmacSha1_32 => (cipher::AES_CM, auth::HMAC_SHA1, 4, (param::TAG_LEN, 4)),
    };
    [
        (param::CIPHER, cipher),
        (param::KEY_LEN, key_len),
        (param::AUTH, auth),
        (param::AUTH_KEY_LEN, auth_key_len),
        (param::SRTP_ENCRYPTED, 1),
        (param::SRTCP_ENCRYPTED, 1),
        (param::SRTP_AUTHENTICATED, 1),
        tag,
    ]
}
