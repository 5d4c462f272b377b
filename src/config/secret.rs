//! Secrets: where the owner says they are, and reading them once, into memory that is wiped.
//!
//! Takes the configured source, the process's environment and the folder of the configuration; gives the secret,
//! or a sentence that says where it was looked for and what to do. No sentence and no `Debug` holds a secret,
//! nor a text that may be one by mistake. The only place that reads `std::env` for the configuration.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use schemars::JsonSchema;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;
use serde::Deserializer;
use serde::de;
use serde::de::value::MapAccessDeserializer;

use crate::config::deploy_key;

/// The variable in which systemd names the folder of a service's credentials (`LoadCredential=`).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// The folder beside the configuration in which a secret may lie.
const CREDENTIALS_FOLDER: &str = "credentials";
/// The most bytes a secret may have. More is some other file, and to mask a secret takes 500 times its own memory.
const LONGEST_SECRET: u64 = 16 * 1024;
/// The bit of a file's mode that lets everyone read it.
const READABLE_BY_ALL: u32 = 0o004;
const SOURCES: &str = "`{\"file\": \"PATH\"}` or `{\"env\": \"NAME\"}`";

/// Where a secret is: `{"file": …}`, `{"env": …}`, or the secret itself (warned about).
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
pub enum SecretSource {
    /// In a file; a relative path is looked for in systemd's credentials directory, then beside the config.
    File {
        /// The path.
        file: String,
    },
    /// In an environment variable.
    Env {
        /// Its name.
        env: String,
    },
    /// Written into the config itself.
    Plain(#[schemars(with = "String")] SecretString),
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor)
    }
}

/// The keys that a source may have, before it is known which source it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceKeys {
    file: Option<String>,
    env: Option<String>,
}

struct SourceVisitor;

impl<'de> de::Visitor<'de> for SourceVisitor {
    type Value = SecretSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a secret's place, {SOURCES}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretSource, E> {
        Ok(SecretSource::Plain(SecretString::from(text)))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<SecretSource, A::Error> {
        let keys = SourceKeys::deserialize(MapAccessDeserializer::new(map))?;
        match (keys.file, keys.env) {
            (Some(file), None) => Ok(SecretSource::File { file }),
            (None, Some(env)) => Ok(SecretSource::Env { env }),
            (Some(_), Some(_)) => {
                Err(de::Error::custom("a secret is in a `file` or in the `env`: keep one of the two"))
            }
            (None, None) => Err(de::Error::custom(format!("this names no place: write {SOURCES}"))),
        }
    }
}

/// The environment variables of a process. Its `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The variables of this process.
    pub fn of_this_process() -> Self {
        std::env::vars_os().collect()
    }

    fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(&OsString::from(name))
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Reads secrets of one configuration.
#[derive(Debug, Clone, Copy)]
pub struct SecretReader<'a> {
    /// Where variables are looked up.
    pub environment: &'a Environment,
    /// The folder of the configuration file.
    pub folder: &'a Path,
    /// Whether they are needed at all.
    pub need: Need,
}

/// What a secret may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One line, or it could not stand in a header or a login.
    Line,
    /// A text of any kind, such as a key or a file of settings.
    Text,
    /// The private half of an SSH key that opens without a passphrase.
    Key,
}

/// Whether secrets are needed for what a configuration is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// They will be used.
    Values,
    /// They will not: history can be looked at by who may not read them. Each is taken for an empty one.
    Nothing,
}

/// A secret that was read.
#[derive(Debug)]
pub struct ReadSecret {
    /// The secret; of a single line without the line break at its end, else as it was.
    pub secret: SecretString,
    /// What its owner should know about the place it was read from.
    pub warning: Option<String>,
}

impl SecretReader<'_> {
    /// Reads a secret from its place.
    ///
    /// # Errors
    /// A sentence, if there is no such place, it cannot be read, is empty, or has another shape.
    pub fn read(&self, source: &SecretSource, shape: Shape) -> Result<ReadSecret, String> {
        match self.need {
            Need::Values => {}
            Need::Nothing => return Ok(ReadSecret { secret: SecretString::default(), warning: None }),
        }
        match source {
            SecretSource::File { file } => self.read_file(file, shape),
            SecretSource::Env { env } => self.read_variable(env, shape),
            SecretSource::Plain(secret) => Ok(ReadSecret {
                secret: checked(secret.expose_secret(), shape, "this secret")?,
                warning: Some(format!(
                    "this secret stands in the config itself, for everyone to see who may read it: write {SOURCES}"
                )),
            }),
        }
    }

    /// Where secrets lie: the folders of the configuration and of the service's credentials, and the files of `sources`.
    pub fn places<'s>(self, sources: impl Iterator<Item = &'s SecretSource>) -> Vec<PathBuf> {
        // A configuration that stands in `/etc` itself must not hide all of that.
        let is_its_own = self.folder.components().count() > 2;
        let own = if is_its_own { self.folder.to_owned() } else { self.folder.join(CREDENTIALS_FOLDER) };
        let of_service = self.environment.get(CREDENTIALS_DIRECTORY).filter(|folder| !folder.is_empty());
        let mut places: Vec<PathBuf> = [own].into_iter().chain(of_service.map(PathBuf::from)).collect();
        places.extend(sources.filter_map(|source| match source {
            SecretSource::File { file } => Some(self.folder.join(file)),
            SecretSource::Env { .. } | SecretSource::Plain(_) => None,
        }));
        places
    }

    fn read_variable(&self, name: &str, shape: Shape) -> Result<ReadSecret, String> {
        // Shown only in the usual spelling of a variable: what looks otherwise may be the secret itself.
        let is_usual =
            |name: &str| name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        let shown = if is_usual(name) { format!(" `{name}`") } else { " named here".to_owned() };
        let value = self.environment.get(name).ok_or_else(|| {
            format!(
                "the environment variable{shown} is not set: set it for the service (`EnvironmentFile=` in its unit), \
                 or write `{{\"file\": \"PATH\"}}`"
            )
        })?;
        let what = format!("the environment variable{shown}");
        let text = value.to_str().ok_or_else(|| format!("{what} is not UTF-8 text"))?;
        Ok(ReadSecret { secret: checked(text, shape, &what)?, warning: None })
    }

    fn read_file(&self, file: &str, shape: Shape) -> Result<ReadSecret, String> {
        if file.is_empty() {
            return Err("this names no file: write `{\"file\": \"PATH\"}`".to_owned());
        }
        let candidates = self.candidates(file);
        let found = candidates.iter().find_map(|path| match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // systemd puts a default in the place of a credential that is not there: one line break.
            Ok(metadata)
                if metadata.is_file() && metadata.len() <= 1 && path.parent() != Some(self.folder) =>
            {
                None
            }
            metadata => Some((path, metadata)),
        });
        let Some((path, metadata)) = found else {
            let places: Vec<String> = candidates.iter().map(|path| format!("`{}`", path.display())).collect();
            return Err(format!(
                "there is no file {}: write the secret into it, readable by homeport's user only",
                places.join(" or ")
            ));
        };
        let name = format!("the file `{}`", path.display());
        let (text, mode) = metadata.and_then(|metadata| content(path, &metadata)).map_err(|error| {
            format!("{name} cannot be read: {error}; it must be a file with the secret that homeport's user may read")
        })?;
        let warning = (mode & READABLE_BY_ALL != 0).then(|| {
            format!("{name} can be read by every user of this machine: `chmod 600` it, with homeport's user as owner")
        });
        Ok(ReadSecret { secret: checked(&text, shape, &name)?, warning })
    }

    /// The paths at which a file is looked for, the first that exists counting.
    fn candidates(&self, file: &str) -> Vec<PathBuf> {
        let credentials = self.environment.get(CREDENTIALS_DIRECTORY).filter(|folder| !folder.is_empty());
        let beside = self.folder.join(CREDENTIALS_FOLDER);
        let folders = [credentials.map(Path::new), Some(self.folder), Some(&beside)];
        let mut candidates: Vec<PathBuf> = folders.into_iter().flatten().map(|f| f.join(file)).collect();
        candidates.dedup();
        candidates
    }
}

/// The text of a file and its mode.
fn content(path: &Path, metadata: &fs::Metadata) -> io::Result<(Zeroizing<String>, u32)> {
    // Asked before it is opened: opening a named pipe would wait for its other end.
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.len() > LONGEST_SECRET {
        return Err(io::Error::other(format!("it is longer than {LONGEST_SECRET} bytes")));
    }
    // Room for all of it at once, so that no part is left behind in memory by a buffer that grew.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST_SECRET as usize));
    File::open(path)?.take(LONGEST_SECRET).read_to_end(&mut bytes)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))?;
    Ok((Zeroizing::new(text.to_owned()), metadata.permissions().mode()))
}

/// The secret, without the line break at the end of a single line.
fn checked(text: &str, shape: Shape, place: &str) -> Result<SecretString, String> {
    let line = text.trim_end_matches(['\n', '\r']);
    if line.trim().is_empty() {
        return Err(format!("{place} is empty"));
    }
    let is_line = !line.chars().any(char::is_control);
    match shape {
        Shape::Key => deploy_key::checked(text, place),
        Shape::Line | Shape::Text if is_line => Ok(SecretString::from(line)),
        Shape::Line => Err(format!("{place} holds more than one line: it must hold the secret alone")),
        Shape::Text if text.len() as u64 > LONGEST_SECRET => {
            Err(format!("{place} is longer than {LONGEST_SECRET} bytes"))
        }
        Shape::Text => Ok(SecretString::from(text)),
    }
}
