//! Paths of requests in normal form.

use super::pattern::{MAX_SEGMENTS, MAX_URL_BYTES};
use super::segment::{is_dot, is_pchar, normalize_path};
use std::borrow::Cow;

/// A request's path in normal form, without the `/` that it begins with. Paths that are written in it, as most are, are not
/// copied.
#[derive(Debug, Clone)]
pub(super) struct NormalPath<'p>(Cow<'p, str>);

impl<'p> NormalPath<'p> {
    /// `None` for a path that no pattern may match: with a `.` or `..` segment, too long, or not beginning with `/`.
    pub(super) fn of(path: &'p str) -> Option<NormalPath<'p>> {
        if path.len() > MAX_URL_BYTES {
            return None;
        }
        let inner = match path.strip_prefix('/') {
            Some(inner) => inner,
            None if path.is_empty() => "",
            None => return None,
        };
        let is_normal = inner.bytes().all(|byte| byte == b'/' || is_pchar(byte));
        let normal = if is_normal { Cow::Borrowed(inner) } else { Cow::Owned(normalize_path(inner)) };
        let mut count = 0_usize;
        for segment in normal.split('/') {
            count = count.saturating_add(1);
            if count > MAX_SEGMENTS || is_dot(segment) {
                return None;
            }
        }
        Some(NormalPath(normal))
    }

    /// Its segments, joined; `None` where it has none.
    pub(super) fn rest(&self) -> Option<&str> {
        Some(&*self.0).filter(|rest| !rest.is_empty())
    }

    /// With the `/` that it begins with.
    pub(super) fn whole(&self) -> String {
        let mut whole = String::with_capacity(self.0.len().saturating_add(1));
        whole.push('/');
        whole.push_str(&self.0);
        whole
    }
}

/// The first segment, and what follows it: `None` where nothing does, not even a `/`.
pub(super) fn first(rest: &str) -> (&str, Option<&str>) {
    match rest.split_once('/') {
        Some((segment, tail)) => (segment, Some(tail)),
        None => (rest, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_normal_is_not_copied() {
        let normal = NormalPath::of("/a/b%").expect("a path");
        assert_eq!((normal.rest(), normal.whole().as_str()), (Some("a/b%25"), "/a/b%25"));
        assert!(matches!(NormalPath::of("/news/eu;x=1/").expect("a path").0, Cow::Borrowed("news/eu;x=1/")));
        for path in ["", "/"] {
            let normal = NormalPath::of(path).expect("a path");
            assert_eq!((normal.rest(), normal.whole().as_str()), (None, "/"), "{path}");
        }
        assert_eq!(NormalPath::of("//").expect("a path").rest(), Some("/"));
        for path in ["a", "*", "/a/%2E.", "/./a"] {
            assert!(NormalPath::of(path).is_none(), "{path}");
        }
    }

    #[test]
    fn segments_come_off_the_front() {
        assert_eq!(first("a/b"), ("a", Some("b")));
        assert_eq!(first("a/"), ("a", Some("")));
        assert_eq!(first(""), ("", None));
    }
}
