//! SRTP on plain hops: keys by SDES (`RFC 4568`) and MIKEY (`RFC 4567`), as RTSP's servers, players and publishers hand
//! them over, and the two directions of a track that they protect.
//!
//! RTSP has no answer to a description, so each side tells the key of what it sends itself: a server in the description,
//! a publisher in the one that it announces, whoever else in `KeyMgmt` headers of SETUP. A peer that says nothing of its
//! own reports sends them under the key of what it gets, or not at all.

mod keys;
mod shared;
mod track;

pub(crate) use keys::{Described, OwnKey, PeerKey, Protocol, SUITE, random_ssrc};
#[cfg(test)]
pub(crate) use shared::MAX_USES;
pub(crate) use shared::SharedKey;
pub(crate) use track::SecureTrack;
