use super::super::{Action, Caller, Denial, RequestKey, hash};
use super::*;

fn route(name: &str, pattern: &str, actions: &[Action], rewrite: Option<&str>) -> Route {
    let mut route = Route::new(name, UrlPattern::parse(pattern).expect(pattern));
    route.actions = actions.iter().copied().collect();
    route.rewrite = rewrite.map(|text| RewriteTemplate::parse(text).expect(text));
    route
}

fn key(path: &str, action: Action) -> RequestKey<'_> {
    RequestKey { host: "mesh", port: Some(8554), caller: Caller::Anonymous, ..RequestKey::new(path, action) }
}

fn table() -> RouteTable {
    RouteTable::new(vec![
        route("all", "/{path...}", &[Action::Read], None),
        route("news", "rtsp://*/news/{feed}", &[Action::Read], Some("/live/{feed}")),
        route("ingest", "/in/{name...}", &[Action::Publish], None),
    ])
}

#[test]
fn the_first_by_precedence_that_is_for_the_request_serves_it() {
    let table = table();
    let found = table.route(&key("/news/eu", Action::Read)).expect("found");
    assert_eq!((found.route.name.as_str(), found.index, found.path.as_str()), ("news", 1, "/live/eu"));
    assert_eq!(found.captures().get("feed"), Some("eu"));
    let found = table.route(&key("/news/eu/more", Action::Read)).expect("found");
    assert_eq!((found.route.name.as_str(), found.path.as_str()), ("all", "/news/eu/more"));
    let found = table.route(&key("", Action::Read)).expect("found");
    assert_eq!(found.path, "/");
    assert!(found.route.is_local());
}

#[test]
fn an_action_is_part_of_the_match() {
    let table = table();
    assert_eq!(table.route(&key("/in/a", Action::Publish)).expect("found").route.name, "ingest");
    assert_eq!(table.route(&key("/in/a", Action::Read)).expect("found").route.name, "all");
    let error = table.route(&key("/news/eu", Action::Publish)).expect_err("read only");
    assert_eq!(error, RouteError::Action { route: "news".into(), action: Action::Publish });
    assert_eq!(error.name(), "action");
}

#[test]
fn no_route_and_bad_path() {
    let table = RouteTable::new(vec![route("a", "/a", &[Action::Read], None)]);
    assert_eq!(table.route(&key("/b", Action::Read)), Err(RouteError::NoRoute));
    for path in ["/a/../a", "/%2e%2E/a", "/./a", "a", "*"] {
        assert_eq!(table.route(&key(path, Action::Read)), Err(RouteError::BadPath), "{path}");
    }
}

#[test]
fn queries_pass_unless_the_template_has_one() {
    let table = RouteTable::new(vec![
        route("cam", "/cam/{n}", &[Action::Read], Some("/real?channel={n}")),
        route("all", "/{p...}", &[Action::Read], None),
    ]);
    let mut request = key("/cam/7", Action::Read);
    request.query = Some("channel=9");
    assert_eq!(table.route(&request).expect("found").path_and_query(), "/real?channel=7");
    request.path = "/x%2f y";
    request.query = Some("a=1\r\nEvil: 1");
    assert_eq!(table.route(&request).expect("found").path_and_query(), "/x%2F%20y?a=1%0D%0AEvil:%201");
}

fn patterns(texts: &[&str]) -> Vec<PeerPattern> {
    texts.iter().map(|text| PeerPattern::new(text)).collect()
}

#[test]
fn from_selects_and_allow_decides_without_falling_through() {
    let mut editors = route("editors", "/news/{feed}", &[Action::Read], None);
    editors.from = patterns(&["spiffe://a.example/ns/edit/*"]);
    editors.allow = Some(patterns(&["spiffe://a.example/ns/edit/anna"]));
    let mut all = route("all", "/{path...}", &[Action::Read], None);
    all.allow = Some(patterns(&["spiffe://a.example/*"]));
    let table = RouteTable::new(vec![editors, all]);
    let asked = |caller| RequestKey { caller, ..key("/news/eu", Action::Read) };
    let serves = |caller| table.route(&asked(caller)).map(|found| found.route.name.clone());
    assert_eq!(serves(Caller::Member("spiffe://a.example/ns/edit/anna")).as_deref(), Ok("editors"));
    // A broader route below would serve it, and is never reached.
    let error = serves(Caller::Member("spiffe://a.example/ns/edit/bert")).unwrap_err();
    assert!(matches!(&error, RouteError::Denied { route, .. } if route == "editors"), "{error}");
    assert_eq!(error.name(), "denied");
    assert_eq!(serves(Caller::Known("spiffe://a.example/ns/other/carl")).as_deref(), Ok("all"));
    assert!(serves(Caller::Member("spiffe://b.example/ns/edit/anna")).is_err());
    assert!(serves(Caller::Anonymous).is_err());
    assert_eq!(serves(Caller::Own).as_deref(), Ok("all"));
    let asked = asked(Caller::Member("spiffe://a.example/ns/edit/bert"));
    let steps = table.explain(&asked);
    assert!(matches!(&steps[0].verdict, Verdict::Denies(Denial::NotListed { .. })));
    assert_eq!((steps[0].behind, steps[1].behind), (None, Some(Precedence::Path)), "{steps:?}");
    assert_eq!((steps[1].route.name.as_str(), &steps[1].verdict), ("all", &Verdict::Serves));
}

#[test]
fn conditions_pass_a_request_on_and_change_no_order() {
    let headers = vec![("user-agent".to_owned(), "VLC/3.0".to_owned())];
    let of = |name: &str, pattern: &str| route(name, pattern, &[Action::Read], None);
    let (mut agent, mut listener) = (of("agent", "/a/{x}"), of("listener", "/a/{y}"));
    agent.headers = vec![
        HeaderPattern::parse("User-Agent", "VLC*").expect("a pattern"),
        HeaderPattern::parse("X-Test", "*").expect("a pattern"),
    ];
    listener.listeners = vec!["outside".into(), "tls".into()];
    let table = RouteTable::new(vec![of("all", "/{p...}"), agent, listener, of("rest", "/a/{z...}")]);
    let mut asked = key("/a/b", Action::Read);
    let serves = |key: &RequestKey<'_>| table.route(key).map(|found| found.route.name.clone());
    assert_eq!(serves(&asked).as_deref(), Ok("rest"));
    asked.listener = Some("tls");
    assert_eq!(serves(&asked).as_deref(), Ok("listener"));
    asked.headers = &headers;
    assert_eq!(serves(&asked).as_deref(), Ok("listener"), "one of two headers is not enough");
    let steps = table.explain(&asked);
    assert_eq!(steps[0].verdict, Verdict::OtherHeaders { wanted: "X-Test: *".into() });
    let both = [headers.clone(), vec![("X-Test".to_owned(), String::new())]].concat();
    asked.headers = &both;
    assert_eq!(serves(&asked).as_deref(), Ok("agent"));
}

#[test]
fn a_percentage_is_sticky_by_client_and_url() {
    let mut some = route("some", "/{p...}", &[Action::Read], None);
    some.percentage = Some(30);
    let table = RouteTable::new(vec![some, route("others", "/{p...}", &[Action::Read], None)]);
    let serves = |client: u64, path: &str| {
        let asked = RequestKey { client: hash(&client.to_be_bytes()), ..key(path, Action::Read) };
        table.route(&asked).expect("routed").route.name.clone()
    };
    let took = (0..10_000).filter(|client| serves(*client, "/cam") == "some").count() as f64;
    // Five standard deviations of a binomial distribution.
    assert!((took - 3_000.0).abs() < 5.0 * (10_000.0_f64 * 0.3 * 0.7).sqrt(), "{took}");
    for client in 0..100 {
        assert_eq!(serves(client, "/cam"), serves(client, "/c%61m/"), "spellings of one URL");
    }
    let differs = (0..1000).filter(|client| serves(*client, "/cam") != serves(*client, "/other")).count();
    assert!(differs > 300, "another URL is another draw: {differs}");
}

#[test]
fn what_takes_all_of_another_s_requests() {
    let plain = route("plain", "/a", &[Action::Read, Action::Publish], None);
    let mut picky = plain.clone();
    picky.listeners = vec!["x".into()];
    assert!(plain.takes_all_of(&picky) && !picky.takes_all_of(&plain) && picky.takes_all_of(&picky));
    let mut half = plain.clone();
    half.percentage = Some(50);
    assert!(plain.takes_all_of(&half) && !half.takes_all_of(&half));
}
