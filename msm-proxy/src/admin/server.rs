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
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
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
    listeners: Sockets,
}

type Sockets = Vec<(Role, Arc<TcpListener>)>;

/// The running admin servers. They end when this is dropped.
pub struct AdminHandle {
    listeners: Sockets,
    source: Arc<dyn Source>,
    draining: Arc<AtomicBool>,
    /// Whether nobody is to be let in any more.
    pausing: watch::Sender<bool>,
    /// Aborts them on drop. They end with their open connections.
    servers: JoinSet<JoinSet<()>>,
    /// Connections of servers that have ended.
    last: Vec<JoinSet<()>>,
}

impl AdminHandle {
    /// Whether `/ready` says no from now on.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// The sockets, by the keys of their addresses, for another process.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn sockets(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let copy = |(role, socket): &(Role, Arc<TcpListener>)| {
            Ok((role.key().to_owned(), socket.as_fd().try_clone_to_owned()?))
        };
        self.listeners.iter().map(copy).collect()
    }

    /// Lets nobody in any more, so that another process can; requests that have come are answered.
    pub async fn pause(&mut self) {
        self.pausing.send_replace(true);
        self.last.retain_mut(|connections| {
            while connections.try_join_next().is_some() {}
            !connections.is_empty()
        });
        while let Some(connections) = self.servers.join_next().await {
            self.last.extend(connections);
        }
    }

    /// Serves again.
    pub fn go_on(&mut self) {
        self.pausing.send_replace(false);
        for (role, listener) in &self.listeners {
            let (source, draining) = (Arc::clone(&self.source), Arc::clone(&self.draining));
            self.servers.spawn(accept(
                *role,
                Arc::clone(listener),
                source,
                draining,
                self.pausing.subscribe(),
            ));
        }
    }
}

impl Admin {
    /// Binds the configured addresses, but for those that are among the sockets that another process has `passed`, by their keys.
    /// `[::]` falls back to `0.0.0.0` where the host has no IPv6.
    ///
    /// # Errors
    /// [`BindError`] for the first that cannot be had.
    pub async fn bind(
        config: &AdminConfig,
        mut passed: Vec<(String, std::net::TcpListener)>,
    ) -> Result<Admin, BindError> {
        let wanted =
            [(Role::Admin, config.address), (Role::Metrics, config.metrics), (Role::Ready, config.ready)];
        let mut listeners = Vec::with_capacity(wanted.len());
        for (role, bind) in wanted {
            let Some(address) = bind.address() else { continue };
            let is_it = |(key, socket): &(String, std::net::TcpListener)| {
                key == role.key() && socket.local_addr().is_ok_and(|own| is_for(address, own))
            };
            let listener = match passed.iter().position(is_it) {
                Some(found) => adopt(passed.swap_remove(found).1),
                None => bind_one(address).await,
            };
            let listener = listener.map_err(|source| BindError { key: role.key(), address, source })?;
            listeners.push((role, Arc::new(listener)));
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
        let mut handle = AdminHandle {
            listeners: self.listeners,
            source,
            draining: Arc::default(),
            pausing: watch::Sender::new(false),
            servers: JoinSet::new(),
            last: Vec::new(),
        };
        handle.go_on();
        handle
    }
}

/// Whether a socket at `own` is what this address would be bound to.
fn is_for(address: SocketAddr, own: SocketAddr) -> bool {
    let is_any = |ip: IpAddr| ip.is_unspecified();
    (address.ip() == own.ip() || (is_any(address.ip()) && is_any(own.ip())))
        && (address.port() == 0 || address.port() == own.port())
}

fn adopt(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
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

async fn accept(
    role: Role,
    listener: Arc<TcpListener>,
    source: Arc<dyn Source>,
    draining: Arc<AtomicBool>,
    mut pausing: watch::Receiver<bool>,
) -> JoinSet<()> {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Owned by this task, so that connections end with their server.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (Ok(permit), accepted) = (tokio::select! {
            biased;
            _ = pausing.wait_for(|pausing| *pausing) => return connections,
            accepted = accepted => accepted,
        }) else {
            return connections;
        };
        match accepted {
            Ok((stream, peer)) => {
                let (source, draining) = (Arc::clone(&source), Arc::clone(&draining));
                let pausing = pausing.clone();
                connections.spawn(async move {
                    serve_one(role, (stream, peer), source, draining, pausing).await;
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
    (stream, peer): (TcpStream, SocketAddr),
    source: Arc<dyn Source>,
    draining: Arc<AtomicBool>,
    mut pausing: watch::Receiver<bool>,
) {
    let asked = Arc::new(Notify::new());
    let first = Arc::clone(&asked);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (source, draining) = (Arc::clone(&source), draining.load(Ordering::Relaxed));
        asked.notify_one();
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
    let served = async {
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            outcome = &mut connection => return outcome,
            _ = pausing.wait_for(|pausing| *pausing) => {}
        }
        // Whoever was let in has not asked yet, perhaps, and would see its connection close.
        tokio::select! {
            outcome = &mut connection => return outcome,
            () = first.notified() => {}
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    match tokio::time::timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%peer, key = role.key(), %error, "connection ended"),
        Err(_) => debug!(%peer, key = role.key(), "connection took too long"),
    }
}

#[cfg(test)]
mod tests;
