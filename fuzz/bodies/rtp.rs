//! RTP: the view, the rewriter and the builder agree with each other, and with the `rtp` crate.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use msm_core::rtp::{
    ExtensionBlock, Header, RtpBuilder, RtpRewriter, RtpView, is_two_byte_profile, patch_header,
};
use webrtc_util::marshal::Unmarshal;

use super::extensions::{Walk, reference_walk};

/// Reads `data` as an RTP packet.
pub fn run(data: &[u8]) {
    let mut copy = data.to_vec();
    let view = match RtpView::parse(data) {
        Ok(view) => view,
        Err(error) => {
            assert!(!error.name().is_empty() && !error.to_string().is_empty());
            assert_eq!(Header::parse(data), Err(error));
            assert_eq!(RtpRewriter::parse(&mut copy).err(), Some(error));
            return;
        }
    };
    let header = view.header();
    fields_are_where_rfc_3550_puts_them(data, &view);
    rebuilds_byte_exact(data, &view);
    rewriting_changes_only_what_it_names(data, header);
    agrees_with_rtp_crate(data, &view);
}

fn fields_are_where_rfc_3550_puts_them(data: &[u8], view: &RtpView<'_>) {
    let header = view.header();
    assert_eq!(data[0] >> 6, 2);
    assert_eq!(header.marker_pt(), data[1]);
    assert_eq!(view.sequence().to_be_bytes(), data[2..4]);
    assert_eq!(view.timestamp().to_be_bytes(), data[4..8]);
    assert_eq!(view.ssrc().to_be_bytes(), data[8..12]);
    assert_eq!(view.csrcs().len(), usize::from(data[0] & 15));
    for (index, csrc) in view.csrcs().enumerate() {
        assert_eq!(csrc.to_be_bytes(), data[12 + 4 * index..16 + 4 * index]);
    }
    assert_eq!(header.packet_len(), data.len());
    assert_eq!(view.padding_len() > 0, data[0] & 0x20 != 0);
    if view.padding_len() > 0 {
        assert_eq!(view.padding_len(), usize::from(data[data.len() - 1]));
    }
    let behind_csrcs = 12 + 4 * usize::from(data[0] & 15);
    let extension = view.extension();
    assert_eq!(extension.is_some(), data[0] & 0x10 != 0);
    let extension_len = extension.map_or(0, |(_, block)| 4 + block.len());
    assert_eq!(usize::from(header.payload_offset), behind_csrcs + extension_len);
    assert_eq!(view.payload(), &data[behind_csrcs + extension_len..data.len() - view.padding_len()]);
    // Each element takes at least a byte.
    assert!(view.extensions().count() <= extension_len);
}

fn rebuilds_byte_exact(data: &[u8], view: &RtpView<'_>) {
    let csrcs: Vec<u32> = view.csrcs().collect();
    let builder = RtpBuilder {
        marker: view.marker(),
        payload_type: view.payload_type(),
        sequence: view.sequence(),
        timestamp: view.timestamp(),
        ssrc: view.ssrc(),
        csrcs: &csrcs,
        extension: view
            .extension()
            .map_or(ExtensionBlock::None, |(profile, data)| ExtensionBlock::Raw { profile, data }),
        payload: view.payload(),
        padding_len: view.header().padding_len,
    };
    let mut rebuilt = vec![0xee; data.len()];
    assert_eq!(builder.write(&mut rebuilt), Ok(data.len()));
    // Padding may hold anything; ours holds zeros.
    let padding = data.len() - view.padding_len()..(data.len() - 1).max(data.len() - view.padding_len());
    assert!(rebuilt[padding.clone()].iter().all(|&byte| byte == 0));
    rebuilt[padding.clone()].copy_from_slice(&data[padding]);
    assert_eq!(rebuilt, data);
    rebuilt.pop();
    assert!(builder.write(&mut rebuilt).is_err());
}

fn rewriting_changes_only_what_it_names(data: &[u8], header: Header) {
    let mut packet = data.to_vec();
    patch_header(&mut packet, !data[1], !header.sequence, !header.timestamp, !header.ssrc);
    assert_eq!(packet[0], data[0]);
    assert!((1..12).all(|at| packet[at] == !data[at]));
    assert_eq!(packet[12..], data[12..]);
    let inverse = Header {
        marker: !header.marker,
        payload_type: !header.payload_type & 0x7f,
        sequence: !header.sequence,
        timestamp: !header.timestamp,
        ssrc: !header.ssrc,
        ..header
    };
    // Padding of a packet without payload never reaches into the fixed header.
    assert_eq!(Header::parse(&packet), Ok(inverse));

    let mut rewriter = RtpRewriter::parse(&mut packet).unwrap();
    rewriter.set_sequence(header.sequence);
    rewriter.set_timestamp(header.timestamp);
    rewriter.set_ssrc(header.ssrc);
    rewriter.set_payload_type(header.payload_type);
    rewriter.set_marker(header.marker);
    assert_eq!(rewriter.header(), header);
    assert_eq!(rewriter.as_bytes(), data);
}

/// The crate panics on, or silently misreads, extension blocks whose elements do not fill the block exactly: it is
/// asked only where a reference walk came through to the block's end.
fn agrees_with_rtp_crate(data: &[u8], view: &RtpView<'_>) {
    let elements = match view.extension() {
        None => Vec::new(),
        // The crate knows two-byte elements only without application bits, and takes the others as opaque.
        Some((profile, block)) if profile == 0xbede || profile == 0x1000 => {
            let Walk::Complete(elements) = reference_walk(profile, block) else { return };
            elements
        }
        Some((_, block)) => vec![(0, block.to_vec())],
    };
    let mut rest = data;
    let Ok(packet) = ::rtp::packet::Packet::unmarshal(&mut rest) else {
        // It accepts all that is in its bounds, other than padding it deems wrong: which ours refuses too.
        panic!("the rtp crate refuses what we accept: {data:02x?}");
    };
    let theirs = packet.header;
    assert_eq!(theirs.version, 2);
    assert_eq!(theirs.marker, view.marker());
    assert_eq!(theirs.payload_type, view.payload_type());
    assert_eq!(theirs.sequence_number, view.sequence());
    assert_eq!(theirs.timestamp, view.timestamp());
    assert_eq!(theirs.ssrc, view.ssrc());
    assert_eq!(theirs.csrc, view.csrcs().collect::<Vec<_>>());
    assert_eq!(theirs.padding, view.padding_len() > 0);
    assert_eq!(theirs.extension, view.extension().is_some());
    if let Some((profile, _)) = view.extension() {
        assert_eq!(theirs.extension_profile, profile);
        if profile == 0xbede || profile == 0x1000 {
            let ours = view.extensions().map(|element| element.unwrap());
            let ours: Vec<_> = ours.map(|element| (element.id, element.data.to_vec())).collect();
            assert_eq!(ours, elements);
        } else if !is_two_byte_profile(profile) {
            assert_eq!(view.extensions().count(), 0);
        }
    }
    let extensions: Vec<_> = theirs.extensions.iter().map(|each| (each.id, each.payload.to_vec())).collect();
    assert_eq!(extensions, elements);
    assert_eq!(packet.payload, view.payload());
}
