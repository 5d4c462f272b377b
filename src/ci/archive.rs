//! A folder as a tar stream of constant memory.
//!
//! Takes a folder and the patterns of what stays out of it, gives chunks in a fixed order. Symbolic links travel
//! as links and are never followed; of a mode only what git knows of it is kept. A file that changes while it is read is an error,
//! not a torn copy. The reading happens on a thread of its own, which ends when the stream is dropped.

use std::fs;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use bytes::Bytes;
use bytes::BytesMut;
use tokio::sync::mpsc;

use crate::ci::delicate::BEGINNING;
use crate::ci::delicate::Findings;
use crate::ci::dockerignore::Dockerignore;
use crate::ci::dockerignore::Verdict;
use crate::clients::docker::TarStream;

/// What a chunk of the stream holds, or a little more. Two of them wait at most.
const CHUNK: usize = 64 * 1024;

/// Starts reading. The files belong to `owner`, a user and a group by number.
pub(super) fn tree_stream(
    root: PathBuf,
    ignore: Dockerignore,
    owner: (u64, u64),
    findings: Findings,
) -> TarStream {
    let (sender, receiver) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        let mut chunks = Chunks { sender, pending: BytesMut::new() };
        if let Err(error) = write_tar(&root, &ignore, owner, &findings, &mut chunks) {
            // If the receiver is gone nobody wants to know.
            drop(chunks.sender.blocking_send(Err(error)));
        }
    });
    let chunks = futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    Box::pin(chunks)
}

/// A folder on the way down. One that is excluded is written only once something in it is.
struct Folder {
    path: PathBuf,
    verdict: Option<Verdict>,
    is_written: bool,
}

/// The way through the tree.
struct Walk<'a> {
    root: &'a Path,
    ignore: &'a Dockerignore,
    owner: (u64, u64),
    findings: &'a Findings,
    tar: tar::Builder<&'a mut Chunks>,
    trail: Vec<Folder>,
}

fn write_tar(
    root: &Path,
    ignore: &Dockerignore,
    owner: (u64, u64),
    findings: &Findings,
    chunks: &mut Chunks,
) -> io::Result<()> {
    let tar = tar::Builder::new(&mut *chunks);
    let mut walk = Walk { root, ignore, owner, findings, tar, trail: Vec::new() };
    walk.folder(Folder { path: PathBuf::new(), verdict: None, is_written: true })?;
    walk.tar.finish()?;
    drop(walk);
    chunks.flush()
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
        if self.tar.get_ref().sender.is_closed() {
            return Err(nobody_reads());
        }
        let ignore = self.ignore;
        let verdict = ignore.judge(&path.to_string_lossy(), above);
        let is_written = !verdict.excluded;
        let facts = fs::symlink_metadata(self.root.join(&path)).map_err(|e| named(&path, &e))?;
        if is_written {
            self.write_trail()?;
            self.write(&path, &facts)?;
        }
        if facts.is_dir() && (is_written || ignore.has_exceptions()) {
            self.folder(Folder { path, verdict: Some(verdict), is_written })?;
        }
        Ok(())
    }

    fn write_trail(&mut self) -> io::Result<()> {
        let owner = self.owner;
        for folder in self.trail.iter_mut().filter(|folder| !folder.is_written) {
            let facts =
                fs::symlink_metadata(self.root.join(&folder.path)).map_err(|e| named(&folder.path, &e))?;
            let mut header = header(&facts, tar::EntryType::Directory, owner);
            self.tar.append_data(&mut header, &folder.path, io::empty())?;
            folder.is_written = true;
        }
        Ok(())
    }

    fn write(&mut self, path: &Path, facts: &fs::Metadata) -> io::Result<()> {
        let kind = facts.file_type();
        let place = self.root.join(path);
        let mut header = header(facts, entry_type(kind), self.owner);
        if kind.is_symlink() {
            let target = fs::read_link(&place).map_err(|e| named(path, &e))?;
            self.tar.append_link(&mut header, path, target)
        } else if kind.is_dir() {
            self.tar.append_data(&mut header, path, io::empty())
        } else if kind.is_file() {
            header.set_size(facts.len());
            let file = open_without_following(&place).map_err(|e| named(path, &e))?;
            let mut beginning = [0; BEGINNING];
            let length = file.read_at(&mut beginning, 0).map_err(|e| named(path, &e))?;
            self.findings.look_at(&path.to_string_lossy(), beginning.get(..length).unwrap_or_default());
            let mut body = Exactly { file, path, left: facts.len() };
            self.tar.append_data(&mut header, path, &mut body)?;
            body.ends_here()
        } else {
            // Sockets, pipes and devices are nothing that a commit can hold.
            Ok(())
        }
    }
}

fn entry_type(kind: fs::FileType) -> tar::EntryType {
    if kind.is_symlink() {
        tar::EntryType::Symlink
    } else if kind.is_dir() {
        tar::EntryType::Directory
    } else {
        tar::EntryType::Regular
    }
}

/// git records whether a file may be executed and no more; the rest is this machine's umask, and a narrow one
/// would make files that nobody but root may read in the image.
fn mode(facts: &fs::Metadata, kind: tar::EntryType) -> u32 {
    if kind.is_dir() || facts.mode() & 0o100 != 0 { 0o755 } else { 0o644 }
}

fn header(facts: &fs::Metadata, kind: tar::EntryType, (user, group): (u64, u64)) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode(facts, kind));
    header.set_mtime(facts.mtime().try_into().unwrap_or(0));
    header.set_uid(user);
    header.set_gid(group);
    header.set_size(0);
    header
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

/// A file of which exactly the announced length is read.
struct Exactly<'a> {
    file: fs::File,
    path: &'a Path,
    left: u64,
}

impl Exactly<'_> {
    fn changed(&self) -> io::Error {
        io::Error::other(format!("read {}: the file changed while it was read", self.path.display()))
    }

    fn ends_here(&mut self) -> io::Result<()> {
        let mut one = [0];
        match self.file.read(&mut one).map_err(|e| named(self.path, &e))? {
            0 => Ok(()),
            _ => Err(self.changed()),
        }
    }
}

impl Read for Exactly<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let Some(into) = into.get_mut(..most).filter(|into| !into.is_empty()) else { return Ok(0) };
        let count = self.file.read(into).map_err(|e| named(self.path, &e))?;
        if count == 0 {
            return Err(self.changed());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// The writing end: gathers what the tar writer hands over in small pieces into chunks.
struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    pending: BytesMut,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let chunk = self.pending.split().freeze();
        self.sender.blocking_send(Ok(chunk)).map_err(|_| nobody_reads())
    }
}

fn nobody_reads() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads the stream any more")
}
