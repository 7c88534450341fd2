//! The publisher's side of the hub.

mod renumber;
mod source;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::renumber::Renumber;
pub use self::source::TrackStats;
use self::source::{Decision, Lock};
use super::{IngestConfig, IngestCounters, Reason, SenderClock, TrackInfo};
use crate::burst::Burst;
use crate::rng::Rng;
use crate::rtcp::{Acceptance, Compound, FirEntry, Packet, ReportBlock, SenderInfo, Writer};

/// What the publisher's packets tell, for the [`Fanout`](super::Fanout)s of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngestEvent {
    /// The source related its wall clock to its media clock: give it to
    /// [`Fanout::handle_sender_report`](super::Fanout::handle_sender_report).
    SenderReport {
        /// The track.
        track: usize,
        /// The report's clocks, in the source's own timestamps.
        clock: SenderClock,
    },
    /// The source's canonical name became known or changed: give it to [`Fanout::set_cname`](super::Fanout::set_cname).
    Cname {
        /// The track.
        track: usize,
        /// The name, at most 255 bytes.
        cname: Arc<[u8]>,
    },
    /// Another source took over, or the same one started its sequence anew. It holds from the first packet of the burst
    /// that was just handled: give it to [`Fanout::handle_source_changed`](super::Fanout::handle_source_changed)
    /// *before* that burst.
    SourceChanged {
        /// The track.
        track: usize,
        /// The SSRC so far.
        old: u32,
        /// The SSRC from now on.
        new: u32,
    },
    /// The source said that it ends.
    Bye {
        /// The track.
        track: usize,
    },
}

/// One track of the publisher.
#[derive(Debug)]
struct Track {
    lock: Lock,
    /// Our own SSRC in reports to the source.
    own_ssrc: u32,
    /// A sender report that came before the first packet, with its SSRC.
    early_report: Option<(u32, SenderClock)>,
    cname: Option<Arc<[u8]>>,
    next_report: Instant,
    /// When a wanted keyframe request may go out.
    keyframe_due: Option<Instant>,
    keyframe_sent: Option<Instant>,
    fir_sequence: u8,
    bye_pending: bool,
    /// The stream's numbers of the source's payload types, where they differ.
    renumber: Option<Renumber>,
    /// Payload type and clock rate of the last packet: nearly always those of the next one.
    last_payload_type: Option<(u8, u32)>,
}

/// The publisher's side of one stream: validates its packets, measures, reports, asks for keyframes.
///
/// * **Inputs:** [`handle_rtp`](Self::handle_rtp), [`handle_rtcp`](Self::handle_rtcp),
///   [`handle_timeout`](Self::handle_timeout).
/// * **Commands:** [`request_keyframe`](Self::request_keyframe), [`restart`](Self::restart),
///   [`replace_source`](Self::replace_source), [`bye`](Self::bye).
/// * **Outputs**, drained after each input and command: [`poll_event`](Self::poll_event),
///   [`poll_transmit`](Self::poll_transmit), then [`poll_timeout`](Self::poll_timeout).
///
/// Events of a burst are given to the fan-outs before the burst itself.
#[derive(Debug)]
pub struct Ingest {
    infos: Arc<[TrackInfo]>,
    tracks: Vec<Track>,
    config: IngestConfig,
    cname: String,
    rng: Rng,
    events: VecDeque<IngestEvent>,
    counters: IngestCounters,
}

impl Ingest {
    /// An ingest that has received nothing. `seed` decides its SSRCs, its CNAME and when it reports.
    pub fn new(tracks: Arc<[TrackInfo]>, config: IngestConfig, seed: u64, now: Instant) -> Self {
        let mut rng = Rng::new(seed);
        let cname = if config.cname.is_empty() {
            format!("msm-{:016x}", rng.next_u64())
        } else {
            config.cname.clone()
        };
        let states = tracks
            .iter()
            .map(|_| Track {
                lock: Lock::default(),
                own_ssrc: rng.next_u32(),
                early_report: None,
                cname: None,
                next_report: now + randomised(&mut rng, config.report_interval / 2),
                keyframe_due: None,
                keyframe_sent: None,
                fir_sequence: 0,
                bye_pending: false,
                renumber: None,
                last_payload_type: None,
            })
            .collect();
        Ingest {
            infos: tracks,
            tracks: states,
            config,
            cname,
            rng,
            events: VecDeque::new(),
            counters: IngestCounters::default(),
        }
    }

    /// Reports on `track` come from this SSRC from now on, where a peer has been told it before.
    pub fn set_own_ssrc(&mut self, track: usize, ssrc: u32) {
        if let Some(track) = self.tracks.get_mut(track) {
            track.own_ssrc = ssrc;
        }
    }

    /// The source's payload types of `track` and the stream's for the same: packets get the stream's from now on, and those that
    /// have none are dropped. Without any, numbers are left as they are.
    pub fn set_payload_types(&mut self, track: usize, numbers: &[(u8, u8)]) {
        if let Some(track) = self.tracks.get_mut(track) {
            track.renumber = Renumber::new(numbers);
        }
    }

    /// Takes a burst of the source's RTP packets of `track`. Packets that are not to go on are marked invalid in the
    /// burst and counted by reason.
    pub fn handle_rtp(&mut self, _now: Instant, track: usize, burst: &mut Burst<'_>) {
        let (Some(info), Some(state)) = (self.infos.get(track), self.tracks.get_mut(track)) else {
            self.counters.unknown_track += burst.segments().len() as u64;
            burst.parts_mut().1.iter_mut().for_each(|segment| segment.valid = false);
            return;
        };
        let arrival = burst.arrival();
        let counters = &mut self.counters;
        let mut changed_at = None;
        let (bytes, segments) = burst.parts_mut();
        for (index, segment) in segments.iter_mut().enumerate() {
            if !segment.valid {
                counters.malformed += 1;
                continue;
            }
            if let Some(renumber) = &state.renumber
                && !renumber.apply(bytes, segment)
            {
                counters.unknown_payload_type += 1;
                segment.valid = false;
                continue;
            }
            let header = &segment.header;
            let rate = match state.last_payload_type {
                Some((number, rate)) if number == header.payload_type => rate,
                _ => {
                    if !info.accepts(header.payload_type) {
                        counters.unknown_payload_type += 1;
                        segment.valid = false;
                        continue;
                    }
                    let rate = clock_rate(info, header.payload_type);
                    state.last_payload_type = Some((header.payload_type, rate));
                    rate
                }
            };
            let unlocked = state.lock.ssrc().is_none();
            match state.lock.handle(arrival, header, rate, self.config.source_timeout) {
                Decision::Accept => {
                    if unlocked
                        && let Some((ssrc, clock)) = state.early_report.take()
                        && ssrc == header.ssrc
                    {
                        learn_clock(state, &mut self.events, track, clock);
                    }
                }
                Decision::AcceptChanged { old } => {
                    changed_at = Some(index);
                    state.early_report = None;
                    counters.source_changes += 1;
                    self.events.push_back(IngestEvent::SourceChanged { track, old, new: header.ssrc });
                }
                Decision::Foreign => {
                    counters.foreign_ssrc += 1;
                    segment.valid = false;
                }
                Decision::Duplicate => {
                    counters.duplicate += 1;
                    segment.valid = false;
                }
                Decision::BadSequence => {
                    counters.bad_sequence += 1;
                    segment.valid = false;
                }
            }
        }
        // The change holds for a whole burst, so what the old source still had in it goes.
        for segment in segments.iter_mut().take(changed_at.unwrap_or(0)).filter(|segment| segment.valid) {
            segment.valid = false;
            counters.foreign_ssrc += 1;
        }
    }

    /// Takes an RTCP datagram of the source of `track`.
    pub fn handle_rtcp(&mut self, now: Instant, track: usize, datagram: &[u8]) {
        let Some(state) = self.tracks.get_mut(track) else {
            self.counters.unknown_track += 1;
            return;
        };
        let acceptance =
            if self.config.reduced_size_rtcp { Acceptance::ReducedSize } else { Acceptance::Compound };
        let Ok(compound) = Compound::parse(datagram, acceptance) else {
            self.counters.rtcp_malformed += 1;
            return;
        };
        for packet in compound.packets() {
            match packet {
                Ok(Packet::SenderReport(report)) => {
                    let SenderInfo { ssrc, ntp, rtp_timestamp, .. } = report.info;
                    // A sender without a wall clock sends zero (RFC 3550 §6.4.1).
                    if ntp.to_bits() == 0 {
                        continue;
                    }
                    let clock = SenderClock { ntp, rtp: rtp_timestamp, arrival: now };
                    match state.lock.ssrc() {
                        Some(locked) if locked == ssrc => learn_clock(state, &mut self.events, track, clock),
                        Some(_) => self.counters.rtcp_foreign_ssrc += 1,
                        None => state.early_report = Some((ssrc, clock)),
                    }
                }
                Ok(Packet::Sdes(sdes)) => {
                    let cname = sdes
                        .chunks()
                        .map_while(Result::ok)
                        .filter(|chunk| state.lock.ssrc().is_none_or(|locked| locked == chunk.ssrc))
                        .find_map(|chunk| chunk.cname());
                    if let Some(cname) = cname
                        && !cname.is_empty()
                        && state.cname.as_deref() != Some(cname)
                    {
                        let cname: Arc<[u8]> = cname.into();
                        state.cname = Some(Arc::clone(&cname));
                        self.events.push_back(IngestEvent::Cname { track, cname });
                    }
                }
                Ok(Packet::Bye(bye)) => {
                    if bye.sources().any(|ssrc| state.lock.ssrc() == Some(ssrc)) {
                        state.lock.bye();
                        self.events.push_back(IngestEvent::Bye { track });
                    } else {
                        self.counters.rtcp_foreign_ssrc += 1;
                    }
                }
                // A publisher's report on what it receives from us: nothing.
                Ok(Packet::ReceiverReport(_)) => {}
                Ok(_) => self.counters.rtcp_unmapped += 1,
                Err(_) => self.counters.rtcp_malformed += 1,
            }
        }
    }

    /// Asks the source of `track` for a keyframe: at once, or as soon as
    /// [`keyframe_interval`](IngestConfig::keyframe_interval) since the last request is over and a source is known.
    pub fn request_keyframe(&mut self, now: Instant, track: usize) {
        let Some(state) = self.tracks.get_mut(track) else { return };
        if state.keyframe_due.is_some() {
            self.counters.keyframe_requests_merged += 1;
        } else {
            let allowed =
                state.keyframe_sent.map_or(now, |sent| sent + self.config.keyframe_interval.min(LONGEST));
            state.keyframe_due = Some(allowed.max(now));
        }
    }

    /// The source was told to play from another place (seek), so its sequence may jump: that is neither loss nor a
    /// change of source, and no packet of the new place is dropped on probation.
    pub fn restart(&mut self, _now: Instant) {
        self.tracks.iter_mut().for_each(|track| track.lock.restart());
    }

    /// The session to the publisher was replaced by another one: its first packets are locked on, whatever their SSRC.
    /// The caller tells the fan-outs itself ([`Fanout::handle_source_changed`](super::Fanout::handle_source_changed)
    /// for each track).
    pub fn replace_source(&mut self, now: Instant) {
        for track in &mut self.tracks {
            track.lock.release();
            track.early_report = None;
            track.keyframe_sent = None;
            track.next_report = now + randomised(&mut self.rng, self.config.report_interval / 2);
        }
    }

    /// Says BYE to the source with the next [`poll_transmit`](Self::poll_transmit) of each track.
    pub fn bye(&mut self, _now: Instant) {
        self.tracks.iter_mut().for_each(|track| track.bye_pending = true);
    }

    /// Writes the next RTCP datagram for the publisher into `out` and says for which track and how long it is; `None`
    /// when there is none. `out` of 512 bytes is enough; what does not fit is left out.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<(usize, usize)> {
        for (index, track) in self.tracks.iter_mut().enumerate() {
            let keyframe = keyframe_due(track).is_some_and(|due| due <= now);
            let bye = std::mem::take(&mut track.bye_pending);
            if !(keyframe || bye || track.next_report <= now) {
                continue;
            }
            track.next_report = now + randomised(&mut self.rng, self.config.report_interval);
            let source = track.lock.ssrc();
            let block = track.lock.source_mut().and_then(|source| source.stats.report_block(now));
            let blocks: &[ReportBlock] = block.as_slice();
            let mut writer = Writer::new(&mut *out);
            // What does not fit is not written; the datagram stays a valid one.
            let _ = writer.receiver_report(track.own_ssrc, blocks);
            let _ = writer.sdes_cname(track.own_ssrc, &self.cname);
            if let Some(source) = source.filter(|_| keyframe) {
                track.keyframe_due = None;
                track.keyframe_sent = Some(now);
                self.counters.keyframe_requests += 1;
                if self.config.use_fir {
                    track.fir_sequence = track.fir_sequence.wrapping_add(1);
                    let _ = writer
                        .fir(track.own_ssrc, &[FirEntry { ssrc: source, sequence: track.fir_sequence }]);
                } else {
                    let _ = writer.pli(track.own_ssrc, source);
                }
            }
            if bye {
                let _ = writer.bye(&[track.own_ssrc], "");
            }
            if !writer.is_empty() {
                return Some((index, writer.len()));
            }
        }
        None
    }

    /// Begins a datagram of feedback to the source of `track`, if that is known: a report without a block and our name, which
    /// come first in each (RFC 4585 §3.1). Returns the writer, our SSRC and the source's.
    pub fn feedback<'o>(&self, track: usize, out: &'o mut [u8]) -> Option<(Writer<'o>, u32, u32)> {
        let own = self.tracks.get(track)?;
        let source = own.lock.ssrc()?;
        let mut writer = Writer::new(out);
        writer.receiver_report(own.own_ssrc, &[]).ok()?.sdes_cname(own.own_ssrc, &self.cname).ok()?;
        Some((writer, own.own_ssrc, source))
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<IngestEvent> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let reports = self.tracks.iter().map(|track| (track.next_report, Reason::Report));
        let keyframes =
            self.tracks.iter().filter_map(|track| keyframe_due(track).map(|due| (due, Reason::Keyframe)));
        reports.chain(keyframes).min_by_key(|(due, _)| *due)
    }

    /// Time has come: [`poll_transmit`](Self::poll_transmit) has what is due.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// The figures of one track; `None` if there is no such track.
    pub fn stats(&self, track: usize) -> Option<TrackStats> {
        self.tracks.get(track).map(|track| track.lock.stats())
    }

    /// The source that `track` is locked on.
    pub fn source(&self, track: usize) -> Option<u32> {
        self.tracks.get(track).and_then(|track| track.lock.ssrc())
    }

    /// Drops by reason, and other counters.
    pub fn counters(&self) -> &IngestCounters {
        &self.counters
    }
}

/// When a wanted keyframe request may go out; `None` if none is wanted or there is nobody to ask.
fn keyframe_due(track: &Track) -> Option<Instant> {
    track.keyframe_due.filter(|_| track.lock.ssrc().is_some())
}

fn learn_clock(state: &mut Track, events: &mut VecDeque<IngestEvent>, track: usize, clock: SenderClock) {
    if let Some(source) = state.lock.source_mut() {
        source.stats.handle_sender_report(clock.arrival, clock.ntp, clock.rtp);
    }
    events.push_back(IngestEvent::SenderReport { track, clock });
}

fn clock_rate(info: &TrackInfo, number: u8) -> u32 {
    info.payload_types
        .iter()
        .find(|payload_type| payload_type.number == number && payload_type.clock_rate != 0)
        .map_or(info.clock_rate(), |payload_type| payload_type.clock_rate)
}

/// The longest interval that is taken from a configuration.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// `mean` spread over half to one and a half (RFC 3550 §6.2), so that reports of many sessions do not fall together.
pub(super) fn randomised(rng: &mut Rng, mean: Duration) -> Duration {
    mean.min(LONGEST).mul_f64(0.5 + rng.next_f64())
}
