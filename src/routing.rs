//! From a URL to where its stream is: the route, the cluster's settings, and the key that readers share it by.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use msm_auth::identity::id::SpiffeId;
use msm_core::cluster::PickKey;
use msm_core::route::{
    self, Action, Backend, Headers, Mirror, NoHeaders, Protection, Publish, RequestKey, Route, RouteError,
    RouteLimits, RouteMatch, RouteTable, RouteTimeouts, Share, hash, split,
};
use msm_rtsp::auth::Credentials;
use msm_rtsp::url::{ControlPolicy, RtspUrl};
use rustls_pki_types::ServerName;

use crate::canary::{Canary, OnTrial};
use crate::cluster::{Attempts, Cluster, Place};
use crate::config::{ClusterTls, FailoverConfig};
use crate::error::Error;
use crate::hop::members::Members;
use crate::hub::registry::HubKey;
use crate::net::pair::PairRange;
use crate::net::tls::pem::{self, FileProblem};
use crate::net::udp::SocketOptions;
use crate::watched::Watched;

/// How long a shadow's endpoints are tried, where the route does not say.
const SHADOW_SET_UP: Duration = Duration::from_secs(30);

/// How media comes from, or goes to, a cluster's endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Transport {
    /// UDP, then TCP, then multicast, as the endpoint allows.
    #[default]
    Auto,
    Udp,
    Tcp,
    Multicast,
}

/// What a cluster's hops are made with.
#[derive(Clone)]
pub(crate) struct ClusterSettings {
    pub(crate) name: String,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) transport: Transport,
    pub(crate) options: SocketOptions,
    pub(crate) ports: Arc<PairRange>,
    /// How long a connection may take.
    pub(crate) connect_timeout: Duration,
    /// How long an answer may take.
    pub(crate) timeout: Duration,
    pub(crate) control: ControlPolicy,
    /// Streams of routes without placeholders are pulled from the start and kept.
    pub(crate) always: bool,
    /// For mesh hops: who we are, and who may serve.
    pub(crate) members: Option<Members<rustls::ClientConfig>>,
    /// Of them, those that know no mesh hop are spoken to by RTSP over the same TLS.
    pub(crate) fallback: bool,
    /// How `rtsps` endpoints are spoken to.
    pub(crate) tls: Arc<UpstreamTls>,
    /// Media is SRTP, or refused.
    pub(crate) srtp: bool,
    /// How long media may stop coming; zero for ever.
    pub(crate) media_timeout: Duration,
    /// How streams outlive their endpoint.
    pub(crate) failover: FailoverConfig,
}

impl ClusterSettings {
    /// The same, for who is no endpoint of the cluster: its credentials are nobody else's affair.
    pub(crate) fn for_strangers(&self) -> Arc<Self> {
        Arc::new(Self { credentials: None, ..self.clone() })
    }
}

/// What hops over TLS are made with.
pub(crate) struct UpstreamTls {
    given: ClusterTls,
    config: OnceLock<Arc<Watched<rustls::ClientConfig>>>,
}

impl UpstreamTls {
    pub(crate) fn new(given: ClusterTls) -> Arc<Self> {
        Arc::new(Self { given, config: OnceLock::new() })
    }

    /// Reads the authorities, unless it has. Waits for the disk.
    pub(crate) fn load(&self, cluster: &str) -> Result<Arc<Watched<rustls::ClientConfig>>, FileProblem> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let given = self.given.clone();
        let files = given.ca.iter().cloned().collect();
        let made = Watched::new(format!("cluster {cluster}"), files, move || pem::client_config(&given))?;
        Ok(Arc::clone(self.config.get_or_init(|| made)))
    }

    /// The name that the server's certificate must have.
    pub(crate) fn server_name(&self, host: &str) -> Option<ServerName<'static>> {
        let name = self.given.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned()).ok()
    }
}

/// Who asks for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The application that holds the mesh.
    Own,
    /// A plain client.
    Plain,
    /// Another member.
    Member(SpiffeId),
}

/// A request, as far as routes look at it.
#[derive(Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) action: Action,
    pub(crate) caller: Caller,
    /// The name of the listener that it came in by.
    pub(crate) listener: Option<String>,
    pub(crate) headers: &'a dyn Headers,
    /// See [`client_of`].
    pub(crate) client: u64,
}

impl Ask<'_> {
    /// The application that holds the mesh asks. `process` is what this process is called.
    pub(crate) fn own(action: Action, process: &str) -> Ask<'static> {
        Ask { action, caller: Caller::Own, listener: None, headers: &NoHeaders, client: client_of(process) }
    }
}

/// The hash of what stays the same of a client that comes back: its SPIFFE ID, or its address without the port.
pub(crate) fn client_of(name: &str) -> u64 {
    hash(name.as_bytes())
}

/// [`client_of`] an address.
pub(crate) fn client_at(address: IpAddr) -> u64 {
    client_of(&address.to_canonical().to_string())
}

/// What backends are split and endpoints picked by.
pub(crate) fn pick_key(client: u64, resource: &str) -> PickKey {
    // Peers add a slash, or not.
    PickKey { client, url: hash(resource.strip_suffix('/').unwrap_or(resource).as_bytes()) }
}

/// The point of a route's backends that a client and a URL are at.
pub(crate) fn point(key: PickKey) -> u64 {
    key.client ^ key.url
}

/// The routes and clusters of a mesh.
pub(crate) struct Routing {
    table: RouteTable,
    clusters: BTreeMap<String, Arc<Cluster>>,
    /// Canaries of routes, by their places.
    canaries: BTreeMap<usize, Arc<Canary>>,
    /// Mirrors of routes, by their names.
    mirrors: BTreeMap<String, (Mirror, Arc<Cluster>)>,
    /// Settings for URLs that no route matches, where there are no routes at all: a library without configuration
    /// dials what it is given.
    direct: Option<Arc<ClusterSettings>>,
}

/// Where a request goes.
#[derive(Clone)]
pub(crate) struct Resolved {
    pub(crate) route: String,
    pub(crate) share: Share,
    pub(crate) coalesce: Duration,
    pub(crate) idle_timeout: Duration,
    /// Readers go over to another backend's stream when the weights have changed.
    pub(crate) migrate: bool,
    pub(crate) protection: Protection,
    pub(crate) publish: Publish,
    /// How long everything may take until an endpoint has the stream.
    pub(crate) set_up: Option<Duration>,
    /// How many sessions of clients the route may have.
    pub(crate) limits: RouteLimits,
    /// Times instead of the cluster's own.
    timeouts: RouteTimeouts,
    /// Where the route has a canary.
    trial: Option<OnTrial>,
    /// It is of a stream's shadow.
    is_shadow: bool,
    /// Path and query behind the rewrite.
    pub(crate) resource: String,
    /// Who asked first, and for what: what endpoints are picked by.
    pub(crate) pick: PickKey,
    pub(crate) target: Target,
}

#[derive(Clone)]
pub(crate) enum Target {
    /// Streams published into this process.
    Local,
    /// An endpoint of a cluster.
    Cluster(Arc<Cluster>),
    /// The URL itself.
    Direct(Arc<ClusterSettings>, RtspUrl),
}

impl Routing {
    pub(crate) fn new(
        table: RouteTable,
        clusters: BTreeMap<String, Arc<Cluster>>,
        direct: Option<ClusterSettings>,
    ) -> Self {
        let canary = |route: &Route| {
            let rule = route.canary.as_ref()?;
            Some(clusters.get(&rule.cluster)?.canaries.of(route, rule))
        };
        let routes = table.routes().iter().enumerate();
        let canaries = routes.filter_map(|(place, route)| Some((place, canary(route)?))).collect();
        let mirror = |route: &Route| {
            let mirror = route.mirror.clone()?;
            let cluster = Arc::clone(clusters.get(&mirror.cluster)?);
            Some((route.name.clone(), (mirror, cluster)))
        };
        let mirrors = table.routes().iter().filter_map(mirror).collect();
        Self { table, clusters, canaries, mirrors, direct: direct.map(Arc::new) }
    }

    /// The clusters, by name.
    pub(crate) fn clusters(&self) -> &BTreeMap<String, Arc<Cluster>> {
        &self.clusters
    }

    /// Where the shadow of a stream is, if it has one.
    pub(crate) fn shadow_of(&self, resolved: &Resolved) -> Option<&Arc<Cluster>> {
        let (mirror, cluster) = self.mirrors.get(&resolved.route)?;
        // A stream that was there before it became the mirror's cluster needs no copy.
        let is_elsewhere = resolved.cluster_name() != cluster.name();
        (is_elsewhere && mirror.takes(&resolved.route, point(resolved.pick))).then_some(cluster)
    }

    /// The way of a URL.
    pub(crate) fn resolve(&self, url: &RtspUrl, ask: &Ask<'_>) -> Result<Resolved, Error> {
        if let (Some(direct), true) = (&self.direct, self.table.routes().is_empty()) {
            return Ok(Resolved {
                route: "direct".into(),
                share: Share::Auto,
                coalesce: Duration::ZERO,
                idle_timeout: Route::IDLE_TIMEOUT,
                migrate: false,
                protection: Protection::default(),
                publish: Publish::default(),
                set_up: None,
                limits: RouteLimits::default(),
                timeouts: RouteTimeouts::default(),
                trial: None,
                is_shadow: false,
                resource: url.resource(),
                pick: PickKey::default(),
                target: Target::Direct(Arc::clone(direct), url.clone()),
            });
        }
        let identity = match &ask.caller {
            Caller::Member(id) => id.to_string(),
            _ => String::new(),
        };
        let key = RequestKey {
            caller: match ask.caller {
                Caller::Own => route::Caller::Own,
                Caller::Plain => route::Caller::Anonymous,
                Caller::Member(_) => route::Caller::Member(&identity),
            },
            listener: ask.listener.as_deref(),
            headers: ask.headers,
            client: ask.client,
            ..key_of(url, ask.action)
        };
        let matched = self.table.route(&key).map_err(|error| match error {
            RouteError::NoRoute => Error::NoRoute { url: url.to_string() },
            RouteError::Denied { route, denial } => Error::Denied { route, reason: denial.to_string() },
            RouteError::Action { .. } => Error::Refused(error.to_string()),
            _ => Error::BadUrl { url: url.to_string(), reason: error.to_string() },
        })?;
        redirected(&matched, url)?;
        let route = matched.route;
        let resource = matched.path_and_query();
        let pick = pick_key(ask.client, &resource);
        let canary = self.canaries.get(&matched.index);
        let mut trial = None;
        let target = if route.is_local() {
            Target::Local
        } else {
            let is_usable = |own: &Backend| canary.is_none_or(|canary| !canary.leaves_out(&own.cluster));
            let backend = split(&route.backends, point(pick), is_usable);
            let cluster = backend.and_then(|backend| self.clusters.get(&backend.cluster));
            let cluster = cluster.ok_or_else(|| Error::NoRoute { url: url.to_string() })?;
            trial = canary
                .map(|canary| OnTrial { canary: Arc::clone(canary), cluster: cluster.name().to_owned() });
            Target::Cluster(Arc::clone(cluster))
        };
        Ok(Resolved {
            route: route.name.clone(),
            share: route.share,
            coalesce: route.coalesce,
            idle_timeout: route.idle_timeout,
            migrate: route.migrate,
            protection: route.protection.clone(),
            set_up: route.timeouts.set_up,
            limits: route.limits,
            timeouts: route.timeouts,
            publish: route.publish,
            trial,
            is_shadow: false,
            resource,
            pick,
            target,
        })
    }

    /// The canaries, each with its route's name.
    pub(crate) fn canaries(&self) -> impl Iterator<Item = (&str, &Canary)> {
        self.canaries.iter().filter_map(|(place, canary)| {
            let route = self.table.routes().get(*place)?;
            Some((route.name.as_str(), &**canary))
        })
    }

    /// Routes whose streams are to be pulled from the start: those of `start: always` clusters that name one URL.
    pub(crate) fn standing(&self) -> Vec<RtspUrl> {
        let is_always = |route: &&Route| {
            route
                .backends
                .iter()
                .any(|backend| self.clusters.get(&backend.cluster).is_some_and(|own| own.settings().always))
        };
        let literal = |route: &Route| {
            // Any host is this one; a path alone has any.
            let text = route.pattern.as_str();
            let text = text.split_once("://").map_or(text, |(_, rest)| rest);
            let (host, path) = text.split_at(text.find('/').unwrap_or(text.len()));
            let host = if host.is_empty() || host.contains('*') { "localhost" } else { host };
            (route.pattern.names().next().is_none() && path.starts_with('/'))
                .then(|| RtspUrl::parse(&format!("rtsp://{host}{path}")).ok())?
        };
        self.table.routes().iter().filter(is_always).filter_map(literal).collect()
    }
}

/// A URL, as the table looks it up.
pub(crate) fn key_of(url: &RtspUrl, action: Action) -> RequestKey<'_> {
    RequestKey {
        scheme: url.scheme(),
        host: url.host(),
        port: Some(url.port()),
        query: url.query(),
        ..RequestKey::new(if url.path().is_empty() { "/" } else { url.path() }, action)
    }
}

/// An error if the route sends its clients elsewhere. Whoever asked within TLS is not sent out of it: with the URL would go the password
/// that the client believes to be safe.
fn redirected(matched: &RouteMatch<'_>, url: &RtspUrl) -> Result<(), Error> {
    let Some((to, status)) = matched.redirect() else { return Ok(()) };
    let leave_within = matched.route.leave_within;
    let route = matched.route.name.clone();
    let is_clear = matched.route.redirect.as_ref().is_some_and(route::Redirect::is_clear);
    if url.scheme() == "rtsps" && is_clear {
        let reason = format!(
            "it would send {url}, asked for within TLS, to a connection in the clear; write `rtsps://` in `redirect.to`"
        );
        return Err(Error::Denied { route, reason });
    }
    Err(Error::Redirected { route, to, status, leave_within })
}

impl Resolved {
    /// The same, of a shadow at another cluster: that is no canary of the route, and none of its times are made for it.
    pub(crate) fn shadow(&self, cluster: &Arc<Cluster>) -> Self {
        Self {
            set_up: Some(self.set_up.unwrap_or(SHADOW_SET_UP)),
            timeouts: RouteTimeouts::default(),
            trial: None,
            is_shadow: true,
            target: Target::Cluster(Arc::clone(cluster)),
            ..self.clone()
        }
    }

    /// Logs that an endpoint has failed; of a shadow nobody is to notice.
    pub(crate) fn tell_failed(&self, cluster: &str, error: &Error) {
        if self.is_shadow {
            tracing::debug!(cluster, %error, "endpoint failed, of a shadow");
        } else {
            tracing::warn!(cluster, %error, "endpoint failed");
        }
    }

    /// Settings of the hop, unless the stream is local.
    pub(crate) fn settings(&self) -> Option<Arc<ClusterSettings>> {
        match &self.target {
            Target::Local => None,
            Target::Cluster(cluster) => {
                let (settings, own) = (cluster.settings(), self.timeouts);
                if own.connect.is_none() && own.response.is_none() {
                    return Some(settings);
                }
                Some(Arc::new(ClusterSettings {
                    connect_timeout: own.connect.unwrap_or(settings.connect_timeout),
                    timeout: own.response.unwrap_or(settings.timeout),
                    ..ClusterSettings::clone(&settings)
                }))
            }
            Target::Direct(settings, _) => Some(Arc::clone(settings)),
        }
    }

    /// The endpoints that may have the stream.
    pub(crate) fn attempts(&self) -> Attempts {
        match &self.target {
            Target::Local => Attempts::none(),
            Target::Cluster(cluster) => {
                let resource = self.resource.clone();
                Attempts::of_cluster(Arc::clone(cluster), self.pick, resource, self.trial.clone())
            }
            Target::Direct(_, url) => Attempts::direct(url.clone()),
        }
    }

    /// The cluster's endpoint that a server names by its URL, asked for what would be asked of any: a server chooses where the stream is had,
    /// not which.
    pub(crate) fn endpoint_at(&self, url: &RtspUrl) -> Place {
        let Target::Cluster(cluster) = &self.target else { return Place::Elsewhere };
        cluster.at((url.host(), url.port()), &self.resource, self.trial.as_ref())
    }

    /// How long packets of a plain upstream may wait for those before them, and whether these may be asked for.
    pub(crate) fn mending(&self) -> (Duration, bool) {
        (self.protection.latency, self.protection.nack)
    }

    /// What becomes of readers when the publisher goes. What goes on to an upstream ends with its publisher: the upstream
    /// has a stream of its own.
    pub(crate) fn publish_plan(&self) -> Publish {
        if self.is_upstream() {
            return Publish { resume: Duration::ZERO, resume_after_teardown: Duration::ZERO, ..self.publish };
        }
        self.publish
    }

    /// For metric labels.
    pub(crate) fn cluster_name(&self) -> &str {
        match &self.target {
            Target::Local => "local",
            Target::Cluster(cluster) => cluster.name(),
            Target::Direct(settings, _) => &settings.name,
        }
    }

    pub(crate) fn is_upstream(&self) -> bool {
        !matches!(self.target, Target::Local)
    }

    /// Whether there is more than one endpoint.
    pub(crate) fn has_a_choice(&self) -> bool {
        match &self.target {
            Target::Local | Target::Direct(..) => false,
            Target::Cluster(cluster) => cluster.count() > 1,
        }
    }

    /// What readers share the stream by.
    pub(crate) fn key(&self) -> HubKey {
        let backend = match &self.target {
            Target::Local => "local".into(),
            Target::Cluster(cluster) => format!("cluster {}", cluster.name()),
            Target::Direct(_, url) => format!("{}:{}", url.host().to_ascii_lowercase(), url.port()),
        };
        // One slash, as where routes are matched: two spellings of one stream must not select two routes, of which one
        // serves whom the other refuses.
        let resource = self.resource.strip_suffix('/').unwrap_or(&self.resource);
        HubKey { backend, resource: resource.to_owned() }
    }

    /// What a publisher holds: where it is local, the same as readers ask for.
    pub(crate) fn publish_key(&self) -> HubKey {
        let key = self.key();
        if self.is_upstream() { HubKey { backend: format!("publish {}", key.backend), ..key } } else { key }
    }
}
