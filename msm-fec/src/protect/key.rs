//! Conditions, so coarse that a path that does not change has the same ones again and again.

use std::time::Duration;

use crate::control::{Channel, Conditions, Limits, Plan, Traffic};

/// Plans that are remembered.
const REMEMBERED: usize = 8;

/// From one step to the next: of loss rates, of runs.
const LOSS: f64 = 1.04;
const RUN: f64 = 1.1;
/// More runs of losses are not told apart.
const MANY: f64 = 200.0;
/// Less loss than this is none.
const LEAST: f64 = 1e-5;
/// The most of an overhead that is told apart.
const SHARES: f64 = 200.0;

/// What plans are looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    runs: u16,
    loss: u16,
    run: u16,
    rtt: u32,
    detection: u32,
    packets: u32,
    interval: u32,
    length: u32,
    bytes: u32,
    longest: u32,
    overhead: u32,
}

/// To whole milliseconds up to 128, to 1/64 above.
fn time(time: Duration) -> u32 {
    let ms = time.as_micros().div_ceil(1000).min(1 << 24) as u32;
    coarse(ms, 128)
}

/// `value` itself up to `fine`; above, rounded up to as many steps from one power of two to the next as `fine` has halves.
fn coarse(value: u32, fine: u32) -> u32 {
    let step = (value / fine.max(1)).checked_ilog2().map_or(1, |log| 2u32 << log);
    value.div_ceil(step).saturating_mul(step)
}

fn whole(value: f64) -> u32 {
    // A conversion saturates, and makes zero of what is no number.
    value.round() as u32
}

impl Key {
    pub(super) fn of(conditions: &Conditions, limits: &Limits) -> Self {
        let Channel { loss, burst } = conditions.forward.sane();
        let steps = |ratio: f64, step: f64| (ratio.ln() / step.ln()).round().max(0.0) as u16;
        let Traffic { packets, interval, length, bytes, longest } = conditions.traffic;
        Self {
            runs: steps(conditions.runs.clamp(1.0, MANY), 1.5),
            loss: if loss < LEAST { 0 } else { 1 + steps(loss / LEAST, LOSS) },
            run: steps(burst, RUN),
            rtt: time(conditions.rtt),
            detection: time(conditions.detection),
            packets: coarse(whole(packets.clamp(1.0, 1e6)), 64),
            interval: time(interval),
            length: time(length),
            bytes: coarse(whole(bytes.clamp(1.0, 1e6)), 256),
            longest: coarse(whole(longest.clamp(1.0, 1e6)), 256),
            overhead: (limits.overhead * SHARES).clamp(0.0, 1e6) as u32,
        }
    }

    /// The conditions that stand for all of the key.
    pub(super) fn conditions(&self, budget: Duration) -> Conditions {
        let ms = |ms: u32| Duration::from_millis(ms.into());
        let loss = self.loss.checked_sub(1).map_or(0.0, |steps| LEAST * LOSS.powi(steps.into()));
        let channel = Channel { loss, burst: RUN.powi(self.run.into()) }.sane();
        let traffic = Traffic {
            packets: self.packets.into(),
            interval: ms(self.interval),
            length: ms(self.length),
            bytes: self.bytes.into(),
            longest: self.longest.into(),
        };
        let (rtt, detection) = (ms(self.rtt), ms(self.detection));
        let runs = 1.5_f64.powi(self.runs.into());
        Conditions { runs, forward: channel, back: channel, rtt, detection, budget, traffic }
    }
}

/// Plans that were made, the last used first.
#[derive(Debug, Default)]
pub(super) struct Plans(Vec<(Key, Plan)>);

impl Plans {
    pub(super) fn get(&mut self, key: Key) -> Option<Plan> {
        let place = self.0.iter().position(|(other, _)| *other == key)?;
        self.0.get_mut(..=place)?.rotate_right(1);
        self.0.first().map(|(_, plan)| plan.clone())
    }

    pub(super) fn insert(&mut self, key: Key, plan: Plan) {
        self.0.truncate(REMEMBERED - 1);
        self.0.insert(0, (key, plan));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(loss: f64, burst: f64, rtt: Duration) -> Conditions {
        let channel = Channel { loss, burst };
        let traffic =
            Traffic { packets: 33.0, interval: 40 * MS, length: 3 * MS, bytes: 1200.0, longest: 1200.0 };
        Conditions {
            runs: 50.0,
            forward: channel,
            back: channel,
            rtt,
            detection: 2 * MS,
            budget: 100 * MS,
            traffic,
        }
    }

    #[test]
    fn what_is_near_is_the_same_and_stands_for_itself() {
        let limits = Limits::default();
        let key = Key::of(&at(0.05, 3.0, 20 * MS), &limits);
        assert_eq!(key, Key::of(&at(0.0505, 3.05, MS * 39 / 2), &limits));
        for other in [at(0.06, 3.0, 20 * MS), at(0.05, 4.0, 20 * MS), at(0.05, 3.0, 21 * MS)] {
            assert_ne!(key, Key::of(&other, &limits));
        }
        assert_ne!(key, Key::of(&at(0.05, 3.0, 20 * MS), &Limits { overhead: 0.4, ..limits }));
        for (loss, burst, rtt) in [(0.0, 1.0, 2), (0.001, 1.0, 20), (0.2, 10.0, 300), (0.05, 3.0, 5000)] {
            let conditions = at(loss, burst, rtt * MS);
            let stands = Key::of(&conditions, &limits).conditions(conditions.budget);
            let near = |a: f64, b: f64| (a - b).abs() <= 0.051 * b;
            assert!(
                near(stands.forward.loss, loss)
                    && near(stands.forward.burst, conditions.forward.sane().burst)
            );
            assert!(
                stands.rtt >= conditions.rtt && near(stands.rtt.as_secs_f64(), conditions.rtt.as_secs_f64())
            );
            assert_eq!((stands.traffic, stands.detection), (conditions.traffic, conditions.detection));
            assert_eq!(Key::of(&stands, &limits), Key::of(&conditions, &limits));
        }
        let nan = f64::NAN;
        let traffic = Traffic {
            packets: nan,
            bytes: nan,
            longest: nan,
            interval: Duration::MAX,
            length: Duration::MAX,
        };
        let nonsense = Conditions { traffic, ..at(nan, nan, Duration::MAX) };
        let _ = Key::of(&nonsense, &limits).conditions(MS).plan(&limits);
    }

    #[test]
    fn the_last_plans_are_remembered() {
        let (limits, mut plans) = (Limits::default(), Plans::default());
        let keys: Vec<_> = (0..20).map(|rtt| Key::of(&at(0.05, 1.0, rtt * MS), &limits)).collect();
        let plan = at(0.05, 1.0, MS).plan(&limits);
        for key in &keys {
            plans.insert(*key, plan.clone());
            assert!(plans.get(keys[0]).is_some(), "it is used");
        }
        let kept = keys.iter().filter(|key| plans.get(**key).is_some()).count();
        assert_eq!(kept, REMEMBERED);
        assert!(plans.get(keys[1]).is_none() && plans.get(keys[19]).is_some());
    }
}
