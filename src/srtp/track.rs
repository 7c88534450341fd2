//! The two directions of one track.

use std::cell::RefCell;

use msm_auth::srtp::{Receiver, Sender, SrtpError};
use msm_core::burst::MAX_RUN_BYTES;
use msm_core::hub::{Kind, Outgoing, SendOutcome};

use super::{OwnKey, PeerKey};
use crate::error::Error;

/// Protects what goes to a track's peer, and opens what comes from it.
pub(crate) struct SecureTrack {
    sender: RefCell<Sender>,
    receiver: RefCell<Receiver>,
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
            sender: RefCell::new(own.sender()?),
            receiver: RefCell::new(peer.receiver()?),
            parts: RefCell::default(),
            rtcp: RefCell::default(),
        })
    }

    /// How long so many packets become.
    pub(crate) fn protected_len(&self, packets: &Outgoing<'_>, count: usize) -> usize {
        packets.bytes.len().saturating_add(count.saturating_mul(self.added(packets.kind)))
    }

    fn added(&self, kind: Kind) -> usize {
        let sender = self.sender.borrow();
        match kind {
            Kind::Rtp => sender.rtp_overhead(),
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
        let Outgoing { track, kind, segment, ecn, .. } = *packets;
        let added = self.added(kind);
        let mut sender = self.sender.borrow_mut();
        let grown = segment.saturating_add(added);
        let mut outcome = SendOutcome::Failed;
        out.clear();
        for packet in packets.bytes.chunks(segment.max(1)) {
            let length = packet.len() + added;
            if !out.is_empty() && out.len() + length > MAX_RUN_BYTES {
                outcome = send(Outgoing { track, kind, bytes: out, segment: grown, ecn });
                out.clear();
            }
            let start = out.len();
            out.extend_from_slice(packet);
            out.resize(start + length, 0);
            let Some(room) = out.get_mut(start..) else { continue };
            let protected = match kind {
                Kind::Rtp => sender.protect_rtp(room, packet.len()),
                Kind::Rtcp => sender.protect_rtcp(room, packet.len()),
            };
            if protected != Ok(length) {
                refused();
                out.truncate(start);
            }
        }
        if !out.is_empty() {
            outcome = send(Outgoing { track, kind, bytes: out, segment: grown, ecn });
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
            match receiver.unprotect_rtp(packet) {
                Ok(opened) => parts.push((offset, opened.len)),
                Err(error) => refused(error),
            }
        }
        drop(receiver);
        if !parts.is_empty() {
            deliver(bytes, &parts);
        }
    }

    /// Opens an RTCP compound and hands it on.
    ///
    /// # Errors
    /// It is not genuine.
    pub(crate) fn open_rtcp(&self, datagram: &[u8], deliver: impl FnOnce(&[u8])) -> Result<(), SrtpError> {
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
        let outgoing = Outgoing { track: 0, kind: Kind::Rtp, bytes: &mut bytes, segment: 1172, ecn: 0 };
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
        let outgoing = Outgoing { track: 0, kind: Kind::Rtp, bytes: &mut bytes, segment: 1172, ecn: 0 };
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
        let outgoing = Outgoing { track: 0, kind: Kind::Rtcp, bytes: &mut bytes, segment: 8, ecn: 0 };
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
}
