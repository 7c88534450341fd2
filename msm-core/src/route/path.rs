//! Paths of requests in normal form.

use super::pattern::{MAX_SEGMENTS, MAX_URL_BYTES};
use super::segment::{is_pchar, normalize_path};
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
        let normal = match look(inner.as_bytes()) {
            Look::Refused => return None,
            Look::Normal => Cow::Borrowed(inner),
            Look::Other => {
                let normal = normalize_path(inner);
                if look(normal.as_bytes()) == Look::Refused {
                    return None;
                }
                Cow::Owned(normal)
            }
        };
        Some(NormalPath(normal))
    }

    /// Of one that is in normal form, as [`NormalPath::whole`] gave it.
    pub(super) fn again(whole: &'p str) -> NormalPath<'p> {
        NormalPath(Cow::Borrowed(whole.strip_prefix('/').unwrap_or(whole)))
    }

    /// Its segments, joined; `None` where it has none.
    pub(super) fn rest(&self) -> Option<&str> {
        Some(&*self.0).filter(|rest| !rest.is_empty())
    }

    /// The same, as a text.
    pub(super) fn inner(&self) -> &str {
        &self.0
    }

    /// With the `/` that it begins with.
    pub(super) fn whole(&self) -> String {
        let mut whole = String::with_capacity(self.0.len().saturating_add(1));
        whole.push('/');
        whole.push_str(&self.0);
        whole
    }
}

/// What a path is at first sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// It has too many segments, or one that is `.` or `..`.
    Refused,
    /// It is in normal form.
    Normal,
    Other,
}

/// Whether a byte may stand in a path in normal form and is no part of an escape.
const IS_PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256_usize {
        #[expect(clippy::indexing_slicing, reason = "at compile time, and there are as many places as bytes")]
        {
            table[byte] = byte == b'/' as usize || is_pchar(byte as u8);
        }
        byte += 1;
    }
    table
};

fn look(path: &[u8]) -> Look {
    let (mut count, mut from, mut is_normal) = (1_usize, 0_usize, true);
    let is_dot = |from: usize, end: usize| matches!(path.get(from..end), Some([b'.'] | [b'.', b'.']));
    for (at, byte) in path.iter().enumerate() {
        if *byte == b'/' {
            if is_dot(from, at) {
                return Look::Refused;
            }
            count = count.saturating_add(1);
            from = at.saturating_add(1);
        }
        is_normal &= IS_PLAIN.get(usize::from(*byte)).copied().unwrap_or(false);
    }
    if count > MAX_SEGMENTS || is_dot(from, path.len()) {
        Look::Refused
    } else if is_normal {
        Look::Normal
    } else {
        Look::Other
    }
}

/// The first segment, and what follows it: `None` where nothing does, not even a `/`.
pub(super) fn first(rest: &str) -> (&str, Option<&str>) {
    // Segments are short: `split_once` takes longer to begin than this to end.
    match rest.bytes().position(|byte| byte == b'/') {
        Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at.saturating_add(1)..)),
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
