//! MIKEY messages against GStreamer's reader and writer.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/need.rs"]
mod need;

use std::io::Write;
use std::process::{Command, Stdio};

use msm_auth::keying::Mki;
use msm_auth::keying::key_mgmt::{read_attribute, write_attribute};
use msm_auth::keying::mikey::{Fresh, Mikey, Stream};
use msm_auth::srtp::{MasterKey, Suite};

/// Debian's interpreter, whatever python3 comes first in `PATH`: it has GStreamer's bindings.
const PYTHON: &str = "/usr/bin/python3";
const FRESH: Fresh = Fresh { rand: [9; 16], ntp_time: 0xebfe_6f2d_b1c1_3fd0 };

/// What GStreamer calls the suites.
const SUITES: [(Suite, &str, &str); 4] = [
    (Suite::AeadAes128Gcm, "aes-128-gcm", "null"),
    (Suite::AeadAes256Gcm, "aes-256-gcm", "null"),
    (Suite::AesCm128HmacSha1_80, "aes-128-icm", "hmac-sha1-80"),
    (Suite::AesCm128HmacSha1_32, "aes-128-icm", "hmac-sha1-32"),
];

/// Whether GStreamer can be asked. Says so, and where `MSM_SKIP_FILE` says, if not.
///
/// # Panics
///
/// When it cannot and `MSM_REQUIRE_PEERS` is set.
fn gstreamer() -> bool {
    let load = "import gi; gi.require_version('GstSdp', '1.0'); from gi.repository import GstSdp";
    let python = Command::new(PYTHON).args(["-c", load]).stderr(Stdio::null()).status();
    if python.is_ok_and(|status| status.success()) {
        return true;
    }
    need::skip(&format!("GstSdp is not installed for {PYTHON}"), true);
    false
}

/// GStreamer's answers to the commands of `support/gst_mikey.py`.
fn ask(commands: &[String]) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gst_mikey.py");
    let mut python = Command::new(PYTHON)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut stdin = python.stdin.take().expect("piped");
    stdin.write_all((commands.join("\n") + "\n").as_bytes()).expect("python reads");
    drop(stdin);
    let output = python.wait_with_output().expect("python ends");
    assert!(output.status.success(), "{}", output.status);
    let answers: Vec<String> =
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), commands.len(), "an answer to each");
    answers
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key(suite: Suite) -> MasterKey {
    let bytes: Vec<u8> = (0x40..).take(suite.key_len() + suite.salt_len()).collect();
    MasterKey::from_bytes(suite, &bytes).expect("the suite's length")
}

fn streams() -> Vec<Stream> {
    vec![Stream { policy: 0, ssrc: 1, roc: 2 }, Stream { policy: 0, ssrc: 0xdead_beef, roc: 7 }]
}

#[test]
fn gstreamer_reads_what_is_written() {
    if !gstreamer() {
        return;
    }
    let mut commands = Vec::new();
    let mut expected = Vec::new();
    for (suite, cipher, auth) in SUITES {
        for mki in [None, Mki::new(1, 4)] {
            let mikey = Mikey { csb_id: 77, streams: streams(), key: key(suite), mki };
            let attribute = write_attribute(&mikey, &FRESH).expect("written");
            let key = format!("{cipher} {auth} {}", hex(key(suite).key_and_salt()));
            commands.push(format!("read {}", attribute.trim_start_matches("mikey ")));
            expected.push(format!("{key} 77 0:1:2,0:3735928559:7"));
            commands.push(format!("attribute {}", *attribute));
            expected.push(key);
        }
    }
    assert_eq!(ask(&commands), expected);
}

#[test]
fn what_gstreamer_writes_is_read() {
    if !gstreamer() {
        return;
    }
    let command = |(suite, cipher, auth): (Suite, &str, &str)| {
        format!("write {cipher} {auth} {}", hex(key(suite).key_and_salt()))
    };
    for ((suite, ..), answer) in SUITES.into_iter().zip(ask(&SUITES.map(command))) {
        let read = read_attribute(&format!("mikey {answer}"))
            .unwrap_or_else(|error| panic!("{suite:?}: {error}: {answer}"));
        assert_eq!(read.key.suite(), suite, "{answer}");
        assert_eq!(read.key.key_and_salt(), key(suite).key_and_salt());
        assert_eq!((read.streams, read.mki), (streams(), None));
    }
}
