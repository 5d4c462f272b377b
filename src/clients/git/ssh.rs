//! The way over SSH, with a deploy key. Takes the key as text and hands it to ssh without a file on any disk: it lies in
//! memory, as the standard input of git, where ssh finds it through `/proc`. Whatever this machine's users have
//! configured for ssh plays no part, no key or agent but this one is tried, and no host but those in the given file is
//! talked to.

use std::fs::File;
use std::io;
use std::io::Write;
use std::path::PathBuf;

use rustix::fs::MemfdFlags;
use rustix::fs::Mode;
use rustix::fs::fchmod;
use rustix::fs::memfd_create;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use url::Url;

use crate::clients::git::command::Ended;
use crate::clients::git::command::GitCommand;
use crate::clients::git::error::GitError;
use crate::model::Repository;

const KNOWN_HOSTS: &str = "HOMEPORT_KNOWN_HOSTS";
/// Run by a shell that git starts, with the host and what to ask there behind it. `$PPID` is that git.
const COMMAND: &str = "exec ssh -F /dev/null -i /proc/$PPID/fd/0 -o IdentitiesOnly=yes -o IdentityAgent=none \
    -o PreferredAuthentications=publickey -o BatchMode=yes -o StrictHostKeyChecking=yes \
    -o \"UserKnownHostsFile=\\\"$HOMEPORT_KNOWN_HOSTS\\\"\" -o GlobalKnownHostsFile=/dev/null -o UpdateHostKeys=no \
    -o VerifyHostKeyDNS=no -o ClearAllForwardings=yes -o ForwardAgent=no -o ForwardX11=no -o PermitLocalCommand=no \
    -o ProxyCommand=none -o ControlMaster=no -o ControlPath=none -o ConnectTimeout=30 -o ServerAliveInterval=15 \
    -o ServerAliveCountMax=4";

/// How a repository is reached over SSH.
#[derive(Debug, Clone)]
pub struct DeployKey {
    /// What `OWNER/NAME.git` is below.
    pub url: Url,
    /// The private key.
    pub key: SecretString,
    /// The hosts that are talked to, in the form of ssh's `known_hosts`.
    pub known_hosts: PathBuf,
}

impl GitCommand {
    /// May talk over SSH alone, and log in with this key.
    pub(super) fn talking_over_ssh(self, way: &DeployKey) -> Result<Self, GitError> {
        let key = in_memory(&way.key)
            .map_err(|error| GitError::Failed { message: format!("hand the deploy key to ssh: {error}") })?;
        // A percent sign would be the beginning of something that ssh puts there.
        let known_hosts = way.known_hosts.to_string_lossy().replace('%', "%%");
        Ok(self
            .variable("GIT_ALLOW_PROTOCOL", "ssh")
            .variable("GIT_SSH_COMMAND", COMMAND)
            .variable("GIT_SSH_VARIANT", "ssh")
            .variable(KNOWN_HOSTS, &known_hosts)
            .input(key))
    }
}

fn in_memory(key: &SecretString) -> io::Result<File> {
    let mut file = File::from(memfd_create("deploy-key", MemfdFlags::CLOEXEC)?);
    // ssh takes no key that others may read.
    fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    file.write_all(key.expose_secret().as_bytes())?;
    Ok(file)
}

/// What ssh's own words mean, if it was ssh that failed.
pub(super) fn failure(ended: &Ended, repository: &Repository, way: &DeployKey) -> Option<GitError> {
    let words = ended.stderr.to_ascii_lowercase();
    let repository = repository.clone();
    if words.contains("ssh: not found") {
        Some(GitError::SshNotInstalled)
    } else if words.contains("host key verification failed") {
        let host = way.url.host_str().unwrap_or_default().to_owned();
        let has_changed = words.contains("identification has changed");
        Some(GitError::HostKey { host, has_changed, known_hosts: way.known_hosts.clone() })
    } else if words.contains("permission denied (") {
        Some(GitError::KeyRefused { repository })
    } else {
        None
    }
}
