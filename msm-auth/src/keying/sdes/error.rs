//! Why a security description is of no use.

use super::{MAX_KEYS, MAX_LIFETIME, MAX_LINE};
use crate::keying::MAX_MKI;
use crate::srtp::{InvalidMasterKey, Suite};

/// Why an `a=crypto` attribute was refused. Quotes nothing that can be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdesError {
    /// Longer than [`MAX_LINE`].
    #[error("a=crypto of {0} bytes: the most is {MAX_LINE}")]
    TooLong(usize),
    /// Tag, suite or key is missing.
    #[error("a=crypto has no {0}: expected <tag> <suite> inline:<key> (RFC 4568 §4)")]
    Missing(&'static str),
    /// The tag is not one to nine digits.
    #[error("the tag of a=crypto is not a number of one to nine digits (RFC 4568 §9.1)")]
    Tag,
    /// No suite of that name is known.
    #[error("a=crypto: suite {0} is not supported")]
    UnknownSuite(String),
    /// Another key method than `inline`.
    #[error("a=crypto: the key is not given as inline:<base64>, the only key method there is")]
    KeyMethod,
    /// More keys than [`MAX_KEYS`].
    #[error("a=crypto has {0} keys: the most is {MAX_KEYS}")]
    TooManyKeys(usize),
    /// Several keys, and nothing to tell them apart (RFC 4568 §6.1).
    #[error("a=crypto has several keys but the first has no MKI to tell them apart (RFC 4568 §6.1)")]
    KeysWithoutMki,
    /// The key is no base64.
    #[error("a=crypto: the key is not base64")]
    Base64,
    /// The key has not the suite's length.
    #[error("a=crypto: {0}")]
    Key(InvalidMasterKey),
    /// Something stands after the key that is neither a lifetime nor an MKI, or they are in the wrong order.
    #[error("a=crypto: after the key only |<lifetime> and then |<MKI>:<length> may follow (RFC 4568 §9.2)")]
    KeyField,
    /// The lifetime is 0, more than [`MAX_LIFETIME`], or no number.
    #[error("a=crypto: the lifetime is not a number of packets from 1 to {MAX_LIFETIME}, or 2^n of them")]
    Lifetime,
    /// The MKI's length is 0 or over [`MAX_MKI`], or its value does not fit.
    #[error("a=crypto: the MKI is not <value>:<length> with 1 to {MAX_MKI} bytes that hold the value")]
    Mki,
    /// A parameter that turns protection off.
    #[error("a=crypto: {0} turns protection off, which is refused: remove it at the peer")]
    Downgrade(&'static str),
    /// A key derivation rate (RFC 4568 §6.3.1).
    #[error("a=crypto: keys are derived once, so KDR must be 0 or absent")]
    KeyDerivationRate,
    /// A parameter that must not be ignored and is not supported.
    #[error("a=crypto: session parameter {0} is not supported, or its value is not")]
    Parameter(String),
    /// The answer's suite is not the offer's.
    #[error("the answer's suite {} is not the offer's {}", got.name(), offered.name())]
    OtherSuite {
        /// The offer's.
        offered: Suite,
        /// The answer's.
        got: Suite,
    },
    /// The answer's tag is not the offer's.
    #[error("the answer's tag {got} is not the offer's {offered} (RFC 4568 §5.1.3)")]
    OtherTag {
        /// The offer's.
        offered: u32,
        /// The answer's.
        got: u32,
    },
    /// The suite is known, and not wanted here.
    #[error("a=crypto: suite {} is not among those allowed here", suite.name())]
    NotAllowed {
        /// Which suite.
        suite: Suite,
    },
    /// There is nothing to choose from.
    #[error("no a=crypto to choose from")]
    NoOffer,
}

impl SdesError {
    /// A stable name, for metric labels.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "too_long",
            Self::Missing(_) => "missing",
            Self::Tag => "tag",
            Self::UnknownSuite(_) => "unknown_suite",
            Self::KeyMethod => "key_method",
            Self::TooManyKeys(_) => "too_many_keys",
            Self::KeysWithoutMki => "keys_without_mki",
            Self::Base64 => "base64",
            Self::Key(_) => "key",
            Self::KeyField => "key_field",
            Self::Lifetime => "lifetime",
            Self::Mki => "mki",
            Self::Downgrade(_) => "downgrade",
            Self::KeyDerivationRate => "key_derivation_rate",
            Self::Parameter(_) => "parameter",
            Self::OtherSuite { .. } => "other_suite",
            Self::OtherTag { .. } => "other_tag",
            Self::NotAllowed { .. } => "not_allowed",
            Self::NoOffer => "no_offer",
        }
    }
}
