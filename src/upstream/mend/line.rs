//! The packets of one source, in order.

use std::time::Instant;

use msm_core::burst::{Burst, SegmentTable};
use msm_fec::nack::Arrival;
use msm_fec::order::{Source, Verdict};

use super::{Deliver, Line, Mended, Offer, pass};

impl Line {
    /// A packet went by before the line began.
    pub(super) fn begin(&mut self, now: Instant, sequence: u16) {
        let index = self.numbers.unwrap(sequence);
        self.requester.handle_packet(now, index, Arrival::Media);
        let _ = self.window.handle_packet(now, index, Source::Media, &[]);
    }

    /// Whether the burst is what was expected, and goes on as it is: nothing is missing or out of order.
    #[inline]
    pub(super) fn pass_run(&mut self, ssrc: u32, offer: &Offer, burst: &mut Burst<'_>) -> bool {
        let Some(first) = burst.segments().first().map(|own| own.header.sequence) else { return true };
        let mut next = first;
        for segment in burst.segments() {
            let header = &segment.header;
            let own = segment.valid && header.ssrc == ssrc && header.sequence == next;
            if !own || offer.is_repair(header.payload_type) {
                return false;
            }
            next = next.wrapping_add(1);
        }
        let count = burst.segments().len() as u64;
        let index = self.numbers.peek(first);
        if self.numbers.highest().is_none() || self.window.handle_run(index, count) != count {
            return false;
        }
        self.numbers.unwrap(next.wrapping_sub(1));
        self.requester.handle_run(burst.arrival(), index, count);
        if let Some(fec) = &mut self.fec {
            for (index, segment) in (index..).zip(burst.segments()) {
                if let Some(packet) = burst.bytes().get(segment.range()) {
                    fec.handle_source(index, packet);
                }
            }
        }
        self.renumber(burst);
        true
    }

    /// A packet of the line came, in whatever way.
    #[expect(clippy::too_many_arguments, reason = "the borrowed parts of a Mend")]
    pub(super) fn take(
        &mut self,
        now: Instant,
        arrival: Instant,
        index: u64,
        source: Source,
        packet: &mut [u8],
        offer: &Offer,
        table: &mut SegmentTable,
        deliver: &mut Deliver<'_>,
    ) {
        if let Some(fec) = &mut self.fec {
            fec.handle(index, packet);
        }
        let mut scratch = Vec::new();
        for _ in 0..3 {
            match self.window.handle_packet(now, index, source, packet) {
                Verdict::Pass => return self.hand_on(arrival, packet, offer, table, deliver),
                Verdict::Held => return,
                // There is room once what waits has left.
                Verdict::Again => self.drain(offer, table, &mut scratch, deliver),
                // The ingest knows what to do with them, unless their numbers are not what they were.
                Verdict::Duplicate | Verdict::Late | Verdict::Stray => {
                    if self.fec.is_none() {
                        pass(arrival, packet, table, deliver);
                    }
                    return;
                }
            }
        }
    }

    /// Hands on what waited and does not have to any more.
    pub(super) fn drain(
        &mut self,
        offer: &Offer,
        table: &mut SegmentTable,
        scratch: &mut Vec<u8>,
        deliver: &mut Deliver<'_>,
    ) {
        while let Some(ready) = self.window.poll_ready() {
            scratch.clear();
            scratch.extend_from_slice(ready.packet);
            let since = ready.since;
            self.hand_on(since, scratch, offer, table, deliver);
        }
        while self.window.poll_event().is_some() {}
        while self.requester.poll_event().is_some() {}
    }

    /// What repair packets give back.
    pub(super) fn repair(
        &mut self,
        now: Instant,
        offer: &Offer,
        table: &mut SegmentTable,
        scratch: &mut Vec<u8>,
        deliver: &mut Deliver<'_>,
    ) {
        loop {
            let Some((index, packet)) = self.fec.as_mut().and_then(super::fec::Fec::poll_recovered) else {
                return;
            };
            scratch.clear();
            scratch.extend_from_slice(packet);
            self.requester.handle_packet(now, index, Arrival::Repaired);
            let mut recovered = std::mem::take(scratch);
            self.take(now, now, index, Source::Fec, &mut recovered, offer, table, deliver);
            *scratch = recovered;
            self.drain(offer, table, scratch, deliver);
        }
    }

    /// The next packet of the line leaves. One that repairs others stays here, and its number is taken out of the line.
    fn hand_on(
        &mut self,
        arrival: Instant,
        packet: &mut [u8],
        offer: &Offer,
        table: &mut SegmentTable,
        deliver: &mut Deliver<'_>,
    ) {
        let mut burst = Burst::from_gro(packet, 0, arrival, 0, table);
        if burst.segments().first().is_some_and(|own| Some(own.header.payload_type) == offer.ulpfec) {
            self.shift = self.shift.wrapping_sub(1);
            return;
        }
        self.renumber(&mut burst);
        deliver(&mut burst);
    }

    fn renumber(&self, burst: &mut Burst<'_>) {
        if self.shift == 0 {
            return;
        }
        let (bytes, segments) = burst.parts_mut();
        for segment in segments.iter_mut().filter(|segment| segment.valid) {
            segment.header.sequence = segment.header.sequence.wrapping_add(self.shift);
            let number = bytes.get_mut(segment.range()).and_then(|packet| packet.get_mut(2..4));
            if let Some(number) = number {
                number.copy_from_slice(&segment.header.sequence.to_be_bytes());
            }
        }
    }

    pub(super) fn mended(&self) -> Mended {
        let stats = self.window.stats();
        let useless = self.fec.as_ref().map_or(0, super::fec::Fec::refused);
        Mended { by_nack: stats.recovered_nack, by_fec: stats.recovered_fec, useless }
    }
}
