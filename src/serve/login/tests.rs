use std::fs;

use super::*;

/// Of `secret`, by as little work as Argon2 allows.
fn hashed() -> String {
    use argon2::password_hash::CustomizedPasswordHasher;
    let argon2 = argon2::Argon2::default();
    let params = Params::new(8, 1, 1, Some(32)).unwrap();
    argon2.hash_password_with_params(b"secret", b"saltsalt", params).unwrap().to_string()
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
