//! Which packets of two lines are the same.

use super::line::{Entry, Line};
use super::{PROOF, REMEMBERED};

/// So many pairs of packets are looked at in one attempt, at most: sources that are the same need a few times [`PROOF`], and those that are
/// made to be compared for long are not known to be.
const PAIRS: usize = 4 * REMEMBERED;

/// What the packets up to two that are alike say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    /// They are not the same.
    Differs,
    /// All that both have are, and these are too few.
    Short,
    Holds,
}

/// How far `own` is ahead of `other`, in numbers and timestamps, if its packet `newest` and those before it are the same as some of the
/// other's, and as no more than one run of them.
pub(super) fn prove(own: &Line, other: &Line, newest: &Entry) -> Option<(u32, u32)> {
    within(&mut { PAIRS }, own, other, newest)
}

/// The same, with so many pairs left to look at.
fn within(pairs: &mut usize, own: &Line, other: &Line, newest: &Entry) -> Option<(u32, u32)> {
    let distance = |their: &Entry| {
        (newest.number.wrapping_sub(their.number), newest.timestamp.wrapping_sub(their.timestamp))
    };
    // One and the same source by two ways: the very same numbers are proof enough, even of silence.
    if own.ssrc == other.ssrc
        && let Some(their) = other.with_sequence(newest.number as u16)
        && their.timestamp == newest.timestamp
        && run(pairs, own, newest, other, their) == Run::Holds
    {
        return Some(distance(their));
    }
    let mut found = None;
    for their in other.find(newest.print) {
        match run(pairs, own, newest, other, their) {
            Run::Differs => {}
            Run::Holds if found.is_none() => found = Some(distance(their)),
            Run::Holds | Run::Short => return None,
        }
    }
    found?;
    let repeats = own
        .find(newest.print)
        .filter(|before| before.number != newest.number)
        .any(|before| run(pairs, own, newest, own, before) != Run::Differs);
    found.filter(|_| !repeats)
}

/// Compares the packets of `one` up to `last` with those of `two` up to `same`.
fn run(pairs: &mut usize, one: &Line, last: &Entry, two: &Line, same: &Entry) -> Run {
    let apart = last.timestamp.wrapping_sub(same.timestamp);
    let mut equal = 0;
    for back in 0..REMEMBERED as u32 {
        let Some(left) = pairs.checked_sub(1) else { return Run::Short };
        *pairs = left;
        let pair = (one.get(last.number.wrapping_sub(back)), two.get(same.number.wrapping_sub(back)));
        let (Some(one), Some(two)) = pair else { continue };
        if one.print != two.print || one.timestamp.wrapping_sub(two.timestamp) != apart {
            return Run::Differs;
        }
        equal += 1;
        if equal == PROOF {
            return Run::Holds;
        }
    }
    Run::Short
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line with these packets: numbers, and what their payloads are told by.
    fn line(packets: impl Iterator<Item = (u32, u64)>) -> Line {
        let mut line = Line::new();
        for (number, print) in packets {
            let number = 0x4000_0000 + number;
            let timestamp = number.wrapping_mul(160);
            assert!(line.put(Entry { number, timestamp, print, ..Entry::default() }));
        }
        line
    }

    #[test]
    fn no_two_lines_are_compared_for_long() {
        // One that has become silent, and one with a few packets of silence far apart: each place may be the one, until something is heard.
        let half = REMEMBERED as u32 / 2;
        let silent = line((0..2 * half).map(|n| (n, if n < half { 1_000 + u64::from(n) } else { 7 })));
        let sparse = line((0..31).map(|number| (number * 65, 7)));
        let newest = *sparse.get(0x4000_0000 + 30 * 65).unwrap();
        let (mut all, mut most) = (usize::MAX, PAIRS);
        assert_eq!(within(&mut all, &sparse, &silent, &newest), None);
        assert!(usize::MAX - all > 50 * PAIRS, "{} pairs are no attack", usize::MAX - all);
        assert_eq!(within(&mut most, &sparse, &silent, &newest), None);
        assert_eq!(most, 0);
    }

    #[test]
    fn two_that_are_the_same_are_known_by_a_few_pairs() {
        // Of each, one in three is lost.
        let of = |without: u32| {
            line((0..REMEMBERED as u32).filter(move |n| n % 3 != without).map(|n| (n, u64::from(n) + 1)))
        };
        let (one, two) = (of(0), of(1));
        let newest = *one.get(0x4000_0000 + 2_045).unwrap();
        let mut pairs = PAIRS;
        assert_eq!(within(&mut pairs, &one, &two, &newest), Some((0, 0)));
        assert!(PAIRS - pairs < 8 * PROOF, "{} pairs", PAIRS - pairs);
    }
}
