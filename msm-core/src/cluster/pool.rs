//! Endpoints that are picked from together: those of the own zone, and the others.

use super::PickKey;
use super::member::{Member, Slot};
use super::pick::{BalanceKind, Candidate, Picker};
use super::zone::Usable;
use crate::rng::Rng;

pub(super) struct Pool {
    level: usize,
    far: bool,
    picker: Box<dyn Picker + Send>,
    /// The places of its members in the cluster's list.
    members: Vec<usize>,
    pub(super) health: Usable,
    /// Kept, so that a pick allocates nothing.
    tried: Vec<usize>,
}

impl Pool {
    pub(super) fn new(balance: BalanceKind, far: bool) -> Self {
        Pool {
            level: 0,
            far,
            picker: balance.picker(),
            members: Vec::new(),
            health: Usable::default(),
            tried: Vec::new(),
        }
    }

    pub(super) fn set_balance(&mut self, balance: BalanceKind) {
        self.picker = balance.picker();
    }

    /// Takes those of `members` that are its own; it is one of the level of this number.
    pub(super) fn set(&mut self, level: usize, members: &mut [Member], is_own: impl Fn(&Member) -> bool) {
        self.level = level;
        self.members.clear();
        self.health = Usable::default();
        for (place, member) in members.iter_mut().enumerate().filter(|(_, member)| is_own(member)) {
            member.slot = Slot { level, far: self.far, index: self.members.len() };
            member.counted = false;
            self.members.push(place);
            self.health.weight += u64::from(member.spec.weight);
        }
    }

    /// Shows the picker all members anew.
    pub(super) fn show(&mut self, members: &[Member], as_candidate: &impl Fn(&Member) -> Candidate) {
        let own = self.members.iter().filter_map(|&place| members.get(place));
        self.picker.set(&own.map(as_candidate).collect::<Vec<_>>());
    }

    /// Counts a member whose health has changed.
    pub(super) fn count(&mut self, member: &mut Member) {
        let usable = member.is_usable();
        let weight = u64::from(member.spec.weight);
        match (member.counted, usable) {
            (false, true) => self.health.usable = self.health.usable.saturating_add(weight),
            (true, false) => self.health.usable = self.health.usable.saturating_sub(weight),
            _ => {}
        }
        member.counted = usable;
    }

    pub(super) fn update(&mut self, index: usize, candidate: &Candidate) {
        self.picker.update(index, candidate);
    }

    /// The place of the next one in the cluster's list. `tried` are left out.
    pub(super) fn pick(&mut self, key: PickKey, rng: &mut Rng, tried: &[Slot]) -> Option<usize> {
        self.tried.clear();
        let own = tried.iter().filter(|slot| (slot.level, slot.far) == (self.level, self.far));
        self.tried.extend(own.map(|slot| slot.index));
        let index = self.picker.pick(key, rng, &self.tried)?;
        self.members.get(index).copied()
    }
}
