//! Readers come, play, pause and go.

use std::time::Instant;

use super::super::ReaderCounters;
use super::super::clock::duration;
use super::clocks::Clocks;
use super::join::TRUST;
use super::line::{Line, State};
use super::upstream::Upstream;
use super::{Fanout, HubError, Reader, ReaderClosed, ReaderId, ReaderSetup, RtpInfo};
use crate::rng::Rng;
use crate::seq;

impl<D> Fanout<D> {
    /// Adds a reader, which gets nothing until it [plays](Self::play).
    ///
    /// # Errors
    ///
    /// The hub is full, or the setup names a track that the stream does not have or that it named before.
    pub fn add_reader(&mut self, _now: Instant, setup: ReaderSetup<D>) -> Result<ReaderId, HubError> {
        if self.readers.len() >= self.config.max_readers {
            return Err(HubError::TooManyReaders { limit: self.config.max_readers });
        }
        for (index, wanted) in setup.tracks.iter().enumerate() {
            if wanted.track >= self.tracks.len() {
                return Err(HubError::UnknownTrack { track: wanted.track });
            }
            if setup.tracks.iter().take(index).any(|other| other.track == wanted.track) {
                return Err(HubError::DuplicateTrack { track: wanted.track });
            }
        }
        let mut rng = Rng::new(setup.seed);
        let cname = match self.config.cname.as_str() {
            "" => format!("msm-{:016x}", rng.next_u64()),
            cname => cname.to_owned(),
        };
        self.generation = self.generation.wrapping_add(1);
        let entry = self.readers.vacant_entry();
        // Bounded by max_readers.
        let id = ReaderId { index: entry.key() as u32, generation: self.generation };
        let mut lines = Vec::with_capacity(setup.tracks.len());
        for wanted in setup.tracks {
            if let Some(fan) = self.tracks.get_mut(wanted.track) {
                let rng = Rng::new(rng.next_u64());
                let line =
                    Line::new(id, wanted.dest, wanted.ssrc, &wanted.payload_types, setup.late_join, rng);
                lines.push((wanted.track, fan.lines.insert(line)));
            }
        }
        entry.insert(Reader { generation: self.generation, playing: false, lines, cname });
        Ok(id)
    }

    /// Adds a track to a reader that is not playing yet, as RTSP sets tracks up one by one.
    ///
    /// # Errors
    ///
    /// No such reader or track, or the reader has the track already.
    pub fn add_track(
        &mut self,
        _now: Instant,
        id: ReaderId,
        seed: u64,
        wanted: super::ReaderTrack<D>,
        late_join: bool,
    ) -> Result<(), HubError> {
        let track = wanted.track;
        let reader = reader_mut(&mut self.readers, id)?;
        if reader.lines.iter().any(|(other, _)| *other == track) {
            return Err(HubError::DuplicateTrack { track });
        }
        let fan = self.tracks.get_mut(track).ok_or(HubError::UnknownTrack { track })?;
        let line = Line::new(id, wanted.dest, wanted.ssrc, &wanted.payload_types, late_join, Rng::new(seed));
        reader.lines.push((track, fan.lines.insert(line)));
        Ok(())
    }

    /// Starts a reader, or lets it go on after a pause. Returns for each of its tracks the `RTP-Info` of the first packet
    /// that it will get, as far as it is known: all timestamps belong to one moment, so that players start in sync.
    ///
    /// Packets come with the next [`handle_timeout`](Self::handle_timeout) or burst: answer the request first.
    ///
    /// # Errors
    ///
    /// No such reader.
    pub fn play(&mut self, now: Instant, id: ReaderId) -> Result<Vec<(usize, Option<RtpInfo>)>, HubError> {
        let reader = reader_mut(&mut self.readers, id)?;
        if !std::mem::replace(&mut reader.playing, true) {
            self.playing += 1;
        }
        let lines = reader.lines.clone();
        // The moment of the first keyframe, if it is in a cache: the others' timestamps are those of that moment.
        let mut moment = now;
        let mut start = None;
        for &(track, _) in &lines {
            let Some(fan) = self.tracks.get(track) else { continue };
            if start.is_none()
                && let Some(entry) = fan.up.cache.gop().and_then(|gop| fan.up.cache.entry(gop))
            {
                let timestamp = entry.facts.timestamp;
                moment = fan.up.moment_of(timestamp).unwrap_or(now);
                start = Some((fan.up.line_clocks(), timestamp, fan.up.rate));
            }
        }
        let mut infos = Vec::with_capacity(lines.len());
        let mut incomplete = None;
        for &(track, key) in &lines {
            let Some(fan) = self.tracks.get_mut(track) else { continue };
            let Some(line) = fan.lines.get_mut(key) else { continue };
            let mut info = None;
            if line.state == State::Idle {
                let gop = fan.up.cache.gop();
                let first = gop.and_then(|gop| fan.up.cache.entry(gop)).map(|entry| entry.facts.timestamp);
                (line.state, info) = match (line.late_join, fan.up.keyed, gop, first) {
                    (false, ..) => (State::Live, None),
                    (true, false, ..) => (State::Start, timestamp_of(&fan.up, &start, moment)),
                    (true, true, Some(cursor), Some(timestamp)) => {
                        fan.floor = Some(fan.floor.map_or(cursor, |floor| floor.min(cursor)));
                        fan.catch_up = Some(now);
                        if !fan.up.cache.complete() {
                            // It starts with what there is, but a whole GOP would be better.
                            incomplete = Some(track);
                        }
                        (State::Catch { cursor, fresh: true, due: now }, Some(timestamp))
                    }
                    _ => {
                        let due = fan.ask.map_or(now, |due| due.min(now));
                        fan.ask = Some(due);
                        (State::Wait { since: now }, None)
                    }
                };
            }
            let rtp_info = info.map(|timestamp: u32| RtpInfo {
                seq: line.next_sequence(),
                rtptime: timestamp.wrapping_add(line.timestamp_offset),
            });
            infos.push((track, rtp_info));
        }
        for (track, _) in lines {
            self.ask_keyframe(now, track);
        }
        if let Some(track) = incomplete {
            self.want_keyframe(track);
        }
        Ok(infos)
    }

    /// An upstream's `RTP-Info` of `track` in this reader's numbers: for a reader that has its upstream session to
    /// itself, so that its mapping is fixed from the start. Where the upstream's numbers go back, the reader's go on.
    pub fn map_rtp_info(&self, id: ReaderId, track: usize, info: RtpInfo) -> Option<RtpInfo> {
        let fan = self.tracks.get(track)?;
        let line = fan.lines.get(self.line_key(id, track)?)?;
        let (sequence, timestamp) = fan.up.map(info.seq, info.rtptime);
        let (seq, rtptime) = line.map(sequence, timestamp);
        Some(RtpInfo { seq: if line.begins_with(sequence) { line.next_sequence() } else { seq }, rtptime })
    }

    /// Pauses a reader: it gets nothing until it plays again, and then no gap shows.
    ///
    /// # Errors
    ///
    /// No such reader.
    pub fn pause(&mut self, _now: Instant, id: ReaderId) -> Result<(), HubError> {
        let reader = reader_mut(&mut self.readers, id)?;
        if std::mem::replace(&mut reader.playing, false) {
            self.playing -= 1;
        }
        for (track, key) in &reader.lines {
            if let Some(line) = self.tracks.get_mut(*track).and_then(|fan| fan.lines.get_mut(*key)) {
                line.state = State::Idle;
                line.next_report = None;
            }
        }
        Ok(())
    }

    /// Removes a reader; `None` if there is no such reader. Say [`bye`](Self::bye) before if it is to be told.
    pub fn remove(&mut self, id: ReaderId) -> Option<ReaderClosed<D>> {
        reader_mut(&mut self.readers, id).ok()?;
        let reader = self.readers.try_remove(id.index as usize)?;
        self.playing -= usize::from(reader.playing);
        let tracks = reader
            .lines
            .into_iter()
            .filter_map(|(track, key)| {
                let fan = self.tracks.get_mut(track)?;
                let line = fan.lines.try_remove(key)?;
                if line.again.is_some() {
                    fan.keep_history(&self.config);
                }
                Some((track, line.dest, line.counters))
            })
            .collect();
        Some(ReaderClosed { tracks })
    }

    /// The destination of one track of a reader.
    pub fn dest_mut(&mut self, id: ReaderId, track: usize) -> Option<&mut D> {
        let key = self.line_key(id, track)?;
        self.tracks.get_mut(track)?.lines.get_mut(key).map(|line| &mut line.dest)
    }

    /// What one track of a reader got so far.
    pub fn reader_counters(&self, id: ReaderId, track: usize) -> Option<ReaderCounters> {
        let key = self.line_key(id, track)?;
        self.tracks.get(track)?.lines.get(key).map(|line| line.counters)
    }

    /// Where each track of each reader goes, and what it got so far.
    pub fn lines(&self) -> impl Iterator<Item = (&D, &ReaderCounters)> {
        let lines = self.tracks.iter().flat_map(|track| &track.lines);
        lines.map(|(_, line)| (&line.dest, &line.counters))
    }

    /// How many readers there are.
    pub fn readers(&self) -> usize {
        self.readers.len()
    }

    /// How many of them play.
    pub fn playing(&self) -> usize {
        self.playing
    }

    /// All readers.
    pub fn reader_ids(&self) -> impl Iterator<Item = ReaderId> + '_ {
        self.readers
            .iter()
            .map(|(index, reader)| ReaderId { index: index as u32, generation: reader.generation })
    }

    pub(super) fn line_key(&self, id: ReaderId, track: usize) -> Option<usize> {
        let reader = self.readers.get(id.index as usize)?;
        if reader.generation != id.generation {
            return None;
        }
        reader.lines.iter().find(|(other, _)| *other == track).map(|(_, key)| *key)
    }
}

pub(super) fn reader_mut(readers: &mut slab::Slab<Reader>, id: ReaderId) -> Result<&mut Reader, HubError> {
    readers
        .get_mut(id.index as usize)
        .filter(|reader| reader.generation == id.generation)
        .ok_or(HubError::UnknownReader { id })
}

/// The timestamp of the track `up` at the moment at which another track starts with `start` (its clocks, timestamp and
/// rate): by clocks that both have, else by arrival.
pub(super) fn timestamp_of(
    up: &Upstream,
    start: &Option<(Clocks, u32, u32)>,
    moment: Instant,
) -> Option<u32> {
    let by_arrival = up.timestamp_at(moment);
    let by_clocks =
        start.as_ref().and_then(|(clocks, timestamp, rate)| up.timestamp_with(clocks, *timestamp, *rate));
    match (by_clocks, by_arrival) {
        // Some servers write anything into their `RTP-Info`.
        (Some(one), Some(other)) if !up.has_report() => {
            let apart = seq::timestamp_distance(one, other).unsigned_abs();
            Some(if duration(apart, up.rate) <= TRUST { one } else { other })
        }
        (one, other) => one.or(other),
    }
}
