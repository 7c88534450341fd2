//! Whether packets are of now, or were kept by a server whose source may be dead.

use std::time::{Duration, Instant};

use msm_core::rtp::Header;
use msm_core::seq;

/// Packets must come for so long: what was kept comes at once, or faster than it was made.
pub(super) const SPAN: Duration = Duration::from_millis(200);

/// So many times as fast as time passes is faster than it was made; servers that send at a pace what they have kept send it at four times that.
const FASTER: u32 = 3;

/// How much further media may be than that, as packets do not come evenly.
const UNEVEN: Duration = Duration::from_millis(100);

/// What has come of a track.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// The last packet that may have been kept, if any has come.
    since: Option<(Instant, Header)>,
    newest: u16,
}

impl Live {
    /// Takes a packet of media, by a clock of so many ticks a second; whether packets of now come.
    pub(super) fn take(&mut self, now: Instant, header: &Header, rate: u32) -> bool {
        let Some((at, first)) = self.since.as_ref().filter(|(_, first)| first.ssrc == header.ssrc) else {
            return self.begin(now, header);
        };
        if !seq::newer(header.sequence, self.newest) {
            return false;
        }
        self.newest = header.sequence;
        let passed = now.saturating_duration_since(*at);
        let ticks = seq::timestamp_distance(first.timestamp, header.timestamp).max(0).unsigned_abs();
        let media = Duration::from_secs_f64(f64::from(ticks) / f64::from(rate.max(1)));
        if media > passed * FASTER + UNEVEN {
            return self.begin(now, header);
        }
        passed >= SPAN
    }

    fn begin(&mut self, now: Instant, header: &Header) -> bool {
        (self.since, self.newest) = (Some((now, *header)), header.sequence);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 90_000;

    struct Line {
        live: Live,
        start: Instant,
    }

    impl Line {
        fn new() -> Self {
            Self { live: Live::default(), start: Instant::now() }
        }

        /// A packet that comes after so long, of so long after the first.
        fn packet(&mut self, millis: u64, media: u32, sequence: u16, ssrc: u32) -> bool {
            let mut bytes = vec![0x80, 96];
            bytes.extend(sequence.to_be_bytes());
            bytes.extend((media * (RATE / 1000)).wrapping_sub(40_000).to_be_bytes());
            bytes.extend(ssrc.to_be_bytes());
            let header = Header::parse(&bytes).unwrap();
            self.live.take(self.start + Duration::from_millis(millis), &header, RATE)
        }
    }

    #[test]
    fn what_goes_on_is_of_now() {
        // Five pictures a second, over the end of the numbers and of the timestamps.
        let mut line = Line::new();
        assert!(!line.packet(0, 0, 65_535, 7));
        assert!(line.packet(200, 200, 0, 7));
        // Sound by a clock that stands still, as some servers have it.
        let mut line = Line::new();
        assert_eq!((0..12).position(|number| line.packet(number * 20, 0, number as u16, 7)), Some(10));
        // Behind two seconds that were kept.
        let mut line = Line::new();
        assert!((0..50).all(|number| !line.packet(3, number * 40, number as u16, 7)));
        assert!((50..54).all(|number| !line.packet(
            u64::from(number - 49) * 40,
            number * 40,
            number as u16,
            7
        )));
        assert!(line.packet(240, 54 * 40, 54, 7));
    }

    #[test]
    fn what_was_kept_is_not() {
        // At four times the pace, for a second.
        let mut line = Line::new();
        assert!((0..100).all(|number| !line.packet(u64::from(number) * 10, number * 40, number as u16, 7)));
        // The same again and again, and in disorder.
        let mut line = Line::new();
        for round in 0..10 {
            assert!((0..10).all(|number| !line.packet(round * 100, number, 9 - number as u16, 7)));
        }
        // Each of another source.
        let mut line = Line::new();
        assert!((0..100).all(|number| !line.packet(
            u64::from(number) * 40,
            number * 40,
            number as u16,
            number
        )));
    }
}
