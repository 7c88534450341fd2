//! docs/metrics.md and the instruments of the library.

use std::collections::BTreeSet;

use super::text::{code, documents, files, read};

/// What a name has behind it for the kind of metric.
fn bare(name: &str) -> &str {
    ["_total", "_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// The library's code, without tests.
fn sources() -> Vec<String> {
    let ours = |path: &String| path.starts_with("src/") && path.ends_with(".rs") && !path.contains("tests");
    files().into_iter().filter(ours).map(|path| read(&path)).collect()
}

/// What follows each `mark` up to the next quotation mark.
fn literals<'t>(text: &'t str, mark: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(mark).filter_map(|(at, _)| text[at + mark.len()..].split('"').next())
}

/// All metrics that are registered, without what says their kind.
fn registered() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in sources() {
        for part in text.split("registry.register").skip(1) {
            let Some(name) = part.split('"').nth(1) else { continue };
            let has_unit = part.starts_with("_with_unit");
            let units = [("Unit::Seconds", "_seconds"), ("Unit::Bytes", "_bytes"), ("ratio()", "_ratio")];
            let first = units.iter().filter_map(|(code, unit)| Some((part.find(code)?, *unit))).min();
            let unit = if has_unit { first.unwrap().1 } else { "" };
            found.insert(format!("msm_{name}{unit}"));
        }
    }
    assert!(found.len() > 50, "{found:?}");
    found
}

/// The metrics of the page's tables.
fn described() -> BTreeSet<String> {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `msm_")?.split('`').next());
    rows.map(|name| bare(&format!("msm_{name}")).to_owned()).collect()
}

#[test]
fn each_metric_has_a_row_and_each_row_a_metric() {
    assert_eq!(registered(), described());
}

#[test]
fn each_metric_that_a_document_names_is_one() {
    let all = described();
    // What C calls so is no metric.
    let header = read("msm-ffi/include/msm.h");
    let in_c: BTreeSet<_> = header
        .split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
        .filter(|word| word.starts_with("msm_"))
        .collect();
    assert!(in_c.contains("msm_mesh_open") && all.iter().all(|metric| !in_c.contains(&metric[..])));
    for (document, text) in documents() {
        for span in code(&text) {
            for word in span.split(|c: char| !(c.is_ascii_lowercase() || c == '_' || c == ':')) {
                let is_crate = word.contains("::")
                    || matches!(word, "msm_core" | "msm_fec" | "msm_rtsp" | "msm_udp" | "msm_auth");
                // `msm_hop_planned_…` stands for several.
                let several = word.ends_with('_') && all.iter().any(|name| name.starts_with(word));
                assert!(
                    !word.starts_with("msm_")
                        || is_crate
                        || in_c.contains(word)
                        || several
                        || all.contains(bare(word)),
                    "{document}: {word}"
                );
            }
        }
    }
}

#[test]
fn each_reason_is_described() {
    let page = read("docs/metrics.md");
    let mut all = BTreeSet::new();
    let marks = ["add_dropped(\"", "add_refused(\"", "counters.add(\""];
    for text in sources() {
        all.extend(marks.iter().flat_map(|mark| literals(&text, mark)).map(str::to_owned));
        for family in ["send", "tls", "hop_beside"] {
            let mark = format!("\"{family}_");
            let names = literals(&text, &mark)
                .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
            all.extend(names.map(|name| format!("{family}_{name}")));
        }
    }
    for path in ["msm-auth/src/srtp/error.rs", "msm-rtsp/src/error.rs"] {
        all.extend(literals(&read(path), "=> \"").map(str::to_owned));
    }
    let counters = read("msm-core/src/hub/counters.rs");
    let hub = counters.split("ReaderCounters").next().unwrap().lines();
    let names: Vec<_> = hub.filter_map(|line| line.trim().strip_suffix(',')).collect();
    // What the runtime counts elsewhere, or does not call a drop.
    let observer = read("src/metrics/observer.rs");
    let not_drops = observer.split("NOT_DROPS: ").nth(1).unwrap().split("];").next().unwrap();
    let is_drop = |name: &&&str| !not_drops.contains(&format!("\"{name}\"")) && **name != "retransmitted";
    let names = names.iter().filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    all.extend(names.filter(is_drop).map(|name| (*name).to_owned()));
    assert!(all.len() > 60, "{all:?}");
    let missing: Vec<_> = all.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
}
