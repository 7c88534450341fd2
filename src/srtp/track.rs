//! The two directions of one track.

use std::cell::{Cell, RefCell};

use msm_auth::srtp::{Opened, Receiver, Sender, SrtpError};
use msm_core::burst::MAX_RUN_BYTES;
use msm_core::hub::{Kind, Outgoing, SendOutcome};

use super::{OwnKey, PeerKey};
use crate::error::Error;

/// So many packets in a row that cannot be opened are more than what an attacker slips in between: something is wrong.
const MISSES: u32 = 64;
/// Of those that follow, each so manieth is tried with another rollover counter: what a forged packet costs stays the
/// same but for a few.
const GUESS_EVERY: u32 = 16;
/// Rollovers that may have gone by unheard.
const MAX_ROLLOVERS: u32 = 16;

/// Protects what goes to a track's peer, and opens what comes from it.
pub(crate) struct SecureTrack {
    /// For logs: the stream, and the track of it.
    name: String,
    sender: RefCell<Sender>,
    receiver: RefCell<Receiver>,
    /// Our source, where the peer sends under the same key: what comes from it was ours, and was sent back.
    reflected: Option<u32>,
    /// Packets in a row that could not be opened.
    missed: Cell<u32>,
    /// Whether that was told.
    told: Cell<bool>,
    /// A copy of the packet that is opened by a guess.
    guess: RefCell<Vec<u8>>,
    /// The packets of the burst that is being opened.
    parts: RefCell<Vec<(usize, usize)>>,
    rtcp: RefCell<Vec<u8>>,
}

impl SecureTrack {
    /// A track whose peer knows `own` as our key.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the cryptographic library fails.
    pub(crate) fn new(own: &OwnKey, peer: &PeerKey) -> Result<Self, Error> {
        Ok(Self {
            name: String::new(),
            sender: RefCell::new(own.sender()?),
            receiver: RefCell::new(peer.receiver()?),
            reflected: (own.key.key_and_salt() == peer.key.key_and_salt()).then_some(own.ssrc),
            missed: Cell::new(0),
            told: Cell::new(false),
            guess: RefCell::default(),
            parts: RefCell::default(),
            rtcp: RefCell::default(),
        })
    }

    /// The same, called so in logs.
    pub(crate) fn named(self, stream: &str, track: usize) -> Self {
        Self { name: format!("{stream} track {track}"), ..self }
    }

    /// How long so many packets become.
    pub(crate) fn protected_len(&self, packets: &Outgoing<'_>, count: usize) -> usize {
        packets.bytes.len().saturating_add(count.saturating_mul(self.added(packets.kind)))
    }

    fn added(&self, kind: Kind) -> usize {
        let sender = self.sender.borrow();
        match kind {
            Kind::Rtp | Kind::Again => sender.rtp_overhead(),
            Kind::Rtcp => sender.rtcp_overhead(),
        }
    }

    /// Protects packets into `out`, and hands them on in runs as they came. `refused` counts those that cannot be.
    pub(crate) fn protect(
        &self,
        packets: &Outgoing<'_>,
        out: &mut Vec<u8>,
        refused: &mut dyn FnMut(),
        send: &mut dyn FnMut(Outgoing<'_>) -> SendOutcome,
    ) -> SendOutcome {
        let Outgoing { track, kind, segment, ecn, position, put_off, .. } = *packets;
        let added = self.added(kind);
        let mut sender = self.sender.borrow_mut();
        let grown = segment.saturating_add(added);
        let mut outcome = SendOutcome::Failed;
        out.clear();
        for packet in packets.bytes.chunks(segment.max(1)) {
            let length = packet.len() + added;
            if !out.is_empty() && out.len() + length > MAX_RUN_BYTES {
                outcome = send(Outgoing { track, kind, bytes: out, segment: grown, ecn, position, put_off });
                out.clear();
            }
            let start = out.len();
            out.extend_from_slice(packet);
            out.resize(start + length, 0);
            let Some(room) = out.get_mut(start..) else { continue };
            let protected = match kind {
                Kind::Rtp | Kind::Again => sender.protect_rtp(room, packet.len()),
                Kind::Rtcp => sender.protect_rtcp(room, packet.len()),
            };
            if protected != Ok(length) {
                refused();
                out.truncate(start);
            }
        }
        if !out.is_empty() {
            outcome = send(Outgoing { track, kind, bytes: out, segment: grown, ecn, position, put_off });
        }
        outcome
    }

    /// Opens RTP packets where they are and hands those on that are genuine.
    pub(crate) fn open(
        &self,
        bytes: &mut [u8],
        places: impl Iterator<Item = (usize, usize)>,
        refused: &mut dyn FnMut(SrtpError),
        deliver: impl FnOnce(&mut [u8], &[(usize, usize)]),
    ) {
        let mut receiver = self.receiver.borrow_mut();
        let mut parts = self.parts.borrow_mut();
        parts.clear();
        for (offset, length) in places {
            let Some(packet) = offset.checked_add(length).and_then(|end| bytes.get_mut(offset..end)) else {
                continue;
            };
            match self.open_one(&mut receiver, packet) {
                Ok(opened) => parts.push((offset, opened.len)),
                Err(error) => refused(error),
            }
        }
        drop(receiver);
        if !parts.is_empty() {
            deliver(bytes, &parts);
        }
    }

    fn open_one(&self, receiver: &mut Receiver, packet: &mut [u8]) -> Result<Opened, SrtpError> {
        self.refuse_own(packet, 8)?;
        let guesses = self.missed.get().checked_sub(MISSES).filter(|more| more % GUESS_EVERY == 0);
        let mut copy = self.guess.borrow_mut();
        if guesses.is_some() {
            // What cannot be opened is of no use afterwards.
            copy.clear();
            copy.extend_from_slice(packet);
        }
        let mut outcome = receiver.unprotect_rtp(packet);
        if let (Err(_), Some(guesses)) = (outcome, guesses) {
            packet.copy_from_slice(&copy);
            let rollovers = 1 + guesses / GUESS_EVERY % MAX_ROLLOVERS;
            outcome = receiver.unprotect_rtp_ahead(packet, rollovers).or(outcome);
        }
        match outcome {
            Ok(_) => self.missed.set(0),
            Err(error) => self.miss(error),
        }
        outcome
    }

    fn miss(&self, error: SrtpError) {
        self.missed.set(self.missed.get().wrapping_add(1).max(1));
        if self.missed.get() == MISSES && !self.told.replace(true) {
            tracing::warn!(
                stream = self.name,
                %error,
                "SRTP: {MISSES} packets in a row cannot be opened; either the key that the peer told is not that of its \
                 packets, or somebody else sends them"
            );
        }
    }

    /// Whether a packet, with its source at this place, is one of ours.
    fn refuse_own(&self, packet: &[u8], at: usize) -> Result<(), SrtpError> {
        let source = packet.get(at..).and_then(|rest| rest.first_chunk()).copied().map(u32::from_be_bytes);
        if self.reflected.is_some() && self.reflected == source { Err(SrtpError::Replayed) } else { Ok(()) }
    }

    /// Opens an RTCP compound and hands it on.
    ///
    /// # Errors
    /// It is not genuine.
    pub(crate) fn open_rtcp(&self, datagram: &[u8], deliver: impl FnOnce(&[u8])) -> Result<(), SrtpError> {
        self.refuse_own(datagram, 4)?;
        let mut plain = self.rtcp.borrow_mut();
        plain.clear();
        plain.extend_from_slice(datagram);
        let opened = self.receiver.borrow_mut().unprotect_rtcp(&mut plain)?;
        deliver(plain.get(..opened.len).unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::keys::SUITE;
    use msm_auth::srtp::Suite;
    use msm_rtsp::limits::Limits;
    use msm_rtsp::sdp::{Description, TrackWay};

    /// A track, and what its peer holds.
    fn pair() -> (SecureTrack, SecureTrack) {
        let (ours, theirs) = (OwnKey::new(SUITE, 7).unwrap(), OwnKey::new(SUITE, 8).unwrap());
        let peer = |own: &OwnKey| {
            let plain = Description::parse(b"v=0\r\nm=video 0 RTP/AVP 96\r\n", &Limits::default()).unwrap();
            let way = TrackWay { keying: Some(own.attributes().unwrap()), ..TrackWay::default() };
            let told = Description::parse(&plain.for_reader(false, &[way]), &Limits::default()).unwrap();
            match crate::srtp::Described::read(&told.tracks[0]) {
                Ok(crate::srtp::Described::Secure(Some(key))) => key,
                _ => panic!("no key"),
            }
        };
        (SecureTrack::new(&ours, &peer(&theirs)).unwrap(), SecureTrack::new(&theirs, &peer(&ours)).unwrap())
    }

    fn packet(sequence: u16, payload: usize) -> Vec<u8> {
        let [high, low] = sequence.to_be_bytes();
        let mut packet = vec![0x80, 96, high, low, 0, 0, 0, 0, 0, 0, 0, 7];
        packet.resize(12 + payload, 0x55);
        packet
    }

    #[test]
    fn a_burst_of_packets_goes_over_and_back() {
        let (from, to) = pair();
        let whole: Vec<Vec<u8>> =
            (0..60).map(|number| packet(number, 1160)).chain([packet(60, 100)]).collect();
        let mut bytes = whole.concat();
        let outgoing = Outgoing {
            track: 0,
            kind: Kind::Rtp,
            bytes: &mut bytes,
            segment: 1172,
            ecn: 0,
            position: None,
            put_off: None,
        };
        let (mut sent, mut refused) = (Vec::new(), 0);
        let outcome = from.protect(&outgoing, &mut Vec::new(), &mut || refused += 1, &mut |run| {
            assert!(run.bytes.len() <= MAX_RUN_BYTES);
            sent.push((run.bytes.to_vec(), run.segment));
            SendOutcome::Sent
        });
        assert_eq!((outcome, refused, sent.len()), (SendOutcome::Sent, 0, 2), "the tags make a second run");
        let mut opened = Vec::new();
        for (mut run, segment) in sent.clone() {
            let places: Vec<_> =
                (0..run.len()).step_by(segment).map(|at| (at, segment.min(run.len() - at))).collect();
            to.open(&mut run, places.into_iter(), &mut |error| panic!("{error}"), |bytes, parts| {
                opened.extend(parts.iter().map(|(at, length)| bytes[*at..at + length].to_vec()));
            });
        }
        assert_eq!(opened, whole);
        // The same again is neither opened nor protected a second time.
        let (mut run, segment) = sent[0].clone();
        let mut errors = Vec::new();
        to.open(&mut run, [(0, segment)].into_iter(), &mut |error| errors.push(error), |_, _| {
            panic!("a copy was delivered");
        });
        assert_eq!(errors, [SrtpError::Replayed]);
        let outgoing = Outgoing {
            track: 0,
            kind: Kind::Rtp,
            bytes: &mut bytes,
            segment: 1172,
            ecn: 0,
            position: None,
            put_off: None,
        };
        let outcome = from.protect(&outgoing, &mut Vec::new(), &mut || refused += 1, &mut |_| {
            panic!("a packet was protected twice")
        });
        assert_eq!((outcome, refused), (SendOutcome::Failed, 61));
    }

    #[test]
    fn reports_go_the_other_way() {
        let (from, to) = pair();
        let report = [0x80, 201, 0, 1, 0, 0, 0, 8];
        let mut bytes = report;
        let outgoing = Outgoing {
            track: 0,
            kind: Kind::Rtcp,
            bytes: &mut bytes,
            segment: 8,
            ecn: 0,
            position: None,
            put_off: None,
        };
        let mut wire = Vec::new();
        let _ = to.protect(&outgoing, &mut Vec::new(), &mut || panic!("refused"), &mut |run| {
            wire = run.bytes.to_vec();
            SendOutcome::Sent
        });
        assert!(msm_core::rtp::is_rtcp(wire[1]) && wire.len() > report.len());
        let mut got = None;
        from.open_rtcp(&wire, |plain| got = Some(plain.to_vec())).unwrap();
        assert_eq!(got.as_deref(), Some(&report[..]));
        assert_eq!(from.open_rtcp(&report, |_| panic!("plain")), Err(SrtpError::TooShort));
    }

    /// Protects a packet alone, as the wire has it.
    fn sealed(from: &SecureTrack, plain: &[u8], kind: Kind) -> Vec<u8> {
        let mut bytes = plain.to_vec();
        let segment = bytes.len();
        let outgoing =
            Outgoing { track: 0, kind, bytes: &mut bytes, segment, ecn: 0, position: None, put_off: None };
        let mut wire = Vec::new();
        let _ = from.protect(&outgoing, &mut Vec::new(), &mut || panic!("refused"), &mut |run| {
            wire = run.bytes.to_vec();
            SendOutcome::Sent
        });
        wire
    }

    fn is_opened(to: &SecureTrack, mut wire: Vec<u8>, plain: &[u8]) -> bool {
        let (length, mut opened) = (wire.len(), false);
        to.open(&mut wire, [(0, length)].into_iter(), &mut |_| {}, |bytes, parts| {
            assert_eq!(&bytes[..parts[0].1], plain);
            opened = true;
        });
        opened
    }

    #[test]
    fn a_long_loss_is_not_the_end_of_a_track() {
        for suite in [SUITE, Suite::AeadAes128Gcm] {
            // The first number, how many come, and how many are lost after them: one half of the numbers, all, several
            // times all; and the very first ones over a rollover.
            for (first, received, lost) in
                [(0, 66_000, 40_000), (0, 10, 70_000), (0, 10, 300_000), (65_000, 0, 1_000u32)]
            {
                let own = OwnKey::new(suite, 7).unwrap();
                let from = SecureTrack::new(&own, &PeerKey::of(&OwnKey::new(suite, 8).unwrap())).unwrap();
                let to = SecureTrack::new(&OwnKey::new(suite, 8).unwrap(), &PeerKey::of(&own)).unwrap();
                let mut number = first;
                for _ in 0..received {
                    let plain = packet(number as u16, 100);
                    assert!(is_opened(&to, sealed(&from, &plain, Kind::Rtp), &plain));
                    number += 1;
                }
                // Some are enough for the sender to know how often its numbers roll over.
                for number in (number..number + lost).step_by(500) {
                    sealed(&from, &packet(number as u16, 100), Kind::Rtp);
                }
                number += lost;
                let mut missed = 0;
                for number in number..number + 1000 {
                    let plain = packet(number as u16, 100);
                    let opened = is_opened(&to, sealed(&from, &plain, Kind::Rtp), &plain);
                    assert!(
                        opened || missed == number - first - received - lost,
                        "{number} after it went on"
                    );
                    missed += u32::from(!opened);
                }
                assert!(missed < 500, "{suite:?}, {lost} lost: {missed} of 1000 are not opened");
            }
        }
    }

    #[test]
    fn what_we_sent_does_not_come_from_the_peer() {
        // A peer that has told no key of its own reports under ours.
        let own = OwnKey::new(SUITE, 7).unwrap();
        let track = SecureTrack::new(&own, &PeerKey::of(&own)).unwrap();
        let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
        let wire = sealed(&track, &report, Kind::Rtcp);
        assert_eq!(track.open_rtcp(&wire, |_| panic!("our own report")), Err(SrtpError::Replayed));
        let plain = packet(1, 100);
        assert!(!is_opened(&track, sealed(&track, &plain, Kind::Rtp), &plain));
        let peer = SecureTrack::new(&PeerKey::of(&own).reuse(8), &PeerKey::of(&own)).unwrap();
        let report = [0x80, 201, 0, 1, 0, 0, 0, 8];
        assert_eq!(
            track.open_rtcp(&sealed(&peer, &report, Kind::Rtcp), |plain| assert_eq!(plain, report)),
            Ok(())
        );
    }
}
