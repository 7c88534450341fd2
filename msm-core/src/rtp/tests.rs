//! Tests of the whole of `rtp`.

use super::*;

#[test]
fn rtcp_is_told_by_its_second_byte() {
    for byte in 0..=255_u8 {
        assert_eq!(is_rtcp(byte), (192..=223).contains(&byte), "{byte}");
    }
}
