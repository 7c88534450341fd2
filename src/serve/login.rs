//! Who may use a listener: its users, and passwords that take long to verify.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::hmac;
use msm_rtsp::auth::server::{Claim, Guard, Login, Verdict};
use msm_rtsp::auth::users::Users;
use msm_rtsp::message::{Method, Request, Response, method_name};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

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

/// Of those that wait, how many are of one address: whoever guesses keeps nobody else out.
const MAX_WAITING_PER_PEER: usize = 16;

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
}

impl Entry {
    pub(crate) fn new(users: Arc<Watched<Users>>, basic: bool, seed: u64) -> Self {
        Self { users, basic, guard: RefCell::new(Guard::new(seed)), failures: Cell::new(0) }
    }

    /// Whether the connection has failed as often as it may.
    pub(crate) fn is_over(&self, limit: u32) -> bool {
        self.failures.get() >= limit
    }
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
    let (user, stale) = match verdict {
        Verdict::Granted(_) => return Ok(()),
        Verdict::Missing => (None, false),
        Verdict::Stale => (None, true),
        Verdict::Wrong(user) => (Some(user), false),
        Verdict::Password(login) => {
            let user = login.user.clone();
            match shared.passwords.verify(login, context.peer_ip()).await {
                Some(true) => return Ok(()),
                Some(false) => (Some(user), false),
                None => {
                    tracing::warn!(peer = %context.peer, "too many passwords wait to be verified");
                    return Err(Box::new(Response::new(503)));
                }
            }
        }
    };
    let mut response = Response::new(401);
    if let Some(user) = user {
        entry.failures.set(entry.failures.get().saturating_add(1));
        shared.metrics.add_refused("unauthorized");
        let shown: String = user.escape_debug().take(64).collect();
        tracing::info!(peer = %context.peer, user = shown, failures = entry.failures.get(), "login failed");
        if entry.is_over(shared.settings.auth_failures) {
            response = response.with("Connection", "close");
        }
    }
    for value in entry.guard.borrow_mut().challenges(Instant::now(), &users, entry.basic, stale) {
        response = response.with("WWW-Authenticate", value);
    }
    Err(Box::new(response))
}

/// Verifies passwords, one at a time and on no thread that carries media: each takes tens of milliseconds and as much
/// memory as its hash says.
pub(crate) struct Passwords {
    turn: Arc<Semaphore>,
    /// How many wait of each address.
    waiting: Mutex<HashMap<IpAddr, usize>>,
    /// When each password that was right was verified, under a key that dies with the process.
    right: Mutex<HashMap<[u8; 32], Instant>>,
    key: hmac::Key,
}

impl Passwords {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            waiting: Mutex::default(),
            right: Mutex::default(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        }
    }

    /// Whether a password is right; `None` when too many wait. Cancel safe.
    pub(crate) async fn verify(&self, login: Login, peer: IpAddr) -> Option<bool> {
        let digest = self.digest(&login);
        if self.remembers(&digest, Instant::now()) {
            return Some(true);
        }
        let _place = Place::take(&self.waiting, peer)?;
        let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        if self.remembers(&digest, Instant::now()) {
            // Another connection of the same client was before.
            return Some(true);
        }
        let right = tokio::task::spawn_blocking(move || {
            let right = is_right(&login) && !login.is_nobody;
            drop(Zeroizing::new(login.password));
            drop(turn);
            right
        });
        let right = right.await.unwrap_or(false);
        if right {
            self.remember(digest, Instant::now());
        }
        Some(right)
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
struct Place<'a> {
    waiting: &'a Mutex<HashMap<IpAddr, usize>>,
    peer: IpAddr,
}

impl<'a> Place<'a> {
    fn take(waiting: &'a Mutex<HashMap<IpAddr, usize>>, peer: IpAddr) -> Option<Self> {
        let mut counts = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.get(&peer).copied().unwrap_or_default();
        if own >= MAX_WAITING_PER_PEER || counts.values().sum::<usize>() >= MAX_WAITING {
            return None;
        }
        counts.insert(peer, own + 1);
        Some(Self { waiting, peer })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&self.peer) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(counts.remove(&self.peer)),
        }
    }
}

#[cfg(test)]
mod tests;
