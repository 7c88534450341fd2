//! One cell of the table: what is sent, over what link, within which budget.

use std::time::Duration;

use msm_link::{Loss, Settings};

/// Bit rate of the stream, at 25 frames a second of packets of 1200 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// 8 Mbit/s: 33 packets a frame.
    Eight,
    /// 2 Mbit/s: 8 packets a frame.
    Two,
}

impl Rate {
    /// Packets of a frame.
    #[must_use]
    pub fn per_frame(self) -> u64 {
        match self {
            Self::Eight => 33,
            Self::Two => 8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Eight => "8M",
            Self::Two => "2M",
        }
    }
}

/// How losses follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Each by itself.
    Random,
    /// In runs of this mean length (Gilbert-Elliott).
    Burst(u8),
}

impl Kind {
    /// The loss model of this kind that loses a share `rate`.
    #[must_use]
    pub fn loss(self, rate: f64) -> Loss {
        match self {
            _ if rate <= 0.0 => Loss::None,
            Self::Random => Loss::Random(rate),
            Self::Burst(run) => Loss::bursts(rate, f64::from(run)),
        }
    }

    /// Name in tables and filters.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Random => "random".to_owned(),
            Self::Burst(run) => format!("burst{run}"),
        }
    }
}

/// What the user states: how long a packet may be waited for after it could have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// 1.5 × RTT + 20 ms: one round trip fits.
    Tight,
    /// 4 × RTT + 20 ms.
    Roomy,
    /// 60 ms: at an RTT of 80 ms no round trip fits.
    NoRoundTrip,
}

/// Loss that changes: the cell's for `every`, then `to` for `every`, and so on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Share that is lost after the step.
    pub to: f64,
    /// Time from step to step.
    pub every: Duration,
}

/// Paths between the ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paths {
    /// One.
    One,
    /// Two, with losses of their own. One of them, in turn, is cut for [`Cell::CUT`], in both directions, each [`Cell::CUT_EVERY`].
    TwoWithCuts,
}

/// One cell of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// Bit rate of the stream.
    pub rate: Rate,
    /// Share of packets that is lost, in each direction.
    pub loss: f64,
    /// How losses follow one another.
    pub kind: Kind,
    /// Whether the loss changes.
    pub step: Option<Step>,
    /// Round-trip time; half of it each way, without jitter.
    pub rtt: Duration,
    /// The budget.
    pub budget: Budget,
    /// Paths between the ends.
    pub paths: Paths,
    /// Packets of the stream that are counted, at least: frames are whole.
    pub packets: u64,
}

impl Cell {
    /// What is sent in this time at first is not counted.
    pub const WARM_UP: Duration = Duration::from_secs(2);

    /// How long a path is cut.
    pub const CUT: Duration = Duration::from_secs(2);

    /// From one cut's begin to the next one's.
    pub const CUT_EVERY: Duration = Duration::from_secs(20);

    /// The latency budget.
    #[must_use]
    pub fn latency(&self) -> Duration {
        let extra = Duration::from_millis(20);
        match self.budget {
            Budget::Tight => self.rtt * 3 / 2 + extra,
            Budget::Roomy => self.rtt * 4 + extra,
            Budget::NoRoundTrip => Duration::from_millis(60),
        }
    }

    /// How many paths there are.
    #[must_use]
    pub fn path_count(&self) -> usize {
        match self.paths {
            Paths::One => 1,
            Paths::TwoWithCuts => 2,
        }
    }

    /// What the links do while a share `loss` is lost.
    #[must_use]
    pub fn settings(&self, loss: f64) -> Settings {
        Settings { loss: self.kind.loss(loss), delay: self.rtt / 2, ..Settings::default() }
    }

    /// The words that name it, as in `8M/5%/burst3/rtt20/100ms`.
    #[must_use]
    pub fn name(&self) -> String {
        let loss = self.step.map_or_else(
            || percent(self.loss),
            |step| format!("{}>{}", percent(self.loss), percent(step.to)),
        );
        let kind = if self.loss > 0.0 || self.step.is_some() { self.kind.name() } else { "none".to_owned() };
        let (rtt, latency) = (self.rtt.as_millis(), self.latency().as_millis());
        let paths = if self.paths == Paths::TwoWithCuts { "/two-paths" } else { "" };
        format!("{}/{loss}/{kind}/rtt{rtt}/{latency}ms{paths}", self.rate.name())
    }

    /// Whether each of the words of `filter`, which are separated by commas, is one of [`Self::name`].
    #[must_use]
    pub fn is_named(&self, filter: &str) -> bool {
        let name = self.name();
        filter.split(',').all(|word| word == name || name.split('/').any(|part| part == word))
    }

    /// The seed of this cell: the same whichever others run.
    #[must_use]
    pub fn seed(&self, seed: u64) -> u64 {
        // FNV-1a.
        self.name()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            })
    }
}

/// `share` as a person writes it.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{}%", (share * 1e4).round() / 1e2)
}
