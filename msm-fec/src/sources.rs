//! Where decoders find source packets again, and what they give back.

/// Source packets that are still at hand, by index.
///
/// A decoder asks for them when something is missing, and only then: an order window or a history that holds packets anyway is the place
/// to look, so that nothing is copied without loss. Who has none keeps a [`crate::rs::ring::Ring`] or a [`crate::xor::recover::Store`].
pub trait Sources {
    /// The packet `index`, as it was protected: before SRTP, header included. `None` if it never came, or is not kept any more.
    fn get(&self, index: u64) -> Option<&[u8]>;
}

impl<S: Sources + ?Sized> Sources for &S {
    fn get(&self, index: u64) -> Option<&[u8]> {
        (**self).get(index)
    }
}

/// A packet that was lost, and is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered<'a> {
    /// Its index.
    pub index: u64,
    /// The whole packet, as it was protected.
    pub packet: &'a [u8],
}
