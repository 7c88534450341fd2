//! Identity of Media Streaming Mesh's members: [`identity`] proves who a member is, and checks who its peer is.

pub mod identity;
