//! RTCP with readers: sender reports to them, receiver reports and feedback from them.

use std::time::{Duration, Instant};

use super::super::ingest::randomised;
use super::super::{FanoutCounters, Kind, Outgoing, SendOutcome, Sink};
use super::line::{Line, State};
use super::{Fanout, FanoutEvent, ReaderId, Track};
use crate::rtcp::{Acceptance, Compound, Packet, ReportBlocks, Writer};

/// Room for a sender report (28 bytes), a CNAME (at most 268) and a BYE (8).
const BUFFER: usize = 320;

/// Reports that are due within this go out together: one look at the readers for all of them.
const TOGETHER: Duration = Duration::from_millis(20);

impl<D> Track<D> {
    /// Readers that have heard the clock hear it at this time: their line has moved.
    #[cold]
    pub(super) fn report_at(&mut self, now: Instant) {
        for (_, line) in &mut self.lines {
            if line.next_report.is_some() {
                line.next_report = Some(now);
                self.report = Some(now);
            }
        }
    }
}

impl<D> Fanout<D> {
    /// Sends sender reports of `track` to readers that are due, or to `all`. None is made up before the publisher's
    /// first (RFC 3550 §6.4.1 leaves NTP to the source).
    pub(super) fn send_reports(&mut self, now: Instant, track: usize, all: bool, sink: &mut impl Sink<D>) {
        let Some(fan) = self.tracks.get_mut(track) else { return };
        let clock = fan.up.line_clock().map(|clock| clock.at(now, fan.up.rate));
        fan.report = None;
        let soon = now + TOGETHER;
        for (_, line) in &mut fan.lines {
            let Some(due) = line.next_report else { continue };
            if line.state == State::Idle {
                continue;
            }
            if (all || due <= soon)
                && let Some((ntp, rtp)) = clock
                && line.has_sent()
            {
                let info = line.stats.sender_report(now, ntp, rtp.wrapping_add(line.timestamp_offset));
                let cname = cname_of(&fan.cname, &self.readers, line.id);
                let mut buffer = [0; BUFFER];
                let mut writer = Writer::new(&mut buffer);
                // Both fit: see BUFFER. A CNAME from the network has at most 255 bytes.
                let _ = writer.sender_report(&info, &[]);
                let _ = writer.sdes_cname(line.ssrc, cname);
                send(track, line, writer.finish(), &mut self.counters, sink);
            }
            if all || due <= soon {
                line.next_report = Some(now + randomised(&mut line.rng, self.config.report_interval));
            }
            if let Some(next) = line.next_report {
                fan.report = Some(fan.report.map_or(next, |earliest| earliest.min(next)));
            }
        }
    }

    /// Tells a reader, or all with `None`, that the stream ends: RTCP BYE for each track that was sent.
    pub fn bye(&mut self, _now: Instant, id: Option<ReaderId>, sink: &mut impl Sink<D>) {
        for (track, fan) in self.tracks.iter_mut().enumerate() {
            for (_, line) in &mut fan.lines {
                if !line.has_sent() || id.is_some_and(|id| id != line.id) {
                    continue;
                }
                let cname = cname_of(&fan.cname, &self.readers, line.id);
                let mut buffer = [0; BUFFER];
                let mut writer = Writer::new(&mut buffer);
                let _ = writer.receiver_report(line.ssrc, &[]);
                let _ = writer.sdes_cname(line.ssrc, cname);
                let _ = writer.bye(&[line.ssrc], "");
                send(track, line, writer.finish(), &mut self.counters, sink);
            }
        }
    }

    /// Takes an RTCP datagram of a reader: its report, keyframe requests, BYE. Compound or not (RFC 5506).
    /// What it asks for again goes to `sink`.
    pub fn handle_reader_rtcp(
        &mut self,
        now: Instant,
        id: ReaderId,
        track: usize,
        datagram: &[u8],
        sink: &mut impl Sink<D>,
    ) {
        let Some(key) = self.line_key(id, track) else {
            self.counters.unknown_track += 1;
            return;
        };
        let Ok(compound) = Compound::parse(datagram, Acceptance::ReducedSize) else {
            self.counters.rtcp_malformed += 1;
            return;
        };
        let mut keyframe = false;
        let mut bye = false;
        let mut asked = false;
        let mut last = None;
        let Some(fan) = self.tracks.get_mut(track) else { return };
        let Some(line) = fan.lines.get_mut(key) else { return };
        let rate = fan.up.rate;
        let mut report = |line: &mut Line<D>, blocks: ReportBlocks<'_>| {
            for block in blocks {
                last = line.stats.handle_report_block(now, &block, rate).or(last);
            }
            if let (Some(again), Some(rtt)) = (&mut line.again, last.and_then(|report| report.rtt)) {
                again.set_rtt(rtt);
            }
        };
        for packet in compound.packets() {
            match packet {
                Ok(Packet::ReceiverReport(packet)) => report(line, packet.blocks),
                Ok(Packet::SenderReport(packet)) => report(line, packet.blocks),
                Ok(Packet::Sdes(_)) => {}
                Ok(Packet::Bye(_)) => bye = true,
                Ok(Packet::Pli(_) | Packet::Fir(_)) => {
                    self.counters.keyframe_requests += 1;
                    keyframe = true;
                }
                Ok(Packet::Nack(nack)) => {
                    self.counters.nacked += nack.lost().count() as u64;
                    asked = true;
                }
                Ok(_) => self.counters.rtcp_unmapped += 1,
                Err(_) => self.counters.rtcp_malformed += 1,
            }
        }
        if asked {
            self.answer(now, track, key, &compound, sink);
        }
        if let Some(report) = last {
            self.events.push_back(FanoutEvent::ReaderReport { id, track, report });
        }
        if keyframe {
            self.want_keyframe(track);
        }
        if bye {
            self.events.push_back(FanoutEvent::ReaderBye { id });
        }
    }
}

/// The publisher's name if it is known, else the reader's own.
fn cname_of<'a>(
    publisher: &'a Option<std::sync::Arc<[u8]>>,
    readers: &'a slab::Slab<super::Reader>,
    id: ReaderId,
) -> &'a [u8] {
    match publisher {
        Some(cname) => cname,
        None => readers.get(id.index as usize).map_or(b"msm", |reader| reader.cname.as_bytes()),
    }
}

fn send<D>(
    track: usize,
    line: &mut Line<D>,
    bytes: &mut [u8],
    counters: &mut FanoutCounters,
    sink: &mut impl Sink<D>,
) {
    let segment = bytes.len();
    if segment == 0 {
        return;
    }
    let kind = Kind::Rtcp;
    let report = Outgoing { track, kind, bytes, segment, ecn: 0, position: None, put_off: None };
    match sink.send(&mut line.dest, report) {
        SendOutcome::Sent => counters.rtcp_sent += 1,
        SendOutcome::Full | SendOutcome::Failed => counters.rtcp_failed += 1,
    }
}
