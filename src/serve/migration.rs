//! Readers go over to the stream that their URL leads to now, where their route says `migrate`.

use std::rc::Rc;
use std::sync::Arc;

use super::session::Grant;
use crate::error::Error;
use crate::routing::Resolved;
use crate::shared::Shared;

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
