use super::*;
use crate::route::RewriteTemplate;
use proptest::prelude::*;

fn captures(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
    let pattern = UrlPattern::parse(pattern).expect(pattern);
    let found = pattern.matches("rtsp", "mesh.example", Some(8554), path)?;
    Some(found.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn pairs(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
    Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

#[test]
fn segments_and_rest() {
    assert_eq!(captures("/news/{feed}", "/news/eu"), pairs(&[("feed", "eu")]));
    assert_eq!(captures("/news/{feed}", "/news/eu/"), pairs(&[("feed", "eu")]));
    assert_eq!(captures("/news/{feed}/", "/news/eu"), pairs(&[("feed", "eu")]));
    assert_eq!(captures("/news/{feed}", "/news/"), None);
    assert_eq!(captures("/news/{feed}", "/news"), None);
    assert_eq!(captures("/news/{feed}", "/news//"), None);
    assert_eq!(captures("/news/{feed}", "/news/a/b"), None);
    assert_eq!(captures("/news/{feed}", "/News/a"), None, "paths are case-sensitive");
    assert_eq!(captures("/a/{r...}", "/a"), pairs(&[("r", "")]));
    assert_eq!(captures("/a/{r...}", "/a/"), pairs(&[("r", "")]));
    assert_eq!(captures("/a/{r...}", "/a/b//c/"), pairs(&[("r", "b//c/")]));
    assert_eq!(captures("/a/{r...}", "/ab"), None);
    assert_eq!(captures("/{r...}", ""), pairs(&[("r", "")]));
    assert_eq!(captures("/{a}/x/{b}", "/1/x/2"), pairs(&[("a", "1"), ("b", "2")]));
    assert_eq!(captures("rtsp://*", "/"), pairs(&[]));
    assert_eq!(captures("rtsp://*/", ""), pairs(&[]));
    assert_eq!(captures("rtsp://*", "/a"), None);
    assert_eq!(captures("//", "//"), pairs(&[]));
    assert_eq!(captures("//", "/"), None);
    assert_eq!(captures("/a//", "/a//"), pairs(&[]));
}

#[test]
fn percent_encoding() {
    assert_eq!(captures("/c%61m/{n}", "/%63am/%37"), pairs(&[("n", "7")]));
    assert_eq!(captures("/{n}", "/a%2Fb"), pairs(&[("n", "a%2Fb")]));
    assert_eq!(captures("/a/{n}", "/a%2fb"), None);
    for path in ["/a/..", "/a/../b", "/a/%2e%2E/b", "/a/.%2e", "/..", "/a/./b", "/%2E"] {
        assert_eq!(captures("/{r...}", path), None, "{path}");
        assert_eq!(captures("/{n}", path), None, "{path}");
    }
    assert_eq!(captures("/{r...}", "/a/..b/c.."), pairs(&[("r", "a/..b/c..")]));
}

#[test]
fn scheme_host_port() {
    let hit = |pattern: &str, scheme: &str, host: &str, port: Option<u16>| {
        UrlPattern::parse(pattern).expect(pattern).matches(scheme, host, port, "/x").is_some()
    };
    assert!(hit("RTSP://Mesh.example/x", "rtsp", "MESH.example", Some(1)));
    assert!(hit("rtsp://mesh.example/x", "rtsps", "mesh.example", None));
    assert!(hit("rtsps://mesh.example/x", "RTSPS", "mesh.example", None));
    assert!(!hit("rtsps://mesh.example/x", "rtsp", "mesh.example", None), "TLS is what it asks for");
    assert!(!hit("rtsp://mesh.example/x", "http", "mesh.example", None));
    assert!(hit("*://mesh.example/x", "rtsps", "mesh.example", None));
    assert!(hit("rtsp://*.example:8554/x", "rtsp", "mesh.example", Some(8554)));
    assert!(!hit("rtsp://*.example:8554/x", "rtsp", "mesh.example", None));
    assert!(hit("rtsp://*:554/x", "rtsp", "mesh.example", None));
    assert!(hit("rtsp://[::1]:8554/x", "rtsp", "[::1]", Some(8554)));
    assert!(hit("rtsp://[::1]/x", "rtsp", "::1", Some(8554)));
    assert!(hit("/x", "anything", "", None));
}

#[test]
fn literal_paths() {
    let literal = |pattern: &str| UrlPattern::parse(pattern).expect(pattern).literal_path();
    assert_eq!(literal("rtsp://*/c%61m/7/").as_deref(), Some("/cam/7"));
    assert_eq!(literal("rtsp://h").as_deref(), Some("/"));
    assert_eq!(literal("/a/{b}"), None);
    assert_eq!(literal("/a/{b...}"), None);
}

#[test]
fn bad_patterns() {
    use PatternError as E;
    let error = |text: &str| UrlPattern::parse(text).expect_err(text);
    assert_eq!(error(""), E::Shape);
    assert_eq!(error("news/{feed}"), E::Shape);
    assert_eq!(error("1x://h/"), E::Scheme("1x".into()));
    assert_eq!(error("://h/"), E::Scheme(String::new()));
    assert_eq!(error("rtsp:///x"), E::Host(String::new()));
    assert_eq!(error("rtsp://cam*.example/x"), E::Host("cam*.example".into()));
    assert_eq!(error("rtsp://h:0/x"), E::Port("0".into()));
    assert_eq!(error("rtsp://h:8x/x"), E::Port("8x".into()));
    assert_eq!(error("rtsp://u:p@h/x"), E::UserInfo);
    assert_eq!(error("/a?b"), E::Query);
    assert_eq!(error("/a\r\nb"), E::Control);
    assert_eq!(error("/a/../b"), E::DotSegment);
    assert_eq!(error("/a/*"), E::Star);
    assert_eq!(error("/a/{b}.mp4"), E::Braces("{b}.mp4".into()));
    assert_eq!(error("/a/{}"), E::Braces("{}".into()));
    assert_eq!(error("/{r...}/a"), E::RestNotLast("r".into()));
    assert_eq!(error("/{r...}/"), E::RestNotLast("r".into()));
    assert_eq!(error("/{a}/{a}"), E::DuplicateName("a".into()));
    assert_eq!(error("/{a}/{a...}"), E::DuplicateName("a".into()));
    assert_eq!(error(&"/a".repeat(MAX_SEGMENTS + 1)), E::TooLong);
    assert_eq!(error(&"/".repeat(MAX_URL_BYTES + 1)), E::TooLong);
}

#[test]
fn long_paths_match_nothing() {
    assert_eq!(captures("/{r...}", &"/a".repeat(MAX_SEGMENTS + 1)), None);
    assert_eq!(captures("/{r...}", &format!("/{}", "a".repeat(MAX_URL_BYTES))), None);
    assert!(captures("/{r...}", &"/a".repeat(MAX_SEGMENTS)).is_some());
}

/// The path part of a pattern, as a template.
fn template_of(pattern: &UrlPattern) -> RewriteTemplate {
    let text = pattern.as_str();
    let path = match text.find("://") {
        Some(at) => text[at + 3..].find('/').map_or("/", |slash| &text[at + 3 + slash..]),
        None => text,
    };
    RewriteTemplate::parse(path).expect("a pattern's path is a template")
}

proptest! {
    #[test]
    fn no_text_panics(pattern in ".{0,64}", path in ".{0,64}", host in ".{0,16}") {
        if let Ok(pattern) = UrlPattern::parse(&pattern) {
            let _ = pattern.matches("rtsp", &host, None, &path);
        }
        let _ = RewriteTemplate::parse(&pattern);
    }

    #[test]
    fn captures_expand_to_a_path_that_captures_the_same(
        pattern in "(rtsp://\\*)?(/([a-z%2F.]{1,3}|\\{[a-c]\\})){0,4}(/\\{rest\\.\\.\\.\\})?",
        path in "(/[a-zA-Z%20/.?# \r\n]{0,4}){0,5}",
    ) {
        let Ok(pattern) = UrlPattern::parse(&pattern) else { return Ok(()) };
        let Some(found) = pattern.matches("rtsp", "h", None, &path) else { return Ok(()) };
        let template = template_of(&pattern);
        prop_assert_eq!(template.check(&pattern), Ok(()));
        let (again, query) = template.expand(&found);
        prop_assert_eq!(query, None);
        prop_assert!(!again.contains(['\r', '\n', '?', '#', ' ']), "{again:?}");
        prop_assert_eq!(pattern.matches("rtsp", "h", None, &again), Some(found));
    }
}
