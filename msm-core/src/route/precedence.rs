//! Which of several routes that match a URL is asked first.

use super::pattern::UrlPattern;
use std::cmp::Ordering;
use std::fmt;

/// One element of a pattern's host or path, in the order in which patterns that differ there are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step<'p> {
    /// Written out.
    Text(&'p str),
    /// A placeholder for one.
    One,
    /// The pattern ends.
    End,
    /// A placeholder for the rest.
    Rest,
}

impl<'p> Step<'p> {
    /// Whether nothing follows.
    pub(super) fn is_last(self) -> bool {
        matches!(self, Step::End | Step::Rest)
    }

    /// Compares two sequences of elements, each given by its elements' places.
    pub(super) fn compare(own: impl Fn(usize) -> Step<'p>, other: impl Fn(usize) -> Step<'p>) -> Ordering {
        let mut depth = 0_usize;
        loop {
            let step = own(depth);
            let order = step.cmp(&other(depth));
            if order != Ordering::Equal || step.is_last() {
                return order;
            }
            depth = depth.saturating_add(1);
        }
    }
}

/// What decides between two routes that match the same URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precedence {
    /// The hosts of their patterns.
    Host,
    /// The paths.
    Path,
    /// One names a port.
    Port,
    /// The schemes.
    Scheme,
    /// The order of the file: their patterns are the same.
    Order,
}

impl fmt::Display for Precedence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precedence::Host => "its host is the more exact one",
            Precedence::Path => "its path is the more exact one",
            Precedence::Port => "it names the port",
            Precedence::Scheme => "its scheme is the more exact one",
            Precedence::Order => "it has the same pattern, and stands first in the file",
        })
    }
}

fn scheme_rank(scheme: Option<&str>) -> u8 {
    match scheme {
        Some("rtsp") => 1,
        Some(_) => 0,
        None => 2,
    }
}

impl UrlPattern {
    /// Which of two patterns is asked first, and what decides that; `Equal` leaves it to the order of the file.
    ///
    /// Exact before pattern, longer before shorter, then the order of the file. In full: of two patterns the first of these decides in which
    /// they differ.
    ///
    /// 1. **The host**: one without wildcards, then one with `*` labels, then any host. Two with `*` labels are read from the right, label by
    ///    label; where they first differ, a label that is written out comes before `*`, and a `*` for one label before a leading `*`, which may
    ///    stand for several: `cam.*.example` before `*.example`, `*.studio.example` before both.
    /// 2. **The path**, read from the left, segment by segment: where two first differ, a segment that is written out comes before `{name}`,
    ///    `{name}` before the pattern's end, and that before `{name...}`. So `/news/eu` comes before `/news/{feed}`, that before
    ///    `/news/{rest...}`, and that before `/{path...}`; and `/news/{rest...}` comes before `/{site}/eu`, as its first segment is written out.
    /// 3. **The port**: one that is named before none.
    /// 4. **The scheme**: `rtsps`, or another, before `rtsp`, which means `rtsps` as well; and that before `*` or none.
    /// 5. **The order of the file.** Names of placeholders do not matter: `/a/{x}` and `/a/{y}` are the same pattern.
    ///
    /// Nothing else a route says moves it. A route that is not for the request, by its actions, callers, listeners, headers or percentage, is
    /// passed over, and the next one is asked. The first one that is for it decides, and its `allow` never passes a request on.
    ///
    /// It is a total order of all patterns; between two that match no URL in common it means nothing.
    pub fn precedence(&self, other: &UrlPattern) -> (Ordering, Precedence) {
        let by_scheme = || {
            let ranks = scheme_rank(self.scheme()).cmp(&scheme_rank(other.scheme()));
            ranks.then_with(|| self.scheme().cmp(&other.scheme()))
        };
        let ports = |pattern: &UrlPattern| pattern.port().map_or((1, 0), |port| (0, port));
        let orders: [(&dyn Fn() -> Ordering, Precedence); 4] = [
            (&|| self.host().compare(other.host()), Precedence::Host),
            (&|| Step::compare(|depth| self.step(depth), |depth| other.step(depth)), Precedence::Path),
            (&|| ports(self).cmp(&ports(other)), Precedence::Port),
            (&by_scheme, Precedence::Scheme),
        ];
        for (order, what) in orders {
            let order = order();
            if order != Ordering::Equal {
                return (order, what);
            }
        }
        (Ordering::Equal, Precedence::Order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(first: &str, second: &str) -> (Ordering, Precedence) {
        let of = |text: &str| UrlPattern::parse(text).expect(text);
        let (order, why) = of(first).precedence(&of(second));
        let (mirrored, same) = of(second).precedence(&of(first));
        assert_eq!((mirrored, same), (order.reverse(), why), "{first} and {second}");
        (order, why)
    }

    #[test]
    fn exact_before_pattern_and_longer_before_shorter() {
        let paths = [
            "/a/b/c",
            "/a/b/{x}",
            "/a/b",
            "/a/b/{x...}",
            "/a/{x}/c",
            "/a/{x}/{y}",
            "/a/{x}",
            "/a/{x}/{y...}",
            "/a",
            "/a/{x...}",
            "/{x}/b",
            "/{x}",
            "/{x}/{y...}",
            "/",
            "/{x...}",
        ];
        for (index, first) in paths.iter().enumerate() {
            for second in paths.iter().skip(index + 1) {
                assert_eq!(compare(first, second), (Ordering::Less, Precedence::Path), "{first} {second}");
            }
        }
    }

    #[test]
    fn hosts_come_before_paths() {
        let hosts = [
            "cam.studio.example",
            "*.studio.example",
            "cam.*.example",
            "*.*.example",
            "*.example",
            "cam.*",
            "*.*",
            "*",
        ];
        for (index, first) in hosts.iter().enumerate() {
            for second in hosts.iter().skip(index + 1) {
                let (first, second) = (format!("rtsp://{first}/{{x...}}"), format!("rtsp://{second}/a"));
                assert_eq!(compare(&first, &second), (Ordering::Less, Precedence::Host), "{first} {second}");
            }
        }
        assert_eq!(compare("rtsp://h/{x...}", "/a"), (Ordering::Less, Precedence::Host));
    }

    #[test]
    fn then_port_and_scheme_and_never_a_placeholder_s_name() {
        assert_eq!(compare("rtsp://h:554/a", "rtsps://h/a"), (Ordering::Less, Precedence::Port));
        assert_eq!(compare("rtsps://h/a", "rtsp://h/a"), (Ordering::Less, Precedence::Scheme));
        assert_eq!(compare("rtsp://*/a", "*://*/a"), (Ordering::Less, Precedence::Scheme));
        assert_eq!(compare("rtsp://*/a", "/a"), (Ordering::Less, Precedence::Scheme));
        assert_eq!(compare("/a/{x}", "/a/{y}/"), (Ordering::Equal, Precedence::Order));
        assert_eq!(compare("rtsp://H./a", "rtsp://h/a/"), (Ordering::Equal, Precedence::Order));
    }
}
