//! Packets that are sent again, because a reader lost them (RFC 4585 §6.2.1). They are read where the hub keeps them: a
//! reader's loss costs the publisher nothing.

use std::time::{Duration, Instant};

use super::super::{FanoutConfig, FanoutCounters, Kind, Outgoing, SendOutcome, Sink};
use super::line::{Line, State};
use super::{Fanout, HubError, ReaderId, Track};
use crate::rtcp::{Compound, Packet};
use crate::rtp::patch_header;

/// Numbers that are looked for in one datagram, at most.
const MAX_NUMBERS: usize = 1024;

/// Numbers of one reader's track that are looked for in a round trip, at most: what looking may cost.
const MAX_LOOKS: usize = 2 * MAX_NUMBERS;

/// What a packet may be longer by when it is sent again: its own number (RFC 4588 §4).
const LONGER: usize = 2;

/// Packets of which it is remembered when they were sent again. A power of two.
const REMEMBERED: usize = 1024;

/// What a reader's track is promised: see [`Fanout::set_history`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// How long packets are kept, at most [`FanoutConfig::history`].
    pub age: Duration,
    /// Whether the fan-out answers the reader's requests itself. If not, whoever owns the destination does, by
    /// [`Fanout::packet`].
    pub answers: bool,
    /// Whether packets are kept from now on, or from the reader's first request: many readers never ask.
    pub at_once: bool,
}

/// A packet that the hub keeps, and its header in a reader's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept<'a> {
    /// The packet as it is kept: the first byte and what is behind the SSRC are the publisher's, the 11 bytes between
    /// are some reader's.
    pub bytes: &'a [u8],
    /// Marker and payload type.
    pub marker_pt: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp.
    pub timestamp: u32,
    /// The source.
    pub ssrc: u32,
}

impl Kept<'_> {
    /// Writes the packet to the start of `out` as the reader got it; its length, `None` if there is no room.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let packet = out.get_mut(..self.bytes.len())?;
        packet.copy_from_slice(self.bytes);
        patch_header(packet, self.marker_pt, self.sequence, self.timestamp, self.ssrc);
        Some(packet.len())
    }
}

/// What was sent again to one reader.
#[derive(Debug)]
pub(super) struct Again {
    history: History,
    /// Bytes that may be sent again, in hundredths.
    allowed: u64,
    /// Bytes of media that `allowed` has its share of.
    paid: u64,
    rtt: Duration,
    epoch: Instant,
    /// When the looks were last counted from zero.
    window: Instant,
    looks: usize,
    /// Low bits of a position, and milliseconds from the epoch at which it was last sent again. Empty before the first
    /// request.
    recent: Vec<Option<(u32, u32)>>,
}

impl Again {
    fn new(now: Instant, history: History, config: &FanoutConfig) -> Self {
        Again {
            history,
            allowed: config.again_burst.saturating_mul(100),
            paid: 0,
            rtt: config.again_rtt,
            epoch: now,
            window: now,
            looks: 0,
            recent: Vec::new(),
        }
    }

    /// How long packets are to be kept, if they are.
    fn age(&self) -> Option<Duration> {
        self.history.at_once.then_some(self.history.age)
    }

    /// A round trip to the reader was measured.
    pub(super) fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt;
    }

    /// A request came, after so many bytes of media in all.
    fn begin(&mut self, now: Instant, media: u64, config: &FanoutConfig) {
        let fresh = media.saturating_sub(self.paid).saturating_mul(u64::from(config.again_percent));
        let most = config.again_burst.saturating_mul(100);
        self.allowed = self.allowed.saturating_add(fresh).min(most);
        self.paid = media;
        if now.saturating_duration_since(self.window) >= self.round() {
            self.window = now;
            self.looks = 0;
        }
        if self.recent.is_empty() {
            self.recent = vec![None; REMEMBERED];
        }
    }

    /// A copy of a request finds its packet sent; one of the next round trip does not, also if its way was faster.
    fn round(&self) -> Duration {
        self.rtt * 3 / 4
    }

    fn may_look(&mut self) -> bool {
        self.looks += 1;
        self.looks <= MAX_LOOKS
    }

    /// Whether the packet at `position` may be sent again, which it then is.
    fn take(&mut self, now: Instant, position: u64, len: usize, counters: &mut FanoutCounters) -> bool {
        let millis = |span: Duration| u32::try_from(span.as_millis()).unwrap_or(u32::MAX);
        let at = millis(now.saturating_duration_since(self.epoch));
        let round = millis(self.round()).max(1);
        let Some(slot) = self.recent.get_mut(position as usize % REMEMBERED) else { return false };
        let low = position as u32;
        if let Some((place, before)) = *slot
            && at.saturating_sub(before) < round
        {
            if place == low {
                counters.nack_suppressed += 1;
            } else {
                // So many packets are not lost in one round trip, but for an outage.
                counters.nack_throttled += 1;
            }
            return false;
        }
        let cost = (len as u64).saturating_add(LONGER as u64).saturating_mul(100);
        let Some(left) = self.allowed.checked_sub(cost) else {
            counters.nack_throttled += 1;
            return false;
        };
        self.allowed = left;
        *slot = Some((low, at));
        true
    }
}

impl<D> Track<D> {
    /// Keeps packets for as long as the reader wants it that wants it longest.
    pub(super) fn keep_history(&mut self, config: &FanoutConfig) {
        let ages = self.lines.iter().filter_map(|(_, line)| line.again.as_ref()?.age());
        let age = ages.max().map(|age| age.min(config.history));
        let age = age.filter(|age| !age.is_zero() && config.history_bytes > 0);
        self.up.cache.set_history(age.map(|age| (age, config.history_bytes)));
    }
}

impl<D> Line<D> {
    /// The positions of packets that this reader was sent.
    fn sent_to(&self, end: u64) -> std::ops::Range<u64> {
        match self.state {
            State::Idle | State::Start | State::Wait { .. } | State::Catch { fresh: true, .. } => 0..0,
            State::Skip { missed } => self.since..missed,
            State::Catch { cursor, fresh: false, .. } => self.since..cursor,
            State::Live => self.since..end,
        }
    }
}

impl<D> Fanout<D> {
    /// Keeps the packets of `track` for being sent again to this reader, as long as it is there; with `None`, no longer
    /// than late readers need them. A track's packets are kept once, for as long as the reader needs it that needs it
    /// longest, within [`FanoutConfig::history_bytes`].
    ///
    /// # Errors
    ///
    /// No such reader, or it has no such track.
    pub fn set_history(
        &mut self,
        now: Instant,
        id: ReaderId,
        track: usize,
        history: Option<History>,
    ) -> Result<(), HubError> {
        let key = self.line_key(id, track).ok_or(HubError::UnknownReader { id })?;
        let fan = self.tracks.get_mut(track).ok_or(HubError::UnknownTrack { track })?;
        if let Some(line) = fan.lines.get_mut(key) {
            line.again = history.map(|history| Box::new(Again::new(now, history, &self.config)));
        }
        fan.keep_history(&self.config);
        Ok(())
    }

    /// The packet at a [`position`](Outgoing::position) of `track`, with its header as this reader got it. `None` if it is
    /// not kept any more, or the reader's line has begun anew since.
    pub fn packet(&self, id: ReaderId, track: usize, position: u64) -> Option<Kept<'_>> {
        let fan = self.tracks.get(track)?;
        let line = fan.lines.get(self.line_key(id, track)?)?;
        if position < line.since {
            return None;
        }
        let (entry, bytes) = fan.up.cache.packet(position)?;
        let (sequence, timestamp) = line.map(entry.facts.sequence, entry.facts.timestamp);
        Some(Kept {
            bytes,
            marker_pt: line.marker_pt(entry.facts.marker_pt),
            sequence,
            timestamp,
            ssrc: line.ssrc,
        })
    }

    /// Sends what a reader asks for in a datagram, as far as it may have it.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        track: usize,
        key: usize,
        compound: &Compound<'_>,
        sink: &mut impl Sink<D>,
    ) {
        let Some(fan) = self.tracks.get_mut(track) else { return };
        let Some(line) = fan.lines.get_mut(key) else { return };
        // Taken out while packets of the line are patched.
        let Some(mut again) = line.again.take_if(|again| again.history.answers) else { return };
        let counters = &mut self.counters;
        again.begin(now, line.counters.bytes, &self.config);
        let sent = line.sent_to(fan.up.cache.end());
        let mut numbers = MAX_NUMBERS;
        for packet in compound.packets() {
            let Ok(Packet::Nack(nack)) = packet else { continue };
            if nack.media_ssrc != line.ssrc {
                counters.nack_foreign += 1;
                continue;
            }
            for number in nack.lost() {
                if numbers == 0 || !again.may_look() {
                    counters.nack_throttled += 1;
                    continue;
                }
                numbers -= 1;
                let position = fan.up.cache.find(line.unmap(number)).filter(|place| sent.contains(place));
                let Some((entry, bytes)) = position.and_then(|place| fan.up.cache.packet_mut(place)) else {
                    counters.nack_unknown += 1;
                    continue;
                };
                let (segment, kind) = (bytes.len(), Kind::Again);
                if position.is_none_or(|position| !again.take(now, position, segment, counters)) {
                    continue;
                }
                line.patch(bytes, segment, std::iter::once(&entry.facts));
                let packet = Outgoing { track, kind, bytes, segment, ecn: 0, position, put_off: None };
                match sink.send(&mut line.dest, packet) {
                    SendOutcome::Sent => {
                        counters.retransmitted += 1;
                        counters.retransmitted_bytes += segment as u64;
                    }
                    SendOutcome::Full | SendOutcome::Failed => counters.send_failed += 1,
                }
            }
        }
        let begins = !std::mem::replace(&mut again.history.at_once, true);
        line.again = Some(again);
        if begins {
            fan.keep_history(&self.config);
        }
    }
}
