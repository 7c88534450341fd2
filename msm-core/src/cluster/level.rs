//! Endpoints of one priority: those of the next are for when none of these can be had (RFC 2782).

use super::member::{Member, Slot};
use super::pick::{BalanceKind, Candidate};
use super::pool::Pool;
use super::zone::near_share;
use super::{PickKey, Zone};
use crate::rng::Rng;

pub(super) struct Level {
    pub(super) priority: u16,
    /// Endpoints of the own zone; all of them where this process has none.
    near: Pool,
    far: Pool,
    /// Members with a weight, and those of them that are usable.
    weighted: usize,
    usable: usize,
}

impl Level {
    pub(super) fn new(priority: u16, balance: BalanceKind) -> Self {
        let (near, far) = (Pool::new(balance, false), Pool::new(balance, true));
        Level { priority, near, far, weighted: 0, usable: 0 }
    }

    pub(super) fn set_balance(&mut self, balance: BalanceKind) {
        self.near.set_balance(balance);
        self.far.set_balance(balance);
    }

    /// Takes those of `members` that are its own; it is the cluster's level of this `number`.
    pub(super) fn set(&mut self, number: usize, members: &mut [Member], zone: Option<&Zone>) {
        let priority = self.priority;
        let is_own = |member: &Member| member.spec.priority == priority;
        let is_near = |member: &Member| zone.is_none() || member.spec.zone.as_ref() == zone;
        self.near.set(number, members, |member| is_own(member) && is_near(member));
        self.far.set(number, members, |member| is_own(member) && !is_near(member));
        (self.weighted, self.usable) = (0, 0);
        for member in members.iter_mut().filter(|member| is_own(member)) {
            self.weighted += usize::from(member.spec.weight > 0);
            self.count(member);
        }
    }

    fn pool(&mut self, slot: Slot) -> &mut Pool {
        if slot.far { &mut self.far } else { &mut self.near }
    }

    /// Counts a member whose health has changed.
    pub(super) fn count(&mut self, member: &mut Member) {
        let before = member.counted;
        self.pool(member.slot).count(member);
        match (before, member.counted) {
            (false, true) => self.usable = self.usable.saturating_add(1),
            (true, false) => self.usable = self.usable.saturating_sub(1),
            _ => {}
        }
    }

    /// Members with a weight, and those of them that are usable.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.weighted, self.usable)
    }

    /// Whether fewer than this share, in percent, are usable.
    pub(super) fn is_short(&self, threshold: u8) -> bool {
        self.usable * 100 < self.weighted * usize::from(threshold)
    }

    /// Shows the pickers all members anew.
    pub(super) fn show(&mut self, members: &[Member], as_candidate: impl Fn(&Member) -> Candidate) {
        self.near.show(members, &as_candidate);
        self.far.show(members, &as_candidate);
    }

    pub(super) fn update(&mut self, slot: Slot, candidate: &Candidate) {
        self.pool(slot).update(slot.index, candidate);
    }

    /// The place of the next one in the cluster's list. `tried` are left out; `all` are used where nearly all are ill.
    pub(super) fn pick(
        &mut self,
        balance: BalanceKind,
        key: PickKey,
        rng: &mut Rng,
        tried: &[Slot],
        all: bool,
    ) -> Option<usize> {
        // Where all are used, the own zone bears what it always does.
        let near = if all {
            near_share(self.near.health.whole(), self.far.health.whole())
        } else {
            near_share(self.near.health, self.far.health)
        };
        let near_first = near >= 1.0 || (near > 0.0 && draw(balance, key, rng) < near);
        let (first, second) =
            if near_first { (&mut self.near, &mut self.far) } else { (&mut self.far, &mut self.near) };
        first.pick(key, rng, tried).or_else(|| second.pick(key, rng, tried))
    }
}

/// In 0.0..1.0: random, or the key's own where picks are.
fn draw(balance: BalanceKind, key: PickKey, rng: &mut Rng) -> f64 {
    match balance.hash(key) {
        Some(hash) => Rng::new(hash).next_f64(),
        None => rng.next_f64(),
    }
}
