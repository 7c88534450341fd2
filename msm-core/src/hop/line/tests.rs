use super::*;
use crate::rng::Rng;

/// Sends the original numbers; `way` says which packets arrive, in which order. Yields what the receiver makes of them.
fn cross(
    send: &mut SendLine,
    receive: &mut ReceiveLine,
    originals: &[u16],
    way: impl Fn(usize) -> Option<usize>,
) -> Vec<(u16, Option<u16>)> {
    let mut sent = Vec::new();
    for original in originals {
        let index = send.next_index();
        sent.push((index, *original, send.next(*original, Part::Whole).trailer.original));
    }
    let mut order: Vec<_> = (0..sent.len()).filter_map(|place| way(place).map(|at| (at, place))).collect();
    order.sort_unstable();
    order
        .into_iter()
        .map(|(_, place)| (sent[place].1, receive.handle(sent[place].0, sent[place].2)))
        .collect()
}

fn all_right(crossed: &[(u16, Option<u16>)]) {
    for (original, received) in crossed {
        assert_eq!(*received, Some(*original), "{crossed:?}");
    }
}

#[test]
fn consecutive_numbers_need_no_word_once_the_first_is_known() {
    let mut line = SendLine::new(40_000);
    let first = line.next(65_535, Part::Whole);
    assert_eq!(first.sequence, 40_000 & 0x7fff);
    assert_eq!(first.trailer.original, Some(Original { sequence: 65_535, age: 0 }));
    assert_eq!(line.next(0, Part::Whole).trailer.original, Some(Original { sequence: 0, age: 1 }));
    line.handle_report(40_000 & 0x7fff);
    assert_eq!(line.next(1, Part::Whole).trailer.original, None);
    // A gap upstream.
    assert_eq!(line.next(5, Part::Whole).trailer.original, Some(Original { sequence: 5, age: 0 }));
    // A report of a packet before it does not make it known.
    line.handle_report((40_000 & 0x7fff) + 2);
    assert_eq!(line.next(6, Part::Whole).trailer.original, Some(Original { sequence: 6, age: 1 }));
}

#[test]
fn gaps_upstream_stay_gaps_and_losses_on_the_hop_are_counted_apart() {
    let (mut send, mut receive) = (SendLine::new(9), ReceiveLine::default());
    let originals = [10, 11, 12, 20, 21, 22, 23, 40, 41];
    // The packets that begin each run are lost on the hop.
    let crossed =
        cross(&mut send, &mut receive, &originals, |place| (![3, 7].contains(&place)).then_some(place));
    all_right(&crossed);
    assert_eq!(crossed.len(), 7);
    assert_eq!(receive.lost(), 2);
    let report = receive.report().unwrap();
    assert_eq!((report.cumulative_lost, report.highest), (2, 9 + 8));
    assert_eq!(report.fraction_lost, (2 * 256 / 9) as u8);
    assert_eq!(receive.report().unwrap().fraction_lost, 0);
}

#[test]
fn reordering_across_a_change_is_told_by_age() {
    let (mut send, mut receive) = (SendLine::new(1), ReceiveLine::default());
    all_right(&cross(&mut send, &mut receive, &[7, 8], Some));
    send.handle_report(2);
    let late = send.next(9, Part::Whole);
    assert_eq!(late.trailer.original, None);
    let index = send.next_index() - 1;
    all_right(&cross(&mut send, &mut receive, &[30, 31, 32], Some));
    assert_eq!(receive.handle(index, None), Some(9));
}

#[test]
fn any_gaps_losses_and_reports_leave_no_wrong_number() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let (mut send, mut receive) = (SendLine::new(rng.next_u16()), ReceiveLine::default());
        let mut original = rng.next_u16();
        for _ in 0..50 {
            let originals: Vec<u16> = (0..20)
                .map(|_| {
                    original = original.wrapping_add(if rng.next_u32().is_multiple_of(8) { 3 } else { 1 });
                    original
                })
                .collect();
            let (loss, swap) = (rng.next_u64(), rng.next_u64());
            let crossed = cross(&mut send, &mut receive, &originals, |place| {
                (loss >> place & 3 != 0).then_some(place + 3 * usize::from(swap >> place & 3 == 0))
            });
            for (sent, received) in &crossed {
                assert!(received.is_none_or(|received| received == *sent), "seed {seed}: {crossed:?}");
            }
            if rng.next_u32().is_multiple_of(2)
                && let Some(report) = receive.report()
            {
                send.handle_report(report.highest);
            }
        }
        assert!(receive.unknown() < 20, "seed {seed}: {}", receive.unknown());
    }
}

#[test]
fn reports_that_make_no_sense_change_nothing() {
    let mut line = SendLine::new(5);
    line.handle_report(0);
    line.next(1, Part::Whole);
    line.handle_report(4);
    line.handle_report(6);
    line.handle_report(u32::MAX);
    assert!(line.next(2, Part::Whole).trailer.original.is_some());
}
