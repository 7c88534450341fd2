//! RTP packets as bytes (RFC 3550 §5, RFC 8285): a validating parse, zero-copy reading, rewriting in place.
//!
//! A packet is forwarded byte-exact apart from the header fields that a relay must change. So nothing here
//! re-serialises a packet: [`RtpView`] reads the bytes where they are, [`RtpRewriter`] and [`patch_header`]
//! change the named fields only. [`RtpBuilder`] makes packets for test sources and tests.
//!
//! ```
//! use msm_core::rtp::{RtpBuilder, RtpView, patch_header};
//!
//! let mut buffer = [0; 64];
//! let packet = RtpBuilder { payload_type: 96, sequence: 7, payload: b"frame", ..RtpBuilder::default() };
//! let length = packet.write(&mut buffer)?;
//! patch_header(&mut buffer[..length], 0x80 | 97, 8, 3_000, 0xfeed_beef);
//!
//! let view = RtpView::parse(&buffer[..length])?;
//! assert_eq!((view.marker(), view.payload_type(), view.sequence()), (true, 97, 8));
//! assert_eq!(view.payload(), b"frame");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod build;
mod error;
mod extension;
mod header;
mod rewrite;
mod view;

pub use build::{ExtensionBlock, RtpBuilder, RtpWriteError, write_header};
pub use error::RtpError;
pub use extension::{Element, Elements, PROFILE_ONE_BYTE, PROFILE_TWO_BYTE, is_two_byte_profile};
pub use header::{HEADER_LEN, Header, MAX_PACKET_LEN};
pub use rewrite::{RtpRewriter, patch_header};
pub use view::RtpView;

/// Whether a datagram on a port shared by RTP and RTCP is RTCP, told by its second byte (RFC 5761 §4).
///
/// RTCP packet types 192–223 are RTP payload types 64–95 with the marker bit set; RTP must not use those.
#[inline]
#[must_use]
pub const fn is_rtcp(second_byte: u8) -> bool {
    second_byte & 0xe0 == 0xc0
}

#[cfg(test)]
mod tests;
