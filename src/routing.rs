//! From a URL to where its stream is: the route, the cluster's settings, and the key that readers share it by.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use msm_auth::identity::id::SpiffeId;
use msm_core::cluster::PickKey;
use msm_core::route::{
    self, Action, Protection, Publish, RequestKey, Route, RouteError, RouteTable, Share, hash, split,
};
use msm_rtsp::auth::Credentials;
use msm_rtsp::url::{ControlPolicy, RtspUrl};
use rustls_pki_types::ServerName;

use crate::cluster::{Attempts, Cluster};
use crate::config::ClusterTls;
use crate::error::Error;
use crate::hop::members::Members;
use crate::hub::registry::HubKey;
use crate::net::pair::PairRange;
use crate::net::tls::pem::{self, FileProblem};
use crate::net::udp::SocketOptions;
use crate::watched::Watched;

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
pub(crate) struct ClusterSettings {
    pub(crate) name: String,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) transport: Transport,
    pub(crate) options: SocketOptions,
    pub(crate) ports: PairRange,
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

/// The routes and clusters of a mesh.
pub(crate) struct Routing {
    table: RouteTable,
    clusters: BTreeMap<String, Arc<Cluster>>,
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
    pub(crate) protection: Protection,
    pub(crate) publish: Publish,
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
        Self { table, clusters, direct: direct.map(Arc::new) }
    }

    /// The clusters, by name.
    pub(crate) fn clusters(&self) -> &BTreeMap<String, Arc<Cluster>> {
        &self.clusters
    }

    /// The way of a URL.
    pub(crate) fn resolve(&self, url: &RtspUrl, action: Action, caller: &Caller) -> Result<Resolved, Error> {
        let identity = match caller {
            Caller::Member(id) => id.to_string(),
            _ => String::new(),
        };
        if let (Some(direct), true) = (&self.direct, self.table.routes().is_empty()) {
            return Ok(Resolved {
                route: "direct".into(),
                share: Share::Auto,
                coalesce: Duration::ZERO,
                idle_timeout: Route::IDLE_TIMEOUT,
                protection: Protection::default(),
                publish: Publish::default(),
                resource: url.resource(),
                pick: PickKey::default(),
                target: Target::Direct(Arc::clone(direct), url.clone()),
            });
        }
        let key = RequestKey {
            scheme: url.scheme(),
            host: url.host(),
            port: Some(url.port()),
            path: if url.path().is_empty() { "/" } else { url.path() },
            query: url.query(),
            action,
            caller: match caller {
                Caller::Own => route::Caller::Own,
                Caller::Plain => route::Caller::Anonymous,
                Caller::Member(_) => route::Caller::Member(&identity),
            },
        };
        let matched = self.table.route(&key).map_err(|error| match error {
            RouteError::NoRoute => Error::NoRoute { url: url.to_string() },
            RouteError::Denied { route, denial } => Error::Denied { route, reason: denial.to_string() },
            RouteError::Action { .. } => Error::Refused(error.to_string()),
            _ => Error::BadUrl { url: url.to_string(), reason: error.to_string() },
        })?;
        let pick = PickKey { client: 0, url: hash(matched.path_and_query().as_bytes()) };
        let target = if matched.route.is_local() {
            Target::Local
        } else {
            let backend = split(&matched.route.backends, pick.client ^ pick.url, |_| true);
            let cluster = backend.and_then(|backend| self.clusters.get(&backend.cluster));
            Target::Cluster(Arc::clone(cluster.ok_or_else(|| Error::NoRoute { url: url.to_string() })?))
        };
        Ok(Resolved {
            route: matched.route.name.clone(),
            share: matched.route.share,
            coalesce: matched.route.coalesce,
            idle_timeout: matched.route.idle_timeout,
            protection: matched.route.protection.clone(),
            publish: matched.route.publish,
            resource: matched.path_and_query(),
            pick,
            target,
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
            let text = route.pattern.as_str();
            let path = text
                .split_once("://")
                .map_or(text, |(_, rest)| rest.find('/').map_or("", |at| rest.get(at..).unwrap_or("")));
            (route.pattern.names().next().is_none() && path.starts_with('/'))
                .then(|| RtspUrl::parse(&format!("rtsp://localhost{path}")).ok())?
        };
        self.table.routes().iter().filter(is_always).filter_map(literal).collect()
    }
}

impl Resolved {
    /// Settings of the hop, unless the stream is local.
    pub(crate) fn settings(&self) -> Option<Arc<ClusterSettings>> {
        match &self.target {
            Target::Local => None,
            Target::Cluster(cluster) => Some(cluster.settings()),
            Target::Direct(settings, _) => Some(Arc::clone(settings)),
        }
    }

    /// The endpoints that may have the stream.
    pub(crate) fn attempts(&self) -> Attempts {
        match &self.target {
            Target::Local => Attempts::none(),
            Target::Cluster(cluster) => {
                Attempts::of_cluster(Arc::clone(cluster), self.pick, self.resource.clone())
            }
            Target::Direct(_, url) => Attempts::direct(url.clone()),
        }
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
