//! What an application may ask of a stream beside its URL.

use msm_core::route::Protection;

use crate::config::ProtectionConfig;

/// How a stream is opened or published.
///
/// ```
/// use std::time::Duration;
/// let options = msm::Options::default().latency(Duration::from_millis(80));
/// # drop(options);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    protection: Option<ProtectionConfig>,
}

impl Options {
    /// What is done against loss on the hop to the other member, instead of what the route says. Of a stream that is opened already
    /// by somebody else, that one's choice stays.
    #[must_use]
    pub fn protection(mut self, protection: ProtectionConfig) -> Self {
        self.protection = Some(protection);
        self
    }

    /// The delay that you can afford, and everything else by itself; zero turns protection off.
    #[must_use]
    pub fn latency(self, latency: std::time::Duration) -> Self {
        let protection = ProtectionConfig { latency, ..self.protection.clone().unwrap_or_default() };
        self.protection(protection)
    }

    pub(crate) fn route(&self) -> Option<Protection> {
        self.protection.as_ref().map(Protection::from)
    }
}
