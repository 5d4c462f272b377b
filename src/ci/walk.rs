//! The way through a tree that a stranger may have written: which files of it are shown, in which order, and how one is
//! read.
//!
//! Symbolic links are shown as links and never followed; of a mode only what git knows of it is kept. A file that
//! changes while it is read is an error, not a torn copy.

use std::fs;
use std::io;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::UNIX_EPOCH;

use crate::ci::delicate::BEGINNING;
use crate::ci::delicate::Findings;
use crate::ci::dockerignore::Dockerignore;
use crate::ci::dockerignore::Verdict;
use crate::ci::part::Part;
use crate::clients::docker::Entry;
use crate::clients::docker::EntryKind;
use crate::clients::docker::Visitor;
use crate::clients::docker::nobody_listens;

/// Shows `visitor` what `part` and `ignore` leave of the tree below `root`.
pub(super) fn walk(
    root: &Path,
    part: &Part,
    ignore: &Dockerignore,
    findings: &Findings,
    visitor: &mut dyn Visitor,
) -> io::Result<()> {
    let mut walk = Walk { root, part, ignore, findings, visitor, trail: Vec::new() };
    walk.folder(Folder { path: PathBuf::new(), verdict: None, is_shown: true })
}

struct Walk<'a> {
    root: &'a Path,
    part: &'a Part,
    ignore: &'a Dockerignore,
    findings: &'a Findings,
    visitor: &'a mut dyn Visitor,
    trail: Vec<Folder>,
}

/// A folder on the way down. One that is left out is shown only once something in it is.
struct Folder {
    path: PathBuf,
    verdict: Option<Verdict>,
    is_shown: bool,
}

impl Walk<'_> {
    fn folder(&mut self, folder: Folder) -> io::Result<()> {
        let entries = sorted_entries(self.root, &folder.path)?;
        let verdict = folder.verdict.clone();
        self.trail.push(folder);
        for path in entries {
            self.entry(path, verdict.as_ref())?;
        }
        self.trail.pop();
        Ok(())
    }

    fn entry(&mut self, path: PathBuf, above: Option<&Verdict>) -> io::Result<()> {
        // A stranger's patterns may take long over a stranger's tree; a build that was given up ends here.
        if !self.visitor.is_heard() {
            return Err(nobody_listens());
        }
        if !self.part.touches(&path) {
            return Ok(());
        }
        let ignore = self.ignore;
        let verdict = ignore.judge(&path.to_string_lossy(), above);
        let is_shown = !verdict.excluded && self.part.has(&path);
        let facts = fs::symlink_metadata(self.root.join(&path)).map_err(|e| named(&path, &e))?;
        if is_shown {
            self.show_trail()?;
            self.show(&path, &facts)?;
        }
        if facts.is_dir() && (!verdict.excluded || ignore.has_exceptions()) {
            self.folder(Folder { path, verdict: Some(verdict), is_shown })?;
        }
        Ok(())
    }

    fn show_trail(&mut self) -> io::Result<()> {
        for folder in self.trail.iter_mut().filter(|folder| !folder.is_shown) {
            let facts =
                fs::symlink_metadata(self.root.join(&folder.path)).map_err(|e| named(&folder.path, &e))?;
            self.visitor.visit(entry(folder.path.clone(), EntryKind::Folder, &facts))?;
            folder.is_shown = true;
        }
        Ok(())
    }

    fn show(&mut self, path: &Path, facts: &fs::Metadata) -> io::Result<()> {
        let kind = facts.file_type();
        let kind = if kind.is_symlink() {
            EntryKind::Link(fs::read_link(self.root.join(path)).map_err(|e| named(path, &e))?)
        } else if kind.is_dir() {
            EntryKind::Folder
        } else if kind.is_file() {
            self.look_into(path)?;
            EntryKind::File(facts.len())
        } else {
            // Sockets, pipes and devices are nothing that a commit can hold.
            return Ok(());
        };
        self.visitor.visit(entry(path.to_owned(), kind, facts))
    }

    fn look_into(&self, path: &Path) -> io::Result<()> {
        let file = open_without_following(&self.root.join(path)).map_err(|e| named(path, &e))?;
        let mut beginning = [0; BEGINNING];
        let length = file.read_at(&mut beginning, 0).map_err(|e| named(path, &e))?;
        self.findings.look_at(&path.to_string_lossy(), beginning.get(..length).unwrap_or_default());
        Ok(())
    }
}

fn entry(path: PathBuf, kind: EntryKind, facts: &fs::Metadata) -> Entry {
    let modified = facts.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Entry { mode: mode(facts), modified: modified.unwrap_or(Duration::ZERO), path, kind }
}

/// git records whether a file may be executed and no more; the rest is this machine's umask, and a narrow one
/// would make files that nobody but root may read in the image.
fn mode(facts: &fs::Metadata) -> u32 {
    if facts.is_symlink() {
        0o777
    } else if facts.is_dir() || facts.mode() & 0o100 != 0 {
        0o755
    } else {
        0o644
    }
}

/// The entries of a folder as paths below the root, in the order of their bytes, without `.git`.
fn sorted_entries(root: &Path, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(root.join(folder)).map_err(|e| named(folder, &e))? {
        let name = entry.map_err(|e| named(folder, &e))?.file_name();
        if name != ".git" {
            entries.push(folder.join(name));
        }
    }
    entries.sort_unstable();
    Ok(entries)
}

fn open_without_following(path: &Path) -> io::Result<fs::File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    fs::OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("read {}: {error}", path.display()))
}

/// A file of which exactly the announced length is read: as much, and then its end.
pub(super) struct Exactly {
    file: fs::File,
    path: PathBuf,
    left: u64,
}

impl Exactly {
    /// Opens the file at `path` below `root`.
    pub(super) fn open(root: &Path, path: &Path, size: u64) -> io::Result<Self> {
        let file = open_without_following(&root.join(path)).map_err(|e| named(path, &e))?;
        Ok(Self { file, path: path.to_owned(), left: size })
    }

    fn changed(&self) -> io::Error {
        io::Error::other(format!("read {}: the file changed while it was read", self.path.display()))
    }
}

impl Read for Exactly {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            let more = self.file.read(&mut [0]).map_err(|e| named(&self.path, &e))?;
            return if more == 0 { Ok(0) } else { Err(self.changed()) };
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let count =
            self.file.read(into.get_mut(..most).unwrap_or_default()).map_err(|e| named(&self.path, &e))?;
        if count == 0 {
            return Err(self.changed());
        }
        self.left -= count as u64;
        Ok(count)
    }
}
