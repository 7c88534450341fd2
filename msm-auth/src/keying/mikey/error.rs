//! Why a message is of no use.

use super::{MAX_MESSAGE, MAX_STREAMS};
use crate::keying::MAX_MKI;
use crate::srtp::{InvalidMasterKey, Suite};

/// Why a MIKEY message was refused. Quotes nothing of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MikeyError {
    /// Longer than [`MAX_MESSAGE`].
    #[error("a MIKEY message of {0} bytes: the most is {MAX_MESSAGE}")]
    TooLong(usize),
    /// It ends within the named part.
    #[error("the MIKEY message ends within its {0}")]
    Truncated(&'static str),
    /// Something follows the last payload.
    #[error("{0} bytes follow the MIKEY message's last payload")]
    Trailing(usize),
    /// Not version 1.
    #[error("MIKEY version {0}: only 1 is known (RFC 3830 §6.1)")]
    Version(u8),
    /// Not the pre-shared-key initiator's message.
    #[error("MIKEY data type {0}: only 0, a pre-shared key's initiator message, is supported")]
    DataType(u8),
    /// The writer waits for a response, which needs a MAC.
    #[error("the MIKEY message asks to be verified, which needs a pre-shared key: none is supported")]
    Verification,
    /// Another pseudo-random function than MIKEY-1.
    #[error("MIKEY pseudo-random function {0}: only 0, MIKEY-1, is known")]
    Prf(u8),
    /// The map of streams is not of SRTP's kind.
    #[error("MIKEY map type {0}: only 0, SRTP-ID, is supported")]
    MapType(u8),
    /// More streams than [`MAX_STREAMS`].
    #[error("a MIKEY message of {0} streams: the most is {MAX_STREAMS}")]
    TooManyStreams(usize),
    /// A payload that is not expected in this message.
    #[error("MIKEY payload {0} is not supported: expected T, RAND, SP and KEMAC")]
    Payload(u8),
    /// A timestamp of unknown kind.
    #[error("MIKEY timestamp type {0} is not known")]
    TimestampType(u8),
    /// A policy of another protocol than SRTP.
    #[error("MIKEY policy for protocol {0}: only 0, SRTP, is supported")]
    Protocol(u8),
    /// A policy's parameter whose value is not supported, or which is not known.
    #[error("MIKEY policy parameter {kind}: its value is not supported")]
    Parameter {
        /// The parameter's type (RFC 3830 §6.10.1).
        kind: u8,
    },
    /// A policy that turns protection off.
    #[error("the MIKEY policy turns off {0}, which is refused: turn it on at the peer")]
    Downgrade(&'static str),
    /// Two policies have the same number.
    #[error("MIKEY policy {0} is there twice")]
    DuplicatePolicy(u8),
    /// A stream names a policy that is not there.
    #[error("a stream of the MIKEY message has policy {0}, which is not in the message")]
    NoPolicy(u8),
    /// The streams' policies want different suites, and there is one key.
    #[error("the policies of the MIKEY message want different suites for one key")]
    MixedSuites,
    /// No key.
    #[error("the MIKEY message has no KEMAC payload, which has the key")]
    NoKey,
    /// Several keys.
    #[error("the MIKEY message has several keys: one is supported")]
    SeveralKeys,
    /// The key is encrypted or authenticated with a pre-shared key.
    #[error(
        "the MIKEY message's key is protected by a pre-shared key (encryption {cipher}, MAC {mac}): send it in the clear, within TLS"
    )]
    Protected {
        /// Its encryption (RFC 3830 §6.2, table 6.2.a).
        cipher: u8,
        /// Its MAC (table 6.2.b).
        mac: u8,
    },
    /// Not a traffic-encrypting key.
    #[error("MIKEY key type {0}: only 2 and 3, traffic-encrypting keys, are supported")]
    KeyType(u8),
    /// A key validity that cannot be kept to.
    #[error("MIKEY key validity {0}: only none and an SPI are supported")]
    Validity(u8),
    /// The SPI is empty or too long for an MKI.
    #[error("a MIKEY SPI of {0} bytes: an MKI has 1 to {MAX_MKI}")]
    Spi(usize),
    /// A salt by itself that has not the suite's length.
    #[error("the MIKEY message's salt has {got} bytes: {} needs {}", suite.name(), suite.salt_len())]
    Salt {
        /// The suite of the message's policy.
        suite: Suite,
        /// Bytes of salt.
        got: usize,
    },
    /// The key has not the suite's length.
    #[error("the MIKEY message's key: {0}")]
    Key(InvalidMasterKey),
}

impl MikeyError {
    /// A stable name, for metric labels.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "too_long",
            Self::Truncated(_) => "truncated",
            Self::Trailing(_) => "trailing",
            Self::Version(_) => "version",
            Self::DataType(_) => "data_type",
            Self::Verification => "verification",
            Self::Prf(_) => "prf",
            Self::MapType(_) => "map_type",
            Self::TooManyStreams(_) => "too_many_streams",
            Self::Payload(_) => "payload",
            Self::TimestampType(_) => "timestamp_type",
            Self::Protocol(_) => "protocol",
            Self::Parameter { .. } => "parameter",
            Self::Downgrade(_) => "downgrade",
            Self::DuplicatePolicy(_) => "duplicate_policy",
            Self::NoPolicy(_) => "no_policy",
            Self::MixedSuites => "mixed_suites",
            Self::NoKey => "no_key",
            Self::SeveralKeys => "several_keys",
            Self::Protected { .. } => "protected",
            Self::KeyType(_) => "key_type",
            Self::Validity(_) => "validity",
            Self::Spi(_) => "spi",
            Self::Salt { .. } => "salt",
            Self::Key(_) => "key",
        }
    }
}
