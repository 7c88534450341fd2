//! Repair packets in the media's own line of numbers, as GStreamer and browsers send them (RFC 5109).

use msm_core::rtp::RtpView;
use msm_fec::xor::recover::{Store, StoreLimits};
use msm_fec::xor::ulpfec::{Decoder, DecoderOptions};

/// Computes lost packets of one source.
pub(super) struct Fec {
    payload_type: u8,
    decoder: Decoder,
    store: Store,
    recovered: Vec<u8>,
}

impl Fec {
    pub(super) fn new(ssrc: u32, payload_type: u8) -> Self {
        let options = DecoderOptions { ssrc, payload_type, limits: Default::default() };
        Self {
            payload_type,
            decoder: Decoder::new(options),
            store: Store::new(StoreLimits::default()),
            recovered: Vec::new(),
        }
    }

    /// A packet of the line came: media, or what repairs it.
    pub(super) fn handle(&mut self, index: u64, packet: &[u8]) {
        if RtpView::parse(packet).is_ok_and(|view| view.payload_type() == self.payload_type) {
            // Counted by the decoder if it is of no use.
            let _ = self.decoder.handle_repair(packet, &self.store);
        } else {
            self.handle_source(index, packet);
        }
    }

    pub(super) fn handle_source(&mut self, index: u64, packet: &[u8]) {
        if self.store.insert(index, packet) {
            self.decoder.handle_source(index, &self.store);
        }
    }

    /// The next packet that was computed.
    pub(super) fn poll_recovered(&mut self) -> Option<(u64, &[u8])> {
        let recovered = self.decoder.poll_recovered()?;
        let index = recovered.index;
        self.recovered.clear();
        self.recovered.extend_from_slice(recovered.packet);
        Some((index, &self.recovered))
    }

    /// Repair packets that were of no use.
    pub(super) fn refused(&self) -> u64 {
        let counters = self.decoder.counters();
        msm_fec::xor::recover::Refusal::ALL.iter().map(|why| counters.refused(*why)).sum()
    }
}
