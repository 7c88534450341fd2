//! Reports of a hop: in the hop's labels and numbers.

use msm_core::hop::Label;
use msm_core::hop::line::LineReport;
use msm_core::rtcp::packet_type;

/// Makes an RTCP compound that the hub wrote one of the hop: its sender is the flow's label, and what it reports of the other
/// direction are the numbers of the hop's own line, as loss before the hop is not the peer's to mend. `report` is asked
/// at most once.
pub(crate) fn address(compound: &mut [u8], label: Label, report: impl FnOnce() -> Option<LineReport>) {
    let mut report = Some(report);
    let mut rest = compound;
    while let Some([first, kind, high, low]) = rest.first_chunk().copied() {
        let length = 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
        let Some((packet, behind)) = rest.split_at_mut_checked(length) else { return };
        if let Some(ssrc) = packet.get_mut(4..8) {
            ssrc.copy_from_slice(&label.ssrc().to_be_bytes());
        }
        let has_block = first & 0x1f > 0 && kind == packet_type::RECEIVER_REPORT;
        if has_block && let Some(own) = report.take().and_then(|report| report()) {
            if let Some([fraction, lost @ ..]) = packet.get_mut(12..16) {
                *fraction = own.fraction_lost;
                let [_, bytes @ ..] = own.cumulative_lost.to_be_bytes();
                lost.copy_from_slice(&bytes);
            }
            if let Some(highest) = packet.get_mut(16..20) {
                highest.copy_from_slice(&own.highest.to_be_bytes());
            }
        }
        rest = behind;
    }
}

/// The highest number that a compound's report block about `label` says was received.
pub(crate) fn highest(compound: &[u8], label: Label) -> Option<u32> {
    let mut rest = compound;
    while let Some([first, kind, high, low]) = rest.first_chunk().copied() {
        let length = 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
        let (packet, behind) = rest.split_at_checked(length)?;
        let blocks = match kind {
            packet_type::RECEIVER_REPORT => packet.get(8..),
            packet_type::SENDER_REPORT => packet.get(28..),
            _ => None,
        };
        let count = usize::from(first & 0x1f);
        let about = blocks.into_iter().flat_map(|blocks| blocks.chunks_exact(24)).take(count);
        for block in about {
            if let ([a, b, c, d, ..], Some(highest)) = (block, block.get(8..12))
                && u32::from_be_bytes([*a, *b, *c, *d]) == label.ssrc()
            {
                return Some(u32::from_be_bytes(highest.try_into().ok()?));
            }
        }
        rest = behind;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use msm_core::rtcp::{ReportBlock, Writer};

    #[test]
    fn a_report_becomes_one_of_the_hop() {
        let media = Label::from_ssrc(0x0200_0007);
        let own = Label::from_ssrc(0x0100_0003);
        let mut buffer = [0; 200];
        let mut writer = Writer::new(&mut buffer);
        let block = ReportBlock { ssrc: media.ssrc(), extended_highest_sequence: 9, ..Default::default() };
        writer.receiver_report(77, &[block]).unwrap();
        writer.sdes_cname(77, "name").unwrap();
        writer.pli(77, media.ssrc()).unwrap();
        let compound = writer.finish();
        assert_eq!(highest(compound, media), Some(9));
        let line = LineReport { fraction_lost: 5, cumulative_lost: 6, highest: 70_000 };
        address(compound, own, || Some(line));
        assert_eq!(highest(compound, media), Some(70_000));
        assert_eq!(highest(compound, own), None);
        assert_eq!(compound[12..16], [5, 0, 0, 6]);
        assert_eq!(compound.windows(4).filter(|four| *four == own.ssrc().to_be_bytes()).count(), 3);
        assert!(!compound.windows(4).any(|four| four == 77u32.to_be_bytes()));
    }

    #[test]
    fn what_is_cut_short_is_left_alone() {
        for length in 0..12 {
            let mut cut = [0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2];
            address(&mut cut[..length], Label::from_ssrc(1), || None);
            assert_eq!(highest(&cut[..length], Label::from_ssrc(2)), None);
        }
    }
}
