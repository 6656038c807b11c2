//! Tokens: who holds one may use the server for certain users.
//!
//! A file of tokens has a line for each: the SHA-256 of the token in lower-case hexadecimal, a space, and the users it is for,
//! separated by commas, or `*` for all. Empty lines and lines that start with `#` mean nothing. Tokens are 256 random bits, so a plain
//! hash cannot be undone.

use std::fmt::Write as _;
use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::error::ServerError;
use crate::function::is_valid_name;

/// What every token begins with, so that they are recognised where they should not be.
const PREFIX: &str = "faasm_";

/// The tokens of a file, which is read again when it changes.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    modified: Mutex<Option<SystemTime>>,
    known: RwLock<Vec<Token>>,
}

#[derive(Debug)]
struct Token {
    sha256: [u8; 32],
    users: Users,
}

/// Which users a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Users {
    All,
    Some(Arc<[String]>),
}

impl Users {
    pub(super) fn contains(&self, user: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(users) => users.iter().any(|it| it == user),
        }
    }
}

impl Tokens {
    /// Reads a file of tokens.
    ///
    /// # Errors
    ///
    /// When it cannot be read, has no token, or a line that is none.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, ServerError> {
        let path = path.into();
        let modified = modified(&path);
        let known = read(&path)?;
        Ok(Self(Arc::new(Inner { path, modified: Mutex::new(modified), known: RwLock::new(known) })))
    }

    /// Makes a new token, for these users or for all if there are none, adds it to a file, and answers it. The file has only its hash,
    /// so this is the one time it can be seen.
    ///
    /// # Errors
    ///
    /// When a user cannot have that name, or the file cannot be written.
    pub fn create(path: &Path, users: &[String]) -> Result<String, ServerError> {
        let failed = |reason: String| ServerError::Tokens { path: path.to_path_buf(), reason };
        if let Some(invalid) = users.iter().find(|user| !is_valid_name(user)) {
            return Err(failed(format!("no user can have the name {invalid:?}")));
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| failed(error.to_string()))?;
        let token = format!("{PREFIX}{}", hexadecimal(&random));
        let users = if users.is_empty() { "*".to_owned() } else { users.join(",") };
        let line = format!("{} {users}\n", hexadecimal(&Sha256::digest(&token)));

        let write = || {
            let mut file = File::options().create(true).append(true).open(path)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(line.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|error| failed(error.to_string()))?;
        Ok(token)
    }

    /// What a token is for; `None` if it is none of these. Takes as long whichever it is.
    pub(super) fn check(&self, token: &str) -> Option<(usize, Users)> {
        let hash = Sha256::digest(token);
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for (number, token) in known.iter().enumerate() {
            if bool::from(token.sha256.ct_eq(&hash)) {
                found = Some((number, &token.users));
            }
        }
        found.map(|(number, users)| (number, users.clone()))
    }

    /// Reads the file again if it has changed. One that cannot be used is reported and leaves things as they were.
    pub(super) fn refresh(&self) {
        let now = modified(&self.0.path);
        let mut before = self.0.modified.lock().unwrap_or_else(PoisonError::into_inner);
        if *before == now {
            return;
        }
        *before = now;
        match read(&self.0.path) {
            Ok(known) => *self.0.known.write().unwrap_or_else(PoisonError::into_inner) = known,
            Err(error) => {
                tracing::error!(target: "py_func::server", "failed to {error}; the tokens that were read last stay");
            }
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|it| it.modified()).ok()
}

fn read(path: &Path) -> Result<Vec<Token>, ServerError> {
    let failed = |reason: String| ServerError::Tokens { path: path.to_path_buf(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let tokens = parse(&text).map_err(failed)?;
    if tokens.is_empty() { Err(failed("there is none".to_owned())) } else { Ok(tokens) }
}

fn parse(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let token = line.split_once(' ').and_then(|(hash, users)| parse_token(hash, users.trim()));
        tokens.push(token.ok_or_else(|| {
            format!(
                "line {} is not a SHA-256 in hexadecimal, a space, and users separated by commas or `*`",
                number + 1
            )
        })?);
    }
    Ok(tokens)
}

fn parse_token(hash: &str, users: &str) -> Option<Token> {
    let mut sha256 = [0; 32];
    if hash.len() != 64 || !hash.is_ascii() {
        return None;
    }
    for (byte, digits) in sha256.iter_mut().zip(hash.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    if users == "*" {
        return Some(Token { sha256, users: Users::All });
    }
    let users: Vec<String> = users.split(',').map(|user| user.trim().to_owned()).collect();
    users.iter().all(|user| is_valid_name(user)).then(|| Token { sha256, users: Users::Some(users.into()) })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The users that a file names.
#[cfg(any(test, fuzzing))]
pub(super) fn users(text: &str) -> Result<Vec<String>, String> {
    let named = |token: Token| match token.users {
        Users::All => Vec::new(),
        Users::Some(users) => users.to_vec(),
    };
    Ok(parse(text)?.into_iter().flat_map(named).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_for_the_users_they_were_made_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        assert!(matches!(Tokens::read(&path), Err(ServerError::Tokens { .. })));
        let all = Tokens::create(&path, &[]).unwrap();
        let tokens = Tokens::read(&path).unwrap();
        let two = Tokens::create(&path, &["a".to_owned(), "b".to_owned()]).unwrap();
        assert_eq!(tokens.check(&two), None);
        // The file's time may be as coarse as a second.
        *tokens.0.modified.lock().unwrap() = None;
        tokens.refresh();

        let allowed = |token: &str, user| tokens.check(token).is_some_and(|(_, users)| users.contains(user));
        for (token, user, expected) in [
            (&*all, "a", true),
            (&all, "c", true),
            (&two, "a", true),
            (&two, "b", true),
            (&two, "c", false),
            (&two, "a,b", false),
            (&two[1..], "a", false),
            ("", "a", false),
        ] {
            assert_eq!(allowed(token, user), expected, "{user}");
        }
        let file = std::fs::read_to_string(&path).unwrap();
        assert!(!file.contains(&two) && !file.contains(&two[PREFIX.len()..]));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn lines_that_are_no_tokens_are_refused() {
        let hash = "0".repeat(64);
        for good in [&format!("{hash} *"), &format!("# comment\n\n  {hash} a, b  ")] {
            assert_eq!(parse(good).unwrap().len(), 1, "{good}");
        }
        for bad in [
            &hash,
            &format!("{hash} "),
            &format!("{hash} ../a"),
            &format!("{hash} a,"),
            "x *",
            &format!("é{} *", &hash[2..]),
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
