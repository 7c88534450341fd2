//! What a direction of the link did, flow by flow: a flow's label is the SSRC of its packets, which SRTP leaves readable.

use std::collections::BTreeMap;

use serde::Serialize;

/// Flows that are told apart; more are counted with the rest.
const FLOWS: usize = 256;

/// Packets of one flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Flow {
    /// RTP packets that were sent, those that were lost among them.
    pub(crate) packets: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Those that the link lost.
    pub(crate) lost: u64,
}

impl Flow {
    fn add(&mut self, bytes: usize, lost: bool) {
        self.packets += 1;
        self.bytes += bytes as u64;
        self.lost += u64::from(lost);
    }
}

/// All datagrams of one direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Direction {
    /// Of any kind.
    pub(crate) all: Flow,
    /// RTP by label.
    pub(crate) flows: BTreeMap<u32, Flow>,
}

impl Direction {
    pub(super) fn count(&mut self, datagram: &[u8], lost: bool) {
        self.all.add(datagram.len(), lost);
        let Some(label) = label(datagram) else { return };
        if self.flows.len() < FLOWS || self.flows.contains_key(&label) {
            self.flows.entry(label).or_default().add(datagram.len(), lost);
        }
    }

    /// What the flows with these labels had together.
    pub(crate) fn sum(&self, labels: impl IntoIterator<Item = u32>) -> Flow {
        labels.into_iter().filter_map(|label| self.flows.get(&label)).fold(Flow::default(), |sum, flow| {
            Flow {
                packets: sum.packets + flow.packets,
                bytes: sum.bytes + flow.bytes,
                lost: sum.lost + flow.lost,
            }
        })
    }
}

/// The SSRC of an RTP packet; RTCP is told from it by its type (RFC 5761 §4).
fn label(datagram: &[u8]) -> Option<u32> {
    let &[first, kind, _, _, _, _, _, _, a, b, c, d] = datagram.first_chunk()?;
    let is_rtp = first >> 6 == 2 && !(192..=223).contains(&kind);
    is_rtp.then(|| u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8, label: u32) -> Vec<u8> {
        let mut packet = vec![0x80, kind, 0, 1, 0, 0, 0, 0];
        packet.extend_from_slice(&label.to_be_bytes());
        packet.resize(100, 0);
        packet
    }

    #[test]
    fn rtp_is_counted_by_label_and_everything_together() {
        let mut direction = Direction::default();
        direction.count(&packet(96, 7), false);
        direction.count(&packet(0x80 | 96, 7), true);
        direction.count(&packet(97, 8), true);
        direction.count(&packet(200, 7), false);
        direction.count(&[0x80, 96], false);
        assert_eq!(direction.all, Flow { packets: 5, bytes: 402, lost: 2 });
        assert_eq!(direction.sum([7]), Flow { packets: 2, bytes: 200, lost: 1 });
        assert_eq!(direction.sum([7, 8, 9]), Flow { packets: 3, bytes: 300, lost: 2 });
    }

    #[test]
    fn strangers_do_not_make_it_grow() {
        let mut direction = Direction::default();
        for label in 0..1000 {
            direction.count(&packet(96, label), false);
        }
        assert_eq!((direction.flows.len(), direction.all.packets), (FLOWS, 1000));
    }
}
