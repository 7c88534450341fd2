use reed_solomon_erasure::galois_8::ReedSolomon;

use super::*;

/// The crate's coefficients, by encoding unit symbols: of each repair, a source after the other.
fn reference(sources: usize, repairs: usize) -> Vec<Vec<u8>> {
    let code = ReedSolomon::new(sources, repairs).unwrap();
    let data: Vec<Vec<u8>> = (0..sources).map(|i| (0..sources).map(|c| u8::from(c == i)).collect()).collect();
    let mut parity = vec![vec![0; sources]; repairs];
    code.encode_sep(&data, &mut parity).unwrap();
    parity
}

#[test]
fn coefficients_are_the_crates_whatever_the_number_of_repairs() {
    for sources in [1, 2, 3, 4, 5, 8, 10, 20, 33, 50, 64, 100, 127, 128, 200, 254] {
        for repairs in [1, 2, 3, 5, 10, 55, 127, 255 - sources] {
            if sources + repairs > MAX_SYMBOLS {
                assert!(Parity::new(sources as u8, repairs as u8).is_none());
                continue;
            }
            let parity = Parity::new(sources as u8, repairs as u8).unwrap();
            for (repair, expected) in reference(sources, repairs).iter().enumerate() {
                let own: Vec<u8> = parity.of_repair(repair as u8).collect();
                assert_eq!(&own, expected, "repair {repair} of {sources} + {repairs}");
                assert_eq!(own.iter().fold(0, |sum, c| sum ^ c), 1);
            }
        }
    }
}

#[test]
fn the_example_of_the_document() {
    let parity = Parity::new(4, 2).unwrap();
    assert_eq!(parity.of_repair(0).collect::<Vec<_>>(), [0x1b, 0x1c, 0x12, 0x14]);
    assert_eq!(parity.of_repair(1).collect::<Vec<_>>(), [0x1c, 0x1b, 0x14, 0x12]);
    assert_eq!(parity.of_sources(1, 2), [0x1c, 0x1b, 0x12, 0x14]);
    assert!(parity.of_sources(3, 2).is_empty());
}

#[test]
fn no_coefficients_beyond_the_field() {
    for (sources, repairs) in [(0, 1), (1, 0), (128, 128), (255, 1), (1, 255)] {
        assert!(Parity::new(sources, repairs).is_none());
    }
    let largest = Parity::new(127, 128).unwrap();
    assert!(largest.coefficients.len() == MAX_COEFFICIENTS);
}

#[test]
fn lost_sources_are_the_sum_of_the_others() {
    let mut solution = Solution::default();
    for (sources, lost, repairs) in [
        (1, vec![0], vec![1]),
        (4, vec![0, 3], vec![7, 4]),
        (10, vec![9], vec![254]),
        (20, vec![3, 4, 5, 19], vec![20, 22, 23, 40]),
        (127, (0..127).collect(), (127..254).collect()),
        (254, vec![77], vec![254]),
    ] {
        let parity = Parity::new(sources, 255 - sources).unwrap();
        let data: Vec<u8> = (0..sources).map(|i| i.wrapping_mul(37).wrapping_add(11)).collect();
        let symbol = |point: u8| match data.get(usize::from(point)) {
            Some(symbol) => *symbol,
            None => parity.of_repair(point - sources).zip(&data).fold(0, |sum, (c, d)| sum ^ gf::mul(c, *d)),
        };
        assert!(solution.set(sources, &lost, &repairs));
        let mut recovered = vec![0; lost.len()];
        let used = (0..sources).filter(|i| !lost.contains(i)).chain(repairs.iter().copied());
        let used: Vec<u8> = used.collect();
        let mut coefficients = Vec::new();
        solution.coefficients(&used, &mut coefficients);
        for (point, coefficients) in used.iter().zip(coefficients.chunks(lost.len())) {
            for (recovered, coefficient) in recovered.iter_mut().zip(coefficients) {
                *recovered ^= gf::mul(*coefficient, symbol(*point));
            }
        }
        let expected: Vec<u8> = lost.iter().map(|i| data[usize::from(*i)]).collect();
        assert_eq!(recovered, expected, "{sources}: {lost:?} from {repairs:?}");
    }
}

#[test]
fn what_has_no_solution_is_refused() {
    let mut solution = Solution::default();
    assert!(!solution.set(4, &[0, 1], &[4]));
    assert!(!solution.set(4, &[0, 0], &[4, 5]));
    assert!(!solution.set(4, &[0, 1], &[5, 5]));
    assert!(!solution.set(4, &[4], &[5]));
    assert!(!solution.set(4, &[3], &[3]));
    assert_eq!(solution.lost(), 0);
}

#[test]
fn lengths_combine_like_any_two_bytes() {
    let parity = Parity::new(5, 3).unwrap();
    for lengths in [[1200_u16; 5], [1200, 1200, 80, 1200, 1500], [0, 1, 2, 3, 65_535], [7, 7, 7, 0, 0]] {
        for repair in 0..3 {
            let plain = parity.of_repair(repair).zip(lengths).fold([0; 2], |sum: [u8; 2], (c, length)| {
                let [high, low] = u16::to_be_bytes(length);
                [sum[0] ^ gf::mul(c, high), sum[1] ^ gf::mul(c, low)]
            });
            assert_eq!(combine_lengths(parity.of_repair(repair).zip(lengths)), u16::from_be_bytes(plain));
        }
    }
}
