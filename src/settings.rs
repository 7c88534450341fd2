//! From the configuration to what the runtime works with.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use msm_auth::identity::id::IdMatch;
use msm_auth::identity::source::IdentitySource;
use msm_auth::identity::tls::{self, AllowedPeers};
use msm_core::hub::{FanoutConfig, IngestConfig};
use msm_core::route::{RouteTable, Selector};
use msm_rtsp::auth::Credentials;
use msm_rtsp::limits::Limits;
use msm_rtsp::url::ControlPolicy;

use crate::config::{
    ClusterConfig, Config, Hop, ListenerConfig, Nat, Protocol, Start, TransportConfig, Workers,
};
use crate::error::Error;
use crate::hop::HopShared;
use crate::hop::accept::AssociationDirectory;
use crate::hop::members::Members;
use crate::hop::port::PortSettings;
use crate::net::pair::PairRange;
use crate::net::udp::SocketOptions;
use crate::routing::{ClusterSettings, Routing, Transport};
use crate::serve::admission::AdmissionLimits;
use crate::serve::listener::{ListenerSettings, ListenerShared, MulticastSettings};
use crate::shared::Settings;

/// Asked of the kernel for every media socket: a burst of keyframes of many streams.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Limits and times.
pub(crate) fn settings(config: &Config) -> Settings {
    let limits = &config.limits;
    Settings {
        ingest: IngestConfig::default(),
        fanout: FanoutConfig {
            max_readers: limits.readers as usize,
            cache_bytes: limits.gop_cache,
            ..FanoutConfig::default()
        },
        rtsp: Limits {
            header_bytes: limits.header_bytes,
            body_bytes: limits.body_bytes,
            message_timeout: limits.request_timeout,
            ..Limits::default()
        },
        connection_queue: limits.tcp_queue,
        session_timeout: limits.session_timeout,
        connection_timeout: limits.session_timeout,
        admission: AdmissionLimits {
            connections: limits.connections as usize,
            connections_per_peer: limits.connections_per_peer as usize,
            sessions_per_peer: limits.sessions_per_peer as usize,
            setup_rate: limits.setup_rate as usize,
        },
        readers: limits.readers as usize,
        streams: limits.streams as usize,
    }
}

/// Worker threads to start.
pub(crate) fn workers(config: &Config) -> usize {
    match config.workers {
        Workers::Auto => std::thread::available_parallelism().map_or(1, usize::from),
        Workers::Count(count) => usize::from(count),
    }
}

/// Routes and clusters. Without a configuration (`embedded`), URLs are dialled as they are given.
pub(crate) fn routing(
    config: &Config,
    embedded: bool,
    source: Option<&Arc<dyn IdentitySource>>,
) -> Result<Routing, Error> {
    let refused = |error: String| Error::Configuration(error);
    if embedded {
        let table = RouteTable::default();
        let selector = Selector::new(&table, Vec::new()).map_err(|error| refused(error.to_string()))?;
        let direct = cluster("direct", &ClusterConfig::default(), source)?;
        return Ok(Routing::new(table, selector, BTreeMap::new(), Some(direct)));
    }
    let routing = config.routing().map_err(|errors| refused(errors.to_string()))?;
    let selector =
        Selector::new(&routing.table, routing.clusters).map_err(|error| refused(error.to_string()))?;
    let clusters: Result<_, Error> = config
        .clusters
        .iter()
        .map(|(name, own)| Ok((name.clone(), Arc::new(cluster(name, own, source)?))))
        .collect();
    Ok(Routing::new(routing.table, selector, clusters?, None))
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

/// What mesh hops share: the port is that of the first mesh listener, or any.
pub(crate) fn hop(config: &Config, source: Option<&Arc<dyn IdentitySource>>) -> Result<HopShared, Error> {
    let listener = config.listeners.iter().find(|listener| listener.protocol == Protocol::Mesh);
    let any = SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), 0);
    let random = getrandom::u32().map_err(|error| Error::Configuration(format!("no randomness: {error}")))?;
    let [generation, ..] = random.to_be_bytes();
    Ok(HopShared {
        settings: PortSettings {
            address: crate::serve::listener::without_v6(listener.map_or(any, |listener| listener.address)),
            options: listener.map_or_else(
                || options(None, None),
                |listener| options(listener.interface.as_deref(), listener.dscp),
            ),
        },
        address: tokio::sync::OnceCell::new(),
        generation,
        source: source.cloned(),
        associations: AssociationDirectory::default(),
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
        ports: config
            .ports
            .map_or_else(PairRange::ephemeral, |ports| PairRange::new(ports.first..=ports.last)),
        connect_timeout: config.timeouts.connect,
        timeout: config.timeouts.response,
        control: ControlPolicy::default(),
        always: config.start == Start::Always,
        tls: None,
        members: members(name, config, source)?,
    })
}

/// What a listener's workers share.
pub(crate) fn listener(
    config: &ListenerConfig,
    source: Option<&Arc<dyn IdentitySource>>,
) -> Result<Arc<ListenerShared>, Error> {
    let member = config.protocol == Protocol::Mesh;
    let tls = if member {
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
    Ok(ListenerShared::new(ListenerSettings {
        name: config.name.clone(),
        address: config.address,
        options: options(config.interface.as_deref(), config.dscp),
        // A mesh listener has no plain readers.
        reader_port: if member { 0 } else { config.port_pair().0 },
        same_ip: config.nat == Nat::SameIp,
        multicast,
        tls,
        member,
    }))
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
