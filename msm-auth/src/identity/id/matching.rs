//! Which IDs a policy means.

use std::fmt;
use std::str::FromStr;

use super::{IdError, SCHEME, SpiffeId, TrustDomain};

/// Which peers a policy means.
///
/// Written `spiffe://td/ns/prod/sa/web` for one ID, `spiffe://td/ns/prod/*` for every ID below that path at any depth,
/// and `spiffe://td` or `spiffe://td/*` for a whole trust domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IdMatch {
    /// This ID and no other.
    Exact(SpiffeId),
    /// IDs of the trust domain whose path has the prefix, which begins and ends with a slash.
    Below {
        /// Their trust domain.
        trust_domain: TrustDomain,
        /// As in `/ns/prod/`.
        prefix: Box<str>,
    },
    /// Each ID of the trust domain.
    TrustDomain(TrustDomain),
}

impl IdMatch {
    /// # Errors
    ///
    /// What breaks `SPIFFE-ID §2`, or a `*` that is not the whole last segment.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let Some(stem) = text.strip_suffix("/*") else {
            if text.contains('*') {
                return Err(IdError::Wildcard(text.into()));
            }
            let id = SpiffeId::parse(text)?;
            return Ok(if id.is_trust_domain() {
                Self::TrustDomain(id.trust_domain)
            } else {
                Self::Exact(id)
            });
        };
        if stem.contains('*') {
            return Err(IdError::Wildcard(text.into()));
        }
        let id = SpiffeId::parse(stem)?;
        Ok(if id.is_trust_domain() {
            Self::TrustDomain(id.trust_domain)
        } else {
            Self::Below { trust_domain: id.trust_domain, prefix: format!("{}/", id.path).into() }
        })
    }

    /// Whether the policy means this peer.
    #[must_use]
    pub fn matches(&self, id: &SpiffeId) -> bool {
        match self {
            Self::Exact(exact) => exact == id,
            Self::Below { trust_domain, prefix } => {
                *trust_domain == id.trust_domain && id.path.starts_with(&**prefix)
            }
            Self::TrustDomain(trust_domain) => *trust_domain == id.trust_domain,
        }
    }
}

impl fmt::Display for IdMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(id) => write!(f, "{id}"),
            Self::Below { trust_domain, prefix } => write!(f, "{SCHEME}{trust_domain}{prefix}*"),
            Self::TrustDomain(trust_domain) => write!(f, "{SCHEME}{trust_domain}/*"),
        }
    }
}

impl FromStr for IdMatch {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}
