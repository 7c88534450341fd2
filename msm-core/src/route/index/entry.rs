//! What tells whether a URL is a pattern's, side by side for all patterns: a [`Route`] is so wide that each look into one is a miss.

use super::super::action::Action;
use super::super::pattern::default_port;
use super::super::precedence::Step;
use super::super::table::Route;
use super::{has_full_labels, last_label};

/// Texts of patterns, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Texts(String);

/// Where a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Text {
    first: u32,
    length: u32,
}

impl Texts {
    /// Adds what `write` appends.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut String)) -> Text {
        let first = self.0.len();
        write(&mut self.0);
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Text { first: place(first), length: place(self.0.len().saturating_sub(first)) }
    }

    pub(super) fn get(&self, text: Text) -> &str {
        let first = text.first as usize;
        self.0.get(first..first.saturating_add(text.length as usize)).unwrap_or_default()
    }
}

/// Which schemes a pattern is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Any,
    /// `rtsp`, which means `rtsps` as well.
    Rtsp,
    Rtsps,
    Other,
}

/// Scheme and port of a URL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    scheme: Scheme,
    text: &'a str,
    given: Option<u16>,
    /// With the scheme's own in the place of none.
    port: Option<u16>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(scheme: &'a str, port: Option<u16>) -> Asked<'a> {
        let kind = if scheme.eq_ignore_ascii_case("rtsp") {
            Scheme::Rtsp
        } else if scheme.eq_ignore_ascii_case("rtsps") {
            Scheme::Rtsps
        } else {
            Scheme::Other
        };
        Asked { scheme: kind, text: scheme, given: port, port: port.or_else(|| default_port(scheme)) }
    }
}

/// A route, as far as most requests need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Entry {
    /// Its place in the table.
    route: u32,
    path: Text,
    /// 0: any.
    port: u16,
    scheme: Scheme,
    read: bool,
    publish: bool,
    rewrites: bool,
    /// Only the action, and whether the caller is a member, decides.
    is_plain: bool,
}

impl Entry {
    pub(super) fn new(place: u32, route: &Route, texts: &mut Texts) -> Entry {
        let pattern = &route.pattern;
        let is_plain = route.from.is_empty()
            && route.listeners.is_empty()
            && route.headers.is_empty()
            && route.percentage.is_none()
            && route.allow.is_none();
        Entry {
            route: place,
            path: texts.add(|text| write(text, |depth| pattern.step(depth))),
            // Patterns have no port 0.
            port: pattern.port().unwrap_or_default(),
            scheme: match pattern.scheme() {
                None => Scheme::Any,
                Some("rtsp") => Scheme::Rtsp,
                Some("rtsps") => Scheme::Rtsps,
                Some(_) => Scheme::Other,
            },
            read: route.actions.read,
            publish: route.actions.publish,
            rewrites: route.rewrite.is_some(),
            is_plain,
        }
    }

    /// The route's place in the table.
    pub(in super::super) fn route(&self) -> usize {
        self.route as usize
    }

    /// Whether it has another path upstream.
    pub(in super::super) fn rewrites(&self) -> bool {
        self.rewrites
    }

    /// Whether it is for everybody but members who does `action`: `None` where more than that decides.
    pub(in super::super) fn is_for(&self, action: Action) -> Option<bool> {
        self.is_plain.then_some(match action {
            Action::Read => self.read,
            Action::Publish => self.publish,
        })
    }

    /// Whether scheme, port and path of a URL are the pattern's; `path` is in normal form, without the `/` that it begins with.
    pub(super) fn matches(&self, routes: &[Route], texts: &Texts, asked: &Asked<'_>, path: &str) -> bool {
        let fits = match (self.scheme, asked.scheme) {
            (Scheme::Any, _)
            | (Scheme::Rtsp, Scheme::Rtsp | Scheme::Rtsps)
            | (Scheme::Rtsps, Scheme::Rtsps) => self.port == 0 || asked.port == Some(self.port),
            // The one case in which its text has to be read.
            (Scheme::Other, Scheme::Other) => {
                routes.get(self.route()).is_some_and(|route| route.pattern.fits(asked.text, asked.given))
            }
            _ => false,
        };
        fits && matches(texts.get(self.path), path)
    }
}

/// Stands in a text for a placeholder of one segment. Neither brace is ever part of a normal path.
const ONE: u8 = b'{';
/// Stands in a text for a placeholder of the rest.
const REST: u8 = b'}';

/// The path of a pattern, without the `/` that it begins with.
fn write<'p>(text: &mut String, step: impl Fn(usize) -> Step<'p>) {
    let mut depth = 0_usize;
    loop {
        let step = step(depth);
        if depth > 0 && step != Step::End {
            text.push('/');
        }
        match step {
            Step::Text(own) => text.push_str(own),
            Step::One => text.push(char::from(ONE)),
            Step::Rest => text.push(char::from(REST)),
            Step::End => {}
        }
        if step.is_last() {
            return;
        }
        depth = depth.saturating_add(1);
    }
}

/// Whether a name is of a host pattern with wildcards, whose labels `HostPattern::write` wrote.
pub(super) fn labels_match(pattern: &str, name: &str) -> bool {
    let (mut left, mut wanted) = (Some(name), Some(pattern));
    while let Some(pattern) = wanted {
        let Some(name) = left else { return false };
        let ((label, before), (own, next)) = (last_label(name), last_label(pattern));
        match (own, next) {
            // Only the first one may stand for several.
            ("*", None) => return has_full_labels(name),
            ("*", Some(_)) if !label.is_empty() => {}
            _ if own.eq_ignore_ascii_case(label) && own != "*" => {}
            _ => return false,
        }
        (left, wanted) = (before, next);
    }
    left.is_none()
}

/// Whether a path is a pattern's, as `UrlPattern::walk` says.
fn matches(pattern: &str, path: &str) -> bool {
    let (mut own, mut asked) = (pattern.as_bytes(), path.as_bytes());
    // Without segments there is none that is empty either, nor one that a `/` could end.
    if own.is_empty() || asked.is_empty() {
        return asked.is_empty() && matches!(own, [] | [REST]);
    }
    while let Some((first, tail)) = own.split_first() {
        own = tail;
        if *first == ONE {
            let end = asked.iter().position(|byte| *byte == b'/').unwrap_or(asked.len());
            if end == 0 {
                return false;
            }
            asked = asked.get(end..).unwrap_or_default();
        } else if *first == REST {
            return true;
        } else {
            match asked.split_first() {
                Some((byte, tail)) if byte == first => asked = tail,
                // The rest may have no segment at all.
                None => return *first == b'/' && own == [REST],
                Some(_) => return false,
            }
        }
    }
    // One `/` at the end of a path is ignored.
    matches!(asked, [] | [b'/'])
}

#[cfg(test)]
mod tests {
    use super::super::super::path::NormalPath;
    use super::super::super::pattern::UrlPattern;
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn texts_match_what_their_patterns_match() {
        let mut rng = Rng::new(3);
        let mut of = |parts: &[&str]| -> String {
            let depth = rng.next_u32() % 4;
            (0..=depth).map(|_| parts[rng.next_u32() as usize % parts.len()]).collect()
        };
        let mut hits = 0;
        for _ in 0..50_000 {
            let mut named = 0;
            let pattern: String = of(&["/", "/a", "/ab", "/?", "/%2f"])
                .chars()
                .flat_map(|char| {
                    named += u32::from(char == '?');
                    if char == '?' { format!("{{p{named}}}").chars().collect() } else { vec![char] }
                })
                .collect::<String>()
                + of(&["", "/{rest...}", ""]).get(..10).unwrap_or_default();
            let path = of(&["/", "/a", "/ab", "/abc", "/%2f", "/a/"]);
            let pattern = UrlPattern::parse(&pattern).expect(&pattern);
            let mut text = String::new();
            write(&mut text, |depth| pattern.step(depth));
            let normal = NormalPath::of(&path).expect(&path);
            let wanted = pattern.walk(normal.rest(), |_, _| {});
            assert_eq!(matches(&text, normal.inner()), wanted, "{pattern} as {text}, {path}");
            hits += u32::from(wanted);
        }
        assert!(hits > 1_000, "{hits}");
    }
}
