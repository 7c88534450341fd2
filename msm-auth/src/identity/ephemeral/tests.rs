use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::UnixTime;

use super::{Ephemeral, EphemeralCa, EphemeralSource};
use crate::identity::bundle::BundleSet;
use crate::identity::id::SpiffeId;
use crate::identity::source::IdentitySource;
use crate::identity::svid::{PeerRole, validate};
use crate::identity::testing::{NOW, at, der, td};

const TTL: Duration = Duration::from_secs(600);

fn ca(now: UnixTime) -> Arc<EphemeralCa> {
    Arc::new(EphemeralCa::new(Ephemeral::ForTests, td("demo"), now).expect("made"))
}

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).expect("an ID")
}

#[test]
fn what_it_issues_keeps_the_rules() {
    let ca = ca(at(NOW));
    let issued = ca.issue(&id("spiffe://demo/hop"), TTL, at(NOW)).expect("issued");
    let chain = issued.chain.clone();
    let svid = issued.into_svid().expect("key and leaf fit");
    assert_eq!(svid.not_after(), at(NOW + 600));
    let set: BundleSet = [ca.bundle().expect("bundle")].into_iter().collect();
    for role in [PeerRole::Client, PeerRole::Server] {
        let peer = validate(&der(&chain[0]), &[], &set, at(NOW), role).expect("valid");
        assert_eq!(peer.id, id("spiffe://demo/hop"));
        let late = validate(&der(&chain[0]), &[], &set, at(NOW + 601), role);
        assert_eq!(late.map_err(|e| e.name()), Err("expired"));
    }
}

#[test]
fn an_id_without_a_path_cannot_become_a_source() {
    let refused = EphemeralSource::new(ca(at(NOW)), id("spiffe://demo"), TTL, at(NOW));
    assert_eq!(refused.expect_err("refused").name(), "leaf_without_path");
}

#[test]
fn rotation_makes_a_new_key_and_a_new_version() {
    let source = EphemeralSource::new(ca(at(NOW)), id("spiffe://demo/hop"), TTL, at(NOW)).expect("made");
    let before = source.snapshot().expect("a snapshot");
    source.rotate(at(NOW + 300)).expect("rotated");
    let after = source.snapshot().expect("a snapshot");
    assert_eq!((before.version, after.version), (1, 2));
    assert_eq!(after.svid.not_after(), at(NOW + 900));
    assert_ne!(before.svid.chain().next(), after.svid.chain().next());
    assert_eq!(*source.changes().borrow(), 2);
}

#[test]
fn federated_bundles_come_and_go() {
    let abroad = EphemeralCa::new(Ephemeral::ForTests, td("abroad"), at(NOW)).expect("made");
    let source = EphemeralSource::new(ca(at(NOW)), id("spiffe://demo/hop"), TTL, at(NOW)).expect("made");
    let domains = || {
        let snapshot = source.snapshot().expect("a snapshot");
        snapshot.bundles.trust_domains().map(ToString::to_string).collect::<Vec<_>>()
    };
    source.federate([abroad.bundle().expect("bundle")].into_iter().collect(), at(NOW)).expect("done");
    assert_eq!(domains(), ["abroad", "demo"]);
    source.federate(BundleSet::new(), at(NOW)).expect("done");
    assert_eq!(domains(), ["demo"]);
}

#[tokio::test(start_paused = true)]
async fn a_rotating_source_renews_at_half_of_its_life() {
    let now = UnixTime::now();
    let source = EphemeralSource::new(ca(now), id("spiffe://demo/hop"), TTL, now).expect("made").rotating();
    tokio::time::sleep(TTL / 2 - Duration::from_secs(1)).await;
    assert_eq!(*source.changes().borrow(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(*source.changes().borrow(), 2);
    assert!(source.problem().is_none());
}
