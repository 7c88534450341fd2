//! RTCP: iteration ends, stays in bounds, agrees with the `rtcp` crate, and what is written reads back.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ::rtcp::goodbye::Goodbye;
use ::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use ::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use ::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use ::rtcp::receiver_report::ReceiverReport;
use ::rtcp::reception_report::ReceptionReport;
use ::rtcp::sender_report::SenderReport;
use ::rtcp::source_description::SourceDescription;
use ::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use msm_core::rtcp::{
    Acceptance, Compound, FirEntry, Packet, Raw, ReportBlock, RtcpError, SdesItem, Writer, packet_type,
};

/// Reads `data` as a datagram of RTCP.
pub fn run(data: &[u8]) {
    let strict = Compound::parse(data, Acceptance::Compound);
    let compound = match Compound::parse(data, Acceptance::ReducedSize) {
        Ok(compound) => compound,
        Err(error) => {
            // The lax form fails: the strict one does too, if perhaps earlier.
            assert!(strict.is_err());
            assert!(!error.name().is_empty() && !error.to_string().is_empty());
            return;
        }
    };
    let first = data[1];
    match strict {
        Ok(_) => assert!(first == 200 || first == 201),
        Err(error) => assert_eq!(error, RtcpError::FirstPacket { packet_type: first }),
    }
    let mut next = 0;
    let mut count = 0;
    for raw in compound.raw_packets() {
        assert_eq!(raw.offset, next);
        assert_eq!(raw.packet_type, data[next + 1]);
        assert_eq!(raw.bytes, &data[next..next + raw.bytes.len()]);
        next += raw.bytes.len() + usize::from(raw.padding_len);
        assert!(raw.padding_len == 0 || next == data.len());
        count += 1;
    }
    assert_eq!(next, data.len(), "the packets add up to the datagram");
    assert_eq!(compound.packets().count(), count);
    for (raw, packet) in compound.raw_packets().zip(compound.packets()) {
        match packet {
            Ok(packet) => {
                bounded(&packet, &raw);
                reads_back(&packet, &raw);
                agrees_with_rtcp_crate(&packet, &raw);
            }
            Err(error) => assert!(!error.name().is_empty() && !error.to_string().is_empty()),
        }
    }
}

/// Every iterator ends, within what the packet's bytes can hold.
fn bounded(packet: &Packet<'_>, raw: &Raw<'_>) {
    let words = raw.bytes.len() / 4;
    assert!(!packet.name().is_empty());
    match packet {
        Packet::SenderReport(report) => assert_eq!(report.blocks.count(), usize::from(raw.count)),
        Packet::ReceiverReport(report) => assert_eq!(report.blocks.count(), usize::from(raw.count)),
        Packet::Sdes(sdes) => {
            assert_eq!(sdes.chunks().count(), usize::from(raw.count));
            for chunk in sdes.chunks() {
                let chunk = chunk.expect("chunks were walked before");
                assert!(chunk.items().all(|item| item.item_type != 0));
                assert!(chunk.items().count() <= 2 * words);
                assert!(chunk.items().map(|item| item.text.len()).sum::<usize>() <= raw.bytes.len());
                let cname = sdes.cname(chunk.ssrc);
                assert!(chunk.cname().is_none() || cname.is_some());
            }
        }
        Packet::Bye(bye) => {
            assert_eq!(bye.sources().len(), usize::from(raw.count));
            assert!(bye.reason.unwrap_or_default().len() < 256);
        }
        Packet::App(app) => assert_eq!(app.data.len() + 12, raw.bytes.len()),
        Packet::Nack(nack) => {
            assert_eq!(nack.pairs().len() + 3, words);
            assert!(nack.lost().count() <= 17 * words);
        }
        Packet::Pli(_) => assert!(words >= 3),
        Packet::Fir(fir) => assert_eq!(2 * fir.entries().len() + 3, words),
        Packet::Remb(remb) => assert!(remb.ssrcs().len() + 5 <= words),
        Packet::TransportCc(feedback) => assert_eq!(feedback.data.len() + 20, raw.bytes.len()),
        Packet::Xr(report) => {
            let blocks =
                report.blocks().map(|block| 4 + block.expect("blocks were walked before").data.len());
            assert_eq!(blocks.sum::<usize>() + 8, raw.bytes.len());
        }
        Packet::Unknown(unknown) => assert_eq!(unknown, raw),
    }
}

/// What the writer can write says the same when it is read.
fn reads_back(packet: &Packet<'_>, raw: &Raw<'_>) {
    // A terminator that was missing may be added.
    let mut buffer = vec![0xee; raw.bytes.len() + 4];
    let mut writer = Writer::new(&mut buffer);
    let written = match packet {
        Packet::SenderReport(report) => {
            writer.sender_report(&report.info, &report.blocks.collect::<Vec<_>>())
        }
        Packet::ReceiverReport(report) => {
            writer.receiver_report(report.ssrc, &report.blocks.collect::<Vec<_>>())
        }
        Packet::Sdes(sdes) => {
            let Some(Ok(chunk)) = sdes.chunks().next() else { return };
            let Some(cname) = chunk.cname() else { return };
            writer.sdes_cname(chunk.ssrc, cname)
        }
        Packet::Bye(bye) => writer.bye(&bye.sources().collect::<Vec<_>>(), bye.reason.unwrap_or_default()),
        Packet::Nack(nack) => {
            writer.nack(nack.sender_ssrc, nack.media_ssrc, &nack.lost().collect::<Vec<_>>())
        }
        Packet::Pli(pli) => writer.pli(pli.sender_ssrc, pli.media_ssrc),
        Packet::Fir(fir) => writer.fir(fir.sender_ssrc, &fir.entries().collect::<Vec<_>>()),
        _ => return,
    };
    written.expect("what was read can be written");
    let written =
        Compound::parse(writer.as_bytes(), Acceptance::ReducedSize).expect("what was written is valid");
    let mut packets = written.packets();
    let read = packets.next().unwrap().expect("what was written is valid");
    assert!(packets.next().is_none());
    match (&read, packet) {
        (Packet::SenderReport(read), Packet::SenderReport(report)) => {
            assert_eq!((read.info, read.blocks), (report.info, report.blocks));
        }
        (Packet::ReceiverReport(read), Packet::ReceiverReport(report)) => {
            assert_eq!((read.ssrc, read.blocks), (report.ssrc, report.blocks));
        }
        (Packet::Sdes(read), Packet::Sdes(sdes)) => {
            let ssrc = sdes.chunks().next().unwrap().unwrap().ssrc;
            assert_eq!(read.cname(ssrc), sdes.chunks().next().unwrap().unwrap().cname());
        }
        (Packet::Bye(read), Packet::Bye(bye)) => assert_eq!(read, bye),
        (Packet::Nack(read), Packet::Nack(nack)) => {
            // Entries may be grouped anew: the same packets are named.
            let sorted = |lost: Vec<u16>| std::collections::BTreeSet::from_iter(lost);
            assert_eq!(sorted(read.lost().collect()), sorted(nack.lost().collect()));
            assert!(read.pairs().len() <= nack.pairs().len());
        }
        (Packet::Pli(read), Packet::Pli(pli)) => assert_eq!(read, pli),
        (Packet::Fir(read), Packet::Fir(fir)) => {
            assert_eq!(read.sender_ssrc, fir.sender_ssrc);
            assert!(read.entries().eq(fir.entries()));
        }
        _ => panic!("another kind of packet was read than written"),
    }
}

/// The crate panics on some lengths that we refuse, so it is asked only about packets that we accept, one by one; and
/// not about kinds where an accepted packet can still make it panic (transport-cc) or which it reads differently (XR).
fn agrees_with_rtcp_crate(packet: &Packet<'_>, raw: &Raw<'_>) {
    // It takes padding for contents, and multiplies lengths in 16 bits.
    if raw.padding_len > 0 || raw.bytes.len() > 16_384 {
        return;
    }
    let asked = matches!(
        (raw.packet_type, raw.count),
        (packet_type::SENDER_REPORT..=packet_type::BYE, _)
            | (packet_type::RTP_FEEDBACK, 1)
            | (packet_type::PAYLOAD_FEEDBACK, 1 | 4 | 15)
    );
    if !asked || matches!(packet, Packet::Unknown(_)) {
        return;
    }
    let mut bytes = raw.bytes;
    let Ok(theirs) = ::rtcp::packet::unmarshal(&mut bytes) else { return };
    assert_eq!(theirs.len(), 1);
    let theirs = theirs[0].as_any();
    match packet {
        Packet::SenderReport(ours) => {
            let theirs = theirs.downcast_ref::<SenderReport>().unwrap();
            assert_eq!(ours.info.ssrc, theirs.ssrc);
            assert_eq!(ours.info.ntp.to_bits(), theirs.ntp_time);
            assert_eq!(ours.info.rtp_timestamp, theirs.rtp_time);
            assert_eq!(ours.info.packet_count, theirs.packet_count);
            assert_eq!(ours.info.octet_count, theirs.octet_count);
            same_blocks(ours.blocks, &theirs.reports);
            assert_eq!(ours.extension, theirs.profile_extensions);
        }
        Packet::ReceiverReport(ours) => {
            let theirs = theirs.downcast_ref::<ReceiverReport>().unwrap();
            assert_eq!(ours.ssrc, theirs.ssrc);
            same_blocks(ours.blocks, &theirs.reports);
            assert_eq!(ours.extension, theirs.profile_extensions);
        }
        Packet::Sdes(ours) => {
            // It takes an item type that it does not know for the end of the list.
            let items = ours.chunks().flat_map(|chunk| chunk.unwrap().items());
            if items.into_iter().any(|SdesItem { item_type, .. }| item_type > 8) {
                return;
            }
            let theirs = theirs.downcast_ref::<SourceDescription>().unwrap();
            assert_eq!(ours.chunks().count(), theirs.chunks.len());
            for (ours, theirs) in ours.chunks().zip(&theirs.chunks) {
                let ours = ours.unwrap();
                assert_eq!(ours.ssrc, theirs.source);
                assert_eq!(ours.items().count(), theirs.items.len());
                for (ours, theirs) in ours.items().zip(&theirs.items) {
                    assert_eq!(ours.item_type, theirs.sdes_type as u8);
                    assert_eq!(ours.text, theirs.text);
                }
            }
        }
        Packet::Bye(ours) => {
            let theirs = theirs.downcast_ref::<Goodbye>().unwrap();
            assert_eq!(ours.sources().collect::<Vec<_>>(), theirs.sources);
            assert_eq!(ours.reason.unwrap_or_default(), theirs.reason);
        }
        Packet::Nack(ours) => {
            let theirs = theirs.downcast_ref::<TransportLayerNack>().unwrap();
            assert_eq!((ours.sender_ssrc, ours.media_ssrc), (theirs.sender_ssrc, theirs.media_ssrc));
            let pairs: Vec<_> = theirs.nacks.iter().map(|pair| (pair.packet_id, pair.lost_packets)).collect();
            assert!(ours.pairs().map(|pair| (pair.packet_id, pair.bitmask)).eq(pairs));
            let lost = theirs.nacks.iter().flat_map(|pair| pair.packet_list());
            assert!(ours.lost().eq(lost));
        }
        Packet::Pli(ours) => {
            let theirs = theirs.downcast_ref::<PictureLossIndication>().unwrap();
            assert_eq!((ours.sender_ssrc, ours.media_ssrc), (theirs.sender_ssrc, theirs.media_ssrc));
        }
        Packet::Fir(ours) => {
            let theirs = theirs.downcast_ref::<FullIntraRequest>().unwrap();
            assert_eq!((ours.sender_ssrc, ours.media_ssrc), (theirs.sender_ssrc, theirs.media_ssrc));
            let entries =
                theirs.fir.iter().map(|each| FirEntry { ssrc: each.ssrc, sequence: each.sequence_number });
            assert!(ours.entries().eq(entries));
        }
        Packet::Remb(ours) => {
            let theirs = theirs.downcast_ref::<ReceiverEstimatedMaximumBitrate>().unwrap();
            assert_eq!(ours.sender_ssrc, theirs.sender_ssrc);
            assert_eq!(ours.ssrcs().collect::<Vec<_>>(), theirs.ssrcs);
            // It reads a mantissa of zero as a power of two, and ours saturates where its float does not.
            if ours.bitrate != 0 && ours.bitrate != u64::MAX {
                assert_eq!(ours.bitrate as f32, theirs.bitrate);
            }
        }
        _ => {}
    }
}

fn same_blocks(ours: impl ExactSizeIterator<Item = ReportBlock>, theirs: &[ReceptionReport]) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.zip(theirs) {
        assert_eq!(ours.ssrc, theirs.ssrc);
        assert_eq!(ours.fraction_lost, theirs.fraction_lost);
        // It has no sign.
        assert_eq!((ours.cumulative_lost & 0xff_ffff).cast_unsigned(), theirs.total_lost);
        assert_eq!(ours.extended_highest_sequence, theirs.last_sequence_number);
        assert_eq!(ours.jitter, theirs.jitter);
        assert_eq!(ours.last_sr, theirs.last_sender_report);
        assert_eq!(ours.delay_since_last_sr, theirs.delay);
        assert_eq!(ReportBlock::from_bytes(&ours.to_bytes()), ours);
    }
}
