//! Whether the path of the media still takes it, where only one does: the receiver asks for packets within a round trip, while a
//! path counts as up until it has been silent for two seconds.

use std::time::{Duration, Instant};

/// Requests are compared with what was sent over so long.
const SPAN: Duration = Duration::from_millis(200);
/// Fewer packets are no sign of anything.
const LEAST: usize = 8;
/// Packets go by all paths for so long. A path that is gone is down by then.
const TIME: Duration = Duration::from_secs(2);

/// What the receiver asks for, in relation to what was sent.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// When the span began, and how many packets had been sent by then.
    since: Option<(Instant, u64)>,
    asked: usize,
    until: Option<Instant>,
}

impl Doubt {
    /// The receiver asks for so many packets for the first time; `sent` were sent so far.
    pub(super) fn handle_request(&mut self, now: Instant, asked: usize, sent: u64) {
        if asked == 0 {
            return;
        }
        let (_, before) = match self.since.filter(|(at, _)| now.saturating_duration_since(*at) < SPAN) {
            Some(since) => since,
            None => {
                self.asked = 0;
                *self.since.insert((now, sent))
            }
        };
        self.asked += asked;
        if self.asked >= LEAST && self.asked as u64 * 2 >= sent.saturating_sub(before) {
            self.until = Some(now + TIME);
        }
    }

    /// Whether packets should not go by that path alone.
    pub(super) fn is_there(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

/// Tells numbers that are asked for the first time: those beyond all before. What is asked for again, as the answer is late, or in
/// copies, is no further sign.
#[derive(Debug, Default)]
pub(super) struct Newest(Option<u16>);

impl Newest {
    /// Whether this one is the newest so far, which it is from now on.
    pub(super) fn is_passed_by(&mut self, number: u16) -> bool {
        let passes = self.0.is_none_or(|newest| number.wrapping_sub(newest).cast_signed() > 0);
        if passes {
            self.0 = Some(number);
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_again_does_not_count() {
        let mut newest = Newest::default();
        let asked = [65_530, 65_533, 65_530, 65_533, 2, 65_535, 2, 3];
        let counted: Vec<u16> = asked.into_iter().filter(|number| newest.is_passed_by(*number)).collect();
        assert_eq!(counted, [65_530, 65_533, 2, 3]);
    }

    #[test]
    fn a_frame_that_is_lost_as_a_whole_is_a_sign_and_one_packet_in_ten_is_none() {
        let began = Instant::now();
        let (mut doubt, mut sent) = (Doubt::default(), 0);
        let mut now = began;
        for _ in 0..100 {
            sent += 33;
            now += Duration::from_millis(40);
            doubt.handle_request(now, 3, sent);
            doubt.handle_request(now + Duration::from_millis(20), 1, sent);
            assert!(!doubt.is_there(now));
        }
        doubt.handle_request(now + Duration::from_millis(400), 33, sent + 33);
        assert!(doubt.is_there(now + Duration::from_secs(2)));
        assert!(!doubt.is_there(now + Duration::from_secs(3)));
    }
}
