//! How the tracks of a source relate to each other, and those of one source to another's.

use std::time::Duration;

use super::super::SenderClock;
use crate::ntp::NtpTime;

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

/// Where the first track of a stream was spliced: what its other tracks take their time from, so that they stay in sync.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reference {
    /// That moment on the old source's clocks.
    pub(super) old: Moment,
    /// And on the new one's.
    pub(super) new: Moment,
    /// How much that track's line was moved back since, in all.
    pub(super) lowered: Duration,
}

impl Reference {
    /// Whether it is not known what the splice is on the sources' clocks.
    pub(super) fn is_open(&self) -> bool {
        let both = |old: Option<NtpTime>, new: Option<NtpTime>| old.is_some() && new.is_some();
        !both(self.old.report, self.new.report) && !both(self.old.origin, self.new.origin)
    }
}
