//! Routes.

use super::super::nearest::nearest;
use super::super::{BackendConfig, Config, Hop, RedirectConfig, RouteConfig, Start};
use super::{At, Report, mirror, name, peers, protection, publish};
use msm_core::route::{Backend, CanaryRule, HeaderPattern, Redirect, RewriteTemplate, Route, UrlPattern};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Longest `coalesce`.
const MAX_COALESCE: Duration = Duration::from_millis(100);

/// Routes with one pattern that a later one with it is compared with.
const MAX_COMPARED: usize = 64;

/// Patterns that match the same URLs are one.
struct Same<'a>(&'a UrlPattern);

impl Ord for Same<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.precedence(other.0).0
    }
}

impl PartialOrd for Same<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Same<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Same<'_> {}

pub(super) fn check(config: &Config, report: &mut Report<'_>) -> Vec<Route> {
    if config.routes.is_empty() {
        report.add(
            &At::key("routes"),
            "has no route, so no URL exists; add one, or remove the key for the default",
        );
    }
    let mut names = BTreeSet::new();
    let mut routes: Vec<(usize, Route)> = Vec::with_capacity(config.routes.len());
    for (index, given) in config.routes.iter().enumerate() {
        let at = At::key("routes").item(index);
        name(&given.name, &at.then("name"), report);
        if !names.insert(given.name.as_str()) {
            let message = format!("`{}` is another route's name too; give each its own", given.name);
            report.add(&at.then("name"), message);
        }
        check_match(config, given, &at.then("match"), report);
        check_backends(config, given, &at, report);
        mirror::check(config, given, &at, report);
        check_bounds(config, given, &at, report);
        protection::check(config, &given.protection, &at.then("protection"), report);
        publish::check(&given.publish, &at.then("publish"), report);
        let url = at.then("match").then("url");
        let pattern = match UrlPattern::parse(&given.r#match.url) {
            Ok(pattern) => pattern,
            Err(error) => {
                report.add(&url, error.to_string());
                // Still says what is wrong with the template itself.
                if let Some(Err(error)) = given.rewrite.as_deref().map(RewriteTemplate::parse) {
                    report.add(&at.then("rewrite"), error.to_string());
                }
                continue;
            }
        };
        check_start(config, given, &pattern, &url, report);
        routes.push((index, route_of(given, pattern, &at, report)));
    }
    unreachable(&routes, report);
    routes.into_iter().map(|(_, route)| route).collect()
}

/// Says which routes nothing can come to, as one with the same pattern takes everything first.
fn unreachable(routes: &[(usize, Route)], report: &mut Report<'_>) {
    let mut seen: BTreeMap<Same<'_>, Vec<&Route>> = BTreeMap::new();
    for (index, route) in routes {
        let same = seen.entry(Same(&route.pattern)).or_default();
        if let Some(earlier) = same.iter().find(|earlier| earlier.takes_all_of(route)) {
            let message =
                format!("is never reached: route `{}` above takes the same URLs; remove one", earlier.name);
            report.add(&At::key("routes").item(*index).then("match").then("url"), message);
        }
        if same.len() < MAX_COMPARED {
            same.push(route);
        }
    }
}

fn check_match(config: &Config, given: &RouteConfig, at: &At, report: &mut Report<'_>) {
    let own = &given.r#match;
    if own.actions.is_empty() {
        report.add(&at.then("actions"), "is empty; write `read`, `publish` or both");
    }
    let known = || config.listeners.iter().map(|listener| listener.name.as_str());
    for (index, listener) in own.listeners.iter().enumerate() {
        if !known().any(|name| name == listener) {
            let hint = match nearest(listener, known().filter(|_| !report.is_full())) {
                Some(near) => format!("did you mean `{near}`?"),
                None if report.is_full() => "write one of `listeners`".to_owned(),
                None => format!("there are {}", known().collect::<Vec<_>>().join(", ")),
            };
            let message = format!("there is no listener `{listener}`; {hint}");
            report.add(&at.then("listeners").item(index), message);
        }
    }
    for (header, text) in &own.headers {
        if let Err(error) = HeaderPattern::parse(header, text) {
            report.add(&at.then("headers").then(header), error.to_string());
        }
    }
    if own.percentage.is_some_and(|percentage| percentage.0 == 0) {
        report.add(
            &at.then("percentage"),
            "is 0%, so nothing comes to the route; remove the route, or write more",
        );
    }
}

/// Times and limits.
fn check_bounds(config: &Config, given: &RouteConfig, at: &At, report: &mut Report<'_>) {
    if given.coalesce > MAX_COALESCE {
        report.add(&at.then("coalesce"), "is longer than `100ms`, more than a live stream can bear");
    }
    let timeouts = &given.timeouts;
    let all = [("connect", timeouts.connect), ("response", timeouts.response), ("set_up", timeouts.set_up)];
    let mut to_members = given.backends.iter().filter_map(|backend| config.clusters.get(&backend.cluster));
    let has_members = to_members.any(|cluster| cluster.hop == Hop::Mesh);
    for (key, timeout) in all {
        let Some(timeout) = timeout else { continue };
        let at = at.then("timeouts").then(key);
        if timeout.is_zero() {
            report.add(&at, "is 0, so nothing could succeed; write e.g. `5s`");
        } else if given.backends.is_empty() {
            report.add(&at, "is for routes with `backends`: nothing is waited for here; remove it");
        } else if has_members && key != "set_up" {
            let message = format!(
                "is of connections to members, which routes share; write `timeouts: {{{key}: …}}` in the cluster instead"
            );
            report.add(&at, message);
        }
    }
    let limits = [("sessions", given.limits.sessions), ("readers", given.limits.readers)];
    for (key, _) in limits.into_iter().filter(|(_, limit)| *limit == Some(0)) {
        report.add(&at.then("limits").then(key), "is 0, so nothing would be served; write at least 1");
    }
}

fn route_of(given: &RouteConfig, pattern: UrlPattern, at: &At, report: &mut Report<'_>) -> Route {
    let template = given.rewrite.as_deref().map(|text| {
        let template = RewriteTemplate::parse(text)?;
        template.check(&pattern)?;
        Ok::<_, msm_core::route::TemplateError>(template)
    });
    let rewrite = match template.transpose() {
        Ok(rewrite) => rewrite,
        Err(error) => {
            report.add(&at.then("rewrite"), error.to_string());
            None
        }
    };
    let backend =
        |backend: &BackendConfig| Backend { cluster: backend.cluster.clone(), weight: backend.weight };
    let from = peers(&given.r#match.from, &at.then("match").then("from"), report);
    let allow = given.allow.as_ref().map(|allow| peers(allow, &at.then("allow"), report));
    let headers = &given.r#match.headers;
    let redirect = redirect(given, &pattern, at, report);
    let route = Route {
        name: given.name.clone(),
        pattern,
        actions: given.r#match.actions.iter().map(|&action| action.into()).collect(),
        from,
        listeners: given.r#match.listeners.clone(),
        headers: headers.iter().filter_map(|(name, text)| HeaderPattern::parse(name, text).ok()).collect(),
        percentage: given.r#match.percentage.map(|percentage| percentage.0),
        allow,
        redirect,
        leave_within: given.redirect.as_ref().map_or(Route::LEAVE_WITHIN, |own| own.leave_within),
        rewrite,
        backends: given.backends.iter().map(backend).collect(),
        canary: canary(given, at, report),
        mirror: mirror::of(given),
        share: given.share.into(),
        coalesce: given.coalesce,
        idle_timeout: given.idle_timeout,
        migrate: given.migrate,
        timeouts: (&given.timeouts).into(),
        limits: (&given.limits).into(),
        protection: (&given.protection).into(),
        publish: (&given.publish).into(),
    };
    if let Some(url) = route.loops() {
        let message = format!(
            "sends clients to {url}, which is this route's again; `match.listeners` tells those who came by one listener from \
             others"
        );
        report.add(&at.then("redirect").then("to"), message);
    }
    route
}

fn canary(given: &RouteConfig, at: &At, report: &mut Report<'_>) -> Option<CanaryRule> {
    let own = given.canary.as_ref()?;
    let at = at.then("canary");
    let weighted = || given.backends.iter().filter(|backend| backend.weight > 0);
    if weighted().count() < 2 {
        report.add(&at, "needs two backends with a weight: one on trial, and one to go back to; add one, or remove the key");
        return None;
    }
    let cluster = given.canary_cluster().unwrap_or_default();
    if !weighted().any(|backend| backend.cluster == cluster) {
        let named: Vec<&str> = weighted().map(|backend| backend.cluster.as_str()).collect();
        let message = format!("`{cluster}` is no backend with a weight; write one of {}", named.join(", "));
        report.add(&at.then("cluster"), message);
    }
    if own.window < Duration::from_secs(1) {
        report.add(
            &at.then("window"),
            "is shorter than `1s`, in which nothing can be judged; write e.g. `60s`",
        );
    }
    Some(CanaryRule {
        cluster: cluster.to_owned(),
        max_setup_failures: own.max_setup_failures.0,
        max_loss: own.max_loss.0,
        window: own.window,
    })
}

fn redirect(given: &RouteConfig, pattern: &UrlPattern, at: &At, report: &mut Report<'_>) -> Option<Redirect> {
    let own = given.redirect.as_ref()?;
    let at = at.then("redirect");
    if !given.backends.is_empty() {
        report.add(&at, "stands next to `backends`, and a client is either sent away or served; remove one");
    }
    if given.limits.sessions.or(given.limits.readers).is_some() {
        report.add(&at, "stands next to `limits`, and who is sent away has no session; remove one");
    }
    if own.to.is_empty() {
        report.add(&at.then("to"), "says nothing; write e.g. `rtsp://other.example/{name}`");
        return None;
    }
    if own.leave_within > RedirectConfig::LONGEST_LEAVE {
        report.add(&at.then("leave_within"), "is longer than an hour; write e.g. `10s`");
    }
    match Redirect::parse(&own.to, own.status, pattern) {
        Ok(redirect) => Some(redirect),
        Err(error) => {
            let key =
                if matches!(error, msm_core::route::RedirectError::Status(_)) { "status" } else { "to" };
            report.add(&at.then(key), error.to_string());
            None
        }
    }
}

/// What is wrong where a cluster is named, if there is none of that name.
pub(super) fn no_cluster(config: &Config, cluster: &str, report: &Report<'_>) -> Option<String> {
    if config.clusters.contains_key(cluster) || report.is_dead("clusters", cluster) {
        return None;
    }
    let known = config.clusters.keys().map(String::as_str);
    let hint = match nearest(cluster, known.filter(|_| !report.is_full())) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "add it under `clusters`".to_owned(),
    };
    Some(format!("there is no cluster `{cluster}`; {hint}"))
}

fn check_backends(config: &Config, route: &RouteConfig, at: &At, report: &mut Report<'_>) {
    let at = at.then("backends");
    let mut seen = BTreeSet::new();
    for (index, backend) in route.backends.iter().enumerate() {
        let cluster = backend.cluster.as_str();
        let key = || at.item(index).then("cluster");
        if cluster.is_empty() {
            report.add(&key(), "names no cluster; write the name of one under `clusters`");
        } else if let Some(problem) = no_cluster(config, cluster, report) {
            report.add(&key(), problem);
        } else if !seen.insert(cluster) {
            report.add(&key(), format!("cluster `{cluster}` stands twice; add up the weights"));
        }
    }
    if !route.backends.is_empty() && route.backends.iter().all(|backend| backend.weight == 0) {
        report.add(&at, "has weight 0 everywhere, so nothing is served; give one a weight");
    }
}

/// A cluster that is to start at once must be told what to start, and the process itself must be let.
fn check_start(
    config: &Config,
    route: &RouteConfig,
    pattern: &UrlPattern,
    url: &At,
    report: &mut Report<'_>,
) {
    let always = route.backends.iter().find(|backend| {
        config.clusters.get(&backend.cluster).is_some_and(|cluster| cluster.start == Start::Always)
    });
    let Some(backend) = always else { return };
    let cluster = &backend.cluster;
    if pattern.names().next().is_some() {
        let message = format!(
            "has placeholders, but cluster `{cluster}` has `start: always`: nothing says which stream to start; name one \
             stream, or write `start: on_demand`"
        );
        report.add(url, message);
    }
    let own = &route.r#match;
    let is_picky = !own.from.is_empty() || !own.listeners.is_empty() || !own.headers.is_empty();
    if is_picky || own.percentage.is_some() {
        let message = format!(
            "is for some requests only, but cluster `{cluster}` has `start: always`, which nobody asks for; remove `from`, \
             `listeners`, `headers` and `percentage`, or write `start: on_demand`"
        );
        report.add(url, message);
    }
}
