//! What is added in one pass.

/// Most sources of a [`Batch`].
pub const BATCH: usize = 16;

/// Sources that are added to rows in one pass, each to be followed by zeros.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    sources: [&'a [u8]; BATCH],
    count: usize,
    shortest: usize,
    longest: usize,
}

impl Default for Batch<'_> {
    fn default() -> Self {
        Self { sources: [&[]; BATCH], count: 0, shortest: usize::MAX, longest: 0 }
    }
}

impl<'a> Batch<'a> {
    /// Adds a source. One that is full stays as it is.
    #[inline]
    pub fn push(&mut self, source: &'a [u8]) {
        if let Some(place) = self.sources.get_mut(self.count) {
            *place = source;
            self.count += 1;
            self.shortest = self.shortest.min(source.len());
            self.longest = self.longest.max(source.len());
        }
    }

    /// Takes all sources out.
    #[inline]
    pub const fn clear(&mut self) {
        (self.count, self.shortest, self.longest) = (0, usize::MAX, 0);
    }

    /// Its sources.
    #[must_use]
    #[inline]
    pub fn sources(&self) -> &[&'a [u8]] {
        self.sources.get(..self.count).unwrap_or_default()
    }

    /// How many sources it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether it takes no more.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.count == BATCH
    }

    /// The length of its longest source.
    #[must_use]
    pub const fn longest(&self) -> usize {
        self.longest
    }

    /// The length of its shortest source.
    #[must_use]
    pub const fn shortest(&self) -> usize {
        self.shortest
    }
}

impl<'a> FromIterator<&'a [u8]> for Batch<'a> {
    /// Of the first ones, as many as it takes.
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(sources: I) -> Self {
        let mut batch = Self::default();
        sources.into_iter().take(BATCH).for_each(|source| batch.push(source));
        batch
    }
}
