//! Who may use a listener: its users.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use argon2::Params;
use argon2::password_hash::phc::PasswordHash;
use msm_rtsp::auth::server::{Claim, Guard, Verdict};
use msm_rtsp::auth::users::Users;
use msm_rtsp::message::{Method, Request, Response, method_name};
use zeroize::Zeroizing;

use super::admission::LockedOut;
use super::connection::Context;
use super::passwords::Unseen;
use crate::config::load::read_text;
use crate::net::tls::pem::FileProblem;
use crate::watched::Watched;

/// A file of users larger than this is none.
const MAX_USERS_BYTES: usize = 1024 * 1024;

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
    if entry.is_over(shared.settings().auth_failures) {
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
            match shared.passwords.verify(login, peer, may).await {
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
            failures = shared.settings().admission.auth_failures_per_peer,
            seconds,
            "too many logins failed: none from there is looked at for a while"
        );
    }
    Response::new(503).with("Retry-After", seconds.to_string())
}

#[cfg(test)]
mod tests;
