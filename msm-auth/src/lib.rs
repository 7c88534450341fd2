//! Identity, authorization and encryption of Media Streaming Mesh.
//!
//! [`srtp`] protects media packets in place. [`identity`] proves who a member is, and checks who its peer is.

pub mod identity;
pub mod srtp;
