//! The Workload API source against a server that does what agents do, and what they should not.

#![cfg(feature = "workload-api")]
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use msm_auth::identity::UnixTime;
use msm_auth::identity::ephemeral::{Ephemeral, EphemeralCa};
use msm_auth::identity::id::{SpiffeId, TrustDomain};
use msm_auth::identity::source::{IdentitySource, SourceError};
use msm_auth::identity::workload::{ENDPOINT_VARIABLE, WorkloadApi, WorkloadConfig};
use support::agent::{Agent, State, Svid};
use tokio::time::timeout;
use tonic::Code;

/// Nothing here takes long; what does not come within this never will.
const SOON: Duration = Duration::from_secs(20);

fn td(name: &str) -> TrustDomain {
    TrustDomain::parse(name).expect("a trust domain")
}

fn ca(name: &str) -> EphemeralCa {
    EphemeralCa::new(Ephemeral::ForTests, td(name), UnixTime::now()).expect("an authority")
}

fn svid(ca: &EphemeralCa, id: &str, hint: &str) -> Svid {
    let spiffe_id = SpiffeId::parse(id).expect("an ID");
    let issued = ca.issue(&spiffe_id, Duration::from_secs(600), UnixTime::now()).expect("issued");
    Svid {
        spiffe_id: id.to_owned(),
        x509_svid: issued.chain.concat(),
        x509_svid_key: issued.key.to_vec(),
        bundle: ca.certificate().to_vec(),
        hint: hint.to_owned(),
    }
}

fn state(ca: &EphemeralCa, id: &str) -> State {
    State { svids: vec![svid(ca, id, "")], ..State::default() }
}

fn config(agent: &Agent) -> WorkloadConfig {
    WorkloadConfig { endpoint: Some(agent.endpoint()), initial_wait: SOON, hint: None }
}

/// An agent that grants `spiffe://td/web`, and a source that follows it.
async fn granted() -> (Agent, EphemeralCa, WorkloadApi) {
    let (agent, ca) = (Agent::start(), ca("td"));
    agent.push(state(&ca, "spiffe://td/web"));
    let source = WorkloadApi::connect(config(&agent)).await.expect("an identity");
    (agent, ca, source)
}

fn id(source: &WorkloadApi) -> Option<String> {
    source.snapshot().map(|snapshot| snapshot.svid.id().to_string())
}

async fn version(source: &WorkloadApi, wanted: u64) {
    let mut changes = source.changes();
    timeout(SOON, changes.wait_for(|version| *version >= wanted)).await.expect("in time").expect("alive");
}

/// Waits for a problem with this name, or for none.
async fn problem(source: &WorkloadApi, wanted: Option<&str>) {
    let found = async {
        while source.problem().map(|p| p.name()) != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, found).await.unwrap_or_else(|_| panic!("{wanted:?}, but {:?}", source.problem()));
}

#[tokio::test]
async fn the_first_state_is_the_identity() {
    let (_agent, _ca, source) = granted().await;
    assert_eq!(id(&source).as_deref(), Some("spiffe://td/web"));
    let snapshot = source.snapshot().expect("a snapshot");
    assert_eq!(snapshot.bundles.get(&td("td")).map(|bundle| bundle.len()), Some(1));
    assert_eq!((snapshot.version, source.problem().is_none()), (1, true));
}

#[tokio::test]
async fn a_pushed_state_replaces_the_last_one() {
    let (agent, ca, source) = granted().await;
    agent.push(state(&ca, "spiffe://td/renewed"));
    version(&source, 2).await;
    assert_eq!(id(&source).as_deref(), Some("spiffe://td/renewed"));
}

#[tokio::test]
async fn a_federated_bundle_that_a_state_lacks_is_withdrawn() {
    let (agent, ca, source) = granted().await;
    let abroad = self::ca("abroad");
    let mut federated = state(&ca, "spiffe://td/web");
    federated.federated_bundles.insert("spiffe://abroad".to_owned(), abroad.certificate().to_vec());
    agent.push(federated.clone());
    version(&source, 2).await;
    let has = |name: &str| source.snapshot().expect("a snapshot").bundles.get(&td(name)).is_some();
    assert!(has("td") && has("abroad"));
    federated.federated_bundles.clear();
    agent.push(federated);
    version(&source, 3).await;
    assert!(has("td") && !has("abroad"));
}

#[tokio::test]
async fn permission_denied_withdraws_until_it_is_granted_again() {
    let (agent, ca, source) = granted().await;
    agent.refuse(Code::PermissionDenied, "no identity issued");
    version(&source, 2).await;
    assert_eq!(id(&source), None);
    problem(&source, Some("withdrawn")).await;
    agent.push(state(&ca, "spiffe://td/web"));
    version(&source, 3).await;
    assert_eq!(id(&source).as_deref(), Some("spiffe://td/web"));
    problem(&source, None).await;
}

#[tokio::test]
async fn a_state_without_an_svid_withdraws() {
    let (agent, _ca, source) = granted().await;
    agent.push(State::default());
    version(&source, 2).await;
    assert_eq!(id(&source), None);
    problem(&source, Some("withdrawn")).await;
}

#[tokio::test]
async fn a_malformed_state_changes_nothing_and_is_reported() {
    let (agent, ca, source) = granted().await;
    let mut broken = state(&ca, "spiffe://td/web");
    broken.svids[0].x509_svid = vec![0xde, 0xad];
    agent.push(broken);
    problem(&source, Some("bad_message")).await;
    let mut other_key = state(&ca, "spiffe://td/web");
    other_key.svids[0].x509_svid_key = svid(&ca, "spiffe://td/web", "").x509_svid_key;
    agent.push(other_key);
    problem(&source, Some("key_mismatch")).await;
    assert_eq!(source.snapshot().expect("kept").version, 1);
    agent.push(state(&ca, "spiffe://td/next"));
    version(&source, 2).await;
    problem(&source, None).await;
}

#[tokio::test]
async fn the_identity_stays_while_the_agent_is_away() {
    let (mut agent, ca, source) = granted().await;
    agent.go_away();
    problem(&source, Some("agent_gone")).await;
    assert_eq!(id(&source).as_deref(), Some("spiffe://td/web"), "it is valid until it expires");
    agent.come_back();
    problem(&source, None).await;
    assert_eq!(source.snapshot().expect("kept").version, 1, "the same state again is no change");
    agent.push(state(&ca, "spiffe://td/after"));
    version(&source, 2).await;
    assert_eq!(id(&source).as_deref(), Some("spiffe://td/after"));
}

#[tokio::test]
async fn the_first_svid_counts_unless_a_hint_picks_another() {
    let (agent, ca) = (Agent::start(), ca("td"));
    let svids = vec![
        svid(&ca, "spiffe://td/first", ""),
        svid(&ca, "spiffe://td/second", "mesh"),
        svid(&ca, "spiffe://td/third", "mesh"),
    ];
    agent.push(State { svids, ..State::default() });
    let source = WorkloadApi::connect(config(&agent)).await.expect("an identity");
    assert_eq!(id(&source).as_deref(), Some("spiffe://td/first"));
    let hinted = WorkloadConfig { hint: Some("mesh".to_owned()), ..config(&agent) };
    let source = WorkloadApi::connect(hinted).await.expect("an identity");
    assert_eq!(id(&source).as_deref(), Some("spiffe://td/second"));
    agent.push(state(&ca, "spiffe://td/first"));
    version(&source, 2).await;
    assert_eq!(id(&source), None, "the hinted one is not granted any more");
}

#[tokio::test]
async fn an_agent_that_comes_late_is_waited_for() {
    let (mut agent, ca) = (Agent::start(), ca("td"));
    agent.push(state(&ca, "spiffe://td/web"));
    agent.go_away();
    let waiting = tokio::spawn(WorkloadApi::connect(config(&agent)));
    tokio::time::sleep(Duration::from_millis(150)).await;
    agent.come_back();
    let source = waiting.await.expect("no panic").expect("an identity");
    assert_eq!(id(&source).as_deref(), Some("spiffe://td/web"));
}

#[tokio::test]
async fn the_first_wait_is_bounded_and_says_what_is_missing() {
    let mut agent = Agent::start();
    let short = WorkloadConfig { initial_wait: Duration::from_secs(1), ..config(&agent) };
    let silent = WorkloadApi::connect(short.clone()).await.expect_err("nothing came");
    assert!(matches!(silent, SourceError::TimedOut { .. }), "{silent}");

    agent.refuse(Code::PermissionDenied, "no identity issued");
    let denied = WorkloadApi::connect(short.clone()).await.expect_err("nothing came").to_string();
    assert!(denied.contains("no identity issued") && denied.contains("registered"), "{denied}");

    agent.go_away();
    let absent = WorkloadApi::connect(short).await.expect_err("nothing came").to_string();
    assert!(absent.contains("does not answer") && absent.contains(&agent.endpoint()), "{absent}");
}

#[tokio::test]
async fn what_no_retry_can_mend_ends_the_wait_at_once() {
    let agent = Agent::start();
    for code in [Code::InvalidArgument, Code::Unimplemented] {
        agent.refuse(code, "not here");
        let calls = *agent.calls().borrow();
        let refused = timeout(SOON / 2, WorkloadApi::connect(config(&agent))).await.expect("at once");
        assert_eq!(refused.expect_err("refused").name(), "refused");
        assert_eq!(*agent.calls().borrow(), calls + 1, "asked once");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_none_is_refused() {
    for endpoint in ["/run/agent.sock", "unix://host/path", "tcp://name:80", "http://127.0.0.1:80", ""] {
        let config = WorkloadConfig { endpoint: Some(endpoint.to_owned()), ..WorkloadConfig::default() };
        let refused = WorkloadApi::connect(config).await.expect_err(endpoint);
        assert_eq!(refused.name(), "bad_endpoint", "{endpoint}");
    }
}

/// Set in a child of this test, to what connecting by the environment must come to.
const EXPECTED: &str = "MSM_TEST_BY_ENVIRONMENT";

#[tokio::test]
async fn the_environment_names_the_endpoint() {
    // A process may not change its own environment while threads run, so a child has the other one.
    if let Ok(expected) = std::env::var(EXPECTED) {
        let outcome = WorkloadApi::connect(WorkloadConfig::default()).await;
        let outcome =
            outcome.map_or_else(|e| e.name().to_owned(), |source| id(&source).expect("an identity"));
        assert_eq!(outcome, expected);
        return;
    }
    let (agent, _ca, _source) = granted().await;
    let child = |expected: &str, endpoint: Option<String>| {
        let mut child = std::process::Command::new(std::env::current_exe().expect("this test"));
        child.args(["--exact", "the_environment_names_the_endpoint"]).env(EXPECTED, expected);
        match endpoint {
            Some(endpoint) => child.env(ENDPOINT_VARIABLE, endpoint),
            None => child.env_remove(ENDPOINT_VARIABLE),
        };
        let output = child.output().expect("run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    };
    child("spiffe://td/web", Some(agent.endpoint()));
    child("no_endpoint", None);
}

#[tokio::test]
async fn a_bad_federated_bundle_does_not_cost_the_own_identity() {
    let (agent, ca, source) = granted().await;
    let mut federated = state(&ca, "spiffe://td/web");
    let no_authority = svid(&self::ca("abroad"), "spiffe://abroad/member", "").x509_svid;
    federated.federated_bundles.insert("spiffe://abroad".to_owned(), no_authority);
    agent.push(federated);
    version(&source, 2).await;
    let snapshot = source.snapshot().expect("a snapshot");
    assert!(snapshot.bundles.get(&td("abroad")).is_none() && snapshot.bundles.get(&td("td")).is_some());
}
