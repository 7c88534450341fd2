//! Packets compared, byte for byte, with those of another implementation: the crate `rtc-srtp`.

use proptest::collection::vec;
use proptest::prelude::*;
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::*;

fn theirs(suite: Suite, key: &MasterKey) -> Context {
    let profile = match suite {
        Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        Suite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Suite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
    };
    let provider = AwsLcRsProvider::new();
    Context::new(key.key(), key.salt(), profile, None, None, provider.crypto()).unwrap()
}

fn ours(key: &MasterKey) -> (Sender, Receiver) {
    let mut sender = Sender::new(SenderOptions::default());
    let mut receiver = Receiver::new(ReceiverOptions::default());
    sender.install(key, &[]).unwrap();
    sender.switch(&[]).unwrap();
    receiver.install(key, &[]).unwrap();
    (sender, receiver)
}

/// A suite and key material for it.
fn keys() -> impl Strategy<Value = MasterKey> {
    (0..Suite::ALL.len(), vec(any::<u8>(), 46)).prop_map(|(suite, material)| {
        let suite = Suite::ALL[suite];
        MasterKey::from_bytes(suite, &material[..suite.key_len() + suite.salt_len()]).unwrap()
    })
}

#[derive(Debug, Clone)]
struct Shape {
    marker_and_type: u8,
    csrcs: Vec<u32>,
    extension: Option<Vec<u32>>,
    padding: Option<u8>,
    payload: Vec<u8>,
    /// From the number before.
    step: u16,
}

fn shape() -> impl Strategy<Value = Shape> {
    let words = vec(any::<u32>(), 1..6);
    (
        any::<u8>(),
        vec(any::<u32>(), 0..16),
        proptest::option::of(words),
        proptest::option::of(1u8..),
        vec(any::<u8>(), 0..1400),
        1u16..20_000,
    )
        .prop_map(|(marker_and_type, csrcs, extension, padding, payload, step)| Shape {
            marker_and_type,
            csrcs,
            extension,
            padding,
            payload,
            step,
        })
}

impl Shape {
    fn packet(&self, ssrc: u32, sequence: u16) -> Vec<u8> {
        let flags = u8::from(self.padding.is_some()) << 5 | u8::from(self.extension.is_some()) << 4;
        let mut packet = vec![0x80 | flags | self.csrcs.len() as u8, self.marker_and_type];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&0x1234_5678u32.to_be_bytes());
        packet.extend_from_slice(&ssrc.to_be_bytes());
        packet.extend(self.csrcs.iter().flat_map(|csrc| csrc.to_be_bytes()));
        if let Some(words) = &self.extension {
            packet.extend_from_slice(&[0x43, 0x21, 0, words.len() as u8]);
            packet.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        }
        packet.extend_from_slice(&self.payload);
        if let Some(padding) = self.padding {
            packet.extend(std::iter::repeat_n(0, usize::from(padding) - 1));
            packet.push(padding);
        }
        packet
    }
}

/// A compound of a report, an SDES and whatever follows; lengths are right, as theirs is read.
fn compound() -> impl Strategy<Value = Vec<u8>> {
    (any::<bool>(), vec(any::<u32>(), 0..12), vec((200u8..208, 0u8..32, vec(any::<u32>(), 0..20)), 0..4))
        .prop_map(|(sender, report, rest)| {
            let mut packet = vec![0x80, if sender { 200 } else { 201 }, 0, report.len() as u8 + 1];
            packet.extend_from_slice(&SSRC.to_be_bytes());
            packet.extend(report.iter().flat_map(|word| word.to_be_bytes()));
            for (kind, count, words) in rest {
                packet.extend_from_slice(&[0x80 | count, kind, 0, words.len() as u8]);
                packet.extend(words.iter().flat_map(|word| word.to_be_bytes()));
            }
            packet
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn rtp_is_theirs(key in keys(), ssrc: u32, first: u16, shapes in vec(shape(), 1..12)) {
        let (mut sender, mut receiver) = ours(&key);
        let (mut their_sender, mut their_receiver) = (theirs(key.suite(), &key), theirs(key.suite(), &key));
        let mut sequence = first;
        for shape in &shapes {
            let plain = shape.packet(ssrc, sequence);
            let sealed = protect(&mut sender, &plain).unwrap();
            let their_sealed = their_sender.encrypt_rtp(&plain).unwrap();
            prop_assert_eq!(&sealed[..], &their_sealed[..]);
            prop_assert_eq!(&open(&mut receiver, &their_sealed).unwrap().0, &plain);
            prop_assert_eq!(&their_receiver.decrypt_rtp(&sealed).unwrap()[..], &plain[..]);
            sequence = sequence.wrapping_add(shape.step);
        }
    }

    #[test]
    fn rtcp_is_theirs(key in keys(), compounds in vec(compound(), 1..12)) {
        let (mut sender, mut receiver) = ours(&key);
        let (mut their_sender, mut their_receiver) = (theirs(key.suite(), &key), theirs(key.suite(), &key));
        // They begin with index 1.
        protect_rtcp(&mut sender, &rtcp(SSRC)).unwrap();
        for (number, plain) in (1..).zip(&compounds) {
            let sealed = protect_rtcp(&mut sender, plain).unwrap();
            let their_sealed = their_sender.encrypt_rtcp(plain).unwrap();
            prop_assert_eq!(&sealed[..], &their_sealed[..]);
            prop_assert_eq!(open_rtcp(&mut receiver, &their_sealed), Ok((plain.clone(), number)));
            prop_assert_eq!(&their_receiver.decrypt_rtcp(&sealed).unwrap()[..], &plain[..]);
        }
    }
}
