//! Packets in the order of their numbers.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::seq::Unwrapper;

/// Packets that wait for one before them at most; it counts as lost then.
pub(super) const WAITING: usize = 16;

/// Packets in a row from before what was taken that mean another beginning.
const RESTART: u32 = 16;

#[derive(Debug, Default)]
pub(super) struct Order {
    numbers: Unwrapper,
    next: Option<u64>,
    waiting: BTreeMap<u64, Bytes>,
    late: u32,
    /// It has begun anew: whatever was before is missing.
    anew: bool,
}

impl Order {
    pub(super) fn insert(&mut self, sequence: u16, packet: Bytes) {
        let mut number = self.numbers.unwrap(sequence);
        if self.next.is_some_and(|next| number < next) {
            self.late += 1;
            if self.late < RESTART {
                return;
            }
            *self = Self { anew: true, ..Self::default() };
            number = self.numbers.unwrap(sequence);
        }
        self.late = 0;
        self.waiting.insert(number, packet);
    }

    /// The next packet, and whether some are missing before it; `is_end`: what waits does not wait any longer.
    pub(super) fn take(&mut self, is_end: bool) -> Option<(bool, Bytes)> {
        let first = self.waiting.first_entry()?;
        let number = *first.key();
        let is_gap = self.next.is_some_and(|next| next != number);
        if is_gap && !is_end && self.waiting.len() <= WAITING {
            return None;
        }
        let (number, packet) = self.waiting.pop_first()?;
        self.next = Some(number + 1);
        Some((is_gap || std::mem::take(&mut self.anew), packet))
    }
}
