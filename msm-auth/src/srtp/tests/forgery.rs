//! Packets that nobody who has the key sent.

use super::*;

/// A sender, and a receiver that has opened a packet of each kind already.
fn started(suite: Suite, mki_len: usize) -> (Sender, Receiver) {
    let (mut sender, mut receiver) = pair(suite, mki_len);
    let sealed = protect(&mut sender, &rtp(SSRC, 10, b"first")).unwrap();
    open(&mut receiver, &sealed).unwrap();
    let sealed = protect_rtcp(&mut sender, &rtcp(SSRC)).unwrap();
    open_rtcp(&mut receiver, &sealed).unwrap();
    (sender, receiver)
}

#[test]
fn no_bit_of_a_packet_can_be_changed() {
    for suite in Suite::ALL {
        for mki_len in [0, 1, 4] {
            let (mut sender, mut receiver) = started(suite, mki_len);
            let (plain, plain_rtcp) = (rtp(SSRC, 11, b"a payload of some bytes"), rtcp(SSRC));
            let sealed = protect(&mut sender, &plain).unwrap();
            let sealed_rtcp = protect_rtcp(&mut sender, &plain_rtcp).unwrap();
            let before = state(&receiver);
            for bit in 0..sealed.len() * 8 {
                let mut changed = sealed.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(open(&mut receiver, &changed).is_err(), "{suite:?} {mki_len} {bit}");
            }
            for bit in 0..sealed_rtcp.len() * 8 {
                let mut changed = sealed_rtcp.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(open_rtcp(&mut receiver, &changed).is_err(), "{suite:?} {mki_len} {bit}");
            }
            assert_eq!(state(&receiver), before);
            assert_eq!(open(&mut receiver, &sealed), Ok((plain, 11)));
            assert_eq!(open_rtcp(&mut receiver, &sealed_rtcp), Ok((plain_rtcp, 1)));
        }
    }
}

#[test]
fn no_packet_can_be_cut_or_lengthened() {
    for suite in Suite::ALL {
        for mki_len in [0, 1, 4] {
            let (mut sender, mut receiver) = started(suite, mki_len);
            let (plain, plain_rtcp) = (rtp(SSRC, 11, b"a payload of some bytes"), rtcp(SSRC));
            let sealed = protect(&mut sender, &plain).unwrap();
            let sealed_rtcp = protect_rtcp(&mut sender, &plain_rtcp).unwrap();
            let before = state(&receiver);
            for cut in 1..=sealed.len() {
                assert!(open(&mut receiver, &sealed[..sealed.len() - cut]).is_err(), "{suite:?} {cut}");
                assert!(open(&mut receiver, &sealed[cut..]).is_err(), "{suite:?} {cut}");
            }
            for cut in 1..=sealed_rtcp.len() {
                assert!(open_rtcp(&mut receiver, &sealed_rtcp[..sealed_rtcp.len() - cut]).is_err(), "{cut}");
                assert!(open_rtcp(&mut receiver, &sealed_rtcp[cut..]).is_err(), "{cut}");
            }
            for more in 1..40 {
                assert!(open(&mut receiver, &[&sealed[..], &vec![0; more]].concat()).is_err(), "{more}");
                assert!(
                    open_rtcp(&mut receiver, &[&sealed_rtcp[..], &vec![0; more]].concat()).is_err(),
                    "{more}"
                );
            }
            assert_eq!(state(&receiver), before);
            assert_eq!(open(&mut receiver, &sealed), Ok((plain, 11)));
            assert_eq!(open_rtcp(&mut receiver, &sealed_rtcp), Ok((plain_rtcp, 1)));
        }
    }
}

#[test]
fn a_flood_of_forgeries_changes_nothing() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = started(suite, 1);
        let before = state(&receiver);
        for number in 0..20_000u32 {
            // Each its own source and number, with an MKI that is known; every other one of the true source.
            let ssrc = if number % 2 == 0 { number.wrapping_mul(0x9e37_79b9) } else { SSRC };
            let mut packet = rtp(ssrc, number.wrapping_mul(40_503) as u16, &[0xaa; 40]);
            let mki = if suite.rtp_tag_len() == 16 {
                packet.len() - 1
            } else {
                packet.len() - 1 - suite.rtp_tag_len()
            };
            packet[mki] = 1;
            assert!(open(&mut receiver, &packet).is_err());
            let mut packet = rtcp(ssrc);
            packet.extend_from_slice(&[0xbb; 40]);
            let mki = if suite.rtp_tag_len() == 16 { packet.len() - 1 } else { packet.len() - 11 };
            packet[mki] = 1;
            assert!(open_rtcp(&mut receiver, &packet).is_err());
        }
        assert_eq!(state(&receiver), before, "neither windows nor sources");
        let packet = rtp(SSRC, 11, b"genuine");
        assert_eq!(open(&mut receiver, &protect(&mut sender, &packet).unwrap()), Ok((packet, 11)));
    }
}

#[test]
fn packets_of_another_key_or_kind_do_not_open() {
    for suite in Suite::ALL {
        let (mut sender, _) = pair(suite, 0);
        let mut other = Receiver::new(ReceiverOptions::default());
        other.install(&key(suite, 8), &[]).unwrap();
        let sealed = protect(&mut sender, &rtp(SSRC, 1, &[0; 40])).unwrap();
        assert_eq!(open(&mut other, &sealed), Err(SrtpError::Forged));
        assert!(open_rtcp(&mut receiver(suite, 0), &sealed).is_err(), "RTP is not RTCP");
        let sealed = protect_rtcp(&mut sender, &rtcp(SSRC)).unwrap();
        assert_eq!(open_rtcp(&mut other, &sealed), Err(SrtpError::Forged));
        assert!(open(&mut receiver(suite, 0), &sealed).is_err(), "RTCP is not RTP");
    }
}

#[test]
fn sources_are_bounded_on_both_sides() {
    for suite in Suite::ALL {
        let mut sender = Sender::new(SenderOptions { max_ssrcs: 3, ..Default::default() });
        sender.install(&key(suite, 7), &[]).unwrap();
        sender.switch(&[]).unwrap();
        let mut receiver = Receiver::new(ReceiverOptions { max_ssrcs: 2, ..Default::default() });
        receiver.install(&key(suite, 7), &[]).unwrap();

        let sealed: Vec<_> = (0..3).map(|ssrc| protect(&mut sender, &rtp(ssrc, 1, b"x")).unwrap()).collect();
        assert_eq!(protect(&mut sender, &rtp(3, 1, b"x")), Err(SrtpError::TooManySsrcs));
        assert_eq!(protect_rtcp(&mut sender, &rtcp(3)), Err(SrtpError::TooManySsrcs));
        assert!(protect(&mut sender, &rtp(2, 2, b"x")).is_ok());
        assert!(protect_rtcp(&mut sender, &rtcp(2)).is_ok());

        for (ssrc, packet) in sealed.iter().enumerate() {
            let wanted =
                if ssrc < 2 { Ok((rtp(ssrc as u32, 1, b"x"), 1)) } else { Err(SrtpError::TooManySsrcs) };
            assert_eq!(open(&mut receiver, packet), wanted, "{suite:?} {ssrc}");
        }
        let sealed = protect_rtcp(&mut sender, &rtcp(2)).unwrap();
        assert_eq!(open_rtcp(&mut receiver, &sealed), Err(SrtpError::TooManySsrcs));
        assert_eq!(receiver.set_roc(2, 1), Err(SrtpError::TooManySsrcs));
        let sealed = protect_rtcp(&mut sender, &rtcp(1)).unwrap();
        assert!(open_rtcp(&mut receiver, &sealed).is_ok());
    }
}

#[test]
fn nothing_shown_holds_a_byte_of_a_key() {
    for suite in Suite::ALL {
        // Bytes that nothing else has: all 0xa5, which is 165.
        let master = MasterKey::from_bytes(suite, &vec![0xa5; suite.key_len() + suite.salt_len()]).unwrap();
        let mut sender = Sender::new(SenderOptions { mki_len: 1, ..Default::default() });
        let mut receiver = Receiver::new(ReceiverOptions { mki_len: 1, ..Default::default() });
        sender.install(&master, &[1]).unwrap();
        sender.switch(&[1]).unwrap();
        receiver.install(&master, &[1]).unwrap();
        let sealed = protect(&mut sender, &rtp(SSRC, 1, b"x")).unwrap();
        open(&mut receiver, &sealed).unwrap();
        let shown = format!("{master:?} {master:#?} {sender:?} {sender:#?} {receiver:?} {receiver:#?}");
        for text in ["165", "a5", "A5", "salt:", "auth:", "key:", "bytes:"] {
            assert!(!shown.contains(text), "{text}: {shown}");
        }
        // Session keys are not of one byte: what is shown is the same whatever the key.
        let mut other = Sender::new(SenderOptions { mki_len: 1, ..Default::default() });
        other.install(&key(suite, 3), &[1]).unwrap();
        other.switch(&[1]).unwrap();
        protect(&mut other, &rtp(SSRC, 1, b"x")).unwrap();
        assert_eq!(state(&sender), state(&other));
        assert_eq!(format!("{master:?}"), format!("{:?}", key(suite, 3)));
    }
}
