//! Answers to a server's challenge: Digest (`RFC 7616`, MD5 and SHA-256) and Basic (`RFC 7617`); [`server`] is the other
//! side, and [`users`] whom it knows.

pub mod server;
pub mod users;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_auth::ChallengeParser;
use md5::Md5;
use msm_core::rng::Rng;
use sha2::{Digest, Sha256};

/// User and password. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// Why a challenge could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// No credentials are configured.
    #[error("the server asks for credentials and none are configured")]
    NoCredentials,
    /// Neither Digest with a known algorithm nor Basic is offered.
    #[error("the server offers neither Digest (MD5, SHA-256) nor Basic")]
    NoScheme,
    /// The server refused what was sent.
    #[error("the server refused the credentials")]
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Md5,
    Sha256,
}

#[derive(Clone, Debug)]
struct DigestState {
    algorithm: Algorithm,
    session: bool,
    name: Option<String>,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    qop_auth: bool,
    count: u32,
    /// One for each nonce: the session variants hash it once for all requests (`RFC 7616 §3.4.2`).
    cnonce: String,
}

#[derive(Clone, Debug)]
enum Scheme {
    Basic,
    Digest(DigestState),
}

/// Challenges in a row that were each answered once and refused again. A server that makes a new nonce for every 401,
/// as most do, would otherwise be asked for ever.
const MAX_STALE: u32 = 3;

/// Authenticates the requests of one connection.
#[derive(Clone)]
pub struct Authenticator {
    credentials: Option<Credentials>,
    scheme: Option<Scheme>,
    /// Requests since the last challenge.
    uses: u32,
    /// Challenges in a row whose first answer was refused.
    refused: u32,
    /// Challenges taken.
    generation: u64,
    rng: Rng,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

impl Authenticator {
    /// `seed` makes the client nonces: it must not be guessable.
    #[must_use]
    pub fn new(credentials: Option<Credentials>, seed: u64) -> Self {
        Self { credentials, scheme: None, uses: 0, refused: 0, generation: 0, rng: Rng::new(seed) }
    }

    /// Takes the WWW-Authenticate values of a 401. The strongest scheme offered is used.
    ///
    /// # Errors
    /// [`AuthError::Refused`] when the credentials were sent and nothing says that only the nonce was old: neither
    /// `stale`, nor that the nonce had been good for a request before. Wrong credentials are sent once, as cameras lock
    /// accounts.
    pub fn handle_challenge<'a>(&mut self, values: impl Iterator<Item = &'a str>) -> Result<(), AuthError> {
        if self.credentials.is_none() {
            return Err(AuthError::NoCredentials);
        }
        let mut best: Option<(Scheme, bool)> = None;
        for challenge in values.flat_map(|value| ChallengeParser::new(value).flatten().collect::<Vec<_>>()) {
            let parameter = |name: &str| {
                let found = challenge.params.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("Basic") {
                best.get_or_insert((Scheme::Basic, false));
                continue;
            }
            if !challenge.scheme.eq_ignore_ascii_case("Digest") {
                continue;
            }
            let name = parameter("algorithm");
            let upper = name.as_deref().unwrap_or("MD5").to_ascii_uppercase();
            let (algorithm, session) = match upper.as_str() {
                "MD5" => (Algorithm::Md5, false),
                "MD5-SESS" => (Algorithm::Md5, true),
                "SHA-256" => (Algorithm::Sha256, false),
                "SHA-256-SESS" => (Algorithm::Sha256, true),
                _ => continue,
            };
            let (Some(realm), Some(nonce)) = (parameter("realm"), parameter("nonce")) else { continue };
            let qop = parameter("qop");
            let qop_auth = qop.as_deref().is_some_and(|qop| qop.split(',').any(|one| one.trim() == "auth"));
            if qop.is_some() && !qop_auth {
                // Bodies are to be protected too (auth-int), which nobody is known to ask for in RTSP.
                continue;
            }
            let stronger = match &best {
                Some((Scheme::Digest(own), _)) => algorithm > own.algorithm,
                _ => true,
            };
            if stronger {
                let stale = parameter("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true"));
                let opaque = parameter("opaque");
                let cnonce = format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64());
                let state = DigestState {
                    algorithm,
                    session,
                    name,
                    realm,
                    nonce,
                    opaque,
                    qop_auth,
                    count: 0,
                    cnonce,
                };
                best = Some((Scheme::Digest(state), stale));
            }
        }
        let (scheme, stale) = best.ok_or(AuthError::NoScheme)?;
        let first_use = self.uses <= 1;
        let same = match (&self.scheme, &scheme) {
            (Some(Scheme::Basic), Scheme::Basic) => true,
            // A server may end a nonce without saying `stale`; but one that it has just made cannot be old.
            (Some(Scheme::Digest(before)), Scheme::Digest(now)) => {
                !stale && (first_use || before.nonce == now.nonce)
            }
            _ => false,
        };
        self.refused = if first_use { self.refused.saturating_add(1) } else { 0 };
        if same || self.refused > MAX_STALE {
            return Err(AuthError::Refused);
        }
        self.uses = 0;
        self.generation += 1;
        self.scheme = Some(scheme);
        Ok(())
    }

    /// Changes with every challenge that is taken. The refusal of a request from before the latest change says nothing
    /// about the credentials: it is to be sent again, and its challenge not looked at.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The Authorization header of a request, once the server has asked for it. `uri` is the request URI to the byte.
    pub fn authorize(&mut self, method: &str, uri: &str) -> Option<String> {
        let credentials = self.credentials.as_ref()?;
        let scheme = self.scheme.as_mut()?;
        self.uses = self.uses.saturating_add(1);
        match scheme {
            Scheme::Basic => {
                let pair = format!("{}:{}", credentials.user, credentials.password);
                Some(format!("Basic {}", STANDARD.encode(pair)))
            }
            Scheme::Digest(state) => {
                state.count = state.count.wrapping_add(1);
                Some(state.answer(credentials, method, uri))
            }
        }
    }
}

impl DigestState {
    fn answer(&self, credentials: &Credentials, method: &str, uri: &str) -> String {
        let cnonce = &self.cnonce;
        let hash = |text: String| hash(self.algorithm, &text);
        let mut a1 = hash(format!("{}:{}:{}", credentials.user, self.realm, credentials.password));
        if self.session {
            a1 = hash(format!("{a1}:{}:{cnonce}", self.nonce));
        }
        let a2 = hash(format!("{method}:{uri}"));
        let count = format!("{:08x}", self.count);
        let response = if self.qop_auth {
            hash(format!("{a1}:{}:{count}:{cnonce}:auth:{a2}", self.nonce))
        } else {
            hash(format!("{a1}:{}:{a2}", self.nonce))
        };
        let mut text = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{response}\"",
            quote(&credentials.user),
            quote(&self.realm),
            quote(&self.nonce),
            quote(uri)
        );
        if let Some(name) = &self.name {
            text += &format!(", algorithm={}", name.escape_default());
        }
        if let Some(opaque) = &self.opaque {
            text += &format!(", opaque={}", quote(opaque));
        }
        if self.qop_auth {
            text += &format!(", qop=auth, nc={count}, cnonce=\"{cnonce}\"");
        } else if self.session {
            text += &format!(", cnonce=\"{cnonce}\"");
        }
        text
    }
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn hash(algorithm: Algorithm, text: &str) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match algorithm {
        Algorithm::Md5 => hex(&Md5::digest(text.as_bytes())),
        Algorithm::Sha256 => hex(&Sha256::digest(text.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(state: &DigestState, password: &str) -> String {
        let credentials = Credentials { user: "Mufasa".into(), password: password.into() };
        let answer = state.answer(&credentials, "GET", "/dir/index.html");
        answer.split_once("response=\"").unwrap().1.split('"').next().unwrap().to_owned()
    }

    #[test]
    fn the_vectors_of_the_rfcs() {
        // RFC 7616 §3.9.1.
        let md5 = DigestState {
            algorithm: Algorithm::Md5,
            session: false,
            name: Some("MD5".into()),
            realm: "http-auth@example.org".into(),
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v".into(),
            opaque: Some("FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS".into()),
            qop_auth: true,
            count: 1,
            cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ".into(),
        };
        assert_eq!(response(&md5, "Circle of Life"), "8ca523f5e9506fed4657c9700eebdbec");
        let sha = DigestState { algorithm: Algorithm::Sha256, name: Some("SHA-256".into()), ..md5.clone() };
        assert_eq!(
            response(&sha, "Circle of Life"),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
        // RFC 2617 §3.5.
        let old = DigestState {
            name: None,
            realm: "testrealm@host.com".into(),
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093".into(),
            cnonce: "0a4f113b".into(),
            ..md5
        };
        assert_eq!(response(&old, "Circle Of Life"), "6629fae49393a05397450978507c4ef1");
        // RFC 2069 §2.4, with its erratum 749.
        let oldest = DigestState { qop_auth: false, ..old };
        assert_eq!(response(&oldest, "CircleOfLife"), "1949323746fe6a43ef61f9606e7febea");
    }

    fn authenticator() -> Authenticator {
        Authenticator::new(Some(Credentials { user: "alice".into(), password: "se\"cret".into() }), 1)
    }

    #[test]
    fn the_strongest_offer_is_taken() {
        let mut auth = authenticator();
        assert_eq!(auth.authorize("DESCRIBE", "rtsp://h/"), None);
        let offers = [
            "Basic realm=\"x\", Digest realm=\"x\", nonce=\"n\"",
            "Digest realm=\"x\", nonce=\"m\", algorithm=SHA-256",
        ];
        auth.handle_challenge(offers.into_iter()).unwrap();
        let header = auth.authorize("DESCRIBE", "rtsp://h/").unwrap();
        assert!(header.contains("algorithm=SHA-256") && header.contains("nonce=\"m\""), "{header}");
        let mut auth = authenticator();
        auth.handle_challenge(["Basic realm=\"x\""].into_iter()).unwrap();
        assert_eq!(auth.authorize("DESCRIBE", "rtsp://h/").unwrap(), "Basic YWxpY2U6c2UiY3JldA==");
    }

    #[test]
    fn a_refusal_is_not_tried_again_but_an_old_nonce_is() {
        let mut auth = authenticator();
        let challenge = "Digest realm=\"x\", nonce=\"n\"";
        auth.handle_challenge([challenge].into_iter()).unwrap();
        assert_eq!(auth.handle_challenge([challenge].into_iter()), Err(AuthError::Refused));
        auth.handle_challenge(["Digest realm=\"x\", nonce=\"n2\", stale=true"].into_iter()).unwrap();
        assert_eq!(authenticator().handle_challenge(["Negotiate abc"].into_iter()), Err(AuthError::NoScheme));
        let mut none = Authenticator::new(None, 1);
        assert_eq!(none.handle_challenge([challenge].into_iter()), Err(AuthError::NoCredentials));
        assert!(!format!("{auth:?}").contains("se"), "nothing secret in {auth:?}");
    }

    fn challenge(nonce: u32, rest: &str) -> String {
        format!("Digest realm=\"x\", nonce=\"n{nonce}\"{rest}")
    }

    #[test]
    fn wrong_credentials_are_sent_once_though_every_refusal_has_a_new_nonce() {
        let mut auth = authenticator();
        for nonce in 0..2 {
            let outcome = auth.handle_challenge([challenge(nonce, "").as_str()].into_iter());
            assert_eq!(outcome, if nonce == 0 { Ok(()) } else { Err(AuthError::Refused) });
            auth.authorize("DESCRIBE", "rtsp://h/");
        }
    }

    #[test]
    fn a_nonce_that_was_good_may_end_without_a_word() {
        let mut auth = authenticator();
        for nonce in 0..20 {
            auth.handle_challenge([challenge(nonce, "").as_str()].into_iter()).unwrap();
            for _ in 0..2 {
                auth.authorize("OPTIONS", "rtsp://h/").unwrap();
            }
        }
    }

    #[test]
    fn no_server_can_keep_us_asking() {
        for offers in [[", stale=true", ", stale=TRUE"], ["", ", Basic realm=\"x\""]] {
            let mut auth = authenticator();
            let mut tries = 0;
            while tries < 100 {
                // The second list makes the schemes take turns.
                let own = match offers[tries % 2] {
                    ", Basic realm=\"x\"" => "Basic realm=\"x\"".to_owned(),
                    rest => challenge(u32::try_from(tries).unwrap(), rest),
                };
                if auth.handle_challenge([own.as_str()].into_iter()).is_err() {
                    break;
                }
                auth.authorize("DESCRIBE", "rtsp://h/");
                tries += 1;
            }
            assert_eq!(tries, 3, "{offers:?}");
        }
    }

    #[test]
    fn one_nonce_counts_its_requests() {
        let mut auth = authenticator();
        auth.handle_challenge(
            [challenge(1, ", qop=\"auth,auth-int\", algorithm=MD5-sess").as_str()].into_iter(),
        )
        .unwrap();
        let cnonce = |header: &str| header.split_once("cnonce=\"").unwrap().1[..32].to_owned();
        let first = auth.authorize("DESCRIBE", "rtsp://h/").unwrap();
        let second = auth.authorize("DESCRIBE", "rtsp://h/").unwrap();
        assert!(
            first.contains("qop=auth, nc=00000001,") && second.contains("nc=00000002,"),
            "{first} {second}"
        );
        assert_eq!(cnonce(&first), cnonce(&second), "MD5-sess hashes the first one for all requests");
        let other = Authenticator::new(auth.credentials.clone(), 2);
        let mut other = Authenticator { scheme: None, ..other };
        other.handle_challenge([challenge(1, ", qop=auth").as_str()].into_iter()).unwrap();
        assert_ne!(cnonce(&first), cnonce(&other.authorize("DESCRIBE", "rtsp://h/").unwrap()));
        auth = authenticator();
        let integrity = challenge(1, ", qop=\"auth-int\"");
        assert_eq!(auth.handle_challenge([integrity.as_str()].into_iter()), Err(AuthError::NoScheme));
    }

    #[test]
    fn odd_challenges_are_no_scheme() {
        for value in [
            "",
            ",",
            "Digest",
            "Digest realm",
            "Digest realm=\"x\"",
            "Digest nonce=\"n\"",
            "Digest realm=\"x, nonce=\"n\"",
            "Digest realm=\"x\", nonce=\"n\", algorithm=SHA-512-256",
            "Basic realm=\"",
            "\u{e9}",
            "Bearer x==",
            "=\"\"",
        ] {
            let mut auth = authenticator();
            let _ = auth.handle_challenge([value].into_iter());
            if let Some(header) = auth.authorize("OPTIONS", "rtsp://h/") {
                assert!(header.starts_with("Basic ") && value.starts_with("Basic"), "{value}: {header}");
            }
        }
    }
}
