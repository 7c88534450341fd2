//! What was opened, on its way to the hub: with its original numbers, in order, and together.

use std::ops::Range;
use std::time::Instant;

use msm_core::hop::{Part, Rejoin, Trailer};
use msm_fec::order::Verdict;

use super::{Inlet, Target};

/// What leaves together.
#[derive(Default)]
pub(super) struct Gathered {
    rejoin: Rejoin,
    pub(super) parts: Vec<(usize, usize)>,
}

impl Inlet {
    /// Whether a packet of a protected flow leaves now.
    pub(super) fn is_admitted(
        &self,
        now: Instant,
        gathered: &mut Gathered,
        (index, path): (u64, usize),
        bytes: &mut [u8],
        place: Range<usize>,
    ) -> bool {
        loop {
            let verdict = match (self.receiving.borrow_mut().as_mut(), bytes.get(place.clone())) {
                (Some(receiving), Some(packet)) => receiving.handle_packet(now, path, index, packet),
                _ => return false,
            };
            match verdict {
                Verdict::Pass => return true,
                Verdict::Again => self.deliver_ready(now, gathered, bytes),
                _ => return false,
            }
        }
    }

    /// Takes what is the hop's own off a packet; it leaves with the next delivery.
    pub(super) fn gather(
        &self,
        now: Instant,
        gathered: &mut Gathered,
        index: u64,
        bytes: &mut [u8],
        place: Range<usize>,
    ) {
        let start = place.start;
        let Some(packet) = bytes.get_mut(place) else { return };
        let Some((length, part)) = self.restore(index, packet) else { return };
        let Gathered { rejoin, parts } = gathered;
        if part == Part::Whole {
            parts.push((start, length));
            return;
        }
        let Some(plain) = packet.get(..length) else { return };
        if let Some(joined) = rejoin.handle(index, part, plain) {
            let whole = joined.len();
            // In order: what came before it goes before it.
            if !parts.is_empty() {
                self.deliver(now, bytes, parts);
                parts.clear();
            }
            self.deliver(now, joined, &[(0, whole)]);
        }
    }

    /// Gives a packet its original number back: its length without the trailer, and which part of it this is.
    fn restore(&self, index: u64, packet: &mut [u8]) -> Option<(usize, Part)> {
        let Ok(trailer) = Trailer::read(packet.get(12..).unwrap_or_default()) else {
            self.port.counters.add("hop_trailer", 1);
            return None;
        };
        let Some(original) = self.line.borrow_mut().handle(index, trailer.original) else {
            self.port.counters.add("hop_number_unknown", 1);
            return None;
        };
        if let Some(sequence) = packet.get_mut(2..4) {
            sequence.copy_from_slice(&original.to_be_bytes());
        }
        Some((packet.len().checked_sub(trailer.len())?, trailer.part))
    }

    pub(super) fn deliver_gathered(&self, now: Instant, gathered: &mut Gathered, bytes: &mut [u8]) {
        if !gathered.parts.is_empty() {
            self.deliver(now, bytes, &gathered.parts);
            gathered.parts.clear();
        }
    }

    /// Delivers what had to wait and may leave now, behind what was gathered of `bytes`.
    pub(super) fn deliver_ready(&self, now: Instant, gathered: &mut Gathered, bytes: &mut [u8]) {
        let ready = self.receiving.borrow_mut().as_mut().and_then(|receiving| {
            let ready = receiving.take_ready();
            match receiving.take_foreign() {
                0 => {}
                foreign => self.port.counters.add("hop_beside_foreign", foreign),
            }
            ready
        });
        let Some((mut ready, places)) = ready else { return };
        self.deliver_gathered(now, gathered, bytes);
        for (index, at, length) in &places {
            self.gather(now, gathered, *index, &mut ready, *at..*at + *length);
        }
        self.deliver_gathered(now, gathered, &mut ready);
        if let Some(receiving) = self.receiving.borrow_mut().as_mut() {
            receiving.give_back(ready, places);
        }
    }

    pub(super) fn deliver(&self, now: Instant, bytes: &mut [u8], parts: &[(usize, usize)]) {
        match &*self.target.borrow() {
            Target::Media { home, track } => {
                if let Some(home) = home.upgrade() {
                    home.handle_parts(now, *track, bytes, parts);
                }
            }
            _ => self.port.counters.add("hop_not_playing", parts.len() as u64),
        }
    }
}
