use super::*;

const YAML: &str = "
identity: {ephemeral: {trust_domain: a.example, path: /me}}
listeners: [{name: mesh, address: '127.0.0.1:8050', protocol: mesh}, {name: rtsp, address: '127.0.0.1:0'}]
routes:
  - {name: all, match: {url: '/{path...}'}, allow: ['spiffe://a.example/*']}
  - {name: editors, match: {url: '/news/{feed}', from: ['spiffe://a.example/ns/edit/*']}, allow: ['spiffe://a.example/ns/edit/anna'], backends: [{cluster: far}], rewrite: '/live/{feed}'}
  - {name: in, match: {url: '/in/{feed}', actions: [publish]}}
  - {name: vlc, match: {url: '/tv/{n}', headers: {user-agent: 'VLC*'}, listeners: [rtsp]}, backends: [{cluster: a, weight: 3}, {cluster: b, weight: 1}]}
  - {name: some, match: {url: '/tv/{n}', percentage: 40%}, redirect: {to: 'rtsp://[2001:db8::7]/{n}', status: 301}}
  - {name: tv, match: {url: '/tv/{n}'}}
clusters:
  far: {endpoints: ['rtsp://10.0.0.1:8050'], hop: mesh, peers: ['spiffe://a.example/far']}
  a: {endpoints: ['rtsp://10.0.0.2', 'rtsp://10.0.0.3']}
  b: {endpoints: ['rtsp://10.0.0.4']}
";

fn config(yaml: &str) -> Config {
    Config::from_yaml(yaml, "msm.yaml", std::iter::empty()).unwrap()
}

fn from(url: &str, id: &str) -> Question {
    Question { from: Some(id.to_owned()), ..Question::read(url) }
}

fn client(url: &str, last: u8) -> Question {
    Question { client: Some(IpAddr::from([192, 0, 2, last])), ..Question::read(url) }
}

#[test]
fn the_route_that_serves_is_named_with_its_cluster_and_who_must_serve() {
    let found = config(YAML).explain(&from("rtsp://h/news/eu", "spiffe://a.example/ns/edit/anna")).unwrap();
    assert!(found.served);
    let text = found.to_string();
    let wanted = "→ editors  `/news/{feed}` matches, and `allow` lists spiffe://a.example/ns/edit/anna; of those that match it \
                  comes first, as its path is the more exact one\n  all      not asked: `editors` comes first, as its path is \
                  the more exact one\n";
    assert!(text.starts_with(wanted), "{text}");
    let wanted = "200: route `editors` serves it\n→ /live/eu, from cluster `far` (weight 1, 100% of streams, mesh hop, by \
                  round_robin); who must be spiffe://a.example/far\n      rtsp://10.0.0.1:8050  weight 1, health: only a \
                  running proxy knows\n";
    assert!(text.ends_with(wanted), "{text}");
    assert!(text.contains("  in       `/in/{feed}` does not match the URL\n"), "{text}");
}

#[test]
fn a_fallback_is_named_with_its_cluster() {
    let yaml = YAML.replace("hop: mesh, peers", "hop: mesh, fallback: rtsps, peers");
    let found = config(&yaml).explain(&from("rtsp://h/news/eu", "spiffe://a.example/ns/edit/anna")).unwrap();
    assert_eq!(found.backends[0].fallback, "rtsps");
    let wanted = "mesh hop, or RTSP over TLS where an endpoint knows none, by";
    assert!(found.to_string().contains(wanted), "{found}");
}

#[test]
fn a_denial_says_why_and_stops_there() {
    let found = config(YAML).explain(&from("rtsp://h/news/eu", "spiffe://a.example/ns/edit/bert")).unwrap();
    assert_eq!((found.served, found.status), (false, 403));
    assert!(found.routes[0].decides && found.routes[0].route == "editors", "{found}");
    assert_eq!(
        found.decision,
        "route `editors`: `allow` lists spiffe://a.example/ns/edit/anna, and the caller is spiffe://a.example/ns/edit/bert"
    );
    let found = config(YAML).explain(&Question::read("rtsp://h/news/eu")).unwrap();
    assert_eq!(found.status, 403);
    assert_eq!(found.routes[0].why, "`from` selects spiffe://a.example/ns/edit/*");
    assert!(found.routes[1].why.ends_with("and the caller has shown no identity"), "{found}");
}

#[test]
fn conditions_are_said_and_the_side_that_a_client_is_on() {
    let config = config(YAML);
    let ask = |mut question: Question| {
        question.headers = vec![("User-Agent".into(), "VLC/3".into())];
        question.listener = Some("rtsp".into());
        config.explain(&question).unwrap()
    };
    let found = ask(Question::read("rtsp://h/tv/1"));
    assert!(found.served && found.backends.iter().all(|own| own.chosen.is_none()), "{found}");
    assert_eq!(found.backends.iter().map(|own| own.share).collect::<Vec<_>>(), [75.0, 25.0]);
    assert!(found.side.as_ref().unwrap().contains("--client"), "{found}");
    assert!(found.routes[1].why.ends_with("stands first in the file"), "{found}");
    let sides: Vec<_> = (0..100).map(|last| ask(client("rtsp://h/tv/1", last))).collect();
    let on_a = sides.iter().filter(|own| own.backends[0].chosen == Some(true)).count();
    assert!((55..95).contains(&on_a), "{on_a}");
    assert!(sides[0].to_string().contains("→ /tv/1, from cluster `"), "{}", sides[0]);

    let found = config.explain(&Question::read("rtsp://h/tv/1")).unwrap();
    assert_eq!(found.routes[0].why, "`listeners` selects rtsp");
    let mut question = Question::read("rtsp://h/tv/1");
    question.listener = Some("rtsp".into());
    assert_eq!(config.explain(&question).unwrap().routes[0].why, "`headers` wants `user-agent: VLC*`");
    question.listener = Some("rstp".into());
    let error = config.explain(&question).unwrap_err();
    assert_eq!(error, "--listener: there is no listener `rstp`, but mesh, rtsp");
}

#[test]
fn who_was_on_the_side_of_a_canary_that_is_rolled_back_is_on_another() {
    let yaml =
        YAML.replace("listeners: [rtsp]}, backends", "listeners: [rtsp]}, canary: {window: 30s}, backends");
    let config = config(&yaml);
    let all = (0..100).map(|last| {
        let mut question = client("rtsp://h/tv/1", last);
        question.headers = vec![("User-Agent".into(), "VLC/3".into())];
        question.listener = Some("rtsp".into());
        config.explain(&question).unwrap()
    });
    let mut found = all.into_iter().find(|own| own.backends[1].chosen == Some(true)).unwrap();
    assert!(!found.backends[0].canary && found.backends[1].canary, "the one with the least weight: {found}");
    assert!(
        found.to_string().contains("canary: whether it is rolled back, only a running proxy knows"),
        "{found}"
    );
    found.roll_back("a", "nobody says so of what is no canary");
    assert_eq!(found.backends[0].rolled_back, None);
    found.roll_back("b", "12 of 15 sessions could not be set up");
    assert_eq!((found.backends[0].chosen, found.backends[1].chosen), (Some(true), Some(false)));
    assert!(found.to_string().contains("rolled back: its streams are the others' now; 12 of 15"), "{found}");
}

#[test]
fn a_redirect_and_its_share_are_said() {
    let config = config(YAML);
    let all: Vec<_> = (0..100).map(|last| config.explain(&client("rtsp://h/tv/1", last)).unwrap()).collect();
    let (sent, served): (Vec<_>, Vec<_>) = all.iter().partition(|own| own.redirect.is_some());
    assert!((20..60).contains(&sent.len()), "{}", sent.len());
    assert_eq!((sent[0].status, sent[0].redirect.as_deref()), (301, Some("rtsp://[2001:db8::7]/1")));
    assert!(sent[0].routes[1].why.contains("among its 40%"), "{}", sent[0]);
    assert!(served[0].routes[1].why.contains("not these") && served[0].served, "{}", served[0]);
    let found = config.explain(&Question::read("rtsp://h/tv/1")).unwrap();
    assert!(found.side.unwrap().contains("takes 40% of clients"));
    let tls = all.iter().position(|own| own.redirect.is_some()).unwrap();
    let found = config.explain(&client("rtsps://h/tv/1", u8::try_from(tls).unwrap())).unwrap();
    assert_eq!((found.status, found.redirect), (403, None), "never from TLS to the clear");
}

#[test]
fn what_cannot_be_asked_is_said() {
    let config = Config::default();
    assert!(config.explain(&Question::read("nonsense")).unwrap_err().starts_with("the URL: "));
    let error = config.explain(&from("rtsp://h/a", "spiffe://A b")).unwrap_err();
    assert!(error.starts_with("--from: "), "{error}");
    let publish = Question { action: ActionConfig::Publish, ..Question::read("rtsp://h/a") };
    assert!(config.explain(&publish).unwrap().served);
}

#[test]
fn many_routes_are_counted() {
    let mut yaml = String::from("routes:\n");
    for number in 0..100 {
        yaml.push_str(&format!("  - {{match: {{url: '/a/{number}'}}}}\n"));
    }
    let found = config(&yaml).explain(&Question::read("rtsp://h/a/7")).unwrap();
    assert_eq!((found.routes.len(), found.others), (1, 99));
    assert!(found.to_string().contains("and 99 others that do not match the URL\n"), "{found}");
}

#[test]
fn a_mirror_says_whether_this_stream_is_copied() {
    let yaml = "
routes:
  - {name: live, match: {url: '/live/{n}'}, backends: [{cluster: a}], mirror: {cluster: b, percentage: 50%}}
  - {name: all, match: {url: '/{n}'}, mirror: {cluster: b}}
clusters: {a: {endpoints: ['rtsp://10.0.0.2']}, b: {endpoints: ['rtsp://10.0.0.3']}}
";
    let explain = |question: &Question| config(yaml).explain(question).unwrap();
    let copied = |url: &str| explain(&client(url, 1)).mirror.unwrap().copied.unwrap();
    let urls: Vec<_> = (0..20).map(|number| format!("rtsp://h/live/{number}")).collect();
    let (yes, no): (Vec<&String>, Vec<&String>) = urls.iter().partition(|url| copied(url));
    let text = |url: &str| explain(&client(url, 1)).to_string();
    let begins = "  mirror: 50% of streams are copied to cluster `b`; ";
    assert!(text(yes[0]).contains(&format!("{begins}this one is, ")), "{}", text(yes[0]));
    assert!(text(no[0]).contains(&format!("{begins}this one is not, ")), "{}", text(no[0]));
    let unknown = explain(&Question::read("rtsp://h/live/1"));
    assert_eq!(unknown.mirror.as_ref().unwrap().copied, None);
    assert!(unknown.to_string().contains("name a client by --client or --from"), "{unknown}");
    // What is read from this process is not copied: it was when it was published.
    assert_eq!(explain(&Question::read("rtsp://h/cam")).mirror, None);
    let publish = Question { action: ActionConfig::Publish, ..Question::read("rtsp://h/cam") };
    assert_eq!(explain(&publish).mirror.unwrap().copied, Some(true));
}
