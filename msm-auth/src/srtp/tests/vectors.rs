//! Packets that others published.

use super::super::cipher::SessionKeys;
use super::*;

/// `RFC 7714 §16`: the session keys, and what is sent under them.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const SALT: [u8; 12] = *b"Quid pro quo";
const RTP: &str =
    "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573";
/// `RFC 7714 §17.1`: the packet there differs from the one that the section begins with.
const RTCP: &str = "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";

const SUITES: [(Suite, &str, &str); 2] = [
    (
        Suite::AeadAes128Gcm,
        "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
         899d7f27beb16a9152cf765ee4390cce",
        "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b\
         c84aa45896cf4d2fc5abf87245d9eade800005d4",
    ),
    (
        Suite::AeadAes256Gcm,
        "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
         7aa3db36dfffd6b0f9bb7878d7a76c13",
        "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad\
         1d1eb30c4446839f57ff6f6cb26ac3be800005d4",
    ),
];

#[test]
fn packets_of_rfc_7714_section_16() {
    for (suite, sealed, _) in SUITES {
        let keys = SessionKeys::given(suite, &hex(KEY)[..suite.key_len()], SALT).unwrap();
        let (plain, sealed) = (hex(RTP), hex(sealed));
        let (ssrc, index) = (0x5501_a0b2, 0xf17b);
        let mut own = plain.clone();
        own.resize(sealed.len(), 0);
        let (header, rest) = own.split_at_mut(12);
        keys.seal_rtp(ssrc, index, header, rest, plain.len() - 12, &[]).unwrap();
        assert_eq!(own, sealed, "{suite:?}");
        let (packet, tag) = own.split_at_mut(plain.len());
        let (header, body) = packet.split_at_mut(12);
        keys.open_rtp(ssrc, index, header, body, tag).unwrap();
        assert_eq!(packet, plain, "{suite:?}");
    }
}

#[test]
fn packets_of_rfc_7714_section_17() {
    for (suite, _, sealed) in SUITES {
        let keys = SessionKeys::given(suite, &hex(KEY)[..suite.key_len()], SALT).unwrap();
        let (plain, sealed) = (hex(RTCP), hex(sealed));
        let (ssrc, index) = (u32::from_be_bytes(*b"Mars"), 0x5d4);
        let mut own = plain.clone();
        own.resize(sealed.len(), 0);
        keys.seal_rtcp(ssrc, index, &mut own, plain.len(), &[]).unwrap();
        assert_eq!(own, sealed, "{suite:?}");
        let (packet, tag) = own.split_at_mut(plain.len());
        keys.open_rtcp(ssrc, index | 1 << 31, packet, &tag[..16]).unwrap();
        assert_eq!(packet, plain, "{suite:?}");
    }
}

/// Packets of `srtp_validate` in the test driver of libsrtp: from the master key on. An MKI goes before the tag of
/// HMAC-SHA1 (`RFC 3711 §3.1`) and, as libsrtp has it too, behind that of AES-GCM.
#[test]
fn packets_of_libsrtp() {
    let cm = hex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
    let gcm = hex("000102030405060708090a0b0c0d0e0fa0a1a2a3a4a5a6a7a8a9aaab");
    let rtp = "800f1234decafbadcafebabe";
    let rtcp = "81c8000bcafebabe";
    for (suite, key, mki, sealed, sealed_rtcp) in [
        (
            Suite::AesCm128HmacSha1_80,
            &cm,
            "",
            "4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb",
            "7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798",
        ),
        (
            Suite::AesCm128HmacSha1_80,
            &cm,
            "e1f97a0d",
            "4e55dc4ce79978d88ca4d215949d2402e1f97a0db78d6acc99ea179b8dbb",
            "7128035be487b9bdbef89041f977a5a880000001e1f97a0d993e08cd54d6c1230798",
        ),
        (
            Suite::AeadAes128Gcm,
            &gcm,
            "",
            "c5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392",
            "c98b8b5df0392a55852b6c21ac8e7025c52c6fbea2b3b446ea31123ba88ce61e80000001",
        ),
    ] {
        let (key, mki) = (MasterKey::from_bytes(suite, key).unwrap(), hex(mki));
        let mut sender = Sender::new(SenderOptions { mki_len: mki.len(), ..Default::default() });
        let mut receiver = Receiver::new(ReceiverOptions { mki_len: mki.len(), ..Default::default() });
        sender.install(&key, &mki).unwrap();
        sender.switch(&mki).unwrap();
        receiver.install(&key, &mki).unwrap();

        let plain = [hex(rtp), vec![0xab; 16]].concat();
        let own = protect(&mut sender, &plain).unwrap();
        assert_eq!(own, [hex(rtp), hex(sealed)].concat(), "{suite:?}");
        assert_eq!(open(&mut receiver, &own), Ok((plain, 0x1234)));

        let plain = [hex(rtcp), vec![0xab; 16]].concat();
        // libsrtp begins with index 1.
        protect_rtcp(&mut sender, &plain).unwrap();
        let own = protect_rtcp(&mut sender, &plain).unwrap();
        assert_eq!(own, [hex(rtcp), hex(sealed_rtcp)].concat(), "{suite:?}");
        assert_eq!(open_rtcp(&mut receiver, &own), Ok((plain, 1)));
    }
}
