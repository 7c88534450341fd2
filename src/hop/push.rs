//! A stream published to another member: the member is one reader of the hub.

use std::rc::Rc;
use std::time::{Duration, Instant};

use msm_core::hub::{ReaderId, ReaderSetup, ReaderTrack};
use msm_core::rng::Rng;
use msm_core::route::Protection;
use msm_rtsp::message::{Method, Request};
use msm_rtsp::sdp::Description;
use msm_rtsp::url::{join_control, track_control};
use tokio::sync::Notify;

use super::dial::Peer;
use super::inlet::{Inlet, Target};
use super::outlet::Outlet;
use super::protect;
use super::pull::{Coming, Member, Wanted};
use crate::cluster::Held;
use crate::error::Error;
use crate::hub::dest::Dest;
use crate::hub::registry::ReaderRef;
use crate::hub::shard::{EndReason, Shard};
use crate::routing::{ClusterSettings, Resolved};
use crate::worker::Worker;

/// How long an end that nobody told is noticed after.
const TICK: Duration = Duration::from_millis(500);

/// Has a member record what `shard` has.
pub(crate) async fn open(
    worker: &Rc<Worker>,
    shard: &Rc<Shard>,
    resolved: &Resolved,
    peer: Rc<Peer>,
    held: &Rc<Held>,
    description: &Description,
    via: Vec<String>,
) -> Result<Pushed, Error> {
    let mut member = Member::new(worker, peer, held.url.clone(), via);
    let settings = resolved.settings().ok_or(Error::StreamEnded)?;
    let stalled = Rc::new(Notify::new());
    let begun = async {
        let flows = announce(&mut member, &settings, &resolved.protection, description).await?;
        let id = attach(worker, shard, &flows, &stalled)?;
        let recorded = member.ask(Request::new(Method::Record, member.url.to_string())).await;
        // Nothing is sent into the void.
        let ready = async {
            recorded?;
            member.peer.association.ready().await?;
            shard.play(Instant::now(), id).map_err(Error::from)
        };
        if let Err(error) = ready.await {
            shard.remove(Instant::now(), id, false);
            return Err(error);
        }
        Ok((flows, id))
    };
    match begun.await {
        Ok((flows, id)) => Ok(Pushed {
            worker: Rc::clone(worker),
            shard: Rc::clone(shard),
            member,
            id,
            held: Rc::clone(held),
            stalled,
            _flows: flows,
        }),
        Err(error) => {
            // What was set up of it is not to stay there as long as the association does.
            member.leave(&member.url.to_string());
            Err(error)
        }
    }
}

/// A session that publishes: the member is a reader of the shard.
pub(crate) struct Pushed {
    worker: Rc<Worker>,
    shard: Rc<Shard>,
    member: Member,
    id: ReaderId,
    held: Rc<Held>,
    stalled: Rc<Notify>,
    _flows: Flows,
}

impl Pushed {
    pub(crate) fn name(&self) -> String {
        self.member.url.to_string()
    }

    pub(crate) fn held(&self) -> &Held {
        &self.held
    }

    pub(crate) fn stalled(&self) -> Rc<Notify> {
        Rc::clone(&self.stalled)
    }

    pub(crate) async fn run(&self) -> Result<(), String> {
        let mut stopping = self.worker.shared.stopping.subscribe();
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                () = self.member.ended() => return Err("the member ended the recording".to_owned()),
                _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
                _ = tick.tick() => {
                    if self.shard.handle.is_ended() {
                        return Ok(());
                    }
                    if self.member.peer.association.has_ended() {
                        return Err("the association ended".to_owned());
                    }
                }
            }
        }
    }

    pub(crate) fn detach(&self) {
        self.shard.remove(Instant::now(), self.id, true);
    }

    pub(crate) fn leave(self) {
        self.member.leave(&self.member.url.to_string());
    }
}

type Flows = Vec<(Rc<Inlet>, Rc<Outlet>)>;

async fn announce(
    member: &mut Member,
    settings: &ClusterSettings,
    protection: &Protection,
    description: &Description,
) -> Result<Flows, Error> {
    let base = member.url.to_string();
    let announce = Request::new(Method::Announce, base.clone()).with_body(
        "application/sdp",
        description.for_announce(&protect::offers(&description.tracks, protection)),
    );
    let latency = Some(protection).filter(|own| own.is_on());
    let latency = latency.and_then(|own| protect::milliseconds(own.latency));
    let announced = member.ask(announce);
    let mut pending = Vec::new();
    for number in 0..description.tracks.len() {
        let url = join_control(&base, &track_control(number), settings.control);
        let wanted = Wanted::Sent(latency);
        let paths = protection.paths.mode();
        pending.push(member.set_up(&url, ";mode=record", Target::Nobody, wanted, paths)?);
    }
    announced.await?;
    let mut flows = Vec::new();
    for ((Coming { inlet, .. }, answer), track) in pending.into_iter().zip(&description.tracks) {
        let answer = answer.await?;
        let outlet = member.set_outlet(&answer, &inlet)?;
        if let Some(repair) = answer.header.repair
            && let Some(plan) = protect::send_plan(track, protection, &answer.header, &base)
        {
            protect::send(&member.peer.association, answer.token, &outlet, repair, plan)?;
        }
        member.set_session(answer.session);
        flows.push((inlet, outlet));
    }
    Ok(flows)
}

/// Makes the member a reader of the hub.
fn attach(
    worker: &Rc<Worker>,
    shard: &Rc<Shard>,
    flows: &Flows,
    stalled: &Rc<Notify>,
) -> Result<ReaderId, Error> {
    let mut rng = Rng::new(worker.shared.seed());
    let tracks = flows
        .iter()
        .enumerate()
        .map(|(track, (_, outlet))| ReaderTrack {
            track,
            dest: Dest::Hop(Rc::clone(outlet)),
            ssrc: outlet.label.ssrc(),
            payload_types: Vec::new(),
        })
        .collect();
    let setup = ReaderSetup { seed: rng.next_u64(), tracks, late_join: true };
    let stalled = Rc::clone(stalled);
    let on_end = Box::new(move |reason| {
        if reason != EndReason::StreamEnded {
            stalled.notify_one();
        }
    });
    let id = shard.add_reader(Instant::now(), setup, on_end).map_err(Error::from)?;
    for (track, (inlet, outlet)) in flows.iter().enumerate() {
        inlet.set_target(Target::Reports {
            worker: Rc::downgrade(worker),
            reader: ReaderRef {
                owner: worker.id,
                worker: worker.id,
                hub: shard.handle.id,
                reader: id,
                track,
            },
            of: Rc::downgrade(outlet),
        });
        outlet.keep_in(shard, id, track);
    }
    Ok(id)
}
