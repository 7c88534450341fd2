//! Canaries: backends that lose their share when their sessions go worse than the others'.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Instant;

use msm_core::cluster::Outcome;
use msm_core::cluster::canary::{CanaryOptions, Judge, Side};
use msm_core::route::{CanaryRule, Route};
use tokio::sync::Notify;

use crate::serve::migration;
use crate::worker::Worker;

/// The canary of one route. Requests ask whether it is rolled back; sessions of all the route's backends report to it.
pub(crate) struct Canary {
    route: String,
    cluster: String,
    judge: Mutex<Judge>,
    is_rolled_back: AtomicBool,
    why: Mutex<Option<String>>,
    bell: Bell,
}

/// Rung when a canary is rolled back; nobody hears it before the cluster is started.
type Bell = Arc<OnceLock<Arc<Notify>>>;

impl Canary {
    fn new(route: &str, rule: &CanaryRule, bell: Bell) -> Self {
        let options = CanaryOptions {
            max_loss: Some(f64::from(rule.max_loss)),
            max_setup_failures: Some(f64::from(rule.max_setup_failures)),
            window: rule.window,
            ..CanaryOptions::default()
        };
        Self {
            route: route.to_owned(),
            cluster: rule.cluster.clone(),
            judge: Mutex::new(Judge::new(options)),
            is_rolled_back: AtomicBool::new(false),
            why: Mutex::default(),
            bell,
        }
    }

    /// Whether new streams are to leave this cluster out.
    pub(crate) fn leaves_out(&self, cluster: &str) -> bool {
        self.is_rolled_back.load(Ordering::Acquire) && self.cluster == cluster
    }

    /// Why its share went to the others, if it did.
    pub(crate) fn rolled_back(&self) -> Option<String> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// What became of a session with one of the route's clusters.
    fn handle(&self, now: Instant, cluster: &str, outcome: &Outcome) {
        let side = if cluster == self.cluster { Side::Canary } else { Side::Baseline };
        let mut judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
        judge.handle_outcome(now, side, outcome);
        let decided = judge.poll_event();
        drop(judge);
        if let Some(decided) = decided {
            self.roll_back(decided.to_string());
        }
    }

    /// Its share goes to the others, for streams that begin from now on; and for readers of a route that says `migrate`.
    fn roll_back(&self, why: String) {
        tracing::warn!(
            route = self.route,
            cluster = self.cluster,
            why,
            "canary rolled back: its weight is the others' until the route's `backends` or `canary` change"
        );
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.is_rolled_back.store(true, Ordering::Release);
        if let Some(bell) = self.bell.get() {
            bell.notify_one();
        }
    }
}

/// Has readers leave what is rolled back, until the process ends. Runs on one worker.
pub(crate) async fn follow(worker: Rc<Worker>) {
    let shared = Arc::clone(&worker.shared);
    let mut stopping = shared.stopping.subscribe();
    loop {
        tokio::select! {
            () = shared.turned.notified() => migration::move_readers(&shared).await,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

/// A session of a route that has a canary, with one of its clusters.
#[derive(Clone)]
pub(crate) struct OnTrial {
    pub(crate) canary: Arc<Canary>,
    pub(crate) cluster: String,
}

impl OnTrial {
    pub(crate) fn report(&self, outcome: &Outcome) {
        self.canary.handle(Instant::now(), &self.cluster, outcome);
    }
}

/// The canaries that a cluster is, by route, for as long as routes or sessions have them. They are found by it, as it stays when the
/// configuration changes elsewhere: what was rolled back then stays so.
#[derive(Default)]
pub(crate) struct Canaries {
    all: Mutex<BTreeMap<String, (Shares, Weak<Canary>)>>,
    bell: Bell,
}

/// What a change of begins anew.
type Shares = (CanaryRule, Vec<msm_core::route::Backend>);

impl Canaries {
    /// Rings this one from now on.
    pub(crate) fn ring(&self, bell: &Arc<Notify>) {
        let _ = self.bell.set(Arc::clone(bell));
    }

    /// The canary of a route: the one that there is, unless the route's shares or its rule have changed.
    pub(crate) fn of(&self, route: &Route, rule: &CanaryRule) -> Arc<Canary> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        // Of routes that are gone nothing is kept.
        all.retain(|_, (_, canary)| canary.strong_count() > 0);
        if let Some((shares, canary)) = all.get(&route.name)
            && shares.0 == *rule
            && shares.1 == route.backends
            && let Some(canary) = canary.upgrade()
        {
            return canary;
        }
        let canary = Arc::new(Canary::new(&route.name, rule, Arc::clone(&self.bell)));
        all.insert(route.name.clone(), ((rule.clone(), route.backends.clone()), Arc::downgrade(&canary)));
        canary
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use msm_core::route::{Backend, UrlPattern};
    use std::time::Duration;

    fn route(weight: u32) -> (Route, CanaryRule) {
        let mut route = Route::new("r", UrlPattern::parse("/a").unwrap());
        let backend = |cluster: &str, weight| Backend { cluster: cluster.into(), weight };
        route.backends = vec![backend("old", 95), backend("new", weight)];
        let rule = CanaryRule {
            cluster: "new".into(),
            max_setup_failures: 2,
            max_loss: 1,
            window: Duration::from_secs(60),
        };
        (route, rule)
    }

    #[test]
    fn it_is_rolled_back_when_its_set_ups_fail_and_stays_so_until_its_share_changes() {
        let (own, rule) = route(5);
        let all = Canaries::default();
        let canary = all.of(&own, &rule);
        let now = Instant::now();
        for _ in 0..50 {
            canary.handle(now, "old", &Outcome::SetUp { took: Duration::ZERO });
        }
        assert!(!canary.leaves_out("new") && canary.rolled_back().is_none());
        for _ in 0..20 {
            canary.handle(now, "new", &Outcome::Unreachable);
        }
        assert!(canary.leaves_out("new") && !canary.leaves_out("old"));
        assert!(canary.rolled_back().unwrap().contains("could not be set up"), "{:?}", canary.rolled_back());
        assert!(all.of(&own, &rule).leaves_out("new"), "the configuration was loaded again");
        assert!(!all.of(&route(10).0, &rule).leaves_out("new"), "somebody tries again");
    }

    #[test]
    fn nothing_is_kept_of_routes_that_are_gone() {
        let all = Canaries::default();
        let mut now = None;
        for number in 0..100 {
            let (mut own, rule) = route(5);
            own.name = format!("r{number}");
            now = Some(all.of(&own, &rule));
        }
        assert!(now.is_some() && all.all.lock().unwrap().len() <= 2);
    }

    #[test]
    fn it_is_rolled_back_when_its_media_is_lost_and_the_others_is_not() {
        let (own, rule) = route(5);
        let canary = Canaries::default().of(&own, &rule);
        let start = Instant::now();
        for second in 0..30 {
            let now = start + Duration::from_secs(second);
            canary.handle(now, "old", &Outcome::Loss { lost: 1, expected: 5000 });
            canary.handle(now, "new", &Outcome::Loss { lost: 50, expected: 1000 });
        }
        assert!(canary.leaves_out("new"));
        assert!(canary.rolled_back().unwrap().contains("lost"), "{:?}", canary.rolled_back());
    }

    #[test]
    fn a_fault_of_all_backends_rolls_nothing_back() {
        let (own, rule) = route(5);
        let canary = Canaries::default().of(&own, &rule);
        for _ in 0..50 {
            canary.handle(Instant::now(), "old", &Outcome::TimedOut);
            canary.handle(Instant::now(), "new", &Outcome::TimedOut);
        }
        assert!(!canary.leaves_out("new"));
    }
}
