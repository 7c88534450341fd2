//! What a stream's hub is told when another source takes over from the one before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use msm_core::hub::{LivePoint, RtpInfo, SenderClock};
use msm_rtsp::sdp::Description;

/// Parameter sets of a track by its description, for the payload type that they are sent with.
pub(crate) struct ParameterSets {
    pub(crate) payload_type: u8,
    pub(crate) sets: Vec<Vec<u8>>,
}

/// How a source's tracks are made those of a stream that was described before.
pub(crate) struct Succession {
    /// For each track, the source's payload types and the stream's.
    pub(crate) numbers: Vec<Vec<(u8, u8)>>,
    pub(crate) sets: Vec<Option<Arc<ParameterSets>>>,
    /// The source's URL, for people.
    pub(crate) endpoint: String,
}

impl Succession {
    /// `numbers` are those of [`Description::successor`] for `next`.
    pub(crate) fn new(endpoint: String, numbers: Vec<Vec<(u8, u8)>>, next: &Description) -> Self {
        let sets = |(track, numbers): (usize, &Vec<(u8, u8)>)| {
            let (number, sets) = next.parameter_sets(track)?;
            let own = numbers.iter().find(|(from, _)| *from == number).map_or(number, |(_, to)| *to);
            Some(Arc::new(ParameterSets { payload_type: own, sets }))
        };
        let sets = numbers.iter().enumerate().map(sets).collect();
        Self { numbers, sets, endpoint }
    }
}

/// What a source has sent since its last keyframe, and where it is by now.
pub(crate) struct Kept {
    pub(crate) live: Option<LivePoint>,
    pub(crate) clock: Option<SenderClock>,
    pub(crate) info: Option<RtpInfo>,
    pub(crate) bytes: Vec<u8>,
    /// Offset and length of each packet.
    pub(crate) parts: Vec<(usize, usize)>,
}

/// A source that takes over, for the log.
pub(crate) struct Takeover {
    pub(crate) cluster: String,
    /// The endpoint so far.
    pub(crate) from: String,
    pub(crate) reason: &'static str,
    /// It goes on with the very next packet.
    pub(crate) identical: bool,
    /// When it was found out that the source is to be replaced.
    pub(crate) noticed: Instant,
}

/// Where a stream comes from now, for the status.
#[derive(Clone, Debug, Default)]
pub(crate) struct OriginStatus {
    /// The endpoint's URL, without credentials.
    pub(crate) endpoint: String,
    /// The endpoint that is kept ready, or why there is none.
    pub(crate) standby: Option<String>,
    /// That one brings the same packets.
    pub(crate) identical: bool,
    /// The shadow's URL, or why there is none.
    pub(crate) mirror: Option<String>,
    pub(crate) failovers: u64,
    /// From the last packet of the source before to the first of the one that took over.
    pub(crate) last_gap: Option<Duration>,
}

/// See [`OriginStatus`].
#[derive(Default)]
pub(crate) struct Origin(Mutex<OriginStatus>);

impl Origin {
    fn state(&self) -> MutexGuard<'_, OriginStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn status(&self) -> OriginStatus {
        self.state().clone()
    }

    pub(crate) fn endpoint(&self) -> String {
        self.state().endpoint.clone()
    }

    pub(crate) fn set_endpoint(&self, endpoint: &str) {
        endpoint.clone_into(&mut self.state().endpoint);
    }

    pub(crate) fn set_standby(&self, standby: Option<&str>) {
        let mut state = self.state();
        state.standby = standby.map(str::to_owned);
        state.identical = false;
    }

    /// Whether the standby brings the same packets; whether that has changed.
    pub(crate) fn set_identical(&self, identical: bool) -> bool {
        std::mem::replace(&mut self.state().identical, identical) != identical
    }

    pub(crate) fn set_mirror(&self, mirror: Option<String>) {
        self.state().mirror = mirror;
    }

    pub(crate) fn count_failover(&self) {
        let mut state = self.state();
        state.failovers = state.failovers.saturating_add(1);
    }

    pub(crate) fn set_gap(&self, gap: Duration) {
        self.state().last_gap = Some(gap);
    }
}
