//! Percent-encoding of path segments, in one normal form.
//!
//! Two spellings of one segment compare equal exactly when RFC 3986 §6.2.2 says that they are equivalent: escapes of
//! unreserved characters are decoded, all other escapes stay escapes with upper-case digits. So `%2F` never becomes a
//! separator and `%0D%0A` never becomes a line end. What may not stand in a path at all is escaped.

/// Whether `byte` is `unreserved` (RFC 3986 §2.3).
pub(super) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether `byte` may stand unescaped in a path segment: `pchar` of RFC 3986 §3.3 without `%`.
pub(super) const fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
        )
}

fn hex_value(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Appends `%XX`.
pub(super) fn push_escape(out: &mut String, byte: u8) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    out.push('%');
    for nibble in [byte >> 4, byte & 0x0F] {
        out.push(DIGITS.get(usize::from(nibble)).copied().unwrap_or('0'));
    }
}

/// Brings text to the normal form, keeping raw bytes for which `keep` is true. Existing escapes stay escapes (or are
/// decoded when unreserved); a `%` that starts no escape becomes `%25`.
pub(super) fn normalize_with(raw: &str, keep: impl Fn(u8) -> bool) -> String {
    // What most text is.
    if raw.bytes().all(&keep) {
        return raw.to_owned();
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let escaped = tail
                .first_chunk::<2>()
                .and_then(|&[high, low]| Some(hex_value(high)? << 4 | hex_value(low)?));
            match escaped {
                Some(value) => {
                    if is_unreserved(value) {
                        out.push(char::from(value));
                    } else {
                        push_escape(&mut out, value);
                    }
                    rest = tail.get(2..).unwrap_or_default();
                }
                None => push_escape(&mut out, b'%'),
            }
        } else if keep(byte) {
            out.push(char::from(byte));
        } else {
            push_escape(&mut out, byte);
        }
    }
    out
}

/// The normal form of one path segment.
pub(super) fn normalize(raw: &str) -> String {
    normalize_with(raw, is_pchar)
}

/// The normal form of a whole path: separators stay, each segment is normalized.
pub(super) fn normalize_path(raw: &str) -> String {
    normalize_with(raw, |byte| byte == b'/' || is_pchar(byte))
}

/// The normal form of a query (RFC 3986 §3.4). Escapes line ends, `#` and whatever else may not stand there.
pub(super) fn normalize_query(raw: &str) -> String {
    normalize_with(raw, |byte| matches!(byte, b'/' | b'?') || is_pchar(byte))
}

/// Whether a normalized segment is `.` or `..` (RFC 3986 §5.2.4), which no route matches.
pub(super) fn is_dot(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equivalent_spellings_become_one() {
        assert_eq!(normalize("%63am%2d7"), "cam-7");
        assert_eq!(normalize("a%2fb"), "a%2Fb");
        assert_eq!(normalize("a b"), "a%20b");
        assert_eq!(normalize("a%20b"), "a%20b");
        assert_eq!(normalize("100%"), "100%25");
        assert_eq!(normalize("%zz"), "%25zz");
        assert_eq!(normalize("%2E%2e"), "..");
        assert_eq!(normalize("ü"), "%C3%BC");
        assert_eq!(normalize("a\r\nb"), "a%0D%0Ab");
        assert_eq!(normalize("trackID=1"), "trackID=1");
    }

    #[test]
    fn the_normal_form_is_stable() {
        for raw in ["%41", "%2F", "a%", "%%41", "é%E9", "?#", "%25zz"] {
            let once = normalize(raw);
            assert_eq!(normalize(&once), once, "{raw}");
        }
    }

    #[test]
    fn a_query_keeps_its_own_characters() {
        assert_eq!(normalize_query("a=1&b=/x?y"), "a=1&b=/x?y");
        assert_eq!(normalize_query("a=1#f\r\nX: y"), "a=1%23f%0D%0AX:%20y");
    }
}
