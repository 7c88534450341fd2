//! Who may use a listener: its users, and passwords that take long to verify.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::hmac;
use msm_rtsp::auth::server::{Claim, Guard, Login, Verdict};
use msm_rtsp::auth::users::Users;
use msm_rtsp::message::{Method, Request, Response, method_name};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use super::admission::LockedOut;
use super::connection::Context;
use crate::config::load::read_text;
use crate::net::tls::pem::FileProblem;
use crate::watched::Watched;

/// A file of users larger than this is none.
const MAX_USERS_BYTES: usize = 1024 * 1024;

/// How long a password that was right is right without a look at its hash.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Passwords that are remembered, and passwords that may wait to be verified, one after the other.
const MAX_REMEMBERED: usize = 1024;
const MAX_WAITING: usize = 64;

/// Memory that one verification may take, in KiB.
const MAX_MEMORY: u32 = 256 * 1024;

/// Reads and checks a file of users.
pub(crate) fn read_users(file: &Path) -> Result<Users, FileProblem> {
    let problem = |what: String| FileProblem::new("users", file, what);
    let text =
        read_text(file, MAX_USERS_BYTES).map_err(|error| problem(format!("cannot be read: {error}")))?;
    let text = Zeroizing::new(text);
    let users = Users::parse(&text).map_err(|error| problem(error.to_string()))?;
    for hash in users.argon2() {
        let usable = PasswordHash::new(hash)
            .ok()
            .filter(|hash| hash.salt.is_some() && hash.hash.is_some())
            .and_then(|hash| Params::try_from(&hash).ok())
            .is_some_and(|params| params.m_cost() <= MAX_MEMORY);
        if !usable {
            return Err(problem(format!(
                "has an Argon2id hash that is damaged or takes more than {} MiB",
                MAX_MEMORY / 1024
            )));
        }
    }
    Ok(users)
}

/// What a connection has shown so far of who is on its other side.
pub(crate) struct Entry {
    users: Arc<Watched<Users>>,
    /// Passwords may be sent as they are.
    basic: bool,
    guard: RefCell<Guard>,
    failures: Cell<u32>,
    /// Who has logged in here. It may do so again wherever else too many fail: its neighbours behind a NAT do not end what
    /// it has, and whom it could guess is itself alone.
    known: RefCell<Option<String>>,
}

impl Entry {
    pub(crate) fn new(users: Arc<Watched<Users>>, basic: bool, seed: u64) -> Self {
        Self {
            users,
            basic,
            guard: RefCell::new(Guard::new(seed)),
            failures: Cell::new(0),
            known: RefCell::default(),
        }
    }

    /// Whether the connection has failed as often as it may.
    pub(crate) fn is_over(&self, limit: u32) -> bool {
        self.failures.get() >= limit
    }

    fn knows(&self, verdict: &Verdict) -> bool {
        let user = match verdict {
            Verdict::Granted(user) | Verdict::Stale(user) | Verdict::Wrong(user) => user,
            Verdict::Password(login) => &login.user,
            Verdict::Missing => return false,
        };
        self.known.borrow().as_ref() == Some(user)
    }

    fn fail(&self) {
        self.failures.set(self.failures.get().saturating_add(1));
    }
}

/// What is made of credentials, once they were looked at.
enum Outcome {
    In(String),
    /// To be asked who it is, again if its nonce is old.
    Asked {
        stale: bool,
    },
    LockedOut(LockedOut),
    Crowded,
}

/// Lets a request of a known user pass; anything else is answered here.
pub(crate) async fn admit(context: &Rc<Context>, request: &Request) -> Result<(), Box<Response>> {
    let Some(entry) = &context.entry else { return Ok(()) };
    // What is asked before anything else, and tells no secret.
    if request.method == Method::Options {
        return Ok(());
    }
    let shared = &context.worker.shared;
    let users = entry.users.get();
    let claim = Claim {
        method: method_name(&request.method),
        uri: &request.uri,
        authorization: request.headers.get("Authorization"),
    };
    let verdict = entry.guard.borrow_mut().check(Instant::now(), &users, entry.basic, &claim);
    let outcome = judge(context, entry, verdict).await;
    let mut response = Response::new(401);
    match outcome {
        Outcome::In(user) => {
            if entry.known.borrow().as_ref() != Some(&user) {
                *entry.known.borrow_mut() = Some(user);
            }
            return Ok(());
        }
        Outcome::Asked { stale } => {
            for value in entry.guard.borrow_mut().challenges(Instant::now(), &users, entry.basic, stale) {
                response = response.with("WWW-Authenticate", value);
            }
        }
        Outcome::LockedOut(locked) => response = lock_out(context, locked),
        Outcome::Crowded => {
            tracing::warn!(peer = %context.peer, "too many passwords wait to be verified");
            return Err(Box::new(Response::new(503)));
        }
    }
    if entry.is_over(shared.settings.auth_failures) {
        response = response.with("Connection", "close");
    }
    Err(Box::new(response))
}

/// Looks at credentials, unless too many from the same address have been wrong: then they are not, and nobody learns
/// whether they were right.
async fn judge(context: &Context, entry: &Entry, verdict: Verdict) -> Outcome {
    let shared = &context.worker.shared;
    let peer = context.peer_ip();
    let is_known = entry.knows(&verdict);
    let may = || if is_known { Ok(()) } else { shared.admission.login(peer, Instant::now()) };
    if verdict != Verdict::Missing
        && let Err(locked) = may()
    {
        entry.fail();
        return Outcome::LockedOut(locked);
    }
    let user = match verdict {
        Verdict::Granted(user) => return Outcome::In(user),
        Verdict::Missing => return Outcome::Asked { stale: false },
        Verdict::Stale(_) => return Outcome::Asked { stale: true },
        Verdict::Wrong(user) => {
            shared.admission.login_failed(peer, Instant::now());
            user
        }
        Verdict::Password(login) => {
            let user = login.user.clone();
            match shared.passwords.verify(login, may).await {
                Ok(seen) if seen.right => return Outcome::In(user),
                Ok(seen) => {
                    shared.admission.login_failed(peer, Instant::now());
                    // The next one is looked at from here on.
                    drop(seen);
                    user
                }
                Err(Unseen::LockedOut(locked)) => {
                    entry.fail();
                    return Outcome::LockedOut(locked);
                }
                Err(Unseen::Crowded) => return Outcome::Crowded,
            }
        }
    };
    entry.fail();
    shared.metrics.add_refused("unauthorized");
    let shown: String = user.escape_debug().take(64).collect();
    tracing::info!(peer = %context.peer, user = shown, failures = entry.failures.get(), "login failed");
    Outcome::Asked { stale: false }
}

/// What whoever is locked out is told: when to come again (`RFC 7826 §17.5.4`, `§18.44`). A 401 would have players ask their
/// users for another password, who have the right one, and RTSP has no 429.
fn lock_out(context: &Context, locked: LockedOut) -> Response {
    let LockedOut { wait, is_news } = locked;
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let shared = &context.worker.shared;
    shared.metrics.add_refused("auth_failures_per_peer");
    if is_news {
        tracing::warn!(
            peer = %context.peer_ip(),
            failures = shared.admission.limits.auth_failures_per_peer,
            seconds,
            "too many logins failed: none from there is looked at for a while"
        );
    }
    Response::new(503).with("Retry-After", seconds.to_string())
}

/// A password that was looked at. The next one is not before this is dropped, so that what follows from it counts.
pub(crate) struct Seen {
    right: bool,
    _turn: Option<OwnedSemaphorePermit>,
}

/// Why a password was not looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unseen {
    /// Too many wait.
    Crowded,
    /// Too many from the same address were wrong.
    LockedOut(LockedOut),
}

/// Verifies passwords, one at a time and on no thread that carries media: each takes tens of milliseconds and as much
/// memory as its hash says.
pub(crate) struct Passwords {
    turn: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// When each password that was right was verified, under a key that dies with the process.
    right: Mutex<HashMap<[u8; 32], Instant>>,
    key: hmac::Key,
}

impl Passwords {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
            right: Mutex::default(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        }
    }

    /// Whether a password is right, if it may still be looked at when its turn has come. Cancel safe.
    pub(crate) async fn verify(
        &self,
        login: Login,
        may: impl Fn() -> Result<(), LockedOut>,
    ) -> Result<Seen, Unseen> {
        let digest = self.digest(&login);
        if self.remembers(&digest, Instant::now()) {
            return Ok(Seen { right: true, _turn: None });
        }
        let _place = Place::take(&self.waiting).ok_or(Unseen::Crowded)?;
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| Unseen::Crowded)?;
        may().map_err(Unseen::LockedOut)?;
        if self.remembers(&digest, Instant::now()) {
            // Another connection of the same client was before.
            return Ok(Seen { right: true, _turn: Some(turn) });
        }
        let verified = tokio::task::spawn_blocking(move || {
            let right = is_right(&login) && !login.is_nobody;
            drop(Zeroizing::new(login.password));
            // Handed back, so that nobody else's turn comes before the work is done, even if nobody waits for it any more.
            Seen { right, _turn: Some(turn) }
        });
        let seen = verified.await.unwrap_or(Seen { right: false, _turn: None });
        if seen.right {
            self.remember(digest, Instant::now());
        }
        Ok(seen)
    }

    /// Of everything that the answer depends on: a changed hash is looked at again.
    fn digest(&self, login: &Login) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [login.user.as_bytes(), login.hash.as_bytes(), login.password.as_bytes()] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        digest
    }

    fn remembers(&self, digest: &[u8; 32], now: Instant) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.get(digest).is_some_and(|since| now.saturating_duration_since(*since) < REMEMBERED)
    }

    fn remember(&self, digest: [u8; 32], now: Instant) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.retain(|_, since| now.saturating_duration_since(*since) < REMEMBERED);
        if right.len() < MAX_REMEMBERED {
            right.insert(digest, now);
        }
    }
}

fn is_right(login: &Login) -> bool {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
    // The hash brings its own parameters.
    PasswordHash::new(&login.hash)
        .is_ok_and(|hash| argon2.verify_password(login.password.as_bytes(), &hash).is_ok())
}

/// A place in the queue, given back when it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::AcqRel) < MAX_WAITING).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
