//! A protected track on its way from another member.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use msm_core::hop::Label;
use msm_core::route::Protection;
use msm_core::rtcp::Writer;
use msm_core::rtp::Header;
use msm_fec::nack::rtx::{self, Identity};
use msm_fec::nack::wire;
use msm_fec::order::{Source, Verdict};
use msm_fec::paths::MAX_PATHS;
use msm_fec::protect::wire::Message;
use msm_fec::protect::{Next, Receiver, ReceiverConfig, ToSender};

use super::{Counts, Formats};
use crate::hop::copies::Copies;
use crate::hop::inlet::Inlet;
use crate::status::{FlowPath, FlowProtection, milliseconds};

/// The largest request: it passes wherever media does.
const REQUEST_BYTES: usize = 1200;

/// How a track is protected.
pub(crate) struct ReceivePlan {
    pub(crate) formats: Formats,
    pub(crate) stream: String,
    pub(crate) protection: Protection,
}

/// Index of a packet, and where it is.
pub(crate) type Place = (u64, usize, usize);

/// The receiver's half.
pub(crate) struct Receiving {
    receiver: Receiver,
    formats: Formats,
    label: Label,
    /// The flow with repair packets and retransmissions: it lives as long as this.
    pub(crate) beside: Rc<Inlet>,
    stream: String,
    latency: Duration,
    /// Packets that came.
    packets: u64,
    /// Packets that repair packets gave and that are another flow's.
    foreign: u64,
    /// What leaves: bytes, and index, offset and length of each packet.
    ready: Vec<u8>,
    places: VecDeque<Place>,
}

impl Receiving {
    /// `copies`: how it comes by several paths, if it does.
    pub(in crate::hop) fn new(
        plan: ReceivePlan,
        label: Label,
        beside: Rc<Inlet>,
        copies: Option<Copies>,
    ) -> Self {
        let ReceivePlan { formats, stream, protection } = plan;
        let latency = protection.latency;
        let mut config = ReceiverConfig { nack: protection.nack, ..ReceiverConfig::new(latency) };
        if let Some(copies) = copies {
            (config.paths, config.mode, config.copies) = (MAX_PATHS, copies.mode, copies.window);
        }
        Self {
            receiver: Receiver::new(config),
            formats,
            label,
            beside,
            stream,
            latency,
            packets: 0,
            foreign: 0,
            ready: Vec::new(),
            places: VecDeque::new(),
        }
    }

    /// A packet of the hop, without SRTP, that came by `path`. [`Verdict::Again`]: [`Self::take_ready`], and then once more.
    #[inline]
    pub(crate) fn handle_packet(&mut self, now: Instant, path: usize, index: u64, packet: &[u8]) -> Verdict {
        self.packets += 1;
        self.receiver.handle_packet_by(now, path, index, Source::Media, packet)
    }

    /// A packet came by `path` that SRTP takes for a replay: most probably a copy.
    pub(crate) fn handle_copy(&mut self, now: Instant, path: usize, sequence: u16, bytes: usize) {
        self.receiver.handle_copy(now, path, sequence, bytes);
    }

    /// The budget that the sender agreed to: less than this side wished, perhaps.
    pub(crate) fn agree(&mut self, latency: Duration) {
        if latency < self.latency {
            self.latency = latency;
            self.receiver.set_budget(latency);
        }
    }

    /// The line begins with this number, if nothing came yet: lines begin in the first round of numbers.
    pub(crate) fn begin(&mut self, first: u16) {
        self.receiver.begin(first.into());
    }

    /// A packet of the flow beside it: whether it is to be [taken](Self::take_ready) what is there now.
    ///
    /// # Errors
    /// The name of what is wrong with it, for a counter.
    pub(crate) fn handle_beside(&mut self, now: Instant, packet: &mut [u8]) -> Result<(), &'static str> {
        let header = Header::parse(packet).map_err(|error| error.name())?;
        if header.payload_type == self.formats.repair {
            self.receiver.handle_repair(now, header.payload(packet));
            self.collect();
            return Ok(());
        }
        let media = self.formats.media_of(header.payload_type).ok_or("hop_beside_unknown")?;
        let rtx = Identity { ssrc: header.ssrc, payload_type: header.payload_type };
        let original = Identity { ssrc: self.label.ssrc(), payload_type: media };
        let (number, packet) = rtx::restore(packet, rtx, original).map_err(|error| error.name())?;
        let next = self.receiver.requester().next_index().ok_or("hop_beside_early")?;
        // The nearest to the newest: nothing is sent again that is older than half a round of numbers.
        let distance = number.wrapping_sub(next as u16) as i16;
        let index = next.checked_add_signed(i64::from(distance)).ok_or("hop_beside_early")?;
        loop {
            match self.receiver.handle_packet(now, index, Source::Nack, packet) {
                Verdict::Again => self.collect(),
                Verdict::Pass => {
                    let at = self.ready.len();
                    self.ready.extend_from_slice(packet);
                    self.places.push_back((index, at, packet.len()));
                    break;
                }
                _ => break,
            }
        }
        self.collect();
        Ok(())
    }

    /// The round trip, as the path measured it.
    pub(crate) fn handle_rtt(&mut self, rtt: Duration) {
        self.receiver.handle_rtt(rtt);
    }

    /// The sender told where its line ends.
    pub(crate) fn handle_next(&mut self, now: Instant, next: Next) {
        self.receiver.handle_next(now, next);
        self.collect();
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.receiver.handle_timeout(now);
        self.collect();
    }

    /// Waits for nothing that is missing now.
    pub(crate) fn give_up(&mut self, now: Instant) {
        self.handle_timeout(now + self.latency);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.receiver.poll_timeout()
    }

    fn collect(&mut self) {
        let own = self.label.ssrc().to_be_bytes();
        while let Some(delivered) = self.receiver.poll_delivered() {
            // What is sent has been told by its source already; what is computed may be of whatever the repair packets were made of.
            if delivered.source == Source::Fec && delivered.packet.get(8..12) != Some(&own[..]) {
                self.foreign += 1;
                continue;
            }
            let at = self.ready.len();
            self.ready.extend_from_slice(delivered.packet);
            self.places.push_back((delivered.index, at, delivered.packet.len()));
        }
    }

    /// What is ready to leave, in order: the bytes, and index, offset and length of each packet. To be given back by
    /// [`Self::give_back`].
    pub(crate) fn take_ready(&mut self) -> Option<(Vec<u8>, VecDeque<Place>)> {
        self.collect();
        (!self.places.is_empty()).then(|| (std::mem::take(&mut self.ready), std::mem::take(&mut self.places)))
    }

    /// Packets of other flows that repair packets gave since the last call: they were dropped.
    pub(crate) fn take_foreign(&mut self) -> u64 {
        std::mem::take(&mut self.foreign)
    }

    /// Keeps the memory for the next time.
    pub(crate) fn give_back(&mut self, mut bytes: Vec<u8>, mut places: VecDeque<Place>) {
        bytes.clear();
        places.clear();
        if self.places.is_empty() {
            (self.ready, self.places) = (bytes, places);
        }
    }

    /// The next RTCP packet for the sender, from the flow `own`.
    pub(crate) fn poll_transmit(&mut self, now: Instant, own: Label, out: &mut Vec<u8>) -> Option<()> {
        out.clear();
        match self.receiver.poll_transmit(now)? {
            ToSender::Report(report) => {
                out.extend_from_slice(Message::Report(report).write(own.ssrc()).as_ref())
            }
            ToSender::Request(request) => {
                out.resize(REQUEST_BYTES, 0);
                let mut writer = Writer::new(out);
                // What has no room is asked for in the next round.
                let _ = wire::write_request(&mut writer, own.ssrc(), self.label.ssrc(), request.passes());
                let length = writer.len();
                out.truncate(length);
            }
        }
        Some(())
    }

    pub(crate) fn counts(&self) -> Counts {
        let counts = self.receiver.counts();
        Counts {
            fec: counts.recovered_by_fec,
            nack: counts.recovered_by_nack,
            path: counts.recovered_by_path,
            // A hop has one line: what it leaves out was lost.
            unrecovered: counts.unrecovered.saturating_add(self.receiver.window().stats().skipped),
            ..Counts::default()
        }
    }

    /// What each path has brought so far.
    fn paths(&self) -> Vec<FlowPath> {
        let path = |number: usize| {
            let stats = self.receiver.path(number).filter(|stats| stats.received > 0)?;
            Some(FlowPath {
                path: number + 1,
                packets: stats.received,
                first: stats.first,
                recovered: stats.recovered,
                lost: stats.lost,
                skew_ms: milliseconds(stats.skew),
            })
        };
        (0..MAX_PATHS).filter_map(path).collect()
    }

    pub(crate) fn status(&self, label: Label) -> FlowProtection {
        let counts = self.counts();
        FlowProtection {
            label: label.to_string(),
            stream: self.stream.clone(),
            receives: true,
            latency_ms: milliseconds(self.latency),
            packets: self.packets,
            lost: counts.lost(),
            recovered_by_fec: counts.fec,
            recovered_by_nack: counts.nack,
            recovered_by_path: counts.path,
            unrecovered: counts.unrecovered,
            plan: self.receiver.explain(),
            paths: self.paths(),
            ..FlowProtection::default()
        }
    }
}
