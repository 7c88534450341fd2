//! Keys of the configuration that documents name.

use serde_json::Value;

use super::text::{code, documents};

/// The paths of all keys of a schema; lists and maps have none of their own.
fn keys(node: &Value, defs: &Value, path: &[String], depth: usize, found: &mut Vec<Vec<String>>) {
    if depth > 12 {
        return;
    }
    if let Some(name) = node["$ref"].as_str() {
        keys(&defs[name.rsplit('/').next().unwrap()], defs, path, depth + 1, found);
    }
    for several in ["anyOf", "oneOf", "allOf"] {
        for one in node[several].as_array().into_iter().flatten() {
            keys(one, defs, path, depth + 1, found);
        }
    }
    for inside in ["items", "additionalProperties"] {
        if node[inside].is_object() {
            keys(&node[inside], defs, path, depth + 1, found);
        }
    }
    for (name, value) in node["properties"].as_object().into_iter().flatten() {
        let path = [path, std::slice::from_ref(name)].concat();
        keys(value, defs, &path, depth + 1, found);
        found.push(path);
    }
}

/// The segments of a word that looks like a key: `routes[].limits.readers`, `clusters.*.dns`, `log.level`.
fn segments(word: &str) -> Option<Vec<&str>> {
    let word = word.split([':', '=']).next()?.trim();
    let plain = word.chars().all(|c| c.is_ascii_lowercase() || "._*[]".contains(c));
    let segments = word.split('.').map(|own| own.trim_end_matches("[]")).filter(|own| *own != "*");
    let segments: Vec<_> = segments.collect();
    (plain && segments.len() > 1 && segments.iter().all(|own| !own.is_empty())).then_some(segments)
}

#[test]
fn each_key_that_a_document_names_is_one() {
    let schema: Value = serde_json::from_str(&msm::config::schema()).unwrap();
    let mut all = Vec::new();
    keys(&schema, &schema["$defs"], &[], 0, &mut all);
    let firsts: Vec<_> = all.iter().map(|path| path.last().unwrap().clone()).collect();
    let (mut unknown, mut count) = (Vec::new(), 0);
    for (document, text) in documents() {
        for word in code(&text) {
            let Some(segments) = segments(&word).filter(|own| firsts.iter().any(|first| first == own[0]))
            else {
                continue;
            };
            count += 1;
            if !all.iter().any(|path| path.windows(segments.len()).any(|part| part == segments)) {
                unknown.push(format!("{document}: {word}"));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert!(count > 50, "{count} keys");
}
