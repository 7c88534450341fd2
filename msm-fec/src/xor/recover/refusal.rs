//! Why a repair packet was of no use, and how often.

use thiserror::Error;

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident $name:literal $text:literal),* $(,)?) => {
        /// Why a repair packet was refused, or given up later.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
        #[non_exhaustive]
        pub enum Refusal {
            $($(#[$doc])* #[error($text)] $variant,)*
        }

        impl Refusal {
            /// All of them, in the order of [`Counters`].
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// A stable name of the reason, for the label of a counter.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),*
                }
            }
        }
    };
}

refusals! {
    /// Shorter than its own header.
    Short "short" "repair packet is shorter than its header",
    /// Longer than [`super::Limits::packet`].
    TooLong "too_long" "packet is longer than the limit",
    /// Not an RTP packet.
    NotRtp "not_rtp" "repair packet is not RTP",
    /// Another payload type than the one that was agreed on.
    PayloadType "payload_type" "another payload type than that of repair packets",
    /// For another stream, or from another sender.
    OtherStream "other_stream" "repair packet of another stream",
    /// Sums packets of several streams, which are named but not recovered.
    SeveralStreams "several_streams" "repair packet of several streams",
    /// A form that its standard reserves.
    Reserved "reserved" "reserved form of a header",
    /// Another code than XOR (ST 2022-1 `Type`).
    Code "code" "another code than XOR",
    /// Protects nothing.
    Empty "empty" "repair packet protects nothing",
    /// More rows, columns or both than allowed, or fewer.
    Dimensions "dimensions" "rows and columns out of bounds",
    /// Other rows or columns than before (ST 2022-1).
    Changed "changed" "rows and columns changed",
    /// More levels of protection than are followed (RFC 5109).
    Levels "levels" "too many levels of protection",
    /// A level reaches past the packet's end (RFC 5109).
    LevelLength "level_length" "a level of protection is longer than the packet",
    /// No source packet came yet, so the 16-bit number cannot be placed.
    NoSource "no_source" "no source packet came before",
    /// Protects packets farther away than [`super::Limits::window`].
    FarAway "far_away" "protects packets outside of the window",
    /// The length that comes out is more than what is protected.
    Length "length" "recovered length is more than is protected",
    /// What comes out is no RTP packet.
    Inconsistent "inconsistent" "what it gives is no RTP packet",
    /// Gave nothing within the window, or what it needs is no longer kept.
    Expired "expired" "gave nothing while its packets were kept",
    /// Gave way to newer ones: [`super::Limits::open`].
    Crowded "crowded" "gave way to newer repair packets",
    /// Recovered, but no longer kept when it was polled: [`super::Limits::recovered_bytes`].
    Overrun "overrun" "recovered packets were not polled in time",
}

/// What became of repair packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Repair packets that came.
    pub repairs: u64,
    /// Of these, such as protected packets that were all there.
    pub unneeded: u64,
    /// Source packets that were recovered.
    pub recovered: u64,
    refusals: [u64; Refusal::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self { repairs: 0, unneeded: 0, recovered: 0, refusals: [0; Refusal::ALL.len()] }
    }
}

impl Counters {
    /// How many repair packets were refused or given up for this reason.
    #[must_use]
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.refusals.get(reason as usize).copied().unwrap_or(0)
    }

    pub(crate) fn refuse(&mut self, reason: Refusal) {
        if let Some(count) = self.refusals.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_counter_and_a_name() {
        let mut counters = Counters::default();
        let mut names = std::collections::BTreeSet::new();
        for (at, reason) in Refusal::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at);
            assert!(names.insert(reason.name()));
            counters.refuse(*reason);
            assert_eq!(counters.refused(*reason), 1, "{reason}");
        }
    }
}
