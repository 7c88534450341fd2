//! Rewrite templates: the path that a route's backend is asked for.

use super::pattern::{Captures, MAX_URL_BYTES, UrlPattern, is_name};
use super::segment::{is_dot, is_unreserved, normalize_path, normalize_query, push_escape};
use std::fmt;
use std::str::FromStr;

/// A path, and possibly a query, with the placeholders of a [`UrlPattern`]: `/live/{feed}`, `/cam?channel={n}`.
///
/// `{name}` may be part of a segment (`/live/{feed}_hd`). A placeholder that captured the rest stands for a whole
/// segment, written `{name}` or `{name...}`; where it captured nothing, its `/` goes too. With a query in the template,
/// the request's own query is replaced; without, it is passed on.
///
/// What was captured is in normal form and, inside a query, escaped except for unreserved characters: it cannot add a
/// line end, a `?`, a `#`, or a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewriteTemplate {
    text: String,
    path: Vec<Piece>,
    query: Option<Vec<Piece>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `{name}`; `whole` when it is a whole segment of the path.
    Name {
        name: String,
        whole: bool,
    },
}

/// What is wrong with a rewrite template, alone or with its pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// Does not begin with `/`.
    #[error("does not begin with `/`; write the path only, the host comes from the cluster's endpoints")]
    NotAPath,
    /// Longer than [`MAX_URL_BYTES`].
    #[error("longer than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// A space or control character.
    #[error("a space or control character")]
    Control,
    /// A fragment is never sent (RFC 3986 §3.5).
    #[error("a `#` is never sent to a server")]
    Fragment,
    /// A `.` or `..` segment.
    #[error("a `.` or `..` segment")]
    DotSegment,
    /// An unmatched brace, or one that encloses no name.
    #[error("`{0}`: braces enclose a name of letters, digits and `_`, as in `{{name}}`")]
    Braces(String),
    /// A placeholder that the pattern does not have.
    #[error("`{{{name}}}` is not in the pattern, which has {known}")]
    UnknownName {
        /// The placeholder of the template.
        name: String,
        /// The pattern's placeholders, for people.
        known: String,
    },
    /// `{name...}` for a placeholder that captures one segment.
    #[error("`{{{0}...}}` captures one segment in the pattern; write `{{{0}}}`")]
    NotRest(String),
    /// The rest in the middle of a segment.
    #[error("`{{{0}}}` captures the rest of the path and must be a whole segment")]
    RestInside(String),
}

impl RewriteTemplate {
    /// Parses a template. Its names are checked by [`RewriteTemplate::check`], once the pattern is known.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn parse(text: &str) -> Result<RewriteTemplate, TemplateError> {
        if text.len() > MAX_URL_BYTES {
            return Err(TemplateError::TooLong);
        }
        if text.bytes().any(|b| b.is_ascii_control() || b == b' ') {
            return Err(TemplateError::Control);
        }
        if text.contains('#') {
            return Err(TemplateError::Fragment);
        }
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        if !path.starts_with('/') {
            return Err(TemplateError::NotAPath);
        }
        if normalize_path(path).split('/').any(is_dot) {
            return Err(TemplateError::DotSegment);
        }
        let path = parse_pieces(path, normalize_path)?;
        let query = query.map(|query| parse_pieces(query, normalize_query)).transpose()?;
        Ok(RewriteTemplate { text: text.to_owned(), path, query })
    }

    /// Checks that each placeholder is one of the pattern's, and fits.
    ///
    /// # Errors
    /// [`TemplateError::UnknownName`], [`TemplateError::NotRest`] or [`TemplateError::RestInside`].
    pub fn check(&self, pattern: &UrlPattern) -> Result<(), TemplateError> {
        let rest = pattern.rest_name();
        let in_path = self.path.iter().map(|piece| (piece, true));
        let in_query = self.query.iter().flatten().map(|piece| (piece, false));
        for (piece, is_path) in in_path.chain(in_query) {
            let Piece::Name { name, whole } = piece else { continue };
            let plain = name.strip_suffix("...").unwrap_or(name);
            if !pattern.names().any(|own| own == plain) {
                let known: Vec<String> = pattern.names().map(|own| format!("`{{{own}}}`")).collect();
                let known = if known.is_empty() { "no placeholder".to_owned() } else { known.join(", ") };
                return Err(TemplateError::UnknownName { name: plain.to_owned(), known });
            }
            if rest == Some(plain) {
                if is_path && !whole {
                    return Err(TemplateError::RestInside(plain.to_owned()));
                }
            } else if plain.len() != name.len() {
                return Err(TemplateError::NotRest(plain.to_owned()));
            }
        }
        Ok(())
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path and, when the template has one, the query for what a pattern captured. A name that was not captured
    /// stands for nothing; [`RewriteTemplate::check`] rules that out.
    pub fn expand(&self, captures: &Captures) -> (String, Option<String>) {
        self.fill(|name| captures.get(name).unwrap_or_default())
    }

    /// The same, for what `value` says that the placeholders stand for.
    pub(super) fn fill<'v>(&self, value: impl Fn(&str) -> &'v str) -> (String, Option<String>) {
        let value_of = |name: &str| value(name.strip_suffix("...").unwrap_or(name));
        let mut path = String::with_capacity(self.text.len().saturating_mul(2));
        for piece in &self.path {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Name { name, whole } => {
                    let value = value_of(name);
                    // An empty segment before it is a segment, too: its end stays.
                    if value.is_empty() && *whole && !path.ends_with("//") {
                        path.pop();
                    }
                    path.push_str(value);
                }
            }
        }
        if path.is_empty() {
            path.push('/');
        }
        let query = self.query.as_ref().map(|pieces| {
            let mut query = String::new();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => query.push_str(text),
                    Piece::Name { name, .. } => push_parameter(&mut query, value_of(name)),
                }
            }
            query
        });
        (path, query)
    }
}

/// Appends a captured value to a query: its escapes stay, `&`, `=` and other delimiters are escaped.
fn push_parameter(query: &mut String, value: &str) {
    for byte in value.bytes() {
        if is_unreserved(byte) || byte == b'%' {
            query.push(char::from(byte));
        } else {
            push_escape(query, byte);
        }
    }
}

fn parse_pieces(text: &str, normalize: fn(&str) -> String) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut begins_segment = false;
    while !rest.is_empty() {
        let (literal, tail) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
        if literal.contains('}') {
            return Err(TemplateError::Braces(rest.to_owned()));
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(normalize(literal)));
            begins_segment = literal.ends_with('/');
        }
        let Some(inside) = tail.strip_prefix('{') else { break };
        let (name, after) = inside.split_once('}').ok_or_else(|| TemplateError::Braces(tail.to_owned()))?;
        if !is_name(name.strip_suffix("...").unwrap_or(name)) {
            return Err(TemplateError::Braces(format!("{{{name}}}")));
        }
        let whole = begins_segment && (after.is_empty() || after.starts_with('/'));
        pieces.push(Piece::Name { name: name.to_owned(), whole });
        begins_segment = false;
        rest = after;
    }
    Ok(pieces)
}

impl FromStr for RewriteTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<RewriteTemplate, TemplateError> {
        RewriteTemplate::parse(text)
    }
}

impl fmt::Display for RewriteTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(pattern: &str, template: &str, path: &str) -> (String, Option<String>) {
        let pattern = UrlPattern::parse(pattern).expect("pattern");
        let template = RewriteTemplate::parse(template).expect("template");
        template.check(&pattern).expect("fits");
        template.expand(&pattern.matches("rtsp", "h", None, path).expect("matches"))
    }

    #[test]
    fn paths() {
        assert_eq!(rewrite("/news/{feed}", "/live/{feed}", "/news/eu"), ("/live/eu".into(), None));
        assert_eq!(rewrite("/n/{a}/{b}", "/{b}-{a}.sdp", "/n/1/2"), ("/2-1.sdp".into(), None));
        assert_eq!(rewrite("/n/{r...}", "/live/{r...}", "/n/a/b/"), ("/live/a/b/".into(), None));
        assert_eq!(rewrite("/n/{r...}", "/live/{r}", "/n"), ("/live".into(), None));
        assert_eq!(rewrite("/n/{r...}", "/{r}", "/n"), ("/".into(), None));
        assert_eq!(rewrite("/n/{r...}", "/{r}/x", "/n/"), ("/x".into(), None));
    }

    #[test]
    fn a_capture_cannot_break_out() {
        let evil = "/n/a%0D%0AX:%20y%3Fq%23f%2F..";
        let (path, query) = rewrite("/n/{a}", "/live/{a}", evil);
        assert_eq!(path, "/live/a%0D%0AX:%20y%3Fq%23f%2F..");
        assert_eq!(query, None);
        let (_, query) = rewrite("/n/{a}", "/cam?channel={a}&sub=0", "/n/1&sub=9;x+y=%26");
        assert_eq!(query.as_deref(), Some("channel=1%26sub%3D9%3Bx%2By%3D%26&sub=0"));
        // A capture handed in raw, not by a pattern's match, is harmless for the query too.
        let (path, _) = rewrite("/n/{a}", "/live/{a}", "/n/a\r\nb?c#d");
        assert_eq!(path, "/live/a%0D%0Ab%3Fc%23d");
    }

    #[test]
    fn bad_templates() {
        use TemplateError as E;
        let error = |text: &str| RewriteTemplate::parse(text).expect_err(text);
        assert_eq!(error("live/{a}"), E::NotAPath);
        assert_eq!(error("rtsp://h/live"), E::NotAPath);
        assert_eq!(error("/a b"), E::Control);
        assert_eq!(error("/a\r\nX: y"), E::Control);
        assert_eq!(error("/a#b"), E::Fragment);
        assert_eq!(error("/a/%2e%2E/b"), E::DotSegment);
        for braces in ["/{", "/}", "/{}", "/{a", "/a}", "/{a-b}", "/{...}", "/{a}}"] {
            assert!(matches!(error(braces), E::Braces(_)), "{braces}");
        }
        assert_eq!(error(&"/a".repeat(MAX_URL_BYTES)), E::TooLong);
    }

    #[test]
    fn names_must_be_the_patterns() {
        let check = |pattern: &str, template: &str| {
            RewriteTemplate::parse(template)
                .expect(template)
                .check(&UrlPattern::parse(pattern).expect(pattern))
        };
        let error = check("/n/{feed}", "/live/{fed}").expect_err("unknown");
        assert_eq!(error.to_string(), "`{fed}` is not in the pattern, which has `{feed}`");
        let error = check("/n", "/live/{fed}").expect_err("unknown");
        assert!(error.to_string().ends_with("which has no placeholder"), "{error}");
        assert_eq!(check("/n/{a}", "/live/{a...}"), Err(TemplateError::NotRest("a".into())));
        assert_eq!(check("/n/{a...}", "/live/x{a}"), Err(TemplateError::RestInside("a".into())));
        assert_eq!(check("/n/{a...}", "/live?p={a}"), Ok(()));
        assert!(check("/n/{a}", "/live?p={b}").is_err());
    }
}
