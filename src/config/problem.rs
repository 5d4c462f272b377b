//! What is wrong with a configuration: the problems themselves, all of them together as one error, and the
//! collector into which every check puts what it finds.
//!
//! Pure. A message never quotes a value that could be a secret; the checks that write the messages see to that.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::path::PathBuf;

use crate::config::path::JsonPath;
use crate::config::path::Step;
use crate::config::position::Document;
use crate::config::position::Position;

/// Everything that is wrong with a configuration file, in the order of the file. Prints one problem per line,
/// `FILE:LINE:COLUMN: PATH: what is wrong and what would be right`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// The file, as it was named by the caller.
    pub file: PathBuf,
    /// The problems, at least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong, or worth a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where in the file; `None` if the file itself is the problem.
    pub position: Option<Position>,
    /// Which value, `projects[0].deploy.ports[0]`; empty for the whole file.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
    /// The line of the file with a caret below the place, for faults of the JSON itself.
    pub excerpt: Option<String>,
}

impl Problem {
    /// The line that a person reads, excerpt included.
    pub fn render(&self, file: &Path) -> String {
        let mut line = format!("{}:", file.display());
        if let Some(position) = self.position {
            line.push_str(&format!("{}:{}:", position.line, position.column));
        }
        if !self.path.is_empty() {
            line.push_str(&format!(" {}:", self.path));
        }
        line.push_str(&format!(" {}", self.message));
        if let Some(excerpt) = &self.excerpt {
            line.push_str(&format!("\n{excerpt}"));
        }
        line
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.problems.iter().map(|problem| problem.render(&self.file)).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Collects what the checks find, with the position of each.
#[derive(Debug)]
pub struct Problems<'d> {
    document: &'d Document<'d>,
    /// The values that could not be read, and are therefore missing from what was built.
    left_out: BTreeSet<JsonPath>,
    /// The values that are missing, but were meant by a key that is refused.
    excused: Vec<JsonPath>,
    errors: Vec<(JsonPath, Problem)>,
    warnings: Vec<(JsonPath, Problem)>,
}

impl<'d> Problems<'d> {
    /// No problems yet with this file.
    pub const fn new(document: &'d Document<'d>) -> Self {
        Self {
            document,
            left_out: BTreeSet::new(),
            excused: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Says which values of the file are missing from what was built from it. From here on, a path counts the
    /// elements of a list as they were built.
    pub fn leave_out(&mut self, paths: BTreeSet<JsonPath>) {
        self.left_out = paths;
    }

    /// The value at `path` is wrong. Said only if nothing in or below it was refused before.
    pub fn refuse(&mut self, path: &JsonPath, message: impl Into<String>) {
        let path = self.as_written(path);
        if !self.is_refused(&path) {
            let position = self.document.position(&path);
            self.errors.push((path.clone(), problem(&path, position, message.into())));
        }
    }

    /// The key at the end of `path` is wrong.
    pub fn refuse_key(&mut self, path: &JsonPath, message: impl Into<String>) {
        let path = self.as_written(path);
        let position = self.document.key_position(&path);
        self.errors.push((path.clone(), problem(&path, position, message.into())));
    }

    /// The key at the end of `path` stands there a second time, at `position`, after a first at `first`.
    pub fn refuse_repeated(&mut self, path: &JsonPath, first: Position, position: Position) {
        let message =
            format!("this key stands here twice, first on line {}: keep one of the two", first.line);
        self.errors.push((path.clone(), problem(path, position, message)));
    }

    /// The value at `path` is missing for a reason that was told already.
    pub fn excuse(&mut self, path: JsonPath) {
        self.excused.push(path);
    }

    /// The value at `path` works, but its owner should know something about it.
    pub fn warn(&mut self, path: &JsonPath, message: impl Into<String>) {
        let path = self.as_written(path);
        if !self.is_refused(&path) {
            let position = self.document.position(&path);
            self.warnings.push((path.clone(), problem(&path, position, message.into())));
        }
    }

    /// The value, or `None` after its refusal at `path`.
    pub fn keep<T>(&mut self, path: &JsonPath, checked: Result<T, impl fmt::Display>) -> Option<T> {
        checked.map_err(|error| self.refuse(path, error.to_string())).ok()
    }

    /// Whether anything at or below `path` was refused, so that conclusions from it would mislead.
    pub fn has_refused(&self, path: &JsonPath) -> bool {
        self.is_refused(&self.as_written(path))
    }

    /// Where `path` stands, to be named by a message about another place: `line 12`.
    pub fn line_of(&self, path: &JsonPath) -> String {
        format!("line {}", self.document.position(&self.as_written(path)).line)
    }

    /// The rendered warnings, or all errors.
    ///
    /// # Errors
    /// If anything was refused.
    pub fn verdict(self, file: &Path) -> Result<Vec<String>, ConfigErrors> {
        let in_order = |mut found: Vec<(JsonPath, Problem)>| -> Vec<Problem> {
            found.sort_by_key(|(_, problem)| problem.position);
            found.into_iter().map(|(_, problem)| problem).collect()
        };
        if self.errors.is_empty() {
            Ok(in_order(self.warnings).iter().map(|warning| warning.render(file)).collect())
        } else {
            Err(ConfigErrors { file: file.to_owned(), problems: in_order(self.errors) })
        }
    }

    fn is_refused(&self, path: &JsonPath) -> bool {
        let refused = self.errors.iter().map(|(refused, _)| refused);
        refused.chain(&self.excused).any(|refused| refused.is_within(path))
    }

    /// The path in the file of what stands at `built` in what was built: elements left out are counted again.
    fn as_written(&self, built: &JsonPath) -> JsonPath {
        if self.left_out.is_empty() {
            return built.clone();
        }
        built.steps().iter().fold(JsonPath::root(), |path, step| match step {
            Step::Key(_) => path.with(step.clone()),
            Step::Index(index) => {
                let mut kept = (0..).filter(|i| !self.left_out.contains(&path.index(*i)));
                path.index(kept.nth(*index).unwrap_or(*index))
            }
        })
    }
}

fn problem(path: &JsonPath, position: Position, message: String) -> Problem {
    Problem {
        position: Some(position),
        path: path.to_string(),
        message: without_credentials(&message),
        excerpt: None,
    }
}

/// The message with what stands between `://` and `@` hidden: a URL with a token is a likely slip where a plain
/// name is wanted.
fn without_credentials(message: &str) -> String {
    let mut parts = message.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['/', '`', ' ']).unwrap_or(part.len());
        let (authority, rest) = part.split_at(end);
        shown.push_str("://");
        match authority.rsplit_once('@') {
            Some((_, host)) => shown.push_str(&format!("…@{host}")),
            None => shown.push_str(authority),
        }
        shown.push_str(rest);
    }
    shown
}
