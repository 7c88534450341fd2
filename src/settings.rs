//! From the configuration to what the runtime works with.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use msm_auth::identity::id::IdMatch;
use msm_auth::identity::source::IdentitySource;
use msm_auth::identity::tls::{self, AllowedPeers};
use msm_core::cluster::ClusterSpec;
use msm_core::hub::{FanoutConfig, IngestConfig};
use msm_core::route::RouteTable;
use msm_rtsp::auth::Credentials;
use msm_rtsp::auth::users::Users;
use msm_rtsp::limits::Limits;
use msm_rtsp::url::ControlPolicy;

use crate::cluster::{Cluster, SourceSpec};
use crate::config::{
    ClusterConfig, ClusterTls, Config, DnsScheme, Fallback, Hop, ListenerConfig, ListenerTls, Nat,
    OnRedirect, Protocol, Start, TransportConfig, Workers,
};
use crate::error::Error;
use crate::hop::HopShared;
use crate::hop::accept::AssociationDirectory;
use crate::hop::fallback::Fallbacks;
use crate::hop::members::Members;
use crate::hop::port::PortSettings;
use crate::hop::protect::HISTORY_BYTES;
use crate::net::pair::PairRange;
use crate::net::tls::pem::ServerTls;
use crate::net::udp::SocketOptions;
use crate::routing::{ClusterSettings, Routing, Transport, UpstreamTls};
use crate::serve::admission::AdmissionLimits;
use crate::serve::listener::{ListenerSettings, MulticastSettings, without_v6};
use crate::serve::login;
use crate::shared::Settings;
use crate::upgrade;
use crate::watched::{Refresh, Watched};

/// Asked of the kernel for every media socket: a burst of keyframes of many streams.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Limits and times.
pub(crate) fn settings(config: &Config) -> Settings {
    let limits = &config.limits;
    Settings {
        ingest: IngestConfig::default(),
        fanout: FanoutConfig {
            // `limits.readers` counts those of the process, whenever their streams began.
            max_readers: usize::MAX,
            cache_bytes: limits.gop_cache,
            history_bytes: HISTORY_BYTES,
            ..FanoutConfig::default()
        },
        rtsp: Limits {
            header_bytes: limits.header_bytes,
            body_bytes: limits.body_bytes,
            message_timeout: limits.request_timeout,
            ..Limits::default()
        },
        connection_queue: limits.tcp_queue,
        auth_failures: limits.auth_failures,
        session_timeout: limits.session_timeout,
        connection_timeout: limits.session_timeout,
        admission: AdmissionLimits {
            connections: limits.connections as usize,
            connections_per_peer: limits.connections_per_peer as usize,
            sessions_per_peer: limits.sessions_per_peer as usize,
            setup_rate: limits.setup_rate as usize,
            auth_failures_per_peer: limits.auth_failures_per_peer as usize,
            auth_failures_window: limits.auth_failures_window,
        },
        readers: limits.readers as usize,
        streams: limits.streams as usize,
        drain_timeout: config.drain_timeout,
    }
}

/// Worker threads to start.
pub(crate) fn workers(config: &Config) -> usize {
    match config.workers {
        Workers::Auto => std::thread::available_parallelism().map_or(1, usize::from),
        Workers::Count(count) => usize::from(count),
    }
}

/// Something, and what of it is made of files.
pub(crate) type WithFile<T> = (Arc<T>, Option<Arc<dyn Refresh>>);

/// What is made of files, by the cluster that it is for.
pub(crate) type ClusterFiles = BTreeMap<String, Arc<dyn Refresh>>;

/// Routes and clusters, and what of them is made of files. Without a configuration (`embedded`), URLs are dialled as they
/// are given.
pub(crate) fn routing(
    config: &Config,
    embedded: bool,
    source: Option<&Arc<dyn IdentitySource>>,
) -> Result<(Routing, ClusterFiles), Error> {
    let refused = |error: String| Error::Configuration(error);
    if embedded {
        let table = RouteTable::default();
        let mut direct = cluster("direct", &ClusterConfig::default(), source)?;
        // The application has named the server, and has no configuration to say whom that may name.
        direct.failover.on_redirect = OnRedirect::Follow;
        return Ok((Routing::new(table, BTreeMap::new(), Some(direct)), ClusterFiles::new()));
    }
    let routing = config.routing().map_err(|errors| refused(errors.to_string()))?;
    let mut clusters = BTreeMap::new();
    let mut files = ClusterFiles::new();
    for spec in &routing.clusters {
        let (made, file) = new_cluster(config, spec, source)?;
        files.extend(file.map(|file| (spec.name.clone(), file)));
        clusters.insert(spec.name.clone(), made);
    }
    Ok((Routing::new(routing.table, clusters, None), files))
}

/// A cluster of the configuration, and what of it is made of files.
pub(crate) fn new_cluster(
    config: &Config,
    spec: &ClusterSpec,
    source: Option<&Arc<dyn IdentitySource>>,
) -> Result<WithFile<Cluster>, Error> {
    let (settings, file) = cluster_settings(config, &spec.name, source)?;
    let seed = getrandom::u64().map_err(|error| Error::Configuration(format!("no randomness: {error}")))?;
    let source = config.clusters.get(&spec.name).map(|own| SourceSpec::of(own, spec));
    let source = source.unwrap_or_else(|| SourceSpec::Fixed(spec.endpoints.clone()));
    Ok((Cluster::new(settings, spec, source, seed), file))
}

/// What a cluster's hops are made with, and what of that is made of files.
pub(crate) fn cluster_settings(
    config: &Config,
    name: &str,
    source: Option<&Arc<dyn IdentitySource>>,
) -> Result<WithFile<ClusterSettings>, Error> {
    let own = config.clusters.get(name);
    let own = own.ok_or_else(|| Error::Configuration(format!("clusters.{name}: is not there")))?;
    let settings = Arc::new(cluster(name, own, source)?);
    let file = cluster_tls(name, own, &settings)?;
    Ok((settings, file))
}

/// The own identity, which mesh hops cannot be without.
fn identity<'a>(
    source: Option<&'a Arc<dyn IdentitySource>>,
    key: &str,
) -> Result<&'a Arc<dyn IdentitySource>, Error> {
    source.ok_or_else(|| {
        Error::Configuration(format!("{key}: a mesh hop needs an identity; configure `identity`"))
    })
}

fn members(
    name: &str,
    config: &ClusterConfig,
    source: Option<&Arc<dyn IdentitySource>>,
) -> Result<Option<Members<rustls::ClientConfig>>, Error> {
    if config.hop != Hop::Mesh {
        return Ok(None);
    }
    let source = identity(source, &format!("clusters.{name}.hop"))?;
    let peers: Result<Vec<_>, _> = config.peers.iter().map(|peer| IdMatch::parse(peer)).collect();
    let peers = peers.map_err(|error| Error::Configuration(format!("clusters.{name}.peers: {error}")))?;
    let config = tls::client_config(Arc::clone(source), AllowedPeers::Only(peers), tls::system_clock())
        .map_err(|error| Error::Configuration(format!("clusters.{name}: TLS: {error}")))?;
    Ok(Some(Members { source: Arc::clone(source), config }))
}

/// What mesh hops share; `taken` are the generations of other processes that live. The port is that of the first mesh listener, or any.
pub(crate) fn hop(
    config: &Config,
    source: Option<&Arc<dyn IdentitySource>>,
    taken: &[u8],
) -> Result<HopShared, Error> {
    let listener = config.listeners.iter().find(|listener| listener.protocol == Protocol::Mesh);
    let any = SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), 0);
    let random = getrandom::u32().map_err(|error| Error::Configuration(format!("no randomness: {error}")))?;
    let [random, ..] = random.to_be_bytes();
    Ok(HopShared {
        settings: PortSettings {
            address: without_v6(listener.map_or(any, |listener| listener.address)),
            options: listener.map_or_else(
                || options(None, None),
                |listener| options(listener.interface.as_deref(), listener.dscp),
            ),
        },
        address: tokio::sync::OnceCell::new(),
        generation: upgrade::generation(random, taken),
        source: source.cloned(),
        associations: AssociationDirectory::default(),
        fallbacks: Fallbacks::default(),
    })
}

fn cluster(
    name: &str,
    config: &ClusterConfig,
    source: Option<&Arc<dyn IdentitySource>>,
) -> Result<ClusterSettings, Error> {
    let credentials = config.auth.as_ref().and_then(|auth| {
        Some(Credentials { user: auth.user.clone(), password: auth.secret()?.expose().to_owned() })
    });
    Ok(ClusterSettings {
        name: name.to_owned(),
        credentials,
        transport: match config.transport {
            TransportConfig::Auto => Transport::Auto,
            TransportConfig::Udp => Transport::Udp,
            TransportConfig::Tcp => Transport::Tcp,
            TransportConfig::Multicast => Transport::Multicast,
        },
        options: options(config.interface.as_deref(), config.dscp),
        ports: Arc::new(
            config.ports.map_or_else(PairRange::ephemeral, |ports| PairRange::new(ports.first..=ports.last)),
        ),
        connect_timeout: config.timeouts.connect,
        timeout: config.timeouts.response,
        control: ControlPolicy::default(),
        always: config.start == Start::Always,
        tls: UpstreamTls::new(upstream_tls(config)),
        srtp: config.srtp,
        media_timeout: config.health.media_timeout,
        failover: config.failover.clone(),
        members: members(name, config, source)?,
        fallback: config.fallback == Fallback::Rtsps,
    })
}

/// Addresses that DNS has found prove to be who was asked for by that name.
fn upstream_tls(config: &ClusterConfig) -> ClusterTls {
    let mut tls = config.tls.clone().unwrap_or_default();
    if let (Some(dns), None) = (&config.dns, &tls.server_name) {
        tls.server_name = Some(dns.server_name());
    }
    tls
}

/// The TLS of a cluster that has `rtsps` endpoints: its authorities are read now, so that a wrong file is no surprise
/// later.
fn cluster_tls(
    name: &str,
    config: &ClusterConfig,
    own: &ClusterSettings,
) -> Result<Option<Arc<dyn Refresh>>, Error> {
    let over_tls =
        config.endpoints.iter().any(|endpoint| endpoint.url.to_ascii_lowercase().starts_with("rtsps:"));
    let over_tls = over_tls || config.dns.as_ref().is_some_and(|dns| dns.scheme == DnsScheme::Rtsps);
    // What files will list is not known yet: `tls` says that it is meant.
    let over_tls = over_tls || (!config.files.is_empty() && config.tls.is_some());
    // Of mesh hops the identity is what vouches.
    if !over_tls || config.hop == Hop::Mesh {
        return Ok(None);
    }
    if config.tls.as_ref().is_some_and(|tls| tls.insecure) {
        tracing::warn!(
            cluster = name,
            "`tls.insecure`: certificates are not checked; whoever is in between can read and change everything"
        );
    }
    let refused = |problem| Error::Configuration(format!("clusters.{name}.tls.{problem}"));
    Ok(Some(own.tls.load(name).map_err(refused)?))
}

/// A listener as the configuration has it.
pub(crate) fn listener(
    config: &ListenerConfig,
    source: Option<&Arc<dyn IdentitySource>>,
) -> Result<ListenerSettings, Error> {
    let member = if config.protocol == Protocol::Mesh {
        let source = identity(source, &format!("listener `{}`", config.name))?;
        let config = tls::server_config(Arc::clone(source), tls::system_clock())
            .map_err(|error| Error::Configuration(format!("listener `{}`: TLS: {error}", config.name)))?;
        Some(config)
    } else {
        None
    };
    let pool = &config.multicast.group_pool;
    let last = pool.count().checked_sub(1).and_then(|index| pool.group(index));
    let multicast = last.map(|last: IpAddr| MulticastSettings {
        first: pool.base,
        last,
        first_port: config.multicast.ports.first,
        last_port: config.multicast.ports.last,
        ttl: config.multicast.ttl,
    });
    let tls = match config.tls.as_ref().filter(|_| config.protocol == Protocol::Rtsps) {
        None => None,
        Some(tls) => Some(listener_tls(config, tls.clone())?),
    };
    let users = match &config.users {
        None => None,
        Some(file) => Some(listener_users(config, file.clone())?),
    };
    // The ports of those that serve nobody over UDP are another listener's.
    let reader_port = if config.serves_udp() { config.port_pair().0 } else { 0 };
    let address = without_v6(config.address);
    if address != config.address {
        tracing::info!(listener = config.name, "this host has no IPv6: [::] becomes 0.0.0.0");
    }
    Ok(ListenerSettings {
        name: config.name.clone(),
        address,
        options: options(config.interface.as_deref(), config.dscp),
        reader_port,
        same_ip: config.nat == Nat::SameIp,
        multicast,
        tls,
        srtp: config.srtp,
        member,
        users,
    })
}

fn listener_users(config: &ListenerConfig, file: PathBuf) -> Result<Arc<Watched<Users>>, Error> {
    let refused = |problem| Error::Configuration(format!("listener `{}`: {problem}", config.name));
    let name = format!("users of listener {}", config.name);
    Watched::new(name, vec![file.clone()], move || login::read_users(&file)).map_err(refused)
}

fn listener_tls(config: &ListenerConfig, tls: ListenerTls) -> Result<Arc<Watched<ServerTls>>, Error> {
    let name = format!("listener {}", config.name);
    let files = [Some(&tls.certificate), Some(&tls.key), tls.client_ca.as_ref()];
    let files = files.into_iter().flatten().cloned().collect();
    let refused = |problem| Error::Configuration(format!("listener `{}`: tls.{problem}", config.name));
    Watched::new(name, files, move || ServerTls::read(&tls)).map_err(refused)
}

fn options(interface: Option<&str>, dscp: Option<u8>) -> SocketOptions {
    SocketOptions {
        reuse_port: false,
        probes_mtu: false,
        interface: interface.map(str::to_owned),
        dscp,
        buffer_bytes: SOCKET_BUFFER,
    }
}
