//! One after the other.

use super::Picker;

/// Endpoints in turn, unusable ones left out.
#[derive(Debug, Clone, Default)]
pub struct RoundRobin {
    next: usize,
}

impl Picker for RoundRobin {
    fn pick(&mut self, count: usize, usable: &mut dyn FnMut(usize) -> bool) -> Option<usize> {
        if count == 0 {
            return None;
        }
        let start = self.next.checked_rem(count)?;
        let picked = (start..count).chain(0..start).find(|&index| usable(index))?;
        self.next = picked.wrapping_add(1);
        Some(picked)
    }
}

#[cfg(test)]
mod tests {
    use super::super::BalanceKind;

    #[test]
    fn round_robin_takes_turns_and_skips() {
        let mut balance = BalanceKind::RoundRobin.picker();
        let mut pick = |count, bad: &[usize]| balance.pick(count, &mut |index| !bad.contains(&index));
        assert_eq!(
            [pick(3, &[]), pick(3, &[]), pick(3, &[]), pick(3, &[])],
            [Some(0), Some(1), Some(2), Some(0)]
        );
        assert_eq!([pick(3, &[1]), pick(3, &[1]), pick(3, &[1])], [Some(2), Some(0), Some(2)]);
        assert_eq!(pick(3, &[0, 1, 2]), None);
        assert_eq!(pick(0, &[]), None);
        assert_eq!(pick(1, &[]), Some(0));
    }
}
