//! Every picker: shares are the weights, within five standard deviations of the binomial distribution (one run in 1.7 million would be
//! outside of them; the seeds are fixed, so a run is the same each time).

use super::*;
use crate::route::hash;

pub(super) fn candidates(weights: &[u32]) -> Vec<Candidate> {
    weights
        .iter()
        .enumerate()
        .map(|(index, &weight)| Candidate {
            place: hash(format!("rtsp://10.0.{}.{}:554", index / 256, index % 256).as_bytes()),
            weight,
            share: 1.0,
            sessions: 0,
            load: 0.0,
            open: true,
        })
        .collect()
}

/// The key of the `number`th client and URL.
pub(super) fn key(number: u64) -> PickKey {
    PickKey { client: hash(&number.to_be_bytes()), url: hash(&number.to_le_bytes()) }
}

pub(super) fn picks(picker: &mut dyn Picker, count: u64, tried: &[usize]) -> Vec<usize> {
    let mut rng = Rng::new(11);
    (0..count).map(|number| picker.pick(key(number), &mut rng, tried).unwrap()).collect()
}

pub(in super::super) const KINDS: [BalanceKind; 7] = [
    BalanceKind::RoundRobin,
    BalanceKind::LeastStreams,
    BalanceKind::LeastBitrate,
    BalanceKind::Random,
    BalanceKind::PowerOfTwo,
    BalanceKind::Maglev { on: HashOn::Url, table: 65_537 },
    BalanceKind::Maglev { on: HashOn::Client, table: 65_537 },
];

const PICKS: u64 = 100_000;

/// Each pick begins a session that sends 4 Mbit/s and stays.
fn spread(kind: BalanceKind, all: &mut [Candidate], tried: &[usize]) -> Vec<u64> {
    let mut picker = kind.picker();
    picker.set(all);
    let mut rng = Rng::new(5);
    let mut counts = vec![0; all.len()];
    for number in 0..PICKS {
        let index = picker.pick(key(number), &mut rng, tried).unwrap();
        counts[index] += 1;
        all[index].sessions += 1;
        all[index].load += 4e6;
        picker.update(index, &all[index]);
    }
    counts
}

fn assert_shares(what: &str, counts: &[u64], weights: &[f64]) {
    let total: f64 = weights.iter().sum();
    for (index, (&count, &weight)) in counts.iter().zip(weights).enumerate() {
        let share = weight / total;
        let bound = 5.0 * (PICKS as f64 * share * (1.0 - share)).sqrt();
        // A table of 65,537 entries has shares that are whole entries.
        let coarse = PICKS as f64 / 65_537.0;
        let off = (count as f64 - PICKS as f64 * share).abs();
        assert!(off <= bound + coarse, "{what}, {index}: {count} of {PICKS} instead of a share of {share}");
    }
}

#[test]
fn shares_are_the_weights() {
    for kind in KINDS {
        for weights in [&[1_u32; 10][..], &[5, 1, 1], &[95, 5], &[999, 1], &[1, 2, 3, 4, 0, 7], &[7; 100]] {
            let counts = spread(kind, &mut candidates(weights), &[]);
            let wanted: Vec<f64> = weights.iter().map(|&weight| f64::from(weight)).collect();
            assert_shares(kind.name(), &counts, &wanted);
        }
    }
}

#[test]
fn the_share_of_those_that_are_closed_tried_or_new_goes_to_the_others_by_weight() {
    for kind in KINDS {
        let mut all = candidates(&[3, 3, 2, 2, 1, 1]);
        all[0].open = false;
        all[4].share = 0.5;
        let counts = spread(kind, &mut all, &[2]);
        assert_eq!((counts[0], counts[2]), (0, 0), "{}", kind.name());
        assert_shares(kind.name(), &counts, &[0.0, 3.0, 0.0, 2.0, 0.5, 1.0]);
    }
}

#[test]
fn nobody_is_picked_where_nobody_may_be() {
    for kind in KINDS {
        let mut picker = kind.picker();
        let mut rng = Rng::new(1);
        assert_eq!(picker.pick(key(1), &mut rng, &[]), None);
        picker.set(&[]);
        assert_eq!(picker.pick(key(1), &mut rng, &[]), None);
        picker.set(&candidates(&[0, 0]));
        assert_eq!(picker.pick(key(1), &mut rng, &[]), None);
        let mut all = candidates(&[1, 1, 1]);
        picker.set(&all);
        assert_eq!(picker.pick(key(1), &mut rng, &[0, 1, 2, 2, 9]), None, "{}", kind.name());
        for (index, candidate) in all.iter_mut().enumerate() {
            candidate.open = false;
            picker.update(index, candidate);
        }
        assert_eq!(picker.pick(key(1), &mut rng, &[]), None, "{}", kind.name());
        all[1].open = true;
        picker.update(1, &all[1]);
        picker.update(9, &all[1]);
        assert_eq!(picker.pick(key(1), &mut rng, &[0, 2]), Some(1), "{}", kind.name());
    }
}

#[test]
fn sessions_are_spread_as_evenly_as_each_kind_promises() {
    for (kind, most) in [
        (BalanceKind::RoundRobin, 1),
        (BalanceKind::LeastStreams, 1),
        (BalanceKind::LeastBitrate, 1),
        // log log n and a constant, where one random choice is off by more than a hundred (Mitzenmacher 1996).
        (BalanceKind::PowerOfTwo, 5),
    ] {
        let counts = spread(kind, &mut candidates(&[1; 100]), &[]);
        let (least, highest) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(highest - PICKS / 100 <= most, "{}: {least} to {highest}", kind.name());
    }
}
