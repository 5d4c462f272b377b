//! What a build gets of this machine's files, as whoever has them hands it to this client.
//!
//! The classic builder takes them as one tar archive. BuildKit asks: which files are there, then for the content of
//! those that it does not have.

use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::clients::docker::TarStream;

/// In bytes, of which those that are not needed cost nothing.
const STACK: usize = 8 * 1024 * 1024;

/// A folder that an image is built from.
pub trait BuildContext: Send + Sync {
    /// All of it as a tar archive. Dropping the stream ends the reading.
    fn tar(&self) -> TarStream;

    /// Shows a visitor what is asked for: a folder before what is in it, the names in a folder in the order of their
    /// bytes.
    ///
    /// # Errors
    /// A file cannot be read, or the visitor wants no more.
    fn walk(&self, wanted: &Selection, visitor: &mut dyn Visitor) -> io::Result<()>;

    /// Opens a file that was shown with this size. Reading it fails if that is no longer its size.
    ///
    /// # Errors
    /// It cannot be opened.
    fn open(&self, path: &Path, size: u64) -> io::Result<Box<dyn Read + Send>>;
}

/// Who is shown the files of a context.
pub trait Visitor {
    /// Whether anybody still waits for what the visitor is shown.
    fn is_heard(&self) -> bool;

    /// Takes the next one.
    ///
    /// # Errors
    /// The walk is to end.
    fn visit(&mut self, entry: Entry) -> io::Result<()>;
}

/// A file, a folder or a link of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is below the context.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Who may do what with it, as in `chmod`.
    pub mode: u32,
    /// When it was changed, since 1970. With its size it tells whether the engine has the file from an earlier build.
    pub modified: Duration,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Folder,
    /// A file of so many bytes.
    File(u64),
    /// A symbolic link to this.
    Link(PathBuf),
}

/// Which part of a context is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// What these paths lead to, links on their way included, and what is below that; all if left out. More than that
    /// may be given.
    pub paths: Option<Vec<String>>,
    /// Whether the Dockerfile and the ignore file are left out too where the ignore file names them: the builder wants
    /// them for itself, and the image does not get them.
    pub is_for_image: bool,
}

/// Reads on a thread of its own: the runtime's few are for what a stranger's tree cannot hold up, and a runtime that ends
/// does not wait for this one. It has the room for a tree that is as deep as paths may be long.
///
/// # Errors
/// The machine has no room for another thread.
pub fn read_on_a_thread(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("files".to_owned()).stack_size(STACK).spawn(work).map(drop)
}

/// Ends a walk whose visitor is no longer heard.
pub fn nobody_listens() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads the files any more")
}
