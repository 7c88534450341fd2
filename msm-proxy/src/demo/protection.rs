//! What protection did on the hop, as the members' status has it, and what the link did to it.

use msm::{FlowProtection, HopStatus};
use serde::Serialize;

use super::relay::{Flow, Passed};

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
    /// The receiving member knows what came back, the sending one what that took. Without a link in between the losses are what
    /// the receiver saw.
    pub(crate) fn of(edge: &HopStatus, studio: Option<&HopStatus>, passed: Option<&Passed>) -> Self {
        let mut totals = Self::default();
        for flow in received(edge) {
            totals.lost += flow.lost;
            totals.recovered_by_fec += flow.recovered_by_fec;
            totals.recovered_by_nack += flow.recovered_by_nack;
            totals.recovered_by_path += flow.recovered_by_path;
        }
        if let Some(passed) = passed {
            totals.lost = media(edge, passed).lost;
        }
        totals.overhead = studio.map(|studio| overhead(studio, passed)).unwrap_or_default();
        totals
    }
}

fn received(edge: &HopStatus) -> impl Iterator<Item = &FlowProtection> {
    edge.protection.iter().filter(|flow| flow.receives)
}

fn sent(studio: &HopStatus) -> impl Iterator<Item = &FlowProtection> {
    studio.protection.iter().filter(|flow| !flow.receives)
}

/// A flow's label on the wire.
fn label(flow: &FlowProtection) -> Option<u32> {
    u32::from_str_radix(&flow.label, 16).ok()
}

/// The media's packets on the link. Without protection there is nothing else that is RTP.
fn media(edge: &HopStatus, passed: &Passed) -> Flow {
    let mut labels: Vec<u32> = received(edge).filter_map(label).collect();
    if labels.is_empty() {
        labels.extend(passed.to_edge.flows.keys());
    }
    passed.to_edge.sum(labels)
}

/// Of all flows: the share of each weighs as much as its bytes, or where nobody counted them, its packets.
fn overhead(studio: &HopStatus, passed: Option<&Passed>) -> f64 {
    let weight = |flow: &FlowProtection| {
        let on_link = label(flow).and_then(|label| passed?.to_edge.flows.get(&label));
        on_link.map_or(flow.packets, |on_link| on_link.bytes) as f64
    };
    let (beside, media) = sent(studio).fold((0.0, 0.0), |(beside, media), flow| {
        (beside + flow.overhead * weight(flow), media + weight(flow))
    });
    if media > 0.0 { beside / media } else { 0.0 }
}

/// What the sending member does for each track, and why, in the order of the tracks.
pub(crate) fn plans(studio: &HopStatus) -> Vec<String> {
    let mut flows: Vec<_> = sent(studio).collect();
    // Labels are given out in the order in which tracks are set up.
    flows.sort_by_key(|flow| label(flow));
    flows.into_iter().map(|flow| flow.plan.clone()).collect()
}
