//! A reader goes from one stream to another of the same content, and its lines go on.

use std::time::{Duration, Instant};

use super::super::clock::{duration, ticks};
use super::readers::{reader_mut, timestamp_of};
use super::{Fanout, HubError, ReaderId};
use crate::seq;

/// Where a reader's line of one track has come to, in the reader's own numbers: see [`Fanout::line_ends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineEnd {
    /// The track.
    pub track: usize,
    /// The number of its next packet.
    pub sequence: u16,
    /// What the track's media clock shows at [`at`](Self::at): all ends of a reader are of one moment of capture, as far as the source's
    /// clocks tell.
    pub timestamp: u32,
    /// That moment.
    pub at: Instant,
    /// The highest timestamp that may have been sent.
    pub last: u32,
    /// The SSRC that the reader sees.
    pub ssrc: u32,
    /// Packets and octets of payload that were sent, which reports go on counting from.
    pub sent: (u64, u64),
}

impl<D> Fanout<D> {
    /// The position of the newest keyframe that is kept, of the first track that has keyframes: another one each time that one begins.
    pub fn keyframe(&self) -> Option<u64> {
        self.tracks.iter().find(|fan| fan.up.keyed)?.up.cache.gop()
    }

    /// Where the lines of a reader are now, for those of its tracks of which it has got packets; to [`go_on`](Self::go_on) from in another
    /// fan-out. Remove the reader from this one in the same turn.
    ///
    /// # Errors
    ///
    /// No such reader.
    pub fn line_ends(&self, now: Instant, id: ReaderId) -> Result<Vec<LineEnd>, HubError> {
        let reader = self.readers.get(id.index as usize).filter(|reader| reader.generation == id.generation);
        let reader = reader.ok_or(HubError::UnknownReader { id })?;
        let mut start = None;
        let mut ends = Vec::with_capacity(reader.lines.len());
        for &(track, key) in &reader.lines {
            let Some(fan) = self.tracks.get(track) else { continue };
            let Some(line) = fan.lines.get(key).filter(|line| line.has_sent()) else { continue };
            let (Some(timestamp), Some(last)) =
                (timestamp_of(&fan.up, &start, now), fan.up.newest_timestamp())
            else {
                continue;
            };
            start.get_or_insert_with(|| (fan.up.line_clocks(), timestamp, fan.up.rate));
            let own = |timestamp: u32| timestamp.wrapping_add(line.timestamp_offset);
            ends.push(LineEnd {
                track,
                sequence: line.next_sequence(),
                timestamp: own(timestamp),
                at: now,
                last: own(last),
                ssrc: line.ssrc,
                sent: (line.stats.packets(), line.stats.octets()),
            });
        }
        Ok(ends)
    }

    /// Lets the lines of a reader that has got nothing yet go on where they ended in another fan-out: numbers consecutively, timestamps by
    /// the time that has passed, from one reference for all tracks. Call it before [`play`](Self::play), as soon as a keyframe has come that
    /// the reader can begin with. What it gets first is later than what it got last: where the clocks of the two sources say otherwise, all
    /// tracks are moved by the difference.
    ///
    /// # Errors
    ///
    /// No such reader.
    pub fn go_on(&mut self, now: Instant, id: ReaderId, ends: &[LineEnd]) -> Result<(), HubError> {
        let lines = reader_mut(&mut self.readers, id)?.lines.clone();
        let mut start = None;
        let mut moved = Duration::ZERO;
        let mut offsets = Vec::with_capacity(lines.len());
        for (track, key) in lines {
            let Some(fan) = self.tracks.get(track) else { continue };
            let Some(end) = ends.iter().find(|end| end.track == track) else { continue };
            let here = timestamp_of(&fan.up, &start, now);
            if let Some(timestamp) = here {
                start.get_or_insert_with(|| (fan.up.line_clocks(), timestamp, fan.up.rate));
            }
            let passed = now.saturating_duration_since(end.at);
            let due = end.timestamp.wrapping_add(ticks(passed, fan.up.rate));
            let offset = due.wrapping_sub(here.unwrap_or_default());
            let keyframe = fan.up.cache.gop().and_then(|gop| fan.up.cache.entry(gop));
            let first = match keyframe {
                Some(entry) => Some(entry.facts.timestamp),
                // Nothing that has come already is sent.
                None => fan.up.newest_timestamp().map(|newest| newest.wrapping_add(1)),
            };
            if let Some(first) = first {
                let ahead = seq::timestamp_distance(first.wrapping_add(offset), end.last.wrapping_add(1));
                if ahead > 0 {
                    moved = moved.max(duration(ahead.unsigned_abs(), fan.up.rate));
                }
            }
            offsets.push((track, key, offset, end));
        }
        for (track, key, offset, end) in offsets {
            let Some(fan) = self.tracks.get_mut(track) else { continue };
            // Rounded up: what is later by less than a tick is not later.
            let by = if moved.is_zero() { 0 } else { ticks(moved, fan.up.rate).wrapping_add(1) };
            if let Some(line) = fan.lines.get_mut(key) {
                line.go_on(end.sequence, offset.wrapping_add(by), end.sent);
            }
        }
        Ok(())
    }
}
