//! A reader goes on with another stream of the same content, as where its route's weights have changed.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use msm_core::hub::ReaderId;

use super::{Entering, Path, Placed, ReaderRole, at_place, enter_in, portable};
use crate::error::Error;
use crate::hub::handle::{HubHandle, Lease, PlayRequest};
use crate::hub::shard::OnEnd;
use crate::worker::Worker;

impl ReaderRole {
    /// Goes on with the stream of `lease`, from its next keyframe on: until then the reader gets what it got. It keeps SSRC, numbers and
    /// timestamps. A reader that is not placed yet will read the other one from the start.
    ///
    /// # Errors
    /// The other stream cannot be had, or has other tracks. The reader stays where it is.
    pub(crate) async fn move_to(
        &mut self,
        worker: &Rc<Worker>,
        lease: Lease,
        on_end: impl Fn() -> OnEnd,
    ) -> Result<(), Error> {
        let handle = lease.handle();
        if handle.tracks() != self.lease.tracks() {
            return Err(Error::Refused("the other stream has other tracks".into()));
        }
        let groups = self.tracks.iter().any(|track| matches!(track.path, Path::Group(_)));
        if groups || self.lease.unshared || handle.unshared {
            return Err(Error::Refused("only readers of live streams over unicast are moved".into()));
        }
        let Some((place, hub, id)) = self.placed() else {
            self.lease = lease;
            return Ok(());
        };
        handle.prepare().await?;
        handle.play(PlayRequest::default()).await?;
        let tracks = self.tracks.iter().filter_map(|track| portable(worker, track).transpose());
        let tracks: Vec<_> = tracks.collect::<Result<_, _>>()?;
        let reports: Vec<_> = self.reports();
        let (seed, plays) = (self.seed, self.playing);
        let crossing = Crossing { hub, id, handle: Arc::clone(&handle), seed, plays };
        let there = at_place(worker, place, tracks, on_end(), move |worker, tracks, on_end| {
            cross(worker, crossing, tracks, on_end)
        })
        .await?;
        self.placed = None;
        self.lease = lease;
        self.placed =
            Some(Placed::new(worker, place, &handle, there, reports, self.latches(worker, &handle, there)));
        Ok(())
    }
}

/// From where, and whereto.
struct Crossing {
    hub: u64,
    id: ReaderId,
    handle: Arc<HubHandle>,
    seed: u64,
    plays: bool,
}

/// On the worker that both fan-outs are on.
async fn cross(
    worker: Rc<Worker>,
    from: Crossing,
    tracks: Vec<Entering>,
    on_end: OnEnd,
) -> Result<ReaderId, Error> {
    let shard = worker.shard(&from.handle).await?;
    if from.plays {
        shard.await_keyframe().await;
    }
    // From here on in one turn: nothing comes in between.
    let now = Instant::now();
    let before = worker.shard_of(from.hub).ok_or(Error::StreamEnded)?;
    let ends = before.line_ends(now, from.id).map_err(Error::from)?;
    let there = enter_in(&worker, &shard, tracks, from.seed, true, on_end)?;
    shard.go_on(now, there, &ends);
    before.remove(now, from.id, false);
    if from.plays {
        shard.play(now, there).map_err(Error::from)?;
    }
    Ok(there)
}
