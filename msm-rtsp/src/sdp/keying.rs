//! Keys of one hop, as the attributes of a description carry them.

use std::fmt;

use sdp_types::Attribute;
use zeroize::Zeroizing;

/// Attributes with keys that are kept of one media section; what comes after them is not looked at.
const MAX_ATTRIBUTES: usize = 32;

/// Capabilities (`RFC 5939`, `RFC 6871`): they speak of the hop, and may repeat the attributes of its keys.
const CAPABILITIES: &[&str] = &[
    "acap", "acfg", "bcap", "ccap", "creq", "csup", "icap", "lcfg", "mcap", "mfcap", "mscap", "omcap",
    "pcfg", "rmcap", "sescap", "tcap",
];

/// The values of a track's `a=crypto` (`RFC 4568`) and `a=key-mgmt` (`RFC 4567`). They are keys:
/// wiped when dropped, and `Debug` counts them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keying {
    /// What follows each `a=crypto:`, in the order of the sender's preference.
    pub crypto: Vec<Zeroizing<String>>,
    /// What follows each `a=key-mgmt:`, those of the media section before those of the session.
    pub key_mgmt: Vec<Zeroizing<String>>,
}

impl Keying {
    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.crypto.is_empty() && self.key_mgmt.is_empty()
    }

    /// Takes the keys out of a media section's attributes; `session` are those of the presentation.
    pub(super) fn take(attributes: &mut Vec<Attribute>, session: &Keying) -> Self {
        let mut own = Self::default();
        attributes.retain_mut(|attribute| {
            let name = attribute.attribute.trim();
            let list = if name.eq_ignore_ascii_case("crypto") {
                &mut own.crypto
            } else if name.eq_ignore_ascii_case("key-mgmt") {
                &mut own.key_mgmt
            } else {
                return !CAPABILITIES.iter().any(|own| name.eq_ignore_ascii_case(own));
            };
            let value = attribute.value.take().map(Zeroizing::new);
            if let Some(value) = value.filter(|_| list.len() < MAX_ATTRIBUTES) {
                list.push(Zeroizing::new(value.trim().to_owned()));
            }
            false
        });
        own.key_mgmt.extend(session.key_mgmt.iter().cloned());
        own.key_mgmt.truncate(MAX_ATTRIBUTES);
        own
    }

    pub(super) fn write(&self, attributes: &mut Vec<Attribute>) {
        let crypto = self.crypto.iter().map(|value| Attribute::with_value("crypto", value.as_str()));
        let key_mgmt = self.key_mgmt.iter().map(|value| Attribute::with_value("key-mgmt", value.as_str()));
        attributes.extend(crypto.chain(key_mgmt));
    }
}

impl fmt::Debug for Keying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keying")
            .field("crypto", &self.crypto.len())
            .field("key_mgmt", &self.key_mgmt.len())
            .finish()
    }
}
