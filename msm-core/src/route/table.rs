//! The routes, in order.

use super::pattern::{Captures, UrlPattern, is_unroutable};
use super::peer::{Caller, Denial, PeerPattern, decide};
use super::protection::Protection;
use super::publish::Publish;
use super::rewrite::RewriteTemplate;
use super::segment::{normalize_path, normalize_query};
use std::fmt;
use std::time::Duration;

/// What a peer wants to do with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// DESCRIBE, SETUP, PLAY, PAUSE.
    Read,
    /// ANNOUNCE, SETUP, RECORD.
    Publish,
}

impl Action {
    /// `read` or `publish`, as in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Action::Read => "read",
            Action::Publish => "publish",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of [`Action`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actions {
    /// Readers are routed.
    pub read: bool,
    /// Publishers are routed.
    pub publish: bool,
}

impl Actions {
    /// Both.
    pub const ALL: Actions = Actions { read: true, publish: true };

    /// Whether `action` is in the set.
    pub fn contains(self, action: Action) -> bool {
        match action {
            Action::Read => self.read,
            Action::Publish => self.publish,
        }
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Actions {
        let mut set = Actions { read: false, publish: false };
        for action in actions {
            match action {
                Action::Read => set.read = true,
                Action::Publish => set.publish = true,
            }
        }
        set
    }
}

/// Whether readers of one stream share an upstream session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Share {
    /// A live stream is shared; one with a finite range (VOD) is not.
    #[default]
    Auto,
    /// Always shared: the stream is taken as live.
    Live,
    /// Never shared.
    Never,
}

/// A cluster that a route sends requests to, and its share of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The cluster's name.
    pub cluster: String,
    /// Its share, relative to the sum of the route's weights; 0 sends nothing.
    pub weight: u32,
}

/// One way from a URL to the clusters that serve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The name, unique in a table; a metric label.
    pub name: String,
    /// What URLs are meant.
    pub pattern: UrlPattern,
    /// Which actions are meant.
    pub actions: Actions,
    /// Which callers are meant; empty: all.
    pub from: Vec<PeerPattern>,
    /// Who is served, of those that are meant. Somebody else is denied, and never served by a later route. `None`: plain
    /// clients all, members none.
    pub allow: Option<Vec<PeerPattern>>,
    /// The path upstream; `None` keeps the request's.
    pub rewrite: Option<RewriteTemplate>,
    /// Where requests go. Empty: the route is *local*, streams published into this process are read from it.
    pub backends: Vec<Backend>,
    /// Whether readers share an upstream session.
    pub share: Share,
    /// How long a packet may wait for a fuller burst; zero, the default, never waits.
    pub coalesce: Duration,
    /// How long the upstream session is kept after the last reader left.
    pub idle_timeout: Duration,
    /// What is done against loss.
    pub protection: Protection,
    /// What is done with publishers.
    pub publish: Publish,
}

impl Route {
    /// The default of [`Route::idle_timeout`].
    pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

    /// A local route for both actions, with defaults.
    pub fn new(name: impl Into<String>, pattern: UrlPattern) -> Route {
        Route {
            name: name.into(),
            pattern,
            actions: Actions::ALL,
            from: Vec::new(),
            allow: None,
            rewrite: None,
            backends: Vec::new(),
            share: Share::Auto,
            coalesce: Duration::ZERO,
            idle_timeout: Route::IDLE_TIMEOUT,
            protection: Protection::default(),
            publish: Publish::default(),
        }
    }

    fn consider(&self, key: &RequestKey<'_>) -> Verdict {
        let Some(captures) = self.pattern.matches(key.scheme, key.host, key.port, key.path) else {
            return Verdict::OtherUrl;
        };
        if !self.actions.contains(key.action) {
            return Verdict::OtherAction;
        }
        let is_meant =
            |pattern: &PeerPattern| key.caller.identity().is_some_and(|caller| pattern.matches(caller));
        if !self.from.is_empty() && !self.from.iter().any(is_meant) {
            return Verdict::OtherCaller;
        }
        match decide(self.allow.as_deref(), key.caller) {
            Ok(()) => Verdict::Serves(captures),
            Err(denial) => Verdict::Denies(denial),
        }
    }

    /// Whether streams of this route live in this process.
    pub fn is_local(&self) -> bool {
        self.backends.is_empty()
    }
}

/// What a request is routed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

/// A request's route, and what to ask its backend for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMatch<'t> {
    /// The route.
    pub route: &'t Route,
    /// Its place in the table.
    pub index: usize,
    /// What the pattern's placeholders stood for.
    pub captures: Captures,
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
}

/// Why a request has no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The path has a `.` or `..` segment, does not begin with `/`, or is longer than the limits of
    /// [`UrlPattern`]. (RTSP 400.)
    #[error("the path has `.` or `..` segments, is relative, or is too long")]
    BadPath,
    /// No pattern matches. (RTSP 404.)
    #[error("no route matches the URL")]
    NoRoute,
    /// A pattern matches, but its route is for the other action. (RTSP 405.)
    #[error("route `{route}` matches the URL but not the action `{action}`")]
    Action {
        /// The first route whose pattern matches.
        route: String,
        /// What was asked for.
        action: Action,
    },
    /// The route is not for this caller. (RTSP 403.)
    #[error("route `{route}`: {denial}")]
    Denied {
        /// The first route that matches.
        route: String,
        /// Why it does not serve.
        denial: Denial,
    },
}

/// What a route makes of a request: see [`RouteTable::explain`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The URL is not one of its pattern's.
    OtherUrl,
    /// It is not for this action.
    OtherAction,
    /// It is not for this caller (`match.from`).
    OtherCaller,
    /// It is for this request, and denies it.
    Denies(Denial),
    /// It serves the request.
    Serves(Captures),
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

/// The routes of a process, in order of precedence. Immutable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteTable {
    routes: Vec<Route>,
}

impl RouteTable {
    /// A table of these routes; earlier ones win.
    pub fn new(routes: Vec<Route>) -> RouteTable {
        RouteTable { routes }
    }

    /// The routes, in order.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// What each route makes of a request, up to the one that decides it.
    pub fn explain<'t>(
        &'t self,
        key: &'t RequestKey<'_>,
    ) -> impl Iterator<Item = (&'t Route, Verdict)> + use<'t> {
        let mut decided = is_unroutable(key.path);
        self.routes.iter().map_while(move |route| {
            let verdict = (!decided).then(|| route.consider(key))?;
            decided = matches!(verdict, Verdict::Denies(_) | Verdict::Serves(_));
            Some((route, verdict))
        })
    }

    /// Finds the first route that matches the URL, the action and the caller; it serves the request, or denies it.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub fn route<'t>(&'t self, key: &RequestKey<'_>) -> Result<RouteMatch<'t>, RouteError> {
        if is_unroutable(key.path) {
            return Err(RouteError::BadPath);
        }
        let mut other_action = None;
        for (index, route) in self.routes.iter().enumerate() {
            let captures = match route.consider(key) {
                Verdict::OtherUrl | Verdict::OtherCaller => continue,
                Verdict::OtherAction => {
                    other_action.get_or_insert(route);
                    continue;
                }
                Verdict::Denies(denial) => {
                    return Err(RouteError::Denied { route: route.name.clone(), denial });
                }
                Verdict::Serves(captures) => captures,
            };
            let (path, query) = match &route.rewrite {
                Some(template) => template.expand(&captures),
                None if key.path.is_empty() => ("/".to_owned(), None),
                None => (normalize_path(key.path), None),
            };
            let query = query.or_else(|| key.query.map(normalize_query));
            return Ok(RouteMatch { route, index, captures, path, query });
        }
        Err(match other_action {
            Some(route) => RouteError::Action { route: route.name.clone(), action: key.action },
            None => RouteError::NoRoute,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, pattern: &str, actions: &[Action], rewrite: Option<&str>) -> Route {
        let mut route = Route::new(name, UrlPattern::parse(pattern).expect(pattern));
        route.actions = actions.iter().copied().collect();
        route.rewrite = rewrite.map(|text| RewriteTemplate::parse(text).expect(text));
        route
    }

    fn key(path: &str, action: Action) -> RequestKey<'_> {
        let caller = Caller::Anonymous;
        RequestKey { scheme: "rtsp", host: "mesh", port: Some(8554), path, query: None, action, caller }
    }

    fn table() -> RouteTable {
        RouteTable::new(vec![
            route("news", "rtsp://*/news/{feed}", &[Action::Read], Some("/live/{feed}")),
            route("ingest", "/in/{name...}", &[Action::Publish], None),
            route("all", "/{path...}", &[Action::Read], None),
        ])
    }

    #[test]
    fn the_first_match_wins() {
        let table = table();
        let found = table.route(&key("/news/eu", Action::Read)).expect("found");
        assert_eq!((found.route.name.as_str(), found.index, found.path.as_str()), ("news", 0, "/live/eu"));
        assert_eq!(found.captures.get("feed"), Some("eu"));
        let found = table.route(&key("/news/eu/more", Action::Read)).expect("found");
        assert_eq!((found.route.name.as_str(), found.path.as_str()), ("all", "/news/eu/more"));
        let found = table.route(&key("", Action::Read)).expect("found");
        assert_eq!(found.path, "/");
        assert!(found.route.is_local());
    }

    #[test]
    fn an_action_is_part_of_the_match() {
        let table = table();
        assert_eq!(table.route(&key("/in/a", Action::Publish)).expect("found").route.name, "ingest");
        assert_eq!(table.route(&key("/in/a", Action::Read)).expect("found").route.name, "all");
        let error = table.route(&key("/news/eu", Action::Publish)).expect_err("read only");
        assert_eq!(error, RouteError::Action { route: "news".into(), action: Action::Publish });
        assert_eq!(error.name(), "action");
    }

    #[test]
    fn no_route_and_bad_path() {
        let table = RouteTable::new(vec![route("a", "/a", &[Action::Read], None)]);
        assert_eq!(table.route(&key("/b", Action::Read)), Err(RouteError::NoRoute));
        for path in ["/a/../a", "/%2e%2E/a", "/./a", "a", "*"] {
            assert_eq!(table.route(&key(path, Action::Read)), Err(RouteError::BadPath), "{path}");
        }
    }

    #[test]
    fn queries_pass_unless_the_template_has_one() {
        let table = RouteTable::new(vec![
            route("cam", "/cam/{n}", &[Action::Read], Some("/real?channel={n}")),
            route("all", "/{p...}", &[Action::Read], None),
        ]);
        let mut request = key("/cam/7", Action::Read);
        request.query = Some("channel=9");
        assert_eq!(table.route(&request).expect("found").path_and_query(), "/real?channel=7");
        request.path = "/x%2f y";
        request.query = Some("a=1\r\nEvil: 1");
        assert_eq!(table.route(&request).expect("found").path_and_query(), "/x%2F%20y?a=1%0D%0AEvil:%201");
    }

    fn patterns(texts: &[&str]) -> Vec<PeerPattern> {
        texts.iter().map(|text| PeerPattern::new(text)).collect()
    }

    #[test]
    fn from_selects_and_allow_decides_without_falling_through() {
        let mut editors = route("editors", "/news/{feed}", &[Action::Read], None);
        editors.from = patterns(&["spiffe://a.example/ns/edit/*"]);
        editors.allow = Some(patterns(&["spiffe://a.example/ns/edit/anna"]));
        let mut all = route("all", "/{path...}", &[Action::Read], None);
        all.allow = Some(patterns(&["spiffe://a.example/*"]));
        let table = RouteTable::new(vec![editors, all]);
        let asked = |caller| RequestKey { caller, ..key("/news/eu", Action::Read) };
        let serves = |caller| table.route(&asked(caller)).map(|found| found.route.name.clone());
        assert_eq!(serves(Caller::Member("spiffe://a.example/ns/edit/anna")).as_deref(), Ok("editors"));
        // A broader route below would serve it, and is never reached.
        let error = serves(Caller::Member("spiffe://a.example/ns/edit/bert")).unwrap_err();
        assert!(matches!(&error, RouteError::Denied { route, .. } if route == "editors"), "{error}");
        assert_eq!(error.name(), "denied");
        assert_eq!(serves(Caller::Known("spiffe://a.example/ns/other/carl")).as_deref(), Ok("all"));
        assert!(serves(Caller::Member("spiffe://b.example/ns/edit/anna")).is_err());
        assert!(serves(Caller::Anonymous).is_err());
        assert_eq!(serves(Caller::Own).as_deref(), Ok("all"));
        let asked = asked(Caller::Member("spiffe://a.example/ns/edit/bert"));
        let steps: Vec<_> = table.explain(&asked).collect();
        assert_eq!(steps.len(), 1);
        assert!(matches!(&steps[0].1, Verdict::Denies(Denial::NotListed { .. })));
    }
}
