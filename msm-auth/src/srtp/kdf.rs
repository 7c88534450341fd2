//! Session keys from a master key (`RFC 3711 §4.3`, `RFC 6188 §2`; key derivation rate 0).

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use super::{MasterKey, SrtpError};

/// What a session key is for: the label of `RFC 3711 §4.3.2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// A cipher in counter mode: AES-128, or AES-256 for a key of 32 bytes.
pub(super) fn counter_mode(key: &[u8]) -> Result<EncryptingKey, SrtpError> {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    Ok(EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key)?)?)
}

/// Adds the key stream that begins at `iv` to `bytes`.
#[inline]
pub(super) fn apply(key: &EncryptingKey, iv: [u8; 16], bytes: &mut [u8]) -> Result<(), SrtpError> {
    key.less_safe_encrypt(bytes, EncryptionContext::Iv128(FixedLength::from(iv)))?;
    Ok(())
}

/// Fills `out` with the session key for `usage`.
///
/// A 12-byte salt of AES-GCM counts as one of 14 that ends in zeroes, as `RFC 7714 §11` has it through its examples.
pub(super) fn derive(master: &MasterKey, usage: Use, out: &mut [u8]) -> Result<(), SrtpError> {
    let mut iv = [0; 16];
    for (byte, salt) in iv.iter_mut().zip(master.salt()) {
        *byte = *salt;
    }
    // The label is the eighth byte of the 14; index DIV rate is 0.
    if let Some(byte) = iv.get_mut(7) {
        *byte ^= usage as u8;
    }
    out.fill(0);
    apply(&counter_mode(master.key())?, iv, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::Suite;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn keys_are_those_of_rfc_3711_appendix_b_3() {
        let material = hex("E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6");
        let master = MasterKey::from_bytes(Suite::AesCm128HmacSha1_80, &material).unwrap();
        let of = |usage, len| {
            let mut out = vec![0; len];
            derive(&master, usage, &mut out).unwrap();
            out
        };
        assert_eq!(of(Use::RtpEncryption, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(of(Use::RtpSalt, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
        // The RFC prints 94 bytes of it; keys of HMAC-SHA1 take 20.
        assert_eq!(
            of(Use::RtpAuthentication, 94),
            hex(
                "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2"
            )
        );
    }

    #[test]
    fn the_key_stream_is_that_of_rfc_3711_appendix_b_2() {
        let key = counter_mode(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
        let mut stream = vec![0; 0xff02 * 16];
        let mut iv = [0; 16];
        iv.copy_from_slice(&hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000"));
        apply(&key, iv, &mut stream).unwrap();
        assert_eq!(stream[..32], hex("E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB"));
        assert_eq!(
            stream[0xfeff * 16..0xff02 * 16],
            hex(
                "EC8CDF7398607CB0F2D21675EA9EA1E4362B7C3C6773516318A077D7FC5073AE6A2CC3787889374FBEB4C81B17BA6C44"
            )
        );
    }
}
