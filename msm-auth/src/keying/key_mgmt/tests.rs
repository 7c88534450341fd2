use super::*;
use crate::keying::mikey::Stream;
use crate::srtp::{MasterKey, Suite};

/// Messages of GStreamer's rtspsrc, as gortsplib's tests have them.
const GSTREAMER: &str = "AQAFAHojKV4BAACVjCMnAAAAAAsA6/mdTLBeokwKEGwcAuPrxj6/enyb+A2+rNcBAAAAFQABAQEBEAIBAQMBCgcBAQgBAQoBAQAAACIAIAAeX8XvOCzIMh0JTOWivWLxEflTUSp1fjj2i8xG7D9DAA==";
const URI: &str = "rtsps://127.0.0.1:8322/stream/trackID=0";

const FRESH: Fresh = Fresh { rand: [7; 16], ntp_time: 0xebf9_9d4c_b05e_a24c };

fn header() -> String {
    format!("prot=mikey;uri=\"{URI}\";data=\"{GSTREAMER}\"")
}

#[test]
fn headers_of_gstreamer_are_read_and_written() {
    let entries = read_header(&header()).expect("GStreamer's");
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(entry.uri.as_deref(), Some(URI));
    assert_eq!(entry.mikey.csb_id, 0x7a23_295e);
    assert_eq!(entry.mikey.streams, [Stream { policy: 0, ssrc: 0x958c_2327, roc: 0 }]);
    assert_eq!(entry.mikey.key.suite(), Suite::AesCm128HmacSha1_80);
    assert_eq!(entry.mikey.key.key()[..3], [0x5f, 0xc5, 0xef]);
    let written = entry.write(&FRESH).expect("written");
    assert!(written.starts_with(&format!("prot=mikey;uri=\"{URI}\";data=\"AQAFAHoj")), "{URI}");
    let again = read_header(&written).expect("what was written");
    assert_eq!(again[0].mikey.key.key_and_salt(), entry.mikey.key.key_and_salt());
}

#[test]
fn spaces_unquoted_values_and_other_protocols_are_tolerated() {
    let spaced = format!(" prot = mikey ; uri=\"{URI}\" ; data=\"{GSTREAMER}\" ; ");
    let bare = format!("PROT=MIKEY;data={GSTREAMER};x=y");
    let several = format!("prot=other;data=\"a,b;c\", {},prot=mikey;data=\"{GSTREAMER}\"", header());
    for (value, uris) in [(spaced, &[Some(URI)][..]), (bare, &[None]), (several, &[Some(URI), None])] {
        let entries = read_header(&value).unwrap_or_else(|error| panic!("{value}: {error}"));
        assert_eq!(entries.iter().map(|entry| entry.uri.as_deref()).collect::<Vec<_>>(), uris, "{value}");
    }
}

#[test]
fn attributes_are_read_and_written() {
    let read = read_attribute(&format!("mikey {GSTREAMER}")).expect("GStreamer's");
    assert_eq!(read.csb_id, 0x7a23_295e);
    assert_eq!(read_attribute(&format!(" MIKEY {GSTREAMER}\r")).expect("with a space").csb_id, 0x7a23_295e);
    let written = write_attribute(&read, &FRESH).expect("written");
    let again = read_attribute(&written).expect("what was written");
    assert_eq!(again.key.key_and_salt(), read.key.key_and_salt());
}

#[test]
fn what_is_malformed_is_refused_by_name() {
    let many = vec![header(); MAX_ENTRIES + 1].join(",");
    let long = format!("prot=mikey;data={}", "A".repeat(MAX_VALUE));
    let message = format!("prot=mikey;data={}", "A".repeat(MAX_MESSAGE * 2));
    let comma = format!("{},", header());
    let cases = [
        ("", "header"),
        ("prot", "header"),
        ("prot=mikey", "header"),
        ("data=\"AAAA\"", "header"),
        ("prot=mikey;uri=\"a;data=AAAA", "header"),
        ("prot=mikey;data=\"AAAA\"x", "header"),
        ("prot=mikey;data=AA\"AA", "header"),
        ("prot=mikey;prot=mikey;data=\"AAAA\"", "header"),
        (&comma, "header"),
        ("prot=other;data=\"AAAA\"", "protocol"),
        ("prot=mikey;uri=\"a b\";data=\"AAAA\"", "uri"),
        ("prot=mikey;data=\"A*AA\"", "base64"),
        ("prot=mikey;data=\"\"", "truncated"),
        (&many, "too_many_entries"),
        (&long, "too_long"),
        (&message, "too_long"),
    ];
    for (value, name) in cases {
        let error = read_header(value).map(|_| ()).expect_err(value);
        assert_eq!(error.name(), name, "{error}");
    }
    for (value, name) in
        [("", "attribute"), ("mikey", "attribute"), ("other AAAA", "protocol"), ("mikey A*", "base64")]
    {
        assert_eq!(read_attribute(value).expect_err(value).name(), name, "{value}");
    }
}

#[test]
fn a_uri_cannot_end_its_quotes() {
    let key = MasterKey::from_bytes(Suite::AeadAes128Gcm, &[1; 28]).expect("28 bytes");
    let mikey = Mikey { csb_id: 1, streams: Vec::new(), key, mki: None };
    for uri in ["a\"", "a b", "a\r\nX: y", "é"] {
        let entry = Entry { uri: Some(uri.to_owned()), mikey: mikey.clone() };
        assert_eq!(entry.write(&FRESH).expect_err(uri), KeyMgmtError::Uri);
    }
}

#[test]
fn keys_are_never_shown() {
    let entries = read_header(&header()).expect("GStreamer's");
    let shown = format!("{entries:?}");
    // 0x5f, 0xc5: how the key begins.
    assert!(!shown.contains("95, 197") && !shown.contains("AQAF"), "{shown}");
    for broken in [format!("{GSTREAMER}*"), format!("AQ{GSTREAMER}"), GSTREAMER.replace("AQAF", "AQEF")] {
        let error = read_attribute(&format!("mikey {broken}")).expect_err("broken");
        assert!(!format!("{error} {error:?}").contains("X8Xv"), "{error:?}");
        let error = read_attribute(&broken).expect_err("no protocol");
        assert!(!format!("{error} {error:?}").contains("X8Xv"), "{error:?}");
    }
}
