//! Bodies of the fuzz targets: plain functions of the input, so that `cargo test` can replay a corpus through them.
//!
//! A body panics when a promise is broken, and returns otherwise, whatever the input.

pub mod certificate;
pub mod config;
pub mod extensions;
pub mod flexfec;
pub mod frames;
pub mod framing;
pub mod login;
pub mod mikey;
pub mod nack;
pub mod parity;
pub mod pattern;
pub mod reed_solomon;
pub mod rtcp;
pub mod rtp;
pub mod rtx;
pub mod sdes;
pub mod sdp;
pub mod spiffe_id;
pub mod srtp;
pub mod st2022;
pub mod transport;
pub mod ulpfec;
pub mod url;
