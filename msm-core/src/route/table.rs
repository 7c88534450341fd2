//! Routes, and the table of them.

use super::action::Actions;
use super::condition::HeaderPattern;
use super::index::{Entry, Index, Wanted};
use super::mirror::Mirror;
use super::path::NormalPath;
use super::pattern::UrlPattern;
use super::peer::{Caller, PeerPattern, decide};
use super::precedence::Precedence;
use super::protection::Protection;
use super::publish::Publish;
use super::redirect::Redirect;
use super::request::{RequestKey, RouteError, RouteMatch, Verdict};
use super::rewrite::RewriteTemplate;
use super::segment::normalize_query;
use std::ops::ControlFlow;
use std::time::Duration;

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

/// How long the upstream of a route may take; `None` leaves it to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteTimeouts {
    /// For a connection.
    pub connect: Option<Duration>,
    /// For the answer to a request.
    pub response: Option<Duration>,
    /// For everything until an endpoint has described the stream, or records it, however many are tried. `None`: no such limit.
    pub set_up: Option<Duration>,
}

/// What a route may use; `None` is no limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteLimits {
    /// Sessions of clients, readers and publishers.
    pub sessions: Option<u32>,
    /// Those that read.
    pub readers: Option<u32>,
}

/// The backend of a route that is on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryRule {
    /// Its cluster.
    pub cluster: String,
    /// Sessions that could not be set up, in percent; beyond that its weight goes to the others.
    pub max_setup_failures: u8,
    /// Packets lost on the way from it, in percent; likewise.
    pub max_loss: u8,
    /// What is older does not count.
    pub window: Duration,
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
    /// Which listeners are meant; empty: all, and what came in by none.
    pub listeners: Vec<String>,
    /// What headers a request must have, all of them.
    pub headers: Vec<HeaderPattern>,
    /// How much of it, by client and URL; `None`: all.
    pub percentage: Option<u8>,
    /// Who is served, of those that are meant. Somebody else is denied, and never served by a later route. `None`: plain
    /// clients all, members none.
    pub allow: Option<Vec<PeerPattern>>,
    /// Where clients are sent, instead of being served.
    pub redirect: Option<Redirect>,
    /// How long sessions that are up when the redirect comes are given to leave by themselves.
    pub leave_within: Duration,
    /// The path upstream; `None` keeps the request's.
    pub rewrite: Option<RewriteTemplate>,
    /// Where requests go. Empty: the route is *local*, streams published into this process are read from it.
    pub backends: Vec<Backend>,
    /// Which of them is on trial.
    pub canary: Option<CanaryRule>,
    /// Who gets copies of its streams.
    pub mirror: Option<Mirror>,
    /// Whether readers share an upstream session.
    pub share: Share,
    /// How long a packet may wait for a fuller burst; zero, the default, never waits.
    pub coalesce: Duration,
    /// How long the upstream session is kept after the last reader left.
    pub idle_timeout: Duration,
    /// Whether readers go over to another backend's stream when the weights have changed: else only who comes then.
    pub migrate: bool,
    /// How long upstreams may take.
    pub timeouts: RouteTimeouts,
    /// What it may use.
    pub limits: RouteLimits,
    /// What is done against loss.
    pub protection: Protection,
    /// What is done with publishers.
    pub publish: Publish,
}

impl Route {
    /// The default of [`Route::idle_timeout`].
    pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
    /// The default of [`Route::leave_within`].
    pub const LEAVE_WITHIN: Duration = Duration::from_secs(10);

    /// A local route for both actions, with defaults.
    pub fn new(name: impl Into<String>, pattern: UrlPattern) -> Route {
        Route {
            name: name.into(),
            pattern,
            actions: Actions::ALL,
            from: Vec::new(),
            listeners: Vec::new(),
            headers: Vec::new(),
            percentage: None,
            allow: None,
            redirect: None,
            leave_within: Self::LEAVE_WITHIN,
            rewrite: None,
            backends: Vec::new(),
            canary: None,
            mirror: None,
            share: Share::Auto,
            coalesce: Duration::ZERO,
            idle_timeout: Route::IDLE_TIMEOUT,
            migrate: false,
            timeouts: RouteTimeouts::default(),
            limits: RouteLimits::default(),
            protection: Protection::default(),
            publish: Publish::default(),
        }
    }

    /// What it makes of a request whose URL its pattern matches.
    pub(super) fn consider(&self, key: &RequestKey<'_>, path: &NormalPath<'_>) -> Verdict {
        if !self.actions.contains(key.action) {
            return Verdict::OtherAction;
        }
        let is_meant =
            |pattern: &PeerPattern| key.caller.identity().is_some_and(|caller| pattern.matches(caller));
        if !self.from.is_empty() && !self.from.iter().any(is_meant) {
            return Verdict::OtherCaller;
        }
        let is_listener = |own: &String| key.listener == Some(own.as_str());
        if !self.listeners.is_empty() && !self.listeners.iter().any(is_listener) {
            return Verdict::OtherListener;
        }
        let is_missing =
            |wanted: &&HeaderPattern| !key.headers.any(wanted.name(), &mut |value| wanted.matches(value));
        if let Some(missing) = self.headers.iter().find(is_missing) {
            return Verdict::OtherHeaders { wanted: missing.to_string() };
        }
        if self.percentage.is_some_and(|percent| !key.is_among(path, &self.name, percent)) {
            return Verdict::OtherShare;
        }
        match decide(self.allow.as_deref(), key.caller) {
            Ok(()) => Verdict::Serves,
            Err(denial) => Verdict::Denies(denial),
        }
    }

    /// Whether every request that matches the pattern and `other` matches is one that this one takes.
    pub fn takes_all_of(&self, other: &Route) -> bool {
        (self.from.is_empty() || self.from == other.from)
            && (self.listeners.is_empty() || self.listeners == other.listeners)
            && self.headers.iter().all(|header| other.headers.contains(header))
            && self.percentage.is_none_or(|percent| percent >= 100)
            && (self.actions.read || !other.actions.read)
            && (self.actions.publish || !other.actions.publish)
    }

    /// Where it sends a client that would come back to it, if that is plain to see: its redirect is a URL that its own pattern names the
    /// host of, with the same path, and nothing else tells who is sent from who is not.
    pub fn loops(&self) -> Option<String> {
        let redirect = self.redirect.as_ref()?;
        let tells = !self.listeners.is_empty() || !self.headers.is_empty() || self.percentage.is_some();
        if tells || !self.pattern.names_host() {
            return None;
        }
        let (url, path) = redirect.example(&self.pattern)?;
        let (scheme, rest) = url.split_once("://")?;
        let (authority, to) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = super::pattern::split_authority(authority);
        // Another port of the same host may be another process.
        if port.is_some() && !self.pattern.names_port() {
            return None;
        }
        let to = to.split('?').next().unwrap_or_default();
        let port = port.and_then(super::pattern::parse_port);
        (to == path && self.pattern.matches(scheme, host, port, to).is_some()).then_some(url)
    }

    /// Whether streams of this route live in this process.
    pub fn is_local(&self) -> bool {
        self.backends.is_empty() && self.redirect.is_none()
    }
}

/// A route that matches a URL: see [`RouteTable::explain`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered<'t> {
    /// The route.
    pub route: &'t Route,
    /// What it makes of the request, or would have.
    pub verdict: Verdict,
    /// What puts the one that decides before it, where that was asked first.
    pub behind: Option<Precedence>,
}

/// The routes of a process, and their order of precedence. Immutable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteTable {
    routes: Vec<Route>,
    index: Index,
}

impl RouteTable {
    /// A table of these routes, in the order of the file.
    pub fn new(routes: Vec<Route>) -> RouteTable {
        let index = Index::new(&routes);
        RouteTable { routes, index }
    }

    /// The routes, in the order of the file.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The routes by precedence: those that come first are asked first.
    pub fn by_precedence(&self) -> impl Iterator<Item = &Route> {
        self.index.order().filter_map(|place| self.routes.get(place))
    }

    /// The routes whose patterns match a URL, by precedence, each with what it makes of the request.
    pub fn explain<'t>(&'t self, key: &RequestKey<'_>) -> Vec<Considered<'t>> {
        let mut all: Vec<Considered<'t>> = Vec::new();
        let Some(path) = NormalPath::of(key.path) else { return all };
        let mut decides: Option<&Route> = None;
        let _: ControlFlow<()> = self.index.walk(&self.routes, wanted(key, &path), &mut |entry| {
            let Some(route) = self.routes.get(entry.route()) else { return ControlFlow::Continue(()) };
            let behind = decides.map(|decides| decides.pattern.precedence(&route.pattern).1);
            let verdict = route.consider(key, &path);
            if verdict.decides() {
                decides.get_or_insert(route);
            }
            all.push(Considered { route, verdict, behind });
            ControlFlow::Continue(())
        });
        all
    }

    /// Finds the first route by [precedence](super::UrlPattern::precedence) that is for the request; it serves the request, or denies it.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub fn route<'t>(&'t self, key: &RequestKey<'_>) -> Result<RouteMatch<'t>, RouteError> {
        let path = NormalPath::of(key.path).ok_or(RouteError::BadPath)?;
        let mut other_action = None;
        let met = self.index.walk(&self.routes, wanted(key, &path), &mut |entry| match self
            .consider(entry, key, &path)
        {
            Verdict::Serves => ControlFlow::Break(Ok((entry.route(), entry.rewrites()))),
            Verdict::Denies(denial) => ControlFlow::Break(Err((entry.route(), denial))),
            Verdict::OtherAction => {
                other_action.get_or_insert(entry.route());
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        });
        let route = |index: usize| self.routes.get(index).ok_or(RouteError::NoRoute);
        let (index, rewrites) = match met {
            ControlFlow::Break(Ok(found)) => found,
            ControlFlow::Break(Err((index, denial))) => {
                return Err(RouteError::Denied { route: route(index)?.name.clone(), denial });
            }
            ControlFlow::Continue(()) => {
                return Err(match other_action {
                    Some(index) => {
                        RouteError::Action { route: route(index)?.name.clone(), action: key.action }
                    }
                    None => RouteError::NoRoute,
                });
            }
        };
        let route = route(index)?;
        // Not looked at without need: it is far from what was looked at until now.
        let template = rewrites.then_some(route.rewrite.as_ref()).flatten();
        let query = |own: Option<String>| own.or_else(|| key.query.map(normalize_query));
        Ok(match template {
            Some(template) => {
                let value = |name: &str| route.pattern.value(&path, name).unwrap_or_default();
                let (rewritten, own) = template.fill(value);
                RouteMatch { route, index, asked: Some(path.whole()), path: rewritten, query: query(own) }
            }
            None => RouteMatch { route, index, asked: None, path: path.whole(), query: query(None) },
        })
    }

    /// What the route of an entry makes of a request. Most say nothing but for whom they are not, and need not be looked at.
    fn consider(&self, entry: &Entry, key: &RequestKey<'_>, path: &NormalPath<'_>) -> Verdict {
        match (entry.is_for(key.action), key.caller) {
            (Some(true), Caller::Own | Caller::Anonymous | Caller::Known(_)) => Verdict::Serves,
            (Some(false), _) => Verdict::OtherAction,
            _ => match self.routes.get(entry.route()) {
                Some(route) => route.consider(key, path),
                None => Verdict::OtherAction,
            },
        }
    }
}

fn wanted<'a>(key: &RequestKey<'a>, path: &'a NormalPath<'a>) -> Wanted<'a> {
    Wanted { scheme: key.scheme, host: key.host, port: key.port, path }
}

#[cfg(test)]
mod tests;
