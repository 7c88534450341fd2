//! SPIFFE IDs and the patterns that name them: what is accepted is canonical, within the specification's limits, and
//! matched by its own pattern and by no other trust domain's.
#![allow(clippy::panic, clippy::unwrap_used)]

use msm_auth::identity::id::{IdMatch, SpiffeId, TrustDomain};

/// Reads the lines of `data` as an ID and a pattern.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (first, second) = text.split_once('\n').unwrap_or((&text, ""));
    let pattern = IdMatch::parse(second);
    if let Ok(pattern) = &pattern {
        let written = pattern.to_string();
        assert_eq!(IdMatch::parse(&written).as_ref(), Ok(pattern), "{written}");
    }
    let Ok(id) = SpiffeId::parse(first) else { return };
    let written = id.to_string();
    assert_eq!(SpiffeId::parse(&written).as_ref(), Ok(&id), "{written}");
    assert!(written.len() <= 2048 && written.starts_with("spiffe://"));
    let domain = id.trust_domain().as_str();
    assert!(!domain.is_empty() && domain.len() <= 255);
    assert!(
        domain.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b)),
        "{domain}"
    );
    assert_eq!(TrustDomain::parse(domain).as_ref(), Ok(id.trust_domain()));
    for segment in id.path().split('/').skip(1) {
        assert!(!matches!(segment, "" | "." | ".."), "{written}");
        assert!(segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{written}");
    }
    assert!(IdMatch::parse(&written).unwrap().matches(&id));
    assert!(IdMatch::TrustDomain(id.trust_domain().clone()).matches(&id));
    let elsewhere = SpiffeId::parse(&format!("spiffe://x{domain}{}", id.path()));
    if let Ok(elsewhere) = elsewhere {
        assert!(!IdMatch::parse(&written).unwrap().matches(&elsewhere));
    }
    if let Ok(pattern) = pattern
        && pattern.matches(&id)
    {
        assert!(second.to_ascii_lowercase().starts_with(&format!("spiffe://{domain}")), "{second} {written}");
    }
}
