//! The users of a server: a file of lines `user:realm:secret`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Algorithm;

/// Who may come in, and by which secret.
///
/// The third field of a line is what `htdigest` writes, H(user:realm:password) in hex by MD5 or SHA-256 (`RFC 7616
/// §3.4.2`), or an Argon2id hash of the password in PHC form (`$argon2id$…`). A user may have a line of each kind. Lines
/// that are empty or begin with `#` say nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Users {
    realm: String,
    users: BTreeMap<String, Secrets>,
}

/// The secrets of one user.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Secrets {
    md5: Option<String>,
    sha256: Option<String>,
    pub(super) argon2: Option<Arc<str>>,
}

/// What is wrong with a line. Nothing of it is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsersError {
    /// Not three fields.
    #[error("line {0}: is not `user:realm:secret`")]
    Fields(usize),
    /// A user or realm that cannot be sent in a header.
    #[error("line {0}: the user or the realm is empty, or has quotes or control characters")]
    Name(usize),
    /// A secret of no known kind.
    #[error(
        "line {0}: the secret is neither H(user:realm:password) in hex (MD5, SHA-256) nor a hash that begins with \
         `$argon2id$`"
    )]
    Secret(usize),
    /// Two realms: clients can be asked by one only.
    #[error("line {0}: the realm differs from that of the lines above; a file has one realm")]
    Realm(usize),
    /// Two secrets of one kind.
    #[error("line {0}: this user has a secret of this kind above; remove one")]
    Twice(usize),
    /// No user at all.
    #[error("has no user, so nobody could come in")]
    Empty,
}

impl Users {
    /// Reads the lines of a file.
    ///
    /// # Errors
    /// See [`UsersError`].
    pub fn parse(text: &str) -> Result<Self, UsersError> {
        let mut own = Self::default();
        for (index, line) in text.lines().enumerate() {
            let number = index.saturating_add(1);
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut fields = line.splitn(3, ':');
            let (Some(user), Some(realm), Some(secret)) = (fields.next(), fields.next(), fields.next())
            else {
                return Err(UsersError::Fields(number));
            };
            if [user, realm].into_iter().any(|name| !is_name(name)) {
                return Err(UsersError::Name(number));
            }
            if own.users.is_empty() {
                own.realm = realm.to_owned();
            } else if own.realm != realm {
                return Err(UsersError::Realm(number));
            }
            let secrets = own.users.entry(user.to_owned()).or_default();
            let is_hex = secret.bytes().all(|byte| byte.is_ascii_hexdigit());
            let twice = match secret.len() {
                32 if is_hex => secrets.md5.replace(secret.to_ascii_lowercase()).is_some(),
                64 if is_hex => secrets.sha256.replace(secret.to_ascii_lowercase()).is_some(),
                _ if secret.starts_with("$argon2id$") => secrets.argon2.replace(secret.into()).is_some(),
                _ => return Err(UsersError::Secret(number)),
            };
            if twice {
                return Err(UsersError::Twice(number));
            }
        }
        if own.users.is_empty() { Err(UsersError::Empty) } else { Ok(own) }
    }

    /// What clients show to people who are to type a password.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The Argon2id hashes, for who is to check that they can be used.
    pub fn argon2(&self) -> impl Iterator<Item = &Arc<str>> {
        self.users.values().filter_map(|secrets| secrets.argon2.as_ref())
    }

    pub(super) fn get(&self, user: &str) -> Option<&Secrets> {
        self.users.get(user)
    }

    /// Whether anybody can answer a challenge by this algorithm.
    pub(super) fn has(&self, algorithm: Algorithm) -> bool {
        self.users.values().any(|secrets| secrets.digest(algorithm).is_some())
    }
}

impl Secrets {
    /// H(user:realm:password) in lower case hex.
    pub(super) fn digest(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Md5 => self.md5.as_deref(),
            Algorithm::Sha256 => self.sha256.as_deref(),
        }
    }
}

/// How many, and no secret.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({} of {:?})", self.users.len(), self.realm)
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_control() || c == '"' || c == '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "939e7578ed9e3c518a452acee763bce9";

    #[test]
    fn each_kind_of_secret_is_known() {
        let sha = "a".repeat(64);
        let text = format!(
            "# people\n\nalice:site:{MD5}\r\nalice:site:{sha}\nbob:site:$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA\n"
        );
        let users = Users::parse(&text).unwrap();
        assert_eq!(users.realm(), "site");
        let alice = users.get("alice").unwrap();
        assert_eq!(
            (alice.digest(Algorithm::Md5), alice.digest(Algorithm::Sha256)),
            (Some(MD5), Some(sha.as_str()))
        );
        assert_eq!(users.argon2().count(), 1);
        assert!(users.has(Algorithm::Md5) && users.has(Algorithm::Sha256));
        assert!(users.get("carol").is_none());
        assert!(!format!("{users:?}").contains("939e"));
    }

    #[test]
    fn wrong_lines_are_numbered_and_not_repeated() {
        for (text, error) in [
            ("alice".to_owned(), UsersError::Fields(1)),
            ("#\nalice:secret".to_owned(), UsersError::Fields(2)),
            (format!(":site:{MD5}"), UsersError::Name(1)),
            (format!("al\"ice:site:{MD5}"), UsersError::Name(1)),
            (format!("alice:si\\te:{MD5}"), UsersError::Name(1)),
            ("alice:site:secret".to_owned(), UsersError::Secret(1)),
            (format!("alice:site:{MD5}0"), UsersError::Secret(1)),
            (format!("alice:site:{MD5}\nbob:home:{MD5}"), UsersError::Realm(2)),
            (format!("alice:site:{MD5}\nalice:site:{MD5}"), UsersError::Twice(2)),
            ("# nobody\n".to_owned(), UsersError::Empty),
        ] {
            let found = Users::parse(&text).unwrap_err();
            assert_eq!(found, error, "{text}");
            assert!(!found.to_string().contains("secret:"), "{found}");
        }
    }
}
