//! Connections to servers, with TLS where the URL asks for it.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use msm_rtsp::url::RtspUrl;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use crate::metrics::HopKind;
use crate::net::tcp::Connection;
use crate::net::tls::TlsError;
use crate::net::udp::set_dscp;
use crate::routing::ClusterSettings;
use crate::worker::Worker;

/// Puts TLS on the connection where the URL asks for it.
pub(super) async fn secure(
    worker: &Worker,
    stream: TcpStream,
    url: &RtspUrl,
    settings: &ClusterSettings,
) -> Result<Rc<Connection>, TlsError> {
    let queue = worker.shared.settings().connection_queue;
    if url.scheme() != "rtsps" {
        return Ok(Connection::new(stream, queue));
    }
    let unusable = |reason: String| TlsError::Io(io::Error::new(io::ErrorKind::InvalidInput, reason));
    let (tls, cluster) = (Arc::clone(&settings.tls), settings.name.clone());
    let name = tls.server_name(url.host()).ok_or_else(|| {
        unusable(format!(
            "{} is no name that a certificate can have; set `tls.server_name` of cluster `{cluster}`",
            url.host()
        ))
    })?;
    // Files may have to be read, which is not for a thread that carries media.
    let loaded = tokio::task::spawn_blocking(move || tls.load(&cluster)).await.map_err(io::Error::other)?;
    let config = loaded.map_err(|problem| unusable(format!("tls.{problem}")))?.get();
    let connection = Connection::tls_client(stream, config, name, queue)?;
    let handshake = connection.handshake(settings.connect_timeout);
    worker.shared.metrics.handshakes.dial(HopKind::Plain, handshake).await?;
    Ok(connection)
}

/// Opens a TCP connection to the URL's host.
pub(crate) async fn dial(url: &RtspUrl, settings: &ClusterSettings) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in lookup_host((url.host(), url.port())).await? {
        match dial_one(address, settings).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn dial_one(address: SocketAddr, settings: &ClusterSettings) -> io::Result<TcpStream> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    if let Some(interface) = &settings.options.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(dscp) = settings.options.dscp {
        set_dscp(&socket2::SockRef::from(&socket), address.is_ipv6(), dscp)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
