//! Names of tracks within an association, each used once: flows of one name would have one key, and a number used twice under it
//! gives the key of its authentication away (`RFC 5116 §3.1`).

use std::collections::BTreeSet;

/// Tokens that are remembered. Requests of one connection that are under way are fewer, so what is older cannot come any more.
const REMEMBERED: usize = 4096;

/// The tokens of one association: given out on the side that opened it, taken on the other.
pub(super) struct Tokens {
    /// The association's own, which names its control flow.
    own: u64,
    next: u64,
    used: BTreeSet<u64>,
    /// This and all before it are past.
    past: u64,
}

impl Tokens {
    pub(super) fn new(own: u64) -> Self {
        Self { own, next: 0, used: BTreeSet::new(), past: 0 }
    }

    /// One that was not given out before. They ascend.
    pub(super) fn next(&mut self) -> u64 {
        self.next += 1;
        if self.next == self.own {
            self.next += 1;
        }
        self.next
    }

    /// Takes one; false if it was taken before, or may have been.
    pub(super) fn take(&mut self, token: u64) -> bool {
        if token == self.own || token <= self.past || !self.used.insert(token) {
            return false;
        }
        if self.used.len() > REMEMBERED
            && let Some(first) = self.used.pop_first()
        {
            self.past = first;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_once_in_whatever_order_and_memory_stays_small() {
        let (mut gives, mut takes) = (Tokens::new(9), Tokens::new(9));
        assert!(!takes.take(0) && !takes.take(9));
        let given: Vec<u64> = (0..20_000).map(|_| gives.next()).collect();
        assert!(!given.contains(&9));
        // Pairs change places: requests overtake each other.
        for pair in given.chunks(2) {
            assert!(takes.take(pair[1]) && takes.take(pair[0]), "{pair:?}");
            assert!(!takes.take(pair[1]) && !takes.take(pair[0]), "{pair:?}");
            assert!(takes.used.len() <= REMEMBERED);
        }
        assert!(given.iter().all(|token| !takes.take(*token)));
        // One far ahead does not shut the others out.
        assert!(takes.take(u64::MAX) && takes.take(gives.next()));
    }
}
