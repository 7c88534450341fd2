//! Base64 of key material, without copies left behind.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// Padding is written, and not missed: many peers leave it out.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes that `text` stands for; `None` for what is no base64. Says nothing of why, as that would quote it.
pub(super) fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let length = ENGINE.decode_slice(text, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(bytes)
}

/// Appends `bytes` to `text`, which has room for them: growing would leave a copy behind.
pub(super) fn encode_to(bytes: &[u8], text: &mut Zeroizing<String>) {
    let encoded = Zeroizing::new(ENGINE.encode(bytes));
    text.push_str(&encoded);
}

/// Length of `bytes` bytes in base64.
pub(super) fn encoded_len(bytes: usize) -> usize {
    bytes.div_ceil(3).saturating_mul(4)
}
