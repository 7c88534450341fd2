//! What protection costs where nothing is lost: a hop with repair packets for a fifth of the media, beside the same hop without.

use std::time::Duration;

use crate::Result;
use crate::fanout::{MEMBERS, PAIRS, Stage, UNPROTECTED};
use crate::members::Authority;
use crate::report::{Limit, Report, median};

/// Repair packets for a fifth of the media, whatever is lost.
const PROTECTED: &str = "{latency: 100ms, fec: 20%}";
/// Bursts are told apart by what is between them.
const GAP: Duration = Duration::from_millis(6);
/// Packets of a burst: frames of 2 and 8 Mbit/s.
const BURSTS: [usize; 2] = [8, 33];
/// Bursts of one measurement.
const COUNT: usize = 50;

/// A hop is one leg between two members: what both spend on it, the sender's reading from its publisher and the receiver's hub included.
/// Then, for who serves many, the sender's part alone.
///
/// `own` and `cpu` are the CPUs of what receives, and of the proxies that send.
///
/// # Errors
///
/// A proxy does not start, or does not send what it is given.
pub fn protected(report: &mut Report, own: Option<usize>, cpu: Option<usize>) -> Result<()> {
    let authority = Authority::new()?;
    println!("one hop, CPU time of both members; medians of {PAIRS} pairs");
    let ratios =
        compare(&authority, (own, cpu), (1, 1, 20), |stage, burst| stage.cost_of_both_ends(burst, COUNT))?;
    for (burst, ratio) in BURSTS.into_iter().zip(ratios) {
        report.bound(format!("protected hop, bursts of {burst}"), ratio, Limit::Most(1.25));
    }
    println!("\nto {MEMBERS} members, CPU time of the sending proxy alone; medians of {PAIRS} pairs");
    compare(&authority, (own, cpu), (61, MEMBERS, 100), Stage::cost)?;
    Ok(())
}

/// The medians of what protected costs beside unprotected, by the size of bursts.
fn compare(
    authority: &Authority,
    cpus: (Option<usize>, Option<usize>),
    (base, members, settle): (u8, usize, usize),
    mut cost: impl FnMut(&mut Stage, usize) -> Result<f64>,
) -> Result<Vec<f64>> {
    let mut bare = Stage::start("mesh", members, UNPROTECTED, authority, cpus, base)?;
    let mut protected = Stage::start("mesh", members, PROTECTED, authority, cpus, base + 30)?;
    for stage in [&mut bare, &mut protected] {
        stage.gap = GAP;
        // Until it is known how the source sends.
        for _ in 0..settle {
            cost(stage, BURSTS[1])?;
        }
    }
    println!("burst  unprotected ns  protected ns  protected / unprotected");
    let measure = |burst| {
        let mut costs: [Vec<f64>; 3] = Default::default();
        for pair in 0..PAIRS {
            let (one, other) = if pair % 2 == 0 {
                let one = cost(&mut bare, burst)?;
                (one, cost(&mut protected, burst)?)
            } else {
                let other = cost(&mut protected, burst)?;
                (cost(&mut bare, burst)?, other)
            };
            for (all, cost) in costs.iter_mut().zip([one, other, other / one]) {
                all.push(cost);
            }
        }
        let [one, other, ratio] = costs.map(|all| median(&all).unwrap_or(f64::NAN));
        println!("{burst:5}  {one:14.0}  {other:12.0}  {ratio:.2}");
        Ok(ratio)
    };
    BURSTS.into_iter().map(measure).collect()
}
