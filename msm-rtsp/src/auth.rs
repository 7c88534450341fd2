//! Answers to a server's challenge: Digest (`RFC 7616`, MD5 and SHA-256) and Basic (`RFC 7617`).

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
}

#[derive(Clone, Debug)]
enum Scheme {
    Basic,
    Digest(DigestState),
}

/// Authenticates the requests of one connection.
#[derive(Clone)]
pub struct Authenticator {
    credentials: Option<Credentials>,
    scheme: Option<Scheme>,
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
        Self { credentials, scheme: None, rng: Rng::new(seed) }
    }

    /// Takes the WWW-Authenticate values of a 401. The strongest scheme offered is used.
    ///
    /// # Errors
    /// [`AuthError::Refused`] when the credentials were sent and nothing says that only the nonce was old.
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
            let stronger = match &best {
                Some((Scheme::Digest(own), _)) => algorithm > own.algorithm,
                _ => true,
            };
            if stronger {
                let stale = parameter("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true"));
                let qop_auth =
                    parameter("qop").is_some_and(|qop| qop.split(',').any(|one| one.trim() == "auth"));
                let opaque = parameter("opaque");
                let state =
                    DigestState { algorithm, session, name, realm, nonce, opaque, qop_auth, count: 0 };
                best = Some((Scheme::Digest(state), stale));
            }
        }
        let (scheme, stale) = best.ok_or(AuthError::NoScheme)?;
        let same = match (&self.scheme, &scheme) {
            (Some(Scheme::Basic), Scheme::Basic) => true,
            // A server may end a nonce without saying `stale`; a new one is worth one more try.
            (Some(Scheme::Digest(before)), Scheme::Digest(now)) => !stale && before.nonce == now.nonce,
            _ => false,
        };
        if same {
            return Err(AuthError::Refused);
        }
        self.scheme = Some(scheme);
        Ok(())
    }

    /// The Authorization header of a request, once the server has asked for it. `uri` is the request URI to the byte.
    pub fn authorize(&mut self, method: &str, uri: &str) -> Option<String> {
        let credentials = self.credentials.as_ref()?;
        match self.scheme.as_mut()? {
            Scheme::Basic => {
                let pair = format!("{}:{}", credentials.user, credentials.password);
                Some(format!("Basic {}", STANDARD.encode(pair)))
            }
            Scheme::Digest(state) => {
                state.count = state.count.wrapping_add(1);
                let cnonce = format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64());
                Some(state.answer(credentials, method, uri, &cnonce))
            }
        }
    }
}

impl DigestState {
    fn answer(&self, credentials: &Credentials, method: &str, uri: &str, cnonce: &str) -> String {
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

    fn state(algorithm: Algorithm, name: &str) -> DigestState {
        // RFC 7616 §3.9.1.
        DigestState {
            algorithm,
            session: false,
            name: Some(name.into()),
            realm: "http-auth@example.org".into(),
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v".into(),
            opaque: Some("FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS".into()),
            qop_auth: true,
            count: 1,
        }
    }

    #[test]
    fn the_vectors_of_the_rfc() {
        let credentials = Credentials { user: "Mufasa".into(), password: "Circle of Life".into() };
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let answer = state(Algorithm::Md5, "MD5").answer(&credentials, "GET", "/dir/index.html", cnonce);
        assert!(answer.contains("response=\"8ca523f5e9506fed4657c9700eebdbec\""), "{answer}");
        let answer =
            state(Algorithm::Sha256, "SHA-256").answer(&credentials, "GET", "/dir/index.html", cnonce);
        let expected = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        assert!(answer.contains(&format!("response=\"{expected}\"")), "{answer}");
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
}
