//! How a cluster behaves.

use std::sync::Arc;
use std::time::Duration;

use super::{ActiveOptions, BalanceKind, OutlierOptions};

/// How a cluster behaves, apart from who is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterOptions {
    /// How an endpoint is picked.
    pub balance: BalanceKind,
    /// The failure domain that this process is in: endpoints there come first.
    pub zone: Option<Arc<str>>,
    /// How long an endpoint that is new, or well again, takes to get its whole weight; 0 has it at once.
    pub slow_start: Duration,
    /// How many sessions there may be.
    pub limits: ClusterLimits,
    /// How endpoints are checked; `None` not at all.
    pub active: Option<ActiveOptions>,
    /// When sessions that fail say that an endpoint is ill; `None` never.
    pub outlier: Option<OutlierOptions>,
    /// When fewer endpoints than this share of them are usable, in percent, all are used; 0 never.
    pub panic_threshold: u8,
}

impl ClusterOptions {
    /// Of three endpoints one is enough, of four it is not.
    pub const PANIC_THRESHOLD: u8 = 30;
}

impl Default for ClusterOptions {
    fn default() -> Self {
        ClusterOptions {
            balance: BalanceKind::default(),
            zone: None,
            slow_start: Duration::ZERO,
            limits: ClusterLimits::default(),
            active: None,
            outlier: None,
            panic_threshold: Self::PANIC_THRESHOLD,
        }
    }
}

/// How many upstream sessions there may be. Those that there are when a limit is lowered stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClusterLimits {
    /// With all endpoints together.
    pub sessions: Option<u32>,
    /// With one endpoint.
    pub sessions_per_endpoint: Option<u32>,
}
