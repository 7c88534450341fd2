//! Whether RTP of a stream comes from a server.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use msm_core::cluster::CheckFailure;
use msm_core::rtp::{Header, is_rtcp};
use msm_rtsp::client::Described;
use msm_rtsp::message::Method;
use msm_rtsp::sdp::Track;
use msm_rtsp::transport::Mode;
use msm_udp::Received;
use tokio::sync::Notify;

use super::ask::Failed;
use super::live::Live;
use crate::error::Error;
use crate::net::udp::canonical;
use crate::routing::ClusterSettings;
use crate::upstream::link::Link;
use crate::upstream::track::{Ask, UpstreamTrack, order, set_up};
use crate::worker::Worker;

/// Reads one track of the stream as a session would, until packets of now have come, and takes its leave.
pub(super) async fn flows(
    worker: &Rc<Worker>,
    settings: &ClusterSettings,
    mut link: Box<Link>,
    described: &Described,
    until: tokio::time::Instant,
) -> Result<(), Failed> {
    let outcome = tokio::time::timeout_at(until, play(worker, settings, &mut link, described)).await;
    if link.client.session().is_some() {
        let mut ignore = |_: u8, _: &mut [u8], _: &[(usize, usize)]| {};
        // The check's own time ends this, at the latest.
        let aggregate = &described.aggregate;
        let _ = link.ask(|client, now| client.control(now, Method::Teardown, aggregate), &mut ignore).await;
    }
    outcome.unwrap_or(Err(Failed::Endpoint(CheckFailure::Silent)))
}

/// The track that is read: the first that has pictures, else the first.
pub(super) fn best(tracks: &[Track]) -> usize {
    tracks.iter().position(|track| track.media == "video").unwrap_or(0)
}

async fn play(
    worker: &Worker,
    settings: &ClusterSettings,
    link: &mut Link,
    described: &Described,
) -> Result<(), Failed> {
    let tracks = &described.description.tracks;
    let number = best(tracks);
    let (Some(url), Some(track)) = (described.setup.get(number), tracks.get(number)) else {
        return Err(CheckFailure::Protocol.into());
    };
    let seen = Seen { live: RefCell::default(), came: Cell::new(false), told: Notify::new(), track };
    let ask = Ask {
        number: 0,
        url,
        mode: Mode::Play,
        track: Some(track),
        announced: None,
        answered: None,
        feedback: false,
    };
    let mut transports = order(link, settings.transport, Mode::Play, tracks.iter().all(Track::is_secure));
    let mut ignore = |_: u8, _: &mut [u8], _: &[(usize, usize)]| {};
    let up = set_up(link, settings, &mut transports, &ask, &mut ignore).await?;
    up.punch();
    let rtp = up.channels.map(|(rtp, _)| rtp);
    let mut frames = |channel: u8, bytes: &mut [u8], parts: &[(usize, usize)]| {
        if Some(channel) == rtp {
            seen.look(&up, bytes, parts.iter().copied());
        }
    };
    let aggregate = &described.aggregate;
    link.demand("PLAY", |client, now| client.play(now, aggregate, &[]), &mut frames).await?;
    while !seen.came.get() {
        tokio::select! {
            biased;
            // Goes on until the server says something else.
            told = link.next(&mut frames) => drop(told?),
            () = seen.told.notified() => {}
            received = receive(worker, &up, &seen) => received?,
        }
    }
    Ok(())
}

/// Waits for datagrams of the track's server once.
async fn receive(worker: &Worker, up: &UpstreamTrack, seen: &Seen<'_>) -> Result<(), Error> {
    let Some((pair, check)) = &up.sockets else { return std::future::pending().await };
    let received = pair.rtp.receive(&worker.buffers, |received| {
        let Received { bytes, stride, source, .. } = received;
        let source = canonical(source);
        if check.ip.is_none_or(|ip| ip == source.ip())
            && check.ports.is_none_or(|(rtp, _)| rtp == source.port())
        {
            let (length, stride) = (bytes.len(), stride.max(1));
            let places = (0..length).step_by(stride).map(|at| (at, stride.min(length - at)));
            seen.look(up, bytes, places);
        }
    });
    received.await.map_err(|error| Error::socket("socket of a check".to_owned(), error))
}

/// Whether media of now has come.
struct Seen<'t> {
    live: RefCell<Live>,
    came: Cell<bool>,
    /// Told then.
    told: Notify,
    track: &'t Track,
}

impl Seen<'_> {
    /// Media is RTP of a payload type that was described; where it is SRTP, it must be genuine.
    fn look(&self, up: &UpstreamTrack, bytes: &mut [u8], places: impl Iterator<Item = (usize, usize)>) {
        let now = Instant::now();
        let look = |bytes: &[u8], (offset, length): (usize, usize)| {
            let packet = bytes.get(offset..offset.saturating_add(length)).unwrap_or_default();
            if packet.get(1).copied().is_some_and(is_rtcp) {
                return;
            }
            let Ok(header) = Header::parse(packet) else { return };
            let format = self.track.formats.iter().find(|format| format.number == header.payload_type);
            let is_live = |rate| self.live.borrow_mut().take(now, &header, rate);
            if format.is_some_and(|format| is_live(format.clock_rate)) {
                self.came.set(true);
                self.told.notify_one();
            }
        };
        match &up.secure {
            None => places.for_each(|place| look(bytes, place)),
            Some(secure) => secure.open(bytes, places, &mut |_| {}, |bytes, parts| {
                parts.iter().for_each(|place| look(bytes, *place));
            }),
        }
    }
}
