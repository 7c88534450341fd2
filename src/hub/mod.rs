//! Streams inside this process: their homes, their shards on each worker, and the table that finds them.

mod coalesce;
pub(crate) mod dest;
pub(crate) mod feed;
pub(crate) mod handle;
pub(crate) mod home;
pub(crate) mod parity;
pub(crate) mod put_off;
pub(crate) mod receive;
pub(crate) mod registry;
pub(crate) mod rtx;
pub(crate) mod shard;
pub(crate) mod succession;

use std::time::{Duration, Instant};

use msm_core::hub::Reason;
use tokio::sync::Notify;

/// Reports that fall due within this long of each other go out in one wake-up: their intervals are seconds
/// (`RFC 3550 §6.2`), and each wake-up of its own would cost more than the report.
const REPORT_GRID: Duration = Duration::from_millis(100);

/// When to wake up for what is due: reports wait for the next mark of a grid that all streams of a worker share.
fn wake_at((due, reason): (Instant, Reason), epoch: Instant, now: Instant) -> Instant {
    if reason != Reason::Report || due <= now {
        return due;
    }
    let since = due.saturating_duration_since(epoch).as_nanos();
    let marks = since.div_ceil(REPORT_GRID.as_nanos());
    u32::try_from(marks).map_or(due, |marks| epoch + REPORT_GRID * marks)
}

/// Waits for a deadline, or for a change of it.
async fn wait(deadline: Option<Instant>, rearm: &Notify) {
    match deadline {
        Some(at) => tokio::select! {
            () = tokio::time::sleep_until(at.into()) => {}
            () = rearm.notified() => {}
        },
        None => rearm.notified().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_share_wake_ups_and_nothing_else_waits() {
        let epoch = Instant::now();
        let at = |ms| epoch + Duration::from_millis(ms);
        let now = at(1000);
        assert_eq!(wake_at((at(1001), Reason::Report), epoch, now), at(1100));
        assert_eq!(wake_at((at(1099), Reason::Report), epoch, now), at(1100));
        assert_eq!(wake_at((at(1100), Reason::Report), epoch, now), at(1100));
        assert_eq!(wake_at((at(999), Reason::Report), epoch, now), at(999), "due");
        assert_eq!(wake_at((at(1001), Reason::CatchUp), epoch, now), at(1001));
    }
}
