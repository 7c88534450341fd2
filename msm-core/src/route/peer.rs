//! Which peers a route is for, by their identities.

use std::fmt;

/// A pattern of identities in their canonical form: one, or all below a prefix that ends in a slash.
///
/// This crate knows nothing of SPIFFE: whoever makes a pattern has checked and normalised it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerPattern {
    /// This one, compared byte for byte.
    Exact(String),
    /// Each that is longer than the prefix and begins with it. The prefix ends in a slash.
    Below(String),
}

impl PeerPattern {
    /// The pattern of a text: `…/*` means all below, anything else itself.
    pub fn new(canonical: &str) -> PeerPattern {
        match canonical.strip_suffix('*').filter(|stem| stem.ends_with('/')) {
            Some(stem) => PeerPattern::Below(stem.to_owned()),
            None => PeerPattern::Exact(canonical.to_owned()),
        }
    }

    /// Whether the identity is meant.
    pub fn matches(&self, identity: &str) -> bool {
        match self {
            PeerPattern::Exact(own) => own == identity,
            PeerPattern::Below(prefix) => {
                identity.strip_prefix(prefix.as_str()).is_some_and(|rest| !rest.is_empty())
            }
        }
    }
}

impl fmt::Display for PeerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerPattern::Exact(own) => f.write_str(own),
            PeerPattern::Below(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Caller<'a> {
    /// The process itself: nothing is denied to it.
    #[default]
    Own,
    /// Somebody who has shown no identity.
    Anonymous,
    /// Somebody with an identity, in its canonical form.
    Known(&'a str),
    /// Another member of the mesh, which is served only what it is allowed by name.
    Member(&'a str),
}

impl<'a> Caller<'a> {
    /// The identity, if there is one.
    pub fn identity(self) -> Option<&'a str> {
        match self {
            Caller::Own | Caller::Anonymous => None,
            Caller::Known(identity) | Caller::Member(identity) => Some(identity),
        }
    }
}

/// Why a route that matches does not serve the caller. (RTSP 403.)
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// `allow` does not list the caller.
    #[error("`allow` lists {allow}, and the caller is {caller}")]
    NotListed {
        /// Who asked.
        caller: String,
        /// The route's list.
        allow: String,
    },
    /// The route has an `allow`, and the caller no identity.
    #[error("`allow` lists {allow}, and the caller has shown no identity")]
    Anonymous {
        /// The route's list.
        allow: String,
    },
    /// Members are denied by default.
    #[error(
        "members are served by routes with `allow` only; add {caller}, or a pattern of it, to the route's `allow`"
    )]
    NoAllow {
        /// Who asked.
        caller: String,
    },
}

/// Decides whether a route whose `allow` this is serves the caller.
pub(super) fn decide(allow: Option<&[PeerPattern]>, caller: Caller<'_>) -> Result<(), Denial> {
    let list = || match allow {
        Some([]) => "nobody".to_owned(),
        Some(patterns) => patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        None => String::new(),
    };
    match (caller, allow) {
        (Caller::Own, _) | (Caller::Anonymous | Caller::Known(_), None) => Ok(()),
        (Caller::Anonymous, Some(_)) => Err(Denial::Anonymous { allow: list() }),
        (Caller::Member(caller), None) => Err(Denial::NoAllow { caller: caller.to_owned() }),
        (Caller::Known(caller) | Caller::Member(caller), Some(patterns)) => {
            let listed = patterns.iter().any(|pattern| pattern.matches(caller));
            let denial = || Denial::NotListed { caller: caller.to_owned(), allow: list() };
            if listed { Ok(()) } else { Err(denial()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_exact_or_a_prefix_with_something_behind_it() {
        let one = PeerPattern::new("spiffe://a.example/ns/edit");
        assert!(one.matches("spiffe://a.example/ns/edit"));
        for other in
            ["spiffe://a.example/ns/Edit", "spiffe://a.example/ns/edit/x", "spiffe://b.example/ns/edit"]
        {
            assert!(!one.matches(other), "{other}");
        }
        let below = PeerPattern::new("spiffe://a.example/ns/*");
        assert!(below.matches("spiffe://a.example/ns/edit/sa/x"));
        for other in ["spiffe://a.example/ns/", "spiffe://a.example/ns", "spiffe://a.example/nsx/edit"] {
            assert!(!below.matches(other), "{other}");
        }
        assert_eq!(below.to_string(), "spiffe://a.example/ns/*");
    }

    #[test]
    fn members_are_denied_by_default_and_plain_clients_where_a_list_is() {
        let allow = [PeerPattern::new("spiffe://a.example/x")];
        let (list, none) = (Some(&allow[..]), None);
        let (x, y) = ("spiffe://a.example/x", "spiffe://a.example/y");
        assert_eq!(decide(none, Caller::Anonymous), Ok(()));
        assert_eq!(decide(none, Caller::Own), Ok(()));
        assert_eq!(decide(list, Caller::Own), Ok(()));
        assert_eq!(decide(list, Caller::Member(x)), Ok(()));
        assert_eq!(decide(list, Caller::Known(x)), Ok(()));
        for (allow, caller) in [
            (list, Caller::Anonymous),
            (list, Caller::Member(y)),
            (list, Caller::Known(y)),
            (none, Caller::Member(x)),
        ] {
            assert!(decide(allow, caller).is_err(), "{caller:?}");
        }
        assert_eq!(
            decide(Some(&[]), Caller::Member(x)).unwrap_err().to_string(),
            "`allow` lists nobody, and the caller is spiffe://a.example/x"
        );
    }
}
