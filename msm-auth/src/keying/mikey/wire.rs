//! Numbers of the format (RFC 3830 §6).

/// The only version.
pub(super) const VERSION: u8 = 1;
/// Data type: the initiator's message, keys from a pre-shared key (RFC 3830 §6.1, table 6.1.a).
pub(super) const PSK_INIT: u8 = 0;
/// The map of streams: SRTP-ID (table 6.1.d).
pub(super) const SRTP_ID: u8 = 0;

/// Payload types (table 6.1.b).
pub(super) mod payload {
    pub(crate) const LAST: u8 = 0;
    pub(crate) const KEMAC: u8 = 1;
    pub(crate) const TIMESTAMP: u8 = 5;
    pub(crate) const ID: u8 = 6;
    pub(crate) const POLICY: u8 = 10;
    pub(crate) const RAND: u8 = 11;
    pub(crate) const KEY_DATA: u8 = 20;
    pub(crate) const EXTENSION: u8 = 21;
}

/// Key data types (table 6.13.a).
pub(super) mod key_type {
    pub(crate) const TEK: u8 = 2;
    pub(crate) const TEK_SALT: u8 = 3;
}

/// Key validity types (table 6.13.b).
pub(super) mod validity {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const SPI: u8 = 1;
}

/// Parameters of an SRTP policy (§6.10.1; RFC 7714 §14.3).
pub(super) mod param {
    pub(crate) const CIPHER: u8 = 0;
    pub(crate) const KEY_LEN: u8 = 1;
    pub(crate) const AUTH: u8 = 2;
    pub(crate) const AUTH_KEY_LEN: u8 = 3;
    pub(crate) const SALT_LEN: u8 = 4;
    pub(crate) const PRF: u8 = 5;
    pub(crate) const KEY_DERIVATION_RATE: u8 = 6;
    pub(crate) const SRTP_ENCRYPTED: u8 = 7;
    pub(crate) const SRTCP_ENCRYPTED: u8 = 8;
    pub(crate) const FEC_ORDER: u8 = 9;
    pub(crate) const SRTP_AUTHENTICATED: u8 = 10;
    pub(crate) const TAG_LEN: u8 = 11;
    pub(crate) const PREFIX_LEN: u8 = 12;
    pub(crate) const AEAD_TAG_LEN: u8 = 20;
}

/// Ciphers of a policy (§6.10.1; RFC 7714 §14.3).
pub(super) mod cipher {
    pub(crate) const NULL: u8 = 0;
    pub(crate) const AES_CM: u8 = 1;
    pub(crate) const AES_GCM: u8 = 6;
}

/// Authentication of a policy (§6.10.1).
pub(super) mod auth {
    pub(crate) const NULL: u8 = 0;
    pub(crate) const HMAC_SHA1: u8 = 1;
}
