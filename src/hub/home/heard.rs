//! What the source that a stream has now has brought and said, and how another one takes over.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_core::burst::Burst;
use msm_core::hub::RtpInfo;

use super::Home;
use crate::events::EventKind;
use crate::hub::feed::Feed;
use crate::hub::succession::{Kept, Succession, Takeover};

/// Packets that are handed over at once.
const AT_ONCE: usize = 256;

/// See the [module](self).
pub(super) struct Heard {
    /// The last packet that was one of the stream's.
    media: Cell<Option<Instant>>,
    /// The last one of the source before.
    before: Cell<Option<Instant>>,
    /// The last one that readers have from a second source that brings the same.
    given: Cell<Option<Instant>>,
    since: Cell<Instant>,
    /// Tracks whose source said BYE and nothing since.
    byes: Cell<u128>,
    bye: Cell<Option<Instant>>,
    /// The next packet is the first of a source that takes over.
    takes_over: Cell<bool>,
    takeover: RefCell<Option<Takeover>>,
}

impl Heard {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            media: Cell::new(None),
            before: Cell::new(None),
            given: Cell::new(None),
            since: Cell::new(now),
            byes: Cell::new(0),
            bye: Cell::new(None),
            takes_over: Cell::new(false),
            takeover: RefCell::new(None),
        }
    }

    /// Media came; whether it is the first of a source that takes over.
    pub(super) fn media(&self, now: Instant) -> bool {
        self.media.set(Some(now));
        self.forget_byes();
        self.takes_over.replace(false)
    }

    /// Readers have got a packet of a second source that brings the same.
    pub(super) fn given(&self, now: Instant) {
        self.given.set(Some(now));
    }

    pub(super) fn replaced(&self, now: Instant) {
        if let Some(last) = self.media.take() {
            self.before.set(Some(last));
        }
        self.since.set(now);
        self.forget_byes();
    }

    /// The source of `track` said BYE; it is over when those of all `tracks` have.
    pub(super) fn bye(&self, now: Instant, track: usize, mut tracks: impl Iterator<Item = usize>) {
        let bit = |track: usize| 1_u128.checked_shl(u32::try_from(track).unwrap_or(u32::MAX)).unwrap_or(0);
        let byes = self.byes.get() | bit(track);
        self.byes.set(byes);
        if tracks.all(|track| byes & bit(track) != 0) && self.bye.get().is_none() {
            self.bye.set(Some(now));
        }
    }

    fn forget_byes(&self) {
        self.byes.set(0);
        self.bye.set(None);
    }
}

impl Home {
    /// When the source that there is now has brought media last.
    pub(crate) fn last_rtp(&self) -> Option<Instant> {
        self.heard.media.get()
    }

    /// Since when it is that of the stream.
    pub(crate) fn replaced_at(&self) -> Instant {
        self.heard.since.get()
    }

    /// Since when the source has said of all tracks that they are over.
    pub(crate) fn bye_since(&self) -> Option<Instant> {
        self.heard.bye.get()
    }

    /// The publisher's session is about to be replaced by another one, whose first packets go on where the last ones ended.
    pub(crate) fn replace_source(&self, now: Instant) {
        self.flush_held(now);
        self.mends.borrow_mut().iter_mut().flatten().for_each(|mend| mend.restart());
        self.ingest.borrow_mut().replace_source(now);
        self.heard.replaced(now);
        for track in 0..self.handle.tracks().len() {
            self.begin_anew(track);
            self.tell_remotes(|| Feed::SourceChanged { track });
            self.shard.handle_source_changed(now, track);
        }
    }

    /// As [`Self::replace_source`], by a session with a source that was described on its own.
    pub(crate) fn succeed(&self, now: Instant, succession: &Succession) {
        self.replace_source(now);
        self.name_source(succession);
        for (track, sets) in succession.sets.iter().enumerate() {
            let Some(sets) = sets else { continue };
            self.tell_remotes(|| Feed::ParameterSets { track, sets: Arc::clone(sets) });
            self.shard.set_parameter_sets(track, sets);
        }
    }

    /// As [`Self::succeed`], by the source of the second hub, where that brings the same packets: it goes on with the very next one.
    /// Whether it does. `heard` is when that one brought something last.
    pub(crate) fn go_on(&self, now: Instant, succession: &Succession, heard: Option<Instant>) -> bool {
        let Some(offsets) = self.take_from_second(now) else { return false };
        self.flush_held(now);
        self.ingest.borrow_mut().replace_source(now);
        self.heard.replaced(now);
        // It has brought media all the time, and is silent if it does not go on.
        self.heard.media.set(heard);
        self.name_source(succession);
        for (track, by) in offsets.into_iter().enumerate() {
            let Some(by) = by else { continue };
            self.tell_remotes(|| Feed::Renumber { track, by });
            self.shard.renumber(track, by);
        }
        true
    }

    fn name_source(&self, succession: &Succession) {
        self.handle.source.set_endpoint(&succession.endpoint);
        // Nothing of the source before opens, mends or hears what the next one sends.
        self.upstream.borrow_mut().iter_mut().for_each(|dest| *dest = None);
        self.secure.borrow_mut().iter_mut().for_each(|secure| *secure = None);
        self.mends.borrow_mut().iter_mut().for_each(|mend| *mend = None);
        for (track, numbers) in succession.numbers.iter().enumerate() {
            self.ingest.borrow_mut().set_payload_types(track, numbers);
        }
    }

    /// The source that comes next takes over from another one.
    pub(crate) fn expect_takeover(&self, takeover: Takeover) {
        *self.heard.takeover.borrow_mut() = Some(takeover);
        self.heard.takes_over.set(true);
    }

    /// Its first packet is here.
    pub(super) fn taken_over(&self, now: Instant) {
        let Some(takeover) = self.heard.takeover.borrow_mut().take() else { return };
        let before = self.heard.before.get();
        let last = before.max(self.heard.given.take());
        let gap = last.map(|last| now.saturating_duration_since(last));
        let detection = before.map(|before| takeover.noticed.saturating_duration_since(before));
        if let Some(gap) = gap {
            self.worker.shared.metrics.failovers.observe_gap(&takeover.cluster, gap);
            self.handle.source.set_gap(gap);
        }
        let millis =
            |time: Option<Duration>| time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        tracing::warn!(
            hub = self.handle.id,
            cluster = takeover.cluster,
            from = takeover.from,
            to = self.handle.source.endpoint(),
            reason = takeover.reason,
            identical = takeover.identical,
            noticed_after_ms = millis(detection),
            gap_ms = millis(gap),
            "another source has taken over"
        );
        self.handle.tell(|| EventKind::Spliced {
            from: takeover.from,
            to: self.handle.source.endpoint(),
            reason: takeover.reason,
            identical: takeover.identical,
            gap,
        });
    }

    /// What the source has answered to PLAY: its tracks' timestamps of one moment (RFC 2326 §12.33). That of one track says nothing, and
    /// neither do zeros, which some cameras write.
    pub(crate) fn handle_rtp_info(&self, now: Instant, infos: &[(usize, RtpInfo)]) {
        if infos.len() < 2 || infos.iter().all(|(_, info)| info.rtptime == 0) {
            return;
        }
        for (track, info) in infos {
            self.tell_rtp_info(now, *track, *info);
        }
    }

    fn tell_rtp_info(&self, now: Instant, track: usize, info: RtpInfo) {
        self.tell_remotes(|| Feed::RtpInfo { track, info });
        self.shard.handle_rtp_info(now, track, info);
    }

    /// What the source has sent since its last keyframe.
    pub(crate) fn kept(&self, now: Instant) -> Vec<Kept> {
        self.shard.kept(now)
    }

    /// Whether each track that readers begin with a keyframe of has one.
    pub(crate) fn has_keyframes(&self) -> bool {
        self.last_rtp().is_some() && self.shard.has_keyframes()
    }

    /// What a source has sent to another hub before it takes over here.
    pub(crate) fn take_kept(&self, now: Instant, kept: Vec<Kept>) {
        for (track, kept) in kept.iter().enumerate() {
            if let Some(live) = kept.live {
                self.tell_remotes(|| Feed::Expect { track, live });
                self.shard.expect(track, live);
            }
            if let Some(info) = kept.info {
                self.tell_rtp_info(now, track, info);
            }
            if let Some(clock) = kept.clock {
                self.tell_remotes(|| Feed::SenderReport { track, clock });
                self.shard.handle_sender_report(now, track, clock);
            }
        }
        for (track, mut kept) in kept.into_iter().enumerate() {
            for parts in kept.parts.chunks(AT_ONCE) {
                let mut table = self.worker.segments.borrow_mut();
                let mut burst = Burst::from_parts(&mut kept.bytes, parts, now, 0, &mut table);
                self.handle_ordered(now, track, &mut burst);
            }
        }
    }
}
