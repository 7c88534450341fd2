//! The server's side: challenges, and what is made of their answers (`RFC 7616`, `RFC 7617`).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_auth::ChallengeParser;
use msm_core::rng::Rng;

use super::users::Users;
use super::{Algorithm, hash, quote};

/// How long a nonce is good for. A client is then told that it is old, and answers again by itself.
const NONCE_TIME: Duration = Duration::from_secs(300);

/// A request, as far as it is authenticated.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The method's name.
    pub method: &'a str,
    /// The request URI, to the byte.
    pub uri: &'a str,
    /// The Authorization header.
    pub authorization: Option<&'a str>,
}

/// What is made of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The user is known, and who it says.
    Granted(String),
    /// No credentials were sent. Clients ask so first: it is no failure.
    Missing,
    /// The credentials are this user's, and the nonce is old, or its count was used: it is no failure.
    Stale(String),
    /// Wrong credentials, for the user that they name.
    Wrong(String),
    /// A password is to be verified, which takes long.
    Password(Login),
}

/// A password to be verified against an Argon2id hash.
#[derive(PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password as sent. Never shown.
    pub password: String,
    /// The hash in PHC form.
    pub hash: Arc<str>,
    /// Nobody has this name, or no password: the answer is no, after as long as the answer for others takes.
    pub is_nobody: bool,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({:?}, …)", self.user)
    }
}

/// Challenges the clients of one connection and judges their answers.
///
/// A nonce is good on its own connection only, so what was overheard on one is of no use on another, and what is
/// remembered is one nonce and one count (`RFC 7616 §3.4`, `nc`).
pub struct Guard {
    rng: Rng,
    nonce: Option<Nonce>,
}

struct Nonce {
    text: String,
    made: Instant,
    /// The highest count that was used with it.
    count: u32,
}

/// An answer to a Digest challenge.
struct Answer {
    user: String,
    nonce: String,
    uri: String,
    response: String,
    algorithm: Algorithm,
    /// `nc` as a number and as written, and `cnonce`; older clients send neither (`RFC 2069`).
    counted: Option<(u32, String, String)>,
}

impl Guard {
    /// `seed` makes the nonces: it must not be guessable.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), nonce: None }
    }

    /// The WWW-Authenticate values of a 401, the strongest first. `basic` tells that passwords may be sent as they are,
    /// which nobody should allow without TLS.
    pub fn challenges(&mut self, now: Instant, users: &Users, basic: bool, stale: bool) -> Vec<String> {
        let realm = quote(users.realm());
        let mut values = Vec::new();
        for (algorithm, name) in [(Algorithm::Sha256, "SHA-256"), (Algorithm::Md5, "MD5")] {
            if users.has(algorithm) {
                let nonce = self.nonce(now);
                let stale = if stale { ", stale=true" } else { "" };
                // Some clients look for `realm` and `nonce` at the front, and for nothing behind.
                values.push(format!(
                    "Digest realm={realm}, nonce=\"{nonce}\", algorithm={name}, qop=\"auth\"{stale}"
                ));
            }
        }
        if basic && users.argon2().next().is_some() {
            values.push(format!("Basic realm={realm}, charset=\"UTF-8\""));
        }
        values
    }

    fn nonce(&mut self, now: Instant) -> &str {
        if self.nonce.as_ref().is_some_and(|nonce| nonce.is_old(now)) {
            self.nonce = None;
        }
        let rng = &mut self.rng;
        let nonce = self.nonce.get_or_insert_with(|| {
            // Hashed, so that nonces do not tell what makes the next ones.
            let random = format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64());
            Nonce { text: hash(Algorithm::Sha256, &random), made: now, count: 0 }
        });
        &nonce.text
    }

    /// Judges a request.
    pub fn check(&mut self, now: Instant, users: &Users, basic: bool, claim: &Claim<'_>) -> Verdict {
        let Some(text) = claim.authorization else { return Verdict::Missing };
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("Basic") {
            return if basic { password(users, rest.trim()) } else { Verdict::Wrong(String::new()) };
        }
        match answer(text, users.realm()) {
            Some(answer) => self.digest(now, users, claim, answer),
            None => Verdict::Wrong(String::new()),
        }
    }

    fn digest(&mut self, now: Instant, users: &Users, claim: &Claim<'_>, answer: Answer) -> Verdict {
        let is_right = names(&answer.uri, claim.uri) && answer.is_right(users, claim.method);
        if !is_right {
            return Verdict::Wrong(answer.user);
        }
        let Some(nonce) = self.nonce.as_mut().filter(|own| own.text == answer.nonce && !own.is_old(now))
        else {
            return Verdict::Stale(answer.user);
        };
        if let Some((count, ..)) = answer.counted {
            if count <= nonce.count {
                // Sent before, by whomever: a new nonce tells the two apart.
                self.nonce = None;
                return Verdict::Stale(answer.user);
            }
            nonce.count = count;
        }
        Verdict::Granted(answer.user)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard(…)")
    }
}

impl Nonce {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.made) >= NONCE_TIME
    }
}

impl Answer {
    fn is_right(&self, users: &Users, method: &str) -> bool {
        let known = users.get(&self.user).and_then(|own| own.digest(self.algorithm));
        // Who is not known is looked at all the same: the time it takes tells nobody who is.
        let a1 = known.unwrap_or_default();
        let a2 = hash(self.algorithm, &format!("{method}:{}", self.uri));
        let nonce = &self.nonce;
        let text = match &self.counted {
            Some((_, count, cnonce)) => format!("{a1}:{nonce}:{count}:{cnonce}:auth:{a2}"),
            None => format!("{a1}:{nonce}:{a2}"),
        };
        same(&hash(self.algorithm, &text), &self.response.to_ascii_lowercase()) && known.is_some()
    }
}

/// Takes the Authorization of a Digest apart (`RFC 7616 §3.4`), whose syntax is that of a challenge.
fn answer(text: &str, realm: &str) -> Option<Answer> {
    let challenge = ChallengeParser::new(text).next()?.ok()?;
    if !challenge.scheme.eq_ignore_ascii_case("Digest") {
        return None;
    }
    let parameter = |name: &str| {
        let found = challenge.params.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped())
    };
    let algorithm = match parameter("algorithm").map(|name| name.to_ascii_uppercase()).as_deref() {
        None | Some("MD5") => Algorithm::Md5,
        Some("SHA-256") => Algorithm::Sha256,
        Some(_) => return None,
    };
    let counted = match parameter("qop") {
        None => None,
        Some(qop) if qop.eq_ignore_ascii_case("auth") => {
            let count = parameter("nc").filter(|count| count.len() <= 8)?;
            Some((u32::from_str_radix(&count, 16).ok()?, count, parameter("cnonce")?))
        }
        Some(_) => return None,
    };
    if parameter("realm")? != realm {
        return None;
    }
    Some(Answer {
        user: parameter("username")?,
        nonce: parameter("nonce")?,
        uri: parameter("uri")?,
        response: parameter("response")?,
        algorithm,
        counted,
    })
}

/// Whether `uri` means the request's: to the byte, or without scheme and host, as in HTTP.
fn names(uri: &str, requested: &str) -> bool {
    let path = requested.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)));
    uri == requested || path == Some(uri)
}

/// Looks at user and password (`RFC 7617 §2`).
fn password(users: &Users, encoded: &str) -> Verdict {
    let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some((user, password)) = decoded.as_deref().and_then(|pair| pair.split_once(':')) else {
        return Verdict::Wrong(String::new());
    };
    let secrets = users.get(user);
    let known = secrets.and_then(|secrets| secrets.argon2.as_ref());
    if let (Some(secrets), None) = (secrets, known) {
        let a1 = format!("{user}:{}:{password}", users.realm());
        let is = |algorithm| secrets.digest(algorithm).is_some_and(|own| same(own, &hash(algorithm, &a1)));
        if is(Algorithm::Sha256) || is(Algorithm::Md5) {
            return Verdict::Granted(user.to_owned());
        }
        // As for who is not known: how long a refusal takes tells nobody who is.
    }
    match known.or_else(|| users.argon2().next()) {
        Some(hash) => Verdict::Password(Login {
            user: user.to_owned(),
            password: password.to_owned(),
            hash: Arc::clone(hash),
            is_nobody: known.is_none(),
        }),
        None => Verdict::Wrong(user.to_owned()),
    }
}

/// Compares without telling by the time it takes where the first difference is.
fn same(one: &str, other: &str) -> bool {
    let difference = one.bytes().zip(other.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests;
