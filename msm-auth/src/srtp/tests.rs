use super::cipher::SessionKeys;
use super::*;

fn hex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn key(suite: Suite, fill: u8) -> MasterKey {
    let material: Vec<u8> = (0..suite.key_len() + suite.salt_len()).map(|at| at as u8 ^ fill).collect();
    MasterKey::from_bytes(suite, &material).unwrap()
}

fn pair(suite: Suite, mki_len: usize) -> (Sender, Receiver) {
    let mut sender = Sender::new(SenderOptions { mki_len, ..Default::default() });
    let mut receiver = Receiver::new(ReceiverOptions { mki_len, ..Default::default() });
    let mki = vec![7; mki_len];
    sender.install(&key(suite, 1), &mki).unwrap();
    sender.switch(&mki).unwrap();
    receiver.install(&key(suite, 1), &mki).unwrap();
    (sender, receiver)
}

/// A packet with one CSRC and an extension.
fn rtp(sequence: u16, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x91, 0xe0];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 1, 2]);
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&[9, 9, 9, 9, 0xbe, 0xde, 0, 1, 0x10, 5, 0, 0]);
    packet.extend_from_slice(payload);
    packet
}

fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&[0x81, 202, 0, 2, 1, 2, 3, 4, 1, 1, b'x', 0]);
    packet
}

fn protect(sender: &mut Sender, packet: &[u8]) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + sender.rtp_overhead(), 0xaa);
    let length = sender.protect_rtp(&mut buffer, packet.len()).unwrap();
    assert_eq!(length, buffer.len());
    buffer
}

fn protect_rtcp(sender: &mut Sender, packet: &[u8]) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + sender.rtcp_overhead(), 0xaa);
    let length = sender.protect_rtcp(&mut buffer, packet.len()).unwrap();
    assert_eq!(length, buffer.len());
    buffer
}

fn open(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buffer = packet.to_vec();
    let opened = receiver.unprotect_rtp(&mut buffer)?;
    buffer.truncate(opened.len);
    Ok(buffer)
}

fn open_rtcp(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buffer = packet.to_vec();
    let opened = receiver.unprotect_rtcp(&mut buffer)?;
    buffer.truncate(opened.len);
    Ok(buffer)
}

#[test]
fn aead_packets_are_those_of_rfc_7714() {
    let clear = hex(
        "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 7320 74726573",
    );
    let salt = hex("51756964 2070726f 2071756f");
    // RFC 7714 §16.1.1 and §16.2.1.
    for (suite, key_len, wanted) in [
        (
            Suite::AeadAes128Gcm,
            16,
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        ),
        (
            Suite::AeadAes256Gcm,
            32,
            "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
        ),
    ] {
        let session: Vec<u8> = (0..key_len).collect();
        let keys = SessionKeys::aead(suite, &session, &salt).unwrap();
        let mut out = clear[12..].to_vec();
        let body = out.len();
        out.resize(body + 16, 0);
        keys.seal_rtp(0x5501_a0b2, 0xf17b, &clear[..12], &mut out, body, &[]).unwrap();
        assert_eq!([&clear[..12], &out[..]].concat(), hex(wanted), "{suite:?}");
    }
}

#[test]
fn the_sha1_packet_is_the_one_that_libsrtp_checks_itself_by() {
    // srtp_validate of libsrtp's test driver.
    let material = hex("e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6");
    let master = MasterKey::from_bytes(Suite::AesCm128HmacSha1_80, &material).unwrap();
    let clear = hex("800f1234decafbadcafebabe abababababababababababababababab");
    let wanted = hex("800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb");
    let mut sender = Sender::new(SenderOptions::default());
    sender.install(&master, &[]).unwrap();
    sender.switch(&[]).unwrap();
    assert_eq!(protect(&mut sender, &clear), wanted);
    let mut receiver = Receiver::new(ReceiverOptions::default());
    receiver.install(&master, &[]).unwrap();
    assert_eq!(open(&mut receiver, &wanted), Ok(clear));
}

#[test]
fn what_is_protected_is_opened_once_in_every_suite() {
    for suite in Suite::ALL {
        for mki_len in [0, 1, 4] {
            let (mut sender, mut receiver) = pair(suite, mki_len);
            for (sequence, length) in [(1, 0), (2, 1), (3, 160), (4, 1400)] {
                let packet = rtp(sequence, 5, &vec![sequence as u8; length]);
                let sealed = protect(&mut sender, &packet);
                assert_eq!(sealed.len(), packet.len() + suite.rtp_tag_len() + mki_len);
                assert_eq!(sealed[..24], packet[..24], "the header stays readable");
                assert!(length < 16 || sealed[24..24 + length] != packet[24..], "and nothing else");
                assert_eq!(open(&mut receiver, &sealed), Ok(packet), "{suite:?} {mki_len}");
                assert_eq!(open(&mut receiver, &sealed), Err(SrtpError::Replayed));
            }
            let packet = rtcp(5);
            let sealed = protect_rtcp(&mut sender, &packet);
            assert_eq!(sealed.len(), packet.len() + suite.rtcp_tag_len() + 4 + mki_len);
            assert_eq!(open_rtcp(&mut receiver, &sealed), Ok(packet), "{suite:?} {mki_len}");
            assert_eq!(open_rtcp(&mut receiver, &sealed), Err(SrtpError::Replayed));
        }
    }
}

#[test]
fn no_bit_can_change_and_nothing_be_cut_off_and_the_state_stays_as_it_was() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite, 1);
        open(&mut receiver, &protect(&mut sender, &rtp(99, 5, b"before"))).unwrap();
        let packet = rtp(100, 5, b"the payload");
        let sealed = protect(&mut sender, &packet);
        let report = protect_rtcp(&mut sender, &rtcp(5));
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&mut receiver, &changed).is_err(), "{suite:?}: bit {bit} of RTP");
        }
        for bit in 0..report.len() * 8 {
            let mut changed = report.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open_rtcp(&mut receiver, &changed).is_err(), "{suite:?}: bit {bit} of RTCP");
        }
        for length in 0..sealed.len() {
            assert!(open(&mut receiver, &sealed[..length]).is_err());
        }
        for length in 0..report.len() {
            assert!(open_rtcp(&mut receiver, &report[..length]).is_err());
        }
        // Neither the attempts under other SSRCs nor those under other numbers left a trace.
        assert_eq!(open(&mut receiver, &sealed), Ok(packet));
        assert_eq!(open_rtcp(&mut receiver, &report), Ok(rtcp(5)));
    }
}

#[test]
fn an_index_is_sealed_once_whatever_the_caller_does() {
    let (mut sender, _) = pair(Suite::AeadAes128Gcm, 0);
    let mut attempt = |sequence| {
        let packet = rtp(sequence, 5, b"x");
        let mut buffer = packet.clone();
        buffer.resize(packet.len() + 16, 0);
        sender.protect_rtp(&mut buffer, packet.len())
    };
    assert!(attempt(5000).is_ok());
    assert_eq!(attempt(5000), Err(SrtpError::IndexUsed));
    // A source that begins its numbers anew.
    assert_eq!(attempt(1), Err(SrtpError::IndexUsed));
    assert!(attempt(5002).is_ok());
    assert!(attempt(5001).is_ok(), "late, and never used");
    assert_eq!(attempt(5001), Err(SrtpError::IndexUsed));
}

#[test]
fn rollovers_without_end_and_loss_and_reordering_at_each() {
    let (mut sender, mut receiver) = pair(Suite::AeadAes128Gcm, 1);
    let mut index = 65_000u64;
    for turn in 0..12u64 {
        // 30,000 packets are lost, others come in pairs the wrong way round.
        for _ in 0..3 {
            let sealed = [index, index + 1].map(|index| protect(&mut sender, &rtp(index as u16, 5, b"x")));
            let mut buffer = sealed[1].clone();
            let opened = receiver.unprotect_rtp(&mut buffer).unwrap();
            assert_eq!(opened.index, index + 1, "turn {turn}");
            let mut buffer = sealed[0].clone();
            assert_eq!(receiver.unprotect_rtp(&mut buffer).unwrap().index, index);
            index += 30_000;
        }
    }
    assert_eq!(sender.roc(5), Some((index - 30_000) as u32 >> 16));
    // Who comes late is told how often it was.
    let (mut sender, _) = pair(Suite::AeadAes128Gcm, 1);
    for index in (1..=200_000u64).step_by(20_000) {
        protect(&mut sender, &rtp(index as u16, 5, b"x"));
    }
    let sealed = protect(&mut sender, &rtp(200_000u64 as u16, 5, b"late"));
    let (_, mut late) = pair(Suite::AeadAes128Gcm, 1);
    assert_eq!(open(&mut late, &sealed), Err(SrtpError::Forged));
    late.set_roc(5, sender.roc(5).unwrap()).unwrap();
    assert!(open(&mut late, &sealed).is_ok());
}

#[test]
fn keys_change_while_packets_of_both_are_under_way() {
    let (mut sender, mut receiver) = pair(Suite::AeadAes128Gcm, 1);
    let old: Vec<_> = (0..5).map(|sequence| protect(&mut sender, &rtp(sequence, 5, b"old"))).collect();
    let next = key(Suite::AeadAes128Gcm, 2);
    receiver.install(&next, &[8]).unwrap();
    sender.install(&next, &[8]).unwrap();
    sender.switch(&[8]).unwrap();
    let new: Vec<_> = (5..10).map(|sequence| protect(&mut sender, &rtp(sequence, 5, b"new"))).collect();
    for (old, new) in old.iter().zip(&new).take(4) {
        assert!(open(&mut receiver, new).is_ok());
        assert!(open(&mut receiver, old).is_ok());
    }
    receiver.retire(&[7]);
    assert_eq!(open(&mut receiver, &old[4]), Err(SrtpError::UnknownMki));
    assert!(open(&mut receiver, &new[4]).is_ok());
    assert_eq!(sender.switch(&[9]), Err(SrtpError::UnknownMki));
    assert_eq!(sender.install(&key(Suite::AeadAes256Gcm, 3), &[9]), Err(SrtpError::KeyMismatch));
    assert_eq!(sender.install(&next, &[9, 9]), Err(SrtpError::KeyMismatch));
    // Epochs are bounded: the oldest gives way.
    for epoch in 10..20 {
        receiver.install(&key(Suite::AeadAes128Gcm, epoch), &[epoch]).unwrap();
    }
    assert_eq!(open(&mut receiver, &protect(&mut sender, &rtp(11, 5, b"x"))), Err(SrtpError::UnknownMki));
}

#[test]
fn sources_are_bounded_and_forged_ones_cost_no_place() {
    let (mut sender, mut receiver) = pair(Suite::AeadAes128Gcm, 0);
    for ssrc in 100..1100 {
        let forged = rtp(1, ssrc, &[0; 40]);
        assert_eq!(open(&mut receiver, &forged), Err(SrtpError::Forged));
    }
    for ssrc in 0..64 {
        assert!(open(&mut receiver, &protect(&mut sender, &rtp(1, ssrc, b"x"))).is_ok());
    }
    let packet = rtp(1, 64, b"x");
    let mut buffer = packet.clone();
    buffer.resize(packet.len() + 16, 0);
    assert_eq!(sender.protect_rtp(&mut buffer, packet.len()), Err(SrtpError::TooManySsrcs));
    assert_eq!(open(&mut receiver, &rtp(1, 64, &[0; 40])), Err(SrtpError::TooManySsrcs));
}

#[test]
fn without_a_key_or_room_nothing_is_done() {
    let mut sender = Sender::new(SenderOptions::default());
    let mut receiver = Receiver::new(ReceiverOptions::default());
    let mut packet = rtp(1, 5, b"x");
    let length = packet.len();
    assert_eq!(sender.protect_rtp(&mut packet, length), Err(SrtpError::NoKey));
    assert_eq!(receiver.unprotect_rtp(&mut packet), Err(SrtpError::NoKey));
    let (mut sender, mut receiver) = pair(Suite::AesCm128HmacSha1_80, 0);
    assert_eq!(sender.protect_rtp(&mut packet, length), Err(SrtpError::NoRoom));
    assert_eq!(sender.protect_rtcp(&mut [0x80; 9], 9), Err(SrtpError::NoRoom));
    // SRTCP that says it is not encrypted is refused unless that was asked for.
    let mut report = protect_rtcp(&mut sender, &rtcp(5));
    let word = report.len() - 14;
    report[word] &= 0x7f;
    assert_eq!(open_rtcp(&mut receiver, &report), Err(SrtpError::Unencrypted));
    assert!(!format!("{sender:?} {receiver:?}").contains("bytes"), "keys are not shown");
}
