//! Retransmissions: what is undone can be done again, what is done can be undone, and what is refused stays as it was.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use msm_core::rtp::Header;
use msm_fec::nack::rtx::{Identity, OVERHEAD, Writer, restore};
use msm_fec::nack::wire::{RtxFormat, read_fid};

const MEDIA: Identity = Identity { ssrc: 0xfeed_beef, payload_type: 96 };

/// Reads `data` as a packet, and as a line of SDP.
pub fn run(data: &[u8]) {
    let own = Header::parse(data).ok();
    let own = own.map_or(MEDIA, |header| Identity { ssrc: header.ssrc, payload_type: header.payload_type });
    undo(data, own);
    redo(data, own);
    let text = String::from_utf8_lossy(data);
    if let Some(format) = RtxFormat::read(&text) {
        assert!(format.apt < 128);
        assert_eq!(RtxFormat::read(&format.to_string()), Some(format));
    }
    if let Some((media, rtx)) = read_fid(&text) {
        assert_eq!(read_fid(&format!("FID {media} {rtx}")), Some((media, rtx)));
    }
}

/// As a retransmission.
fn undo(data: &[u8], own: Identity) {
    let mut packet = data.to_vec();
    let other = Identity { ssrc: own.ssrc ^ 1, ..own };
    assert!(restore(&mut packet, other, MEDIA).is_err());
    assert_eq!(packet, data);
    let (number, original) = match restore(&mut packet, own, MEDIA) {
        Ok((number, original)) => (number, original.to_vec()),
        Err(error) => {
            assert!(!error.name().is_empty() && !error.to_string().is_empty());
            assert_eq!(packet, data);
            return;
        }
    };
    let header = Header::parse(&original).unwrap();
    assert_eq!(original.len() + OVERHEAD, data.len());
    assert_eq!((header.sequence, header.ssrc, header.payload_type), (number, MEDIA.ssrc, MEDIA.payload_type));
    let mut again = vec![0; data.len()];
    let first = u16::from_be_bytes([data[2], data[3]]);
    assert_eq!(Writer::new(own, first).write(&original, &mut again), Ok(data.len()));
    assert_eq!(again, data);
}

/// As a packet to send again.
fn redo(data: &[u8], own: Identity) {
    let mut written = vec![0; data.len() + OVERHEAD];
    let rtx = Identity { ssrc: 7, payload_type: 97 };
    let Ok(len) = Writer::new(rtx, 5).write(data, &mut written) else { return };
    assert_eq!(len, data.len() + OVERHEAD);
    let (number, original) = restore(&mut written, rtx, own).unwrap();
    assert_eq!((number, &*original), (u16::from_be_bytes([data[2], data[3]]), data));
}
