//! Lost packets of a plain upstream are asked for, or computed, as far as it offers that; then they go on in order.
//!
//! It stands before the ingest, which says whose packets these are. Packets of others, and what is no RTP, pass it untouched.

mod fec;
mod line;
mod offer;

#[cfg(test)]
mod tests;

use std::time::Instant;

use msm_core::burst::{Burst, SegmentTable};
use msm_core::rtcp::Writer;
use msm_core::rtp::Header;
use msm_core::seq::Unwrapper;
use msm_fec::nack::rtx::{Identity, restore};
use msm_fec::nack::wire::write_request;
use msm_fec::nack::{Arrival, Requester, RequesterConfig};
use msm_fec::order::{Limits, Source, Window};

use self::fec::Fec;
pub(crate) use self::offer::Offer;

/// Missing packets of a track that are tracked, at most; a larger step of its numbers is a new start.
const MAX_GAPS: usize = 1024;

/// Packets and bytes of a track that wait for those before them, at most.
const MAX_PACKETS: usize = 4096;
const MAX_BYTES: usize = 4 << 20;

/// Takes a burst that goes on.
pub(crate) type Deliver<'a> = dyn FnMut(&mut Burst<'_>) + 'a;

/// What became of a track's lost packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mended {
    pub(crate) by_nack: u64,
    pub(crate) by_fec: u64,
    /// Retransmissions and repair packets that were of no use.
    pub(crate) useless: u64,
}

impl Mended {
    pub(crate) fn add(self, other: Self) -> Self {
        Self {
            by_nack: self.by_nack + other.by_nack,
            by_fec: self.by_fec + other.by_fec,
            useless: self.useless + other.useless,
        }
    }
}

/// One track of a plain upstream.
pub(crate) struct Mend {
    offer: Offer,
    /// The source that the ingest is locked on, and its packets.
    line: Option<(u32, Line)>,
    /// The last packet that went by before a source was known.
    last: Option<(u32, u16)>,
    table: SegmentTable,
    scratch: Vec<u8>,
    /// Of lines before this one, and what no line has.
    before: Mended,
}

/// The packets of one source.
struct Line {
    numbers: Unwrapper,
    requester: Requester,
    window: Window,
    /// Where retransmissions come from, once one was of use.
    rtx: Option<u32>,
    fec: Option<Fec>,
    /// What is added to numbers, as repair packets among them are taken out.
    shift: u16,
}

impl Mend {
    pub(crate) fn new(offer: Offer) -> Self {
        Self {
            offer,
            line: None,
            last: None,
            table: SegmentTable::new(),
            scratch: Vec::new(),
            before: Mended::default(),
        }
    }

    /// Packets came, while the ingest is locked on `source`. `deliver` gets what goes on now.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        source: Option<u32>,
        burst: &mut Burst<'_>,
        deliver: &mut Deliver<'_>,
    ) {
        self.follow(now, source);
        let Some((ssrc, line)) = &mut self.line else {
            let is_media = |header: &Header| !self.offer.is_repair(header.payload_type);
            let valid = burst.segments().iter().filter(|own| own.valid && is_media(&own.header));
            self.last = valid.map(|own| (own.header.ssrc, own.header.sequence)).next_back();
            return deliver(burst);
        };
        if line.pass_run(*ssrc, &self.offer, burst) {
            return deliver(burst);
        }
        for place in 0..burst.segments().len() {
            let Some(segment) = burst.segments().get(place).copied() else { return };
            let arrival = burst.arrival();
            let (bytes, _) = burst.parts_mut();
            let Some(packet) = bytes.get_mut(segment.range()) else { continue };
            let header = segment.valid.then_some(&segment.header);
            self.handle_packet(now, arrival, header, packet, deliver);
        }
    }

    fn handle_packet(
        &mut self,
        now: Instant,
        arrival: Instant,
        header: Option<&Header>,
        packet: &mut [u8],
        deliver: &mut Deliver<'_>,
    ) {
        let (Some(header), Some((ssrc, line))) = (header, &mut self.line) else {
            return pass(arrival, packet, &mut self.table, deliver);
        };
        if let Some(original) = self.offer.original(header.payload_type) {
            let rtx = Identity { ssrc: line.rtx.unwrap_or(header.ssrc), payload_type: header.payload_type };
            // A source cannot send itself again: both would have one line of numbers.
            let restored = (rtx.ssrc != *ssrc)
                .then(|| restore(packet, rtx, Identity { ssrc: *ssrc, payload_type: original }).ok())
                .flatten();
            let Some((number, packet)) = restored else {
                self.before.useless += 1;
                return;
            };
            let index = line.numbers.peek(number);
            // What was not asked for is nobody's loss: only a gap lets it in.
            if !line.requester.is_missing(index) {
                self.before.useless += 1;
                return;
            }
            line.rtx = Some(rtx.ssrc);
            line.requester.handle_packet(now, index, Arrival::Retransmission);
            line.take(now, arrival, index, Source::Nack, packet, &self.offer, &mut self.table, deliver);
        } else if header.ssrc == *ssrc {
            let index = line.numbers.unwrap(header.sequence);
            // Where there are no retransmissions, the packet itself comes again.
            let again = self.offer.rtx.is_empty() && self.offer.nack && line.requester.is_missing(index);
            let (came, source) =
                if again { (Arrival::Retransmission, Source::Nack) } else { (Arrival::Media, Source::Media) };
            line.requester.handle_packet(now, index, came);
            line.take(now, arrival, index, source, packet, &self.offer, &mut self.table, deliver);
        } else {
            return pass(arrival, packet, &mut self.table, deliver);
        }
        self.drain(now, deliver);
    }

    /// Hands on what waited and does not have to any more.
    fn drain(&mut self, now: Instant, deliver: &mut Deliver<'_>) {
        let Some((_, line)) = &mut self.line else { return };
        line.drain(&self.offer, &mut self.table, &mut self.scratch, deliver);
        line.repair(now, &self.offer, &mut self.table, &mut self.scratch, deliver);
    }

    /// Time has come to `now`.
    pub(crate) fn handle_timeout(&mut self, now: Instant, deliver: &mut Deliver<'_>) {
        if let Some((_, line)) = &mut self.line {
            line.requester.handle_timeout(now);
            line.window.handle_timeout(now);
        }
        self.drain(now, deliver);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let (_, line) = self.line.as_ref()?;
        let requester = line.requester.poll_timeout().filter(|_| self.offer.nack).map(|(at, _)| at);
        requester.into_iter().chain(line.window.poll_timeout().map(|(at, _)| at)).min()
    }

    /// Writes a request that is due behind what the writer has; whether there was one. To be called until there is none.
    pub(crate) fn poll_request(&mut self, writer: &mut Writer<'_>, own_ssrc: u32) -> bool {
        let Some((ssrc, line)) = self.line.as_mut().filter(|_| self.offer.nack) else { return false };
        let Some(request) = line.requester.poll_transmit() else { return false };
        write_request(writer, own_ssrc, *ssrc, request.passes()).is_ok()
    }

    /// The upstream goes on elsewhere (a seek, another session): what is missing is no loss.
    pub(crate) fn restart(&mut self) {
        self.before = self.mended();
        self.line = None;
        self.last = None;
    }

    /// What became of lost packets, all in all.
    pub(crate) fn mended(&self) -> Mended {
        let line = self.line.as_ref().map(|(_, line)| line.mended()).unwrap_or_default();
        self.before.add(line)
    }

    /// The ingest is locked on another source: what waited of the old one comes too late.
    fn follow(&mut self, now: Instant, source: Option<u32>) {
        if self.line.as_ref().map(|(ssrc, _)| *ssrc) == source {
            return;
        }
        let last = self.last.take();
        self.restart();
        let Some(ssrc) = source else { return };
        let mut line = Line::new(ssrc, &self.offer);
        if let Some((_, sequence)) = last.filter(|(own, _)| *own == ssrc) {
            line.begin(now, sequence);
        }
        self.line = Some((ssrc, line));
    }
}

impl Line {
    fn new(ssrc: u32, offer: &Offer) -> Self {
        let requests = RequesterConfig {
            max_gaps: MAX_GAPS,
            // Peers answer each copy of a request, and know of no copies of an answer.
            max_requests: 1,
            max_answers: 1,
            ..RequesterConfig::new(offer.budget)
        };
        let waits = Limits { packets: MAX_PACKETS, bytes: MAX_BYTES, ..Limits::new(offer.budget) };
        Self {
            numbers: Unwrapper::new(),
            requester: Requester::new(requests),
            window: Window::new(waits),
            rtx: None,
            fec: offer.ulpfec.map(|payload_type| Fec::new(ssrc, payload_type)),
            shift: 0,
        }
    }
}

/// Hands on one packet as it is.
fn pass(arrival: Instant, packet: &mut [u8], table: &mut SegmentTable, deliver: &mut Deliver<'_>) {
    deliver(&mut Burst::from_gro(packet, 0, arrival, 0, table));
}
