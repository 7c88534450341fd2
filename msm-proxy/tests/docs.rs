//! Examples: each configuration is valid, each command of docs/traffic.md prints what stands below it, and the README's code is compiled.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::process::Command;

use msm::config::Config;

const TRAFFIC: &str = include_str!("../../docs/traffic.md");
const README: &str = include_str!("../../README.md");
const SPIRE: &str = include_str!("../../deploy/spire/README.md");

/// A fenced block: its language and text, without what the block is indented by.
fn blocks(text: &'static str) -> Vec<(&'static str, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((indent, language)) = line.split_once("```") else { continue };
        let inside = lines.by_ref().take_while(|line| !line.trim_start().starts_with("```"));
        let text: Vec<_> = inside.map(|line| line.strip_prefix(indent).unwrap_or(line)).collect();
        blocks.push((language, text.join("\n") + "\n"));
    }
    blocks
}

/// The pages of the guide, as its summary lists them.
const GUIDE: [(&str, &str); 8] = [
    ("start", include_str!("../../docs/guide/src/start.md")),
    ("concepts", include_str!("../../docs/guide/src/concepts.md")),
    ("routing", include_str!("../../docs/guide/src/routing.md")),
    ("identity", include_str!("../../docs/guide/src/identity.md")),
    ("protection", include_str!("../../docs/guide/src/protection.md")),
    ("rust", include_str!("../../docs/guide/src/rust.md")),
    ("c", include_str!("../../docs/guide/src/c.md")),
    ("operating", include_str!("../../docs/guide/src/operating.md")),
];

#[test]
fn the_guide_has_the_pages_of_its_summary() {
    let summary = include_str!("../../docs/guide/src/SUMMARY.md");
    let listed: Vec<_> =
        summary.lines().filter_map(|line| line.split_once("](")?.1.strip_suffix(".md)")).collect();
    assert_eq!(listed, GUIDE.map(|(name, _)| name));
    // Code in Rust is compiled with the library, that in C with the tests of `msm-ffi`; commands are text.
    let known = ["yaml", "rust,no_run", "c", "cpp", "toml", "text", ""];
    for (name, page) in GUIDE {
        for (language, text) in blocks(page) {
            assert!(known.contains(&language), "{name}: {language}\n{text}");
        }
    }
}

#[test]
fn each_configuration_is_valid() {
    // The files that they name are beside them.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("encoders.password"), "secret").unwrap();
    let file = dir.path().join("msm.yaml");
    let pages = GUIDE
        .map(|(name, page)| (page, if ["start", "identity", "protection"].contains(&name) { 1 } else { 0 }));
    for (text, least) in [(TRAFFIC, 5), (README, 4), (SPIRE, 1)].into_iter().chain(pages) {
        let mut count = 0;
        for (_, yaml) in blocks(text).into_iter().filter(|(language, _)| *language == "yaml") {
            fs::write(&file, &yaml).unwrap();
            Config::load(Some(&file), std::iter::empty()).unwrap_or_else(|errors| panic!("{errors}\n{yaml}"));
            count += 1;
        }
        assert!(count >= least, "{count} configurations");
    }
}

/// The example of the library's own documentation is compiled with it, and has each line of the README's.
#[test]
fn the_code_is_that_of_the_library() {
    const COMPILED: &str = include_str!("../../src/lib.rs");
    const EXAMPLES: [(&str, &str, &str); 2] = [
        ("rust", include_str!("../../examples/reader.rs"), "\n\n"),
        ("c", include_str!("../../examples/c/reader.c"), "*/\n"),
    ];
    // Whole but for what its first line says of it; and they are run.
    for (language, example, first) in EXAMPLES {
        let (_, example) = example.split_once(first).unwrap();
        assert!(blocks(README).contains(&(language, example.to_owned())), "{example}");
        assert!(
            example.lines().count() <= if language == "c" { 40 } else { 15 },
            "{language} is for a beginner"
        );
    }
    let compiled: Vec<_> =
        COMPILED.lines().filter_map(|line| line.strip_prefix("//! ")).map(str::trim).collect();
    let mut count = 0;
    for (_, code) in blocks(README).into_iter().filter(|(language, _)| *language == "rust") {
        if code.starts_with("#[tokio::main") {
            continue;
        }
        for line in code.lines().map(|line| line.split(" // ").next().unwrap().trim()) {
            assert!(line.is_empty() || compiled.contains(&line), "{line}");
            count += 1;
        }
    }
    assert!(count > 5, "{count} lines");
}

/// Commands are run with the last configuration before them as `msm.yaml`.
#[test]
fn each_command_prints_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut count = 0;
    for (language, text) in blocks(TRAFFIC) {
        if language == "yaml" {
            fs::write(dir.path().join("msm.yaml"), &text).unwrap();
        }
        if language != "console" {
            continue;
        }
        for session in text.split("$ ").skip(1) {
            let (command, wanted) = session.split_once('\n').unwrap();
            let mut words = command.split_whitespace();
            assert_eq!(words.next(), Some("msm-proxy"), "{command}");
            let words = words.map(|word| word.trim_matches(['\'', '"']));
            let mut own = Command::new(env!("CARGO_BIN_EXE_msm-proxy"));
            let output = own.args(words).current_dir(dir.path()).env_remove("RUST_LOG").output().unwrap();
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(printed.trim_end(), wanted.trim_end(), "{command}\n{errors}");
            count += 1;
        }
    }
    assert!(count >= 2, "{count} commands");
}
