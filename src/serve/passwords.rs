//! Passwords that take long to verify.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::hmac;
use msm_rtsp::auth::server::Login;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use super::admission::LockedOut;

/// How long a password that was right is right without a look at its hash.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Passwords that are remembered, and passwords that may wait to be verified, one after the other.
const MAX_REMEMBERED: usize = 1024;
const MAX_WAITING: usize = 64;

/// Of those that wait, how many are of one address: whoever guesses keeps nobody else out.
const MAX_WAITING_PER_PEER: usize = 16;

/// A password that was looked at. The next one is not before this is dropped, so that what follows from it counts.
pub(crate) struct Seen {
    pub(crate) right: bool,
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

    /// Whether a password is right, if it may still be looked at when its turn has come. Cancel safe.
    pub(crate) async fn verify(
        &self,
        login: Login,
        peer: IpAddr,
        may: impl Fn() -> Result<(), LockedOut>,
    ) -> Result<Seen, Unseen> {
        let digest = self.digest(&login);
        if self.remembers(&digest, Instant::now()) {
            return Ok(Seen { right: true, _turn: None });
        }
        let _place = Place::take(&self.waiting, peer).ok_or(Unseen::Crowded)?;
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
