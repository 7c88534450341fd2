//! Rows and columns of consecutive source packets, as they are summed.

use super::recover::{Head, Parity};

/// A matrix that is filled row by row.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    rows: usize,
    /// The row that is being filled.
    row: Parity,
    columns: Vec<Parity>,
    filled: usize,
    base: u64,
    /// Source packets whose matrix broke off, as their numbers were not consecutive.
    pub(crate) unprotected: u64,
}

/// What a packet has completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Added {
    /// Its place in the matrix.
    pub(crate) at: usize,
    /// The first packet of a row that is complete.
    pub(crate) row: Option<u64>,
    /// The first packet of the matrix, if it is complete.
    pub(crate) matrix: Option<u64>,
}

impl Grid {
    pub(crate) fn new(columns: usize, rows: usize, packet: usize) -> Self {
        let parity = Parity::with_capacity(packet);
        Self { rows, row: parity.clone(), columns: vec![parity; columns], filled: 0, base: 0, unprotected: 0 }
    }

    /// Adds the packet of an index. What it completes is to be taken before the next one.
    pub(crate) fn add(&mut self, index: u64, head: Head, body: &[u8]) -> Added {
        let (width, size) = (self.columns.len().max(1), self.columns.len().max(1) * self.rows.max(1));
        let expected = self.base.wrapping_add(self.filled as u64);
        if self.filled >= size || (self.filled > 0 && index != expected) {
            if self.filled < size {
                self.unprotected += self.filled as u64;
            }
            self.filled = 0;
        }
        if self.filled == 0 {
            self.base = index;
            self.columns.iter_mut().for_each(Parity::clear);
        }
        let at = self.filled;
        if at.is_multiple_of(width) {
            self.row.clear();
        }
        self.row.add(head, body);
        if self.rows > 1
            && let Some(column) = self.columns.get_mut(at % width)
        {
            column.add(head, body);
        }
        self.filled += 1;
        let row = self.filled.is_multiple_of(width).then(|| index.wrapping_sub(width as u64 - 1));
        Added { at, row, matrix: (self.filled == size).then_some(self.base) }
    }

    pub(crate) const fn row(&self) -> &Parity {
        &self.row
    }

    pub(crate) fn columns(&self) -> impl Iterator<Item = &Parity> {
        self.columns.iter()
    }
}
