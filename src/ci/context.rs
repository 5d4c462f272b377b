//! What a build is made from, and what a test container gets a copy of.
//!
//! Takes a checked-out tree that a stranger may have written, gives its files without `.git` and without what the
//! ignore file names. A path or a link that leads out of the tree is refused: nothing else of this machine may get into
//! an image. It does not talk to Docker.

use std::fs;
use std::io;
use std::io::Read;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::ci::archive::tar_stream;
use crate::ci::delicate::Findings;
use crate::ci::dockerignore::BadPattern;
use crate::ci::dockerignore::Dockerignore;
use crate::ci::part::Part;
use crate::ci::walk::Exactly;
use crate::ci::walk::walk;
use crate::clients::docker::BuildContext;
use crate::clients::docker::Entry;
use crate::clients::docker::Selection;
use crate::clients::docker::TarStream;
use crate::clients::docker::Visitor;
use crate::model::CommitSha;

/// No ignore file that a person wrote is longer, in bytes.
const LONGEST_IGNORE_FILE: u64 = 256 * 1024;
const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// A folder that is ready to be streamed.
#[derive(Debug, Clone)]
pub struct Context {
    root: PathBuf,
    /// What the ignore file says.
    ignore: Dockerignore,
    /// The same without what the builder itself needs.
    ignore_but_needed: Dockerignore,
    stamp: Option<u32>,
    findings: Findings,
}

/// Why a tree cannot be what a build is made from. All but `Unreadable` are the commit's own fault.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A path of the configuration, or a link in its way, leads out of the tree.
    #[error("the {what} `{path}` leads out of the repository; only files of the commit itself can be used")]
    Outside {
        /// Which path: `context`, `Dockerfile` …
        what: &'static str,
        /// The path as it was configured.
        path: String,
    },
    /// The commit does not have it.
    #[error("the commit has no {what} at `{path}`; set its path in the configuration, or add the file")]
    Missing {
        /// Which path: `context`, `Dockerfile` …
        what: &'static str,
        /// The path as it was configured.
        path: String,
    },
    /// The ignore file cannot be understood.
    #[error("{file}: {source}")]
    Ignore {
        /// The name of the ignore file.
        file: String,
        /// What is wrong with it.
        source: BadPattern,
    },
    /// The ignore file is no text a person wrote.
    #[error("{file} is longer than 256 KiB or not a plain file")]
    IgnoreFile {
        /// The name of the ignore file.
        file: String,
    },
    /// The disk, or the rights of the agent's user.
    #[error("read {path}")]
    Unreadable {
        /// What was read.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl Context {
    /// Prepares what a build gets: the folder `context` of the tree at `tree`, less what its ignore file
    /// names. `dockerfile` is the Dockerfile's path below that folder. `DOCKERFILE.dockerignore` wins over
    /// `.dockerignore`; the builder gets the Dockerfile and the ignore file themselves in any case.
    ///
    /// # Errors
    /// See [`ContextError`].
    pub async fn for_build(tree: &Path, context: &str, dockerfile: &str) -> Result<Self, ContextError> {
        let (tree, context, dockerfile) = (tree.to_owned(), context.to_owned(), dockerfile.to_owned());
        let path = tree.display().to_string();
        let prepared = tokio::task::spawn_blocking(move || prepare(&tree, &context, &dockerfile)).await;
        prepared.unwrap_or_else(|stopped| {
            Err(ContextError::Unreadable { path, source: io::Error::other(stopped) })
        })
    }

    /// The whole tree, for a test container; only `.git` is left out.
    pub fn whole(tree: &Path) -> Self {
        Self::of(tree.to_owned(), Dockerignore::default(), Dockerignore::default())
    }

    fn of(root: PathBuf, ignore: Dockerignore, ignore_but_needed: Dockerignore) -> Self {
        Self { root, ignore, ignore_but_needed, stamp: None, findings: Findings::default() }
    }

    /// Says of which commit the files are. BuildKit takes a file for the one of the last build if both are as long and
    /// as old; a board without a clock can live through the same second twice, and two commits must still differ. So
    /// the commit decides the fraction of the second.
    pub fn at(mut self, commit: &CommitSha) -> Self {
        let beginning = commit.as_str().get(..8).and_then(|text| u32::from_str_radix(text, 16).ok());
        self.stamp = beginning.map(|number| number % NANOS_PER_SECOND);
        self
    }

    /// What is found in it that an image had better not hold: complete when the build has, or the stream to its end.
    pub fn findings(&self) -> Findings {
        self.findings.clone()
    }

    /// All files as a tar archive, read on a thread of its own. The stream ends with an error if a file cannot be read
    /// or changes meanwhile; dropping it ends the reading.
    pub fn stream(self) -> TarStream {
        tar_stream(self)
    }
}

impl BuildContext for Context {
    fn tar(&self) -> TarStream {
        tar_stream(self.clone())
    }

    fn walk(&self, wanted: &Selection, visitor: &mut dyn Visitor) -> io::Result<()> {
        let part = wanted.paths.as_ref().map_or(Part::WHOLE, |paths| Part::of(&self.root, paths));
        let ignore = if wanted.is_for_image { &self.ignore } else { &self.ignore_but_needed };
        walk(&self.root, &part, ignore, &self.findings, &mut Stamping { stamp: self.stamp, visitor })
    }

    fn open(&self, path: &Path, size: u64) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Exactly::open(&self.root, path, size)?))
    }
}

/// Gives the entries on with the commit's fraction of a second.
struct Stamping<'a> {
    stamp: Option<u32>,
    visitor: &'a mut dyn Visitor,
}

impl Visitor for Stamping<'_> {
    fn is_heard(&self) -> bool {
        self.visitor.is_heard()
    }

    fn visit(&mut self, mut entry: Entry) -> io::Result<()> {
        if let Some(stamp) = self.stamp {
            entry.modified = Duration::new(entry.modified.as_secs(), stamp);
        }
        self.visitor.visit(entry)
    }
}

fn prepare(tree: &Path, context: &str, dockerfile: &str) -> Result<Context, ContextError> {
    let unreadable = |source| ContextError::Unreadable { path: tree.display().to_string(), source };
    let tree = fs::canonicalize(tree).map_err(unreadable)?;
    let root = inside(&tree, context, "context")?.ok_or_else(|| missing("context", context))?;
    if !root.is_dir() {
        return Err(missing("context", context));
    }
    let real = inside(&root, dockerfile, "Dockerfile")?.ok_or_else(|| missing("Dockerfile", dockerfile))?;
    if !real.is_file() {
        return Err(missing("Dockerfile", dockerfile));
    }
    let dockerfile = relative(dockerfile);
    let own_ignore = format!("{dockerfile}.dockerignore");
    let mut ignore = Dockerignore::default();
    let mut needed = vec![dockerfile];
    // Where the Dockerfile is a link, what it points to must travel as well.
    needed.extend(real.strip_prefix(&root).ok().map(|target| target.to_string_lossy().into_owned()));
    for name in [own_ignore.as_str(), ".dockerignore"] {
        if let Some(text) = ignore_text(&root, name)? {
            ignore = Dockerignore::parse(&text)
                .map_err(|source| ContextError::Ignore { file: name.to_owned(), source })?;
            needed.push(name.to_owned());
            break;
        }
    }
    let mut ignore_but_needed = ignore.clone();
    for path in &needed {
        ignore_but_needed.keep(path);
    }
    Ok(Context::of(root, ignore, ignore_but_needed))
}

fn missing(what: &'static str, path: &str) -> ContextError {
    ContextError::Missing { what, path: path.to_owned() }
}

/// The real place of a path below `root`, links followed; `None` if nothing is there.
fn inside(root: &Path, path: &str, what: &'static str) -> Result<Option<PathBuf>, ContextError> {
    let outside = || ContextError::Outside { what, path: path.to_owned() };
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if !Path::new(path).components().all(is_plain) {
        return Err(outside());
    }
    match fs::canonicalize(root.join(path)) {
        Ok(real) if real.starts_with(root) => Ok(Some(real)),
        Ok(_) => Err(outside()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(ContextError::Unreadable { path: path.to_owned(), source }),
    }
}

/// A checked path without its `./` parts.
fn relative(path: &str) -> String {
    let parts = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
    parts.collect::<PathBuf>().to_string_lossy().into_owned()
}

fn ignore_text(root: &Path, name: &str) -> Result<Option<String>, ContextError> {
    let Some(real) = inside(root, name, "ignore file")? else { return Ok(None) };
    let unreadable = |source| ContextError::Unreadable { path: name.to_owned(), source };
    let facts = fs::metadata(&real).map_err(unreadable)?;
    if !facts.is_file() || facts.len() > LONGEST_IGNORE_FILE {
        return Err(ContextError::IgnoreFile { file: name.to_owned() });
    }
    let bytes = fs::read(&real).map_err(unreadable)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
