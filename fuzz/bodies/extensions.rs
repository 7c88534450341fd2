//! Header extensions: iteration agrees with a slow reading of RFC 8285, and writing an element changes that element only.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use msm_core::rtp::{Elements, ExtensionBlock, PROFILE_ONE_BYTE, RtpBuilder, RtpError, RtpRewriter, RtpView};

/// How a walk over an extension block ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Walk {
    /// At the block's end.
    Complete(Vec<(u8, Vec<u8>)>),
    /// At an identifier that ends processing.
    Stopped(Vec<(u8, Vec<u8>)>),
    /// At an element that passes the block's end.
    Broken(Vec<(u8, Vec<u8>)>),
}

/// RFC 8285 §4.2 and §4.3, byte by byte.
pub fn reference_walk(profile: u16, block: &[u8]) -> Walk {
    let one_byte = profile == PROFILE_ONE_BYTE;
    let mut elements = Vec::new();
    let mut bytes = block.iter().copied();
    while let Some(first) = bytes.next() {
        if first == 0 {
            continue;
        }
        let (id, len) = if one_byte {
            if first >> 4 == 15 || first >> 4 == 0 {
                return Walk::Stopped(elements);
            }
            (first >> 4, usize::from(first & 15) + 1)
        } else {
            let Some(len) = bytes.next() else { return Walk::Broken(elements) };
            (first, usize::from(len))
        };
        let data: Vec<u8> = bytes.by_ref().take(len).collect();
        if data.len() < len {
            return Walk::Broken(elements);
        }
        elements.push((id, data));
    }
    Walk::Complete(elements)
}

/// Reads the first two bytes of `data` as a profile, and the rest as an extension block.
pub fn run(data: &[u8]) {
    let Some((profile, block)) = data.split_first_chunk::<2>() else { return };
    // Most inputs should be of a form that is known.
    let profile = match profile[0] & 3 {
        0 => PROFILE_ONE_BYTE,
        1 => 0x1000 | u16::from(profile[1] & 15),
        _ => u16::from_be_bytes(*profile),
    };
    let known = profile == PROFILE_ONE_BYTE || profile & 0xfff0 == 0x1000;
    let mut ours = Vec::new();
    let mut broken = false;
    for element in Elements::new(profile, block) {
        assert!(!broken, "an element behind an error");
        match element {
            Ok(element) => {
                assert_eq!(&block[element.offset..element.offset + element.data.len()], element.data);
                ours.push((element.id, element.data.to_vec()));
            }
            Err(RtpError::Element { end, len, offset, .. }) => {
                assert!(end > len && offset < len && len == block.len());
                broken = true;
            }
            Err(other) => panic!("no error of an element: {other}"),
        }
    }
    let expected = reference_walk(profile, block);
    match (broken, known) {
        (_, false) => assert!(ours.is_empty() && !broken),
        (true, true) => assert_eq!(expected, Walk::Broken(ours)),
        (false, true) => match expected {
            Walk::Complete(elements) | Walk::Stopped(elements) => assert_eq!(ours, elements),
            Walk::Broken(_) => panic!("a broken element was not reported"),
        },
    }
    in_a_packet(profile, block);
    written_elements_read_back(block);
}

fn in_a_packet(profile: u16, block: &[u8]) {
    let words = block.len() / 4 * 4;
    let builder = RtpBuilder {
        extension: ExtensionBlock::Raw { profile, data: &block[..words] },
        payload: b"payload",
        padding_len: 3,
        csrcs: &[1, 2],
        ..RtpBuilder::default()
    };
    let mut packet = vec![0; words + 64];
    let Ok(len) = builder.write(&mut packet) else { return };
    packet.truncate(len);
    let before = packet.clone();
    let view = RtpView::parse(&before).expect("what the builder wrote is valid");
    assert_eq!(view.extension(), Some((profile, &block[..words])));
    assert_eq!(view.payload(), b"payload");

    // All that are there, and some that need not be.
    let mut ids: Vec<u8> = view.extensions().map_while(Result::ok).map(|element| element.id).collect();
    ids.extend([0, 15, 77]);
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        let Some(old) = view.element(id) else {
            assert!(RtpRewriter::parse(&mut packet).unwrap().element_mut(id).is_none());
            continue;
        };
        let mut rewriter = RtpRewriter::parse(&mut packet).unwrap();
        let longer = vec![0x5a; old.len() + 1];
        assert!(!rewriter.set_element(id, &longer), "only the same length fits");
        let inverse: Vec<u8> = old.iter().map(|byte| !byte).collect();
        assert!(rewriter.set_element(id, &inverse));
        let start = old.as_ptr() as usize - before.as_ptr() as usize;
        let changed = start..start + old.len();
        for (at, (now, then)) in packet.iter().zip(&before).enumerate() {
            assert_eq!(*now, if changed.contains(&at) { !*then } else { *then });
        }
        assert!(RtpRewriter::parse(&mut packet).unwrap().set_element(id, old));
        assert_eq!(packet, before);
    }
}

/// Cuts `data` into elements, writes them in both forms, and reads them back.
fn written_elements_read_back(data: &[u8]) {
    let mut elements: Vec<(u8, &[u8])> = Vec::new();
    let mut rest = data;
    while let [id, len, tail @ ..] = rest {
        let (text, behind) = tail.split_at(usize::from(*len).min(tail.len()));
        elements.push(((*id).max(1), text));
        rest = behind;
    }
    let mut packet = vec![0; 2 * data.len() + 64];
    let check = |extension: ExtensionBlock<'_>, elements: &[(u8, &[u8])], packet: &mut [u8]| {
        let builder = RtpBuilder { extension, payload: &[7; 3], ..RtpBuilder::default() };
        let Ok(len) = builder.write(packet) else { return };
        let view = RtpView::parse(&packet[..len]).expect("what the builder wrote is valid");
        let read: Vec<_> =
            view.extensions().map(|each| each.unwrap()).map(|each| (each.id, each.data)).collect();
        assert_eq!(read, elements);
        assert_eq!(view.payload(), [7; 3]);
    };
    check(ExtensionBlock::TwoByte(&elements), &elements, &mut packet);
    let short: Vec<(u8, &[u8])> = elements
        .iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(id, text)| (id % 14 + 1, &text[..text.len().min(16)]))
        .collect();
    check(ExtensionBlock::OneByte(&short), &short, &mut packet);
}
