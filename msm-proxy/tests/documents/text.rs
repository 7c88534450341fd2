//! The documents, and what is code in them.

use std::fs;
use std::path::{Path, PathBuf};

/// The workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file that belongs to the workspace, by its path from the root.
pub(crate) fn files() -> Vec<String> {
    let (root, mut found, mut open) = (root(), Vec::new(), vec![root()]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_file() {
                found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
            } else if !matches!(&*name, "target" | ".git" | ".peers" | "corpus" | "artifacts") {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Every document, with its text.
pub(crate) fn documents() -> Vec<(String, String)> {
    let all = files().into_iter().filter(|path| path.ends_with(".md") && !path.starts_with("fuzz/"));
    let all: Vec<_> = all.map(|path| (path.clone(), read(&path))).collect();
    assert!(all.len() >= 9, "{}", all.len());
    all
}

/// What stands between single backticks, outside of fenced blocks, and each line of a fenced block.
pub(crate) fn code(text: &str) -> Vec<String> {
    let (mut found, mut prose, mut fenced) = (Vec::new(), String::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.push(line.trim().to_owned());
        } else {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    found.extend(spans(&prose));
    found
}

/// What stands between single backticks, in text without fenced blocks.
pub(crate) fn spans(prose: &str) -> Vec<String> {
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether a text is a pattern's, where `wild` stands for anything.
pub(crate) fn is_like(text: &str, pattern: &str, wild: char) -> bool {
    let parts: Vec<_> = pattern.split(wild).collect();
    let (first, last) = (parts[0], parts[parts.len() - 1]);
    if parts.len() == 1 {
        return text == pattern;
    }
    let Some(mut rest) = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else {
        return false;
    };
    parts[1..parts.len() - 1].iter().all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

#[test]
fn patterns_are_those_of_names() {
    assert!(is_like("a_cut_connection_loses_nothing", "a_cut_…", '…') && is_like("abc", "…b…", '…'));
    assert!(!is_like("a_cut", "b_…", '…') && !is_like("ab", "a…b…c", '…') && is_like("ab", "ab", '…'));
}

#[test]
fn code_is_told_from_prose() {
    assert_eq!(code("a `b` c\n```\nd `e`\n```\n`f\ng`"), ["d `e`", "b", "f\ng"]);
}
