//! What one source's fan-out tells, and another's is told, so that the second goes on where the first ended.

use std::time::Instant;

use super::edge::LivePoint;
use super::{Fanout, RtpInfo};
use crate::hub::SenderClock;
use crate::hub::twin::Offset;
use crate::rtp::RtpBuilder;

/// Bytes of an RTP header without extensions.
const HEADER: usize = 12;

impl<D> Fanout<D> {
    /// Where the media of `track` is by now, in the source's own timestamps; `None` before its first packet.
    pub fn live(&self, now: Instant, track: usize) -> Option<LivePoint> {
        self.tracks.get(track)?.up.live(now)
    }

    /// The source's clocks by its last sender report of `track`.
    pub fn clock(&self, track: usize) -> Option<SenderClock> {
        self.tracks.get(track)?.up.clock()
    }

    /// What the source has told of `track` by [`handle_rtp_info`](Self::handle_rtp_info).
    pub fn rtp_info(&self, track: usize) -> Option<RtpInfo> {
        self.tracks.get(track)?.up.origin()
    }

    /// The packets of `track` since its last keyframe, with the parameter sets that belong before it, as they came: a fan-out
    /// without readers changes none of them.
    pub fn since_keyframe(&self, track: usize) -> impl Iterator<Item = &[u8]> {
        self.tracks.get(track).into_iter().flat_map(|fan| fan.up.cache.since_keyframe())
    }

    /// Where the media of the source that follows is by now, where that is known: its first packets are older, and are squeezed
    /// into the gap. Call it after [`handle_source_changed`](Self::handle_source_changed).
    pub fn expect(&mut self, track: usize, live: LivePoint) {
        if let Some(fan) = self.tracks.get_mut(track) {
            fan.up.expect(live);
        }
    }

    /// Another source goes on with the very next packet of `track`, in numbers of its own, which become those of the one before by this
    /// offset: readers notice nothing.
    pub fn renumber(&mut self, track: usize, by: Offset) {
        if let Some(fan) = self.tracks.get_mut(track) {
            fan.up.renumber(by);
        }
    }

    /// Parameter sets (SPS, PPS, VPS) of the source that follows, by its description: readers that have another one are sent them
    /// before the keyframe that they start at, unless it has its own. Call it after
    /// [`handle_source_changed`](Self::handle_source_changed).
    pub fn set_parameter_sets<'s>(
        &mut self,
        track: usize,
        payload_type: u8,
        sets: impl IntoIterator<Item = &'s [u8]>,
    ) {
        let Some(fan) = self.tracks.get_mut(track) else { return };
        let packets: Vec<Vec<u8>> = sets
            .into_iter()
            .filter_map(|payload| {
                let mut packet = vec![0; HEADER.saturating_add(payload.len())];
                let builder = RtpBuilder { payload_type, payload, ..RtpBuilder::default() };
                let length = builder.write(&mut packet).ok()?;
                packet.truncate(length);
                Some(packet)
            })
            .collect();
        fan.up.cache.give_sets(packets.iter().map(|packet| {
            let length = u16::try_from(packet.len().saturating_sub(HEADER)).unwrap_or(u16::MAX);
            (packet.as_slice(), length, payload_type & 0x7f)
        }));
    }
}
