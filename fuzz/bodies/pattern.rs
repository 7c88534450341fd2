//! URL patterns: parsing, matching and rewriting keep their promises whatever the pattern and whatever the URL.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use msm_core::cluster::Endpoint;
use msm_core::route::{Action, MAX_URL_BYTES, RequestKey, RewriteTemplate, Route, RouteTable, UrlPattern};

/// Reads `data` as lines: pattern, request path, host, template, query.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (pattern, path, host, template, query) = (next(), next(), next(), next(), next());

    if let Ok(endpoint) = Endpoint::parse(pattern) {
        assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint));
    }
    let template = RewriteTemplate::parse(template);
    let pattern = match UrlPattern::parse(pattern) {
        Ok(pattern) => pattern,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(UrlPattern::parse(pattern.as_str()).as_ref(), Ok(&pattern));
    let Some(captures) = pattern.matches("rtsp", host, None, path) else { return };
    assert!(path.len() <= MAX_URL_BYTES);
    for (_, value) in captures.iter() {
        sendable(value);
        assert!(!value.split('/').any(|segment| segment == "." || segment == ".."), "{value:?}");
    }
    if let Some(literal) = pattern.literal_path() {
        assert_eq!(pattern.matches("rtsp", host, None, &literal), Some(captures.clone()));
    }

    // The pattern's own path, as a template, leads back to the same captures.
    let own = pattern.as_str();
    let own = match own.find("://") {
        _ if own.starts_with('/') => own,
        Some(at) => own[at + 3..].find('/').map_or("/", |slash| &own[at + 3 + slash..]),
        None => own,
    };
    let own = RewriteTemplate::parse(own).expect("a pattern's path is a template");
    own.check(&pattern).expect("its names are the pattern's");
    let (again, _) = own.expand(&captures);
    if again.len() <= MAX_URL_BYTES {
        assert_eq!(pattern.matches("rtsp", host, None, &again).as_ref(), Some(&captures), "{again:?}");
    }

    // A route sends nothing that could end a request line or begin another part of it.
    let mut route = Route::new("r", pattern);
    route.rewrite = template.ok().filter(|template| template.check(&route.pattern).is_ok());
    let table = RouteTable::new(vec![route]);
    let key = RequestKey { host, query: Some(query), ..RequestKey::new(path, Action::Read) };
    let found = table.route(&key).expect("the pattern matched");
    assert!(found.path.starts_with('/'));
    sendable(&found.path);
    let query = found.query.as_deref().expect("a query");
    assert!(query.bytes().all(|b| b > b' ' && b < 0x7F && b != b'#'), "{query:?}");
    assert_eq!(found.path_and_query(), format!("{}?{query}", found.path));
}

fn sendable(path: &str) {
    assert!(path.bytes().all(|b| b > b' ' && b < 0x7F && b != b'?' && b != b'#'), "{path:?}");
}
