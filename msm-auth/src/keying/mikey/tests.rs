use proptest::prelude::*;

use super::*;
use crate::srtp::Suite;

const FRESH: Fresh = Fresh { rand: [0xaa; 16], ntp_time: 0xebfe_6f2d_b1c1_3fd0 };

/// What GStreamer's rtspsrc sends: one stream, AES-CM with a tag of 10 bytes.
const GSTREAMER: [u8; 112] = [
    0x01, 0x00, 0x05, 0x00, 0xe6, 0x9d, 0x51, 0xf8, 0x01, 0x00, 0x00, 0x30, 0x68, 0x57, 0x60, 0x00, 0x00,
    0x00, 0x00, 0x0b, 0x00, 0xeb, 0xfe, 0x6f, 0x2d, 0xb1, 0xc1, 0x3f, 0xd0, 0x0a, 0x10, 0xc2, 0xdd, 0xe4,
    0x43, 0xa8, 0x49, 0x30, 0xa5, 0x75, 0x7a, 0x7e, 0xd9, 0xc3, 0xa4, 0x17, 0xfb, 0x01, 0x00, 0x00, 0x00,
    0x15, 0x00, 0x01, 0x01, 0x01, 0x01, 0x10, 0x02, 0x01, 0x01, 0x03, 0x01, 0x0a, 0x07, 0x01, 0x01, 0x08,
    0x01, 0x01, 0x0a, 0x01, 0x01, 0x00, 0x00, 0x00, 0x22, 0x00, 0x20, 0x00, 0x1e, 0x90, 0x91, 0x78, 0x3d,
    0xfc, 0xe8, 0xdd, 0xcd, 0x44, 0x3a, 0x53, 0x50, 0x8b, 0x64, 0x50, 0x9f, 0x35, 0xbd, 0x8a, 0x86, 0xbc,
    0x4d, 0x8b, 0x76, 0x37, 0xa5, 0x02, 0x49, 0x3d, 0xaf, 0x00,
];

/// What live555 sends: more parameters, and an MKI of four bytes.
const LIVE555: [u8; 123] = [
    0x01, 0x00, 0x05, 0x00, 0x81, 0xcf, 0x8b, 0x52, 0x01, 0x00, 0x00, 0x20, 0x7d, 0xb2, 0x89, 0x00, 0x00,
    0x00, 0x00, 0x0b, 0x00, 0xee, 0xaf, 0x20, 0xc5, 0xc9, 0x2e, 0x2f, 0xbe, 0x0a, 0x10, 0x67, 0x54, 0x9a,
    0x54, 0x43, 0x6c, 0x41, 0xa3, 0x34, 0x00, 0x3a, 0xa6, 0xb2, 0x06, 0x11, 0xcd, 0x01, 0x00, 0x00, 0x00,
    0x1b, 0x00, 0x01, 0x01, 0x01, 0x01, 0x10, 0x02, 0x01, 0x01, 0x03, 0x01, 0x14, 0x04, 0x01, 0x0e, 0x07,
    0x01, 0x01, 0x08, 0x01, 0x01, 0x0a, 0x01, 0x01, 0x0b, 0x01, 0x0a, 0x00, 0x00, 0x00, 0x27, 0x00, 0x21,
    0x00, 0x1e, 0xcd, 0x30, 0x5e, 0x6a, 0x25, 0xdb, 0xfa, 0xc1, 0x4b, 0x5c, 0x95, 0x2c, 0x84, 0xde, 0x0e,
    0x9b, 0xe2, 0xaa, 0x73, 0x3e, 0xea, 0x0f, 0x81, 0x85, 0xf2, 0xd0, 0x85, 0x20, 0xa6, 0x30, 0x04, 0x75,
    0x43, 0x27, 0x77, 0x00,
];

/// Where parts of GStreamer's begin.
const SP: usize = 47;
const KEMAC: usize = 73;

fn gstreamer() -> Vec<u8> {
    GSTREAMER.to_vec()
}

fn message(suite: Suite, mki: Option<Mki>) -> Mikey {
    let bytes: Vec<u8> = (1..).take(suite.key_len() + suite.salt_len()).collect();
    Mikey {
        csb_id: 0x0102_0304,
        streams: vec![Stream { policy: 0, ssrc: 0xdead_beef, roc: 3 }],
        key: MasterKey::from_bytes(suite, &bytes).expect("the suite's length"),
        mki,
    }
}

fn same(a: &Mikey, b: &Mikey) -> bool {
    a.key.suite() == b.key.suite()
        && a.key.key_and_salt() == b.key.key_and_salt()
        && (a.csb_id, &a.streams, a.mki) == (b.csb_id, &b.streams, b.mki)
}

fn round_trips(mikey: &Mikey) {
    let written = mikey.write(&FRESH).expect("written");
    assert!(written.len() <= MAX_MESSAGE);
    assert!(same(&Mikey::read(&written).expect("what was written"), mikey), "{mikey:?}");
}

fn error(message: &[u8]) -> MikeyError {
    Mikey::read(message).map(|_| ()).expect_err("refused")
}

/// A message that says this of its suite, with a key for `suite`.
fn with_params(suite: Suite, params: &[(u8, u8)]) -> Vec<u8> {
    let written = message(suite, None).write(&FRESH).expect("written");
    let mut message = written[..SP + 4].to_vec();
    message.push(u8::try_from(params.len() * 3).expect("few"));
    message.extend(params.iter().flat_map(|(kind, value)| [*kind, 1, *value]));
    message.extend_from_slice(&written[SP + 5 + 24..]);
    message
}

#[test]
fn a_message_of_gstreamer_is_read() {
    let read = Mikey::read(&gstreamer()).expect("GStreamer's");
    assert_eq!(read.csb_id, 0xe69d_51f8);
    assert_eq!(read.streams, [Stream { policy: 0, ssrc: 0x3068_5760, roc: 0 }]);
    assert_eq!((read.key.suite(), read.mki), (Suite::AesCm128HmacSha1_80, None));
    assert_eq!((read.key.key()[0], read.key.salt()[13]), (0x90, 0xaf));
    round_trips(&read);
}

#[test]
fn a_message_of_live555_is_read() {
    let read = Mikey::read(&LIVE555).expect("live555's");
    assert_eq!(read.streams, [Stream { policy: 0, ssrc: 0x207d_b289, roc: 0 }]);
    assert_eq!((read.key.suite(), read.mki), (Suite::AesCm128HmacSha1_80, Mki::new(0x7543_2777, 4)));
    assert_eq!((read.key.key()[0], read.key.salt()[13]), (0xcd, 0x30));
    round_trips(&read);
}

#[test]
fn a_message_is_written_byte_by_byte() {
    let written = message(Suite::AesCm128HmacSha1_80, Mki::new(9, 4)).write(&FRESH).expect("written");
    let mut expected = vec![1, 0, 5, 0, 1, 2, 3, 4, 1, 0, 0, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 3];
    expected.extend([11, 0, 0xeb, 0xfe, 0x6f, 0x2d, 0xb1, 0xc1, 0x3f, 0xd0, 10, 16]);
    expected.extend([0xaa; 16]);
    expected.extend([1, 0, 0, 0, 24, 0, 1, 1, 1, 1, 16, 2, 1, 1, 3, 1, 20]);
    expected.extend([7, 1, 1, 8, 1, 1, 10, 1, 1, 11, 1, 10]);
    expected.extend([0, 0, 0, 39, 0, 0x21, 0, 30]);
    expected.extend(1..=30);
    expected.extend([4, 0, 0, 0, 9, 0]);
    assert_eq!(written.as_slice(), expected);
}

#[test]
fn every_suite_makes_the_round_trip() {
    for suite in Suite::ALL {
        for mki in [None, Mki::new(7, 1), Mki::new(0x0102_0304, 4)] {
            round_trips(&message(suite, mki));
        }
        round_trips(&Mikey { streams: Vec::new(), ..message(suite, None) });
        let streams = (0..64).map(|n| Stream { policy: n % 7, ssrc: n.into(), roc: u32::MAX }).collect();
        round_trips(&Mikey { streams, ..message(suite, None) });
        let streams = (0..64).map(|n| Stream { policy: 255 - n, ssrc: 1, roc: 0 }).collect();
        round_trips(&Mikey { streams, ..message(suite, Mki::new(1, 4)) });
    }
    let streams = vec![Stream { policy: 0, ssrc: 0, roc: 0 }; MAX_STREAMS + 1];
    let many = Mikey { streams, ..message(Suite::AeadAes128Gcm, None) };
    assert_eq!(many.write(&FRESH).expect_err("too many"), MikeyError::TooManyStreams(65));
}

#[test]
fn policies_are_understood_as_every_known_peer_means_them() {
    use Suite::{AeadAes128Gcm, AeadAes256Gcm, AesCm128HmacSha1_32, AesCm128HmacSha1_80};
    for (suite, params) in [
        (AesCm128HmacSha1_80, &[][..]),
        (AesCm128HmacSha1_80, &[(3, 10)]),
        (AesCm128HmacSha1_80, &[(3, 20), (11, 10)]),
        (AesCm128HmacSha1_32, &[(3, 4)]),
        (AesCm128HmacSha1_32, &[(3, 20), (11, 4)]),
        (
            AesCm128HmacSha1_80,
            &[(0, 1), (1, 16), (2, 1), (4, 14), (5, 0), (6, 0), (7, 1), (8, 1), (9, 0), (12, 0)],
        ),
        (AeadAes128Gcm, &[(0, 6)]),
        (AeadAes128Gcm, &[(0, 6), (1, 16), (2, 0), (3, 0), (10, 1)]),
        (AeadAes256Gcm, &[(0, 6), (1, 32), (20, 16), (4, 12), (11, 0), (10, 0)]),
    ] {
        let read =
            Mikey::read(&with_params(suite, params)).unwrap_or_else(|error| panic!("{params:?}: {error}"));
        assert_eq!(read.key.suite(), suite, "{params:?}");
    }
    // Without any policy, SRTP's defaults hold. RAND's next payload was SP.
    let mut none = gstreamer();
    none[29] = 1;
    none.drain(SP..KEMAC);
    assert_eq!(Mikey::read(&none).expect("defaults").key.suite(), AesCm128HmacSha1_80);
}

#[test]
fn policies_that_weaken_or_are_unknown_are_refused() {
    for (params, name) in [
        (&[(0, 0)][..], "downgrade"),
        (&[(2, 0)], "downgrade"),
        (&[(7, 0)], "downgrade"),
        (&[(8, 0)], "downgrade"),
        (&[(10, 0)], "downgrade"),
        (&[(0, 6), (7, 0)], "downgrade"),
        (&[(0, 2)], "parameter"),
        (&[(1, 32)], "parameter"),
        (&[(2, 2)], "parameter"),
        (&[(3, 0)], "parameter"),
        (&[(4, 12)], "parameter"),
        (&[(5, 1)], "parameter"),
        (&[(6, 1)], "parameter"),
        (&[(7, 2)], "parameter"),
        (&[(9, 1)], "parameter"),
        (&[(11, 8)], "parameter"),
        (&[(12, 1)], "parameter"),
        (&[(13, 0)], "parameter"),
        (&[(20, 16)], "parameter"),
        (&[(0, 6), (1, 24)], "parameter"),
        (&[(0, 6), (20, 8)], "parameter"),
        (&[(0, 6)], "key"),
    ] {
        assert_eq!(error(&with_params(Suite::AesCm128HmacSha1_80, params)).name(), name, "{params:?}");
    }
}

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    let changed = |at: usize, to: u8| {
        let mut message = gstreamer();
        message[at] = to;
        error(&message)
    };
    assert_eq!(changed(0, 2), MikeyError::Version(2));
    assert_eq!(changed(1, 2), MikeyError::DataType(2));
    assert_eq!(changed(2, 9), MikeyError::Payload(9));
    assert_eq!(changed(3, 0x80), MikeyError::Verification);
    assert_eq!(changed(3, 1), MikeyError::Prf(1));
    assert_eq!(changed(8, 65), MikeyError::TooManyStreams(65));
    assert_eq!(changed(9, 1), MikeyError::MapType(1));
    assert_eq!(changed(10, 5), MikeyError::NoPolicy(5));
    assert_eq!(changed(20, 3), MikeyError::TimestampType(3));
    assert_eq!(changed(SP + 2, 1), MikeyError::Protocol(1));
    assert_eq!(changed(SP, 10).name(), "truncated");
    assert_eq!(changed(SP, 0).name(), "trailing");
    assert_eq!(changed(KEMAC + 1, 1), MikeyError::Protected { cipher: 1, mac: 0 });
    assert_eq!(changed(KEMAC + 4, 20), MikeyError::SeveralKeys);
    assert_eq!(changed(KEMAC + 4, 5), MikeyError::Payload(5));
    assert_eq!(changed(KEMAC + 5, 0x00), MikeyError::KeyType(0));
    assert_eq!(changed(KEMAC + 5, 0x30), MikeyError::Truncated("key data"));
    assert_eq!(changed(KEMAC + 5, 0x22), MikeyError::Validity(2));
    assert_eq!(changed(KEMAC + 7, 29).name(), "trailing");
    assert_eq!(error(&vec![0; MAX_MESSAGE + 1]), MikeyError::TooLong(MAX_MESSAGE + 1));
    let mut mac = gstreamer();
    *mac.last_mut().expect("the MAC's type") = 1;
    assert_eq!(error(&mac), MikeyError::Protected { cipher: 0, mac: 1 });
}

#[test]
fn one_zero_too_many_is_tolerated_and_nothing_else() {
    let mut message = gstreamer();
    message.push(0);
    assert!(Mikey::read(&message).is_ok());
    message.push(0);
    assert_eq!(error(&message), MikeyError::Trailing(2));
    message.truncate(message.len() - 2);
    message.push(1);
    assert_eq!(error(&message), MikeyError::Trailing(1));
}

/// RFC 3830 §6.13: the salt in a field of its own.
#[test]
fn a_salt_by_itself_is_taken_at_the_suites_length_only() {
    let with_salt = |key: usize, salt: usize| {
        let mut message = gstreamer()[..KEMAC].to_vec();
        let (key, salt) = (vec![5; key], vec![6; salt]);
        let byte = |length: usize| u8::try_from(length).expect("short");
        message.extend([0, 0, 0, byte(6 + key.len() + salt.len()), 0, 0x30, 0, byte(key.len())]);
        message.extend(&key);
        message.extend([0, byte(salt.len())]);
        message.extend(&salt);
        message.push(0);
        Mikey::read(&message)
    };
    let read = with_salt(16, 14).expect("16 and 14");
    assert_eq!((read.key.key(), read.key.salt()), (&[5; 16][..], &[6; 14][..]));
    assert_eq!(with_salt(0, 30).expect_err("salt alone").name(), "salt");
    assert_eq!(with_salt(18, 12).expect_err("another suite's").name(), "salt");
    assert_eq!(with_salt(17, 14).expect_err("31 bytes").name(), "key");
}

#[test]
fn an_spi_is_an_mki_of_at_most_four_bytes() {
    for length in [0, 5, 255] {
        let written = message(Suite::AesCm128HmacSha1_80, Mki::new(1, 1)).write(&FRESH).expect("written");
        let mut message = written[..written.len() - 3].to_vec();
        let kemac = written.len() - 3 - 30 - 8;
        let total = u16::try_from(4 + 30 + 1 + length).expect("short").to_be_bytes();
        message[kemac + 2..kemac + 4].copy_from_slice(&total);
        message.push(u8::try_from(length).expect("a byte"));
        message.extend(vec![1; length]);
        message.push(0);
        assert_eq!(error(&message), MikeyError::Spi(length));
    }
}

#[test]
fn identities_and_extensions_are_passed_over() {
    for kind in [6, 21] {
        let mut message = gstreamer();
        message[29] = kind;
        message.splice(SP..SP, [10, 0, 0, 3, b'a', b'b', b'c']);
        assert!(same(&Mikey::read(&message).expect("read"), &Mikey::read(&gstreamer()).expect("read")));
    }
}

#[test]
fn streams_of_one_key_want_one_suite() {
    let mikey = message(Suite::AesCm128HmacSha1_80, None);
    let streams = [0, 1].map(|policy| Stream { policy, ssrc: 1, roc: 0 }).to_vec();
    let mut message = Mikey { streams, ..mikey }.write(&FRESH).expect("written").to_vec();
    assert!(Mikey::read(&message).is_ok());
    let second = SP + 9 + 29;
    assert_eq!(message[second + 1], 1, "the second policy's number");
    message[second + 28] = 4;
    assert_eq!(error(&message), MikeyError::MixedSuites);
    message[second + 1] = 0;
    assert_eq!(error(&message), MikeyError::DuplicatePolicy(0));
}

#[test]
fn keys_are_never_shown() {
    let shown = format!("{:?}", Mikey::read(&gstreamer()).expect("read"));
    assert!(!shown.contains("144, 145") && shown.contains("AesCm128HmacSha1_80"), "{shown}");
    for end in 0..gstreamer().len() {
        let error = error(&gstreamer()[..end]);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("144, 145") && !shown.contains("9091"), "{shown}");
    }
}

#[test]
fn truncations_and_mutations_never_panic_and_never_make_a_message_that_is_not_written_back() {
    for suite in Suite::ALL {
        let written = message(suite, Mki::new(3, 4)).write(&FRESH).expect("written");
        for end in 0..written.len() {
            assert!(Mikey::read(&written[..end]).is_err(), "{end} bytes");
        }
        let mut mutated = written.to_vec();
        for at in 0..mutated.len() {
            for value in 0..=255 {
                let was = std::mem::replace(&mut mutated[at], value);
                if let Ok(read) = Mikey::read(&mutated) {
                    round_trips(&read);
                }
                mutated[at] = was;
            }
        }
    }
}

proptest! {
    #[test]
    fn anything_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Mikey::read(&bytes);
        let with_header = [&GSTREAMER[..19], &bytes].concat();
        if let Ok(read) = Mikey::read(&with_header) {
            round_trips(&read);
        }
    }
}
