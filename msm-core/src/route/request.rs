//! What a request is routed by, and what comes of it.

use super::condition::{Headers, NoHeaders, is_among};
use super::path::NormalPath;
use super::pattern::Captures;
use super::peer::{Caller, Denial};
use super::segment::normalize_query;
use super::split::hash;
use super::{Action, Route};
use std::fmt;

/// What a request is routed by.
#[derive(Clone, Copy)]
pub struct RequestKey<'a> {
    /// The URL's scheme.
    pub scheme: &'a str,
    /// The URL's host; brackets of IPv6 literals do not matter.
    pub host: &'a str,
    /// The URL's port; `None`: the scheme's own.
    pub port: Option<u16>,
    /// The URL's path as received, without the query.
    pub path: &'a str,
    /// The URL's query as received, without `?`.
    pub query: Option<&'a str>,
    /// What the peer wants to do.
    pub action: Action,
    /// Who it is.
    pub caller: Caller<'a>,
    /// The listener that it came in by, if it came in by one.
    pub listener: Option<&'a str>,
    /// Its headers.
    pub headers: &'a dyn Headers,
    /// The hash of what stays the same of a client that comes back.
    pub client: u64,
}

impl<'a> RequestKey<'a> {
    /// A path asked for by this process itself.
    pub fn new(path: &'a str, action: Action) -> RequestKey<'a> {
        RequestKey {
            scheme: "rtsp",
            host: "",
            port: None,
            path,
            query: None,
            action,
            caller: Caller::Own,
            listener: None,
            headers: &NoHeaders,
            client: 0,
        }
    }

    /// Whether client and URL are among a percentage of all.
    pub(super) fn is_among(&self, path: &NormalPath<'_>, salt: &str, percent: u8) -> bool {
        let mut url = path.whole();
        // Peers add a slash, or not.
        url.truncate(url.trim_end_matches('/').len());
        if let Some(query) = self.query {
            url.push('?');
            url.push_str(&normalize_query(query));
        }
        is_among(self.client ^ hash(url.as_bytes()), salt, percent)
    }
}

impl fmt::Debug for RequestKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestKey { scheme, host, port, path, action, caller, listener, .. } = self;
        f.debug_struct("RequestKey")
            .field("url", &(scheme, host, port, path))
            .field("action", action)
            .field("caller", caller)
            .field("listener", listener)
            .finish_non_exhaustive()
    }
}

/// A request's route, and what to ask its backend for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMatch<'t> {
    /// The route.
    pub route: &'t Route,
    /// Its place in the table.
    pub index: usize,
    /// The request's path in normal form, unless that is `path`.
    pub(super) asked: Option<String>,
    /// The path upstream, rewritten or the request's, in normal form: begins with `/`, holds no line end, `?` or `#`.
    pub path: String,
    /// The query upstream, in normal form.
    pub query: Option<String>,
}

impl RouteMatch<'_> {
    /// Path and query as they stand in a request line.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// What the pattern's placeholders stood for.
    pub fn captures(&self) -> Captures {
        let path = NormalPath::again(self.asked.as_deref().unwrap_or(&self.path));
        self.route.pattern.captures(&path)
    }

    /// Where the client is sent, if the route sends it somewhere else.
    pub fn redirect(&self) -> Option<(String, u16)> {
        let redirect = self.route.redirect.as_ref()?;
        let to = redirect.expand(&self.captures(), || self.path.clone(), self.query.as_deref());
        Some((to, redirect.status()))
    }
}

/// Why a request has no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The path has a `.` or `..` segment, does not begin with `/`, or is longer than the limits of
    /// [`UrlPattern`](super::UrlPattern). (RTSP 400.)
    #[error("the path has `.` or `..` segments, is relative, or is too long")]
    BadPath,
    /// No route is for the request. (RTSP 404.)
    #[error("no route matches the URL")]
    NoRoute,
    /// A pattern matches, but its route is for the other action. (RTSP 405.)
    #[error("route `{route}` matches the URL but not the action `{action}`")]
    Action {
        /// The first such route, by precedence.
        route: String,
        /// What was asked for.
        action: Action,
    },
    /// The route is not for this caller. (RTSP 403.)
    #[error("route `{route}`: {denial}")]
    Denied {
        /// The first route that is for the request, by precedence.
        route: String,
        /// Why it does not serve.
        denial: Denial,
    },
}

impl RouteError {
    /// A stable name for metric labels.
    pub fn name(&self) -> &'static str {
        match self {
            RouteError::BadPath => "bad_path",
            RouteError::NoRoute => "no_route",
            RouteError::Action { .. } => "action",
            RouteError::Denied { .. } => "denied",
        }
    }
}

/// What a route makes of a request: see [`RouteTable::explain`](super::RouteTable::explain).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is not for this action.
    OtherAction,
    /// It is not for this caller (`match.from`).
    OtherCaller,
    /// It is not for this listener.
    OtherListener,
    /// A header is not there, or not as it is to be.
    OtherHeaders {
        /// The header, and what it is to be.
        wanted: String,
    },
    /// The client and the URL are not among the percentage that it takes.
    OtherShare,
    /// It is for this request, and denies it.
    Denies(Denial),
    /// It serves the request.
    Serves,
}

impl Verdict {
    /// Whether the request is decided by it.
    pub fn decides(&self) -> bool {
        matches!(self, Verdict::Denies(_) | Verdict::Serves)
    }
}
