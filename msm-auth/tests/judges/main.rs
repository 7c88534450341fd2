//! The agent that other tests of this crate speak to, judged by clients that others wrote: go-spiffe and PyPI's `spiffe`.
//!
//! If they read from it what it was told to say, and refuse what is wrong, then what `workload_api.rs` shows with it holds
//! for real agents, too.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/agent.rs"]
mod agent;
mod authority;
mod judge;
#[path = "../support/need.rs"]
mod need;

use agent::{Agent, State};
use authority::{Authority, line};
use judge::Judge;
use tonic::Code;

/// What an agent says to a workload whose trust domain is federated with another.
fn state(own: &Authority, abroad: &Authority) -> State {
    let federated = [("spiffe://abroad".to_owned(), abroad.bundle.clone())];
    State {
        svids: vec![own.svid("/proxy/a"), own.svid("/proxy/b")],
        federated_bundles: federated.into(),
        ..State::default()
    }
}

fn is_denied(line: &str) -> bool {
    line.starts_with("error ") && (line.contains("PermissionDenied") || line.contains("PERMISSION_DENIED"))
}

/// Fetched once; then followed through a rotation, the end of the federation, and a withdrawal.
fn sees_what_is_served(judge: Judge) {
    if !judge.is_here() {
        return;
    }
    let (agent, own, abroad) = (Agent::start(), Authority::new("td"), Authority::new("abroad"));
    let first = state(&own, &abroad);
    agent.push(first.clone());
    let said = judge.fetch(&agent.endpoint());
    assert_eq!(said, line(&first), "{judge:?}");
    assert!(said.contains(" spiffe://td/proxy/a certificates 2 "), "{said}");
    assert!(said.contains(" bundles abroad:2,td:2 "), "{said}");

    let watching = judge.watch(&agent.endpoint());
    assert_eq!(watching.line(), said, "{judge:?}");
    let calls = *agent.calls().borrow();
    let renewed = State { svids: vec![own.svid("/proxy/a")], ..first.clone() };
    let alone = State { svids: vec![own.svid("/proxy/a")], ..State::default() };
    for next in [renewed, alone] {
        assert_ne!(next.svids[0].x509_svid, first.svids[0].x509_svid);
        agent.push(next.clone());
        assert_eq!(watching.line(), line(&next), "{judge:?}");
    }
    assert_eq!(*agent.calls().borrow(), calls, "{judge:?} learnt it from the stream that it had");

    agent.refuse(Code::PermissionDenied, "no identity issued");
    let withdrawn = watching.line();
    assert!(is_denied(&withdrawn), "{judge:?}: {withdrawn}");
    let late = judge.fetch(&agent.endpoint());
    assert!(is_denied(&late) && late.contains("no identity issued"), "{judge:?}: {late}");
}

#[test]
fn go_spiffe_sees_what_the_agent_serves_rotates_and_withdraws() {
    sees_what_is_served(Judge::GoSpiffe);
}

#[test]
fn python_sees_what_the_agent_serves_rotates_and_withdraws() {
    sees_what_is_served(Judge::Python);
}

/// Something wrong in a state, and what each judge calls it.
struct Wrong {
    what: &'static str,
    spoil: fn(&mut State, &Authority),
    go: &'static str,
    python: &'static str,
}

const WRONG: [Wrong; 7] = [
    Wrong {
        what: "the key of another SVID",
        spoil: |state, own| state.svids[0].x509_svid_key = own.svid("/proxy/a").x509_svid_key,
        go: "leaf certificate does not match private key",
        python: "the private key is not the leaf's",
    },
    Wrong {
        what: "a key that is none",
        spoil: |state, _| state.svids[0].x509_svid_key.truncate(20),
        go: "cannot parse DER encoded private key",
        python: "Could not deserialize key data",
    },
    Wrong {
        what: "a chain cut short",
        spoil: |state, _| {
            state.svids[0].x509_svid.pop();
        },
        go: "cannot parse DER encoded certificate",
        python: "Unable to parse DER X.509 certificate",
    },
    Wrong {
        what: "an authority as the leaf",
        spoil: |state, own| state.svids[0].x509_svid = own.bundle.clone(),
        go: "certificate validation failed",
        python: "Leaf certificate must not have CA flag set to true",
    },
    Wrong {
        what: "an SVID that the bundle does not vouch for",
        spoil: |state, _| {
            state.svids[0] = {
                let bundle = std::mem::take(&mut state.svids[0].bundle);
                agent::Svid { bundle, ..Authority::new("td").svid("/proxy/a") }
            }
        },
        go: "could not verify leaf certificate",
        python: "VerificationError",
    },
    Wrong {
        what: "a federated bundle that is none",
        spoil: |state, _| {
            state.federated_bundles.insert("spiffe://abroad".to_owned(), vec![0xde, 0xad]);
        },
        go: "x509: malformed certificate",
        python: "Unable to parse DER X.509 certificate",
    },
    Wrong {
        what: "no SVID",
        spoil: |state, _| state.svids.clear(),
        go: "no SVIDs in response",
        python: "X.509 SVID response is empty",
    },
];

fn refuses_what_is_wrong(judge: Judge) {
    if !judge.is_here() {
        return;
    }
    let (agent, own, abroad) = (Agent::start(), Authority::new("td"), Authority::new("abroad"));
    // One SVID, as bundles of the same trust domain replace each other.
    let good = State { svids: vec![own.svid("/proxy/a")], ..state(&own, &abroad) };
    for Wrong { what, spoil, go, python } in WRONG {
        let mut wrong = good.clone();
        spoil(&mut wrong, &own);
        agent.push(wrong);
        let said = judge.fetch(&agent.endpoint());
        let reason = match judge {
            Judge::GoSpiffe => go,
            Judge::Python => python,
        };
        assert!(said.starts_with("error ") && said.contains(reason), "{judge:?}, {what}: {said}");
    }
    // Neither agent nor judge were at fault.
    agent.push(good.clone());
    assert_eq!(judge.fetch(&agent.endpoint()), line(&good));
}

#[test]
fn go_spiffe_refuses_what_is_wrong() {
    refuses_what_is_wrong(Judge::GoSpiffe);
}

#[test]
fn python_refuses_what_is_wrong() {
    refuses_what_is_wrong(Judge::Python);
}
