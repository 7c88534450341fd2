use std::fs;

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

#[tokio::test]
async fn passwords_are_verified_and_those_that_were_right_are_remembered() {
    let passwords = Passwords::new([7; 32]);
    assert_eq!(passwords.verify(login("guess", false), peer(1)).await, Some(false));
    assert!(passwords.right.lock().unwrap().is_empty(), "nothing wrong is remembered");
    assert_eq!(passwords.verify(login("secret", true), peer(1)).await, Some(false), "of nobody");
    assert_eq!(passwords.verify(login("secret", false), peer(1)).await, Some(true));
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
            waits.push(tokio::spawn(async move { passwords.verify(login("guess", false), from).await }));
        }
        while waiting(&passwords) < waits.len() {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.verify(login("guess", false), from).await, None, "the address has its share");
    }
    assert_eq!(passwords.verify(login("guess", false), peer(99)).await, None, "there are too many");
    drop(held);
    for one in waits {
        assert_eq!(one.await.unwrap(), Some(false));
    }
    assert!(passwords.waiting.lock().unwrap().is_empty());
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

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users");
    let problem = |text: &str| {
        fs::write(&file, text).unwrap();
        read_users(&file).err().map(|problem| problem.to_string()).unwrap_or_default()
    };
    assert_eq!(problem(&format!("bob:site:{}\n", hashed())), "");
    assert!(problem("bob:site:secret").contains("line 1: the secret is neither"));
    assert!(problem("bob:site:$argon2id$v=19$m=8,t=1").contains("damaged"));
    assert!(
        problem("bob:site:$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo").contains("256 MiB")
    );
    assert!(read_users(&dir.path().join("none")).unwrap_err().to_string().contains("none cannot be read"));
}
