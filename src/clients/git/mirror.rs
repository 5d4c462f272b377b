//! The folder of a mirror, and folders in general: whether it is there, what a killed git left in it, making
//! and removing. Knows nothing of commits. All of it happens on the blocking pool.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::clients::git::error::GitError;
use crate::fault_point::Effect;
use crate::model::ProjectName;

/// In bytes. git gives up on a file before the last block is used.
const NEXT_TO_NOTHING: u64 = 1 << 20;

/// One project's mirror. Only one run at a time may use it.
pub(super) struct Mirror {
    path: PathBuf,
    /// Where a mirror goes to be removed; no project has a name with a leading dot.
    discarded: PathBuf,
}

impl Mirror {
    pub(super) fn of(mirrors: &Path, project: &ProjectName) -> Self {
        Self {
            path: mirrors.join(format!("{project}.git")),
            discarded: mirrors.join(format!(".{project}.discarded")),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The index through which a tree is read.
    pub(super) fn index(&self) -> PathBuf {
        self.path.join("homeport.index")
    }

    /// Where the contents of LFS files are kept, a folder for each tree.
    pub(super) fn lfs(&self) -> PathBuf {
        self.path.join("homeport.lfs")
    }

    /// Whether there is something that git would take for a repository.
    pub(super) async fn is_there(&self) -> bool {
        let path = self.path.clone();
        let looks_right = move || {
            path.join("HEAD").is_file() && path.join("objects").is_dir() && path.join("refs").is_dir()
        };
        tokio::task::spawn_blocking(looks_right).await.unwrap_or(false)
    }

    /// Removes the locks and half packs of a git that was killed. No other git uses this folder.
    pub(super) async fn remove_leftovers(&self) -> Result<(), GitError> {
        let path = self.path.clone();
        blocking("clean", &self.path, move || sweep(&path)).await
    }

    /// Removes the mirror. It is renamed first, so that a git that still writes into it cannot keep it alive.
    pub(super) async fn discard(&self) -> Result<(), GitError> {
        remove(&self.discarded).await?;
        let (from, to) = (self.path.clone(), self.discarded.clone());
        blocking("move", &self.path, move || match fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        })
        .await?;
        remove(&self.discarded).await?;
        match self.path.parent() {
            Some(mirrors) => create(mirrors).await,
            None => Ok(()),
        }
    }
}

/// Makes a folder and those above it.
pub(super) async fn create(path: &Path) -> Result<(), GitError> {
    let folder = path.to_owned();
    blocking("create", path, move || fs::create_dir_all(folder)).await
}

/// Removes a file or a folder with all that is in it; nothing there is fine too.
pub(super) async fn remove(path: &Path) -> Result<(), GitError> {
    let target = path.to_owned();
    blocking("remove", path, move || {
        let removed = match fs::symlink_metadata(&target) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&target),
            Ok(_) => fs::remove_file(&target),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    })
    .await
}

/// Whether the disk that holds this path has next to nothing left. git does not always say why it could not
/// write a file.
pub(super) fn is_full(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|disk| {
        let has_no_bytes = disk.f_bavail.saturating_mul(disk.f_frsize) < NEXT_TO_NOTHING;
        let has_no_files = disk.f_files > 0 && disk.f_favail == 0;
        has_no_bytes || has_no_files
    })
}

/// Works on a folder.
pub(super) async fn blocking<T: Send + 'static>(
    verb: &str,
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, GitError> {
    let effect = Effect::begin("git", verb);
    let work = move || {
        let done = work();
        effect.end();
        done
    };
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| GitError::of_io(verb, path, &error))
}

fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        // A folder of loose objects, `objects/0f`: thousands of files and never a lock.
        let is_loose = name.len() == 2 && folder.file_name().is_some_and(|parent| parent == "objects");
        if entry.file_type()?.is_dir() {
            if !is_loose {
                sweep(&path)?;
            }
        } else if name.ends_with(".lock") || name.starts_with("tmp_") || name == "gc.pid" {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
