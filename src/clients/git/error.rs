//! What can go wrong with a checkout, told apart as far as a caller acts differently. git gives one exit code
//! for nearly everything, so its words are read (in English, since it runs with `LC_ALL=C`).

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::clients::git::command::Ended;
use crate::model::Blame;
use crate::model::CommitSha;
use crate::model::Followed;
use crate::model::Repository;

/// The longest message that is taken over from git, in characters.
pub(super) const LONGEST_MESSAGE: usize = 400;

pub(super) const NO_SPACE: &[&str] = &["no space left on device", "disk quota exceeded"];
const REFUSAL_OF_COMMIT: &[&str] = &["not our ref", "unadvertised object", "couldn't find remote ref"];
/// Of git's check of what arrives (`fsckObjects`), and of its check of paths before a file is written.
const REFUSED_CONTENT: &[&str] = &["fsck error", "error: invalid path"];
pub(super) const DENIED: &[&str] = &[
    "authentication failed",
    "could not read username",
    "could not read password",
    "the requested url returned error: 401",
    "the requested url returned error: 403",
];
const NOT_FOUND: &[&str] = &[
    "' not found",
    "repository not found",
    "the requested url returned error: 404",
    "does not appear to be a git repository",
];
/// All of curl's errors begin with the first or the second; the others are a server that goes away in the
/// middle.
const UNREACHABLE: &[&str] = &[
    "unable to access",
    "rpc failed",
    "early eof",
    "the remote end hung up",
    "unexpected disconnect",
    "remote error: ",
    "could not read from remote repository",
];
const NO_GIT_SERVER: &[&str] = &["not valid: is this a git repository", "dumb http transport"];

/// Why the files of a commit could not be laid out.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The server wants a login, or another one.
    #[error("the git server does not hand out `{repository}`{}", if *.has_token { " with this token: give it read access to the repository's contents, or make a new one and put it where `github.token` points" } else { " without a login: look for a typing error in `repository`, or set `github.token` if it is private" })]
    Denied {
        /// The repository.
        repository: Repository,
        /// Whether a token is configured.
        has_token: bool,
    },
    /// There is no such repository, or not for us.
    #[error(
        "the git server has no `{repository}`: look for a typing error in `repository`, or give the token or the deploy key access if it is private"
    )]
    NotFound {
        /// The repository.
        repository: Repository,
    },
    /// The server does not take the deploy key.
    #[error(
        "the git server does not take the deploy key of `{repository}`: add its public half (`ssh-keygen -y -f KEY`) to the repository's Settings, Deploy keys"
    )]
    KeyRefused {
        /// The repository.
        repository: Repository,
    },
    /// The server shows a host key that is not trusted.
    #[error("the git server at {host} shows {} {}: if its owner has announced new ones, put them into a file and name that as `github.known_hosts`; if not, someone else may be answering for it", if *.has_changed { "another host key than that in" } else { "a host key that is not in" }, .known_hosts.display())]
    HostKey {
        /// The server.
        host: String,
        /// Whether another key of that host is known.
        has_changed: bool,
        /// The file of known hosts.
        known_hosts: PathBuf,
    },
    /// It is not known which host keys to trust.
    #[error(
        "the host keys of the git server cannot be found out ({reason}): name a file of them as `github.known_hosts`"
    )]
    HostKeysUnknown {
        /// Why.
        reason: String,
    },
    /// There is no ssh on this machine.
    #[error("`ssh` is not installed, and a `deploy_key` needs it: `sudo apt install openssh-client`")]
    SshNotInstalled,
    /// No connection, a broken one, or a server in trouble.
    #[error("`{repository}` cannot be fetched: {message}")]
    Unreachable {
        /// The repository.
        repository: Repository,
        /// git's own words.
        message: String,
    },
    /// The commit is on no branch of the server any more: someone pushed with force.
    #[error("commit {} is no longer in `{repository}` and not on its {followed}: the next poll finds what took its place", .sha.short())]
    CommitGone {
        /// The repository.
        repository: Repository,
        /// What it was found by. Boxed, since a pattern is large.
        followed: Box<Followed>,
        /// The commit.
        sha: CommitSha,
    },
    /// The commit holds what git takes from nobody: names that reach for `.git` or out of the tree, submodules that are
    /// options.
    #[error("git refuses what the commit holds: {message}")]
    Refused {
        /// git's own words.
        message: String,
    },
    /// A submodule is not what it must be.
    #[error("the submodule `{path}` {reason}")]
    Submodule {
        /// Its path in the tree.
        path: String,
        /// What is wrong with it, a clause.
        reason: String,
    },
    /// A submodule cannot be fetched or laid out.
    #[error("the submodule `{path}` cannot be laid out")]
    InSubmodule {
        /// Its path in the tree.
        path: String,
        /// Why.
        source: Box<GitError>,
    },
    /// The commit points to the contents of LFS files that nobody has uploaded.
    #[error(
        "the commit has LFS files whose contents `{repository}` does not have: upload them with `git lfs push --all origin`, then `homeport retry` ({message})"
    )]
    LfsMissing {
        /// The repository.
        repository: Repository,
        /// git-lfs's own words.
        message: String,
    },
    /// The contents of LFS files cannot be fetched.
    #[error("the LFS files of `{repository}` cannot be fetched: {message}")]
    Lfs {
        /// The repository.
        repository: Repository,
        /// git-lfs's own words.
        message: String,
    },
    /// There is no git-lfs on this machine.
    #[error("`git-lfs` is not installed, and `lfs` of this project needs it: `sudo apt install git-lfs`")]
    LfsNotInstalled,
    /// The disk is full.
    #[error("no space is left for {}: free some on that disk", .path.display())]
    NoSpace {
        /// What was being written.
        path: PathBuf,
    },
    /// git was killed at the limit.
    #[error("the checkout of `{repository}` took longer than the {limit:?} that it may take")]
    TimedOut {
        /// The repository.
        repository: Repository,
        /// The time it had.
        limit: Duration,
    },
    /// There is no git on this machine.
    #[error("`{}` is not installed: install the package git", .program.display())]
    NotInstalled {
        /// What was looked for.
        program: PathBuf,
    },
    /// Something else, after one attempt with a fresh mirror.
    #[error("{message}")]
    Failed {
        /// What was attempted and git's own words.
        message: String,
    },
}

impl GitError {
    /// Whose fault it is: what a commit names and nobody has is its own.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Refused { .. } | Self::Submodule { .. } | Self::LfsMissing { .. } => Blame::Commit,
            Self::InSubmodule { source, .. } => source.blame(),
            Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::Unreachable { .. }
            | Self::CommitGone { .. }
            | Self::NoSpace { .. }
            | Self::TimedOut { .. }
            | Self::NotInstalled { .. }
            | Self::LfsNotInstalled
            | Self::KeyRefused { .. }
            | Self::HostKey { .. }
            | Self::HostKeysUnknown { .. }
            | Self::SshNotInstalled
            | Self::Lfs { .. }
            | Self::Failed { .. } => Blame::World,
        }
    }

    /// A folder that could not be made, read or removed.
    pub(super) fn of_io(verb: &str, path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { path: path.to_owned() }
            }
            _ => Self::Failed { message: format!("{verb} {}: {error}", path.display()) },
        }
    }
}

/// Whether the server said that it will not or cannot give out what was asked for by its id or name.
pub(super) fn is_refusal_of_commit(ended: &Ended) -> bool {
    !ended.is_success() && contains_any(&ended.stderr.to_ascii_lowercase(), REFUSAL_OF_COMMIT)
}

/// What a failed git means.
pub(super) fn failure(
    ended: &Ended,
    repository: &Repository,
    url: &str,
    mirror: &Path,
    has_token: bool,
) -> GitError {
    let repository = repository.clone();
    // Names that people chose could contain the very words that are looked for.
    let words = ended.stderr.replace(url, "").replace(&*mirror.to_string_lossy(), "").to_ascii_lowercase();
    if contains_any(&words, NO_SPACE) {
        return GitError::NoSpace { path: mirror.to_owned() };
    }
    if contains_any(&words, DENIED) {
        return GitError::Denied { repository, has_token };
    }
    if contains_any(&words, NOT_FOUND) {
        return GitError::NotFound { repository };
    }
    if contains_any(&words, NO_GIT_SERVER) {
        let message = "what answered is no git server: is this network behind a login page?".to_owned();
        return GitError::Unreachable { repository, message };
    }
    let message = essence(ended);
    if contains_any(&words, REFUSED_CONTENT) {
        return GitError::Refused { message };
    }
    if contains_any(&words, UNREACHABLE) {
        return GitError::Unreachable { repository, message };
    }
    GitError::Failed { message: format!("git {} failed: {message}", ended.verb) }
}

pub(super) fn contains_any(text: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| text.contains(part))
}

/// The lines in which git says what is wrong, on one line; else how it ended.
fn essence(ended: &Ended) -> String {
    let is_error = |line: &&str| ["fatal:", "error:", "ssh:"].iter().any(|start| line.starts_with(start));
    let lines: Vec<&str> = ended.stderr.lines().filter(is_error).collect();
    let text = if lines.is_empty() { ended.status.to_string() } else { lines.join("; ") };
    text.chars().filter(|c| !c.is_control()).take(LONGEST_MESSAGE).collect()
}
