//! Tests that docs/security.md names, and targets of make.

use super::text::{code, documents, files, is_like, read, spans};

/// The names of all functions of a file.
fn functions(path: &str) -> Vec<String> {
    let text = read(path);
    let names = text.split("fn ").skip(1);
    names
        .filter_map(|rest| Some(rest.split_once('(')?.0.to_owned()))
        .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .collect()
}

/// Whether a word names a test: a sentence, of which a part may be left out.
fn is_test(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_alphanumeric() || "_…".contains(c)) && word.matches('_').count() > 1
}

#[test]
fn each_test_that_stands_behind_a_promise_is_there() {
    let files = files();
    let (mut missing, mut count) = (Vec::new(), 0);
    for row in read("docs/security.md").lines().filter(|line| line.starts_with("| ")) {
        let mut place = String::new();
        for word in spans(row.trim_end_matches(" |").rsplit(" | ").next().unwrap()) {
            if word.ends_with(".rs") {
                place = word;
            } else if is_test(&word) {
                count += 1;
                let end = format!("/{place}");
                let at = files.iter().filter(|file| **file == place || file.ends_with(&end));
                let mut names = at.flat_map(|file| functions(file));
                if !names.any(|name| is_like(&name, &word, '…')) {
                    missing.push(format!("{place}: {word}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(count > 30, "{count} tests");
}

#[test]
fn targets_of_make_are_those_that_documents_name() {
    let makefile = read("Makefile");
    let phony = makefile.lines().find_map(|line| line.strip_prefix(".PHONY:")).unwrap();
    let targets: Vec<_> = phony.split_whitespace().collect();
    let mut named = Vec::new();
    for (document, text) in documents() {
        for line in code(&text) {
            if let Some(target) = line.strip_prefix("make ").and_then(|rest| rest.split_whitespace().next()) {
                assert!(targets.contains(&target), "{document}: make {target}");
                named.push(target.to_owned());
            }
        }
    }
    let silent: Vec<_> = targets.iter().filter(|target| !named.iter().any(|own| own == *target)).collect();
    assert!(silent.is_empty(), "no document says what these do: {silent:?}");
}
