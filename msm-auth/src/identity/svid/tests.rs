use rcgen::{CustomExtension, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use zeroize::Zeroizing;

use super::{MAX_CHAIN, PeerIdentity, PeerRole, X509Svid, validate};
use crate::identity::bundle::{Bundle, BundleSet};
use crate::identity::error::{Position, SvidError};
use crate::identity::testing::{Ca, NOW, Shape, at, der, key_usage, leaf, svid};

pub(super) const WEB: &str = "spiffe://td/ns/prod/sa/web";
const BITS_SIGNATURE: u8 = 0b1000_0000;
pub(super) const BIT_CERT_SIGN: u8 = 0b0000_0100;
const BIT_CRL_SIGN: u8 = 0b0000_0010;

/// Signed by the right authority, so that only the shape can be wrong.
fn check(shape: &Shape) -> Result<PeerIdentity, SvidError> {
    let ca = Ca::of("spiffe://td");
    let (cert, _) = ca.sign(shape);
    validate(&der(&cert), &[], &bundles([ca.bundle("td")]), at(NOW), PeerRole::Client)
}

pub(super) fn bundles(all: impl IntoIterator<Item = Bundle>) -> BundleSet {
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
    let position = Position::Leaf;
    let (not_after, now) = (at(NOW - 1), at(NOW));
    assert_eq!(check(&expired), Err(SvidError::Expired { position, not_after, now }));
    let message = check(&Shape { to: NOW - 60, ..leaf(WEB) }).expect_err("refused").to_string();
    assert!(message.contains("60 s ago"), "{message}");
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
fn debug_shows_no_key() {
    let ca = Ca::of("spiffe://td");
    let (cert, key) = ca.sign(&leaf(WEB));
    let svid = svid(vec![cert], &key);
    assert_eq!(format!("{svid:?}"), format!("X509Svid({WEB}, expires {})", NOW + 3600));
}
