//! Why a packet is neither protected nor opened.

use thiserror::Error;

/// See the variants. A failed call leaves all state as it was; the packet's bytes are of no use afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SrtpError {
    /// Shorter than its header, tag and MKI together.
    #[error("the packet is too short")]
    TooShort,
    /// No version 2 RTP or RTCP header.
    #[error("not an RTP or RTCP packet")]
    NotRtp,
    /// No key is installed, or none chosen.
    #[error("there is no key")]
    NoKey,
    /// The key's suite or MKI is not like that of the others here.
    #[error("the key does not fit the others: suite or MKI length differs")]
    KeyMismatch,
    /// No epoch has this MKI.
    #[error("no key has this MKI")]
    UnknownMki,
    /// The packet was opened before (`RFC 3711 §3.3.2`).
    #[error("the packet was received before")]
    Replayed,
    /// Behind the replay window.
    #[error("the packet is older than the replay window")]
    TooOld,
    /// Its tag is not that of its bytes and key.
    #[error("the packet does not authenticate")]
    Forged,
    /// SRTCP that says it is not encrypted.
    #[error("the packet is not encrypted")]
    Unencrypted,
    /// State is kept of a bounded number of sources.
    #[error("too many sources (SSRCs) under one key")]
    TooManySsrcs,
    /// The index was used: another packet under it would give the key away (`RFC 3711 §9.1`).
    #[error("the packet's number was used before")]
    IndexUsed,
    /// All indices are used (`RFC 3711 §9.2`).
    #[error("the key has protected as many packets as it may")]
    KeyExhausted,
    /// The buffer has no room for tag and MKI.
    #[error("the buffer has no room for tag and MKI")]
    NoRoom,
    /// The cryptographic library refused.
    #[error("the cryptographic library failed")]
    Library,
}

impl SrtpError {
    /// A stable name, for the label of a counter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooShort => "srtp_too_short",
            Self::NotRtp => "srtp_not_rtp",
            Self::NoKey => "srtp_no_key",
            Self::KeyMismatch => "srtp_key_mismatch",
            Self::UnknownMki => "srtp_unknown_mki",
            Self::Replayed => "srtp_replayed",
            Self::TooOld => "srtp_too_old",
            Self::Forged => "srtp_forged",
            Self::Unencrypted => "srtp_unencrypted",
            Self::TooManySsrcs => "srtp_too_many_ssrcs",
            Self::IndexUsed => "srtp_index_used",
            Self::KeyExhausted => "srtp_key_exhausted",
            Self::NoRoom => "srtp_no_room",
            Self::Library => "srtp_library",
        }
    }
}

impl From<aws_lc_rs::error::Unspecified> for SrtpError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Library
    }
}
