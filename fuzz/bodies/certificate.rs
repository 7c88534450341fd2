//! Certificates of peers and authorities: any bytes end in a verdict, a verdict names what was in the bytes, and nobody
//! is let in by a bundle that is not its own domain's.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use msm_auth::identity::UnixTime;
use msm_auth::identity::bundle::{Bundle, BundleSet};
use msm_auth::identity::id::TrustDomain;
use msm_auth::identity::svid::{PeerRole, validate};
use rustls_pki_types::CertificateDer;

/// Two bytes say how long the leaf is that follows; the rest is an authority of `example.org`.
pub fn run(data: &[u8]) {
    let [high, low, rest @ ..] = data else { return };
    let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
    let (leaf, authority) = rest.split_at(length);
    let own = TrustDomain::parse("example.org").unwrap();
    let mut bundles = BundleSet::new();
    if let Ok(bundle) = Bundle::new(own.clone(), &[authority.to_vec()]) {
        assert_eq!(bundle.len(), 1);
        bundles.insert(bundle);
    }
    let leaf = CertificateDer::from(leaf);
    // The seeds are valid then.
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
    let signer = CertificateDer::from(authority);
    for role in [PeerRole::Client, PeerRole::Server] {
        for intermediates in [&[][..], std::slice::from_ref(&signer)] {
            match validate(&leaf, intermediates, &bundles, now, role) {
                Ok(peer) => {
                    assert_eq!(peer.id.trust_domain(), &own);
                    assert!(!peer.id.is_trust_domain() && peer.expires >= now);
                    // Without its domain's bundle the same leaf is nobody.
                    assert!(validate(&leaf, intermediates, &BundleSet::new(), now, role).is_err());
                }
                Err(error) => assert!(!error.name().is_empty() && !error.to_string().is_empty()),
            }
        }
    }
}
