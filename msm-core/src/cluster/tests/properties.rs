//! What holds whatever happens.

use proptest::prelude::*;

use super::*;

/// Endpoints that there are in all.
const HOSTS: usize = 7;

#[derive(Debug, Clone)]
enum Step {
    /// A session, after so many endpoints that were tried.
    Session {
        tried: usize,
    },
    End(usize),
    Outcome(usize, u64, Outcome),
    /// Until something is due, at most so many times; the checks of the endpoints whose bit is set fail.
    Time {
        steps: usize,
        failing: u8,
        unanswered: u8,
    },
    Bitrate(usize, u64),
    /// These are members, with these weights, zones and priorities.
    Members(Vec<(usize, u32, bool, u16)>),
    Options(usize, Option<u32>, Option<u32>, u8),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::SetUp { took: Duration::from_millis(1) }),
        Just(Outcome::Unreachable),
        Just(Outcome::TimedOut),
        prop_oneof![Just(401_u16), Just(404), Just(453), Just(503)]
            .prop_map(|status| Outcome::Refused { status }),
        Just(Outcome::Protocol),
        Just(Outcome::Reset),
        Just(Outcome::Silent),
        (any::<u64>(), any::<u64>()).prop_map(|(lost, expected)| Outcome::Loss { lost, expected }),
        (0..600_u64).prop_map(|packets| Outcome::Garbage { packets }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let limit = || prop_oneof![Just(None), (0..6_u32).prop_map(Some)];
    prop_oneof![
        6 => (0..3_usize).prop_map(|tried| Step::Session { tried }),
        3 => any::<usize>().prop_map(Step::End),
        8 => (0..HOSTS, 0..3_u64, outcome()).prop_map(|(host, url, outcome)| Step::Outcome(host, url, outcome)),
        4 => (0..40_usize, any::<u8>(), any::<u8>())
            .prop_map(|(steps, failing, unanswered)| Step::Time { steps, failing, unanswered }),
        1 => (0..HOSTS, 0..10_000_000_u64).prop_map(|(host, bits)| Step::Bitrate(host, bits)),
        1 => prop::collection::vec((0..HOSTS, 0..4_u32, any::<bool>(), 0..3_u16), 0..HOSTS).prop_map(Step::Members),
        1 => (0..pick::KINDS_OF_TESTS.len(), limit(), limit(), 0..100_u8)
            .prop_map(|(kind, all, each, panic)| Step::Options(kind, all, each, panic)),
    ]
}

fn options(kind: usize, sessions: Option<u32>, each: Option<u32>, panic_threshold: u8) -> ClusterOptions {
    // A small table, which is filled often.
    let balance = match pick::KINDS_OF_TESTS[kind] {
        BalanceKind::Maglev { on, .. } => BalanceKind::Maglev { on, table: 251 },
        other => other,
    };
    ClusterOptions {
        balance,
        zone: panic_threshold.is_multiple_of(2).then(|| "x".into()),
        slow_start: Duration::from_secs(u64::from(panic_threshold % 3) * 5),
        limits: ClusterLimits { sessions, sessions_per_endpoint: each },
        active: (!panic_threshold.is_multiple_of(5)).then(|| ActiveOptions::new(CheckKind::Tcp)),
        outlier: (!panic_threshold.is_multiple_of(7)).then(|| OutlierOptions {
            failures: 2,
            silences: 2,
            resets: 2,
            min_packets: 100,
            max_ejected: 60,
            ..OutlierOptions::default()
        }),
        panic_threshold,
    }
}

/// A session that this one is about is picked by the rules, or there is a reason why not.
fn session(bed: &mut Bed, tried: usize, held: &mut Vec<EndpointId>) -> Result<(), TestCaseError> {
    let tried: Vec<EndpointId> = bed.cluster.endpoints().map(|(id, _)| id).take(tried).collect();
    let limits = bed.cluster.options.limits;
    let all = bed.cluster.sessions();
    let views: Vec<_> = bed
        .cluster
        .view(bed.now)
        .map(|view| (view.id, view.sessions, view.health, view.spec.weight, view.spec.priority))
        .collect();
    let panic = bed.cluster.is_panicking();
    let well = |health: &Health| matches!(health, Health::Unknown | Health::Healthy);
    let may = |(id, sessions, health, weight, _): &(EndpointId, u32, Health, u32, u16)| {
        *weight > 0
            && (panic || well(health))
            && !tried.contains(id)
            && limits.sessions_per_endpoint.is_none_or(|most| *sessions < most)
    };
    let full = limits.sessions.is_some_and(|most| all >= u64::from(most));
    match bed.pick_without(&tried) {
        Ok(host) => {
            let id = bed.id(&host);
            let own = views.iter().find(|view| view.0 == id).unwrap();
            prop_assert!(may(own), "{host} was picked: {own:?}");
            let first = views.iter().filter(|view| may(view)).map(|view| view.4).min();
            prop_assert_eq!(Some(own.4), first, "{} has another priority: {:?}", host, views);
            prop_assert!(!full);
            prop_assert!(bed.cluster.check(id).is_ok(), "and it would have to leave at once");
            bed.cluster.begin(id);
            held.push(id);
        }
        Err(why) => {
            prop_assert!(full || !views.iter().any(may), "{why}, and there is one: {views:?}");
        }
    }
    Ok(())
}

fn time(bed: &mut Bed, steps: usize, failing: u8, unanswered: u8) -> Result<(), TestCaseError> {
    let is_in = |set: u8, host: &str| set & (1 << ((host.as_bytes()[0] - b'a') % 8)) != 0;
    for _ in 0..steps {
        let mut most = 2 * HOSTS;
        while let Some(check) = bed.cluster.poll_check(bed.now) {
            let host = &check.endpoint.host;
            let answer = if is_in(failing, host) { Err(CheckFailure::TimedOut) } else { Ok(()) };
            if !is_in(unanswered, host) {
                bed.cluster.handle_check(bed.now, check.id, answer);
            }
            most -= 1;
            prop_assert!(most > 0, "checks without end");
        }
        let Some((at, _)) = bed.cluster.poll_timeout() else { break };
        prop_assert!(at > bed.now, "what is due stays due");
        bed.now = at;
        bed.cluster.handle_timeout(at);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_ill_is_picked_no_limit_is_exceeded_and_time_goes_on(steps in prop::collection::vec(step(), 1..120)) {
        let mut bed = Bed::new(named(4), options(0, None, None, 31));
        let mut held: Vec<EndpointId> = Vec::new();
        for step in steps {
            let id = |bed: &Bed, host: usize| {
                bed.cluster.endpoints().map(|(id, _)| id).nth(host).unwrap_or(EndpointId(host as u64))
            };
            match step {
                Step::Session { tried } => session(&mut bed, tried, &mut held)?,
                Step::End(index) if !held.is_empty() => {
                    let index = index % held.len();
                    bed.cluster.end(held.swap_remove(index));
                }
                Step::End(_) => {
                    // Of nobody's.
                    bed.cluster.end(EndpointId(9999));
                }
                Step::Outcome(host, url, outcome) => {
                    let id = id(&bed, host);
                    bed.cluster.handle_outcome(bed.now, id, url, outcome);
                }
                Step::Time { steps, failing, unanswered } => time(&mut bed, steps, failing, unanswered)?,
                Step::Bitrate(host, bits) => {
                    let id = id(&bed, host);
                    bed.cluster.set_bitrate(id, bits);
                }
                Step::Members(members) => {
                    let mut specs = Vec::new();
                    for (host, weight, far, priority) in members {
                        let mut spec = named(HOSTS)[host].clone();
                        (spec.weight, spec.priority) = (weight, priority);
                        spec.zone = Some(if far { "y".into() } else { "x".into() });
                        specs.push(spec);
                    }
                    bed.cluster.set_endpoints(bed.now, &specs);
                }
                Step::Options(kind, all, each, panic) => {
                    bed.cluster.set_options(bed.now, options(kind, all, each, panic));
                }
            }
            while bed.cluster.poll_event().is_some() {}
            prop_assert_eq!(bed.cluster.sessions(), held.len() as u64);
            let of_members: Vec<EndpointId> = bed.cluster.endpoints().map(|(id, _)| id).collect();
            for view in bed.cluster.view(bed.now) {
                prop_assert_eq!(view.sessions as usize, held.iter().filter(|id| **id == view.id).count());
                prop_assert!(view.weight >= 0.0 && view.weight <= f64::from(view.spec.weight));
            }
            for id in &held {
                prop_assert!(of_members.contains(id) || bed.cluster.check(*id).is_err());
            }
            let usable = bed.cluster.view(bed.now).filter(|view| {
                view.spec.weight > 0 && matches!(view.health, Health::Unknown | Health::Healthy)
            });
            prop_assert_eq!(usable.count(), bed.cluster.usable);
        }
    }
}
