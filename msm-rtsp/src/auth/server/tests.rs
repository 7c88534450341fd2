use proptest::prelude::*;

use super::*;
use crate::auth::{Authenticator, Credentials};

const URI: &str = "rtsp://h:8554/live/cam?x=1";
const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g";

fn users(kinds: &[Algorithm]) -> Users {
    let line = |kind: &Algorithm| format!("alice:site:{}\n", hash(*kind, "alice:site:secret"));
    Users::parse(&kinds.iter().map(line).collect::<String>()).unwrap()
}

fn client(password: &str) -> Authenticator {
    Authenticator::new(Some(Credentials { user: "alice".into(), password: password.into() }), 5)
}

fn claim<'a>(method: &'a str, authorization: &'a Option<String>) -> Claim<'a> {
    Claim { method, uri: URI, authorization: authorization.as_deref() }
}

/// Client and server, under virtual time.
struct Talk {
    users: Users,
    guard: Guard,
    client: Authenticator,
    now: Instant,
}

impl Talk {
    fn new(kinds: &[Algorithm], password: &str) -> Self {
        Self { users: users(kinds), guard: Guard::new(9), client: client(password), now: Instant::now() }
    }

    fn challenge(&mut self, stale: bool) {
        let values = self.guard.challenges(self.now, &self.users, false, stale);
        self.client.handle_challenge(values.iter().map(String::as_str)).unwrap();
    }

    fn ask(&mut self, method: &str) -> Verdict {
        let header = self.client.authorize(method, URI);
        self.guard.check(self.now, &self.users, false, &claim(method, &header))
    }
}

#[test]
fn our_own_client_gets_in_by_either_algorithm() {
    for kinds in [&[Algorithm::Md5][..], &[Algorithm::Sha256], &[Algorithm::Md5, Algorithm::Sha256]] {
        let mut talk = Talk::new(kinds, "secret");
        assert_eq!(talk.ask("DESCRIBE"), Verdict::Missing);
        talk.challenge(false);
        for method in ["DESCRIBE", "SETUP", "PLAY"] {
            assert_eq!(talk.ask(method), Verdict::Granted("alice".into()));
        }
        let mut wrong = Talk::new(kinds, "guess");
        wrong.challenge(false);
        assert_eq!(wrong.ask("DESCRIBE"), Verdict::Wrong("alice".into()));
    }
}

#[test]
fn challenges_come_strongest_first_and_basic_only_where_it_is_allowed() {
    let text = format!(
        "alice:site:{}\nalice:site:{}\nbob:site:{HASH}\n",
        hash(Algorithm::Md5, "alice:site:secret"),
        hash(Algorithm::Sha256, "alice:site:secret")
    );
    let users = Users::parse(&text).unwrap();
    let mut guard = Guard::new(1);
    let values = guard.challenges(Instant::now(), &users, true, false);
    let begins: Vec<&str> = values.iter().map(|value| &value[..6]).collect();
    assert_eq!(begins, ["Digest", "Digest", "Basic "]);
    assert!(values[0].contains("SHA-256") && values[1].contains("MD5"), "{values:?}");
    assert_eq!(guard.challenges(Instant::now(), &users, false, false).len(), 2);
    let only = Users::parse(&format!("bob:site:{HASH}\n")).unwrap();
    assert_eq!(
        guard.challenges(Instant::now(), &only, true, false),
        ["Basic realm=\"site\", charset=\"UTF-8\""]
    );
}

#[test]
fn an_old_nonce_is_stale_and_no_failure() {
    let mut talk = Talk::new(&[Algorithm::Md5], "secret");
    talk.challenge(false);
    assert_eq!(talk.ask("DESCRIBE"), Verdict::Granted("alice".into()));
    talk.now += NONCE_TIME;
    assert_eq!(talk.ask("PLAY"), Verdict::Stale("alice".into()));
    talk.challenge(true);
    assert_eq!(talk.ask("PLAY"), Verdict::Granted("alice".into()));
    // Wrong credentials are wrong, however old the nonce is.
    let mut wrong = Talk::new(&[Algorithm::Md5], "guess");
    wrong.challenge(false);
    wrong.now += NONCE_TIME;
    assert_eq!(wrong.ask("PLAY"), Verdict::Wrong("alice".into()));
}

#[test]
fn what_was_sent_once_does_not_count_again() {
    let mut talk = Talk::new(&[Algorithm::Sha256], "secret");
    talk.challenge(false);
    let first = talk.client.authorize("DESCRIBE", URI);
    let judge = |talk: &mut Talk, header: &Option<String>, method| {
        talk.guard.check(talk.now, &talk.users, false, &claim(method, header))
    };
    assert_eq!(judge(&mut talk, &first, "DESCRIBE"), Verdict::Granted("alice".into()));
    assert_eq!(judge(&mut talk, &first, "DESCRIBE"), Verdict::Stale("alice".into()));
    assert_eq!(judge(&mut talk, &first, "TEARDOWN"), Verdict::Wrong("alice".into()), "for another method");
    // On another connection the nonce is nobody's.
    let mut other = Talk::new(&[Algorithm::Sha256], "secret");
    other.guard = Guard::new(10);
    assert_eq!(judge(&mut other, &first, "DESCRIBE"), Verdict::Stale("alice".into()));
}

#[test]
fn clients_that_do_not_count_get_in() {
    // RFC 2069, as live555 does it.
    let users = users(&[Algorithm::Md5]);
    let (mut guard, now) = (Guard::new(3), Instant::now());
    let challenge = guard.challenges(now, &users, false, false).remove(0);
    let nonce = challenge.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let (a1, a2) = (hash(Algorithm::Md5, "alice:site:secret"), hash(Algorithm::Md5, &format!("PLAY:{URI}")));
    let response = hash(Algorithm::Md5, &format!("{a1}:{nonce}:{a2}"));
    let header = Some(format!(
        "Digest username=\"alice\", realm=\"site\", nonce=\"{nonce}\", uri=\"{URI}\", response=\"{response}\""
    ));
    assert_eq!(guard.check(now, &users, false, &claim("PLAY", &header)), Verdict::Granted("alice".into()));
    let elsewhere = Claim { uri: "rtsp://h/other", ..claim("PLAY", &header) };
    assert_eq!(guard.check(now, &users, false, &elsewhere), Verdict::Wrong("alice".into()));
}

#[test]
fn passwords_are_looked_at_only_where_they_may_be_sent() {
    let text = format!("alice:site:{}\nbob:site:{HASH}\n", hash(Algorithm::Md5, "alice:site:secret"));
    let users = Users::parse(&text).unwrap();
    let mut guard = Guard::new(1);
    let mut ask = |pair: &str, basic| {
        let header = Some(format!("Basic {}", STANDARD.encode(pair)));
        guard.check(Instant::now(), &users, basic, &claim("DESCRIBE", &header))
    };
    assert_eq!(ask("alice:secret", true), Verdict::Granted("alice".into()));
    assert_eq!(ask("alice:secret", false), Verdict::Wrong(String::new()));
    assert_eq!(ask("alice", true), Verdict::Wrong(String::new()));
    for (pair, is_nobody) in [("bob:a:b", false), ("alice:a:b", true), ("carol:a:b", true)] {
        let Verdict::Password(login) = ask(pair, true) else { panic!("{pair} is to be verified") };
        assert_eq!((login.password.as_str(), &*login.hash, login.is_nobody), ("a:b", HASH, is_nobody));
        assert!(!format!("{login:?}").contains("a:b"));
    }
}

/// How long an answer takes says nothing of whom there is: where any password is slow to verify, each is.
#[test]
fn a_wrong_password_takes_as_long_for_everybody() {
    let text = format!("alice:site:{}\nbob:site:{HASH}\n", hash(Algorithm::Md5, "alice:site:secret"));
    let users = Users::parse(&text).unwrap();
    for pair in ["alice:guess", "bob:guess", "carol:guess"] {
        let header = Some(format!("Basic {}", STANDARD.encode(pair)));
        let verdict = Guard::new(1).check(Instant::now(), &users, true, &claim("DESCRIBE", &header));
        assert!(matches!(verdict, Verdict::Password(_)), "{pair}: {verdict:?}");
    }
}

#[test]
fn odd_credentials_are_wrong() {
    let users = users(&[Algorithm::Md5]);
    for text in [
        "",
        "Digest",
        "Basic",
        "Basic \u{e9}",
        "Bearer x",
        "Digest username=\"alice\"",
        "Digest username=\"alice\", realm=\"other\", nonce=\"n\", uri=\"u\", response=\"r\"",
        "Digest username=\"alice\", realm=\"site\", nonce=\"n\", uri=\"u\", response=\"r\", qop=auth-int",
        "Digest username=\"alice\", realm=\"site\", nonce=\"n\", uri=\"u\", response=\"r\", qop=auth, nc=zz",
        "Digest username=\"alice\", realm=\"site\", nonce=\"n\", uri=\"u\", response=\"r\", algorithm=SHA-512",
    ] {
        let header = Some(text.to_owned());
        let verdict = Guard::new(1).check(Instant::now(), &users, true, &claim("PLAY", &header));
        assert_eq!(verdict, Verdict::Wrong(String::new()), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_lets_anybody_in(text in ".{0,200}", digest in any::<bool>()) {
        let users = users(&[Algorithm::Md5, Algorithm::Sha256]);
        let header = Some(if digest { format!("Digest {text}") } else { text });
        let verdict = Guard::new(1).check(Instant::now(), &users, true, &claim("PLAY", &header));
        prop_assert!(matches!(verdict, Verdict::Wrong(_)), "{verdict:?}");
    }
}
