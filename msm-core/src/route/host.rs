//! The host part of a URL pattern.

use super::precedence::Step;
use std::cmp::Ordering;
use std::net::{IpAddr, Ipv6Addr};

/// Most labels of a host pattern with wildcards: a name of 255 octets has no more (RFC 1035 §2.3.4).
pub(super) const MAX_LABELS: usize = 127;

/// A host as patterns and requests are compared: lower case, no final dot, addresses by value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    Address(IpAddr),
    Name(String),
}

impl Host {
    fn of(raw: &str) -> Host {
        match Asked::of(raw) {
            Asked::Address(address) => Host::Address(address),
            Asked::Name(name) => Host::Name(name.to_ascii_lowercase()),
        }
    }
}

/// A request's host: an address by value, or a name as it was written, without its final dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked<'h> {
    Address(IpAddr),
    Name(&'h str),
}

impl<'h> Asked<'h> {
    pub(super) fn of(raw: &'h str) -> Asked<'h> {
        let bare = raw.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(raw);
        // No name is an address that begins with a letter and has no colon.
        let may_be = bare.bytes().next().is_some_and(|first| first.is_ascii_digit()) || bare.contains(':');
        if let Some(address) = may_be.then(|| bare.parse::<IpAddr>().ok()).flatten() {
            return Asked::Address(address.to_canonical());
        }
        Asked::Name(raw.strip_suffix('.').unwrap_or(raw))
    }
}

/// What a pattern says about the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostPattern {
    /// `*`, or a pattern that names no host.
    Any,
    /// An address or a name without a wildcard.
    Exact(ExactHost),
    /// A name with `*` labels. A leading `*` stands for one or more labels, any other `*` for exactly one.
    Labels(Vec<Label>),
}

/// A host without a wildcard; apart only to keep [`Host`] private.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ExactHost(Host);

impl ExactHost {
    /// As requests have it.
    pub(super) fn asked(&self) -> Asked<'_> {
        match &self.0 {
            Host::Address(address) => Asked::Address(*address),
            Host::Name(name) => Asked::Name(name),
        }
    }
}

/// One label of a host pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Label {
    Any,
    Text(String),
}

/// Whether `text` can be a host name, or a label of one: letters, digits, `-`, `_`, `.` and non-ASCII.
pub(crate) fn is_host_text(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.') || b >= 0x80)
}

impl HostPattern {
    /// Parses the host of a pattern; `None` when it is not one.
    pub(super) fn parse(raw: &str) -> Option<HostPattern> {
        if raw == "*" {
            return Some(HostPattern::Any);
        }
        if let Some(inner) = raw.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: Ipv6Addr = inner.parse().ok()?;
            return Some(HostPattern::Exact(ExactHost(Host::Address(IpAddr::V6(address).to_canonical()))));
        }
        if !raw.contains('*') {
            return is_host_text(raw).then(|| HostPattern::Exact(ExactHost(Host::of(raw))));
        }
        let raw = raw.strip_suffix('.').unwrap_or(raw);
        let labels = raw
            .split('.')
            .map(|label| match label {
                "*" => Some(Label::Any),
                text if is_host_text(text) => Some(Label::Text(text.to_ascii_lowercase())),
                _ => None,
            })
            .collect::<Option<Vec<Label>>>()?;
        (labels.len() <= MAX_LABELS).then_some(HostPattern::Labels(labels))
    }

    /// The label at `depth`, counted from the right. For patterns with wildcards.
    pub(super) fn step(&self, depth: usize) -> Step<'_> {
        let HostPattern::Labels(labels) = self else { return Step::End };
        let from_left = labels.len().checked_sub(depth.saturating_add(1));
        match from_left.and_then(|at| labels.get(at).map(|label| (at, label))) {
            None => Step::End,
            Some((0, Label::Any)) => Step::Rest,
            Some((_, Label::Any)) => Step::One,
            Some((_, Label::Text(text))) => Step::Text(text),
        }
    }

    /// Appends its name, or its labels, in lower case.
    pub(super) fn write(&self, text: &mut String) {
        match self {
            HostPattern::Exact(ExactHost(Host::Name(name))) => text.push_str(name),
            HostPattern::Labels(labels) => {
                for (at, label) in labels.iter().enumerate() {
                    if at > 0 {
                        text.push('.');
                    }
                    text.push_str(match label {
                        Label::Any => "*",
                        Label::Text(own) => own,
                    });
                }
            }
            HostPattern::Exact(ExactHost(Host::Address(_))) | HostPattern::Any => {}
        }
    }

    /// Which of two comes first: one without wildcards, then those with some label by label from the right, then any host.
    pub(super) fn compare(&self, other: &HostPattern) -> Ordering {
        let rank = |host: &HostPattern| match host {
            HostPattern::Exact(_) => 0,
            HostPattern::Labels(_) => 1,
            HostPattern::Any => 2,
        };
        match (self, other) {
            (HostPattern::Exact(own), HostPattern::Exact(other)) => own.cmp(other),
            (HostPattern::Labels(_), HostPattern::Labels(_)) => {
                Step::compare(|depth| self.step(depth), |depth| other.step(depth))
            }
            _ => rank(self).cmp(&rank(other)),
        }
    }

    /// Whether a request's host is meant. Brackets of an IPv6 literal, letter case and a final dot do not matter.
    pub(super) fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Any => true,
            HostPattern::Exact(exact) => match (exact.asked(), Asked::of(host)) {
                (Asked::Name(own), Asked::Name(name)) => own.eq_ignore_ascii_case(name),
                (own, host) => own == host,
            },
            HostPattern::Labels(pattern) => match Asked::of(host) {
                // `*.0.0.1` means names: an address has no labels.
                Asked::Address(_) => false,
                Asked::Name(name) => labels_match(pattern, name),
            },
        }
    }
}

/// Compares from the right, so that only a leading `*` may stand for several labels.
fn labels_match(pattern: &[Label], name: &str) -> bool {
    let mut labels = name.rsplit('.');
    for (from_left, wanted) in pattern.iter().enumerate().rev() {
        let Some(label) = labels.next() else { return false };
        let same = match wanted {
            Label::Any => !label.is_empty(),
            Label::Text(text) => text.eq_ignore_ascii_case(label),
        };
        if !same {
            return false;
        }
        if from_left == 0 && *wanted == Label::Any {
            return labels.all(|label| !label.is_empty());
        }
    }
    labels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(pattern: &str, host: &str) -> bool {
        HostPattern::parse(pattern).expect(pattern).matches(host)
    }

    #[test]
    fn names_and_addresses() {
        assert!(hit("Mesh.Example", "mesh.example."));
        assert!(!hit("mesh.example", "a.mesh.example"));
        assert!(hit("[::1]", "::1"));
        assert!(hit("[0:0:0:0:0:0:0:1]", "[::1]"));
        assert!(hit("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(hit("*", "[::1]"));
        assert!(hit("*", ""));
    }

    #[test]
    fn wildcard_labels() {
        assert!(hit("*.studio.example", "cam.studio.example"));
        assert!(hit("*.studio.example", "CAM.floor2.Studio.example"));
        assert!(!hit("*.studio.example", "studio.example"));
        assert!(!hit("*.studio.example", ".studio.example"));
        assert!(!hit("*.studio.example", "xstudio.example"));
        assert!(hit("cam.*.example", "cam.a.example"));
        assert!(!hit("cam.*.example", "cam.a.b.example"));
        assert!(!hit("*.0.0.1", "127.0.0.1"));
        assert!(hit("*.*", "a.b.c"));
        assert!(!hit("*.*", "a"));
    }

    #[test]
    fn what_is_no_host() {
        for raw in ["", "[::1", "a b", "cam*.example", "a..*", "[zz]", "a/b", "user@host"] {
            assert_eq!(HostPattern::parse(raw), None, "{raw}");
        }
        let of = |labels: usize| format!("*{}", ".a".repeat(labels - 1));
        assert!(HostPattern::parse(&of(MAX_LABELS)).is_some());
        assert_eq!(HostPattern::parse(&of(MAX_LABELS + 1)), None);
    }
}
