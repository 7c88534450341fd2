//! Which packets of two lines are the same.

use super::line::{Entry, Line};
use super::{PROOF, REMEMBERED};

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
    let distance = |their: &Entry| {
        (newest.number.wrapping_sub(their.number), newest.timestamp.wrapping_sub(their.timestamp))
    };
    // One and the same source by two ways: the very same numbers are proof enough, even of silence.
    if own.ssrc == other.ssrc
        && let Some(their) = other.with_sequence(newest.number as u16)
        && their.timestamp == newest.timestamp
        && run(own, newest, other, their) == Run::Holds
    {
        return Some(distance(their));
    }
    let mut found = None;
    for their in other.find(newest.print) {
        match run(own, newest, other, their) {
            Run::Differs => {}
            Run::Holds if found.is_none() => found = Some(distance(their)),
            Run::Holds | Run::Short => return None,
        }
    }
    found?;
    let repeats = own
        .find(newest.print)
        .filter(|before| before.number != newest.number)
        .any(|before| run(own, newest, own, before) != Run::Differs);
    found.filter(|_| !repeats)
}

/// Compares the packets of `one` up to `last` with those of `two` up to `same`.
fn run(one: &Line, last: &Entry, two: &Line, same: &Entry) -> Run {
    let apart = last.timestamp.wrapping_sub(same.timestamp);
    let mut equal = 0;
    for back in 0..REMEMBERED as u32 {
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
