//! Readers go over to the stream that their URL leads to now, where their route says `migrate`.

use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use msm_core::route::Action;

use super::announce::{Change, Way};
use super::reader::Form;
use super::requests::open;
use super::session::{Grant, Role, Session};
use crate::error::Error;
use crate::hub::handle::{HubHandle, PlayRequest};
use crate::routing::Resolved;
use crate::shared::Shared;
use crate::worker::Worker;

/// Sessions that are looked at in one turn: each takes about a microsecond, and packets wait meanwhile.
const AT_ONCE: usize = 128;

/// Has the session of a grant go over, if it is to read another stream by `resolved`, what its URL leads to now. Answers whether it is.
pub(crate) fn migrate(shared: &Shared, grant: &Arc<Grant>, resolved: &Resolved) -> Result<bool, Error> {
    if !grant.is_to_move(resolved) {
        return Ok(false);
    }
    let grant = Arc::clone(grant);
    shared.worker(grant.worker)?.post(move |worker| {
        let Some(session) = worker.sessions.get(&grant.id) else { return };
        let worker = Rc::clone(worker);
        tokio::task::spawn_local(async move { session.change_stream(&worker).await });
    })?;
    Ok(true)
}

/// Has all go over that are to, as the routes are as they were and lead elsewhere all the same.
pub(crate) async fn move_readers(shared: &Arc<Shared>) {
    for grants in shared.sessions.grants().chunks(AT_ONCE) {
        let routing = shared.routing();
        for grant in grants {
            if let Ok(resolved) = grant.check(&routing) {
                let _ = migrate(shared, grant, &resolved);
            }
        }
        drop(routing);
        tokio::task::yield_now().await;
    }
}

impl Session {
    /// If it reads the stream `from`, it reads `next` from that one's next keyframe on.
    pub(crate) async fn go_over(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        from: u64,
        next: &Arc<HubHandle>,
        form: Form,
    ) -> bool {
        self.cross(worker, from, next, form).await.unwrap_or_else(|error| {
            tracing::warn!(session = %self.id, peer = %self.owner, %error, "cannot go over to another stream");
            false
        })
    }

    /// The same; the error is why it cannot.
    pub(super) async fn cross(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        from: u64,
        next: &Arc<HubHandle>,
        form: Form,
    ) -> Result<bool, Error> {
        let mut state = self.state.lock().await;
        let Role::Reader(reader) = &mut state.role else { return Ok(false) };
        if reader.lease.id != from || from == next.id || worker.sessions.get(&self.id).is_none() {
            return Ok(false);
        }
        reader.move_to(worker, next.lease(), form, || self.on_end()).await?;
        if let Some(placed) = reader.placed() {
            self.set_reader(worker, placed);
        }
        Ok(true)
    }

    /// Goes over to the stream that its URL leads to now.
    pub(crate) async fn change_stream(self: &Rc<Self>, worker: &Rc<Worker>) {
        let grant = &self.grant;
        let ask = self.owner.ask(Action::Read, &grant.listener, &grant.headers);
        let via = vec![format!("RTSP/1.0 {}", worker.shared.pseudonym)];
        let (resolved, next) = match open(worker, &grant.url, via, &ask).await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(session = %self.id, peer = %self.owner, url = %grant.url, %error, "stays with its stream: the one that the routes lead to cannot be had");
                return;
            }
        };
        let (from, is_known) = match &self.state.lock().await.role {
            Role::Reader(reader) => (reader.lease.id, reader.lease.tracks() == next.tracks()),
            Role::Publisher(_) => return,
        };
        let change = if is_known { None } else { Change::of(&resolved, from, &next) };
        let goes_over = match change {
            Some(change) => {
                // It plays before its readers are told of it, and while they are.
                let other = next.lease();
                let playing = other.play(PlayRequest::default()).await;
                if let Err(error) = &playing {
                    tracing::warn!(session = %self.id, peer = %self.owner, url = %grant.url, %error, "stays with its stream: the other one does not play");
                }
                playing.is_ok() && self.tell(worker, &change).await == Some(Way::Moved)
            }
            None => self.go_over(worker, from, &next, Form::Known).await,
        };
        if goes_over {
            tracing::debug!(session = %self.id, peer = %self.owner, url = %grant.url, hub = next.id, "reads another backend's stream");
            *grant.reads.lock().unwrap_or_else(PoisonError::into_inner) = Some(resolved.key());
        }
    }
}
