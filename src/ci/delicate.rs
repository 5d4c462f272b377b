//! Files that a build gets and an image that others pull had better not hold: settings with passwords, private keys.
//!
//! Takes the path of a file and how it begins, gives what it seems to be. Whether the Dockerfile copies it is not
//! known, so this is for a warning and never for a refusal.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

/// How much of a file's beginning is looked at, in bytes.
pub const BEGINNING: usize = 64;

/// The most files that are named; the rest is counted.
const MOST_NAMED: usize = 5;
const KEY_NAMES: [&str; 4] = ["id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"];
const LOGIN_NAMES: [&str; 5] = [".netrc", ".git-credentials", ".pgpass", ".htpasswd", ".pypirc"];
/// What is written to be shown.
const SHOWN: [&str; 5] = ["example", "sample", "template", "dist", "defaults"];

/// What a file seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delicate {
    /// Settings of one installation, often with passwords.
    Settings,
    /// Logins.
    Logins,
    /// A private key.
    PrivateKey,
}

impl Delicate {
    /// What the file at `path` seems to be, if it is better kept out of an image. `beginning` holds its first
    /// [`BEGINNING`] bytes.
    pub fn seen_in(path: &str, beginning: &[u8]) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or_default();
        if KEY_NAMES.contains(&name) || is_private_key(beginning) {
            Some(Self::PrivateKey)
        } else if LOGIN_NAMES.contains(&name) {
            Some(Self::Logins)
        } else if is_env(name) {
            Some(Self::Settings)
        } else {
            None
        }
    }
}

impl fmt::Display for Delicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Settings => "settings",
            Self::Logins => "logins",
            Self::PrivateKey => "a private key",
        })
    }
}

fn is_env(name: &str) -> bool {
    match name.strip_prefix(".env") {
        Some("") => true,
        Some(rest) => rest.strip_prefix('.').is_some_and(|kind| !SHOWN.contains(&kind)),
        None => false,
    }
}

/// The textual encoding of RFC 7468, and OpenSSH's.
fn is_private_key(beginning: &[u8]) -> bool {
    let text = String::from_utf8_lossy(beginning);
    let first = text.trim_start().lines().next().unwrap_or_default();
    first.starts_with("-----BEGIN ") && first.contains("PRIVATE KEY-----")
}

/// What was found while a context was read, however often. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Findings(Arc<Mutex<BTreeMap<String, Delicate>>>);

impl Findings {
    pub(super) fn look_at(&self, path: &str, beginning: &[u8]) {
        if let Some(delicate) = Delicate::seen_in(path, beginning) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), delicate);
        }
    }

    /// One line about all of them, if there are any.
    pub fn warning(&self) -> Option<String> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named: Vec<String> =
            found.iter().take(MOST_NAMED).map(|(path, what)| format!("`{path}` ({what})")).collect();
        let more = match found.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!named.is_empty()).then(|| {
            format!(
                "warning: the build gets {}{more}; what it copies of that, everybody who may pull the image can read: \
                 name in .dockerignore what the image does not need",
                named.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::Delicate;
    use super::Findings;

    #[test]
    fn settings_logins_and_keys_are_told_by_name_or_beginning() {
        for (path, beginning, seen) in [
            (".env", "A=b", Some(Delicate::Settings)),
            ("web/.env.production", "", Some(Delicate::Settings)),
            (".env.example", "A=", None),
            (".envrc", "", None),
            ("env", "", None),
            ("home/.netrc", "", Some(Delicate::Logins)),
            ("id_ed25519", "", Some(Delicate::PrivateKey)),
            ("id_ed25519.pub", "ssh-ed25519 AAAA", None),
            ("tls/server.pem", "-----BEGIN PRIVATE KEY-----\nMII", Some(Delicate::PrivateKey)),
            ("a", "\n-----BEGIN OPENSSH PRIVATE KEY-----\n", Some(Delicate::PrivateKey)),
            ("tls/server.crt", "-----BEGIN CERTIFICATE-----\nMII", None),
            ("README.md", "-----BEGIN a PRIVATE matter", None),
        ] {
            assert_eq!(Delicate::seen_in(path, beginning.as_bytes()), seen, "{path}");
        }
    }

    #[test]
    fn many_are_one_line() {
        let findings = Findings::default();
        assert_eq!(findings.warning(), None);
        for n in (0..7).chain(0..7) {
            findings.look_at(&format!("{n}/.env"), b"");
        }
        let warning = findings.warning().unwrap();
        assert!(warning.contains("`0/.env` (settings)") && warning.contains("and 2 more"), "{warning}");
        assert_eq!(warning.lines().count(), 1);
    }
}
