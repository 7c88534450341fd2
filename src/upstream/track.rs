//! Setting up one track with an upstream, over the transport that both sides can do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use msm_rtsp::client::setup_answer;
use msm_rtsp::sdp::Track;
use msm_rtsp::transport::{Delivery, Lower, Mode, TransportSpec};
use msm_udp::Transmit;

use super::link::{Link, OnFrames};
use crate::error::Error;
use crate::hub::dest::Dest;
use crate::hub::receive::PeerCheck;
use crate::net::multicast;
use crate::net::pair::Pair;
use crate::routing::{ClusterSettings, Transport};

/// A track that was set up.
pub(crate) struct UpstreamTrack {
    /// Sockets and who may send to them, unless it is interleaved.
    pub(crate) sockets: Option<(Pair, PeerCheck)>,
    /// Channels, where it is.
    pub(crate) channels: Option<(u8, u8)>,
    /// Where we send to: reports to a source, everything to a sink.
    pub(crate) dest: Dest,
    /// The upstream's address for packets that open the way through a NAT.
    punch: Option<(SocketAddr, SocketAddr)>,
}

/// Sets up a track: the first transport of `order` that the server takes. What it took is all that is left in `order`
/// for the tracks that follow, as players and servers want one transport for a session.
#[expect(clippy::too_many_arguments, reason = "two call sites, each argument of another kind")]
pub(crate) async fn set_up(
    link: &mut Link,
    settings: &ClusterSettings,
    order: &mut Vec<Transport>,
    number: u8,
    url: &str,
    track: Option<&Track>,
    mode: Mode,
    frames: &mut OnFrames<'_>,
) -> Result<UpstreamTrack, Error> {
    let mut last = link.protocol("no transport is left to try");
    for transport in order.clone() {
        match try_transport(link, settings, transport, number, url, track, mode, frames).await {
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

/// The transports to try for a cluster. Where signalling is encrypted, media does not go in the clear.
pub(crate) fn order(link: &Link, transport: Transport, mode: Mode) -> Vec<Transport> {
    match (transport, mode) {
        (Transport::Auto, _) if link.is_tls() => vec![Transport::Tcp],
        (Transport::Auto, Mode::Play) => vec![Transport::Udp, Transport::Tcp, Transport::Multicast],
        (Transport::Auto, Mode::Record) => vec![Transport::Udp, Transport::Tcp],
        (one, _) => vec![one],
    }
}

#[expect(clippy::too_many_arguments, reason = "one call site, each argument of another kind")]
async fn try_transport(
    link: &mut Link,
    settings: &ClusterSettings,
    transport: Transport,
    number: u8,
    url: &str,
    track: Option<&Track>,
    mode: Mode,
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
            let first = number.saturating_mul(2);
            TransportSpec::tcp((first, first.saturating_add(1)))
        }
        Transport::Multicast => TransportSpec::multicast(),
    };
    offer.mode = mode;
    let response = link.demand("SETUP", |client, now| client.setup(now, url, &offer), frames).await?;
    let answer = setup_answer(&response).map_err(|error| link.protocol(error.to_string()))?;
    if answer.lower != offer.lower || answer.delivery != offer.delivery {
        return Err(link.protocol(format!("SETUP asked for {offer} and was answered {answer}")));
    }
    match (answer.lower, answer.delivery) {
        (Lower::Tcp, _) => {
            let channels = answer.interleaved.or(offer.interleaved).unwrap_or((0, 1));
            let connection = Rc::clone(&link.connection);
            let dest = Dest::Tcp { connection, rtp_channel: channels.0, rtcp_channel: channels.1 };
            Ok(UpstreamTrack { sockets: None, channels: Some(channels), dest, punch: None })
        }
        (Lower::Udp, Delivery::Multicast) => join(link, settings, &answer, track),
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
            Ok(UpstreamTrack { sockets: Some((pair, check)), channels: None, dest, punch })
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
    Ok(UpstreamTrack { sockets: Some((pair, check)), channels: None, dest, punch: None })
}

impl UpstreamTrack {
    /// Opens the way back through NATs and firewalls, before media is asked for. Servers take these for junk.
    pub(crate) fn punch(&self) {
        let (Some((pair, _)), Some((rtp_to, rtcp_to))) = (&self.sockets, self.punch) else { return };
        let packet = |destination, contents| Transmit {
            destination,
            contents,
            segment_size: None,
            ecn: None,
            src_ip: None,
        };
        // An RTP header without payload, and an empty receiver report.
        let _ = pair.rtp.send(&packet(rtp_to, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        let _ = pair.rtcp.send(&packet(rtcp_to, &[0x80, 201, 0, 1, 0, 0, 0, 0]));
    }
}
