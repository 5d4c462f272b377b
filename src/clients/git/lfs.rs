//! LFS: the contents of the files of which a commit holds only pointers, through the program `git-lfs`. Keeps those of
//! the last commit in the mirror. git-lfs checks each against the SHA-256 in its pointer.
//!
//! Pointers and `.lfsconfig` are a stranger's words. git-lfs heeds a few keys of that file (`git help lfs-config`,
//! section LFSCONFIG); all that matter are set here too, which counts more. Only the fetch may talk to a server. The
//! files are written by git itself, which asks git-lfs for the contents alone, so a path leads nowhere that git would
//! not go.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;

use url::Url;

use crate::clients::git::Git;
use crate::clients::git::Output;
use crate::clients::git::command::Ended;
use crate::clients::git::command::GitCommand;
use crate::clients::git::error;
use crate::clients::git::error::GitError;
use crate::clients::git::mirror;
use crate::clients::git::mirror::Mirror;
use crate::clients::git::ssh;
use crate::config::settings::LfsFiles;
use crate::model::CommitSha;
use crate::model::Repository;

/// What git-lfs is told beside the address and where contents are kept.
const SETTINGS: &[&str] = &[
    "lfs.fetchinclude=",
    "lfs.fetchexclude=",
    "lfs.skipdownloaderrors=false",
    "lfs.basictransfersonly=true",
    "lfs.standalonetransferagent=",
    "lfs.transfer.maxretries=3",
    "lfs.ssh.automultiplex=false",
];
/// What makes git ask git-lfs for the contents of the files that a repository marks with `filter=lfs`.
const FILTER: &[&str] = &["filter.lfs.process=git-lfs filter-process", "filter.lfs.required=true"];
/// An address at which nobody can listen.
const NOWHERE: &str = "http://127.0.0.1:0";
/// The codes by which an LFS server says of a content that it has it not, or no more.
const LFS_MISSING: &[&str] = &["[404]", "[410]"];
const LFS_TRANSFER_FAILED: &str = "failed to fetch some objects";
/// What git-lfs keeps beside contents: halves of downloads, what was damaged, its own logs.
const BESIDE: [&str; 4] = ["incomplete", "tmp", "bad", "logs"];
/// The digits of a SHA-256.
const ID: usize = 64;

/// The contents of the LFS files of one tree.
pub(super) struct Contents<'a> {
    pub(super) git: &'a Git,
    pub(super) mirror: &'a Mirror,
    pub(super) repository: &'a Repository,
    /// Whose tree it is: 0 for the repository's own, then a number for each submodule.
    pub(super) tree: usize,
    pub(super) out: Output<'a>,
}

impl Contents<'_> {
    /// Makes sure that the mirror has them all, and no others.
    pub(super) async fn gather(&self, url: &Url, sha: &CommitSha) -> Result<(), GitError> {
        match self.git.lfs {
            LfsFiles::Pointers if self.mirror.lfs().exists() => {
                return mirror::remove(&self.mirror.lfs()).await;
            }
            LfsFiles::Pointers => return Ok(()),
            LfsFiles::Contents => {}
        }
        if self.folder().exists() {
            self.forget_others(sha).await?;
            // What is damaged is put aside and fetched again. What is missing is a failure here, and none below.
            let check = GitCommand::new(&["lfs", "fsck", "--objects", sha.as_str()]);
            self.told(check, NOWHERE).run(&self.git.program, &|_| {}).await?;
        }
        let fetch = GitCommand::new(&["lfs", "fetch", url.as_str(), sha.as_str()]);
        let fetch = self.told(fetch, &endpoint(url));
        let server = &self.git.clone_url;
        // git-lfs hands addresses on to who knows the token, and has been fooled by odd ones.
        let token = self.git.token.as_ref().filter(|_| url.origin() == server.origin());
        // The server names over SSH where contents are, and gives the login for that.
        let ssh = self.git.deploy_key.as_ref().filter(|_| url.scheme() == "ssh");
        let fetch = match ssh {
            Some(key) => fetch.talking_over_ssh(key)?,
            None => fetch.talking_to(server, token),
        };
        let ended = fetch.run(&self.git.program, self.out).await?;
        if ended.is_success() {
            return Ok(());
        }
        let by_ssh = ssh.and_then(|key| ssh::failure(&ended, self.repository, key));
        Err(by_ssh.unwrap_or_else(|| failure(&ended, self.repository, self.mirror.path(), token.is_some())))
    }

    /// Makes the command that lays files out put them into the place of the pointers.
    pub(super) fn fill(&self, read: GitCommand) -> GitCommand {
        match self.git.lfs {
            LfsFiles::Pointers => read,
            LfsFiles::Contents => self.told(read, NOWHERE).with_settings(FILTER),
        }
    }

    /// Removes the contents of files that this commit no longer has, before new ones come.
    async fn forget_others(&self, sha: &CommitSha) -> Result<(), GitError> {
        let folder = self.folder();
        let found = mirror::blocking("list", &folder, {
            let folder = folder.clone();
            move || Ok(kept_in(&folder))
        });
        let unnamed = Mutex::new(Unnamed { ids: found.await?, line: Vec::with_capacity(ID) });
        let list = GitCommand::question(&["lfs", "ls-files", "--long", sha.as_str()]);
        let read = |piece: &[u8]| unnamed.lock().unwrap_or_else(PoisonError::into_inner).read(piece);
        if !self.told(list, NOWHERE).run_into(&self.git.program, &|_| {}, &read).await?.is_success() {
            return Ok(());
        }
        let unnamed = unnamed.into_inner().unwrap_or_else(PoisonError::into_inner);
        for id in &unnamed.ids {
            if let (Some(first), Some(second)) = (id.get(..2), id.get(2..4)) {
                mirror::remove(&folder.join("objects").join(first).join(second).join(id)).await?;
            }
        }
        for beside in BESIDE {
            mirror::remove(&folder.join(beside)).await?;
        }
        Ok(())
    }

    fn told(&self, command: GitCommand, endpoint: &str) -> GitCommand {
        let command = command.in_repository(self.mirror.path()).with_settings(SETTINGS);
        let mut storage = OsString::from("lfs.storage=");
        storage.push(self.folder());
        command.setting(format!("lfs.url={endpoint}").into()).setting(storage)
    }

    fn folder(&self) -> PathBuf {
        self.mirror.lfs().join(self.tree.to_string())
    }
}

/// Removes the contents of submodules that there are no more: those with a higher number than this.
pub(super) async fn forget_trees_after(mirror: &Mirror, last: usize) -> Result<(), GitError> {
    let folder = mirror.lfs();
    let is_later = |name: &OsStr| {
        name.to_str().and_then(|name| name.parse().ok()).is_some_and(|tree: usize| tree > last)
    };
    for entry in fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok) {
        if is_later(&entry.file_name()) {
            mirror::remove(&entry.path()).await?;
        }
    }
    Ok(())
}

/// Contents that nothing read so far has named.
struct Unnamed {
    ids: HashSet<String>,
    /// The beginning of a line that is not over yet.
    line: Vec<u8>,
}

impl Unnamed {
    /// Reads a piece of `ID - PATH` lines.
    fn read(&mut self, piece: &[u8]) {
        for byte in piece {
            if *byte == b'\n' {
                self.ids.remove(&*String::from_utf8_lossy(&self.line));
                self.line.clear();
            } else if self.line.len() < ID {
                self.line.push(*byte);
            }
        }
    }
}

/// What a failed `git lfs fetch` means.
fn failure(ended: &Ended, repository: &Repository, mirror: &Path, has_token: bool) -> GitError {
    let repository = repository.clone();
    let words = ended.stderr.to_ascii_lowercase();
    if words.contains("'lfs' is not a git command") {
        return GitError::LfsNotInstalled;
    }
    if error::contains_any(&words, error::NO_SPACE) {
        return GitError::NoSpace { path: mirror.to_owned() };
    }
    let message = ended
        .stderr
        .lines()
        .filter(|line| !line.contains(LFS_TRANSFER_FAILED))
        .collect::<Vec<_>>()
        .join("; ");
    let message: String = message.chars().filter(|c| !c.is_control()).take(error::LONGEST_MESSAGE).collect();
    // git-lfs's last words where a server was the matter; without them it may be the mirror.
    if !words.contains(LFS_TRANSFER_FAILED) {
        return GitError::Failed { message: format!("git lfs fetch failed: {message}") };
    }
    if error::contains_any(&words, LFS_MISSING) {
        return GitError::LfsMissing { repository, message };
    }
    if error::contains_any(&words, error::DENIED) {
        return GitError::Denied { repository, has_token };
    }
    GitError::Lfs { repository, message }
}

/// Where a repository's LFS server is, by the rule of git-lfs.
fn endpoint(url: &Url) -> String {
    let url = url.as_str().trim_end_matches('/');
    if url.starts_with("file:") || url.starts_with("ssh:") {
        return url.to_owned();
    }
    let dot_git = if url.ends_with(".git") { "" } else { ".git" };
    format!("{url}{dot_git}/info/lfs")
}

/// The ids of the contents in git-lfs's folder: `objects/01/23/0123…`.
fn kept_in(folder: &Path) -> HashSet<String> {
    let below = |folders: Vec<PathBuf>| -> Vec<PathBuf> {
        let entries = folders.into_iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
        entries.filter_map(Result::ok).map(|entry| entry.path()).collect()
    };
    let files = below(below(below(vec![folder.join("objects")])));
    files.iter().filter_map(|file| Some(file.file_name()?.to_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn what_a_list_names_in_any_pieces_is_no_longer_unnamed() {
        let ids = ["a", "b", "c"].map(|digit| digit.repeat(ID));
        let mut unnamed = Unnamed { ids: ids.iter().cloned().collect(), line: Vec::new() };
        let list = format!("{} * a file\nwith a line break\n{} - c.bin\n", ids[0], ids[2]);
        list.as_bytes().chunks(7).for_each(|piece| unnamed.read(piece));
        assert_eq!(unnamed.ids, HashSet::from([ids[1].clone()]));
    }

    #[test]
    fn the_lfs_server_is_below_the_repository() {
        for (url, server) in [
            ("https://github.com/me/a.git", "https://github.com/me/a.git/info/lfs"),
            ("https://github.com/me/a/", "https://github.com/me/a.git/info/lfs"),
            ("file:///srv/a.git", "file:///srv/a.git"),
            ("ssh://git@github.com/me/a.git", "ssh://git@github.com/me/a.git"),
        ] {
            assert_eq!(endpoint(&Url::parse(url).unwrap()), server);
        }
    }
}
