//! Packets that wait a bounded time for company, so that a fan-out sends fuller bursts (route option `coalesce`).

use std::time::{Duration, Instant};

use msm_core::burst::{Burst, MAX_RUN_BYTES, MAX_SEGMENTS, SegmentTable};

/// What one track holds back: packets of one size, of which the last may be shorter. One GSO send takes all of them.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    size: usize,
    packets: usize,
    /// Arrival of the first packet; `None` when nothing is held.
    since: Option<Instant>,
}

impl Held {
    /// Whether a packet of `len` bytes may follow what is held.
    fn takes(&self, len: usize) -> bool {
        self.packets < MAX_SEGMENTS
            && len <= self.size
            && self.bytes.len() == self.size * self.packets
            && self.bytes.len() + len <= MAX_RUN_BYTES
    }
}

/// Joins packets of each track into bursts. No packet waits longer than the delay, and none overtakes another of its
/// track.
pub(crate) struct Coalescer {
    delay: Duration,
    tracks: Vec<Held>,
    table: SegmentTable,
}

impl Coalescer {
    /// A coalescer for the tracks of a stream; `None` where the delay is zero, as then nothing is ever held.
    pub(crate) fn new(delay: Duration, tracks: usize) -> Option<Self> {
        let held = std::iter::repeat_with(Held::default).take(tracks);
        (!delay.is_zero()).then(|| Self { delay, tracks: held.collect(), table: SegmentTable::new() })
    }

    /// Takes a packet. `full` gets the track's burst as soon as no other packet can join it.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        track: usize,
        packet: &[u8],
        full: &mut impl FnMut(usize, &mut Burst<'_>),
    ) {
        let Self { tracks, table, .. } = self;
        let Some(held) = tracks.get_mut(track) else { return };
        if !held.takes(packet.len()) {
            flush(held, table, track, full);
        }
        if held.since.is_none() {
            held.since = Some(now);
            held.size = packet.len();
        }
        held.bytes.extend_from_slice(packet);
        held.packets += 1;
        // Smaller ones could join, but packets of a stream that fills its bursts have one size.
        if !held.takes(held.size) {
            flush(held, table, track, full);
        }
    }

    /// When the next burst has waited long enough.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.tracks.iter().filter_map(|held| held.since).min().map(|since| since + self.delay)
    }

    /// Hands over what has waited long enough.
    pub(crate) fn handle_timeout(&mut self, now: Instant, full: &mut impl FnMut(usize, &mut Burst<'_>)) {
        for (track, held) in self.tracks.iter_mut().enumerate() {
            if held.since.is_some_and(|since| since + self.delay <= now) {
                flush(held, &mut self.table, track, full);
            }
        }
    }

    /// Hands over everything: what comes next must not be joined to it.
    pub(crate) fn flush(&mut self, full: &mut impl FnMut(usize, &mut Burst<'_>)) {
        for (track, held) in self.tracks.iter_mut().enumerate() {
            flush(held, &mut self.table, track, full);
        }
    }
}

fn flush(
    held: &mut Held,
    table: &mut SegmentTable,
    track: usize,
    full: &mut impl FnMut(usize, &mut Burst<'_>),
) {
    if let Some(since) = held.since.take() {
        full(track, &mut Burst::from_gro(&mut held.bytes, held.size, since, 0, table));
    }
    held.bytes.clear();
    held.packets = 0;
    held.size = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(5);

    /// A valid packet of `len` bytes with this sequence number.
    fn packet(sequence: u8, len: usize) -> Vec<u8> {
        let mut packet = vec![0; len];
        packet[0] = 0x80;
        packet[3] = sequence;
        packet
    }

    /// Track, and sequence numbers of a burst.
    type Seen = Vec<(usize, Vec<u16>)>;

    fn note(seen: &mut Seen) -> impl FnMut(usize, &mut Burst<'_>) {
        |track, burst| {
            assert_eq!(burst.runs().count(), 1, "one send takes it");
            let numbers = burst.segments().iter().map(|segment| segment.header.sequence).collect();
            seen.push((track, numbers));
        }
    }

    #[test]
    fn without_a_delay_there_is_none() {
        assert!(Coalescer::new(Duration::ZERO, 2).is_none());
    }

    #[test]
    fn packets_of_a_track_join_until_the_first_has_waited_long_enough() {
        let mut coalescer = Coalescer::new(DELAY, 2).unwrap();
        let start = Instant::now();
        let mut seen = Seen::new();
        assert_eq!(coalescer.poll_timeout(), None);
        coalescer.push(start, 0, &packet(1, 100), &mut note(&mut seen));
        coalescer.push(start + DELAY / 5, 1, &packet(7, 50), &mut note(&mut seen));
        coalescer.push(start + DELAY / 2, 0, &packet(2, 100), &mut note(&mut seen));
        assert_eq!(coalescer.poll_timeout(), Some(start + DELAY));
        coalescer.handle_timeout(start + DELAY - Duration::from_nanos(1), &mut note(&mut seen));
        assert_eq!(seen, []);
        coalescer.handle_timeout(start + DELAY, &mut note(&mut seen));
        assert_eq!(seen, [(0, vec![1, 2])]);
        assert_eq!(coalescer.poll_timeout(), Some(start + DELAY / 5 + DELAY));
        coalescer.flush(&mut note(&mut seen));
        assert_eq!(seen, [(0, vec![1, 2]), (1, vec![7])]);
        assert_eq!(coalescer.poll_timeout(), None);
    }

    #[test]
    fn a_burst_leaves_at_once_when_nothing_can_join_it() {
        let mut coalescer = Coalescer::new(DELAY, 1).unwrap();
        let now = Instant::now();
        let mut seen = Seen::new();
        coalescer.push(now, 0, &packet(1, 100), &mut note(&mut seen));
        // A shorter one ends a burst; a longer one begins the next.
        coalescer.push(now, 0, &packet(2, 60), &mut note(&mut seen));
        assert_eq!(std::mem::take(&mut seen), [(0, vec![1, 2])]);
        coalescer.push(now, 0, &packet(3, 60), &mut note(&mut seen));
        coalescer.push(now, 0, &packet(4, 100), &mut note(&mut seen));
        assert_eq!(std::mem::take(&mut seen), [(0, vec![3])]);
        coalescer.flush(&mut note(&mut seen));
        seen.clear();
        for sequence in 0..MAX_SEGMENTS as u8 {
            coalescer.push(now, 0, &packet(sequence, 20), &mut note(&mut seen));
        }
        assert_eq!(seen.len(), 1);
        seen.clear();
        for sequence in 0..50 {
            coalescer.push(now, 0, &packet(sequence, 1400), &mut note(&mut seen));
        }
        assert_eq!(seen, [(0, (0..46).collect::<Vec<u16>>())], "what fits into one datagram's length");
    }

    #[test]
    fn packets_of_no_track_are_not_kept() {
        let mut coalescer = Coalescer::new(DELAY, 1).unwrap();
        coalescer.push(Instant::now(), 1, &packet(1, 100), &mut |_, _| panic!("nobody reads it"));
        assert_eq!(coalescer.poll_timeout(), None);
    }
}
