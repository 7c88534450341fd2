//! Warm connections to other members: opened when first needed, shared by all sessions of a worker, re-keyed in time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_auth::identity::id::SpiffeId;
use msm_auth::identity::source::IdentitySource;
use msm_auth::identity::svid::PeerIdentity;
use msm_core::hop::Label;
use msm_rtsp::hop::{FEATURE, HEADER, HopHeader};
use msm_rtsp::message::{Method, Request, Response};
use msm_rtsp::url::RtspUrl;
use tokio::sync::{mpsc, oneshot};

use super::association::{Association, Side};
use super::connect::{Dialled, connect};
use super::fallback::{self, Place};
use super::inlet::{Inlet, Target};
use super::members::renewal;
use super::paths;
use super::port::HopPort;
use super::told::Told;
use super::wire::{Ask, Wire};
use crate::error::Error;
use crate::net::tcp::Connection;
use crate::routing::ClusterSettings;
use crate::worker::Worker;

/// How long a connection stays that no session uses.
const WARM: Duration = Duration::from_secs(30);
/// How often a quiet connection shows that it lives.
const PING: Duration = Duration::from_secs(20);
/// How often the identity and the users of a connection are looked after.
const TICK: Duration = Duration::from_secs(1);
/// How long a lost connection is tried to be made again before its sessions end.
const RECONNECT: Duration = Duration::from_secs(10);
/// The first pause between two tries; it doubles.
const RETRY: Duration = Duration::from_millis(250);
/// The longest.
const LAST_RETRY: Duration = Duration::from_secs(5);
/// How long sessions may take to say that they end.
const LEAVE: Duration = Duration::from_secs(1);
/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(20);

/// Another member, as one worker reaches it.
pub(crate) struct Peer {
    pub(crate) association: Rc<Association>,
    asks: mpsc::UnboundedSender<Ask>,
    /// Sessions with it, by identifier, and what the member tells of each.
    sessions: RefCell<BTreeMap<String, Rc<Told>>>,
    used: Cell<Instant>,
    /// It is about to end: nothing new begins on it.
    leaving: Cell<bool>,
}

/// A place for one member's connection: locked while somebody dials.
pub(super) type Slot = Rc<tokio::sync::Mutex<Weak<Peer>>>;

/// A worker's connections to members, by cluster and authority, and by the paths that routes want.
#[derive(Default)]
pub(crate) struct Peers(pub(super) RefCell<BTreeMap<(Place, Vec<IpAddr>), Slot>>);

impl Peer {
    /// Asks the member something and waits for its answer, whatever its status. Requests are sent in the order of the
    /// calls.
    pub(crate) fn ask(&self, request: Request) -> impl Future<Output = Result<Response, Error>> + use<> {
        self.used.set(Instant::now());
        self.send(request)
    }

    /// As [`Self::ask`], for what shows that the connection lives and is no use of it.
    pub(super) fn send(&self, request: Request) -> impl Future<Output = Result<Response, Error>> + use<> {
        let (reply, answer) = oneshot::channel();
        let sent = self.asks.send(Ask { request: request.with("Require", FEATURE), reply });
        async move {
            sent.map_err(|_| Error::StreamEnded)?;
            answer.await.map_err(|_| Error::StreamEnded)?
        }
    }

    /// Whether something new may begin on it. It is kept a while longer then.
    pub(super) fn take(&self) -> bool {
        let takes = !self.leaving.get() && !self.association.has_ended();
        if takes {
            self.used.set(Instant::now());
        }
        takes
    }

    /// What the member tells of this session; also that everything ends.
    pub(crate) fn watch(&self, session: &str) -> Rc<Told> {
        Rc::clone(self.sessions.borrow_mut().entry(session.to_owned()).or_default())
    }

    /// Watches no more.
    pub(crate) fn unwatch(&self, session: &str) {
        self.used.set(Instant::now());
        self.sessions.borrow_mut().remove(session);
    }
}

/// Who was found at an endpoint.
pub(super) enum Opened {
    Member(Rc<Peer>),
    /// One of the cluster's `peers`, who does not know what a mesh hop is.
    Other {
        peer: SpiffeId,
        answer: String,
        is_member: bool,
    },
}

/// Connects, and begins an association if that is a member, with a path from each of `sources`, or one alone where there are none.
///
/// # Errors
/// It cannot be reached, or is not who it must be.
pub(super) async fn open(
    worker: &Rc<Worker>,
    settings: &Arc<ClusterSettings>,
    url: &RtspUrl,
    sources: &[IpAddr],
) -> Result<Opened, Error> {
    let local = HopPort::address(worker).await?;
    let port = worker.hop_port().ok_or(Error::Stopped)?;
    let Dialled { connection, identity, remote, is_member } = connect(worker, settings, url).await?;
    let peer = identity.id.clone();
    if !is_member && !settings.fallback {
        connection.close();
        let answer = "its TLS does not agree on `msm/1`".to_owned();
        return Ok(Opened::Other { peer, answer, is_member });
    }
    let sources = paths::towards(remote, sources)?;
    let id = worker.shared.seed();
    let association =
        Association::new(worker, &port, Side::Dialler, id, identity, (Rc::clone(&connection), 1), remote);
    association.set_cluster(worker, &settings.name);
    let control = association.inlet(id, Target::Control)?;
    let mut wire = wire(worker, settings, url, connection);
    let response = begin(worker, &port, &mut wire, id, 1, &control, local.port()).await?;
    if fallback::knows_no_hop(&response, is_member) {
        wire.connection.close();
        let answer = format!("`Require: {FEATURE}` was answered {} {}", response.status, response.reason);
        return Ok(Opened::Other { peer, answer, is_member });
    }
    let answer = header(&wire, &response)?;
    let (true, Some(label), Some(theirs)) = (is_member, answer.label, answer.port) else {
        let what = if is_member {
            "names no label and port"
        } else {
            "is a member's, and `msm/1` was not agreed on"
        };
        return Err(wire.protocol(format!("the answer to OPTIONS {what}")));
    };
    tracing::info!(%peer, %remote, "member reached");
    // The port that it knows as its own, and the one that it is reached by, where something between maps ports.
    let remotes = [SocketAddr::new(remote.ip(), theirs), remote];
    association.open_control(control, Label::from_ssrc(label), &remotes, sources.first().copied())?;
    let (asks, asked) = mpsc::unbounded_channel();
    let peer = Rc::new(Peer {
        association,
        asks,
        sessions: RefCell::default(),
        used: Cell::new(Instant::now()),
        leaving: Cell::new(false),
    });
    let reach = Reach { worker: Rc::clone(worker), settings: Arc::clone(settings), url: url.clone(), port };
    tokio::task::spawn_local(run(reach, Rc::clone(&peer), wire, asked));
    peer.association.tell_connected();
    paths::open_all(&peer, &sources);
    Ok(Opened::Member(peer))
}

/// What it takes to reach a member again.
struct Reach {
    worker: Rc<Worker>,
    settings: Arc<ClusterSettings>,
    url: RtspUrl,
    port: Rc<HopPort>,
}

fn wire(worker: &Worker, settings: &ClusterSettings, url: &RtspUrl, connection: Rc<Connection>) -> Wire {
    let own = &worker.shared.settings();
    Wire::new(connection, url.to_string(), own.rtsp.clone(), settings.timeout, own.connection_queue)
}

/// Asks to begin the association on this connection, or to go on with it under a new epoch; the answer, whatever its status.
async fn begin(
    worker: &Worker,
    port: &HopPort,
    wire: &mut Wire,
    association: u64,
    epoch: u32,
    control: &Inlet,
    own_port: u16,
) -> Result<Response, Error> {
    let header = HopHeader {
        association: Some(association),
        epoch: Some(epoch),
        label: Some(control.label.ssrc()),
        port: Some(own_port),
        ..HopHeader::default()
    };
    let request =
        Request::new(Method::Options, "*").with("Require", FEATURE).with(HEADER, header.to_string());
    let (reply, mut answer) = oneshot::channel();
    wire.ask(Ask { request, reply });
    let response = loop {
        tokio::select! {
            answer = &mut answer => break answer.map_err(|_| Error::StreamEnded)??,
            told = wire.next(worker, port) => { told?; }
        }
    };
    Ok(response)
}

/// What a member says of the hop.
fn header(wire: &Wire, response: &Response) -> Result<HopHeader, Error> {
    if !response.is_success() {
        let reason = format!("a mesh hop was answered {} {}", response.status, response.reason);
        return Err(wire.protocol(reason));
    }
    let header = response.headers.get(HEADER).and_then(HopHeader::parse);
    header.ok_or_else(|| wire.protocol("the answer to OPTIONS has no usable Msm-Hop"))
}

/// When a connection is to be replaced.
struct Renewal {
    at: Instant,
    pause: Duration,
}

impl Renewal {
    /// Of a connection that was just made: well before either SVID expires.
    fn new(source: &dyn IdentitySource, peer: &PeerIdentity) -> Self {
        Self { at: Instant::now() + renewal(source, peer).max(TICK), pause: RETRY }
    }

    /// It could not be replaced. The other side goes on with what it has until the SVID that it knows expires, and if it took
    /// the new epoch up before the connection was lost, for a moment only: it is tried again soon.
    fn failed(&mut self) {
        self.at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LAST_RETRY);
    }
}

async fn run(reach: Reach, peer: Rc<Peer>, mut wire: Wire, mut asked: mpsc::UnboundedReceiver<Ask>) {
    let Some(members) = reach.settings.members.as_ref() else { return };
    let mut changes = members.source.changes();
    let mut stopping = reach.worker.shared.stopping.subscribe();
    // The worker's end waits for those that take their leave on it.
    let _pass = reach.worker.upstream();
    let mut tick = tokio::time::interval(TICK);
    let mut pinged = Instant::now();
    let mut renewing = Renewal::new(&*members.source, &peer.association.peer());
    let why = loop {
        tokio::select! {
            biased;
            ask = asked.recv() => match ask {
                Some(ask) => wire.ask(ask),
                None => break "nobody uses it",
            },
            told = wire.next(&reach.worker, &reach.port) => match told {
                Ok(request) => tell(&peer, &request),
                Err(error) => {
                    tracing::warn!(peer = %peer.association.peer().id, %error, "connection lost: sessions go on by another");
                    match again(&reach, &peer).await {
                        Some(next) => {
                            wire = next;
                            renewing = Renewal::new(&*members.source, &peer.association.peer());
                        }
                        None => break "the member cannot be reached any more",
                    }
                }
            },
            _ = tick.tick() => {
                let now = Instant::now();
                let used = Rc::strong_count(&peer) > 1;
                if used {
                    peer.used.set(now);
                } else if now.saturating_duration_since(peer.used.get()) >= WARM {
                    break "unused";
                }
                if now.saturating_duration_since(pinged) >= PING {
                    pinged = now;
                    drop(peer.send(Request::new(Method::Options, "*")));
                }
                if let Err(why) = members.check(&peer.association) {
                    tracing::error!(peer = %peer.association.peer().id, why, "the member is trusted no more: its sessions end");
                    break "the member is trusted no more";
                }
            }
            changed = changes.changed() => {
                if changed.is_err() { continue; }
                if let Err(why) = members.check(&peer.association) {
                    tracing::error!(peer = %peer.association.peer().id, why, "the member is trusted no more: its sessions end");
                    break "the member is trusted no more";
                }
                renewing.at = Instant::now();
            }
            () = tokio::time::sleep_until(renewing.at.into()) => {
                if renew(&reach, &peer, &mut wire, &mut asked).await {
                    renewing = Renewal::new(&*members.source, &peer.association.peer());
                } else {
                    renewing.failed();
                }
            }
            _ = stopping.wait_for(|stopping| *stopping) => break "shutdown",
        }
    };
    peer.leaving.set(true);
    let sessions = std::mem::take(&mut *peer.sessions.borrow_mut());
    for told in sessions.into_values() {
        told.end();
    }
    // Sessions take their leave on it: the other member would keep them for a while.
    let _ = tokio::time::timeout(LEAVE, async {
        while Rc::strong_count(&peer) > 1 || !asked.is_empty() || !wire.is_idle() {
            tokio::select! {
                ask = asked.recv() => match ask { Some(ask) => wire.ask(ask), None => break },
                told = wire.next(&reach.worker, &reach.port) => if told.is_err() { break },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    })
    .await;
    peer.association.end(why);
}

/// The member told something.
fn tell(peer: &Peer, request: &Request) {
    if let Some(session) = request.session()
        && let Some(told) = peer.sessions.borrow().get(session)
    {
        told.handle(request);
    }
}

/// Replaces the connection by one of a new epoch; whether it did. Meanwhile requests go by the old one.
async fn renew(
    reach: &Reach,
    peer: &Rc<Peer>,
    wire: &mut Wire,
    asked: &mut mpsc::UnboundedReceiver<Ask>,
) -> bool {
    let attaching = attach(reach, peer);
    tokio::pin!(attaching);
    let outcome = loop {
        tokio::select! {
            outcome = &mut attaching => break outcome,
            Some(ask) = asked.recv() => wire.ask(ask),
            told = wire.next(&reach.worker, &reach.port) => match told {
                Ok(request) => tell(peer, &request),
                // Its replacement is on the way.
                Err(_) => break attaching.await,
            },
        }
    };
    match outcome {
        Ok(next) => {
            let old = std::mem::replace(wire, next);
            tokio::task::spawn_local(finish(Rc::clone(&reach.worker), Rc::clone(&reach.port), old));
            true
        }
        Err(error) => {
            tracing::warn!(peer = %peer.association.peer().id, %error, "hop not re-keyed: it is tried again");
            false
        }
    }
}

/// Waits for the answers that are still to come on a connection that was replaced.
async fn finish(worker: Rc<Worker>, port: Rc<HopPort>, mut wire: Wire) {
    let answers = async { while !wire.is_idle() && wire.next(&worker, &port).await.is_ok() {} };
    let _ = tokio::time::timeout(RECONNECT, answers).await;
    // Interleaved packets that were sent before the switch.
    let _ = tokio::time::timeout(TICK, async { while wire.next(&worker, &port).await.is_ok() {} }).await;
    wire.connection.close();
}

/// Makes a lost connection again.
async fn again(reach: &Reach, peer: &Rc<Peer>) -> Option<Wire> {
    let until = Instant::now() + RECONNECT;
    while Instant::now() < until && !*reach.worker.shared.stopping.borrow() {
        match attach(reach, peer).await {
            Ok(wire) => return Some(wire),
            Err(Error::Refused(why)) => {
                tracing::info!(peer = %peer.association.peer().id, why, "not taken back");
                return None;
            }
            Err(error) => tracing::debug!(peer = %peer.association.peer().id, %error, "not reached yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
    None
}

async fn attach(reach: &Reach, peer: &Rc<Peer>) -> Result<Wire, Error> {
    let Reach { worker, settings, url, port } = reach;
    let association = &peer.association;
    let local = HopPort::address(worker).await?;
    let Dialled { connection, identity, is_member, .. } = connect(worker, settings, url).await?;
    if !is_member {
        return Err(Error::Refused("whoever is there now is no member".to_owned()));
    }
    let epoch = association.next_epoch().ok_or(Error::Stopped)?;
    association.prepare(&connection, epoch, identity)?;
    let control = association.control_inlet().ok_or(Error::Stopped)?;
    let mut wire = wire(worker, settings, url, connection);
    let begun = begin(worker, port, &mut wire, association.id, epoch, &control, local.port());
    let timeout = |_| Error::UpstreamTimeout { endpoint: url.to_string(), request: "re-attach".into() };
    let response = tokio::time::timeout(settings.timeout, begun).await.map_err(timeout)??;
    if !response.is_success() {
        let status = response.status;
        return Err(Error::Refused(format!("the member goes on with no such association: {status}")));
    }
    header(&wire, &response)?;
    association.switch()?;
    Ok(wire)
}
