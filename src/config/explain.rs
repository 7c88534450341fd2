//! How a configuration would route a request, and why.

mod mirror;
mod show;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use msm_auth::identity::id::SpiffeId;
use msm_core::route::{
    Backend, Caller, Considered, Denial, RequestKey, RouteError, RouteMatch, RouteTable, Verdict, split,
};
use msm_rtsp::url::RtspUrl;
use serde::Serialize;

pub use self::mirror::MirrorChoice;
use super::{ActionConfig, Config, EndpointConfig, Fallback, Hop};
use crate::routing::{client_at, client_of, key_of, pick_key, point};

/// Routes that do not match a URL are named up to so many, and counted beyond.
const MAX_NAMED: usize = 20;

/// What [`Config::explain`] is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The URL as a client would ask for it.
    pub url: String,
    /// What is asked for.
    pub action: ActionConfig,
    /// The SPIFFE ID of another member that asks; without it, a plain client does.
    pub from: Option<String>,
    /// The listener that the request comes in by.
    pub listener: Option<String>,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// The client's address, for what depends on that. A member is known by its ID.
    pub client: Option<IpAddr>,
}

impl Question {
    /// A plain client reads.
    pub fn read(url: impl Into<String>) -> Question {
        Question {
            url: url.into(),
            action: ActionConfig::Read,
            from: None,
            listener: None,
            headers: Vec::new(),
            client: None,
        }
    }
}

/// What [`Config::explain`] found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// Whether the request would be served.
    pub served: bool,
    /// The status that the client would get, were the upstream to serve it.
    pub status: u16,
    /// The decision, for people.
    pub decision: String,
    /// The routes that match the URL, in the order in which they are asked, each with what it makes of the request; then those that do not
    /// match, unless there are many.
    pub routes: Vec<RouteVerdict>,
    /// Routes that do not match and are not listed.
    pub others: usize,
    /// Where the client is sent instead.
    pub redirect: Option<String>,
    /// Path and query upstream.
    pub resource: Option<String>,
    /// Where the request goes; empty for streams of this process.
    pub backends: Vec<BackendChoice>,
    /// Where the stream is copied to, if it may be.
    pub mirror: Option<MirrorChoice>,
    /// What depends on who asks, and what it comes to.
    pub side: Option<String>,
    /// Where the client and the URL are among all, if it is known who asks.
    #[serde(skip)]
    point: Option<u64>,
}

/// One route, and what it makes of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteVerdict {
    /// The route's name.
    pub route: String,
    /// Whether it decides the request.
    pub decides: bool,
    /// Why, or why not.
    pub why: String,
}

/// One cluster that the request may go to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackendChoice {
    /// The cluster's name.
    pub cluster: String,
    /// Its share of the route's requests.
    pub weight: u32,
    /// The same, in percent of all weights.
    pub share: f64,
    /// Whether this client's request goes there; unknown unless the question says who asks.
    pub chosen: Option<bool>,
    /// Whether it is the route's canary.
    pub canary: bool,
    /// Why its share went to the others, as a running proxy has it.
    pub rolled_back: Option<String>,
    /// `plain` or `mesh`.
    pub hop: &'static str,
    /// What becomes of endpoints that know no mesh hop: `none` or `rtsps`.
    pub fallback: &'static str,
    /// How an endpoint is picked.
    pub balance: String,
    /// Where its servers come from, if that is not the configuration.
    pub discovery: Option<String>,
    /// Its servers, as far as the configuration names them.
    pub endpoints: Vec<EndpointChoice>,
    /// Which members may serve.
    pub peers: Vec<String>,
}

/// One server of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndpointChoice {
    /// Where it is.
    pub url: String,
    /// Its share, relative to the others'.
    pub weight: u32,
    /// How it is, in the words of a running proxy; the configuration does not know.
    pub health: Option<String>,
}

impl Config {
    /// How a request would be routed.
    ///
    /// # Errors
    /// What is wrong with the question or the configuration, for people.
    pub fn explain(&self, question: &Question) -> Result<Explanation, String> {
        let url = RtspUrl::parse(&question.url).map_err(|error| format!("the URL: {error}"))?;
        let from = question.from.as_deref().map(SpiffeId::parse).transpose();
        let from = from.map_err(|error| format!("--from: {error}"))?.map(|id| id.to_string());
        let known = || self.listeners.iter().map(|listener| listener.name.as_str());
        if let Some(listener) = &question.listener
            && !known().any(|name| name == listener)
        {
            let known: Vec<&str> = known().collect();
            return Err(format!("--listener: there is no listener `{listener}`, but {}", known.join(", ")));
        }
        let client = match (&from, question.client) {
            (Some(id), _) => Some(client_of(id)),
            (None, Some(address)) => Some(client_at(address)),
            (None, None) => None,
        };
        let table = self.routing().map_err(|errors| errors.to_string())?.table;
        let key = RequestKey {
            caller: from.as_deref().map_or(Caller::Anonymous, Caller::Member),
            listener: question.listener.as_deref(),
            headers: &question.headers,
            client: client.unwrap_or_default(),
            ..key_of(&url, question.action.into())
        };
        let considered = table.explain(&key);
        let mut explanation = Explanation {
            served: false,
            status: 404,
            decision: String::new(),
            routes: Vec::new(),
            others: 0,
            redirect: None,
            resource: None,
            backends: Vec::new(),
            mirror: None,
            side: None,
            point: None,
        };
        let undecided = considered.iter().take_while(|own| own.behind.is_none());
        let shares = undecided.filter_map(|own| Some((own, own.route.percentage?))).next();
        if let (Some((own, percentage)), None) = (shares, client) {
            explanation.side = Some(format!(
                "route `{}` takes {percentage}% of clients: name one by --client or --from to know its side",
                own.route.name
            ));
        }
        explanation.fill_routes(&table, &considered);
        match table.route(&key) {
            Ok(found) => self.found(&mut explanation, &found, (&url, question.action), client),
            Err(error) => {
                explanation.status = match &error {
                    RouteError::Denied { .. } => 403,
                    RouteError::BadPath => 400,
                    RouteError::Action { .. } => 455,
                    _ => 404,
                };
                explanation.decision = error.to_string();
            }
        }
        Ok(explanation)
    }

    fn found(
        &self,
        explanation: &mut Explanation,
        found: &RouteMatch<'_>,
        (url, action): (&RtspUrl, ActionConfig),
        client: Option<u64>,
    ) {
        let route = found.route;
        if let Some((to, status)) = found.redirect() {
            if url.scheme() == "rtsps" && to.starts_with("rtsp://") {
                explanation.status = 403;
                explanation.decision = format!(
                    "route `{}` would send a client that came by TLS to {to}, in the clear",
                    route.name
                );
                return;
            }
            explanation.status = status;
            explanation.decision = format!("route `{}` sends the client to {to}", route.name);
            explanation.redirect = Some(to);
            return;
        }
        explanation.served = true;
        explanation.status = 200;
        explanation.decision = format!("route `{}` serves it", route.name);
        let resource = found.path_and_query();
        explanation.point = client.map(|client| point(pick_key(client, &resource)));
        let total: u64 = route.backends.iter().map(|own| u64::from(own.weight)).sum();
        for own in &route.backends {
            let share = f64::from(own.weight) * 100.0 / total as f64;
            let is_canary = route.canary.as_ref().is_some_and(|canary| canary.cluster == own.cluster);
            explanation.backends.push(self.backend(&own.cluster, own.weight, share, is_canary));
        }
        explanation.mirror = mirror::of(route, action, explanation.point);
        explanation.choose();
        explanation.resource = Some(resource);
    }

    fn backend(&self, name: &str, weight: u32, share: f64, canary: bool) -> BackendChoice {
        let cluster = self.clusters.get(name);
        let endpoints = cluster.map(|own| own.endpoints.as_slice()).unwrap_or_default();
        let endpoint =
            |own: &EndpointConfig| EndpointChoice { url: own.url.clone(), weight: own.weight, health: None };
        BackendChoice {
            cluster: name.to_owned(),
            weight,
            share,
            chosen: None,
            canary,
            rolled_back: None,
            hop: match cluster.map(|own| own.hop) {
                Some(Hop::Mesh) => "mesh",
                _ => "plain",
            },
            fallback: match cluster.map(|own| own.fallback) {
                Some(Fallback::Rtsps) => "rtsps",
                _ => "none",
            },
            balance: cluster.map(|own| word(&own.balance)).unwrap_or_default(),
            discovery: cluster.and_then(|own| match &own.dns {
                Some(dns) => Some(format!("DNS, {}", dns.name)),
                None if !own.files.is_empty() => Some(own.files.join(", ")),
                None => None,
            }),
            endpoints: endpoints.iter().map(endpoint).collect(),
            peers: cluster.map(|own| own.peers.clone()).unwrap_or_default(),
        }
    }
}

/// A word of the configuration as the file has it.
fn word(value: &impl std::fmt::Debug) -> String {
    let mut word = String::new();
    for letter in format!("{value:?}").chars() {
        if letter.is_ascii_uppercase() && word.ends_with(|last: char| last.is_ascii_lowercase()) {
            word.push('_');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

impl Explanation {
    /// A running proxy has taken the share of this cluster away.
    pub fn roll_back(&mut self, cluster: &str, why: &str) {
        for own in self.backends.iter_mut().filter(|own| own.canary && own.cluster == cluster) {
            own.rolled_back = Some(why.to_owned());
        }
        self.choose();
    }

    /// Says which side the client is on.
    fn choose(&mut self) {
        let backend = |own: &BackendChoice| Backend { cluster: own.cluster.clone(), weight: own.weight };
        let left: Vec<Backend> =
            self.backends.iter().filter(|own| own.rolled_back.is_none()).map(backend).collect();
        let chosen = self.point.and_then(|point| split(&left, point, |_| true));
        for own in &mut self.backends {
            own.chosen = self.point.map(|_| chosen.is_some_and(|chosen| chosen.cluster == own.cluster));
        }
        let splits = left.iter().filter(|own| own.weight > 0).count() > 1;
        if let (true, Some(chosen)) = (splits, chosen) {
            self.side =
                Some(format!("this client's readers of this URL are on the side of `{}`", chosen.cluster));
        } else if splits {
            let text =
                "streams are split by client and URL: name a client by --client or --from to know its side";
            self.side = Some(text.to_owned());
        }
    }

    fn fill_routes(&mut self, table: &RouteTable, considered: &[Considered<'_>]) {
        let decider = considered.iter().find(|own| own.verdict.decides() && own.behind.is_none());
        let beats = considered.iter().find_map(|own| own.behind);
        for own in considered {
            let decides = decider.is_some_and(|decider| std::ptr::eq(decider, own));
            let mut why = match (own.behind, decider) {
                (Some(precedence), Some(decider)) => {
                    format!("not asked: `{}` comes first, as {precedence}", decider.route.name)
                }
                _ => why(own),
            };
            if let (true, Some(precedence)) = (decides, beats) {
                why.push_str(&format!("; of those that match it comes first, as {precedence}"));
            }
            self.routes.push(RouteVerdict { route: own.route.name.clone(), decides, why });
        }
        let is_listed = |name: &str| considered.iter().any(|own| own.route.name == name);
        let others = || table.by_precedence().filter(|route| !is_listed(&route.name));
        let missing = table.routes().len().saturating_sub(considered.len());
        if missing > MAX_NAMED {
            self.others = missing;
            return;
        }
        for route in others() {
            let why = format!("`{}` does not match the URL", route.pattern);
            self.routes.push(RouteVerdict { route: route.name.clone(), decides: false, why });
        }
    }
}

/// What a route makes of the request, for people.
fn why(own: &Considered<'_>) -> String {
    let route = own.route;
    let list = |texts: &mut dyn Iterator<Item = String>| texts.collect::<Vec<_>>().join(", ");
    match &own.verdict {
        Verdict::OtherAction => "is not for this action".to_owned(),
        Verdict::OtherCaller => {
            format!("`from` selects {}", list(&mut route.from.iter().map(ToString::to_string)))
        }
        Verdict::OtherListener => {
            format!("`listeners` selects {}", list(&mut route.listeners.iter().cloned()))
        }
        Verdict::OtherHeaders { wanted } => format!("`headers` wants `{wanted}`"),
        Verdict::OtherShare => {
            let percentage = route.percentage.unwrap_or(100);
            format!("`percentage` takes {percentage}% of clients and URLs, and not these")
        }
        Verdict::Denies(denial) => denies(denial),
        Verdict::Serves => {
            let mut why = format!("`{}` matches", route.pattern);
            if let Some(percentage) = route.percentage {
                why.push_str(&format!(", and these are among its {percentage}% of clients and URLs"));
            }
            if let Some(allow) = &route.allow {
                why.push_str(&format!(
                    ", and `allow` lists {}",
                    list(&mut allow.iter().map(ToString::to_string))
                ));
            }
            why
        }
    }
}

fn denies(denial: &Denial) -> String {
    format!("matches, and denies it: {denial}")
}
