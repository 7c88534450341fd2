//! TLS to whoever may serve a mesh cluster's streams.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use msm_auth::identity::svid::PeerIdentity;
use msm_auth::identity::tls;
use msm_rtsp::url::RtspUrl;

use super::members::Members;
use crate::error::Error;
use crate::metrics::HopKind;
use crate::net::tcp::Connection;
use crate::net::udp::canonical;
use crate::routing::ClusterSettings;
use crate::upstream::connect::dial;
use crate::worker::Worker;

/// A connection to a peer that has proved to be one of the cluster's `peers`.
pub(crate) struct Dialled {
    pub(crate) connection: Rc<Connection>,
    pub(crate) identity: PeerIdentity,
    pub(crate) remote: SocketAddr,
    /// `msm/1` was agreed on: without it, it is no member.
    pub(crate) is_member: bool,
}

/// Connects. Nothing is said on the connection before the peer's SVID was found to be good, and its ID in `peers`.
///
/// # Errors
/// It cannot be reached, or is not who it must be.
pub(crate) async fn connect(
    worker: &Worker,
    settings: &ClusterSettings,
    url: &RtspUrl,
) -> Result<Dialled, Error> {
    let endpoint = url.to_string();
    let Members { source, config, .. } =
        settings.members.as_ref().ok_or_else(|| Error::Configuration("no identity for a mesh hop".into()))?;
    if source.snapshot().is_none() {
        let why =
            source.problem().map_or_else(|| "no identity yet".to_owned(), |problem| problem.to_string());
        return Err(Error::UpstreamProtocol { endpoint, reason: why });
    }
    let unreachable = |error| Error::Unreachable { endpoint: endpoint.clone(), source: Arc::new(error) };
    let dialled = async {
        let stream = dial(url, settings).await.map_err(unreachable)?;
        let remote = stream.peer_addr().map_err(unreachable)?;
        let queue = worker.shared.settings().connection_queue;
        let refused = |reason: String| Error::UpstreamProtocol { endpoint: endpoint.clone(), reason };
        let connection = Connection::tls_client(stream, Arc::clone(config), tls::server_name(), queue)
            .map_err(|error| refused(error.to_string()))?;
        let limit = settings.connect_timeout;
        let handshakes = &worker.shared.metrics.handshakes;
        let done = handshakes.dial(HopKind::Mesh, connection.handshake(limit)).await;
        done.map_err(|error| refused(error.to_string()))?;
        let tls = connection.tls().ok_or(Error::Stopped)?;
        let identity = tls.identity().map_err(|error| refused(error.to_string()))?;
        let is_member = tls.member().is_ok();
        Ok(Dialled { identity, is_member, remote: canonical(remote), connection })
    };
    let timeout = |_| Error::UpstreamTimeout { endpoint: url.to_string(), request: "TLS handshake".into() };
    tokio::time::timeout(settings.connect_timeout, dialled).await.map_err(timeout)?
}
