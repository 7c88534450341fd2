//! A protected track on its way to another member.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_core::hop::{Label, Trailer};
use msm_core::hub::ReaderId;
use msm_core::route::Protection;
use msm_core::rtcp::{Acceptance, Compound};
use msm_core::rtp::{HEADER_LEN, patch_header};
use msm_fec::nack::rtx::{self, Identity};
use msm_fec::nack::{HistoryLimits, wire};
use msm_fec::protect::wire::Message;
use msm_fec::protect::{Sender, SenderConfig, SourcePacket, ToReceiver};

use super::keeper::{Keeper, Sent};
use super::{Counts, Formats};
use crate::events::{EventKind, Subscribers};
use crate::hop::doubt::Newest;
use crate::hop::outlet::Outlet;
use crate::hub::shard::Shard;
use crate::metrics::PlanCount;
use crate::status::{FlowProtection, milliseconds};

/// What is between a packet and its answer at most, beside the budget: a round trip that is longer has no use.
const SLACK: Duration = Duration::from_millis(100);

/// How much longer than the longest source packet what protects it is, SRTP aside.
pub(crate) const LONGER: usize = HEADER_LEN + msm_fec::rs::payload::OVERHEAD_BYTES;

/// Which flow a datagram belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The one beside the media's, as RTP.
    Beside,
    /// The media's, as RTCP.
    Control,
}

/// The sender's half.
pub(crate) struct Sending {
    sender: Sender<Sent>,
    keeper: Keeper,
    /// A packet that is sent again.
    again: Vec<u8>,
    formats: Formats,
    /// The flow for repair packets and retransmissions.
    pub(crate) beside: Rc<Outlet>,
    next: u16,
    timestamp: u32,
    /// Whether what was lost is sent again.
    answers: bool,
    /// Whether packets with a marker end a burst: those of video do. Others come one by one.
    marks: bool,
    label: Label,
    /// For the log.
    stream: String,
    latency: Duration,
    packets: u64,
    /// What is decided, for the metrics.
    count: PlanCount,
    events: Arc<Subscribers>,
    /// The stream of this process that it is of.
    hub: Option<u64>,
    counts: Counts,
    asked: Newest,
    /// Packets that were asked for and are not kept any more, or have no payload type to be sent again under.
    unanswered: u64,
}

/// A packet of the media.
pub(crate) struct Source<'a> {
    /// As it is before SRTP.
    pub(crate) bytes: &'a [u8],
    /// Where the hub keeps it, if it does.
    pub(crate) position: Option<u64>,
    /// What the hop added to it.
    pub(crate) trailer: Trailer,
}

/// How a track is to be protected.
pub(crate) struct SendPlan {
    pub(crate) formats: Formats,
    pub(crate) marks: bool,
    pub(crate) stream: String,
    pub(crate) protection: Protection,
}

impl Sending {
    pub(crate) fn new(
        plan: SendPlan,
        label: Label,
        beside: Rc<Outlet>,
        first: u16,
        (count, events): (PlanCount, Arc<Subscribers>),
    ) -> Self {
        let SendPlan { formats, marks, stream, protection } = plan;
        let latency = protection.latency;
        let age = latency + SLACK;
        let history = HistoryLimits { bytes: super::HISTORY_BYTES, age, ..HistoryLimits::default() };
        let config =
            SenderConfig { limits: super::limits(&protection), history, ..SenderConfig::new(latency) };
        Self {
            sender: Sender::new(config),
            keeper: Keeper::new(super::HISTORY_BYTES, age),
            again: Vec::new(),
            formats,
            beside,
            next: first & 0x7fff,
            timestamp: 0,
            answers: protection.nack,
            marks,
            label,
            stream,
            latency,
            packets: 0,
            count,
            events,
            hub: None,
            counts: Counts::default(),
            asked: Newest::default(),
            unanswered: 0,
        }
    }

    /// Looks for packets in the hub from now on, of which this is a reader's track.
    pub(crate) fn keep_in(&mut self, shard: &Rc<Shard>, id: ReaderId, track: usize) {
        self.hub = Some(shard.handle.id);
        if self.answers {
            self.keeper.keep_in(shard, id, track);
        }
    }

    /// Packets of the hop, as they are before SRTP, are about to be sent together; their indices are consecutive from `first` on.
    #[inline]
    pub(crate) fn handle_burst<'a>(
        &mut self,
        now: Instant,
        first: u64,
        packets: impl Iterator<Item = Source<'a>>,
    ) {
        let Self { sender, keeper, timestamp, marks, packets: count, counts, .. } = self;
        let packets = packets.map(|Source { bytes, position, trailer }| {
            let marker = bytes.get(1).is_some_and(|byte| byte & 0x80 != 0);
            if let Some(four) = bytes.get(4..8).and_then(|four| four.try_into().ok()) {
                *timestamp = u32::from_be_bytes(four);
            }
            *count += 1;
            counts.media_bytes += bytes.len() as u64;
            let reference = keeper.push(now, bytes, position, trailer);
            SourcePacket { bytes, last: !*marks || marker, reference }
        });
        sender.handle_burst(now, first, packets);
    }

    /// RTCP of the receiver about this track that is not a report of the hub's; how many packets it asks for the first
    /// time.
    pub(crate) fn handle_feedback(&mut self, now: Instant, compound: &[u8]) -> usize {
        for message in Message::all(compound) {
            let Message::Report(report) = message else { continue };
            let has_changed = self.sender.handle_report(now, &report);
            if let Some(plan) = self.sender.plan() {
                self.count.set(plan, has_changed);
            }
            if has_changed {
                let why = self.sender.explain();
                tracing::info!(stream = self.stream, label = %self.label, why, "protection");
                self.events.tell(self.hub, || {
                    let (label, plan) = (self.label.to_string(), why.to_owned());
                    (self.stream.clone(), EventKind::ProtectionChanged { label, plan })
                });
            }
        }
        if self.answers
            && let Ok(compound) = Compound::parse(compound, Acceptance::ReducedSize)
        {
            let numbers = wire::requests(&compound, self.label.ssrc()).flat_map(|nack| nack.lost());
            let mut asked = 0;
            let newest = &mut self.asked;
            let numbers = numbers.inspect(|number| asked += usize::from(newest.is_passed_by(*number)));
            self.sender.handle_request(now, numbers);
            return asked;
        }
        0
    }

    /// Source packets that were sent so far.
    pub(crate) fn packets(&self) -> u64 {
        self.packets
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.sender.handle_timeout(now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.sender.poll_timeout()
    }

    /// Writes the next datagram, as it is before SRTP, to `room`. To be called until there is none.
    pub(crate) fn poll_transmit(&mut self, room: &mut Vec<u8>) -> Option<Flow> {
        loop {
            let ssrc = self.beside.label.ssrc();
            room.clear();
            match self.sender.poll_transmit()? {
                ToReceiver::Repair(repair) => {
                    room.extend_from_slice(&[0x80; HEADER_LEN]);
                    room.extend_from_slice(repair.payload);
                    patch_header(room, self.formats.repair, self.next, self.timestamp, ssrc);
                    self.counts.repair_packets += 1;
                }
                ToReceiver::Again(answer) => {
                    let Self { keeper, again, .. } = self;
                    let rtx = keeper.write(answer.index, answer.reference, again).and_then(|()| {
                        let packet = again.as_slice();
                        let media = packet.get(1)? & 0x7f;
                        let identity = Identity { ssrc, payload_type: self.formats.rtx_of(media)? };
                        room.resize(packet.len() + rtx::OVERHEAD, 0);
                        rtx::Writer::new(identity, self.next).write(packet, room).ok()
                    });
                    let Some(length) = rtx else {
                        self.unanswered += 1;
                        continue;
                    };
                    room.truncate(length);
                    self.counts.retransmitted += 1;
                }
                ToReceiver::Next(next) => {
                    room.extend_from_slice(Message::Next(next).write(self.label.ssrc()).as_ref());
                    self.counts.beside_bytes += room.len() as u64;
                    return Some(Flow::Control);
                }
            }
            self.next = self.next.wrapping_add(1);
            self.counts.beside_bytes += room.len() as u64;
            return Some(Flow::Beside);
        }
    }

    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Packets that were asked for and could not be sent again.
    pub(crate) const fn unanswered(&self) -> u64 {
        self.unanswered
    }

    pub(crate) fn status(&self, label: Label) -> FlowProtection {
        let Counts { media_bytes, beside_bytes, repair_packets, retransmitted, .. } = self.counts;
        FlowProtection {
            label: label.to_string(),
            stream: self.stream.clone(),
            latency_ms: milliseconds(self.latency),
            packets: self.packets,
            repair_packets,
            retransmitted,
            overhead: beside_bytes as f64 / (media_bytes as f64).max(1.0),
            plan: self.sender.explain().to_owned(),
            ..FlowProtection::default()
        }
    }
}
