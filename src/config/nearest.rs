//! The known key nearest to a mistyped one.

/// The nearest of `known`, if near enough to be what was meant.
pub(super) fn nearest<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let typed: Vec<char> = typed.chars().take(64).map(|c| c.to_ascii_lowercase()).collect();
    // Of two letters one is half: `no` is not a misspelt `on`.
    let allowed = if typed.len() < 3 { 0 } else { (typed.len() / 3).min(3) };
    known
        .into_iter()
        // Each letter more or less is a step: names of another length need not be compared.
        .filter(|key| key.chars().count().abs_diff(typed.len()) <= allowed)
        .map(|key| (distance(&typed, key), key))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, key)| key)
}

/// Edit distance (optimal string alignment): insertions, deletions, changes, swaps of neighbours. `-` equals `_`.
fn distance(a: &[char], b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let same = |x: char, y: char| x == y || (x == '-' && y == '_');
    let mut last_a = None;
    for (row, &ca) in a.iter().enumerate() {
        let mut current = vec![row.saturating_add(1)];
        let mut last_b = None;
        for (column, &cb) in b.iter().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
            let change = at(&above, column).saturating_add(usize::from(!same(ca, cb)));
            let insert = at(&current, column).saturating_add(1);
            let delete = at(&above, column.saturating_add(1)).saturating_add(1);
            let mut best = change.min(insert).min(delete);
            if last_a == Some(cb) && last_b == Some(ca) {
                best = best.min(at(&before, column.saturating_sub(1)).saturating_add(1));
            }
            current.push(best);
            last_b = Some(cb);
        }
        before = std::mem::replace(&mut above, current);
        last_a = Some(ca);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_keys() {
        let keys = ["listeners", "admin", "routes", "clusters", "idle_timeout", "on"];
        for (typed, wanted) in [
            ("listener", Some("listeners")),
            ("Routes", Some("routes")),
            ("ruotes", Some("routes")),
            ("idle-timeout", Some("idle_timeout")),
            ("idletimeout", Some("idle_timeout")),
            ("admn", Some("admin")),
            ("identity", None),
            ("x", None),
            ("no", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, keys), wanted, "{typed}");
        }
    }

    #[test]
    fn distances() {
        let of = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), b);
        assert_eq!(of("kitten", "sitting"), 3);
        assert_eq!(of("abcd", "abdc"), 1);
        assert_eq!(of("", "abc"), 3);
        assert_eq!(of("abc", ""), 3);
    }
}
