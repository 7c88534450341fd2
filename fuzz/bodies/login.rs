//! Logins: nobody gets in without the user's secret, a count is good once, a password is shown nowhere, and our client answers
//! what a server may ask, whatever else it asks.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::Instant;

use msm_rtsp::auth::server::{Claim, Guard, Verdict};
use msm_rtsp::auth::users::Users;
use msm_rtsp::auth::{Authenticator, Credentials};

/// H(alice:site:secret) by MD5 and by SHA-256, and bob with a password's hash.
const USERS: &str = "alice:site:838d8fedca485b63a387002c2c1e1ec9\n\
    alice:site:15d32ef3647ebb9d53c02aababdced76a4eb73296174d38d69d27bcb7fe75520\n\
    bob:site:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g\n";
const URI: &str = "rtsp://h/cam";

/// The first line is an Authorization, in which `@` stands for the nonce that was given and `#` for a right answer of our
/// client's; the second is a challenge; the rest is a file of users.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(3, '\n');
    let (header, challenge, file) = (parts.next(), parts.next(), parts.next());
    let users = Users::parse(USERS).unwrap();
    let now = Instant::now();
    for basic in [false, true] {
        server(now, &users, header.unwrap_or_default(), basic);
    }
    client(challenge.unwrap_or_default());
    match Users::parse(file.unwrap_or_default()) {
        Ok(read) => {
            let mut guard = Guard::new(1);
            for challenge in guard.challenges(now, &read, true, true) {
                assert!(!challenge.contains(['\r', '\n']), "{challenge:?}");
            }
        }
        // No secret is repeated.
        Err(error) => assert!(error.to_string().len() < 300, "{error}"),
    }
}

fn server(now: Instant, users: &Users, header: &str, basic: bool) {
    let mut guard = Guard::new(7);
    let challenges = guard.challenges(now, users, basic, false);
    let nonce = challenges
        .first()
        .and_then(|first| first.split("nonce=\"").nth(1))
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    let credentials = Credentials { user: "alice".into(), password: "secret".into() };
    let mut alice = Authenticator::new(Some(credentials), 5);
    alice.handle_challenge(challenges.iter().map(String::as_str)).unwrap();
    let right = alice.authorize("PLAY", URI).unwrap();
    let response = right.split("response=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let header = header.replace('@', nonce).replace('#', &right);
    let claim = Claim { method: "PLAY", uri: URI, authorization: Some(&header) };
    let verdict = guard.check(now, users, basic, &claim);
    match &verdict {
        Verdict::Granted(user) => {
            assert_eq!(user, "alice");
            let by_password = basic && header.trim_start().to_ascii_lowercase().starts_with("basic");
            assert!(by_password || header.contains(response), "{header}");
            let again = guard.check(now, users, basic, &claim);
            assert!(
                by_password || !header.contains("nc=") || again == Verdict::Stale(user.clone()),
                "{header}: {again:?}"
            );
        }
        Verdict::Password(login) => {
            assert!(basic);
            let shown = format!("{verdict:?}");
            assert!(
                login.password.len() < 8
                    || login.user.contains(&login.password)
                    || !shown.contains(&login.password)
            );
        }
        Verdict::Missing => panic!("there are credentials: {header}"),
        Verdict::Stale(user) => assert_eq!(user, "alice", "{header}"),
        Verdict::Wrong(_) => {}
    }
}

fn client(challenge: &str) {
    let credentials = Credentials { user: "alice".into(), password: "top-secret".into() };
    let mut client = Authenticator::new(Some(credentials), 5);
    if client.handle_challenge([challenge].into_iter()).is_err() {
        return;
    }
    if let Some(header) = client.authorize("PLAY", URI) {
        assert!(!header.contains(['\r', '\n']), "{header:?}");
        assert!(!header.contains("top-secret"), "a password goes out only as Basic encodes it");
    }
}
