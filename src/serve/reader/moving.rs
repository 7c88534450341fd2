//! A reader goes on with another stream of the same content, as where its route's weights have changed.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use msm_core::hub::{LineEnd, ReaderId};
use msm_core::rng::Rng;

use super::{Entering, Path, Placed, ReaderRole, TrackPath, at_place, enter_in, portable};
use crate::error::Error;
use crate::hub::handle::{HubHandle, Lease, PlayRequest};
use crate::hub::rtx::{Again, RtxPlan};
use crate::hub::shard::OnEnd;
use crate::worker::Worker;

/// What the reader knows of the stream that it goes over to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// It is described as the one before.
    Known,
    /// It is, and whoever reads that one goes over. `at_once`: the one before brings nothing any more and this one has just begun, so that
    /// readers begin with what was kept of it.
    All { at_once: bool },
    /// It was told how it is described, and said yes. `at_once`: as above.
    Told { at_once: bool },
}

impl Form {
    const fn is_at_once(self) -> bool {
        matches!(self, Self::All { at_once: true } | Self::Told { at_once: true })
    }
}

/// What becomes of a track where the stream is described otherwise.
struct Anew {
    track: usize,
    ssrc: u32,
    again: Option<Again>,
}

impl ReaderRole {
    /// Whether the reader could go on with another description, if it is told of that: each track that it has set up is there, of the same
    /// kind.
    pub(crate) fn fits(&self, next: &HubHandle) -> bool {
        let media = |handle: &HubHandle, track: usize| {
            handle.description.tracks.get(track).map(|track| track.media.to_ascii_lowercase())
        };
        self.tracks.iter().all(|own| {
            let before = media(&self.lease, own.track);
            before.is_some() && before == media(next, own.track)
        })
    }

    /// Goes on with the stream of `lease`, from its next keyframe on: until then the reader gets what it got. It keeps SSRC, numbers and
    /// timestamps. A reader that is not placed yet will read the other one from the start. A track whose clock has another rate has another SSRC
    /// and a line of its own (`RFC 7160 §4.1`).
    ///
    /// # Errors
    /// The other stream cannot be had, or has other tracks. The reader stays where it is.
    pub(crate) async fn move_to(
        &mut self,
        worker: &Rc<Worker>,
        lease: Lease,
        form: Form,
        on_end: impl Fn() -> OnEnd,
    ) -> Result<(), Error> {
        let handle = lease.handle();
        let fits = match form {
            Form::Known | Form::All { .. } => handle.tracks() == self.lease.tracks(),
            Form::Told { .. } => self.fits(&handle),
        };
        if !fits {
            return Err(Error::Refused("the other stream has other tracks".into()));
        }
        if self.lease.unshared || handle.unshared {
            return Err(Error::Refused("only readers of live streams are moved".into()));
        }
        for track in &self.tracks {
            let Path::Group(group) = &track.path else { continue };
            if let Form::All { at_once } = form {
                handle.prepare().await?;
                group.move_to(&handle, at_once).await?;
            } else if !group.is_of(&handle) {
                return Err(Error::Refused("its multicast group is for others as well, who stay".into()));
            }
        }
        let anew = match form {
            Form::Known | Form::All { .. } => Vec::new(),
            Form::Told { .. } => {
                self.tracks.iter().map(|own| anew(worker, own, &self.lease, &handle)).collect()
            }
        };
        let Some((place, hub, id)) = self.placed() else {
            self.lease = lease;
            self.become_anew(anew);
            return Ok(());
        };
        handle.prepare().await?;
        handle.play(PlayRequest::default()).await?;
        let tracks = self.tracks.iter().filter_map(|track| portable(worker, track).transpose());
        let mut tracks: Vec<Entering> = tracks.collect::<Result<_, _>>()?;
        for entering in &mut tracks {
            if let Some(anew) = anew.iter().find(|anew| anew.track == entering.track) {
                entering.ssrc = anew.ssrc;
                entering.again.clone_from(&anew.again);
            }
        }
        let reports: Vec<_> = self.reports();
        let (seed, plays) = (self.seed, self.playing);
        let at_once = form.is_at_once();
        let crossing = Crossing { hub, id, handle: Arc::clone(&handle), seed, plays, at_once };
        let there = at_place(worker, place, tracks, on_end(), move |worker, tracks, on_end| {
            cross(worker, crossing, tracks, on_end)
        })
        .await?;
        self.placed = None;
        self.lease = lease;
        self.become_anew(anew);
        self.placed =
            Some(Placed::new(worker, place, &handle, there, reports, self.latches(worker, &handle, there)));
        Ok(())
    }

    fn become_anew(&mut self, anew: Vec<Anew>) {
        for Anew { track, ssrc, again } in anew {
            if let Some(own) = self.tracks.iter_mut().find(|own| own.track == track) {
                own.ssrc = ssrc;
                own.again = again;
            }
        }
    }
}

/// A track as it is set up in the other stream: with the payload types of that one's retransmissions, and another source where the clock has
/// another rate.
fn anew(worker: &Worker, own: &TrackPath, before: &HubHandle, next: &HubHandle) -> Anew {
    let mut rng = Rng::new(worker.shared.seed());
    let ssrc = if is_same_clock(before, next, own.track) { own.ssrc } else { rng.next_u32() };
    let types = next.description.rtx_types().into_iter().nth(own.track).unwrap_or_default();
    let again = match &own.again {
        Some(Again::Rtx(_)) if types.is_empty() => Some(Again::AsItWas { at_once: true }),
        Some(Again::Rtx(plan)) => Some(Again::Rtx(RtxPlan { types, ..plan.clone() })),
        other => other.clone(),
    };
    Anew { track: own.track, ssrc, again }
}

fn is_same_clock(one: &HubHandle, other: &HubHandle, track: usize) -> bool {
    let rate = |handle: &HubHandle| handle.tracks().get(track).map(msm_core::hub::TrackInfo::clock_rate);
    rate(one) == rate(other)
}

/// From where, and whereto.
struct Crossing {
    hub: u64,
    id: ReaderId,
    handle: Arc<HubHandle>,
    seed: u64,
    plays: bool,
    at_once: bool,
}

/// On the worker that both fan-outs are on.
async fn cross(
    worker: Rc<Worker>,
    from: Crossing,
    tracks: Vec<Entering>,
    on_end: OnEnd,
) -> Result<ReaderId, Error> {
    let shard = worker.shard(&from.handle).await?;
    // A group has waited for its own.
    if from.plays && !tracks.is_empty() {
        shard.await_keyframe(from.at_once).await;
    }
    // From here on in one turn: nothing comes in between.
    let now = Instant::now();
    let before = worker.shard_of(from.hub).ok_or(Error::StreamEnded)?;
    let mut ends = before.line_ends(now, from.id).map_err(Error::from)?;
    ends.retain(|end: &LineEnd| is_same_clock(&before.handle, &shard.handle, end.track));
    let there = enter_in(&worker, &shard, tracks, from.seed, true, on_end)?;
    shard.go_on(now, there, &ends);
    before.remove(now, from.id, false);
    if from.plays {
        shard.play(now, there).map_err(Error::from)?;
    }
    Ok(there)
}
