//! The examples of docs/traffic.md: each configuration is valid, and each command prints what stands below it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::process::Command;

use msm::config::Config;

const TEXT: &str = include_str!("../../docs/traffic.md");

/// A fenced block: its language and text.
fn blocks() -> Vec<(&'static str, String)> {
    let mut blocks = Vec::new();
    let mut lines = TEXT.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            blocks.push((language, text.join("\n") + "\n"));
        }
    }
    blocks
}

#[test]
fn each_configuration_is_valid() {
    let mut count = 0;
    for (_, yaml) in blocks().into_iter().filter(|(language, _)| *language == "yaml") {
        Config::from_yaml(&yaml, "traffic.md", std::iter::empty())
            .unwrap_or_else(|errors| panic!("{errors}\n{yaml}"));
        count += 1;
    }
    assert!(count >= 5, "{count} configurations");
}

/// Commands are run with the last configuration before them as `msm.yaml`.
#[test]
fn each_command_prints_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut count = 0;
    for (language, text) in blocks() {
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
