//! Sequence numbers that roll over, get lost, come late or twice.

use super::*;

#[test]
fn sequence_numbers_roll_over_and_everything_opens() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite, 0);
        let first = 65_500u64;
        for index in first..first + 70_000 {
            let packet = rtp(SSRC, index as u16, &index.to_be_bytes());
            let sealed = protect(&mut sender, &packet).unwrap();
            assert_eq!(open(&mut receiver, &sealed), Ok((packet, index)), "{suite:?}");
        }
        assert_eq!(sender.roc(SSRC), Some(2));
    }
}

#[test]
fn the_order_over_a_rollover_is_free() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite, 0);
        let indices: Vec<u64> = (65_436..65_636).collect();
        let sealed: Vec<_> = indices
            .iter()
            .map(|index| protect(&mut sender, &rtp(SSRC, *index as u16, &index.to_be_bytes())).unwrap())
            .collect();
        // From before it first, as nothing else tells how often it rolled over; then late and early ones in turns.
        let mut order: Vec<usize> = (0..indices.len()).collect();
        order.sort_by_key(|place| (*place != 0, place % 7, 200 - place));
        for place in order {
            let (packet, index) = open(&mut receiver, &sealed[place]).unwrap();
            assert_eq!((index, &packet[12..]), (indices[place], &indices[place].to_be_bytes()[..]));
            assert_eq!(open(&mut receiver, &sealed[place]), Err(SrtpError::Replayed));
        }
    }
}

#[test]
fn a_sender_takes_its_own_packets_in_any_order_over_a_rollover() {
    let (mut sender, mut receiver) = pair(Suite::AeadAes128Gcm, 0);
    for index in [65_534u64, 65_537, 65_535, 65_536, 65_538] {
        let packet = rtp(SSRC, index as u16, b"x");
        let sealed = protect(&mut sender, &packet).unwrap();
        assert_eq!(open(&mut receiver, &sealed), Ok((packet.clone(), index)));
        assert_eq!(protect(&mut sender, &packet), Err(SrtpError::IndexUsed));
    }
}

#[test]
fn a_receiver_that_is_told_the_next_index_goes_on_after_any_loss() {
    for lost in [33_000u64, 40_000, 200_000, 70_000] {
        let (mut sender, mut receiver) = pair(Suite::AeadAes128Gcm, 0);
        let mut send = |index: u64| protect(&mut sender, &rtp(SSRC, index as u16, b"x")).unwrap();
        let early: Vec<_> = (60_000..60_100).map(&mut send).collect();
        for (index, sealed) in (60_000..).zip(&early) {
            assert_eq!(open(&mut receiver, sealed).unwrap().1, index);
        }
        for index in (60_100..60_100 + lost).step_by(500) {
            send(index);
        }
        let next = 60_100 + lost;
        let sealed = [next, next + 1, next - 1].map(&mut send);
        assert!(open(&mut receiver, &sealed[0]).is_err(), "{lost}");
        receiver.advance(SSRC, next).unwrap();
        for (sealed, index) in sealed.iter().zip([next, next + 1, next - 1]) {
            assert_eq!(open(&mut receiver, sealed).unwrap().1, index, "{lost}");
            assert_eq!(open(&mut receiver, sealed), Err(SrtpError::Replayed));
        }
        for sealed in &early {
            assert!(open(&mut receiver, sealed).is_err(), "what came before does not come again");
        }
        // What is told late, or twice, or is near, moves nothing.
        for told in [next, 0, 1, next + 100, next - 5000] {
            receiver.advance(SSRC, told).unwrap();
        }
        assert_eq!(open(&mut receiver, &sealed[1]), Err(SrtpError::Replayed));
        assert_eq!(open(&mut receiver, &send(next + 2)).unwrap().1, next + 2);
        assert_eq!(receiver.advance(SSRC, (1 << 48) + 1), Err(SrtpError::KeyExhausted));
    }
}

#[test]
fn a_receiver_that_is_told_before_the_first_packet_knows_its_rollovers() {
    let (mut sender, mut receiver) = pair(Suite::AeadAes128Gcm, 0);
    sender.set_highest(SSRC, 5 << 16);
    receiver.advance(SSRC, sender.next_index(SSRC).unwrap()).unwrap();
    let sealed = protect(&mut sender, &rtp(SSRC, 1, b"x")).unwrap();
    assert_eq!(open(&mut receiver, &sealed).unwrap().1, 5 << 16 | 1);
}

#[test]
fn thirty_thousand_packets_lost_do_not_lose_the_rollover_counter() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite, 0);
        let mut index = 50_000u64;
        for _ in 0..12 {
            let packet = rtp(SSRC, index as u16, b"payload");
            let sealed = protect(&mut sender, &packet).unwrap();
            assert_eq!(open(&mut receiver, &sealed), Ok((packet, index)), "{suite:?}");
            // Protected and lost.
            for lost in (index + 1..index + 30_001).step_by(1000) {
                protect(&mut sender, &rtp(SSRC, lost as u16, b"lost")).unwrap();
            }
            index += 30_001;
        }
        assert!(index > 5 << 16);
    }
}

/// `RFC 3711 Appendix A`: half the numbers ahead is still ahead in the first half of a round, and behind in the second.
#[test]
fn a_step_of_half_the_numbers_is_taken_as_appendix_a_has_it() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite, 0);
        for index in [5u64, 5 + 0x8000] {
            let packet = rtp(SSRC, index as u16, b"payload");
            let sealed = protect(&mut sender, &packet).unwrap();
            assert_eq!(open(&mut receiver, &sealed), Ok((packet, index)));
        }
        assert_eq!(protect(&mut sender, &rtp(SSRC, 5, b"payload")), Err(SrtpError::IndexUsed));
    }
}

#[test]
fn who_comes_late_needs_the_rollover_counter() {
    for suite in Suite::ALL {
        let (mut sender, mut told) = pair(suite, 0);
        for index in (0..3u64 << 16).step_by(20_000) {
            protect(&mut sender, &rtp(SSRC, index as u16, b"early")).unwrap();
        }
        let packet = rtp(SSRC, 60_001, b"late");
        let sealed = protect(&mut sender, &packet).unwrap();
        let roc = sender.roc(SSRC).unwrap();
        assert_eq!(roc, 2);

        let mut untold = receiver(suite, 0);
        let before = state(&untold);
        assert_eq!(open(&mut untold, &sealed), Err(SrtpError::Forged));
        assert_eq!(state(&untold), before);
        told.set_roc(SSRC, roc).unwrap();
        assert_eq!(open(&mut told, &sealed), Ok((packet, 2 << 16 | 60_001)));
    }
}

#[test]
fn a_guess_ahead_opens_what_was_sent_there_and_nothing_twice() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite, 0);
        let early = protect(&mut sender, &rtp(SSRC, 9, b"early")).unwrap();
        for index in (20_000..5u64 << 16).step_by(20_000) {
            protect(&mut sender, &rtp(SSRC, index as u16, b"lost")).unwrap();
        }
        let packet = rtp(SSRC, 7, b"late");
        let sealed = protect(&mut sender, &packet).unwrap();
        open(&mut receiver, &early).unwrap();
        let ahead = |receiver: &mut Receiver, sealed: &[u8], rollovers| {
            let mut bytes = sealed.to_vec();
            receiver.unprotect_rtp_ahead(&mut bytes, rollovers).map(|opened| opened.index)
        };
        let before = state(&receiver);
        for wrong in [1, 2, 3, 4, 6] {
            assert_eq!(ahead(&mut receiver, &sealed, wrong), Err(SrtpError::Forged), "{wrong}");
        }
        assert_eq!(ahead(&mut receiver, &sealed, u32::MAX), Err(SrtpError::Forged));
        assert_eq!(state(&receiver), before);
        assert_eq!(ahead(&mut receiver, &sealed, 5), Ok(5 << 16 | 7));
        assert_eq!(open(&mut receiver, &sealed), Err(SrtpError::Replayed));
        for rollovers in 0..8 {
            assert!(ahead(&mut receiver, &early, rollovers).is_err(), "{rollovers}");
        }
        // A source that nothing came of yet.
        let mut new = self::receiver(suite, 0);
        assert_eq!(ahead(&mut new, &sealed, 5), Ok(5 << 16 | 7));
        assert!(open(&mut new, &early).is_err());
    }
}

#[test]
fn the_last_index_is_the_last() {
    let (mut sender, mut receiver) = pair(Suite::AeadAes128Gcm, 0);
    receiver.set_roc(SSRC, u32::MAX).unwrap();
    sender.set_highest(SSRC, (1 << 48) - 2);
    let last = rtp(SSRC, u16::MAX, b"last");
    let sealed = protect(&mut sender, &last).unwrap();
    assert_eq!(open(&mut receiver, &sealed), Ok((last, (1 << 48) - 1)));
    assert_eq!(protect(&mut sender, &rtp(SSRC, 0, b"one more")), Err(SrtpError::KeyExhausted));
    assert_eq!(open(&mut receiver, &rtp(SSRC, 0, &[0; 40])), Err(SrtpError::KeyExhausted));
}

#[test]
fn a_source_that_begins_anew_is_refused() {
    for suite in Suite::ALL {
        let (mut sender, _) = pair(suite, 0);
        for sequence in 1000..5000 {
            protect(&mut sender, &rtp(SSRC, sequence, b"payload")).unwrap();
        }
        let before = state(&sender);
        for sequence in 1000..5000 {
            let again = protect(&mut sender, &rtp(SSRC, sequence, b"different"));
            assert_eq!(again, Err(SrtpError::IndexUsed), "{sequence}");
        }
        assert_eq!(state(&sender), before);
        // Another source has its own numbers.
        assert!(protect(&mut sender, &rtp(SSRC + 1, 1000, b"payload")).is_ok());
    }
}

#[test]
fn replayed_and_old_packets_are_refused() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite, 1);
        let sealed: Vec<_> = (0..3000)
            .map(|sequence| protect(&mut sender, &rtp(SSRC, sequence, b"payload")).unwrap())
            .collect();
        for packet in sealed.iter().filter(|packet| packet[3] % 2 == 0) {
            open(&mut receiver, packet).unwrap();
            assert_eq!(open(&mut receiver, packet), Err(SrtpError::Replayed));
        }
        let before = state(&receiver);
        for (sequence, packet) in sealed.iter().enumerate().filter(|(_, packet)| packet[3] % 2 == 0) {
            let wanted = if sequence + 1024 <= 2998 { SrtpError::TooOld } else { SrtpError::Replayed };
            assert_eq!(open(&mut receiver, packet), Err(wanted), "{sequence}");
        }
        assert_eq!(state(&receiver), before);
        assert!(open(&mut receiver, &sealed[2999 - 1024]).is_ok_and(|(_, index)| index == 2999 - 1024));
        assert_eq!(open(&mut receiver, &sealed[2999 - 1026]), Err(SrtpError::TooOld));
    }
}

#[test]
fn replayed_rtcp_is_refused_and_order_is_free() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite, 1);
        let sealed: Vec<_> = (0..100).map(|_| protect_rtcp(&mut sender, &rtcp(SSRC)).unwrap()).collect();
        for place in [3, 1, 2, 0, 99, 98, 40, 36] {
            assert_eq!(open_rtcp(&mut receiver, &sealed[place]), Ok((rtcp(SSRC), place as u64)));
            assert_eq!(open_rtcp(&mut receiver, &sealed[place]), Err(SrtpError::Replayed));
        }
        assert_eq!(open_rtcp(&mut receiver, &sealed[35]), Err(SrtpError::TooOld));
    }
}
