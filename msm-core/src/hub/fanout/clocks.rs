//! How the tracks of a source relate to each other, and those of one source to another's.

use std::time::{Duration, Instant};

use super::super::SenderClock;
use crate::ntp::NtpTime;

/// A track whose clocks say that a common move is still to come makes it so long after it is due, by times of arrival: they are wrong.
const OVERDUE: Duration = Duration::from_secs(1);

/// A wall clock that `RTP-Info` gives all tracks: where its `rtptime`s are.
pub(super) const ORIGIN: NtpTime = NtpTime::from_bits(1 << 62);

/// What relates the tracks of one source: the wall clock of its sender reports, and the moment of its `RTP-Info`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clocks {
    pub(super) report: Option<SenderClock>,
    pub(super) origin: Option<SenderClock>,
}

impl Clocks {
    /// The same clocks with other timestamps.
    pub(super) fn shifted(self, by: u32) -> Self {
        let shift = |clock: SenderClock| SenderClock { rtp: clock.rtp.wrapping_add(by), ..clock };
        Clocks { report: self.report.map(shift), origin: self.origin.map(shift) }
    }

    pub(super) fn moment(&self, timestamp: u32, rate: u32) -> Moment {
        let at = |clock: SenderClock| clock.ntp_of(timestamp, rate);
        Moment { report: self.report.map(at), origin: self.origin.map(at) }
    }

    /// What the media clock shows `later` (or, if negative, earlier) than at `moment`, by a wall clock that both know.
    pub(super) fn timestamp(&self, moment: &Moment, later: Offset, rate: u32) -> Option<u32> {
        let by =
            |clock: Option<SenderClock>, ntp: Option<NtpTime>| Some(clock?.rtp_of(later.after(ntp?), rate));
        by(self.report, moment.report).or_else(|| by(self.origin, moment.origin))
    }
}

/// One moment on the wall clocks of a source.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moment {
    report: Option<NtpTime>,
    origin: Option<NtpTime>,
}

impl Moment {
    /// How much later this moment is than `other`, by a wall clock that both know.
    pub(super) fn since(&self, other: &Moment) -> Option<Offset> {
        let by = |own: Option<NtpTime>, other: Option<NtpTime>| Some(Offset::between(other?, own?));
        by(self.report, other.report).or_else(|| by(self.origin, other.origin))
    }
}

/// A span of time with a sign.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Offset {
    span: Duration,
    negative: bool,
}

impl Offset {
    fn between(from: NtpTime, to: NtpTime) -> Self {
        let ahead = to.saturating_since(from);
        let behind = from.saturating_since(to);
        Offset { span: ahead.max(behind), negative: behind > ahead }
    }

    fn after(self, ntp: NtpTime) -> NtpTime {
        if self.negative { ntp.wrapping_sub(self.span) } else { ntp.wrapping_add(self.span) }
    }
}

/// One move forward of all tracks' lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Jump {
    /// The first moment of capture that it is for, by the new source's clocks.
    pub(super) at: Moment,
    /// When that arrives.
    pub(super) due: Instant,
    pub(super) by: Duration,
}

impl Jump {
    /// Whether it is for a frame of `moment` that comes at `arrival`.
    pub(super) fn has_come(&self, moment: &Moment, arrival: Instant) -> bool {
        let passed = arrival.checked_duration_since(self.due);
        match moment.since(&self.at) {
            Some(later) => !later.negative || passed.is_some_and(|passed| passed >= OVERDUE),
            None => passed.is_some(),
        }
    }
}

/// Where the first track of a stream was spliced: what its other tracks take their time from, so that they stay in sync.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reference {
    /// The number of the splice: tracks of another one have nothing to do with it.
    pub(super) splice: u64,
    /// That moment on the old source's clocks.
    pub(super) old: Moment,
    /// And on the new one's.
    pub(super) new: Moment,
    /// How much that track's line was moved back since, in all.
    pub(super) lowered: Duration,
    /// And forward, or will be.
    pub(super) jump: Option<Jump>,
    /// Whether it is known if it will be: from then on at the latest.
    pub(super) decided: bool,
    pub(super) until: Instant,
    /// The line of that track is where it stays.
    pub(super) is_over: bool,
}

impl Reference {
    /// The splice begins with a packet that came at `arrival`; it is decided within `within`.
    pub(super) fn new(splice: u64, arrival: Instant, within: Duration) -> Self {
        Reference {
            splice,
            old: Moment::default(),
            new: Moment::default(),
            lowered: Duration::ZERO,
            jump: None,
            decided: false,
            until: arrival.checked_add(within).unwrap_or(arrival),
            is_over: false,
        }
    }

    /// Whether it is not known what the splice is on the sources' clocks.
    pub(super) fn is_open(&self) -> bool {
        let both = |old: Option<NtpTime>, new: Option<NtpTime>| old.is_some() && new.is_some();
        !both(self.old.report, self.new.report) && !both(self.old.origin, self.new.origin)
    }

    /// Whether the first track will not move forward any more unless it has said so.
    pub(super) fn is_decided(&self, arrival: Instant) -> bool {
        self.decided || arrival >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing::at;

    #[test]
    fn a_jump_comes_by_the_clocks_and_at_last_by_arrival() {
        let moment = |millis: u64| Moment {
            report: Some(NtpTime::from_bits(1 << 40).wrapping_add(Duration::from_millis(millis))),
            origin: None,
        };
        let jump = Jump { at: moment(500), due: at(600), by: Duration::ZERO };
        assert!(!jump.has_come(&moment(499), at(900)));
        assert!(jump.has_come(&moment(500), at(0)));
        assert!(jump.has_come(&moment(0), at(1_600)), "clocks that are wrong");
        assert!(!jump.has_come(&Moment::default(), at(599)));
        assert!(jump.has_come(&Moment::default(), at(600)));
    }
}
