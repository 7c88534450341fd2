//! The demo's two members: one that has the stream, and one that players come to, with a link between them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use msm::Mesh;
use msm::config::{
    BackendConfig, ClusterConfig, Config, Hop, ListenerConfig, PortRange, Protocol, RouteConfig, Workers,
};
use msm_auth::identity::UnixTime;
use msm_auth::identity::ephemeral::{Ephemeral, EphemeralCa, EphemeralSource};
use msm_auth::identity::id::{SpiffeId, TrustDomain};

use super::args::DemoArgs;
use super::relay::{Passed, Place, Relay};

/// How long the members' certificates are valid: renewed long before.
const TTL: Duration = Duration::from_secs(3600);

type Failure = Box<dyn std::error::Error>;

/// Two members that trust each other by an authority inside this process.
pub(crate) struct Members {
    /// Has the stream.
    pub(crate) studio: Mesh,
    /// Serves it to plain players.
    pub(crate) edge: Mesh,
    /// Where players come to.
    pub(crate) address: SocketAddr,
    /// What is between them, if anything.
    relay: Option<Relay>,
    studio_identity: Arc<EphemeralSource>,
    edge_identity: Arc<EphemeralSource>,
}

fn identity(authority: &Arc<EphemeralCa>, name: &str) -> Result<Arc<EphemeralSource>, Failure> {
    let id = SpiffeId::parse(&format!("spiffe://{}/proxy/{name}", authority.trust_domain()))?;
    Ok(Arc::new(EphemeralSource::new(Arc::clone(authority), id, TTL, UnixTime::now())?))
}

/// Starts both. A link that does nothing is none.
pub(crate) async fn start(args: &DemoArgs) -> Result<Members, Failure> {
    let DemoArgs { address, link, .. } = args;
    let address = *address;
    let domain = TrustDomain::parse("demo.local")?;
    let authority = Arc::new(EphemeralCa::new(Ephemeral::ForDemo, domain, UnixTime::now())?);
    let (studio_identity, edge_identity) = (identity(&authority, "studio")?, identity(&authority, "edge")?);

    let protection = args.protection();
    let place = if link.is_plain() { None } else { Some(Place::find()?) };
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let mesh_listener = ListenerConfig {
        name: "mesh".into(),
        address: place.as_ref().map_or(loopback, |place| place.studio),
        protocol: Protocol::Mesh,
        ..ListenerConfig::default()
    };
    let route = RouteConfig {
        name: "demo".into(),
        allow: Some(vec!["spiffe://demo.local/proxy/edge".into()]),
        protection: protection.clone(),
        ..RouteConfig::default()
    };
    let config = Config {
        listeners: vec![mesh_listener],
        routes: vec![route],
        workers: Workers::Count(1),
        ..Config::default()
    };
    let studio = Mesh::builder().config(config).identity(Arc::clone(&studio_identity) as _).build().await?;
    let direct = studio.serve().await?.addresses().first().copied().ok_or("the demo has no mesh listener")?;
    let relay = place.map(|place| Relay::start(place, link.settings(), link.seed)).transpose()?;
    let hop = relay.as_ref().map_or(direct, Relay::address);

    let mut players = ListenerConfig { name: "players".into(), address, ..ListenerConfig::default() };
    if address.port() == 0 {
        // Any for signalling means any for media, too.
        players.ports = PortRange { first: 0, last: 1 };
    }
    let cluster = ClusterConfig {
        endpoints: vec![format!("rtsp://{hop}").into()],
        hop: Hop::Mesh,
        peers: vec!["spiffe://demo.local/proxy/studio".into()],
        ..ClusterConfig::default()
    };
    let route = RouteConfig {
        name: "studio".into(),
        backends: vec![BackendConfig { cluster: "studio".into(), weight: 1 }],
        protection,
        ..RouteConfig::default()
    };
    let config = Config {
        listeners: vec![players],
        routes: vec![route],
        clusters: [("studio".to_owned(), cluster)].into(),
        workers: Workers::Count(1),
        ..Config::default()
    };
    let edge = Mesh::builder().config(config).identity(Arc::clone(&edge_identity) as _).build().await?;
    let address = edge.serve().await?.addresses().first().copied().ok_or("the demo has no listener")?;
    Ok(Members { studio, edge, address, relay, studio_identity, edge_identity })
}

impl Members {
    /// Gives both a new certificate: the hop goes on with new keys.
    pub(crate) fn rotate(&self) -> Result<(), Failure> {
        self.studio_identity.rotate(UnixTime::now())?;
        self.edge_identity.rotate(UnixTime::now())?;
        Ok(())
    }

    /// What passed the link until now; `None` if there is none.
    pub(crate) fn passed(&self) -> Option<Passed> {
        self.relay.as_ref().map(Relay::passed)
    }

    pub(crate) async fn shutdown(self) {
        self.edge.shutdown(Duration::from_secs(1)).await;
        self.studio.shutdown(Duration::from_secs(1)).await;
    }
}
