//! Whether a stream is copied to another cluster.

use super::ActionConfig;
use msm_core::route::Route;
use serde::Serialize;
use std::fmt;

/// A cluster that gets copies of the route's streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MirrorChoice {
    /// Its name.
    pub cluster: String,
    /// How many streams are copied, in percent.
    pub percentage: u8,
    /// Whether this one is, if this client is the first to ask for it; unknown unless the question says who asks.
    pub copied: Option<bool>,
}

/// Where streams of a route are copied to, if those of this action are.
pub(super) fn of(route: &Route, action: ActionConfig, point: Option<u64>) -> Option<MirrorChoice> {
    let mirror = route.mirror.as_ref()?;
    // What is read from this process has come to the mirror when it was published.
    let is_copied = action == ActionConfig::Publish || !route.is_local();
    let copied = point.map(|point| mirror.takes(&route.name, point));
    is_copied.then(|| MirrorChoice {
        cluster: mirror.cluster.clone(),
        percentage: mirror.percentage,
        copied: copied.or((mirror.percentage >= 100).then_some(true)),
    })
}

impl MirrorChoice {
    pub(super) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  mirror: {}% of streams are copied to cluster `{}`", self.percentage, self.cluster)?;
        let this = match self.copied {
            Some(true) if self.percentage >= 100 => "this one is",
            Some(true) => "this one is, where this client is the first to ask for it",
            Some(false) => "this one is not, where this client is the first to ask for it",
            None => "by client and URL: name a client by --client or --from to know whether this one is",
        };
        writeln!(f, "; {this}")
    }
}
