//! `a=crypto` attributes: what is read is written back and read as the same, is within its limits, and is never shown.
#![allow(clippy::panic, clippy::unwrap_used)]

use msm_auth::keying::sdes::{Crypto, MAX_LIFETIME, MAX_LINE, MAX_TAG, choose};
use msm_auth::srtp::Suite;

/// Reads the lines of `data` as a media section's attributes.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut usable = 0;
    for line in text.lines().take(32) {
        let read = match Crypto::read(line) {
            Ok(read) => read,
            Err(error) => {
                assert!(!error.name().is_empty() && error.to_string().len() < 300, "{error}");
                continue;
            }
        };
        usable += 1;
        assert!(line.len() <= MAX_LINE && read.tag <= MAX_TAG);
        assert!(read.lifetime.is_none_or(|lifetime| (1..=MAX_LIFETIME).contains(&lifetime)));
        let written = read.to_attribute();
        assert!(same(&Crypto::read(&written).unwrap(), &read), "{line}");
        let answer = read.answer(read.key.clone()).unwrap();
        assert!(read.read_answer(&answer.to_attribute()).is_ok(), "{line}");
    }
    let chosen = choose(text.lines(), &Suite::ALL);
    assert_eq!(chosen.is_ok(), usable > 0, "{text}");
    if let Ok(chosen) = chosen {
        let only = [chosen.key.suite()];
        assert!(same(&choose(text.lines(), &only).unwrap(), &chosen), "{text}");
    }
}

fn same(a: &Crypto, b: &Crypto) -> bool {
    a.key.suite() == b.key.suite()
        && a.key.key_and_salt() == b.key.key_and_salt()
        && (a.tag, a.lifetime, a.mki, a.params) == (b.tag, b.lifetime, b.mki, b.params)
}
