//! What a build is made from, and what a test container gets a copy of.
//!
//! Takes a checked-out tree that a stranger may have written, gives a tar stream without `.git` and without what
//! the ignore file names. A path or a link that leads out of the tree is refused: nothing else of this machine
//! may get into an image. It does not talk to Docker.

use std::fs;
use std::io;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use crate::ci::archive::tree_stream;
use crate::ci::delicate::Findings;
use crate::ci::dockerignore::BadPattern;
use crate::ci::dockerignore::Dockerignore;
use crate::clients::docker::TarStream;

/// No ignore file that a person wrote is longer, in bytes.
const LONGEST_IGNORE_FILE: u64 = 256 * 1024;

/// A folder that is ready to be streamed.
#[derive(Debug, Clone)]
pub struct Context {
    root: PathBuf,
    ignore: Dockerignore,
    owner: (u64, u64),
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
    /// `.dockerignore`; the Dockerfile and the ignore file themselves are always sent.
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
        Self {
            root: tree.to_owned(),
            ignore: Dockerignore::default(),
            owner: (0, 0),
            findings: Findings::default(),
        }
    }

    /// Hands the files to another user and group than root, by number.
    pub const fn owned_by(mut self, user: u64, group: u64) -> Self {
        self.owner = (user, group);
        self
    }

    /// What is found in it that an image had better not hold: complete when the stream has come to its end.
    pub fn findings(&self) -> Findings {
        self.findings.clone()
    }

    /// Starts reading on a thread of its own. The stream ends with an error if a file cannot be read or
    /// changes meanwhile; dropping it ends the reading.
    pub fn stream(self) -> TarStream {
        tree_stream(self.root, self.ignore, self.owner, self.findings)
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
    for name in [own_ignore.as_str(), ".dockerignore"] {
        if let Some(text) = ignore_text(&root, name)? {
            ignore = Dockerignore::parse(&text)
                .map_err(|source| ContextError::Ignore { file: name.to_owned(), source })?;
            ignore.keep(name);
            break;
        }
    }
    ignore.keep(&dockerfile);
    // Where the Dockerfile is a link, what it points to must travel as well.
    if let Ok(target) = real.strip_prefix(&root) {
        ignore.keep(&target.to_string_lossy());
    }
    Ok(Context { root, ignore, owner: (0, 0), findings: Findings::default() })
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
