//! Which paths are alive.

use std::time::Instant;

use super::super::MAX_PATHS;
use super::super::stats::{Event, Path};
use super::Merge;

impl Merge {
    /// When the first of the paths that are alive would be dead. All paths of a source that pauses are silent together, and
    /// live on: so there is no time while the one heard last is the only one.
    pub(super) fn next_silence(&self) -> Option<Instant> {
        let last = |path: &Path| path.last.filter(|_| path.alive);
        let (oldest, newest) =
            self.paths.iter().filter_map(last).fold(None, |ends: Option<(Instant, Instant)>, at| {
                Some(ends.map_or((at, at), |(oldest, newest)| (oldest.min(at), newest.max(at))))
            })?;
        let at = (oldest + self.config.silence).max(newest);
        // Once that was looked at, the next packet tells more.
        (oldest < newest && self.checked.is_none_or(|checked| checked < at)).then_some(at)
    }

    /// Time has come to `now`: paths that were silent while others brought packets are dead.
    pub fn handle_timeout(&mut self, now: Instant) {
        let silence = self.config.silence;
        self.checked = Some(now);
        let newest = self.paths.iter().filter_map(|path| path.last).max();
        let Some(newest) = newest.filter(|newest| *newest <= now) else { return };
        let mut died = [false; MAX_PATHS];
        for (path, died) in self.paths.iter_mut().zip(&mut died) {
            if path.alive && path.last.is_some_and(|last| newest.saturating_duration_since(last) >= silence) {
                path.alive = false;
                *died = true;
            }
        }
        for (path, _) in died.iter().enumerate().filter(|(_, died)| **died) {
            self.tell(Event::Died { path });
        }
    }
}
