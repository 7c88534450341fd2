use proptest::prelude::*;

use super::*;

/// Attributes of RFC 4568 §4 and §6.1, and what cameras and softphones write.
const REAL: [&str; 5] = [
    "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj",
    "2 AES_CM_128_HMAC_SHA1_32 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj|2^20|1:4",
    "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4 FEC_ORDER=FEC_SRTP",
    "3 AEAD_AES_128_GCM inline:AAECAwQFBgcICQoLDA0OD6CholulpqeoqaqrrA|1048577 WSH=128",
    "999999999\taead_aes_256_gcm  INLINE:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKis=|2^48 -X=1",
];

fn key(suite: Suite) -> MasterKey {
    let bytes: Vec<u8> = (0..).take(suite.key_len() + suite.salt_len()).collect();
    MasterKey::from_bytes(suite, &bytes).expect("the suite's length")
}

fn same(a: &Crypto, b: &Crypto) -> bool {
    a.key.suite() == b.key.suite()
        && a.key.key_and_salt() == b.key.key_and_salt()
        && (a.tag, a.lifetime, a.mki, a.params) == (b.tag, b.lifetime, b.mki, b.params)
}

#[test]
fn real_attributes_are_read_and_written_back() {
    for line in REAL {
        let read = Crypto::read(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let written = read.to_attribute();
        assert!(same(&Crypto::read(&written).expect("what was written"), &read), "{line}");
    }
    assert_eq!(Crypto::read(REAL[0]).expect("read").to_attribute().as_str(), REAL[0]);
    assert_eq!(Crypto::read(REAL[1]).expect("read").to_attribute().as_str(), REAL[1]);
    let read = Crypto::read(REAL[1]).expect("read");
    assert_eq!(read.key.key_and_salt(), b"70xwPH5@/,L:S1wY\"~='EpgT%(i_Vc");
    assert_eq!((read.lifetime, read.mki), (Some(1 << 20), Mki::new(1, 4)));
    let read = Crypto::read(REAL[3]).expect("read");
    assert_eq!((read.lifetime, read.params.window), (Some(1_048_577), Some(128)));
    assert_eq!(read.to_attribute().split('|').nth(1), Some("1048577 WSH=128"));
    assert_eq!(Crypto::read(REAL[4]).expect("read").lifetime, Some(MAX_LIFETIME));
}

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    const KEY: &str = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
    let many = format!("1 AES_CM_128_HMAC_SHA1_80 {}", [KEY; 17].join(";"));
    let long = format!("1 AES_CM_128_HMAC_SHA1_80 {KEY} {}", "-".repeat(MAX_LINE));
    let cases = [
        ("", "missing"),
        ("1", "missing"),
        ("1 AES_CM_128_HMAC_SHA1_80", "missing"),
        ("x AES_CM_128_HMAC_SHA1_80 KEY", "tag"),
        ("+1 AES_CM_128_HMAC_SHA1_80 KEY", "tag"),
        ("1234567890 AES_CM_128_HMAC_SHA1_80 KEY", "tag"),
        ("1 F8_128_HMAC_SHA1_80 KEY", "unknown_suite"),
        ("1 AES_256_CM_HMAC_SHA1_80 KEY", "unknown_suite"),
        ("1 AES_CM_128_HMAC_SHA1_80 url:https://a/k", "key_method"),
        ("1 AES_CM_128_HMAC_SHA1_80 d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj", "key_method"),
        (&many, "too_many_keys"),
        (&long, "too_long"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY;KEY", "keys_without_mki"),
        ("1 AES_CM_128_HMAC_SHA1_80 inline:d0Rm!!!!", "base64"),
        ("1 AES_CM_128_HMAC_SHA1_80 inline:", "key"),
        ("1 AEAD_AES_128_GCM KEY", "key"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY|1:4|2^20", "key_field"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY|2^20|2^20", "key_field"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY|1:4|1:4", "key_field"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY|0", "lifetime"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY|", "lifetime"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY|2^49", "lifetime"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY|2^64", "lifetime"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY|281474976710657", "lifetime"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY|2^20|1:0", "mki"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY|2^20|1:5", "mki"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY|2^20|256:1", "mki"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY|2^20|4294967296:4", "mki"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY UNENCRYPTED_SRTP", "downgrade"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY unencrypted_srtcp", "downgrade"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY UNAUTHENTICATED_SRTP", "downgrade"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY KDR=1", "key_derivation_rate"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY KDR", "key_derivation_rate"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY FEC_ORDER=SRTP_FEC", "parameter"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY WSH=63", "parameter"),
        ("1 AES_CM_128_HMAC_SHA1_80 KEY X", "parameter"),
    ];
    for (line, name) in cases {
        let line = line.replace("KEY", KEY);
        let error = Crypto::read(&line).map(|_| ()).expect_err(&line);
        assert_eq!(error.name(), name, "{line}: {error}");
    }
    assert_eq!(
        Crypto::read("1 F8_128_HMAC_SHA1_80 inline:x").expect_err("F8").to_string(),
        "a=crypto: suite F8_128_HMAC_SHA1_80 is not supported"
    );
}

#[test]
fn of_several_keys_the_first_is_used() {
    let line = "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:4;\
                inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj|2^20|2:4";
    let read = Crypto::read(line).expect("two keys");
    assert_eq!(read.mki, Mki::new(1, 4));
    assert!(read.to_attribute().ends_with("inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:4"));
}

#[test]
fn the_offer_is_chosen_by_own_preference() {
    let offers =
        ["1 F8_128_HMAC_SHA1_80 inline:x", REAL[0], REAL[1], REAL[3], "7 AEAD_AES_128_GCM inline:bad"];
    let suite = |allowed: &[Suite]| choose(offers, allowed).map(|crypto| crypto.key.suite());
    assert_eq!(suite(&Suite::ALL), Ok(Suite::AeadAes128Gcm));
    assert_eq!(
        suite(&[Suite::AesCm128HmacSha1_32, Suite::AesCm128HmacSha1_80]),
        Ok(Suite::AesCm128HmacSha1_32)
    );
    let first = choose([REAL[0], REAL[2]], &Suite::ALL).expect("two of the same suite");
    assert!(same(&first, &Crypto::read(REAL[0]).expect("read")));
    assert_eq!(suite(&[]).map_err(|error| error.name()), Err("unknown_suite"));
    let refused = choose([REAL[0]], &[Suite::AeadAes256Gcm]).expect_err("not allowed");
    assert_eq!(refused, SdesError::NotAllowed { suite: Suite::AesCm128HmacSha1_80 });
    assert_eq!(choose([], &Suite::ALL).expect_err("nothing"), SdesError::NoOffer);
    let past_the_limit = std::iter::repeat_n("x", MAX_OFFERS).chain([REAL[0]]);
    assert_eq!(choose(past_the_limit, &Suite::ALL).expect_err("not looked at"), SdesError::Tag);
}

#[test]
fn an_answer_repeats_tag_and_suite_and_has_its_own_key() {
    let offer = Crypto::read(REAL[1]).expect("read");
    let answer = offer.answer(key(Suite::AesCm128HmacSha1_32)).expect("the same suite");
    assert_eq!(
        answer.to_attribute().as_str(),
        "2 AES_CM_128_HMAC_SHA1_32 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"
    );
    assert!(same(&offer.read_answer(&answer.to_attribute()).expect("the answer"), &answer));
    let other = offer.answer(key(Suite::AeadAes128Gcm)).expect_err("another suite");
    assert_eq!(other.name(), "other_suite");
    let other = offer.read_answer(REAL[0]).expect_err("another suite");
    assert_eq!(other.name(), "other_suite");
    let other = Crypto { tag: 3, ..answer }.to_attribute();
    assert_eq!(
        offer.read_answer(&other).expect_err("another tag"),
        SdesError::OtherTag { offered: 2, got: 3 }
    );
    assert_eq!(Crypto::new(MAX_TAG + 1, key(Suite::AeadAes128Gcm)).expect_err("ten digits"), SdesError::Tag);
}

/// Wherever the key stands by mistake, no message shows it.
#[test]
fn keys_are_never_shown() {
    const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
    let shown = format!("{:?}", Crypto::read(REAL[0]).expect("read"));
    assert!(!shown.contains("d0Rm") && !shown.contains("119"), "{shown}");
    for line in [
        format!("{KEY} AES_CM_128_HMAC_SHA1_80 inline:x"),
        format!("1 {KEY} inline:x"),
        format!("1 inline:{KEY}"),
        format!("1 AES_CM_128_HMAC_SHA1_80 {KEY}"),
        format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}!"),
        format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{KEY}"),
        format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|{KEY}"),
        format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|{KEY}:4"),
        format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} {KEY}"),
    ] {
        let error = Crypto::read(&line).map(|_| ()).expect_err(&line);
        assert!(!format!("{error} {error:?}").contains("d0Rm"), "{error:?}");
    }
}

fn crypto() -> impl Strategy<Value = Crypto> {
    let material = prop::collection::vec(any::<u8>(), 46);
    let parts = (
        (prop::sample::select(&Suite::ALL[..]), material),
        0..=MAX_TAG,
        prop::option::of(1..=MAX_LIFETIME),
        prop::option::of((any::<u32>(), 1..=4usize)),
        prop::option::of(64..=u16::MAX),
    );
    parts.prop_map(|((suite, material), tag, lifetime, mki, window)| {
        let key = MasterKey::from_bytes(suite, &material[..suite.key_len() + suite.salt_len()]);
        let mki = mki.and_then(|(value, length)| Mki::new(value >> (32 - 8 * length), length));
        Crypto { tag, key: key.expect("the length"), lifetime, mki, params: Params { window } }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(crypto in crypto()) {
        let read = Crypto::read(&crypto.to_attribute());
        prop_assert!(same(&read.expect("what was written"), &crypto));
    }

    #[test]
    fn mutations_never_panic(crypto in crypto(), at in any::<prop::sample::Index>(), with in any::<char>()) {
        let text = crypto.to_attribute();
        let at = at.index(text.len());
        let _ = Crypto::read(&text[..at]);
        let mutated = format!("{}{with}{}", &text[..at], &text[at + 1..]);
        if let Ok(read) = Crypto::read(&mutated) {
            let again = Crypto::read(&read.to_attribute());
            prop_assert!(same(&again.expect("what was written"), &read));
        }
    }
}
