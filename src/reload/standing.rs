//! Streams that are wanted before anybody reads them (`start: always`).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::Running;
use crate::error::Error;
use crate::shared::Shared;
use crate::upstream::pull;

/// Pulls those of the routes of now, and lets go of those that are none any more: these end when their readers have left.
pub(crate) async fn keep_standing(shared: &Arc<Shared>, running: &mut Running) -> Result<(), Error> {
    let urls = shared.routing().standing();
    let wanted: BTreeMap<_, _> = urls.into_iter().map(|url| (url.to_string(), url)).collect();
    running.standing.retain(|url, keeper| {
        let stays = wanted.contains_key(url);
        if !stays {
            keeper.abort();
        }
        stays
    });
    let worker = shared.workers().first().ok_or(Error::Stopped)?;
    for (name, url) in wanted {
        if running.standing.contains_key(&name) {
            continue;
        }
        let keeper = worker
            .call(move |worker| tokio::task::spawn_local(pull::keep(Rc::clone(worker), url)).abort_handle())
            .await?;
        running.standing.insert(name, keeper);
    }
    Ok(())
}
