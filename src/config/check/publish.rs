//! What a route does with publishers.

use super::super::publish::PublishConfig;
use super::{At, Report};
use msm_core::route::Publish;

pub(super) fn check(given: &PublishConfig, at: &At, report: &mut Report<'_>) {
    for (key, wait) in [("resume", given.resume), ("resume_after_teardown", given.resume_after_teardown)] {
        if wait > Publish::LONGEST {
            report.add(&at.then(key), "is longer than `1h`; readers would hold their places for nothing");
        }
    }
}
