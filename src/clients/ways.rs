//! The way to a project's repository: over HTTPS with the token, or over SSH with a deploy key, and then which host keys
//! are trusted there.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use chrono::DateTime;
use chrono::Utc;
use secrecy::SecretString;
use tokio::sync::Mutex;
use url::Url;

use crate::clients::CHECKOUT;
use crate::clients::Clients;
use crate::clients::clock::Clock;
use crate::clients::git::DeployKey;
use crate::clients::git::Git;
use crate::clients::git::GitError;
use crate::clients::github::GitHub;
use crate::config::settings::GitHubSettings;
use crate::config::settings::SourceSettings;
use crate::fault_point::Effect;
use crate::model::Commit;
use crate::model::CommitSha;
use crate::model::ProjectName;

/// GitHub is asked again for its host keys after so long.
const FRESH: Duration = Duration::from_secs(3600);
/// SSH's own port, which stands in no line of known hosts.
const SSH_PORT: u16 = 22;

/// Where SSH leads, and which hosts are trusted there.
#[derive(Debug)]
pub(super) struct Ssh {
    url: Url,
    /// The owner's own file, if there is one.
    known_hosts: Option<PathBuf>,
    /// Where those that GitHub names are written.
    written: PathBuf,
    /// When GitHub named them.
    asked: Mutex<Option<DateTime<Utc>>>,
}

impl Ssh {
    pub(super) fn of(github: &GitHubSettings, state_dir: &Path) -> Self {
        // ssh is started in another folder than this process.
        let written = state_dir.join("known_hosts");
        let written = std::path::absolute(&written).unwrap_or(written);
        let (url, known_hosts) = (github.ssh_url.clone(), github.known_hosts.clone());
        Self { url, known_hosts, written, asked: Mutex::default() }
    }

    /// The file of the host keys that are trusted: the owner's own, or what GitHub names over TLS. Those it named before
    /// are good as long as it does not answer.
    async fn trusted(&self, github: &GitHub, clock: &Clock) -> Result<PathBuf, GitError> {
        if let Some(file) = &self.known_hosts {
            return Ok(file.clone());
        }
        let mut asked = self.asked.lock().await;
        let now = clock.now();
        let is_fresh = |then: DateTime<Utc>| (now - then).to_std().is_ok_and(|age| age < FRESH);
        if asked.is_some_and(is_fresh) {
            return Ok(self.written.clone());
        }
        let unknown = |reason: String| GitError::HostKeysUnknown { reason };
        let keys = match github.ssh_keys().await {
            Ok(keys) => keys,
            Err(_) if self.written.is_file() => return Ok(self.written.clone()),
            Err(error) => return Err(unknown(format!("{:#}", anyhow::Error::from(error)))),
        };
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let host = match self.url.port() {
            None | Some(SSH_PORT) => host.to_owned(),
            Some(port) => format!("[{host}]:{port}"),
        };
        let lines: String = keys.iter().map(|key| format!("{host} {key}\n")).collect();
        write(&self.written, &lines)
            .await
            .map_err(|error| unknown(format!("write {}: {error}", self.written.display())))?;
        *asked = Some(now);
        Ok(self.written.clone())
    }
}

impl Clients {
    /// git, as this project wants it.
    ///
    /// # Errors
    /// It is to go over SSH, and GitHub does not say which hosts can be trusted.
    pub async fn git_for(&self, source: &SourceSettings) -> Result<Git, GitError> {
        let git = self.git.clone().with_lfs(source.lfs);
        let Some(key) = &source.deploy_key else { return Ok(git) };
        let known_hosts = self.ssh.trusted(&self.github, &self.clock).await?;
        Ok(git.over_ssh(DeployKey { url: self.ssh.url.clone(), key: key.clone(), known_hosts }))
    }

    /// Whether a commit that was laid out marks files as those of LFS.
    pub async fn has_lfs_files(&self, project: &ProjectName, sha: &CommitSha) -> bool {
        self.git.has_lfs_files(project, sha).await
    }

    /// The folder of what git fetches for a project.
    pub fn fetched_in(&self, project: &ProjectName) -> PathBuf {
        self.git.folder_of(project)
    }

    /// Removes what git fetched for a project.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub async fn forget_fetched(&self, project: &ProjectName) -> Result<(), GitError> {
        self.git.forget(project).await
    }

    /// What a commit says.
    ///
    /// # Errors
    /// GitHub or its git server does not say.
    pub async fn commit(&self, source: &SourceSettings, sha: &CommitSha) -> anyhow::Result<Commit> {
        if self.knows_by_git_alone(source) {
            return Ok(self.git_for(source).await?.commit(&source.repository, sha).await?);
        }
        Ok(self.github.commit(&source.repository, sha).await?)
    }

    /// Whether all that is known of this repository is known by git: there is no token for GitHub's API.
    pub const fn knows_by_git_alone(&self, source: &SourceSettings) -> bool {
        source.deploy_key.is_some() && !self.github.has_token()
    }
}

/// Whether a repository opens to its deploy key, asked as the agent asks, without its state folder.
///
/// # Errors
/// Why it does not.
pub async fn try_deploy_key(
    github: &GitHub,
    settings: &GitHubSettings,
    source: &SourceSettings,
    key: &SecretString,
) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("homeport-check-{}", std::process::id()));
    let _effect = Effect::begin("git", "try");
    tokio::fs::create_dir(&folder).await.with_context(|| format!("make the folder {}", folder.display()))?;
    let asked = async {
        let known_hosts = Ssh::of(settings, &folder).trusted(github, &Clock::real()).await?;
        let key = DeployKey { url: settings.ssh_url.clone(), key: key.clone(), known_hosts };
        let git = Git::new(&folder, &settings.clone_url, None, CHECKOUT).over_ssh(key);
        git.tags(&source.repository).await
    };
    let asked = asked.await;
    tokio::fs::remove_dir_all(&folder).await.ok();
    Ok(asked.map(drop)?)
}

/// Writes a file that others may be reading, if it is to change.
async fn write(file: &Path, text: &str) -> std::io::Result<()> {
    if tokio::fs::read_to_string(file).await.is_ok_and(|there| there == text) {
        return Ok(());
    }
    let _effect = Effect::begin("git", "hosts");
    let draft = file.with_extension("draft");
    tokio::fs::write(&draft, text).await?;
    tokio::fs::rename(&draft, file).await
}
