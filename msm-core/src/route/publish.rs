//! What a route does with publishers.

use std::time::Duration;

/// What becomes of readers when a publisher goes, and of a second publisher of the same stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish {
    /// Of several publishers of one stream the one whose route has the highest priority is read, and the others stand by. Of one priority
    /// there is one.
    pub priority: u32,
    /// How long readers wait for a publisher that was lost to come back.
    pub resume: Duration,
    /// The same of one that has ended the stream by itself.
    pub resume_after_teardown: Duration,
}

impl Publish {
    /// The default of [`Publish::resume`].
    pub const RESUME: Duration = Duration::from_secs(10);
    /// The longest that readers may wait.
    pub const LONGEST: Duration = Duration::from_secs(3600);
}

impl Default for Publish {
    fn default() -> Self {
        Publish { priority: 0, resume: Publish::RESUME, resume_after_teardown: Duration::ZERO }
    }
}
