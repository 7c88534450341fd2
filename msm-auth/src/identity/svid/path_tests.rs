use rcgen::KeyUsagePurpose;

use super::tests::{BIT_CERT_SIGN, WEB, bundles};
use super::{PeerRole, validate};
use crate::identity::bundle::{Bundle, BundleSet};
use crate::identity::testing::{Ca, NOW, Shape, at, der, key_usage, leaf, signer, td};

#[test]
fn a_self_signed_leaf_is_refused() {
    let ca = Ca::of("spiffe://td");
    let (cert, _) = leaf(WEB).self_signed();
    let result = validate(&der(&cert), &[], &bundles([ca.bundle("td")]), at(NOW), PeerRole::Server);
    assert_eq!(result.map_err(|e| e.name()), Err("unknown_issuer"));
}

#[test]
fn an_authority_that_was_replaced_under_its_name_is_unknown() {
    let (old, new) = (Ca::of("spiffe://td"), Ca::of("spiffe://td"));
    let (cert, _) = old.sign(&leaf(WEB));
    let check = |ca: &Ca| validate(&der(&cert), &[], &bundles([ca.bundle("td")]), at(NOW), PeerRole::Client);
    assert!(check(&old).is_ok());
    assert_eq!(check(&new).map_err(|e| e.name()), Err("unknown_issuer"));
    let both = Bundle::new(td("td"), &[new.der, old.der]).expect("bundle");
    assert!(validate(&der(&cert), &[], &bundles([both]), at(NOW), PeerRole::Client).is_ok());
}

#[test]
fn only_the_bundle_of_the_ids_own_trust_domain_counts() {
    let (own, other) = (Ca::of("spiffe://td"), Ca::of("spiffe://other"));
    let (cert, _) = other.sign(&leaf("spiffe://other/a"));
    let check = |cert: &[u8], set: &BundleSet| {
        validate(&der(cert), &[], set, at(NOW), PeerRole::Client).map_err(|e| e.name())
    };
    assert_eq!(check(&cert, &bundles([own.bundle("td")])), Err("no_bundle"));
    let both = bundles([own.bundle("td"), other.bundle("other")]);
    assert!(check(&cert, &both).is_ok());

    let (forged, _) = other.sign(&leaf(WEB));
    assert_eq!(check(&forged, &both), Err("unknown_issuer"), "an authority vouches for its own domain only");
    assert_eq!(check(&cert, &bundles([own.bundle("other")])), Err("unknown_issuer"));

    let mut withdrawn = both;
    assert!(withdrawn.remove(&td("other")));
    assert_eq!(check(&cert, &withdrawn), Err("no_bundle"));
}

#[test]
fn intermediates_lead_to_the_authority_and_follow_their_own_rules() {
    let root = Ca::of("spiffe://td");
    let check = |middle: &Shape| {
        let middle = root.intermediate(middle);
        let (cert, _) = middle.sign(&leaf(WEB));
        let set = bundles([root.bundle("td")]);
        assert!(
            validate(&der(&cert), &[], &set, at(NOW), PeerRole::Client).is_err(),
            "without it there is no path"
        );
        validate(&der(&cert), &[der(&middle.der)], &set, at(NOW), PeerRole::Client).map_err(|e| e.name())
    };
    let right = Shape { subject: true, ..signer("spiffe://td") };
    assert!(check(&Shape { uris: vec!["spiffe://TD"], ..right.clone() }).is_ok());
    assert_eq!(check(&Shape { uris: vec!["spiffe://td/sa/x"], ..right.clone() }), Err("signer_with_path"));
    assert_eq!(
        check(&Shape { uris: vec!["spiffe://TD"], usages: vec![KeyUsagePurpose::CrlSign], ..right.clone() }),
        Err("key_usage_lacks")
    );
    assert!(
        check(&Shape { uris: vec!["spiffe://TD"], ca: false, ..right.clone() }).is_err(),
        "a member cannot vouch for others"
    );
    assert_eq!(check(&Shape { uris: vec!["spiffe://TD"], to: NOW - 1, ..right.clone() }), Err("expired"));
    assert_eq!(check(&Shape { uris: vec!["spiffe://TD"], from: NOW + 1, ..right }), Err("not_yet_valid"));
}

#[test]
fn a_bundle_takes_signing_certificates_only() {
    let refused = |shape: &Shape| {
        let (cert, _) = shape.self_signed();
        Bundle::new(td("td"), &[cert]).expect_err("refused").name()
    };
    assert_eq!(refused(&leaf(WEB)), "signer_is_no_ca");
    assert_eq!(refused(&Shape { usages: vec![], ..signer("spiffe://td") }), "no_key_usage");
    let critical = |critical| Shape {
        usages: vec![],
        custom: vec![key_usage(BIT_CERT_SIGN, critical)],
        ..signer("spiffe://td")
    };
    assert_eq!(refused(&critical(false)), "key_usage_not_critical");
    let company = Shape { uris: vec![], ..critical(false) };
    assert!(Bundle::new(td("td"), &[company.self_signed().0]).is_ok(), "a root that is no SVID");
    assert_eq!(Bundle::new(td("td"), &[]).expect_err("refused").name(), "empty_bundle");
    assert_eq!(Bundle::new(td("td"), &[vec![0x30, 0x00]]).expect_err("refused").name(), "malformed");
}

#[test]
fn an_authority_past_its_end_vouches_for_nobody() {
    let ca = Ca::root(&Shape { to: NOW - 1, ..signer("spiffe://td") });
    let (cert, _) = ca.sign(&leaf(WEB));
    let result = validate(&der(&cert), &[], &bundles([ca.bundle("td")]), at(NOW), PeerRole::Client);
    assert_eq!(result.map_err(|e| e.name()), Err("unknown_issuer"));
}

#[test]
fn no_byte_of_a_certificate_can_be_changed() {
    let ca = Ca::of("spiffe://td");
    let (cert, _) = ca.sign(&leaf(WEB));
    let set = bundles([ca.bundle("td")]);
    for at_byte in 0..cert.len() {
        for bit in [0x01, 0x80] {
            let mut changed = cert.clone();
            changed[at_byte] ^= bit;
            let result = validate(&der(&changed), &[], &set, at(NOW), PeerRole::Client);
            assert!(result.is_err(), "byte {at_byte} with {bit:#x}: {result:?}");
        }
    }
}

#[test]
fn bytes_after_the_certificate_or_none_at_all_are_refused() {
    let ca = Ca::of("spiffe://td");
    let (mut cert, _) = ca.sign(&leaf(WEB));
    cert.push(0);
    let set = bundles([ca.bundle("td")]);
    let check =
        |bytes: &[u8]| validate(&der(bytes), &[], &set, at(NOW), PeerRole::Client).map_err(|e| e.name());
    assert_eq!(check(&cert), Err("malformed"));
    assert_eq!(check(&[]), Err("malformed"));
    for end in 0..cert.len() - 1 {
        assert!(check(&cert[..end]).is_err());
    }
}
