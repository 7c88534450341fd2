//! SETUP: the choice of a transport, and the session that it begins or adds to.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use msm_core::rng::Rng;
use msm_core::route::Action;
use msm_rtsp::hop::{HEADER, HopHeader};
use msm_rtsp::message::{Method, Request, Response, Version};
use msm_rtsp::profile::Profile;
use msm_rtsp::sdp::Description;
use msm_rtsp::server::{self, Offer, negotiate, takes_early_feedback};
use msm_rtsp::transport::{Delivery, Lower, Mode, TransportSpec};
use msm_rtsp::url::{MatchPolicy, RtspUrl, Target, match_control, match_track};

use super::describe::{parse, properties};
use super::keys::{self, TrackKeys};
use super::{Refusal, authorize, open, session_id, via_of};
use crate::hop::accept;
use crate::hop::association::Association;
use crate::hub::dest::Dest;
use crate::hub::handle::HubHandle;
use crate::hub::receive::PeerCheck;
use crate::hub::registry::HubKey;
use crate::hub::rtx::{self, Again, RtxPlan};
use crate::routing::{Ask, Resolved};
use crate::serve::admission::Refused;
use crate::serve::connection::{Announced, Channel, Context};
use crate::serve::group;
use crate::serve::listener::Listening;
use crate::serve::publisher::{Inlet, PublisherRole, TrackInlet};
use crate::serve::reader::{Path, ReaderRole, TrackPath};
use crate::serve::route_seats::{RouteFull, RouteSeat};
use crate::serve::session::{self, Grant, Owner, Role, Session, SessionState};
use crate::upstream::pull;
use crate::worker::Worker;

pub(super) async fn setup(
    context: &Rc<Context>,
    request: &Request,
    asked: Instant,
) -> Result<Response, Refusal> {
    let listening = context.listener().ok_or_else(|| Refusal::new(503, "shutting down"))?;
    let worker = &context.worker;
    let origin = Origin { peer: context.peer_ip(), local: context.local.ip(), owner: context.owner(), asked };
    let own = session_id(context, request);
    let place = own.as_ref().and_then(|id| worker.shared.sessions.worker_of(id));
    if let (Some(id), Some(place)) = (&own, place.filter(|place| *place != worker.id)) {
        let (id, index, request) = (id.clone(), listening.index, request.clone());
        let elsewhere = worker.shared.worker(place)?.run(move |worker| async move {
            let listening = worker.listener(index).ok_or_else(|| Refusal::new(503, "shutting down"))?;
            at(&worker, None, listening, origin, &request, Some(id)).await
        });
        return elsewhere.await?;
    }
    at(worker, Some(context), listening, origin, request, own).await
}

/// Sets a track up on the worker that the session lives on, or is to live on; `context` is the connection that the
/// request came on, if that is of this worker too.
async fn at(
    worker: &Rc<Worker>,
    context: Option<&Rc<Context>>,
    listening: Rc<Listening>,
    origin: Origin,
    request: &Request,
    own: Option<String>,
) -> Result<Response, Refusal> {
    let (base, track) =
        match_control(&request.uri, usize::MAX).ok_or_else(|| Refusal::new(404, "the URI names no track"))?;
    parse(&base)?;
    // Media goes through a connection of the session's own worker only.
    // Where signalling is encrypted, media does not go in the clear.
    let clear = listening.shared().settings.tls.is_none();
    let between_members = listening.shared().settings.member.is_some();
    let multicast = clear && listening.shared().groups.is_some();
    let srtp = keys::wanted(context, announced_track, &base, track, request)?;
    let offer = Offer { udp: clear, tcp: context.is_some(), multicast, srtp };
    let hop = context.and_then(|context| context.association()).map(|association| {
        let header = request.headers.get(HEADER).and_then(HopHeader::parse);
        header.map(|header| Hop { association, header })
    });
    let spec = match &hop {
        // A session of another association lives where this connection is not: it has no hop here either.
        None | Some(None) if between_members => {
            return Err(Refusal::new(461, "between members media goes by `Msm-Hop` alone"));
        }
        Some(_) => member_transport(request.headers.get("Transport")),
        None => negotiate(request.headers.get("Transport"), offer),
    }
    .map_err(|status| Refusal::new(status, "no transport offered can be served"))?;
    let own = match own {
        Some(id) => {
            let session = worker.sessions.get(&id).filter(|session| session.owner == origin.owner);
            Some(session.ok_or_else(|| Refusal::new(454, "the session is not known, or has timed out"))?)
        }
        None => None,
    };
    let announced = context.filter(|_| spec.mode == Mode::Record);
    let (base, track) =
        announced.and_then(|context| announced_track(context, &request.uri)).unwrap_or((base, track));
    let setting =
        Setting { worker, context, listening, origin, request, base, track, spec, hop: hop.flatten() };
    match setting.spec.mode {
        Mode::Record => setting.publisher(own).await,
        Mode::Play => setting.reader(own).await,
    }
}

/// The transport between members: SRTP on the flows that `Msm-Hop` names.
fn member_transport(header: Option<&str>) -> Result<TransportSpec, u16> {
    let specs = TransportSpec::parse_list(header.ok_or(461_u16)?);
    let usable = |spec: &TransportSpec| {
        spec.profile == Profile::Savp && spec.lower == Lower::Udp && spec.delivery == Delivery::Unicast
    };
    let chosen = specs.into_iter().find(usable).ok_or(461_u16)?;
    Ok(TransportSpec {
        profile: chosen.profile,
        mode: chosen.mode,
        rtcp_mux: true,
        ..TransportSpec::default()
    })
}

/// Which track of what was announced on this connection a URI means: publishers name tracks by the controls of their own
/// description, in whatever way they number them.
fn announced_track(context: &Context, uri: &str) -> Option<(String, Option<usize>)> {
    context.announced.borrow().iter().find_map(|(base, announced)| {
        let target = target(uri, base, &announced.description)?;
        Some((base.clone(), target.track(announced.description.tracks.len())))
    })
}

/// What a URI means in a description of a publisher's own.
fn target(uri: &str, base: &str, description: &Description) -> Option<Target> {
    let controls: Vec<&str> =
        description.tracks.iter().map(|track| track.control.as_deref().unwrap_or_default()).collect();
    match_track(uri, base, &controls, MatchPolicy::default())
}

/// Who asks.
#[derive(Clone)]
struct Origin {
    peer: IpAddr,
    owner: Owner,
    /// The address that the client knows us by.
    local: IpAddr,
    /// When the request came.
    asked: Instant,
}

struct Setting<'a> {
    worker: &'a Rc<Worker>,
    /// The connection, if it is of the session's worker.
    context: Option<&'a Rc<Context>>,
    listening: Rc<Listening>,
    origin: Origin,
    request: &'a Request,
    /// The presentation's URL, as the client asked for it.
    base: String,
    track: Option<usize>,
    spec: TransportSpec,
    /// Between members, how.
    hop: Option<Hop>,
}

/// A SETUP between members.
struct Hop {
    association: Rc<Association>,
    header: HopHeader,
}

impl Hop {
    fn of(&self) -> (&Rc<Association>, &HopHeader) {
        (&self.association, &self.header)
    }
}

impl Setting<'_> {
    async fn reader(self, own: Option<Rc<Session>>) -> Result<Response, Refusal> {
        let worker = self.worker;
        let seed = worker.shared.seed();
        let session = match own {
            Some(session) => session,
            None => {
                let quota = worker.shared.readers.take()?;
                let (handle, resolved) = self.stream().await?;
                self.track_of(handle.tracks().len())?;
                let seat =
                    worker.shared.seats.take(&resolved, Action::Read).map_err(|full| self.full(&full))?;
                let reads = resolved.key();
                let role = ReaderRole::new(handle.lease(), resolved.protection, seed, quota);
                return self.begin(Role::Reader(role), Some(reads), seat).await;
            }
        };
        self.add(&session).await
    }

    /// The presentation.
    fn url(&self) -> Result<RtspUrl, Refusal> {
        let listener = self.listening.shared();
        let settings = &listener.settings;
        Ok(parse(&self.base)?.over(settings.tls.is_some() || settings.member.is_some()))
    }

    /// The stream for a new reader: the one that all share, or one of its own.
    async fn stream(&self) -> Result<(Arc<HubHandle>, Resolved), Refusal> {
        let worker = self.worker;
        let url = self.url()?;
        let via = via_of(worker, self.request);
        let (resolved, handle) = open(worker, &url, via.clone(), &self.ask(Action::Read)).await?;
        if !handle.unshared {
            return Ok((handle, resolved));
        }
        // The first reader takes the one that was described; whoever comes next gets another.
        worker.shared.registry.forget(&resolved.key(), handle.id);
        if handle.worker == worker.id && handle.claim() {
            return Ok((handle, resolved));
        }
        let own = pull::open(worker, &resolved, None, via).await?;
        own.claim();
        Ok((own, resolved))
    }

    /// What routes look at.
    fn ask(&self, action: Action) -> Ask<'_> {
        self.origin.owner.ask(action, &self.listening.shared().settings.name, &self.request.headers)
    }

    /// The route has as many sessions as it may.
    fn full(&self, full: &RouteFull) -> Refusal {
        self.worker.shared.metrics.count_authorization(full.decision(), &full.route);
        // The client is one too many; the process has room (`RFC 2326 §11.3.5`).
        Refusal::new(453, full.to_string())
    }

    async fn publisher(self, own: Option<Rc<Session>>) -> Result<Response, Refusal> {
        if let Some(session) = own {
            return self.add(&session).await;
        }
        let announced: Announced = self
            .context
            .and_then(|context| context.announced.borrow().get(&self.base).cloned())
            .ok_or_else(|| Refusal::new(455, "nothing was announced at this URL on this connection"))?;
        let url = self.url()?;
        let resolved = authorize(self.worker, &url, &self.ask(Action::Publish))?;
        self.track_of(announced.description.tracks.len())?;
        let seat = self.worker.shared.seats.take(&resolved, Action::Publish);
        let seat = seat.map_err(|full| self.full(&full))?;
        let role = PublisherRole::new(announced, resolved, url.to_string());
        self.begin(Role::Publisher(Box::new(role)), None, seat).await
    }

    fn track_of(&self, tracks: usize) -> Result<usize, Refusal> {
        match self.track {
            Some(track) if track < tracks => Ok(track),
            None if tracks == 1 => Ok(0),
            Some(track) => Err(Refusal::new(404, format!("track {track} of {tracks}"))),
            None => Err(Refusal::new(459, "SETUP of the presentation: name a track of it")),
        }
    }

    /// A session's first SETUP.
    async fn begin(self, role: Role, reads: Option<HubKey>, seat: RouteSeat) -> Result<Response, Refusal> {
        let worker = Rc::clone(self.worker);
        let context = self.context.ok_or_else(|| Refusal::new(454, "the session is not known"))?;
        let settings = worker.shared.settings();
        let now = Instant::now();
        let pass =
            worker.shared.admission.session(self.origin.peer, now).map_err(|refused| match refused {
                Refused::SessionsPerPeer => Refusal::new(453, "limit `sessions_per_peer` is reached"),
                Refused::SetupRate => Refusal::new(503, "limit `setup_rate` is reached"),
            })?;
        let machine =
            server::Session::new(worker.shared.session_seed(), settings.session_timeout, self.spec.mode);
        let asked = Some(context.first_asked.take(&self.base).unwrap_or(self.origin.asked));
        let grant = Grant {
            id: machine.id().to_owned(),
            worker: worker.id,
            owner: self.origin.owner.clone(),
            url: self.url()?,
            listener: self.listening.shared().settings.name.clone(),
            headers: self.request.headers.clone(),
            version: self.request.version,
            reads: Mutex::new(reads),
            publishes: match &role {
                Role::Reader(_) => None,
                Role::Publisher(publisher) => Some(publisher.resolved.publish_key()),
            },
            sent: Mutex::default(),
        };
        let state = SessionState { machine, role, url: self.base.clone(), asked, _seat: seat };
        let session = session::create(
            &worker,
            grant,
            self.hop.as_ref().map(|hop| &hop.association),
            &context.connection,
            state,
            pass,
        );
        context.adopt(&session);
        let pipeline = self.request.headers.get("Pipelined-Requests").map(str::to_owned);
        let outcome = self.add(&session).await;
        if outcome.is_err() {
            session::remove(&worker, &session.id);
            return outcome;
        }
        if let Some(pipeline) = pipeline {
            let mut pipelines = context.pipelines.borrow_mut();
            // As many as the connection has sessions.
            pipelines.retain(|_, id| worker.sessions.get(id).is_some());
            pipelines.insert(pipeline, session.id.clone());
        }
        outcome
    }

    async fn add(self, session: &Rc<Session>) -> Result<Response, Refusal> {
        session.touch(Instant::now());
        let mut state = session.state.lock().await;
        let state = &mut *state;
        if state.url != self.base {
            return Err(Refusal::new(459, "the session is of another presentation"));
        }
        state.machine.check(&Method::Setup).map_err(|status| Refusal::new(status, "not in this state"))?;
        let tracks = match &state.role {
            Role::Reader(reader) => reader.lease.tracks().len(),
            Role::Publisher(publisher) => publisher.description.tracks.len(),
        };
        let named = match &state.role {
            Role::Publisher(publisher) => target(&self.request.uri, &state.url, &publisher.description),
            Role::Reader(_) => None,
        };
        let track = match named {
            Some(target) => target.track(tracks).ok_or_else(|| Refusal::new(404, "no such track"))?,
            None => self.track_of(tracks)?,
        };
        // Only what succeeds is kept: a track that could not be set up may be tried again.
        let mut machine = state.machine.clone();
        machine
            .set_up(track, self.spec.mode)
            .map_err(|status| Refusal::new(status, "this track is set up already, or the mode differs"))?;
        let mut answer = TransportSpec { destination: None, ..self.spec.clone() };
        let mut told = None;
        let mut key_mgmt: Option<zeroize::Zeroizing<String>> = None;
        match &mut state.role {
            Role::Reader(reader) => {
                // Before anything is taken for the track: what is refused for its key holds no channels and ports.
                let keys = if self.is_secured() {
                    // Never without: what is to be SRTP does not go in the clear.
                    let context =
                        self.context.ok_or_else(|| Refusal::new(461, "the keys are another connection's"))?;
                    Some(TrackKeys::of_reader(context, self.request, &self.base, track)?)
                } else {
                    None
                };
                let path = match &self.hop {
                    Some(hop) => {
                        reader.fresh |= hop.header.fresh.unwrap_or_default();
                        let (inlet, outlet) = accept::flows(&hop.association, &hop.header)?;
                        let handle = reader.lease.handle();
                        let description = &handle.description;
                        let latency = description.tracks.get(track).map(|described| {
                            accept::protect_reader(
                                hop.of(),
                                &outlet,
                                described,
                                &reader.protection,
                                &handle.name,
                            )
                        });
                        let latency = latency.transpose()?.flatten();
                        told = Some(HopHeader {
                            label: Some(inlet.label.ssrc()),
                            latency,
                            first: latency.map(|_| outlet.next_number()),
                            ..HopHeader::default()
                        });
                        answer.ssrc = Some(outlet.label.ssrc());
                        Path::Hop { inlet, outlet }
                    }
                    None => self.path(session, reader.lease.handle(), track, &mut answer).await?,
                };
                if let Some(keys) = &keys {
                    answer.ssrc = Some(keys.own.ssrc);
                    key_mgmt = keys.header(&self.request.uri)?;
                }
                let secure = keys.map(|keys| keys.protect(&self.base, track)).transpose()?;
                let ssrc = answer.ssrc.unwrap_or_default();
                if secure.is_some() {
                    // Not told: GStreamer's srtpdec then asks for the key of the source that it sees, under its lock. Told,
                    // it sets the key up beside that lock, and the first report, which comes on another thread, finds it
                    // half done: the player dies.
                    answer.ssrc = None;
                }
                let again = self.again(reader, track, &path, ssrc);
                reader.tracks.push(TrackPath { track, ssrc, path, secure, again });
            }
            Role::Publisher(publisher) => {
                let keys = self
                    .is_secured()
                    .then(|| TrackKeys::of_publisher(publisher, self.request, track))
                    .transpose()?;
                let inlet = match &self.hop {
                    Some(hop) => {
                        let (inlet, outlet) = accept::flows(&hop.association, &hop.header)?;
                        let PublisherRole { description, resolved, .. } = &**publisher;
                        let wishes = description.tracks.get(track).map(|described| {
                            accept::protect_publisher(
                                hop.of(),
                                &inlet,
                                described,
                                &resolved.protection,
                                &self.base,
                            )
                        });
                        let wishes = wishes.transpose()?.unwrap_or_default();
                        told = Some(HopHeader { label: Some(inlet.label.ssrc()), ..wishes });
                        Inlet::Hop { inlet, outlet }
                    }
                    None => self.inlet(session, track, &mut answer)?,
                };
                let mut secure = None;
                if let Some(keys) = &keys {
                    key_mgmt = keys.header(&self.request.uri)?;
                    secure = Some((keys.own.ssrc, keys.protect(&self.base, track)?));
                }
                publisher.inlets.push(TrackInlet { track, inlet, secure });
            }
        }
        state.machine = machine;
        let mut response = Response::new(200)
            .with("Session", state.machine.header())
            .with("Transport", answer.write(self.request.version));
        if let Some(value) = key_mgmt {
            response = response.with("KeyMgmt", value.as_str());
        }
        if let Some(told) = told {
            response = response.with(HEADER, told.to_string());
        }
        if self.request.version == Version::V2_0 {
            let seekable = matches!(&state.role, Role::Reader(reader) if reader.lease.unshared);
            response = response.with("Accept-Ranges", "npt").with("Media-Properties", properties(seekable));
        }
        Ok(response)
    }

    /// Whether the track is SRTP of a plain hop.
    fn is_secured(&self) -> bool {
        self.hop.is_none() && self.spec.profile.is_secure()
    }

    /// How a reader gets what it lost. By TCP nothing is lost, and a group's readers are one.
    fn again(&self, reader: &ReaderRole, track: usize, path: &Path, media: u32) -> Option<Again> {
        if self.is_secured() || !matches!(path, Path::Shared { .. } | Path::Own { .. }) {
            return None;
        }
        let types = reader.lease.description.rtx_types().into_iter().nth(track).unwrap_or_default();
        rtx::history(&reader.protection)?;
        // What they were described with, and readers in another profile know nothing of.
        let types = Some(types).filter(|types| self.spec.profile == Profile::Avpf && !types.is_empty());
        let at_once =
            takes_early_feedback(self.request.headers.get("User-Agent"), reader.protection.nack_eager);
        let Some(types) = types else { return Some(Again::AsItWas { at_once }) };
        let mut rng = Rng::new(self.worker.shared.seed());
        // Another source than the media's.
        let ssrc = Some(rng.next_u32()).filter(|ssrc| *ssrc != media).unwrap_or(!media);
        Some(Again::Rtx(RtxPlan { ssrc, types, first: rng.next_u16() & 0x7fff }))
    }

    /// Where a reader's track goes.
    async fn path(
        &self,
        session: &Rc<Session>,
        handle: Arc<HubHandle>,
        track: usize,
        answer: &mut TransportSpec,
    ) -> Result<Path, Refusal> {
        let ssrc = Rng::new(self.worker.shared.seed()).next_u32();
        answer.ssrc = Some(ssrc);
        match (self.spec.lower, self.spec.delivery) {
            (Lower::Tcp, _) => {
                let (context, (rtp, rtcp)) = self.channels(session, track)?;
                answer.interleaved = Some((rtp, rtcp));
                Ok(Path::Interleaved { connection: Rc::clone(&context.connection), rtp, rtcp })
            }
            (Lower::Udp, Delivery::Multicast) => {
                handle.prepare().await?;
                let group = group::join(&self.worker.shared, self.listening.index, &handle).await?;
                let own = group.groups.get(track).ok_or_else(|| Refusal::new(404, "no such track"))?;
                answer.destination = Some(own.address);
                answer.port = Some((own.port, own.port.saturating_add(1)));
                answer.ttl = Some(own.ttl);
                answer.ssrc = None;
                answer.client_port = None;
                Ok(Path::Group(group))
            }
            (Lower::Udp, Delivery::Unicast) => {
                let (rtp_to, rtcp_to) = self.client_addresses()?;
                answer.source = Some(self.origin.local);
                let shared = self.listening.shared();
                if shared.settings.same_ip {
                    let pair = self.own_pair()?;
                    answer.server_port = Some(pair.ports());
                    return Ok(Path::Own { pair, rtp_to, rtcp_to });
                }
                answer.server_port = Some(self.listening.readers.ports());
                Ok(Path::Shared {
                    listener: self.listening.index,
                    rtp_to,
                    rtcp_to,
                    source: Some(self.origin.local),
                })
            }
        }
    }

    /// Where a publisher's track comes in.
    fn inlet(
        &self,
        session: &Rc<Session>,
        track: usize,
        answer: &mut TransportSpec,
    ) -> Result<Inlet, Refusal> {
        if self.spec.lower == Lower::Tcp {
            let (context, (rtp, rtcp)) = self.channels(session, track)?;
            answer.interleaved = Some((rtp, rtcp));
            return Ok(Inlet::Interleaved(Dest::Tcp {
                connection: Rc::clone(&context.connection),
                rtp_channel: rtp,
                rtcp_channel: rtcp,
            }));
        }
        let (rtp_to, rtcp_to) = self.client_addresses()?;
        let pair = self.own_pair()?;
        answer.server_port = Some(pair.ports());
        answer.source = Some(self.origin.local);
        let ports =
            Some((rtp_to.port(), rtcp_to.port())).filter(|_| !self.listening.shared().settings.same_ip);
        let check = PeerCheck { ip: Some(self.origin.peer), ports };
        let reports = Dest::Udp {
            rtp: Rc::clone(&pair.rtp),
            rtcp: Rc::clone(&pair.rtcp),
            rtp_to,
            rtcp_to,
            source: Some(self.origin.local),
        };
        Ok(Inlet::Udp { pair, check, reports })
    }

    /// The client's address with the ports that it named. What else it names as destination is not honoured: media
    /// never goes to somebody who did not ask for it.
    fn client_addresses(&self) -> Result<(SocketAddr, SocketAddr), Refusal> {
        let (rtp, rtcp) = self.spec.client_port.ok_or_else(|| Refusal::new(461, "no client_port"))?;
        let ip = self.origin.peer;
        Ok((SocketAddr::new(ip, rtp), SocketAddr::new(ip, rtcp)))
    }

    fn own_pair(&self) -> Result<crate::net::pair::Pair, Refusal> {
        let shared = self.listening.shared();
        shared.ports.bind(shared.settings.address.ip(), &shared.settings.options).map_err(|error| {
            Refusal::from(crate::error::Error::socket(
                format!("listener `{}`: UDP ports from 16384 to 32767 for one client", shared.settings.name),
                error,
            ))
        })
    }

    /// The channels that the client asked for, or the next that are free, of its connection.
    fn channels(&self, session: &Rc<Session>, track: usize) -> Result<(&Rc<Context>, (u8, u8)), Refusal> {
        let context =
            self.context.ok_or_else(|| Refusal::new(461, "media cannot go through this connection"))?;
        let mut channels = context.channels.borrow_mut();
        channels.retain(|_, channel| channel.session.strong_count() > 0);
        let free = |pair: &(u8, u8)| {
            !channels.contains_key(&pair.0) && !channels.contains_key(&pair.1) && pair.0 != pair.1
        };
        let next = (0..=254u8).step_by(2).map(|first| (first, first + 1)).find(free);
        let (rtp, rtcp) = self
            .spec
            .interleaved
            .filter(free)
            .or(next)
            .ok_or_else(|| Refusal::new(461, "all channels of this connection are in use"))?;
        for (channel, rtcp) in [(rtp, false), (rtcp, true)] {
            channels.insert(channel, Channel { session: Rc::downgrade(session), track, rtcp });
        }
        Ok((context, (rtp, rtcp)))
    }
}
