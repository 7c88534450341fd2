use rcgen::{CustomExtension, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use zeroize::Zeroizing;

use super::{MAX_CHAIN, PeerIdentity, PeerRole, X509Svid, validate};
use crate::identity::bundle::{Bundle, BundleSet};
use crate::identity::error::{Position, SvidError};
use crate::identity::testing::{Ca, NOW, Shape, at, der, key_usage, leaf, signer, svid, td};

const WEB: &str = "spiffe://td/ns/prod/sa/web";
const BITS_SIGNATURE: u8 = 0b1000_0000;
const BIT_CERT_SIGN: u8 = 0b0000_0100;
const BIT_CRL_SIGN: u8 = 0b0000_0010;

/// Signed by the right authority, so that only the shape can be wrong.
fn check(shape: &Shape) -> Result<PeerIdentity, SvidError> {
    let ca = Ca::of("spiffe://td");
    let (cert, _) = ca.sign(shape);
    validate(&der(&cert), &[], &bundles([ca.bundle("td")]), at(NOW), PeerRole::Client)
}

fn bundles(all: impl IntoIterator<Item = Bundle>) -> BundleSet {
    all.into_iter().collect()
}

fn reason(shape: &Shape) -> &'static str {
    check(shape).expect_err("refused").name()
}

fn with_usage(bits: u8, critical: bool) -> Shape {
    Shape { usages: vec![], custom: vec![key_usage(bits, critical)], ..leaf(WEB) }
}

#[test]
fn a_right_leaf_says_who_it_is_and_until_when() {
    let peer = check(&leaf(WEB)).expect("accepted");
    assert_eq!(peer.id.to_string(), WEB);
    assert_eq!(peer.expires, at(NOW + 3600));
}

#[test]
fn two_uri_sans_are_refused() {
    assert_eq!(
        check(&Shape { uris: vec![WEB, "spiffe://td/b"], ..leaf(WEB) }),
        Err(SvidError::SeveralUriSans(2))
    );
    let other = Shape { uris: vec![WEB, "https://example.org/"], ..leaf(WEB) };
    assert_eq!(check(&other), Err(SvidError::SeveralUriSans(2)), "a URI of another scheme counts");
}

#[test]
fn a_leaf_with_only_a_dns_name_is_refused() {
    let shape = Shape { uris: vec![], dns: vec!["web.example.org"], ..leaf(WEB) };
    assert_eq!(check(&shape), Err(SvidError::NoUriSan));
    assert_eq!(check(&Shape { uris: vec![], ..leaf(WEB) }), Err(SvidError::NoUriSan));
}

#[test]
fn a_dns_name_beside_the_id_is_ignored() {
    assert!(check(&Shape { dns: vec!["web.example.org"], ..leaf(WEB) }).is_ok());
}

#[test]
fn an_id_of_another_scheme_or_form_is_refused() {
    assert_eq!(reason(&leaf("https://td/ns/prod")), "bad_id");
    assert_eq!(reason(&leaf("spiffe://td/ns//prod")), "bad_id");
    assert_eq!(reason(&leaf("spiffe://td:1/ns")), "bad_id");
}

#[test]
fn a_leaf_without_a_path_is_refused() {
    assert_eq!(reason(&leaf("spiffe://td")), "leaf_without_path");
}

#[test]
fn a_ca_as_the_leaf_is_refused() {
    assert_eq!(check(&Shape { ca: true, ..leaf(WEB) }), Err(SvidError::LeafIsCa));
    let ca = Ca::of("spiffe://td");
    let own = validate(&der(&ca.der), &[], &bundles([ca.bundle("td")]), at(NOW), PeerRole::Client);
    assert_eq!(own, Err(SvidError::LeafIsCa));
}

#[test]
fn key_usage_has_to_be_there_and_critical() {
    assert_eq!(check(&Shape { usages: vec![], ..leaf(WEB) }), Err(SvidError::NoKeyUsage(Position::Leaf)));
    assert_eq!(
        check(&with_usage(BITS_SIGNATURE, false)),
        Err(SvidError::KeyUsageNotCritical(Position::Leaf))
    );
    assert!(check(&with_usage(BITS_SIGNATURE, true)).is_ok());
}

#[test]
fn a_leaf_signs_handshakes_and_nothing_else() {
    let encipherment = Shape { usages: vec![KeyUsagePurpose::KeyEncipherment], ..leaf(WEB) };
    assert_eq!(reason(&encipherment), "key_usage_lacks");
    assert_eq!(
        check(&with_usage(BITS_SIGNATURE | BIT_CERT_SIGN, true)),
        Err(SvidError::LeafMaySign("keyCertSign"))
    );
    assert_eq!(
        check(&with_usage(BITS_SIGNATURE | BIT_CRL_SIGN, true)),
        Err(SvidError::LeafMaySign("cRLSign"))
    );
}

#[test]
fn extended_key_usage_has_both_purposes_or_is_absent() {
    let only = |purpose| Shape { extended: vec![purpose], ..leaf(WEB) };
    assert_eq!(
        check(&only(ExtendedKeyUsagePurpose::ServerAuth)),
        Err(SvidError::ExtendedKeyUsageLacks("clientAuth"))
    );
    assert_eq!(
        check(&only(ExtendedKeyUsagePurpose::ClientAuth)),
        Err(SvidError::ExtendedKeyUsageLacks("serverAuth"))
    );
    assert_eq!(
        check(&only(ExtendedKeyUsagePurpose::Any)).map_err(|e| e.name()),
        Err("extended_key_usage_lacks")
    );
    assert!(check(&Shape { extended: vec![], ..leaf(WEB) }).is_ok());
}

#[test]
fn the_san_is_critical_if_there_is_no_subject() {
    assert!(check(&Shape { subject: false, ..leaf(WEB) }).is_ok(), "made critical by the issuer");
    let shape = Shape { subject: false, uris: vec![], custom: vec![san(&[WEB.as_bytes()])], ..leaf(WEB) };
    assert_eq!(check(&shape), Err(SvidError::SanNotCritical));
}

/// A SAN extension by hand, not critical: each URI is a `[6]`.
fn san(uris: &[&[u8]]) -> CustomExtension {
    let names: Vec<u8> = uris.iter().flat_map(|uri| [&[0x86, uri.len() as u8], *uri].concat()).collect();
    let content = [&[0x30, names.len() as u8], names.as_slice()].concat();
    CustomExtension::from_oid_content(&[2, 5, 29, 17], content)
}

#[test]
fn a_uri_that_is_no_text_counts_as_one() {
    let with = |uris: &[&[u8]]| Shape { uris: vec![], custom: vec![san(uris)], ..leaf(WEB) };
    assert!(check(&with(&[WEB.as_bytes()])).is_ok());
    assert_eq!(check(&with(&[WEB.as_bytes(), &[0xff]])), Err(SvidError::SeveralUriSans(2)));
    assert_eq!(reason(&with(&[&[0xff]])), "malformed");
    assert_eq!(reason(&with(&[b"spiffe://td/a\0b"])), "bad_id");
}

#[test]
fn an_extension_that_is_there_twice_is_refused() {
    let shape = Shape { custom: vec![key_usage(BITS_SIGNATURE, true)], ..leaf(WEB) };
    assert_eq!(reason(&shape), "malformed");
}

#[test]
fn time_has_to_lie_within_the_validity() {
    let expired = Shape { to: NOW - 1, ..leaf(WEB) };
    assert_eq!(reason(&expired), "expired");
    let early = Shape { from: NOW + 1, ..leaf(WEB) };
    assert_eq!(reason(&early), "not_yet_valid");
    assert!(check(&Shape { from: NOW, ..leaf(WEB) }).is_ok(), "both ends count");
    assert!(check(&Shape { to: NOW, ..leaf(WEB) }).is_ok(), "both ends count");
    let message = check(&Shape { to: NOW - 60, ..leaf(WEB) }).expect_err("refused").to_string();
    assert!(message.contains("60 s ago"), "{message}");
}

#[test]
fn a_self_signed_leaf_is_refused() {
    let ca = Ca::of("spiffe://td");
    let (cert, _) = leaf(WEB).self_signed();
    let result = validate(&der(&cert), &[], &bundles([ca.bundle("td")]), at(NOW), PeerRole::Server);
    assert_eq!(result.map_err(|e| e.name()), Err("unknown_issuer"));
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
    assert_eq!(check(&Shape { uris: vec!["spiffe://TD"], to: NOW - 1, ..right }), Err("path"));
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
fn the_key_has_to_be_the_leafs() {
    let ca = Ca::of("spiffe://td");
    let (cert, _) = ca.sign(&leaf(WEB));
    let other = KeyPair::generate().expect("key");
    let with =
        |key: Vec<u8>| X509Svid::new(vec![cert.clone()], Zeroizing::new(key)).expect_err("refused").name();
    assert_eq!(with(other.serialize_der()), "key_mismatch");
    assert_eq!(with(vec![1, 2, 3]), "bad_key");
    assert_eq!(X509Svid::new(vec![], Zeroizing::new(vec![])).expect_err("refused"), SvidError::EmptyChain);
    let long = vec![cert.clone(); MAX_CHAIN + 1];
    assert_eq!(X509Svid::new(long, Zeroizing::new(vec![])).expect_err("refused").name(), "chain_too_long");
}

#[test]
fn the_usual_kinds_of_key_fit_their_leaf() {
    let ca = Ca::of("spiffe://td");
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
    let elliptic = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
    for key in elliptic.into_iter().map(KeyPair::generate_for).chain([rsa]) {
        let key = key.expect("key");
        let cert = ca.sign_for(&leaf(WEB), &key);
        assert_eq!(svid(vec![cert], &key).id().to_string(), WEB);
    }
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
fn debug_shows_no_key() {
    let ca = Ca::of("spiffe://td");
    let (cert, key) = ca.sign(&leaf(WEB));
    let svid = svid(vec![cert], &key);
    assert_eq!(format!("{svid:?}"), format!("X509Svid({WEB}, expires {})", NOW + 3600));
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
