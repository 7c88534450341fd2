//! Who moves when an endpoint joins, leaves, is closed or is new.

use super::super::tests::{candidates, key};
use super::*;

const KEYS: u64 = 100_000;

fn maglev(all: &[Candidate]) -> Maglev {
    let mut own = Maglev::new(HashOn::Url, 65_537);
    own.set(all);
    own
}

/// Where each of the keys goes, by the endpoint's place.
fn homes(own: &mut Maglev, all: &[Candidate]) -> Vec<u64> {
    let mut rng = Rng::new(1);
    (0..KEYS).map(|number| all[own.pick(key(number), &mut rng, &[]).unwrap()].place).collect()
}

fn moved(before: &[u64], after: &[u64]) -> f64 {
    before.iter().zip(after).filter(|(before, after)| before != after).count() as f64 / KEYS as f64
}

#[test]
fn one_that_joins_or_leaves_moves_little_more_than_its_share() {
    for count in [2_usize, 3, 10, 100, 1000] {
        let all = candidates(&vec![1; count]);
        let before = homes(&mut maglev(&all), &all);
        for leaves in [0, count / 2, count - 1] {
            let mut fewer = all.clone();
            let gone = fewer.remove(leaves).place;
            let after = homes(&mut maglev(&fewer), &fewer);
            let share = before.iter().filter(|&&home| home == gone).count() as f64 / KEYS as f64;
            let moved = moved(&before, &after);
            // Joining is the same, seen backwards. What moves beside the share are entries that change hands among the others: who was refused by an entry of the
            // one that has gone gets it now, and leaves the one that it took instead. That is half a percent of all with this table.
            assert!(
                moved >= share && moved <= share * 1.25 + 0.0075,
                "{count} endpoints: {share} of the keys were its, {moved} moved"
            );
        }
    }
}

#[test]
fn one_that_is_closed_moves_its_keys_and_no_other_and_gets_them_back() {
    let mut all = candidates(&[1, 2, 3, 4]);
    let mut own = maglev(&all);
    let before = homes(&mut own, &all);
    all[2].open = false;
    own.update(2, &all[2]);
    let without = homes(&mut own, &all);
    for (before, without) in before.iter().zip(&without) {
        assert!(before == without || *before == all[2].place);
    }
    // Its keys go to the others by their weight, 1 : 2 : 4.
    let its = before.iter().filter(|&&home| home == all[2].place).count() as f64;
    let pairs = || before.iter().zip(&without).filter(|(before, after)| before != after);
    for (index, weight) in [(0, 1.0), (1, 2.0), (3, 4.0)] {
        let got = pairs().filter(|(_, home)| **home == all[index].place).count() as f64;
        let share: f64 = weight / 7.0;
        assert!(
            (got - its * share).abs() <= 5.0 * (its * share * (1.0 - share)).sqrt() + 2.0,
            "{index}: {got} of {its}"
        );
    }
    all[2].open = true;
    own.update(2, &all[2]);
    assert_eq!(homes(&mut own, &all), before);
}

#[test]
fn one_that_is_new_takes_more_and_more_of_its_keys_and_gives_none_back() {
    let mut all = candidates(&[1; 5]);
    let mut own = maglev(&all);
    let whole = homes(&mut own, &all);
    let place = all[3].place;
    let mut before: Vec<u64> = Vec::new();
    for tenths in 1..=10 {
        all[3].share = f64::from(tenths) / 10.0;
        own.update(3, &all[3]);
        let now = homes(&mut own, &all);
        let its = now.iter().filter(|&&home| home == place).count() as f64 / KEYS as f64;
        assert!((its - 0.2 * all[3].share).abs() < 0.02, "{tenths}: {its}");
        for (index, home) in now.iter().enumerate() {
            assert!(*home != place || whole[index] == place);
            assert!(before.is_empty() || before[index] != place || *home == place);
        }
        before = now;
    }
    assert_eq!(before, whole);
}

#[test]
fn all_processes_have_the_same_table() {
    let all = candidates(&[2, 1, 1, 3, 1]);
    let mut turned = all.clone();
    turned.rotate_left(2);
    turned.swap(0, 3);
    assert_eq!(homes(&mut maglev(&all), &all), homes(&mut maglev(&turned), &turned));
}

#[test]
fn each_gets_its_share_of_the_entries_to_one() {
    for weights in [&[1_u32; 7][..], &[1, 1000, 1, u32::MAX, 0], &[3, 2]] {
        let all = candidates(weights);
        let own = maglev(&all);
        assert_eq!(own.table.len(), 65_537);
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        for (index, &weight) in weights.iter().enumerate() {
            let got = own.table.iter().filter(|&&entry| entry as usize == index).count() as f64;
            let exact = 65_537.0 * f64::from(weight) / total as f64;
            assert!((got - exact).abs() <= 1.0, "{index}: {got} instead of {exact}");
        }
    }
}

#[test]
fn few_that_are_open_are_found() {
    let mut all = candidates(&[1; 1000]);
    let mut own = maglev(&all);
    for (index, candidate) in all.iter_mut().enumerate() {
        candidate.open = index == 617;
        own.update(index, candidate);
    }
    assert!(homes(&mut own, &all).iter().all(|&home| home == all[617].place));
}

#[test]
fn tables_have_a_prime_number_of_entries() {
    for (size, good) in [
        (65_537, true),
        (3, true),
        (2, false),
        (65_536, false),
        (1_000_003, true),
        (MAX_TABLE, true),
        (u32::MAX, false),
        (0, false),
        (9, false),
    ] {
        assert_eq!(is_table_size(size), good, "{size}");
    }
    assert_eq!(Maglev::new(HashOn::Url, 10).size, 65_537);
}
