//! Streams, losses and a receiver for tests.

use super::recover::{Decoder, Recovered, Refusal, Scheme, Store, StoreLimits};
use msm_core::rng::Rng;
use msm_core::rtp::{ExtensionBlock, RtpBuilder};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const SSRC: u32 = 0xfeed_beef;
pub(crate) const FEC_SSRC: u32 = 0x0bad_cafe;
pub(crate) const FEC_PT: u8 = 98;

/// Packets of every form that RTP has, with these indices.
pub(crate) fn packets(seed: u64, first: u64, count: usize) -> BTreeMap<u64, Vec<u8>> {
    let mut rng = Rng::new(seed);
    let packet = |index: u64| {
        let mut payload = vec![0; rng.range(0..300) as usize];
        rng.fill(&mut payload);
        let form = rng.next_u32();
        let builder = RtpBuilder {
            marker: form & 1 == 1,
            payload_type: 96 + (form >> 1 & 3) as u8,
            sequence: index as u16,
            timestamp: rng.next_u32(),
            ssrc: SSRC,
            csrcs: if form & 8 == 0 { &[] } else { &[1, 2] },
            extension: if form & 16 == 0 {
                ExtensionBlock::None
            } else {
                ExtensionBlock::OneByte(&[(3, &[1, 2, 3])])
            },
            payload: &payload,
            padding_len: if form & 32 == 0 { 0 } else { 4 },
        };
        let mut packet = vec![0; 400];
        let len = builder.write(&mut packet).unwrap();
        packet.truncate(len);
        (index, packet)
    };
    (first..first + count as u64).map(packet).collect()
}

/// What goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Source(u64),
    Repair(Vec<u8>),
}

/// A decoder with its store, and what came out.
pub(crate) struct Receiver<S> {
    pub(crate) decoder: Decoder<S>,
    pub(crate) store: Store,
    pub(crate) recovered: BTreeMap<u64, Vec<u8>>,
}

impl<S: Scheme> Receiver<S> {
    pub(crate) fn new(decoder: Decoder<S>) -> Self {
        Self { decoder, store: Store::new(StoreLimits::default()), recovered: BTreeMap::new() }
    }

    pub(crate) fn source(&mut self, index: u64, packet: &[u8]) {
        self.store.insert(index, packet);
        self.decoder.handle_source(index, &self.store);
        self.drain();
    }

    pub(crate) fn repair(&mut self, packet: &[u8]) -> Result<(), Refusal> {
        let result = self.decoder.handle_repair(packet, &self.store);
        self.drain();
        result
    }

    fn drain(&mut self) {
        while let Some(Recovered { index, packet }) = self.decoder.poll_recovered() {
            let packet = packet.to_vec();
            // As a hub would: what was recovered is kept like any other, and is not told to the decoder.
            self.store.insert(index, &packet);
            assert_eq!(self.recovered.insert(index, packet), None, "{index} was recovered twice");
        }
    }

    /// Takes what was sent but for `lost`, and checks that what comes out is what was lost, byte for byte.
    pub(crate) fn take(&mut self, sent: &[Sent], truth: &BTreeMap<u64, Vec<u8>>, lost: &BTreeSet<u64>) {
        for packet in sent {
            match packet {
                Sent::Source(index) if lost.contains(index) => {}
                Sent::Source(index) => self.source(*index, &truth[index]),
                Sent::Repair(packet) => self.repair(packet).unwrap_or_else(|refusal| panic!("{refusal}")),
            }
        }
        for (index, packet) in &self.recovered {
            assert_eq!(Some(packet), truth.get(index), "{index}");
        }
    }
}

/// Random losses: those of `from` that a coin of `share` percent takes.
pub(crate) fn losses(seed: u64, from: impl Iterator<Item = u64>, share: u64) -> BTreeSet<u64> {
    let mut rng = Rng::new(seed);
    from.filter(|_| rng.range(0..100) < share).collect()
}
