//! Crypto suites, by the names that SDP gives them.

/// A crypto suite of SRTP: cipher, key sizes and tag.
///
/// Names are those of `a=crypto` (RFC 4568 §6.2, RFC 7714 §14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-128 in Galois/counter mode, 16-byte tag: the suite between members (RFC 7714).
    AeadAes128Gcm,
    /// AES-256 in Galois/counter mode, 16-byte tag (RFC 7714).
    AeadAes256Gcm,
    /// AES-128 in counter mode with HMAC-SHA1, 10-byte tag: what nearly every plain peer speaks (RFC 3711).
    AesCm128HmacSha1_80,
    /// The same with a 4-byte tag on RTP; RTCP keeps 10 bytes (RFC 3711 §5.2).
    AesCm128HmacSha1_32,
}

impl Suite {
    /// All suites, the preferred first.
    pub const ALL: [Suite; 4] =
        [Suite::AeadAes128Gcm, Suite::AeadAes256Gcm, Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32];

    /// The name in SDP.
    pub fn name(self) -> &'static str {
        match self {
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Suite::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Suite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// The suite with this SDP name, compared without case.
    pub fn from_name(name: &str) -> Option<Suite> {
        Suite::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Length of the master key in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            Suite::AeadAes256Gcm => 32,
            _ => 16,
        }
    }

    /// Length of the master salt in bytes.
    pub const fn salt_len(self) -> usize {
        match self {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 12,
            _ => 14,
        }
    }

    /// Bytes that authentication adds to an RTP packet, an MKI not counted.
    pub const fn rtp_tag_len(self) -> usize {
        match self {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 16,
            Suite::AesCm128HmacSha1_80 => 10,
            Suite::AesCm128HmacSha1_32 => 4,
        }
    }

    /// Bytes that authentication adds to an RTCP packet, index word and MKI not counted.
    pub const fn rtcp_tag_len(self) -> usize {
        match self {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 16,
            _ => 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_without_case_and_nothing_else_is() {
        for suite in Suite::ALL {
            assert_eq!(Suite::from_name(suite.name()), Some(suite));
            assert_eq!(Suite::from_name(&suite.name().to_lowercase()), Some(suite));
        }
        assert_eq!(Suite::from_name("AES_CM_128_HMAC_SHA1_8"), None);
        assert_eq!(Suite::from_name("F8_128_HMAC_SHA1_80"), None);
    }
}
