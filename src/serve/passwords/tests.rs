use std::net::IpAddr;

use super::super::admission::{Admission, AdmissionLimits};
use super::*;

/// Of `secret`, by as little work as Argon2 allows.
fn hashed() -> Arc<str> {
    use argon2::password_hash::CustomizedPasswordHasher;
    let argon2 = Argon2::default();
    let params = Params::new(8, 1, 1, Some(32)).unwrap();
    argon2.hash_password_with_params(b"secret", b"saltsalt", params).unwrap().to_string().into()
}

fn login(password: &str, is_nobody: bool) -> Login {
    Login { user: "bob".into(), password: password.into(), hash: hashed(), is_nobody }
}

async fn verify(passwords: &Passwords, login: Login, peer: IpAddr) -> Result<bool, Unseen> {
    passwords.verify(login, peer, || Ok(())).await.map(|seen| seen.right)
}

#[tokio::test]
async fn passwords_are_verified_and_those_that_were_right_are_remembered() {
    let passwords = Passwords::new([7; 32]);
    assert_eq!(verify(&passwords, login("guess", false), peer(1)).await, Ok(false));
    assert!(passwords.right.lock().unwrap().is_empty(), "nothing wrong is remembered");
    assert_eq!(verify(&passwords, login("secret", true), peer(1)).await, Ok(false), "of nobody");
    assert_eq!(verify(&passwords, login("secret", false), peer(1)).await, Ok(true));
    let digest = passwords.digest(&login("secret", false));
    let now = Instant::now();
    assert!(passwords.remembers(&digest, now) && !passwords.remembers(&digest, now + REMEMBERED));
    assert!(!passwords.remembers(&passwords.digest(&login("guess", false)), now));
    let changed = Login { hash: "$argon2id$other".into(), ..login("secret", false) };
    assert!(!passwords.remembers(&passwords.digest(&changed), now), "the file has another hash now");
}

/// An address with this at its end.
fn peer(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn waiting(passwords: &Passwords) -> usize {
    passwords.waiting.lock().unwrap().values().sum()
}

#[tokio::test]
async fn only_so_many_wait_and_of_one_address_fewer() {
    let passwords = Arc::new(Passwords::new([7; 32]));
    let held = Arc::clone(&passwords.turn).acquire_owned().await.unwrap();
    let mut waits = Vec::new();
    for from in 0..MAX_WAITING / MAX_WAITING_PER_PEER {
        let from = peer(from as u8);
        for _ in 0..MAX_WAITING_PER_PEER {
            let passwords = Arc::clone(&passwords);
            waits.push(tokio::spawn(async move { verify(&passwords, login("guess", false), from).await }));
        }
        while waiting(&passwords) < waits.len() {
            tokio::task::yield_now().await;
        }
        let more = verify(&passwords, login("guess", false), from).await;
        assert_eq!(more, Err(Unseen::Crowded), "the address has its share");
    }
    let more = verify(&passwords, login("guess", false), peer(99)).await;
    assert_eq!(more, Err(Unseen::Crowded), "there are too many");
    drop(held);
    for one in waits {
        assert_eq!(one.await.unwrap(), Ok(false));
    }
    assert!(passwords.waiting.lock().unwrap().is_empty());
}

#[tokio::test]
async fn of_guesses_that_wait_at_once_no_more_are_looked_at_than_may_fail() {
    let passwords = Arc::new(Passwords::new([7; 32]));
    let admission = Arc::new(Admission::new(AdmissionLimits {
        connections: 1,
        connections_per_peer: 1,
        sessions_per_peer: 1,
        setup_rate: 1,
        auth_failures_per_peer: 3,
        auth_failures_window: Duration::from_secs(3600),
    }));
    let peer = IpAddr::from([192, 0, 2, 1]);
    let now = Instant::now();
    let guesses: Vec<_> = (0..20)
        .map(|_| {
            let (passwords, admission) = (Arc::clone(&passwords), Arc::clone(&admission));
            tokio::spawn(async move {
                assert_eq!(admission.login(peer, now), Ok(()), "all are let into the queue");
                let seen = passwords.verify(login("guess", false), peer, || admission.login(peer, now)).await;
                let seen = seen.map(|seen| {
                    admission.login_failed(peer, now);
                    seen.right
                });
                matches!(seen, Ok(false))
            })
        })
        .collect();
    let mut looked_at = 0;
    for guess in guesses {
        looked_at += u32::from(guess.await.unwrap());
    }
    assert_eq!(looked_at, 3);
}

#[test]
fn memory_is_bounded() {
    let passwords = Passwords::new([7; 32]);
    let now = Instant::now();
    for number in 0..2 * MAX_REMEMBERED {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        passwords.remember(digest, now);
    }
    assert_eq!(passwords.right.lock().unwrap().len(), MAX_REMEMBERED);
    passwords.remember([9; 32], now + REMEMBERED);
    assert_eq!(passwords.right.lock().unwrap().len(), 1, "the old are forgotten");
}
