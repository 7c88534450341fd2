//! One message of the agent: what it means, and whether it says anything new.

use aws_lc_rs::digest;
use spiffe::X509Context;
use zeroize::Zeroizing;

use crate::identity::bundle::{Bundle, BundleSet};
use crate::identity::error::{Position, SvidError};
use crate::identity::id::TrustDomain;
use crate::identity::svid::X509Svid;

pub(super) type Hash = [u8; digest::SHA256_OUTPUT_LEN];

/// The SVID and the bundles of a state, in the types of this crate.
pub(super) fn material(
    picked: &spiffe::X509Svid,
    context: &X509Context,
) -> Result<(X509Svid, BundleSet), (String, SvidError)> {
    let chain = picked.cert_chain().iter().map(|cert| cert.as_bytes().to_vec()).collect();
    let key = Zeroizing::new(picked.private_key().as_bytes().to_vec());
    let svid = X509Svid::new(chain, key).map_err(|e| (picked.spiffe_id().to_string(), e))?;
    let mut bundles = BundleSet::new();
    for (name, bundle) in context.bundle_set().iter() {
        let place = || format!("the bundle of {name}");
        let unnamed = |reason| SvidError::BadId { position: Position::Signer, reason };
        let trust_domain = TrustDomain::parse(name.as_str()).map_err(|e| (place(), unnamed(e)))?;
        let own = trust_domain == *svid.id().trust_domain();
        let certificates: Vec<_> = bundle.authorities().iter().map(|cert| cert.as_bytes().to_vec()).collect();
        match Bundle::new(trust_domain, &certificates) {
            Ok(bundle) => bundles.insert(bundle),
            Err(e) if own => return Err((place(), e)),
            // Its members are refused, which is safe; the own identity must not hang on another domain's mistake.
            Err(e) => tracing::warn!(reason = e.name(), "{}: {e}: its members are refused", place()),
        }
    }
    if bundles.get(svid.id().trust_domain()).is_none() {
        let trust_domain = svid.id().trust_domain().clone();
        return Err((svid.id().to_string(), SvidError::NoBundle(trust_domain)));
    }
    Ok((svid, bundles))
}

/// What two states have in common only if they say the same. The key follows from the leaf.
pub(super) fn hash(context: &X509Context, hint: Option<&str>) -> Hash {
    let mut digest = digest::Context::new(&digest::SHA256);
    let mut add = |bytes: &[u8]| {
        digest.update(&bytes.len().to_be_bytes());
        digest.update(bytes);
    };
    for svid in context.svids() {
        add(if svid.hint() == hint { b"picked" } else { b"" });
        svid.cert_chain().iter().for_each(|cert| add(cert.as_bytes()));
    }
    // In an order of their own: the set's is random.
    let mut bundles: Vec<_> = context.bundle_set().iter().collect();
    bundles.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    for (name, bundle) in bundles {
        add(name.as_str().as_bytes());
        bundle.authorities().iter().for_each(|cert| add(cert.as_bytes()));
    }
    let mut hash = Hash::default();
    hash.copy_from_slice(digest.finish().as_ref());
    hash
}
