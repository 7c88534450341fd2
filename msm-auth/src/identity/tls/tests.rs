use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, Error, HandshakeKind, NamedGroup, ProtocolVersion, ServerConfig};

mod handshake;

use self::handshake::{Outcome, handshake};
use super::{AllowedPeers, client_config, identity, peer, provider, server_config};
use crate::identity::bundle::BundleSet;
use crate::identity::error::SvidError;
use crate::identity::id::IdMatch;
use crate::identity::source::IdentitySource;
use crate::identity::testing::{Ca, Clock, Held, NOW, Shape, at, leaf};
use crate::identity::verify::{OwnSvid, PeerVerifier};

const WEB: &str = "spiffe://td/web";
const CAM: &str = "spiffe://td/cam";

/// Two members of one trust domain, and what a test turns.
struct Pair {
    ca: Ca,
    web: Arc<Held>,
    cam: Arc<Held>,
    clock: Arc<Clock>,
}

impl Pair {
    fn new() -> Self {
        let ca = Ca::of("spiffe://td");
        let member = |id| Held::new(ca.svid(&leaf(id)), [ca.bundle("td")]);
        Self { web: member(WEB), cam: member(CAM), ca, clock: Clock::new() }
    }

    fn server(&self) -> Arc<ServerConfig> {
        server_config(self.web.clone(), self.clock.clone()).expect("server")
    }

    fn client(&self) -> Arc<ClientConfig> {
        self.client_that_allows(AllowedPeers::AnyAuthenticated)
    }

    fn client_that_allows(&self, allowed: AllowedPeers) -> Arc<ClientConfig> {
        client_config(self.cam.clone(), allowed, self.clock.clone()).expect("client")
    }

    fn shake(&self) -> Outcome {
        handshake(&self.client(), &self.server())
    }

    /// A client of another make, which checks servers as ours does.
    fn strange_verifier(&self) -> Arc<dyn ServerCertVerifier> {
        let algorithms = default_provider().signature_verification_algorithms;
        let allowed = AllowedPeers::AnyAuthenticated;
        Arc::new(PeerVerifier { source: self.cam.clone(), algorithms, allowed })
    }
}

fn only(matcher: &str) -> AllowedPeers {
    AllowedPeers::Only(vec![IdMatch::parse(matcher).expect("matcher")])
}

#[test]
fn each_side_learns_who_the_other_is() {
    let (client, server) = Pair::new().shake().ok();
    let seen = peer(&client).expect("the server's identity");
    assert_eq!((seen.id.to_string().as_str(), seen.expires), (WEB, at(NOW + 3600)));
    assert_eq!(peer(&server).expect("the client's identity").id.to_string(), CAM);
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(client.alpn_protocol(), Some(&b"msm/1"[..]));
    assert_eq!(server.server_name(), None, "no name is sent");
    let group = client.negotiated_key_exchange_group().expect("a group").name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
}

#[test]
fn both_sides_derive_the_same_keys_for_media() {
    let (client, server) = Pair::new().shake().ok();
    let of_client = client.export_keying_material([0; 44], b"label", Some(b"context")).expect("exported");
    let of_server = server.export_keying_material([0; 44], b"label", Some(b"context")).expect("exported");
    assert_eq!(of_client, of_server);
    assert_ne!(of_client, [0; 44]);
}

#[test]
fn tls_1_2_is_refused_on_both_sides() {
    let pair = Pair::new();
    let provider = Arc::new(default_provider());
    let old = ClientConfig::builder_with_details(provider.clone(), pair.clock.clone())
        .with_protocol_versions(&[&TLS12])
        .expect("the test's rustls speaks TLS 1.2")
        .dangerous()
        .with_custom_certificate_verifier(pair.strange_verifier())
        .with_no_client_auth();
    let outcome = handshake(&Arc::new(old), &pair.server());
    assert!(matches!(outcome.server_error, Some(Error::PeerIncompatible(_))), "{:?}", outcome.server_error);

    let own = Arc::new(OwnSvid { source: pair.web.clone(), clock: pair.clock.clone() });
    let old = ServerConfig::builder_with_details(provider, pair.clock.clone())
        .with_protocol_versions(&[&TLS12])
        .expect("the test's rustls speaks TLS 1.2")
        .with_no_client_auth()
        .with_cert_resolver(own);
    let outcome = handshake(&pair.client(), &Arc::new(old));
    assert!(matches!(outcome.server_error, Some(Error::PeerIncompatible(_))), "{:?}", outcome.server_error);
    assert!(outcome.client_error.is_some());
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let pair = Pair::new();
    let anonymous = ClientConfig::builder_with_details(provider(), pair.clock.clone())
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(pair.strange_verifier())
        .with_no_client_auth();
    let outcome = handshake(&Arc::new(anonymous), &pair.server());
    assert_eq!(outcome.server_error, Some(Error::NoCertificatesPresented));
    assert_eq!(peer(&outcome.server), Err(SvidError::NoPeerCertificate));
}

#[test]
fn a_peer_that_does_not_speak_the_protocol_is_told_apart() {
    let pair = Pair::new();
    let mut client = ClientConfig::clone(&pair.client());
    client.alpn_protocols.clear();
    let (_, server) = handshake(&Arc::new(client.clone()), &pair.server()).ok();
    assert_eq!(peer(&server), Err(SvidError::NoAlpn));
    assert_eq!(
        identity(&server).map(|own| own.id.to_string()),
        Ok(CAM.into()),
        "and who it is, all the same"
    );
    client.alpn_protocols = vec![b"h2".to_vec()];
    let outcome = handshake(&Arc::new(client), &pair.server());
    assert_eq!(outcome.server_error, Some(Error::NoApplicationProtocol));
}

#[test]
fn a_renewed_svid_is_used_by_the_next_handshake() {
    let pair = Pair::new();
    let (client, server) = (pair.client(), pair.server());
    let (before, _) = handshake(&client, &server).ok();
    let renewed = pair.ca.svid(&Shape { to: NOW + 7200, ..leaf("spiffe://td/web/v2") });
    pair.web.put(renewed, [pair.ca.bundle("td")].into_iter().collect());
    let (after, _) = handshake(&client, &server).ok();
    assert_eq!(
        peer(&after).map(|p| (p.id.to_string(), p.expires)),
        Ok(("spiffe://td/web/v2".into(), at(NOW + 7200)))
    );
    assert_eq!(peer(&before).map(|p| p.id.to_string()), Ok(WEB.into()), "a connection that is there stays");
    assert_eq!(pair.web.snapshot().map(|s| s.version), Some(2));
}

#[test]
fn no_session_is_resumed() {
    let pair = Pair::new();
    let (client, server) = (pair.client(), pair.server());
    for _ in 0..2 {
        let (client, server) = handshake(&client, &server).ok();
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(client.tls13_tickets_received(), 0);
    }
}

#[test]
fn a_withdrawn_bundle_counts_at_the_next_handshake() {
    let pair = Pair::new();
    let (client, server) = (pair.client(), pair.server());
    handshake(&client, &server).ok();
    pair.web.put(pair.ca.svid(&leaf(WEB)), BundleSet::new());
    let outcome = handshake(&client, &server);
    assert_eq!(outcome.server_refusal().name(), "no_bundle");
    assert!(outcome.client_error.is_some(), "the client is told by an alert");
}

#[test]
fn a_withdrawn_identity_ends_handshakes_on_either_side() {
    let pair = Pair::new();
    pair.web.withdraw();
    assert!(pair.shake().server_error.is_some());

    let pair = Pair::new();
    pair.cam.withdraw();
    assert_eq!(pair.shake().client_refusal(), &SvidError::NoIdentity);
}

#[test]
fn an_expired_svid_is_neither_shown_nor_accepted() {
    let pair = Pair::new();
    pair.clock.set(NOW + 3601);
    let outcome = pair.shake();
    let told = outcome.client_error.expect("the server has nothing to show");
    assert!(matches!(told, Error::AlertReceived(_)), "the client had nothing to refuse: {told}");

    let pair = Pair::new();
    let late = Clock::new();
    late.set(NOW + 3601);
    let client = client_config(pair.cam.clone(), AllowedPeers::AnyAuthenticated, late).expect("client");
    assert_eq!(handshake(&client, &pair.server()).client_refusal().name(), "expired");

    let short = Shape { to: NOW + 60, ..leaf(CAM) };
    pair.cam.put(pair.ca.svid(&short), [pair.ca.bundle("td")].into_iter().collect());
    let late = Clock::new();
    late.set(NOW + 61);
    let server = server_config(pair.web.clone(), late).expect("server");
    assert_eq!(handshake(&pair.client(), &server).server_refusal().name(), "expired");
}

#[test]
fn a_federated_member_is_accepted_by_its_own_bundle_only() {
    let (home, abroad) = (Ca::of("spiffe://td"), Ca::of("spiffe://abroad"));
    let clock = Clock::new();
    let guest =
        Held::new(abroad.svid(&leaf("spiffe://abroad/cam")), [abroad.bundle("abroad"), home.bundle("td")]);
    let client = client_config(guest, AllowedPeers::AnyAuthenticated, clock.clone()).expect("client");
    let web = || home.svid(&leaf(WEB));

    let host = Held::new(web(), [home.bundle("td")]);
    let server = server_config(host.clone(), clock).expect("server");
    assert_eq!(handshake(&client, &server).server_refusal().name(), "no_bundle");

    host.put(web(), [home.bundle("td"), abroad.bundle("abroad")].into_iter().collect());
    let (_, accepted) = handshake(&client, &server).ok();
    assert_eq!(peer(&accepted).map(|p| p.id.to_string()), Ok("spiffe://abroad/cam".into()));

    host.put(web(), [abroad.bundle("td"), home.bundle("abroad")].into_iter().collect());
    assert_eq!(handshake(&client, &server).server_refusal().name(), "unknown_issuer");
}

#[test]
fn a_client_refuses_a_server_that_is_not_the_one_it_wants() {
    let pair = Pair::new();
    handshake(&pair.client_that_allows(only("spiffe://td/*")), &pair.server()).ok();
    handshake(&pair.client_that_allows(only(WEB)), &pair.server()).ok();
    for allowed in [only("spiffe://td/other"), only("spiffe://abroad"), AllowedPeers::Only(vec![])] {
        let outcome = handshake(&pair.client_that_allows(allowed), &pair.server());
        assert_eq!(outcome.client_refusal().name(), "not_allowed");
        assert!(peer(&outcome.server).is_err(), "and shows it nothing");
    }
}

#[test]
fn a_server_tells_welcome_peers_from_others_after_the_handshake() {
    let (_, server) = Pair::new().shake().ok();
    let cam = peer(&server).expect("authenticated");
    assert_eq!(only(CAM).check(&cam), Ok(()));
    assert_eq!(AllowedPeers::AnyAuthenticated.check(&cam), Ok(()));
    assert_eq!(only(WEB).check(&cam), Err(SvidError::NotAllowed(cam.id)));
}
