//! Submodules: the folders of a tree that belong to other repositories, each at the commit that the tree names.
//!
//! The addresses are a stranger's words. Only HTTPS is followed, and what lies below the owner's own `clone_url`, whose
//! token goes nowhere else; `git@HOST:…` of that same server is fetched over HTTP. Everything is fetched by its id into
//! the project's own mirror, so `git submodule` with its configuration and hooks has no part in it.

use std::path::Path;
use std::path::PathBuf;

use url::Url;

use crate::clients::clock::Clock;
use crate::clients::git;
use crate::clients::git::Git;
use crate::clients::git::Output;
use crate::clients::git::command::Ended;
use crate::clients::git::command::GitCommand;
use crate::clients::git::error;
use crate::clients::git::error::GitError;
use crate::clients::git::lfs;
use crate::clients::git::lfs::Contents;
use crate::clients::git::mirror;
use crate::clients::git::mirror::Mirror;
use crate::model::CommitSha;
use crate::model::ProjectName;
use crate::model::Repository;

/// The most submodules of one commit, those of submodules among them.
const MOST: usize = 100;
/// The most bytes that git may say about one `.gitmodules`.
const LONGEST_LIST: usize = 256 << 10;

/// A commit whose submodules are to be laid out.
struct Parent {
    url: Url,
    sha: CommitSha,
    folder: PathBuf,
    /// The folder's path in the whole tree, empty or with a `/` at its end.
    prefix: String,
}

/// A submodule as `.gitmodules` has it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Written {
    name: String,
    path: String,
    url: String,
}

/// One passage over a tree.
struct Passage<'a> {
    git: &'a Git,
    mirror: &'a Mirror,
    repository: &'a Repository,
    out: Output<'a>,
    laid_out: usize,
}

impl Git {
    /// Fills the folders of all submodules in a tree that [`Git::checkout`] has laid out, and says how many there are.
    ///
    /// # Errors
    /// Any [`GitError`]; one that says something of the submodule itself is the commit's fault.
    pub async fn submodules(
        &self,
        project: &ProjectName,
        repository: &Repository,
        sha: &CommitSha,
        tree_dir: &Path,
        out: Output<'_>,
    ) -> Result<usize, GitError> {
        let mirror = Mirror::of(&self.mirrors, project);
        let mut passage = Passage { git: self, mirror: &mirror, repository, out, laid_out: 0 };
        let done = Clock::within(self.limit, passage.all(sha, tree_dir)).await.unwrap_or_else(|slow| {
            Err(GitError::TimedOut { repository: repository.clone(), limit: slow.limit })
        });
        match &done {
            // It may be the mirror that is damaged: the next try begins with a new one.
            Err(GitError::Failed { .. }) => mirror.discard().await?,
            Err(_) => {}
            Ok(()) => lfs::forget_trees_after(&mirror, passage.laid_out).await?,
        }
        done.map(|()| passage.laid_out)
    }
}

impl Passage<'_> {
    async fn all(&mut self, sha: &CommitSha, tree_dir: &Path) -> Result<(), GitError> {
        let url = git::address(&git::below(&self.git.clone_url, self.repository))?;
        let tree_dir = std::path::absolute(tree_dir).unwrap_or_else(|_| tree_dir.to_owned());
        let mut parents = vec![Parent { url, sha: sha.clone(), folder: tree_dir, prefix: String::new() }];
        while let Some(parent) = parents.pop() {
            for written in self.written_in(&parent).await? {
                parents.extend(self.lay_out(&parent, &written).await?);
            }
        }
        Ok(())
    }

    /// What the `.gitmodules` of a commit says.
    async fn written_in(&self, parent: &Parent) -> Result<Vec<Written>, GitError> {
        let blob = format!("{}:.gitmodules", parent.sha);
        let exists = GitCommand::question(&["cat-file", "-e", &blob]).in_repository(self.mirror.path());
        if !exists.run(&self.git.program, &|_| {}).await?.is_success() {
            return Ok(Vec::new());
        }
        let list = GitCommand::question(&["config", "--blob", &blob, "-z", "--list"])
            .in_repository(self.mirror.path())
            .keeping(LONGEST_LIST);
        let listed = list.run(&self.git.program, self.out).await?;
        let file = format!("{}.gitmodules", parent.prefix);
        if !listed.is_success() {
            return Err(GitError::Submodule {
                path: file,
                reason: "is no file that git can read".to_owned(),
            });
        }
        if listed.stdout.len() >= LONGEST_LIST {
            return Err(GitError::Submodule { path: file, reason: "is longer than it may be".to_owned() });
        }
        Ok(read_list(&listed.stdout))
    }

    /// Lays out one submodule, which may have submodules itself; nothing if the tree does not have it.
    async fn lay_out(&mut self, parent: &Parent, written: &Written) -> Result<Option<Parent>, GitError> {
        let Some(sha) = self.commit_at(parent, &written.path).await? else { return Ok(None) };
        let path = format!("{}{}", parent.prefix, written.path);
        let refused = |reason: String| GitError::Submodule { path: path.clone(), reason };
        if self.laid_out == MOST {
            return Err(refused(format!("is one more than the {MOST} that a commit may have")));
        }
        let url = resolve(&written.url, &parent.url, &self.git.clone_url).map_err(refused)?;
        (self.out)(format!("homeport: submodule {path}: {} of {url}\n", sha.short()).as_bytes());
        self.fetch(&path, &url, &sha).await?;
        let repository = self.name_of(&url);
        let contents = Contents {
            git: self.git,
            mirror: self.mirror,
            repository: &repository,
            tree: self.laid_out + 1,
            out: self.out,
        };
        contents.gather(&url, &sha).await.map_err(|source| within(&path, source))?;
        let folder = parent.folder.join(&written.path);
        let read = GitCommand::new(&["read-tree", "--reset", "-u", sha.as_str()])
            .in_repository(self.mirror.path())
            .into_tree(&folder, &self.mirror.index());
        let ended = contents.fill(read).run(&self.git.program, self.out).await?;
        if !ended.is_success() {
            return Err(self.failure(&path, &url, &ended));
        }
        mirror::remove(&self.mirror.index()).await?;
        self.laid_out += 1;
        Ok(Some(Parent { url, sha, folder, prefix: format!("{path}/") }))
    }

    /// The commit that a tree names at this path, if it names one there.
    async fn commit_at(&self, parent: &Parent, path: &str) -> Result<Option<CommitSha>, GitError> {
        let list = ["ls-tree", "-z", "--full-tree", parent.sha.as_str(), "--", path];
        let listed =
            GitCommand::question(&list).in_repository(self.mirror.path()).run(&self.git.program, self.out);
        Ok(listed.await?.stdout.split('\0').find_map(|entry| {
            let (facts, entry_path) = entry.split_once('\t')?;
            let sha = facts.strip_prefix("160000 commit ").filter(|_| entry_path == path)?;
            sha.parse().ok()
        }))
    }

    /// Fetches the commit alone, or all branches where the server gives out no single commits.
    async fn fetch(&self, path: &str, url: &Url, sha: &CommitSha) -> Result<(), GitError> {
        // A name of its own for each, so that what is fetched stays until the next commit is.
        let place = format!("refs/homeport/modules/{}", self.laid_out);
        // The largest depth is git's own way to say "all of it".
        let ways = [
            ("--depth=1", format!("+{sha}:{place}/commit")),
            ("--depth=2147483647", format!("+refs/heads/*:{place}/heads/*")),
        ];
        for (depth, refspec) in ways {
            if self.has(sha).await? {
                return Ok(());
            }
            let fetch = [
                "fetch",
                "--no-tags",
                "--no-recurse-submodules",
                depth,
                "--end-of-options",
                url.as_str(),
                &refspec,
            ];
            let ended = GitCommand::new(&fetch)
                .in_repository(self.mirror.path())
                .talking_to(&self.git.clone_url, self.git.token.as_ref())
                .run(&self.git.program, self.out)
                .await?;
            if !ended.is_success() && !error::is_refusal_of_commit(&ended) {
                return Err(self.failure(path, url, &ended));
            }
        }
        if self.has(sha).await? {
            return Ok(());
        }
        let reason = format!("is to be at commit {}, which {url} does not have: push it there", sha.short());
        Err(GitError::Submodule { path: path.to_owned(), reason })
    }

    async fn has(&self, sha: &CommitSha) -> Result<bool, GitError> {
        let commit = format!("{sha}^{{commit}}");
        let find = GitCommand::question(&["cat-file", "-e", &commit]).in_repository(self.mirror.path());
        Ok(find.run(&self.git.program, &|_| {}).await?.is_success())
    }

    fn failure(&self, path: &str, url: &Url, ended: &Ended) -> GitError {
        let (repository, has_token) = (self.name_of(url), self.git.token.is_some());
        within(path, error::failure(ended, &repository, url.as_str(), self.mirror.path(), has_token))
    }

    fn name_of(&self, url: &Url) -> Repository {
        let name = url.path().trim_end_matches(".git").trim_start_matches('/');
        name.parse().unwrap_or_else(|_| self.repository.clone())
    }
}

fn within(path: &str, source: GitError) -> GitError {
    match source {
        // A disk is full for all of them, and git-lfs missing.
        GitError::NoSpace { .. } | GitError::LfsNotInstalled => source,
        source => GitError::InSubmodule { path: path.to_owned(), source: Box::new(source) },
    }
}

/// Reads what `git config -z --list` prints: `KEY\nVALUE\0`. The last value of a key counts.
fn read_list(text: &str) -> Vec<Written> {
    let mut modules: Vec<Written> = Vec::new();
    for (key, value) in text.split('\0').filter_map(|entry| entry.split_once('\n')) {
        let Some((name, field)) = key.strip_prefix("submodule.").and_then(|key| key.rsplit_once('.')) else {
            continue;
        };
        let place = modules.iter().position(|module| module.name == name).unwrap_or_else(|| {
            modules.push(Written { name: name.to_owned(), ..Written::default() });
            modules.len() - 1
        });
        match (field, modules.get_mut(place)) {
            ("path", Some(module)) => value.clone_into(&mut module.path),
            ("url", Some(module)) => value.clone_into(&mut module.url),
            (_, _) => {}
        }
    }
    modules.retain(|module| !module.path.is_empty());
    modules
}

/// Where a submodule is fetched from, or why not; a clause that follows its path.
fn resolve(written: &str, parent: &Url, clone_url: &Url) -> Result<Url, String> {
    let url = if written.starts_with("./") || written.starts_with("../") {
        as_folder(parent).join(written).ok()
    } else {
        over_http(written, clone_url).or_else(|| Url::parse(written).ok())
    };
    let mut url = url.ok_or("has an address that is none in .gitmodules")?;
    if (url.scheme() != "https" || !url.has_host())
        && !url.as_str().starts_with(as_folder(clone_url).as_str())
    {
        return Err(format!(
            "has an address that is not followed, with the scheme `{}`: in .gitmodules write `https://…`, or `../NAME.git` \
             for a neighbour",
            url.scheme()
        ));
    }
    // A login in it would be printed, and belongs nowhere.
    if url.has_host() && (url.set_username("").is_err() || url.set_password(None).is_err()) {
        return Err("has an address with a login in .gitmodules: remove that".to_owned());
    }
    Ok(url)
}

/// `git@HOST:OWNER/NAME.git` and `ssh://git@HOST/OWNER/NAME.git` on the owner's own server.
fn over_http(written: &str, clone_url: &Url) -> Option<Url> {
    let host = clone_url.host_str()?;
    let path = match written.strip_prefix("ssh://") {
        Some(rest) => {
            rest.rsplit_once('@').map_or(rest, |(_, rest)| rest).strip_prefix(host)?.strip_prefix('/')?
        }
        None => written.split_once('@')?.1.strip_prefix(host)?.strip_prefix(':')?,
    };
    as_folder(clone_url).join(path).ok()
}

fn as_folder(url: &Url) -> Url {
    let mut url = url.clone();
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use url::Url;

    use super::read_list;
    use super::resolve;

    fn resolved(written: &str) -> Result<String, String> {
        let parent = Url::parse("https://github.com/me/hello.git").unwrap();
        let clone_url = Url::parse("https://github.com/").unwrap();
        resolve(written, &parent, &clone_url).map(|url| url.to_string())
    }

    #[test]
    fn addresses_lead_to_http_servers_only() {
        for (written, url) in [
            ("../lib.git", "https://github.com/me/lib.git"),
            ("../../you/lib", "https://github.com/you/lib"),
            ("https://github.com/you/lib.git", "https://github.com/you/lib.git"),
            ("https://git.example.org/x/y/z.git", "https://git.example.org/x/y/z.git"),
            ("git@github.com:you/lib.git", "https://github.com/you/lib.git"),
            ("ssh://git@github.com/you/lib.git", "https://github.com/you/lib.git"),
            ("https://name:secret@git.example.org/x.git", "https://git.example.org/x.git"),
        ] {
            assert_eq!(resolved(written).as_deref(), Ok(url), "{written}");
        }
        for written in [
            "ext::sh -c 'touch /tmp/x'",
            "file:///etc",
            "/etc",
            "http://192.168.1.1/router.git",
            "git://git.example.org/x.git",
            "ssh://git@evil.example/x.git",
            "git@evil.example:x.git",
            "--upload-pack=touch /tmp/x",
            "-u",
            "",
        ] {
            assert!(resolved(written).is_err(), "{written}");
        }
    }

    #[test]
    fn an_address_cannot_climb_out_of_a_servers_path() {
        let parent = Url::parse("http://pi:8080/git/me/hello.git").unwrap();
        let clone_url = Url::parse("http://pi:8080/git/").unwrap();
        assert!(resolve("../../../other/x.git", &parent, &clone_url).is_err());
        assert!(resolve("http://pi:8080/gitlab/x.git", &parent, &clone_url).is_err());
        assert!(resolve("../lib.git", &parent, &clone_url).is_ok());
    }

    #[test]
    fn names_may_hold_dots_and_what_has_no_path_is_none() {
        let list = "submodule.a.b.path\nlib\0submodule.a.b.url\n../lib.git\0submodule.c.url\nx\0core.sshcommand\nsh\0";
        let modules = read_list(list);
        assert_eq!(modules.len(), 1);
        assert_eq!((modules[0].path.as_str(), modules[0].url.as_str()), ("lib", "../lib.git"));
    }
}
