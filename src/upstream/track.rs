//! Setting up one track with an upstream, over the transport that both sides can do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use msm_core::hub::{Kind, Outgoing, SendOutcome};
use msm_rtsp::client::setup_answer;
use msm_rtsp::message::Response;
use msm_rtsp::profile::Profile;
use msm_rtsp::sdp::Track;
use msm_rtsp::transport::{Delivery, Lower, Mode, TransportSpec};
use msm_udp::Transmit;
use zeroize::Zeroizing;

use super::link::{Link, OnFrames};
use crate::error::Error;
use crate::hub::dest::Dest;
use crate::hub::receive::PeerCheck;
use crate::net::multicast;
use crate::net::pair::Pair;
use crate::routing::{ClusterSettings, Transport};
use crate::srtp::{Described, OwnKey, PeerKey, Protocol, SUITE, SecureTrack, random_ssrc};

/// What is to be set up.
pub(crate) struct Ask<'a> {
    /// Its place in the presentation.
    pub(crate) number: u8,
    /// The URL for SETUP.
    pub(crate) url: &'a str,
    pub(crate) mode: Mode,
    /// How it was described to us.
    pub(crate) track: Option<&'a Track>,
    /// The key that it was announced with, of what we send.
    pub(crate) announced: Option<&'a OwnKey>,
    /// The key that the server answered the announcement with, of its reports.
    pub(crate) answered: Option<&'a PeerKey>,
    /// What is offered against loss in the profile that it was described with is used.
    pub(crate) feedback: bool,
}

/// A track that was set up.
pub(crate) struct UpstreamTrack {
    /// Sockets and who may send to them, unless it is interleaved.
    pub(crate) sockets: Option<(Pair, PeerCheck)>,
    /// Channels, where it is.
    pub(crate) channels: Option<(u8, u8)>,
    /// Where we send to: reports to a source, everything to a sink; before it is protected.
    pub(crate) dest: Dest,
    /// The source that what we send comes from.
    pub(crate) ssrc: u32,
    /// Where it is SRTP.
    pub(crate) secure: Option<Rc<SecureTrack>>,
    /// The upstream's address for packets that open the way through a NAT.
    punch: Option<(SocketAddr, SocketAddr)>,
}

/// Sets up a track: the first transport of `order` that the server takes. What it took is all that is left in `order`
/// for the tracks that follow, as players and servers want one transport for a session.
pub(crate) async fn set_up(
    link: &mut Link,
    settings: &ClusterSettings,
    order: &mut Vec<Transport>,
    ask: &Ask<'_>,
    frames: &mut OnFrames<'_>,
) -> Result<UpstreamTrack, Error> {
    let keys = Keys::of(link, settings, ask)?;
    let mut last = link.protocol("no transport is left to try");
    for transport in order.clone() {
        if link.is_tls() && transport != Transport::Tcp && matches!(keys, Keys::Plain) {
            // Whatever the order was made of.
            last = link.protocol(format!("track {}: would be sent in the clear beside TLS", ask.number));
            continue;
        }
        match try_transport(link, settings, transport, ask, &keys, frames).await {
            Ok(set_up) => {
                *order = vec![transport];
                return Ok(set_up);
            }
            Err(error @ Error::UpstreamStatus { status: 400 | 406 | 455 | 457 | 461 | 500..=599, .. }) => {
                last = error
            }
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// The transports to try for a cluster. Where signalling is encrypted, media does not go in the clear: `secure` says that
/// all of it is SRTP.
pub(crate) fn order(link: &Link, transport: Transport, mode: Mode, secure: bool) -> Vec<Transport> {
    match (transport, mode) {
        (Transport::Auto | Transport::Udp | Transport::Multicast, _) if link.is_tls() && !secure => {
            vec![Transport::Tcp]
        }
        (Transport::Auto, Mode::Play) => vec![Transport::Udp, Transport::Tcp, Transport::Multicast],
        (Transport::Auto, Mode::Record) => vec![Transport::Udp, Transport::Tcp],
        (one, _) => vec![one],
    }
}

/// What a track is protected with.
enum Keys {
    Plain,
    Secure {
        own: OwnKey,
        /// Known before SETUP, which may bring another.
        peer: Option<PeerKey>,
        /// Whether the server learns our key by SETUP.
        tell: bool,
    },
}

impl Keys {
    fn of(link: &Link, settings: &ClusterSettings, ask: &Ask<'_>) -> Result<Self, Error> {
        if let Some(own) = ask.announced {
            return Ok(Self::Secure { own: own.clone(), peer: ask.answered.cloned(), tell: true });
        }
        let refused = |why: &str| link.protocol(format!("track {}: {why}", ask.number));
        let described = ask.track.map_or(Ok(Described::Plain), Described::read);
        let peer = match described.map_err(|why| refused(&why))? {
            Described::Plain if settings.srtp => {
                return Err(refused("is described without encryption, and the cluster says `srtp: true`"));
            }
            Described::Plain => return Ok(Self::Plain),
            Described::Secure(peer) => peer,
        };
        if !link.is_tls() {
            tracing::warn!(
                upstream = link.name(),
                track = ask.number,
                "SRTP keys came in the clear: whoever is in between can read its media"
            );
        }
        let ssrc = random_ssrc()?;
        let own = match &peer {
            Some(peer) if peer.protocol == Protocol::Sdes => peer.reuse(ssrc),
            Some(peer) => OwnKey::new(peer.key.suite(), ssrc)?,
            None => OwnKey::new(SUITE, ssrc)?,
        };
        let tell = peer.as_ref().is_none_or(|peer| peer.protocol == Protocol::Mikey);
        Ok(Self::Secure { own, peer, tell })
    }

    /// The profile to ask for.
    fn profile(&self, ask: &Ask<'_>) -> Profile {
        let described = ask.track.and_then(Track::profile).unwrap_or_default();
        match self {
            // Servers that describe another profile take the plain one as well, which most clients ask for.
            Self::Plain if ask.feedback && ask.mode == Mode::Record => Profile::Avpf,
            Self::Plain if ask.feedback => described.plain(),
            Self::Plain => Profile::Avp,
            Self::Secure { .. } => described.secure(),
        }
    }

    /// The `KeyMgmt` header that tells our key.
    fn header(&self, url: &str) -> Result<Option<Zeroizing<String>>, Error> {
        match self {
            Self::Secure { own, tell: true, .. } => own.header(url).map(Some),
            Self::Plain | Self::Secure { .. } => Ok(None),
        }
    }

    /// What protects the track, now that the server has answered.
    fn agree(
        &self,
        link: &Link,
        ask: &Ask<'_>,
        response: &Response,
    ) -> Result<(u32, Option<Rc<SecureTrack>>), Error> {
        let Self::Secure { own, peer, .. } = self else { return Ok((random_ssrc()?, None)) };
        let refused = |why: &str| link.protocol(format!("track {}: {why}", ask.number));
        let told = PeerKey::from_headers(&response.headers, ask.url).map_err(|why| refused(&why))?;
        let peer = match (told.as_ref().or(peer.as_ref()), ask.mode) {
            (Some(peer), _) => peer.clone(),
            // Its reports come under our key, or not at all.
            (None, Mode::Record) => PeerKey::of(own),
            (None, Mode::Play) => return Err(refused("is described as SRTP, and no key of it is told")),
        };
        tracing::info!(
            upstream = link.name(),
            track = ask.number,
            suite = peer.key.suite().name(),
            keying = %peer.protocol,
            "SRTP"
        );
        let secure = SecureTrack::new(own, &peer)?.named(link.name(), ask.number.into());
        Ok((own.ssrc, Some(Rc::new(secure))))
    }
}

async fn try_transport(
    link: &mut Link,
    settings: &ClusterSettings,
    transport: Transport,
    ask: &Ask<'_>,
    keys: &Keys,
    frames: &mut OnFrames<'_>,
) -> Result<UpstreamTrack, Error> {
    let any: IpAddr =
        if link.local.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let mut pair = None;
    let mut offer = match transport {
        Transport::Udp | Transport::Auto => {
            let bound = settings
                .ports
                .bind(any, &settings.options)
                .map_err(|error| Error::socket(format!("cluster `{}`: ports", settings.name), error))?;
            let ports = bound.ports();
            pair = Some(bound);
            TransportSpec::udp(ports)
        }
        Transport::Tcp => {
            let first = ask.number.saturating_mul(2);
            TransportSpec::tcp((first, first.saturating_add(1)))
        }
        Transport::Multicast => TransportSpec::multicast(),
    };
    offer.mode = ask.mode;
    offer.profile = keys.profile(ask);
    let key_mgmt = keys.header(ask.url)?;
    let key_mgmt = key_mgmt.as_ref().map(|value| value.as_str());
    let response =
        link.demand("SETUP", |client, now| client.setup(now, ask.url, &offer, key_mgmt), frames).await?;
    let answer = setup_answer(&response).map_err(|error| link.protocol(error.to_string()))?;
    if answer.lower != offer.lower
        || answer.delivery != offer.delivery
        || answer.profile.is_secure() != offer.profile.is_secure()
    {
        return Err(link.protocol(format!("SETUP asked for {offer} and was answered {answer}")));
    }
    let (ssrc, secure) = keys.agree(link, ask, &response)?;
    match (answer.lower, answer.delivery) {
        (Lower::Tcp, _) => {
            let channels = answer.interleaved.or(offer.interleaved).unwrap_or((0, 1));
            let connection = Rc::clone(&link.connection);
            let dest = Dest::Tcp { connection, rtp_channel: channels.0, rtcp_channel: channels.1 };
            Ok(UpstreamTrack { sockets: None, channels: Some(channels), dest, ssrc, secure, punch: None })
        }
        (Lower::Udp, Delivery::Multicast) => {
            let joined = join(link, settings, &answer, ask.track)?;
            Ok(UpstreamTrack { ssrc, secure, ..joined })
        }
        (Lower::Udp, Delivery::Unicast) => {
            let pair = pair.ok_or_else(|| link.protocol("no sockets"))?;
            let source = answer.source.filter(|source| !source.is_unspecified()).unwrap_or(link.peer);
            let ports = answer.server_port.filter(|ports| ports.0 != 0);
            let check = PeerCheck { ip: Some(source), ports };
            let (rtp_port, rtcp_port) = ports.unwrap_or((0, 0));
            let (rtp_to, rtcp_to) = (SocketAddr::new(source, rtp_port), SocketAddr::new(source, rtcp_port));
            let dest = Dest::Udp {
                rtp: Rc::clone(&pair.rtp),
                rtcp: Rc::clone(&pair.rtcp),
                rtp_to,
                rtcp_to,
                source: None,
            };
            let punch = ports.map(|_| (rtp_to, rtcp_to));
            Ok(UpstreamTrack { sockets: Some((pair, check)), channels: None, dest, ssrc, secure, punch })
        }
    }
}

fn join(
    link: &Link,
    settings: &ClusterSettings,
    answer: &TransportSpec,
    track: Option<&Track>,
) -> Result<UpstreamTrack, Error> {
    let described = track.and_then(|track| track.group);
    let group = answer.destination.or(described.map(|(group, _)| group));
    let ports = answer.port.or(described.and_then(|(_, port)| Some((port, port.checked_add(1)?))));
    let (Some(group), Some((rtp_port, rtcp_port))) = (group.filter(IpAddr::is_multicast), ports) else {
        return Err(link.protocol(format!("SETUP was answered {answer}, which names no group and port")));
    };
    let source = track.and_then(|track| track.source_filter).or(answer.source);
    let open = |port| multicast::join(group, port, source, &settings.options);
    let sender = || multicast::sender(group.is_ipv6(), answer.ttl.unwrap_or(1), &settings.options);
    let (rtp, rtcp, sender) = open(rtp_port)
        .and_then(|rtp| Ok((rtp, open(rtcp_port)?, sender()?)))
        .map_err(|error| Error::socket(format!("cluster `{}`: group {group}", settings.name), error))?;
    let sender = Rc::new(sender);
    let dest = Dest::Udp {
        rtp: Rc::clone(&sender),
        rtcp: sender,
        rtp_to: SocketAddr::new(group, rtp_port),
        rtcp_to: SocketAddr::new(group, rtcp_port),
        source: None,
    };
    let pair = Pair { rtp: Rc::new(rtp), rtcp: Rc::new(rtcp) };
    // Whoever sends to the group is its source, unless the description filters.
    let check = PeerCheck { ip: source, ports: None };
    Ok(UpstreamTrack {
        sockets: Some((pair, check)),
        channels: None,
        dest,
        ssrc: 0,
        secure: None,
        punch: None,
    })
}

impl UpstreamTrack {
    /// Opens the way back through NATs and firewalls, before media is asked for. Servers take these for junk.
    pub(crate) fn punch(&self) {
        let (Some((pair, _)), Some((rtp_to, rtcp_to))) = (&self.sockets, self.punch) else { return };
        fn packet(destination: SocketAddr, contents: &[u8]) -> Transmit<'_> {
            Transmit { destination, contents, segment_size: None, ecn: None, src_ip: None }
        }
        // An RTP header without payload, and an empty receiver report.
        let _ = pair.rtp.send(&packet(rtp_to, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        let Some(secure) = &self.secure else {
            let _ = pair.rtcp.send(&packet(rtcp_to, &[0x80, 201, 0, 1, 0, 0, 0, 0]));
            return;
        };
        // What is not genuine is counted by servers as an attack.
        let [a, b, c, d] = self.ssrc.to_be_bytes();
        let mut report = [0x80, 201, 0, 1, a, b, c, d];
        let segment = report.len();
        let report = Outgoing {
            track: 0,
            kind: Kind::Rtcp,
            bytes: &mut report,
            segment,
            ecn: 0,
            position: None,
            put_off: None,
        };
        let _ = secure.protect(&report, &mut Vec::new(), &mut || {}, &mut |sealed| {
            let _ = pair.rtcp.send(&packet(rtcp_to, sealed.bytes));
            SendOutcome::Sent
        });
    }
}
