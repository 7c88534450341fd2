//! Connections that go on in the process before this one: what they ask for lives there.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::PoisonError;

use bytes::BytesMut;
use msm_core::route::Action;
use msm_rtsp::message::{Method, Request};
use msm_rtsp::url::{RtspUrl, match_control};

use super::predecessor::Handed;
use super::relay;
use crate::serve::admission::ConnectionPass;
use crate::serve::connection::Context;
use crate::worker::Worker;

/// Whether a connection's next request, before which nothing lives on it, is for the process before this one: it names a session of its,
/// or a local stream that only it has.
pub(crate) async fn goes_back(context: &Context, request: &Request) -> bool {
    let shared = &context.worker.shared;
    let Some(before) = shared.upgrade.predecessor() else { return false };
    if context.member.is_some() || !context.is_idle() || !context.announced.borrow().is_empty() {
        return false;
    }
    // Who comes by a listener that only this process has is answered here.
    let Some(listening) = context.listener().filter(|own| before.listener(own.index).is_some()) else {
        return false;
    };
    if let Some(id) = request.session().filter(|id| !id.is_empty()) {
        return before.has_session(id) && shared.sessions.worker_of(id).is_none();
    }
    let action = match request.method {
        Method::Describe | Method::Setup => Action::Read,
        Method::Announce => Action::Publish,
        _ => return false,
    };
    // SETUP names a track of the presentation.
    let base = match_control(&request.uri, usize::MAX).filter(|_| request.method == Method::Setup);
    let uri = base.as_ref().map_or(request.uri.as_str(), |(base, _)| base.as_str());
    let Ok(url) = RtspUrl::parse(uri) else { return false };
    let listener = listening.shared();
    let ask = context.owner().ask(action, &listener.settings.name, &request.headers);
    let resolved = shared.routing().resolve(&url.over(context.connection.is_secure()), &ask);
    let Ok(resolved) = resolved else { return false };
    if resolved.is_upstream() || shared.registry.get(&resolved.key()).await.is_some() {
        return false;
    }
    before.publishes(resolved.key()).await
}

/// Hands a connection over, with what was read of it. `number` is the listener's.
pub(crate) fn hand(
    context: Rc<Context>,
    connection: Rc<crate::net::tcp::Connection>,
    number: usize,
    pass: ConnectionPass,
    received: BytesMut,
) {
    let Ok(context) = Rc::try_unwrap(context) else { return connection.close() };
    let Context { worker, peer, local, connection: own, .. } = context;
    drop(own);
    let Some(before) = worker.shared.upgrade.predecessor() else { return connection.close() };
    let Some(listener) = before.listener(number) else { return connection.close() };
    tracing::debug!(%peer, "the connection goes on in the process before this one");
    let received = received.to_vec();
    let relayed = connection.is_secure();
    let socket = if relayed {
        match relay::open(connection, pass) {
            Ok(socket) => socket,
            Err(error) => return tracing::warn!(%peer, %error, "a connection was not handed over"),
        }
    } else {
        let Some((stream, _, _)) = connection.into_parts() else { return };
        OwnedFd::from(stream)
    };
    if !before.hand(Handed { listener, socket, relayed, peer, local, received }) {
        tracing::debug!(%peer, "a connection was not handed over: too many wait for the process before this one");
        worker.shared.metrics.add_dropped("predecessor_backlog", 1);
    }
}

impl Worker {
    /// Sends to the process before this one from now on what is nobody's here.
    pub(super) fn open_pipe(self: &Rc<Self>, socket: Option<OwnedFd>) -> std::io::Result<()> {
        let Some(socket) = socket else { return Err(std::io::ErrorKind::NotFound.into()) };
        let pipe = super::pipe::Pipe::new(socket)?;
        tokio::task::spawn_local(Rc::clone(&pipe).drain());
        *self.pipe.borrow_mut() = Some(pipe);
        Ok(())
    }

    /// It has ended.
    pub(super) fn close_pipe(&self) {
        if let Some(pipe) = self.pipe.borrow_mut().take() {
            self.shared.metrics.add_dropped("predecessor_backlog", pipe.fresh_drops());
            pipe.close();
        }
    }
}

impl crate::shared::Shared {
    /// A session's ID: random, but for its last digit, which tells the process.
    pub(crate) fn session_seed(&self) -> u128 {
        let random = u128::from(self.seed()) << 64 | u128::from(self.seed());
        random & !0xf | u128::from(self.hop.generation & 0xf)
    }

    /// What is left to be said to the process before this one.
    pub(crate) fn pending(&self) -> Option<super::takeover::Pending> {
        self.upgrade.pending.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
