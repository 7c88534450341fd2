//! Asking a client to go elsewhere with a session that is up.

use std::time::Duration;

use rtsp_types::{Method, Version};

use crate::message::Request;

/// A session, and where its client is to go with it.
#[derive(Clone, Copy, Debug)]
pub struct Redirect<'a> {
    /// The version that the client speaks: each has a REDIRECT of its own.
    pub version: Version,
    /// The session's URL, as the client knows it.
    pub url: &'a str,
    /// The session's identifier.
    pub session: &'a str,
    /// The URL to ask for instead: a whole one, as 2.0 wants it.
    pub to: &'a str,
    /// The wall clock, since 1970.
    pub now: Duration,
    /// How long the session still goes on here.
    pub leave_within: Duration,
}

impl Redirect<'_> {
    /// The request.
    ///
    /// * 1.0 (`RFC 2326 §10.10`): `Location`, and `Session`, as every request of a session has. Without `Range` it is for now.
    /// * 2.0 (`RFC 7826 §13.10`): also `Terminate-Reason`, with the time at which the session ends here, and the `Date` to read it by.
    #[must_use]
    pub fn request(&self) -> Request {
        let request = Request::new(Method::Redirect, self.url);
        let request = Request { version: self.version, ..request }
            .with("Session", self.session)
            .with("Location", self.to);
        if self.version != Version::V2_0 {
            return request;
        }
        // Rather late than early: who leaves at the very end still finds its session.
        let ends = Moment::of(self.now.saturating_add(self.leave_within).as_secs());
        request
            .with("Date", Moment::of(self.now.as_secs()).date())
            .with("Terminate-Reason", format!("Server-Admin;time={}", ends.utc()))
    }
}

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A second of the Gregorian calendar, in UTC.
struct Moment {
    weekday: u64,
    year: u64,
    /// From 1.
    month: u64,
    day: u64,
    second: u64,
}

impl Moment {
    /// Since 1970. Years are counted from 1 March, so that the day that some have more is their last.
    fn of(seconds: u64) -> Self {
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // From 1 March of the year 0; an era is 400 years.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        Self { weekday: days % 7, year, month, day, second }
    }

    fn clock(&self) -> (u64, u64, u64) {
        (self.second / 3600, self.second / 60 % 60, self.second % 60)
    }

    /// As `utc-time` (`RFC 7826 §4.4.3`).
    fn utc(&self) -> String {
        let (hour, minute, second) = self.clock();
        let Self { year, month, day, .. } = self;
        format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }

    /// As `RTSP-date` (`RFC 7826 §18.21`).
    fn date(&self) -> String {
        let (hour, minute, second) = self.clock();
        let name = |names: &[&'static str], number: u64| {
            usize::try_from(number).ok().and_then(|number| names.get(number)).copied().unwrap_or_default()
        };
        let (weekday, month) = (name(&DAYS, self.weekday), name(&MONTHS, self.month.saturating_sub(1)));
        let Self { year, day, .. } = self;
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(version: Version) -> String {
        let redirect = Redirect {
            version,
            url: "rtsp://h/a",
            session: "17",
            to: "rtsp://other.example/b?c",
            now: Duration::from_millis(824_221_843_900),
            leave_within: Duration::from_secs(82),
        };
        let mut text = Vec::new();
        redirect.request().write(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn each_version_has_its_own() {
        assert_eq!(
            text(Version::V1_0),
            "REDIRECT rtsp://h/a RTSP/1.0\r\nSession: 17\r\nLocation: rtsp://other.example/b?c\r\n\r\n"
        );
        assert_eq!(
            text(Version::V2_0),
            "REDIRECT rtsp://h/a RTSP/2.0\r\nSession: 17\r\nLocation: rtsp://other.example/b?c\r\n\
             Date: Tue, 13 Feb 1996 14:30:43 GMT\r\nTerminate-Reason: Server-Admin;time=19960213T143205Z\r\n\r\n"
        );
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, utc, date) in [
            (0, "19700101T000000Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_399, "20000228T235959Z", "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "20000229T000000Z", "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "20000301T000000Z", "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_735_689_599, "20241231T235959Z", "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "21000301T000000Z", "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            let moment = Moment::of(seconds);
            assert_eq!((moment.utc().as_str(), moment.date().as_str()), (utc, date));
        }
        // A clock that is out of its mind.
        assert!(Moment::of(u64::MAX).utc().ends_with('Z'));
    }
}
