//! The whole of it: packets that others published, loss and rollovers, forgeries, changes of key, another implementation.

mod forgery;
mod oracle;
mod rekey;
mod rollover;
mod vectors;

use aws_lc_rs::hmac;

use super::kdf::{Use, derive};
use super::{MasterKey, Opened, Receiver, ReceiverOptions, Sender, SenderOptions, SrtpError, Suite};

const SSRC: u32 = 0xcafe_babe;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn key(suite: Suite, first: u8) -> MasterKey {
    let bytes: Vec<u8> =
        (0..suite.key_len() + suite.salt_len()).map(|at| first.wrapping_add(at as u8)).collect();
    MasterKey::from_bytes(suite, &bytes).unwrap()
}

/// A sender and a receiver with a key, its MKI of this length and of ones.
fn pair(suite: Suite, mki_len: usize) -> (Sender, Receiver) {
    let mki = vec![1; mki_len];
    let mut sender = Sender::new(SenderOptions { mki_len, ..Default::default() });
    sender.install(&key(suite, 7), &mki).unwrap();
    sender.switch(&mki).unwrap();
    (sender, receiver(suite, mki_len))
}

fn receiver(suite: Suite, mki_len: usize) -> Receiver {
    let mut receiver = Receiver::new(ReceiverOptions { mki_len, ..Default::default() });
    receiver.install(&key(suite, 7), &vec![1; mki_len]).unwrap();
    receiver
}

fn rtp(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 1]);
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x81, 201, 0, 7];
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&[0x5a; 24]);
    packet
}

fn protect(sender: &mut Sender, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + sender.rtp_overhead(), 0);
    let len = sender.protect_rtp(&mut buffer, packet.len())?;
    assert_eq!(len, buffer.len());
    Ok(buffer)
}

fn protect_rtcp(sender: &mut Sender, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + sender.rtcp_overhead(), 0);
    let len = sender.protect_rtcp(&mut buffer, packet.len())?;
    assert_eq!(len, buffer.len());
    Ok(buffer)
}

/// The plain packet and its index.
fn open(receiver: &mut Receiver, packet: &[u8]) -> Result<(Vec<u8>, u64), SrtpError> {
    let mut buffer = packet.to_vec();
    let Opened { len, index } = receiver.unprotect_rtp(&mut buffer)?;
    buffer.truncate(len);
    Ok((buffer, index))
}

fn open_rtcp(receiver: &mut Receiver, packet: &[u8]) -> Result<(Vec<u8>, u64), SrtpError> {
    let mut buffer = packet.to_vec();
    let Opened { len, index } = receiver.unprotect_rtcp(&mut buffer)?;
    buffer.truncate(len);
    Ok((buffer, index))
}

/// What a receiver or sender keeps, spelled out: `Debug` shows each window.
fn state(of: &impl std::fmt::Debug) -> String {
    format!("{of:?}")
}

#[test]
fn nothing_is_done_without_a_key() {
    let (mut sender, mut receiver) =
        (Sender::new(SenderOptions::default()), Receiver::new(ReceiverOptions::default()));
    let packet = rtp(SSRC, 1, b"payload");
    assert_eq!(protect(&mut sender, &packet), Err(SrtpError::NoKey));
    assert_eq!(protect_rtcp(&mut sender, &rtcp(SSRC)), Err(SrtpError::NoKey));
    assert_eq!(open(&mut receiver, &packet), Err(SrtpError::NoKey));
    assert_eq!(open_rtcp(&mut receiver, &rtcp(SSRC)), Err(SrtpError::NoKey));
    sender.install(&key(Suite::AeadAes128Gcm, 7), &[]).unwrap();
    assert_eq!(protect(&mut sender, &packet), Err(SrtpError::NoKey), "installed, not chosen");
    assert_eq!(sender.switch(&[1]), Err(SrtpError::UnknownMki));
    sender.switch(&[]).unwrap();
    assert!(protect(&mut sender, &packet).is_ok());
}

#[test]
fn a_buffer_without_room_is_refused_and_uses_no_number() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite, 2);
        let packet = rtp(SSRC, 1, b"payload");
        for room in 0..sender.rtp_overhead() {
            let mut buffer = [&packet[..], &vec![0; room]].concat();
            assert_eq!(sender.protect_rtp(&mut buffer, packet.len()), Err(SrtpError::NoRoom), "{room}");
        }
        assert_eq!(sender.protect_rtp(&mut packet.clone(), packet.len() + 1), Err(SrtpError::TooShort));
        protect(&mut sender, &packet).unwrap();
        let packet = rtcp(SSRC);
        for room in 0..sender.rtcp_overhead() {
            let mut buffer = [&packet[..], &vec![0; room]].concat();
            assert_eq!(sender.protect_rtcp(&mut buffer, packet.len()), Err(SrtpError::NoRoom), "{room}");
        }
        let sealed = protect_rtcp(&mut sender, &packet).unwrap();
        assert_eq!(open_rtcp(&mut receiver, &sealed), Ok((packet, 0)));
    }
}

#[test]
fn what_is_not_rtp_is_neither_protected_nor_opened() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite, 0);
        for first in [0x00, 0x40, 0xc0] {
            let mut packet = rtp(SSRC, 1, &[0; 40]);
            packet[0] = first;
            assert_eq!(protect(&mut sender, &packet), Err(SrtpError::NotRtp));
            assert_eq!(open(&mut receiver, &packet), Err(SrtpError::NotRtp));
            assert_eq!(protect_rtcp(&mut sender, &packet), Err(SrtpError::NotRtp));
            assert_eq!(open_rtcp(&mut receiver, &packet), Err(SrtpError::NotRtp));
        }
        // 15 CSRCs that are not there, and an extension that is longer than the packet.
        for (first, rest) in [(0x8f, [0; 40]), (0x90, [0xff; 40])] {
            let mut packet = rtp(SSRC, 1, &rest);
            packet[0] = first;
            assert_eq!(protect(&mut sender, &packet), Err(SrtpError::TooShort));
            assert_eq!(open(&mut receiver, &packet), Err(SrtpError::TooShort));
        }
        for len in 0..12 {
            assert!(protect(&mut sender, &rtp(SSRC, 1, &[])[..len]).is_err(), "{len}");
        }
        for len in 0..8 {
            assert!(protect_rtcp(&mut sender, &rtcp(SSRC)[..len]).is_err(), "{len}");
        }
    }
}

/// `RFC 3711 §3.4`: the E flag says whether an SRTCP packet is encrypted.
#[test]
fn unencrypted_rtcp_is_taken_where_that_is_allowed_and_authenticated_all_the_same() {
    let suite = Suite::AesCm128HmacSha1_80;
    let mut allowing = Receiver::new(ReceiverOptions { allow_unencrypted_rtcp: true, ..Default::default() });
    allowing.install(&key(suite, 7), &[]).unwrap();
    let (mut sender, mut strict) = pair(suite, 0);
    let mut sealed = protect_rtcp(&mut sender, &rtcp(SSRC)).unwrap();
    let word = sealed.len() - 14;
    sealed[word] &= 0x7f;
    assert_eq!(open_rtcp(&mut strict, &sealed), Err(SrtpError::Unencrypted));
    assert_eq!(open_rtcp(&mut allowing, &sealed), Err(SrtpError::Forged));

    let mut secret = [0; 20];
    derive(&key(suite, 7), Use::RtcpAuthentication, &mut secret).unwrap();
    let clear = [&rtcp(SSRC)[..], &[0, 0, 0, 9]].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &secret), &clear);
    let sealed = [&clear[..], &tag.as_ref()[..10]].concat();
    assert_eq!(open_rtcp(&mut strict, &sealed), Err(SrtpError::Unencrypted));
    assert_eq!(open_rtcp(&mut allowing, &sealed), Ok((rtcp(SSRC), 9)));
    assert_eq!(open_rtcp(&mut allowing, &sealed), Err(SrtpError::Replayed));
}
