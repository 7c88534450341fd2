//! Why a certificate, a key or a bundle was refused.

use std::fmt;

use rustls_pki_types::UnixTime;

use super::id::{IdError, SpiffeId, TrustDomain};

/// Which certificate of a chain is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The one that identifies a member.
    Leaf,
    /// One that signs others.
    Signer,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leaf => "leaf",
            Self::Signer => "signing certificate",
        })
    }
}

/// Why an X.509-SVID, its key or a bundle was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SvidError {
    /// A chain of no certificate.
    #[error("the certificate chain is empty: the leaf comes first, then its intermediates")]
    EmptyChain,
    /// Longer than [`MAX_CHAIN`](super::svid::MAX_CHAIN).
    #[error("a chain of {0} certificates: the most is {max}", max = super::svid::MAX_CHAIN)]
    ChainTooLong(usize),
    /// The bytes are no X.509 certificate (`RFC 5280 §4.1`).
    #[error("{position}: not an X.509 certificate in DER: {reason}")]
    Malformed {
        /// Which certificate.
        position: Position,
        /// What the parser says.
        reason: String,
    },
    /// No URI SAN (`X509-SVID §2`).
    #[error(
        "the leaf has no URI SAN, so no SPIFFE ID: issue it as an X.509-SVID (a DNS name does not identify a member)"
    )]
    NoUriSan,
    /// More than one URI SAN (`X509-SVID §2`).
    #[error("the leaf has {0} URI SANs: an X.509-SVID has exactly one, its SPIFFE ID")]
    SeveralUriSans(usize),
    /// The URI SAN is no SPIFFE ID (`SPIFFE-ID §2`).
    #[error("{position}: the URI SAN is no SPIFFE ID: {reason}")]
    BadId {
        /// Which certificate.
        position: Position,
        /// What is wrong with it.
        #[source]
        reason: IdError,
    },
    /// A leaf whose ID is the trust domain itself (`X509-SVID §3.1`).
    #[error("the leaf's SPIFFE ID {0} has no path: it names the trust domain, not a member of it")]
    LeafWithoutPath(SpiffeId),
    /// The subject is empty and the SAN not critical (`RFC 5280 §4.1.2.6`).
    #[error("the leaf has no subject, so its SAN extension has to be critical, and is not")]
    SanNotCritical,
    /// A certificate of a CA in the place of the leaf (`X509-SVID §5.2`).
    #[error(
        "the leaf is a CA certificate (cA is true): present the certificate of the member, with its issuers behind it"
    )]
    LeafIsCa,
    /// No key usage extension (`X509-SVID §4.3`).
    #[error("{0}: the key usage extension is missing")]
    NoKeyUsage(Position),
    /// The key usage extension is not critical (`X509-SVID §4.3`).
    #[error("{0}: the key usage extension is not marked critical")]
    KeyUsageNotCritical(Position),
    /// The key usage lacks what its place needs (`X509-SVID §4.3`).
    #[error("{position}: key usage lacks {bit}")]
    KeyUsageLacks {
        /// Which certificate.
        position: Position,
        /// `digitalSignature` or `keyCertSign`.
        bit: &'static str,
    },
    /// The leaf may sign certificates or CRLs (`X509-SVID §4.3`).
    #[error("the leaf's key usage has {0}, which only a signing certificate may have")]
    LeafMaySign(&'static str),
    /// The extended key usage is there and lacks one of the two (`X509-SVID §4.4`).
    #[error("the leaf's extended key usage lacks {0}: a member needs both serverAuth and clientAuth")]
    ExtendedKeyUsageLacks(&'static str),
    /// A signing certificate whose `cA` is not true (`X509-SVID §3.2`).
    #[error("a signing certificate is no CA (cA is not true)")]
    SignerIsNoCa,
    /// A signing certificate whose ID has a path (`X509-SVID §3.2`).
    #[error("the signing certificate's SPIFFE ID {0} has a path: only a member's has one")]
    SignerWithPath(SpiffeId),
    /// The time is before `notBefore` (`RFC 5280 §4.1.2.5`).
    #[error("{position} is not valid for {} s yet: compare the clocks", secs_between(now, not_before))]
    NotYetValid {
        /// Which certificate.
        position: Position,
        /// Its `notBefore`.
        not_before: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// The time is after `notAfter` (`RFC 5280 §4.1.2.5`).
    #[error(
        "{position} expired {} s ago: its source does not renew it, or a clock is wrong",
        secs_between(not_after, now)
    )]
    Expired {
        /// Which certificate.
        position: Position,
        /// Its `notAfter`.
        not_after: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// There is no bundle for the trust domain of the ID (`SPIFFE Federation §4`).
    #[error("no bundle for trust domain {0}: add it to `federated` if its members are welcome")]
    NoBundle(TrustDomain),
    /// No authority of the trust domain's bundle issued the chain (`RFC 5280 §6.1`).
    #[error("{0} is issued by no authority in the bundle of {td}: an intermediate is missing, or the bundle is stale", td = .0.trust_domain())]
    UnknownIssuer(SpiffeId),
    /// Path validation failed for another reason (`RFC 5280 §6.1`).
    #[error("{id}: path validation failed: {reason}")]
    Path {
        /// Whose chain.
        id: SpiffeId,
        /// What the path validation says.
        reason: String,
    },
    /// The key is not one that can sign.
    #[error("the private key cannot be used: {0}")]
    BadKey(String),
    /// The key is not the leaf's.
    #[error("the private key is not the one of the leaf {0}: chain and key come from two issues")]
    KeyMismatch(SpiffeId),
    /// A bundle without a certificate: the trust domain vouches for nobody.
    #[error("the bundle of {0} has no certificate")]
    EmptyBundle(TrustDomain),
    /// More than [`MAX_AUTHORITIES`](super::bundle::MAX_AUTHORITIES).
    #[error("the bundle of {trust_domain} has {count} certificates: the most is {max}", max = super::bundle::MAX_AUTHORITIES)]
    BundleTooLarge {
        /// Whose bundle.
        trust_domain: TrustDomain,
        /// How many.
        count: usize,
    },
    /// There is no identity to speak with, or to check a peer with.
    #[error("there is no identity at the moment: see what its source reports")]
    NoIdentity,
    /// The peer showed no certificate.
    #[error("the peer presented no certificate")]
    NoPeerCertificate,
    /// The peer is who it says, and is not allowed.
    #[error("{0} is authenticated, and matches none of the allowed IDs")]
    NotAllowed(SpiffeId),
    /// The peer did not agree to speak `msm/1` (`RFC 7301`).
    #[error("the peer did not negotiate the ALPN protocol msm/1")]
    NoAlpn,
}

impl SvidError {
    /// A stable name, for metric labels.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::EmptyChain => "empty_chain",
            Self::ChainTooLong(_) => "chain_too_long",
            Self::Malformed { .. } => "malformed",
            Self::NoUriSan => "no_uri_san",
            Self::SeveralUriSans(_) => "several_uri_sans",
            Self::BadId { .. } => "bad_id",
            Self::LeafWithoutPath(_) => "leaf_without_path",
            Self::SanNotCritical => "san_not_critical",
            Self::LeafIsCa => "leaf_is_ca",
            Self::NoKeyUsage(_) => "no_key_usage",
            Self::KeyUsageNotCritical(_) => "key_usage_not_critical",
            Self::KeyUsageLacks { .. } => "key_usage_lacks",
            Self::LeafMaySign(_) => "leaf_may_sign",
            Self::ExtendedKeyUsageLacks(_) => "extended_key_usage_lacks",
            Self::SignerIsNoCa => "signer_is_no_ca",
            Self::SignerWithPath(_) => "signer_with_path",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::Expired { .. } => "expired",
            Self::NoBundle(_) => "no_bundle",
            Self::UnknownIssuer(_) => "unknown_issuer",
            Self::Path { .. } => "path",
            Self::BadKey(_) => "bad_key",
            Self::KeyMismatch(_) => "key_mismatch",
            Self::EmptyBundle(_) => "empty_bundle",
            Self::BundleTooLarge { .. } => "bundle_too_large",
            Self::NoIdentity => "no_identity",
            Self::NoPeerCertificate => "no_peer_certificate",
            Self::NotAllowed(_) => "not_allowed",
            Self::NoAlpn => "no_alpn",
        }
    }
}

fn secs_between(earlier: &UnixTime, later: &UnixTime) -> u64 {
    later.as_secs().saturating_sub(earlier.as_secs())
}
