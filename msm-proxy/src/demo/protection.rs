//! What protection did on the hop, as the members' status has it, and what the link did to it.

use msm::HopStatus;
use serde::{Deserialize, Serialize};

use super::relay::{Flow, Passed};

/// One protected flow of a hop.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct FlowProtection {
    label: u32,
    receives: bool,
    packets: u64,
    lost: u64,
    recovered_by_fec: u64,
    recovered_by_nack: u64,
    recovered_by_path: u64,
    overhead: f64,
    plan: String,
}

fn flows(hop: &HopStatus) -> Vec<FlowProtection> {
    let hop = serde_json::to_value(hop).unwrap_or_default();
    let flows = hop.get("protection").cloned().unwrap_or_default();
    serde_json::from_value(flows).unwrap_or_default()
}

/// All flows of the media since the start.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Totals {
    /// Packets of the media that the link lost.
    pub(crate) lost: u64,
    /// Those that repair packets brought back.
    pub(crate) recovered_by_fec: u64,
    /// Those that came when they were asked for again.
    pub(crate) recovered_by_nack: u64,
    /// Those that came by another path.
    pub(crate) recovered_by_path: u64,
    /// What was sent beside the media, as a share of its bytes.
    pub(crate) overhead: f64,
}

impl Totals {
    /// `edge` is the hop as the receiving member sees it; without a link in between the losses are what it saw.
    pub(crate) fn of(edge: &HopStatus, passed: Option<&Passed>) -> Self {
        let mut totals = Self::default();
        let mut packets = 0;
        let flows: Vec<_> = flows(edge).into_iter().filter(|flow| flow.receives).collect();
        for flow in &flows {
            totals.lost += flow.lost;
            totals.recovered_by_fec += flow.recovered_by_fec;
            totals.recovered_by_nack += flow.recovered_by_nack;
            totals.recovered_by_path += flow.recovered_by_path;
            totals.overhead += flow.overhead * flow.packets as f64;
            packets += flow.packets;
        }
        totals.overhead /= packets.max(1) as f64;
        if let Some(passed) = passed {
            totals.lost = media(&flows, passed).lost;
        }
        totals
    }
}

/// The media's packets on the link. Without protection there is nothing else that is RTP.
fn media(flows: &[FlowProtection], passed: &Passed) -> Flow {
    if flows.is_empty() {
        return passed.to_edge.sum(passed.to_edge.flows.keys().copied());
    }
    passed.to_edge.sum(flows.iter().map(|flow| flow.label))
}

/// What the sending member does for each track, and why, in the order of the tracks.
pub(crate) fn plans(studio: &HopStatus) -> Vec<String> {
    let mut flows: Vec<_> = flows(studio).into_iter().filter(|flow| !flow.receives).collect();
    // Labels are given out in the order in which tracks are set up.
    flows.sort_by_key(|flow| flow.label);
    flows.into_iter().map(|flow| flow.plan).collect()
}
