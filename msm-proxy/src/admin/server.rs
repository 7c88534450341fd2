//! The sockets of the admin servers.

use super::Source;
use super::answer::{Role, answer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use msm::config::AdminConfig;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, warn};

/// Most connections that one address serves at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// Most header bytes of one request; hyper's smallest buffer.
const MAX_HEADER_BYTES: usize = 8192;
/// Most header lines of one request.
const MAX_HEADERS: usize = 64;
/// How long a request's headers may take to arrive, and a kept connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one connection may last, whatever it does.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// A port that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; change {key} in the configuration")]
pub struct BindError {
    /// The key that names the address.
    pub key: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// The system's reason.
    pub source: io::Error,
}

/// The admin servers' sockets, bound but not yet served.
#[derive(Debug)]
pub struct Admin {
    listeners: Vec<(Role, TcpListener)>,
}

/// The running admin servers. They end when this is dropped.
#[derive(Debug)]
pub struct AdminHandle {
    draining: Arc<AtomicBool>,
    /// Aborts them on drop.
    _servers: JoinSet<()>,
}

impl AdminHandle {
    /// Makes `/ready` say no from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

impl Admin {
    /// Binds the configured addresses. `[::]` falls back to `0.0.0.0` where the host has no IPv6.
    ///
    /// # Errors
    /// [`BindError`] for the first that cannot be had.
    pub async fn bind(config: &AdminConfig) -> Result<Admin, BindError> {
        let wanted =
            [(Role::Admin, config.address), (Role::Metrics, config.metrics), (Role::Ready, config.ready)];
        let mut listeners = Vec::with_capacity(wanted.len());
        for (role, bind) in wanted {
            let Some(address) = bind.address() else { continue };
            let listener =
                bind_one(address).await.map_err(|source| BindError { key: role.key(), address, source })?;
            listeners.push((role, listener));
        }
        Ok(Admin { listeners })
    }

    /// The keys and addresses that were bound, with the ports that the system chose where port 0 was asked for.
    pub fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.listeners
            .iter()
            .filter_map(|(role, listener)| listener.local_addr().ok().map(|address| (role.key(), address)))
    }

    /// Serves on tasks of the current tokio runtime.
    pub fn serve(self, source: Arc<dyn Source>) -> AdminHandle {
        let draining = Arc::new(AtomicBool::new(false));
        let mut servers = JoinSet::new();
        for (role, listener) in self.listeners {
            servers.spawn(accept(role, listener, Arc::clone(&source), Arc::clone(&draining)));
        }
        AdminHandle { draining, _servers: servers }
    }
}

async fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        // EAFNOSUPPORT is `Unsupported` or uncategorized, depending on the release of std.
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) =>
        {
            TcpListener::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port())).await
        }
        other => other,
    }
}

async fn accept(role: Role, listener: TcpListener, source: Arc<dyn Source>, draining: Arc<AtomicBool>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Owned by this task, so that connections end with their server.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (source, draining) = (Arc::clone(&source), Arc::clone(&draining));
                connections.spawn(async move {
                    serve_one(role, stream, peer, source, draining).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: trying again at once would spin.
                warn!(key = role.key(), %error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_one(
    role: Role,
    stream: TcpStream,
    peer: SocketAddr,
    source: Arc<dyn Source>,
    draining: Arc<AtomicBool>,
) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (source, draining) = (Arc::clone(&source), draining.load(Ordering::Relaxed));
        async move {
            let path = request.uri().path();
            Ok::<_, Infallible>(answer(role, request.method(), path, &*source, draining).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%peer, key = role.key(), %error, "connection ended"),
        Err(_) => debug!(%peer, key = role.key(), "connection took too long"),
    }
}

#[cfg(test)]
mod tests;
