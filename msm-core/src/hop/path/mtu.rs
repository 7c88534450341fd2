//! The size of datagram that a way takes, found out by probes that may be lost at no cost (`RFC 8899`).

use std::time::{Duration, Instant};

/// What is found is at most this much below what would pass.
const RESOLUTION: usize = 16;
/// How often a size is tried that may pass.
const TRIES: u8 = 3;
/// How often one that did pass: on a way that loses packets it would be given up too soon.
const CONFIRM_TRIES: u8 = 5;
/// How often the base: without it there is no way.
const BASE_TRIES: u8 = 10;
/// A probe that takes longer is lost, unless two round trips are longer.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often a larger size is looked for again (`RFC 8899 §5.3.3`).
const RAISE: Duration = Duration::from_secs(600);
/// How often the size in use is confirmed: routes change, and what they drop is media.
const CONFIRM: Duration = Duration::from_secs(5);

/// A probe under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    pub(super) size: usize,
    pub(super) nonce: [u8; 16],
    due: Instant,
    tries: u8,
}

/// The search for the largest datagram.
#[derive(Debug)]
pub(super) struct Search {
    base: usize,
    ceiling: usize,
    /// Known to pass, or the base.
    confirmed: usize,
    /// Whether the base is known to pass (`RFC 8899 §5.2`, BASE).
    base_passes: bool,
    /// The base did not pass.
    failed: bool,
    /// The smallest that did not pass; one more than the ceiling where all did so far.
    too_large: usize,
    probe: Option<Probe>,
    /// When to look for more, and when to confirm what there is; `None` while there is no path.
    again: Option<(Instant, Instant)>,
}

impl Search {
    pub(super) fn new(base: usize, ceiling: usize) -> Self {
        let ceiling = ceiling.max(base);
        Self {
            base,
            ceiling,
            confirmed: base,
            base_passes: false,
            failed: false,
            too_large: ceiling + 1,
            probe: None,
            again: None,
        }
    }

    /// What passes for certain.
    pub(super) fn size(&self) -> usize {
        self.confirmed
    }

    /// Whether it was found that not even the base passes.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Begins anew, on a path that was just validated, by datagrams as long as the base if `base_passes`.
    pub(super) fn start(&mut self, now: Instant, base_passes: bool) {
        self.confirmed = self.base;
        self.base_passes = base_passes;
        self.failed = false;
        self.too_large = self.ceiling + 1;
        self.probe = None;
        self.again = Some((now + RAISE, now + CONFIRM));
    }

    pub(super) fn stop(&mut self) {
        self.probe = None;
        self.again = None;
    }

    /// The next probe, if one is due. `nonce` makes one.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        rtt: Option<Duration>,
        nonce: impl FnOnce() -> [u8; 16],
    ) -> Option<Probe> {
        self.again?;
        let mut repeat = None;
        if let Some(probe) = self.probe {
            if probe.due > now {
                return None;
            }
            if probe.tries < self.tries(probe.size) {
                repeat = Some((probe.size, probe.tries));
            } else {
                self.missed(probe.size);
            }
        }
        let (size, tries) = match repeat {
            Some(repeat) => repeat,
            None => (self.candidate(now)?, 0),
        };
        let patience = rtt.map_or(PATIENCE, |rtt| (rtt * 2).max(PATIENCE));
        let probe = Probe { size, nonce: nonce(), due: now + patience, tries: tries + 1 };
        self.probe = Some(probe);
        Some(probe)
    }

    /// The next size to try: the ceiling first, as most ways take it, then halves of what is left.
    fn candidate(&mut self, now: Instant) -> Option<usize> {
        let (raise, confirm) = self.again?;
        let all = self.too_large > self.ceiling;
        if !self.base_passes && !all {
            // Before anything between: where it does not pass, there is no way.
            return Some(self.base);
        }
        if self.is_searching() {
            return Some(if all { self.ceiling } else { usize::midpoint(self.confirmed, self.too_large) });
        }
        if raise <= now {
            self.again = Some((now + RAISE, confirm));
            if self.confirmed < self.ceiling {
                self.too_large = self.ceiling + 1;
                return Some(self.ceiling);
            }
        }
        if confirm <= now {
            self.again = Some((self.again?.0, now + CONFIRM));
            return Some(self.confirmed);
        }
        None
    }

    fn tries(&self, size: usize) -> u8 {
        match size {
            size if size <= self.base => BASE_TRIES,
            size if size <= self.confirmed => CONFIRM_TRIES,
            _ => TRIES,
        }
    }

    fn is_searching(&self) -> bool {
        self.too_large > self.confirmed + if self.too_large > self.ceiling { 1 } else { RESOLUTION }
    }

    /// A size does not pass.
    fn missed(&mut self, size: usize) {
        self.probe = None;
        if size <= self.base {
            self.failed = true;
            self.again = None;
            return;
        }
        if size <= self.confirmed {
            // It did before: the way is another one.
            self.confirmed = self.base;
            self.base_passes = false;
        }
        self.too_large = self.too_large.min(size).max(self.base + 1);
    }

    /// The kernel says that this is too much for the way out.
    pub(super) fn handle_too_large(&mut self, size: usize) {
        if size > self.base && (size <= self.confirmed || self.probe.is_some_and(|probe| probe.size >= size))
        {
            self.missed(size);
        }
    }

    /// A probe came through.
    pub(super) fn handle_ack(&mut self, nonce: &[u8; 16]) {
        if let Some(probe) = self.probe.take_if(|probe| probe.nonce == *nonce) {
            self.base_passes = true;
            self.confirmed = self.confirmed.max(probe.size);
        }
    }

    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let (raise, confirm) = self.again?;
        Some(match self.probe {
            Some(probe) => probe.due,
            None if self.is_searching() || !self.base_passes => now,
            None => raise.min(confirm),
        })
    }
}
