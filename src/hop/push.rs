//! A stream published to another member: the member is one reader of the hub.

use std::rc::Rc;
use std::time::{Duration, Instant};

use msm_core::hub::{ReaderId, ReaderSetup, ReaderTrack};
use msm_core::rng::Rng;
use msm_core::route::Protection;
use msm_rtsp::message::{Method, Request};
use msm_rtsp::sdp::Description;
use msm_rtsp::url::{join_control, track_control};

use super::dial::Peer;
use super::inlet::{Inlet, Target};
use super::outlet::Outlet;
use super::protect;
use super::pull::{Coming, Member, Wanted};
use crate::cluster::Held;
use crate::error::Error;
use crate::hub::dest::Dest;
use crate::hub::home::Home;
use crate::hub::registry::ReaderRef;
use crate::routing::{ClusterSettings, Resolved};
use crate::worker::Worker;

/// How long an end that nobody told is noticed after.
const TICK: Duration = Duration::from_millis(500);

/// Publishes the stream of `home` to a member; when this returns, it records.
pub(crate) async fn start(
    worker: &Rc<Worker>,
    home: &Rc<Home>,
    resolved: &Resolved,
    peer: Rc<Peer>,
    held: &Rc<Held>,
    description: &Description,
    via: Vec<String>,
) -> Result<(), Error> {
    let mut member = Member::new(worker, peer, held.url.clone(), via);
    let settings = resolved.settings().ok_or(Error::StreamEnded)?;
    let flows = announce(&mut member, &settings, &resolved.protection, description).await?;
    let id = attach(worker, home, &flows)?;
    let recorded = member.ask(Request::new(Method::Record, member.url.to_string())).await;
    // Nothing is sent into the void.
    let ready = async {
        recorded?;
        member.peer.association.ready().await?;
        home.shard.play(Instant::now(), id).map_err(Error::from)
    };
    if let Err(error) = ready.await {
        home.shard.remove(Instant::now(), id, false);
        return Err(error);
    }
    tracing::info!(hub = home.handle.id, upstream = %member.url, "stream is published upstream");
    tokio::task::spawn_local(run(Rc::clone(worker), Rc::clone(home), member, flows, id, Rc::clone(held)));
    Ok(())
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
fn attach(worker: &Rc<Worker>, home: &Rc<Home>, flows: &Flows) -> Result<ReaderId, Error> {
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
    let id = home.shard.add_reader(Instant::now(), setup, Box::new(|_| {})).map_err(Error::from)?;
    for (track, (inlet, outlet)) in flows.iter().enumerate() {
        inlet.set_target(Target::Reports {
            worker: Rc::downgrade(worker),
            reader: ReaderRef { owner: worker.id, worker: worker.id, hub: home.handle.id, reader: id, track },
            of: Rc::downgrade(outlet),
        });
        outlet.keep_in(&home.shard, id, track);
    }
    Ok(id)
}

async fn run(
    worker: Rc<Worker>,
    home: Rc<Home>,
    member: Member,
    flows: Flows,
    id: ReaderId,
    _held: Rc<Held>,
) {
    let _pass = worker.upstream();
    let mut stopping = worker.shared.stopping.subscribe();
    let mut tick = tokio::time::interval(TICK);
    let hub = home.handle.id;
    loop {
        tokio::select! {
            () = member.ended() => {
                tracing::warn!(hub, upstream = %member.url, "the member ended the recording");
                break;
            }
            _ = stopping.wait_for(|stopping| *stopping) => break,
            _ = tick.tick() => if home.handle.is_ended() || member.peer.association.has_ended() { break },
        }
    }
    let over = home.handle.is_ended();
    home.shard.remove(Instant::now(), id, true);
    drop(flows);
    if !over {
        // The publisher must know that nobody records it any more.
        home.handle.set_ended();
        home.end(Instant::now());
    }
    member.leave(&member.url.to_string());
}
