//! The two parts of a packet become one again.

use super::split::SECOND_HEADER;
use super::trailer::Part;

/// Parts that wait for their other half, of one flow. More are not kept: the oldest gives way, and counts as lost.
pub const MAX_WAITING: usize = 8;

/// A part is given up when the flow is this many numbers further: its other half is lost.
pub const MAX_AGE: u64 = 64;

#[derive(Debug, Default)]
struct Waiting {
    /// The index of the first part.
    index: u64,
    part: Part,
    bytes: Vec<u8>,
    used: bool,
}

/// Joins parts of one flow's packets. Memory: [`MAX_WAITING`] packets, kept from one to the next.
#[derive(Debug, Default)]
pub struct Rejoin {
    waiting: Vec<Waiting>,
    incomplete: u64,
    joined: Vec<u8>,
}

impl Rejoin {
    /// Takes a part: its index on the hop, and the packet without its trailer. Yields the whole packet, with the first
    /// part's header, once both are there.
    pub fn handle(&mut self, index: u64, part: Part, packet: &[u8]) -> Option<&mut [u8]> {
        let first = match part {
            Part::Whole => return None,
            Part::First => index,
            Part::Second => index.checked_sub(1)?,
        };
        for waiting in &mut self.waiting {
            if waiting.used && waiting.index.saturating_add(MAX_AGE) < first {
                waiting.used = false;
                self.incomplete += 1;
            }
        }
        let other = self.waiting.iter_mut().find(|waiting| waiting.used && waiting.index == first);
        if let Some(other) = other {
            if other.part == part {
                return None;
            }
            other.used = false;
            let (head, tail) = match part {
                Part::Second => (other.bytes.as_slice(), packet),
                _ => (packet, other.bytes.as_slice()),
            };
            self.joined.clear();
            self.joined.extend_from_slice(head);
            self.joined.extend_from_slice(tail.get(SECOND_HEADER..).unwrap_or_default());
            return Some(&mut self.joined);
        }
        let slot = match self.waiting.iter().position(|waiting| !waiting.used) {
            Some(slot) => slot,
            None if self.waiting.len() < MAX_WAITING => {
                self.waiting.push(Waiting::default());
                self.waiting.len() - 1
            }
            None => {
                self.incomplete += 1;
                let oldest = self.waiting.iter().enumerate().min_by_key(|(_, waiting)| waiting.index);
                oldest.map_or(0, |(slot, _)| slot)
            }
        };
        if let Some(slot) = self.waiting.get_mut(slot) {
            slot.index = first;
            slot.part = part;
            slot.used = true;
            slot.bytes.clear();
            slot.bytes.extend_from_slice(packet);
        }
        None
    }

    /// Packets of which only one part came.
    pub fn incomplete(&self) -> u64 {
        self.incomplete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(fill: u8) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let first = [&[fill; 12][..], b"begin"].concat();
        let second = [&[0xff; 12][..], b"end"].concat();
        let whole = [&first[..], b"end"].concat();
        (first, second, whole)
    }

    #[test]
    fn parts_join_in_either_order() {
        let (first, second, whole) = parts(1);
        let mut rejoin = Rejoin::default();
        assert_eq!(rejoin.handle(10, Part::First, &first), None);
        assert_eq!(
            rejoin.handle(11, Part::Second, &second).map(|joined| joined.to_vec()),
            Some(whole.clone())
        );
        assert_eq!(rejoin.handle(21, Part::Second, &second), None);
        assert_eq!(rejoin.handle(20, Part::First, &first).map(|joined| joined.to_vec()), Some(whole));
        assert_eq!(rejoin.incomplete(), 0);
    }

    #[test]
    fn halves_that_stay_alone_are_given_up_within_bounds() {
        let (first, second, _) = parts(2);
        let mut rejoin = Rejoin::default();
        for index in 0..1000u64 {
            assert_eq!(rejoin.handle(index * 2, Part::First, &first), None);
        }
        assert_eq!(rejoin.waiting.len(), MAX_WAITING);
        assert_eq!(rejoin.incomplete(), 1000 - MAX_WAITING as u64);
        assert_eq!(rejoin.handle(5000, Part::First, &first), None);
        assert_eq!(rejoin.incomplete(), 1000);
        // A part of a packet that was given up finds nothing.
        assert_eq!(rejoin.handle(1999, Part::Second, &second), None);
        assert_eq!(rejoin.handle(0, Part::Second, &second), None);
    }

    #[test]
    fn a_second_part_shorter_than_a_header_adds_nothing() {
        let (first, ..) = parts(3);
        let mut rejoin = Rejoin::default();
        rejoin.handle(1, Part::First, &first);
        assert_eq!(rejoin.handle(2, Part::Second, &[0; 5]).map(|joined| joined.to_vec()), Some(first));
    }
}
