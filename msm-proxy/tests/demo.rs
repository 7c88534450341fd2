//! `msm-proxy demo`, as a user calls it, and a script reads it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use assert_cmd::Command;
use serde_json::Value;
use std::time::Duration;

fn demo(words: &[&str]) -> assert_cmd::assert::Assert {
    // Port 0: beside any other demo.
    let mut command = Command::cargo_bin("msm-proxy").expect("built");
    command.args(["demo", "--address", "127.0.0.1:0"]).args(words);
    command.timeout(Duration::from_secs(90)).assert()
}

fn words(words: &[&str]) -> String {
    String::from_utf8(demo(words).code(0).get_output().stdout.clone()).expect("text")
}

/// A line a second, each an object.
fn seconds(count: usize, link: &[&str]) -> Vec<Value> {
    let number = count.to_string();
    let shown = words(&[&["--seconds", &number, "--json"], link].concat());
    let seconds: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(seconds.len(), count, "{shown}");
    for (number, second) in (1..).zip(&seconds) {
        assert_eq!(second["second"], number, "{second}");
    }
    seconds
}

fn number(second: &Value, key: &str) -> u64 {
    second[key].as_u64().unwrap_or_else(|| panic!("no {key} in {second}"))
}

/// How much a count grew from the end of the second after the first to the end.
fn grown(seconds: &[Value], count: impl Fn(&Value) -> u64) -> u64 {
    count(&seconds[seconds.len() - 1]) - count(&seconds[1])
}

fn recovered(second: &Value) -> u64 {
    ["fec", "nack", "path"].iter().map(|means| number(second, &format!("recovered_by_{means}"))).sum()
}

#[test]
fn it_says_who_is_at_the_ends_of_the_hop_and_what_protects_it() {
    let seconds = seconds(2, &["--loss", "0", "--rtt", "0"]);
    let mut before = 0;
    for second in &seconds {
        let hop = &second["hop"];
        assert_eq!(hop["studio"], "spiffe://demo.local/proxy/studio", "{second}");
        assert_eq!(hop["edge"], "spiffe://demo.local/proxy/edge", "{second}");
        let tls = hop["tls"].as_str().expect("TLS");
        assert!(tls.starts_with("TLSv1_3 TLS13_") && tls.ends_with(" X25519MLKEM768"), "{tls}");
        assert_eq!(hop["srtp"], "AEAD_AES_128_GCM", "{second}");
        // Keys are renewed every ten seconds.
        assert_eq!(hop["epoch"], 1, "{second}");
        assert!(hop["way"].as_str().is_some_and(|way| way.starts_with("udp 127.0.0.1:")), "{second}");
        let packets = number(second, "packets");
        assert!(packets > before, "it flows: {seconds:?}");
        for none in ["lost", "unrecovered"] {
            assert_eq!(second[none], 0, "{second}");
        }
        assert_eq!(second["link"], Value::Null, "nothing is between the members: {second}");
        before = packets;
    }
}

#[test]
fn it_says_it_in_words_that_fit_a_terminal() {
    let shown = words(&["--seconds", "1"]);
    for wanted in [
        "source ─► studio ══ 2 % lost, 30 ms there and back ± 2 ══► edge ─► reader\n",
        "studio  spiffe://demo.local/proxy/studio\n",
        "edge    spiffe://demo.local/proxy/edge\n",
        "TLSv1_3 TLS13_",
        "AEAD_AES_128_GCM by udp 127.0.0.2:",
        "key epoch 1\n",
        "budget  100 ms",
        "n asked for again",
        "   1 ",
        " lost on the wire, ",
    ] {
        assert!(shown.contains(wanted), "{wanted} is not in\n{shown}");
    }
    for line in shown.lines().filter(|line| !line.contains("rtsp://")) {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
    assert!(!shown.contains('\u{1b}'), "no colours where there is no terminal");
}

#[test]
fn without_protection_what_the_link_loses_is_missed() {
    let seconds = seconds(6, &["--loss", "10%", "--latency", "0"]);
    let lost = grown(&seconds, |second| number(second, "lost"));
    let missed = grown(&seconds, |second| number(second, "unrecovered"));
    let packets = grown(&seconds, |second| number(second, "packets"));
    assert!(
        lost >= packets / 25 && lost.abs_diff(missed) <= 3,
        "{lost} lost, {missed} missed, {packets} read"
    );
    for second in &seconds {
        assert_eq!(recovered(second), 0, "{second}");
    }
    // All of it went by the link.
    let all = |second: &Value| {
        let flows = second["link"]["to_edge"]["flows"].as_array().expect("flows");
        flows.iter().map(|flow| number(flow, "packets") - number(flow, "lost")).sum()
    };
    assert!(grown(&seconds, all).abs_diff(packets) <= 20, "{packets} read, {}", grown(&seconds, all));
}

#[test]
fn help_teaches_and_mistakes_are_explained() {
    let help = words(&["--help"]);
    for wanted in ["--loss 5% --burst 3", "--latency", "unrecovered", "recovered_by_fec", "Examples:"] {
        assert!(help.contains(wanted), "{wanted} is not in\n{help}");
    }
    let output = demo(&["--loss", "5"]).code(2).get_output().clone();
    let error = String::from_utf8(output.stderr).expect("text");
    assert!(error.contains("write a share such as `5%`"), "{error}");
}
