//! Several epochs.

use super::*;
use crate::srtp::MAX_EPOCHS;

#[test]
fn packets_of_two_epochs_open_in_any_order() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite, 1);
        let mut sealed = Vec::new();
        for index in 65_500u64..65_560 {
            if index == 65_530 {
                sender.install(&key(suite, 99), &[2]).unwrap();
                receiver.install(&key(suite, 99), &[2]).unwrap();
                sender.switch(&[2]).unwrap();
            }
            sealed.push((index, protect(&mut sender, &rtp(SSRC, index as u16, b"payload")).unwrap()));
        }
        let rtcp_of_new = protect_rtcp(&mut sender, &rtcp(SSRC)).unwrap();
        sender.switch(&[1]).unwrap();
        let rtcp_of_old = protect_rtcp(&mut sender, &rtcp(SSRC)).unwrap();
        // New and old in turns: 30, 0, 31, 1 ... The first comes from before the rollover, too.
        for place in (0..30).flat_map(|place| [place + 30, place]) {
            let (index, packet) = &sealed[place];
            assert_eq!(
                open(&mut receiver, packet),
                Ok((rtp(SSRC, *index as u16, b"payload"), *index)),
                "{suite:?}"
            );
            assert_eq!(open(&mut receiver, packet), Err(SrtpError::Replayed));
        }
        assert_eq!(open_rtcp(&mut receiver, &rtcp_of_old), Ok((rtcp(SSRC), 1)));
        assert_eq!(open_rtcp(&mut receiver, &rtcp_of_new), Ok((rtcp(SSRC), 0)));

        receiver.retire(&[1]);
        let packet = rtp(SSRC, 30, b"payload");
        let old = protect(&mut sender, &packet).unwrap();
        assert_eq!(open(&mut receiver, &old), Err(SrtpError::UnknownMki));
        sender.switch(&[2]).unwrap();
        let packet = rtp(SSRC, 31, b"payload");
        let new = protect(&mut sender, &packet).unwrap();
        assert_eq!(open(&mut receiver, &new), Ok((packet, 65_536 + 31)));
    }
}

#[test]
fn a_number_is_used_once_whatever_the_epoch() {
    let suite = Suite::AesCm128HmacSha1_32;
    let (mut sender, _) = pair(suite, 1);
    let packet = rtp(SSRC, 5, b"payload");
    protect(&mut sender, &packet).unwrap();
    // The very same key, under another MKI: one key stream.
    sender.install(&key(suite, 7), &[2]).unwrap();
    sender.switch(&[2]).unwrap();
    assert_eq!(protect(&mut sender, &packet), Err(SrtpError::IndexUsed));
}

#[test]
fn keys_are_bounded_and_the_oldest_gives_way() {
    let suite = Suite::AeadAes128Gcm;
    let (mut sender, mut receiver) = pair(suite, 1);
    let first = protect(&mut sender, &rtp(SSRC, 1, b"payload")).unwrap();
    for mki in 2..=MAX_EPOCHS as u8 + 1 {
        receiver.install(&key(suite, mki), &[mki]).unwrap();
    }
    assert_eq!(open(&mut receiver, &first), Err(SrtpError::UnknownMki));
    for mki in 2..=MAX_EPOCHS as u8 + 1 {
        sender.install(&key(suite, mki), &[mki]).unwrap();
        sender.switch(&[mki]).unwrap();
        let packet = rtp(SSRC, mki.into(), b"payload");
        let sealed = protect(&mut sender, &packet).unwrap();
        assert_eq!(open(&mut receiver, &sealed), Ok((packet, mki.into())));
    }
    assert_eq!(sender.switch(&[1]), Err(SrtpError::UnknownMki));
}

#[test]
fn keys_that_do_not_fit_the_others_are_refused() {
    let (mut sender, mut receiver) = pair(Suite::AeadAes128Gcm, 1);
    for (suite, mki) in
        [(Suite::AeadAes256Gcm, &[2][..]), (Suite::AeadAes128Gcm, &[2, 2]), (Suite::AeadAes128Gcm, &[])]
    {
        assert_eq!(sender.install(&key(suite, 1), mki), Err(SrtpError::KeyMismatch));
        assert_eq!(receiver.install(&key(suite, 1), mki), Err(SrtpError::KeyMismatch));
        assert_eq!(sender.switch(mki), Err(SrtpError::UnknownMki), "{mki:?}");
    }
    // Zeroes behind a shorter MKI do not make it another's.
    assert_eq!(sender.switch(&[1, 0]), Err(SrtpError::UnknownMki));
    receiver.retire(&[1, 0]);
    let packet = rtp(SSRC, 1, b"payload");
    assert_eq!(open(&mut receiver, &protect(&mut sender, &packet).unwrap()), Ok((packet, 1)));
}

#[test]
fn without_an_mki_a_new_key_takes_the_place_of_the_old() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite, 0);
        let old = protect(&mut sender, &rtp(SSRC, 1, b"payload")).unwrap();
        sender.install(&key(suite, 50), &[]).unwrap();
        receiver.install(&key(suite, 50), &[]).unwrap();
        assert_eq!(open(&mut receiver, &old), Err(SrtpError::Forged));
        let packet = rtp(SSRC, 2, b"payload");
        assert_eq!(open(&mut receiver, &protect(&mut sender, &packet).unwrap()), Ok((packet, 2)));
    }
}
