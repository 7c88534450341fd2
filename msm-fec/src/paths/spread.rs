//! Which paths a packet takes.

use super::MAX_PATHS;

/// How a sender uses its paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each packet takes all paths that are alive (ST 2022-7).
    Duplicate,
    /// Each packet takes one: neighbours take different ones, so that what a path loses at once is spread over what forward error
    /// correction protects together.
    Spread,
}

/// Chooses the paths of each packet.
///
/// Spread goes by weight, each path as late as its share allows (smooth weighted round robin), so a path of weight 1 beside
/// one of 3 takes every fourth packet. A path of weight zero, or a dead one, takes none; if none is left, all are tried.
#[derive(Debug, Clone)]
pub struct Spread {
    mode: Mode,
    weights: [u32; MAX_PATHS],
    alive: [bool; MAX_PATHS],
    credit: [i64; MAX_PATHS],
    count: usize,
}

impl Spread {
    /// Over `paths` paths, 1 to [`MAX_PATHS`], of the same weight and alive.
    #[must_use]
    pub fn new(mode: Mode, paths: usize) -> Self {
        let count = paths.clamp(1, MAX_PATHS);
        Self { mode, weights: [1; MAX_PATHS], alive: [true; MAX_PATHS], credit: [0; MAX_PATHS], count }
    }

    /// Changes the mode, from the next packet on.
    pub const fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// A path's share of the packets, in relation to the others'.
    pub fn set_weight(&mut self, path: usize, weight: u32) {
        if let Some(place) = self.weights.get_mut(path) {
            *place = weight;
            self.credit = [0; MAX_PATHS];
        }
    }

    /// Whether a path takes packets.
    pub fn set_alive(&mut self, path: usize, alive: bool) {
        if let Some(place) = self.alive.get_mut(path) {
            *place = alive;
            self.credit = [0; MAX_PATHS];
        }
    }

    /// Paths that may take a packet, as bits.
    fn usable(&self) -> u8 {
        let usable = (0_u8..)
            .zip(self.weights.iter().zip(&self.alive))
            .take(self.count)
            .filter(|(_, (weight, alive))| **weight > 0 && **alive)
            .fold(0, |all, (path, _)| all | 1 << path);
        if usable == 0 { (1_u8 << self.count) - 1 } else { usable }
    }

    /// The paths of the next packet: bit n is path n. At least one is set.
    pub fn choose(&mut self) -> u8 {
        let usable = self.usable();
        if self.mode == Mode::Duplicate || usable.count_ones() == 1 {
            return usable;
        }
        let (mut total, mut best) = (0, None);
        for (path, (weight, credit)) in (0_u8..).zip(self.weights.iter().zip(&mut self.credit)) {
            if usable >> path & 1 == 0 {
                continue;
            }
            let weight = i64::from((*weight).max(1));
            total += weight;
            *credit += weight;
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((path, *credit));
            }
        }
        let Some((path, _)) = best else { return usable };
        if let Some(credit) = self.credit.get_mut(usize::from(path)) {
            *credit -= total;
        }
        1 << path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_take_all_paths_that_are_alive() {
        let mut spread = Spread::new(Mode::Duplicate, 3);
        assert_eq!(spread.choose(), 0b111);
        spread.set_alive(1, false);
        assert_eq!(spread.choose(), 0b101);
        spread.set_weight(0, 0);
        assert_eq!(spread.choose(), 0b100);
        spread.set_alive(2, false);
        assert_eq!(spread.choose(), 0b111, "none is left: all are tried");
        assert_eq!(Spread::new(Mode::Spread, 9).usable(), 0b1111);
        assert_eq!(Spread::new(Mode::Spread, 0).choose(), 1);
    }

    #[test]
    fn neighbours_take_different_paths_and_shares_are_kept() {
        let mut spread = Spread::new(Mode::Spread, 2);
        let taken: Vec<u8> = (0..6).map(|_| spread.choose()).collect();
        assert_eq!(taken, [1, 2, 1, 2, 1, 2]);
        spread.set_weight(0, 3);
        let taken: Vec<u8> = (0..400).map(|_| spread.choose()).collect();
        assert_eq!(taken.iter().filter(|path| **path == 2).count(), 100);
        assert!(taken.windows(5).all(|five| five.contains(&2)));
        spread.set_alive(0, false);
        assert!((0..9).all(|_| spread.choose() == 2));
        spread.set_mode(Mode::Duplicate);
        assert_eq!(spread.choose(), 2);
    }
}
