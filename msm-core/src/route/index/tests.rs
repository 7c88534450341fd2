use super::super::{Action, Actions, Caller, PeerPattern, RequestKey, RewriteTemplate, RouteTable, Verdict};
use super::*;
use crate::rng::Rng;
use proptest::prelude::*;

/// The rule itself: every pattern is tried, and what matches is sorted.
fn by_the_rule(routes: &[Route], key: &RequestKey<'_>) -> Vec<usize> {
    let matches = |route: &Route| route.pattern.matches(key.scheme, key.host, key.port, key.path).is_some();
    let mut found: Vec<usize> = (0..routes.len()).filter(|place| matches(&routes[*place])).collect();
    found.sort_by(|a, b| routes[*a].pattern.precedence(&routes[*b].pattern).0.then(a.cmp(b)));
    found
}

fn by_the_index(table: &RouteTable, key: &RequestKey<'_>) -> Vec<usize> {
    let Some(path) = NormalPath::of(key.path) else { return Vec::new() };
    let wanted = Wanted { scheme: key.scheme, host: key.host, port: key.port, path: &path };
    let mut found = Vec::new();
    let index = Index::new(table.routes());
    let _: ControlFlow<()> = index.walk(table.routes(), wanted, &mut |entry| {
        found.push(entry.route());
        ControlFlow::Continue(())
    });
    found
}

fn table(patterns: &[String]) -> RouteTable {
    let pattern = |text: &String| UrlPattern::parse(text).expect(text);
    RouteTable::new(
        patterns.iter().enumerate().map(|(at, text)| Route::new(format!("r{at}"), pattern(text))).collect(),
    )
}

fn same(table: &RouteTable, key: &RequestKey<'_>) {
    let expected = by_the_rule(table.routes(), key);
    assert_eq!(by_the_index(table, key), expected, "{key:?}");
    let found = table.route(key).ok().map(|found| found.index);
    assert_eq!(found, expected.first().copied(), "{key:?}");
    let explained: Vec<&str> = table.explain(key).iter().map(|own| own.route.name.as_str()).collect();
    let expected: Vec<&str> = expected.iter().map(|place| table.routes()[*place].name.as_str()).collect();
    assert_eq!(explained, expected);
}

/// One of several, by their weights.
fn one<'t>(rng: &mut Rng, of: &[(u32, &'t str)]) -> &'t str {
    let total: u32 = of.iter().map(|(weight, _)| weight).sum();
    let mut at = rng.next_u32() % total;
    for (weight, text) in of {
        if at < *weight {
            return text;
        }
        at -= weight;
    }
    ""
}

fn random_pattern(rng: &mut Rng) -> String {
    let mut text = String::new();
    if !rng.next_u32().is_multiple_of(3) {
        let host = [
            (3, "*"),
            (2, "a.b"),
            (2, "*.b"),
            (1, "a.*"),
            (1, "*.*"),
            (1, "a.*.b"),
            (1, "*.a.*.b"),
            (1, "B"),
            (1, "127.0.0.1"),
            (1, "[::1]"),
        ];
        text.push_str(one(rng, &[(3, "rtsp://"), (1, "rtsps://"), (1, "*://")]));
        text.push_str(one(rng, &host));
        text.push_str(one(rng, &[(4, ""), (1, ":554"), (1, ":8554")]));
    } else {
        text.push('/');
        return text + &random_path(rng);
    }
    if !rng.next_u32().is_multiple_of(8) {
        text.push('/');
        text.push_str(&random_path(rng));
    }
    text
}

fn random_path(rng: &mut Rng) -> String {
    let depth = rng.next_u32() % 5;
    let mut parts: Vec<String> = (0..depth)
        .map(|at| match rng.next_u32() % 8 {
            0 | 1 => format!("{{p{at}}}"),
            2 => String::new(),
            _ => one(rng, &[(3, "x"), (2, "y"), (1, "%7A")]).to_owned(),
        })
        .collect();
    if rng.next_u32().is_multiple_of(4) {
        parts.push("{rest...}".to_owned());
    }
    parts.join("/")
}

fn random_key<'a>(rng: &mut Rng, path: &'a str) -> RequestKey<'a> {
    let hosts = [
        (3, "a.b"),
        (2, "A.B."),
        (1, "b"),
        (1, "x.b"),
        (1, "a.c"),
        (1, "x.a.y.b"),
        (1, "127.0.0.1"),
        (1, "::1"),
        (1, ""),
    ];
    RequestKey {
        scheme: one(rng, &[(2, "rtsp"), (1, "rtsps"), (1, "other")]),
        host: one(rng, &hosts),
        port: [None, Some(554), Some(8554)][(rng.next_u32() % 3) as usize],
        ..RequestKey::new(path, Action::Read)
    }
}

#[test]
fn random_tables_are_searched_as_the_rule_says() {
    let mut rng = Rng::new(1);
    for size in [1, 3, 10, 40, 150, 400] {
        for _ in 0..20 {
            let patterns: Vec<String> = (0..size).map(|_| random_pattern(&mut rng)).collect();
            let table = table(&patterns);
            for _ in 0..100 {
                let depth = rng.next_u32() % 6;
                let path: String = (0..depth)
                    .map(|_| {
                        format!(
                            "/{}",
                            one(&mut rng, &[(3, "x"), (2, "y"), (1, "z"), (1, ""), (1, "w"), (1, "%78")])
                        )
                    })
                    .collect();
                same(&table, &random_key(&mut rng, &path));
            }
        }
    }
}

/// A route as most are, or with something that its entry in the index does not know.
fn random_route(rng: &mut Rng, name: String) -> Route {
    let mut route = Route::new(name, UrlPattern::parse(&random_pattern(rng)).expect("a pattern"));
    let mut chance = |of: u32| rng.next_u32().is_multiple_of(of);
    route.actions = Actions { read: !chance(4), publish: chance(2) };
    let own = || vec![PeerPattern::new("spiffe://a/x")];
    route.from = if chance(8) { own() } else { Vec::new() };
    route.allow = chance(4).then(own);
    route.listeners = if chance(8) { vec!["tls".to_owned()] } else { Vec::new() };
    route.percentage = chance(8).then_some(50);
    let names: String = route.pattern.names().map(|name| format!("/x{{{name}}}")).collect();
    let template = RewriteTemplate::parse(&format!("/to{names}"));
    route.rewrite = template.ok().filter(|own| own.check(&route.pattern).is_ok() && chance(2));
    route
}

#[test]
fn what_an_entry_does_not_know_decides_all_the_same() {
    let mut rng = Rng::new(4);
    let (mut served, mut denied) = (0, 0);
    for _ in 0..60 {
        let routes: Vec<Route> = (0..60).map(|at| random_route(&mut rng, format!("r{at}"))).collect();
        let table = RouteTable::new(routes);
        for _ in 0..100 {
            let depth = rng.next_u32() % 5;
            let path: String = (0..depth)
                .map(|_| format!("/{}", one(&mut rng, &[(2, "x"), (1, "%78"), (1, "q r")])))
                .collect();
            let callers = [
                Caller::Own,
                Caller::Anonymous,
                Caller::Known("spiffe://a/x"),
                Caller::Member("spiffe://a/x"),
            ];
            let mut key = random_key(&mut rng, &path);
            key.caller = callers[(rng.next_u32() % 4) as usize];
            key.action = [Action::Read, Action::Publish][(rng.next_u32() % 2) as usize];
            key.listener = [None, Some("tls")][(rng.next_u32() % 2) as usize];
            key.client = rng.next_u64();
            let by_the_rule = by_the_rule(table.routes(), &key);
            let normal = NormalPath::of(&path).expect("a path");
            let decides = |place: &&usize| table.routes()[**place].consider(&key, &normal).decides();
            let expected = by_the_rule.iter().find(decides).map(|place| &table.routes()[*place]);
            match (table.route(&key), expected.map(|route| (route, route.consider(&key, &normal)))) {
                (Ok(found), Some((route, Verdict::Serves))) => {
                    served += 1;
                    assert_eq!(found.route.name, route.name, "{key:?}");
                    let captures =
                        route.pattern.matches(key.scheme, key.host, key.port, &path).expect("a match");
                    assert_eq!(found.captures(), captures);
                    let rewritten = route.rewrite.as_ref().map(|template| template.expand(&captures).0);
                    assert_eq!(found.path, rewritten.unwrap_or_else(|| normal.whole()), "{key:?}");
                }
                (Err(error), Some((route, Verdict::Denies(_)))) => {
                    denied += 1;
                    let text = error.to_string();
                    assert!(text.starts_with(&format!("route `{}`: ", route.name)), "{text}, {}", route.name);
                }
                (Err(error), None) => assert_ne!(error.name(), "denied"),
                (found, expected) => panic!("{found:?} instead of {expected:?}"),
            }
        }
    }
    assert!(served > 500 && denied > 100, "{served}, {denied}");
}

#[test]
fn all_short_patterns_and_paths() {
    let segments = ["a", "b", "", "{x}", "{r...}"];
    let mut patterns = vec!["/".to_owned()];
    for (at, first) in segments.iter().enumerate() {
        patterns.push(format!("/{first}"));
        for second in segments.iter().filter(|_| at < 4) {
            patterns.push(format!("/{first}/{}", second.replace("{x}", "{y}")));
        }
    }
    let table = table(&patterns);
    for first in ["", "/", "/a", "/b", "/c", "/a/", "/c/"] {
        for second in ["", "/", "/a", "/b", "/c", "//", "/a/", "/c/d"] {
            let path = format!("{first}{second}");
            same(&table, &RequestKey { host: "h", ..RequestKey::new(&path, Action::Read) });
        }
    }
}

#[test]
fn memory_grows_with_the_patterns_and_not_with_their_elements() {
    // As deep as patterns may be, and alike up to their ends.
    let stem = "/a".repeat(super::super::MAX_SEGMENTS - 1);
    let alike: Vec<String> = (0..1000).map(|at| format!("{stem}/{at}")).collect();
    let index = Index::new(table(&alike).routes());
    assert!(index.paths.len() < 1000 + 2 * 130, "{}", index.paths.len());
    // As different as can be: every other segment is a placeholder.
    let mut rng = Rng::new(2);
    let different: Vec<String> = (0..1000)
        .map(|_| {
            (0..128)
                .map(|at| if rng.next_u32().is_multiple_of(2) { "/a".into() } else { format!("/{{p{at}}}") })
                .collect()
        })
        .collect();
    let index = Index::new(table(&different).routes());
    assert!(index.paths.len() < 2000, "{}", index.paths.len());
    let hosts: Vec<String> = (0..1000).map(|at| format!("rtsp://*.{at}{}/x", ".a".repeat(120))).collect();
    let index = Index::new(table(&hosts).routes());
    assert!(index.labels.len() < 2500, "{}", index.labels.len());
}

proptest! {
    #[test]
    fn no_url_panics(host in ".{0,12}", path in ".{0,24}") {
        let patterns = ["/{a}/b", "/{a...}", "rtsp://*.b/x/{y}", "rtsp://a.b/", "/x", "/x/y", "/x/z", "/x/w"];
        let table = table(&patterns.map(str::to_owned));
        same(&table, &RequestKey { host: &host, ..RequestKey::new(&path, Action::Read) });
    }
}
