//! MIKEY messages, by themselves and in RTSP's header: what is read is written back and read as the same, and is
//! within its limits.
#![allow(clippy::panic, clippy::unwrap_used)]

use msm_auth::keying::key_mgmt::{MAX_ENTRIES, MAX_VALUE, read_attribute, read_header, write_attribute};
use msm_auth::keying::mikey::{Fresh, MAX_MESSAGE, MAX_STREAMS, Mikey};

const FRESH: Fresh = Fresh { rand: [0; 16], ntp_time: 0 };

/// Reads `data` as a message, and as text where messages stand.
pub fn run(data: &[u8]) {
    match Mikey::read(data) {
        Ok(read) => written_back(&read),
        Err(error) => assert!(!error.name().is_empty() && error.to_string().len() < 300, "{error}"),
    }
    let text = String::from_utf8_lossy(data);
    if let Ok(read) = read_attribute(&text) {
        written_back(&read);
        let again = read_attribute(&write_attribute(&read, &FRESH).unwrap()).unwrap();
        assert!(same(&again, &read));
    }
    if let Ok(entries) = read_header(&text) {
        assert!((1..=MAX_ENTRIES).contains(&entries.len()));
        let written: Vec<String> =
            entries.iter().map(|entry| entry.write(&FRESH).unwrap().to_string()).collect();
        // Written in full, short policies grow, which can be too much for one header.
        let Ok(again) = read_header(&written.join(",")) else {
            assert!(written.join(",").len() > MAX_VALUE);
            return;
        };
        assert_eq!(again.len(), entries.len());
        for (again, entry) in again.iter().zip(&entries) {
            assert_eq!(again.uri, entry.uri);
            assert!(same(&again.mikey, &entry.mikey));
        }
    }
}

fn written_back(read: &Mikey) {
    assert!(read.streams.len() <= MAX_STREAMS);
    let written = read.write(&FRESH).unwrap();
    assert!(written.len() <= MAX_MESSAGE);
    assert!(same(&Mikey::read(&written).unwrap(), read));
}

fn same(a: &Mikey, b: &Mikey) -> bool {
    a.key.suite() == b.key.suite()
        && a.key.key_and_salt() == b.key.key_and_salt()
        && (a.csb_id, &a.streams, a.mki) == (b.csb_id, &b.streams, b.mki)
}
