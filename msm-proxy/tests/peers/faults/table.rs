//! What is printed of the faults.

use super::crowd::READERS;
use std::fmt;
use std::time::Duration;

/// What one fault came to.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    pub(crate) about: &'static str,
    pub(crate) kept: usize,
    /// Gaps in the video of each probe, in order.
    pub(crate) gaps: Vec<Duration>,
    /// The longest gap that there may be.
    pub(crate) bound: Duration,
    /// Packets that readers of another stream lost.
    pub(crate) elsewhere: u64,
    /// From the fault until the proxy left the endpoint.
    pub(crate) detected: Option<Duration>,
    /// By how much the latency grew, and the two tracks moved apart, at the worst reader.
    pub(crate) growth: f64,
    pub(crate) lip_sync: f64,
    /// What else is wrong.
    pub(crate) wrong: Vec<String>,
}

/// Lip-sync may shift by so much, and latency grow, in seconds.
const LIP_SYNC: f64 = 0.020;
const GROWTH: f64 = 0.040;

impl Row {
    /// Nobody was lost, and nothing elsewhere.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept == READERS && self.elsewhere == 0 && self.wrong.is_empty()
    }

    /// And it was in time.
    pub(crate) fn is_well(&self) -> bool {
        let in_time = self.gaps.iter().all(|gap| *gap <= self.bound);
        let in_sync = self.lip_sync <= LIP_SYNC && self.growth <= GROWTH;
        self.is_kept() && in_time && in_sync
    }

    fn gap(&self, share: usize) -> u128 {
        let at = self.gaps.len().saturating_sub(1) * share / 100;
        self.gaps.get(at).copied().unwrap_or_default().as_millis()
    }

    fn cells(&self) -> [String; 9] {
        [
            self.about.to_owned(),
            format!("{} of {READERS}", self.kept),
            format!("{} ms", self.gap(50)),
            format!("{} ms", self.gap(100)),
            format!("{} ms", self.bound.as_millis()),
            self.elsewhere.to_string(),
            self.detected.map_or_else(|| "-".to_owned(), |after| format!("{} ms", after.as_millis())),
            format!("{:.0} / {:.0} ms", self.growth * 1000.0, self.lip_sync * 1000.0),
            if self.is_well() { "yes" } else { "NO" }.to_owned(),
        ]
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.fault, self.cells().join(" | "))?;
        self.wrong.iter().try_for_each(|wrong| write!(f, "\n  {wrong}"))
    }
}

const HEAD: [&str; 9] = [
    "fault",
    "readers kept",
    "gap p50",
    "gap max",
    "bound",
    "lost elsewhere",
    "detected after",
    "latency / lip-sync moved",
    "well",
];

/// Prints the table, and writes it to `$MSM_FAULT_TABLE`.
pub(crate) fn print(rows: &[Row]) {
    let rule = HEAD.map(|_| "---");
    let mut text = format!("| {} |\n|{}|\n", HEAD.join(" | "), rule.join("|"));
    for row in rows {
        text.push_str(&format!("| {} |\n", row.cells().join(" | ")));
    }
    println!("{text}");
    if let Some(file) = std::env::var_os("MSM_FAULT_TABLE") {
        std::fs::write(file, text).expect("MSM_FAULT_TABLE can be written");
    }
}
