//! Accepting connections: one socket per worker on the same port, so that the kernel spreads them.

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::Listening;
use crate::net::udp::canonical;
use crate::serve::connection;
use crate::worker::Worker;

/// Accepts from now on.
pub(super) fn accept_by(
    worker: &Rc<Worker>,
    listening: std::rc::Weak<Listening>,
    tcp: Rc<TcpListener>,
    stopping: &Rc<Notify>,
) -> AbortHandle {
    let accepting = accept(Rc::clone(worker), listening, tcp, Rc::clone(stopping));
    tokio::task::spawn_local(accepting).abort_handle()
}

async fn accept(
    worker: Rc<Worker>,
    listening: std::rc::Weak<Listening>,
    tcp: Rc<TcpListener>,
    stopping: Rc<Notify>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = tcp.accept() => accepted,
            () = stopping.notified() => break,
        };
        match accepted {
            Ok((stream, peer)) => let_in(&worker, &listening, stream, peer),
            Err(error) => {
                // Out of files or of memory: let what is there go on, and try again.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
    // The kernel has taken them: closing the socket would reset them.
    let Some(Ok(tcp)) = Rc::into_inner(tcp).map(TcpListener::into_std) else { return };
    while let Ok((stream, peer)) = tcp.accept() {
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            let_in(&worker, &listening, stream, peer);
        }
    }
}

fn let_in(worker: &Rc<Worker>, listening: &std::rc::Weak<Listening>, stream: TcpStream, peer: SocketAddr) {
    let Some(listening) = listening.upgrade() else { return };
    let peer = canonical(peer);
    let Some(pass) = worker.shared.admission.connection(peer.ip()) else {
        worker.shared.metrics.add_dropped("connection_limit", 1);
        return;
    };
    let _ = stream.set_nodelay(true);
    tokio::task::spawn_local(connection::run(Rc::clone(worker), listening, stream, peer, pass));
}
