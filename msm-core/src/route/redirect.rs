//! Sending clients to another URL.

use super::host::is_host_text;
use super::path::NormalPath;
use super::pattern::{Captures, UrlPattern, parse_port, split_authority};
use super::rewrite::{RewriteTemplate, TemplateError};

/// Where a route sends its clients: `rtsp://other.example/{feed}`.
///
/// The host is the configuration's alone: nothing that a client writes can make it another. Nor does a URL ever hold a user or password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    text: String,
    /// Scheme and authority.
    place: String,
    /// `None`: the path as it would be asked for upstream.
    resource: Option<RewriteTemplate>,
    status: u16,
}

/// What is wrong with a [`Redirect`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// Not `rtsp://…` or `rtsps://…`.
    #[error("is not an `rtsp://` or `rtsps://` URL; write e.g. `rtsp://other.example/{{name}}`")]
    Scheme,
    /// No host, or one that is not written out.
    #[error(
        "`{0}` is not a host; it is written out, without placeholders: `other.example`, `192.0.2.7`, `[2001:db8::7]`"
    )]
    Host(String),
    /// Not 1 to 65535.
    #[error("`{0}` is not a port (1 to 65535)")]
    Port(String),
    /// Everybody who asks would be told it.
    #[error("has a user or password, which every client would be told; remove it")]
    UserInfo,
    /// The path.
    #[error("{0}")]
    Template(#[from] TemplateError),
    /// Neither 301 nor 302.
    #[error("{0} is no redirect; write 301 (moved for good) or 302 (for now)")]
    Status(u16),
}

impl Redirect {
    /// Parses a template, for a route with this pattern.
    ///
    /// # Errors
    /// See [`RedirectError`].
    pub fn parse(text: &str, status: u16, pattern: &UrlPattern) -> Result<Redirect, RedirectError> {
        let (scheme, rest) = text.split_once("://").ok_or(RedirectError::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "rtsp" | "rtsps") {
            return Err(RedirectError::Scheme);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(RedirectError::UserInfo);
        }
        let (host, port) = split_authority(authority);
        let is_v6 = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
        if !is_v6 && !is_host_text(host) {
            return Err(RedirectError::Host(host.to_owned()));
        }
        if let Some(port) = port.filter(|port| parse_port(port).is_none()) {
            return Err(RedirectError::Port(port.to_owned()));
        }
        if !matches!(status, 301 | 302) {
            return Err(RedirectError::Status(status));
        }
        let resource = (!path.is_empty()).then(|| RewriteTemplate::parse(path)).transpose()?;
        if let Some(resource) = &resource {
            resource.check(pattern)?;
        }
        Ok(Redirect { text: text.to_owned(), place: format!("{scheme}://{authority}"), resource, status })
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// 301 or 302.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether clients are sent to a connection in the clear.
    pub fn is_clear(&self) -> bool {
        self.place.starts_with("rtsp://")
    }

    /// Where somebody who asks for a path of the pattern's is sent, and that path.
    pub(super) fn example(&self, pattern: &UrlPattern) -> Option<(String, String)> {
        let path = pattern.example();
        let path = NormalPath::of(&path)?;
        Some((self.expand(&pattern.captures(&path), || path.whole(), None), path.whole()))
    }

    /// The URL for what the pattern captured; `path` is that of a template that has none, `query` the request's own, which only a query of
    /// the template replaces.
    pub(super) fn expand(
        &self,
        captures: &Captures,
        path: impl FnOnce() -> String,
        query: Option<&str>,
    ) -> String {
        let (path, own) = match &self.resource {
            Some(resource) => resource.expand(captures),
            None => (path(), None),
        };
        let query = own.as_deref().or(query).map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{path}{query}", self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, RequestKey, Route, RouteTable};
    use super::*;

    fn sent(pattern: &str, to: &str, path: &str, query: Option<&str>) -> (String, u16) {
        let pattern = UrlPattern::parse(pattern).expect(pattern);
        let redirect = Redirect::parse(to, 302, &pattern).expect(to);
        let mut route = Route::new("r", pattern);
        route.redirect = Some(redirect);
        let table = RouteTable::new(vec![route]);
        let found =
            table.route(&RequestKey { query, ..RequestKey::new(path, Action::Read) }).expect("routed");
        found.redirect().expect("a redirect")
    }

    #[test]
    fn clients_are_sent_where_the_template_says() {
        let to = |to, path, query| sent("/news/{feed}", to, path, query).0;
        assert_eq!(to("rtsp://other/live/{feed}", "/news/eu", None), "rtsp://other/live/eu");
        assert_eq!(to("rtsps://[2001:db8::7]:322/{feed}", "/news/eu", None), "rtsps://[2001:db8::7]:322/eu");
        assert_eq!(to("RTSP://other:8554", "/news/eu", Some("a=1")), "rtsp://other:8554/news/eu?a=1");
        assert_eq!(to("rtsp://other/{feed}", "/news/eu", Some("a=1")), "rtsp://other/eu?a=1");
        assert_eq!(to("rtsp://other/x?feed={feed}", "/news/eu", Some("a=1")), "rtsp://other/x?feed=eu");
        assert_eq!(sent("/{p...}", "rtsp://o/{p}", "/a/b", None), ("rtsp://o/a/b".into(), 302));
    }

    #[test]
    fn nothing_of_a_client_makes_it_another_host() {
        for path in ["/news/@evil.example", "/news/%40evil", "/news/a%0d%0aX:%20y", "/news/a?b", "//evil"] {
            let (to, _) = sent("/{p...}", "rtsp://other/{p}", path, Some("x\r\nLocation: rtsp://evil/"));
            assert!(to.starts_with("rtsp://other/") && !to.contains(['\r', '\n', ' ']), "{to}");
        }
    }

    #[test]
    fn a_redirect_to_itself_is_seen() {
        let route = |pattern: &str, to: &str| {
            let mut route = Route::new("r", UrlPattern::parse(pattern).expect(pattern));
            route.redirect = Some(Redirect::parse(to, 301, &route.pattern).expect(to));
            route
        };
        let loops = |pattern: &str, to: &str| route(pattern, to).loops();
        assert_eq!(loops("rtsp://h/n/{a}", "rtsp://H/n/{a}").as_deref(), Some("rtsp://H/n/x"));
        assert_eq!(loops("rtsp://h/{a...}", "rtsp://h").as_deref(), Some("rtsp://h/x"));
        assert!(loops("rtsp://*.e/a", "rtsp://c.e/a").is_some());
        assert!(loops("rtsp://h/a", "rtsps://h/a").is_some(), "`rtsp` means `rtsps` as well");
        assert!(loops("rtsp://h:554/a", "rtsp://h:554/a").is_some());
        assert_eq!(loops("rtsp://h/a", "rtsp://h/b"), None);
        assert_eq!(loops("rtsp://h/a", "rtsp://h:8554/a"), None);
        assert_eq!(loops("/n/{a}", "rtsp://h/n/{a}"), None, "nobody knows whose name `h` is");
        let mut told = route("rtsp://h/a", "rtsps://h/a");
        told.listeners = vec!["plain".into()];
        assert_eq!(told.loops(), None);
    }

    #[test]
    fn bad_redirects() {
        use RedirectError as E;
        let pattern = UrlPattern::parse("/n/{a}").unwrap();
        let error = |text: &str, status| Redirect::parse(text, status, &pattern).expect_err(text);
        assert_eq!(error("/live/{a}", 302), E::Scheme);
        assert_eq!(error("http://h/{a}", 302), E::Scheme);
        assert_eq!(error("rtsp://{a}/x", 302), E::Host("{a}".into()));
        assert_eq!(error("rtsp:///x", 302), E::Host(String::new()));
        assert_eq!(error("rtsp://2001:db8::1/x", 302), E::Host("2001:db8:".into()));
        assert_eq!(error("rtsp://u:p@h/x", 302), E::UserInfo);
        assert_eq!(error("rtsp://h:0/x", 302), E::Port("0".into()));
        assert_eq!(error("rtsp://h/x", 303), E::Status(303));
        assert!(matches!(error("rtsp://h/{b}", 302), E::Template(TemplateError::UnknownName { .. })));
        assert!(matches!(error("rtsp://h?x=1", 302), E::Template(TemplateError::NotAPath)));
    }
}
