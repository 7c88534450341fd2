//! Bodies of the fuzz targets: plain functions of the input, so that `cargo test` can replay a corpus through them.
//!
//! A body panics when a promise is broken, and returns otherwise, whatever the input.

pub mod certificate;
pub mod config;
pub mod extensions;
pub mod framing;
pub mod login;
pub mod mikey;
pub mod pattern;
pub mod reed_solomon;
pub mod rtcp;
pub mod rtp;
pub mod sdes;
pub mod sdp;
pub mod spiffe_id;
pub mod srtp;
pub mod transport;
pub mod url;
