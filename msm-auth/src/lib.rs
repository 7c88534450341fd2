//! Identity and encryption of Media Streaming Mesh's members: [`identity`] proves who a member is and checks who its
//! peer is; [`srtp`] keeps media and its reports unreadable and unforgeable on the way; [`keying`] tells peers that are
//! no members the keys for it.

pub mod identity;
pub mod keying;
pub mod srtp;
