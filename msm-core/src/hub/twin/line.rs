//! What one source has brought of a track lately.

use super::REMEMBERED;
use crate::rtp::Header;
use crate::seq;

/// Where counting starts: far from both ends, and so that the low 16 bits are the sequence number.
const FIRST: u32 = 0x4000_0000;

/// One packet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    /// The sequence number, made one that does not wrap in the time that anything is remembered.
    pub(super) number: u32,
    pub(super) timestamp: u32,
    /// When it came, in milliseconds from some time on.
    pub(super) arrival: u32,
    /// What its payload is told by; 0 for none.
    pub(super) print: u64,
    /// Where it is kept, and how long it is.
    pub(super) place: u64,
    pub(super) len: u16,
    pub(super) marker_pt: u8,
}

impl Entry {
    /// With the sequence number as its number, until a line gives it its own.
    pub(super) fn of(header: &Header) -> Self {
        Entry {
            number: header.sequence.into(),
            timestamp: header.timestamp,
            marker_pt: header.marker_pt(),
            ..Entry::default()
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Line {
    entries: Box<[Entry]>,
    /// Those of the entries, once more: they are searched.
    prints: Box<[u64]>,
    newest: Option<u32>,
    pub(super) ssrc: u32,
}

impl Line {
    pub(super) fn new() -> Self {
        Line {
            entries: vec![Entry::default(); REMEMBERED].into(),
            prints: vec![0; REMEMBERED].into(),
            newest: None,
            ssrc: 0,
        }
    }

    pub(super) fn newest(&self) -> Option<u32> {
        self.newest
    }

    pub(super) fn clear(&mut self) {
        self.prints.fill(0);
        self.newest = None;
    }

    /// The number that is nearest to the newest one.
    pub(super) fn number_of(&self, sequence: u16) -> u32 {
        match self.newest {
            Some(newest) => newest.wrapping_add_signed(seq::distance(newest as u16, sequence).into()),
            None => FIRST | u32::from(sequence),
        }
    }

    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&Entry> {
        let at = slot(number);
        self.prints.get(at).filter(|print| **print != 0)?;
        self.entries.get(at).filter(|entry| entry.number == number)
    }

    /// Remembers a packet; `false` for one that is too old.
    pub(super) fn put(&mut self, entry: Entry) -> bool {
        let ahead = self.newest.map_or(1, |newest| ahead(newest, entry.number));
        if ahead <= -(REMEMBERED as i32) {
            return false;
        }
        if ahead > 0 {
            self.newest = Some(entry.number);
        }
        let at = slot(entry.number);
        if let (Some(slot), Some(print)) = (self.entries.get_mut(at), self.prints.get_mut(at)) {
            (*slot, *print) = (entry, entry.print);
        }
        true
    }

    /// Packets whose payload is told by `print`.
    pub(super) fn find(&self, print: u64) -> impl Iterator<Item = &Entry> {
        let newest = self.newest.unwrap_or_default();
        let alike = self.prints.iter().zip(self.entries.iter()).filter(move |(own, _)| **own == print);
        // What was never overwritten since is not of these times.
        alike.map(|(_, entry)| entry).filter(move |entry| ahead(entry.number, newest) < REMEMBERED as i32)
    }

    /// The packet with this sequence number, if it is remembered.
    pub(super) fn with_sequence(&self, sequence: u16) -> Option<&Entry> {
        self.get(self.number_of(sequence))
    }
}

fn slot(number: u32) -> usize {
    number as usize % REMEMBERED
}

/// How far `to` is ahead of `from`.
#[inline]
pub(super) fn ahead(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}
