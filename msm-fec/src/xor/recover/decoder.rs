//! The receiver's side of a scheme.

use super::{Counters, Engine, Recovered, Refusal, Sources};

/// How a scheme reads its repair packets: all that its decoder has of its own.
pub trait Scheme {
    /// Reads a repair packet, and gives the engine what it says.
    ///
    /// # Errors
    ///
    /// Why it is of no use.
    fn read(&mut self, engine: &mut Engine, packet: &[u8], sources: &impl Sources) -> Result<(), Refusal>;
}

/// Recovers packets of one stream. See [`crate::xor`] for how it is driven, and the scheme's module for how it is made.
#[derive(Clone, Debug)]
pub struct Decoder<S> {
    pub(crate) scheme: S,
    pub(crate) engine: Engine,
}

impl<S: Scheme> Decoder<S> {
    /// A source packet came, and `sources` finds it.
    pub fn handle_source(&mut self, index: u64, sources: &impl Sources) {
        self.engine.handle_source(index, sources);
    }

    /// Takes a repair packet, whole.
    ///
    /// # Errors
    ///
    /// Why it is of no use; counted.
    pub fn handle_repair(&mut self, packet: &[u8], sources: &impl Sources) -> Result<(), Refusal> {
        let result = self.scheme.read(&mut self.engine, packet, sources);
        self.count(result)
    }

    pub(crate) fn count(&mut self, result: Result<(), Refusal>) -> Result<(), Refusal> {
        self.engine.counters.repairs += 1;
        result.inspect_err(|refusal| self.engine.counters.refuse(*refusal))
    }

    /// The next packet that was recovered, each once.
    pub fn poll_recovered(&mut self) -> Option<Recovered<'_>> {
        self.engine.poll_recovered()
    }

    /// What became of repair packets.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.engine.counters
    }

    /// Repair packets that wait for source packets.
    #[must_use]
    pub fn open(&self) -> usize {
        self.engine.open()
    }
}
