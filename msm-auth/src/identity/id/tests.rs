use proptest::prelude::*;

use super::{IdError, IdMatch, MAX_ID, SpiffeId, TrustDomain};

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).expect(text)
}

fn refused(text: &str) -> &'static str {
    SpiffeId::parse(text).expect_err(text).name()
}

#[test]
fn the_canonical_form_lowers_scheme_and_trust_domain_only() {
    let mixed = id("SPIFFE://Example.ORG/ns/Prod");
    assert_eq!(mixed.to_string(), "spiffe://example.org/ns/Prod");
    assert_eq!(mixed, id("spiffe://example.org/ns/Prod"));
    assert_ne!(mixed, id("spiffe://example.org/ns/prod"));
    assert_eq!(mixed.trust_domain().as_str(), "example.org");
    assert_eq!(mixed.path(), "/ns/Prod");
    assert!(id("spiffe://example.org").is_trust_domain());
}

#[test]
fn what_the_specification_forbids_is_refused_with_its_reason() {
    for (text, reason) in [
        ("", "empty"),
        ("https://example.org/a", "scheme"),
        ("spiffe:/example.org/a", "scheme"),
        ("spiffe:///a", "no_trust_domain"),
        ("spiffe://", "no_trust_domain"),
        ("spiffe://example.org:8443/a", "trust_domain_character"),
        ("spiffe://user@example.org/a", "trust_domain_character"),
        ("spiffe://ex%61mple.org/a", "trust_domain_character"),
        ("spiffe://exämple.org/a", "trust_domain_character"),
        ("spiffe://example.org?x=1", "trust_domain_character"),
        ("spiffe://example.org/", "trailing_slash"),
        ("spiffe://example.org/a/", "trailing_slash"),
        ("spiffe://example.org//a", "empty_segment"),
        ("spiffe://example.org/a/./b", "dot_segment"),
        ("spiffe://example.org/a/..", "dot_segment"),
        ("spiffe://example.org/a?x=1", "path_character"),
        ("spiffe://example.org/a#x", "path_character"),
        ("spiffe://example.org/%61", "path_character"),
        ("spiffe://example.org/a b", "path_character"),
        ("spiffe://example.org/ä", "path_character"),
        ("spiffe://example.org/*", "path_character"),
    ] {
        assert_eq!(refused(text), reason, "{text}");
    }
}

#[test]
fn the_limits_are_the_specifications() {
    assert!(TrustDomain::parse(&"a".repeat(255)).is_ok());
    assert_eq!(TrustDomain::parse(&"a".repeat(256)), Err(IdError::TrustDomainTooLong(256)));
    let longest = format!("spiffe://td/{}", "a".repeat(MAX_ID - 12));
    assert_eq!(longest.len(), 2048);
    assert!(SpiffeId::parse(&longest).is_ok());
    assert_eq!(refused(&format!("{longest}a")), "too_long");
}

#[test]
fn a_trust_domain_is_taken_bare_or_as_an_id_without_a_path() {
    let expected = TrustDomain::parse("example.org").expect("parsed");
    assert_eq!(TrustDomain::parse("spiffe://Example.org"), Ok(expected));
    assert_eq!(
        TrustDomain::parse("spiffe://example.org/a").map_err(|e| e.name()),
        Err("trust_domain_character")
    );
}

#[test]
fn a_matcher_means_one_id_a_path_below_or_a_trust_domain() {
    let of = |text: &str| IdMatch::parse(text).expect(text);
    let web = id("spiffe://td/ns/prod/sa/web");

    assert!(of("spiffe://TD/ns/prod/sa/web").matches(&web));
    assert!(!of("spiffe://td/ns/prod/sa/we").matches(&web));
    assert!(!of("spiffe://other/ns/prod/sa/web").matches(&web));

    let prod = of("spiffe://td/ns/prod/*");
    assert!(prod.matches(&web));
    assert!(prod.matches(&id("spiffe://td/ns/prod/web")));
    assert!(!prod.matches(&id("spiffe://td/ns/prod")), "the path itself is not below it");
    assert!(!prod.matches(&id("spiffe://td/ns/production/web")), "segments are whole");
    assert!(!prod.matches(&id("spiffe://other/ns/prod/web")));

    for whole in ["spiffe://td", "spiffe://td/*"] {
        assert!(of(whole).matches(&web));
        assert!(!of(whole).matches(&id("spiffe://td2/ns/prod/sa/web")));
        assert_eq!(of(whole).to_string(), "spiffe://td/*");
    }
    assert_eq!(prod.to_string(), "spiffe://td/ns/prod/*");
}

#[test]
fn a_star_elsewhere_is_refused() {
    for text in ["spiffe://td/ns/*/sa/web", "spiffe://td/ns/pro*", "spiffe://*/ns", "spiffe://td/*/*", "*"] {
        assert_eq!(IdMatch::parse(text).expect_err(text).name(), "wildcard", "{text}");
    }
    assert_eq!(IdMatch::parse("spiffe://td//*").expect_err("refused").name(), "trailing_slash");
}

#[test]
fn messages_say_what_is_wrong() {
    let message = |text: &str| SpiffeId::parse(text).expect_err(text).to_string();
    assert!(message("spiffe://td:1/a").contains("`:`"), "{}", message("spiffe://td:1/a"));
    assert!(message("http://td/a").contains("spiffe://"));
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in ".{0,300}") {
        if let Ok(parsed) = SpiffeId::parse(&text) {
            prop_assert_eq!(SpiffeId::parse(&parsed.to_string()), Ok(parsed));
        }
        let _ = IdMatch::parse(&text);
        let _ = TrustDomain::parse(&text);
    }

    #[test]
    fn what_is_allowed_survives(td in "[a-z0-9._-]{1,40}", path in "(/[A-Za-z0-9_-]{1,12}){0,5}") {
        let text = format!("spiffe://{td}{path}");
        let parsed = SpiffeId::parse(&text);
        prop_assert_eq!(parsed.map(|id| id.to_string()), Ok(text));
    }
}
