//! What the logs of past runs say of them, for a database that is lost. Reads the name, the first and the last line
//! of each file, and nothing in between; takes no text of a program for one of the agent's.

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::path::Path;
use std::path::PathBuf;

use chrono::DateTime;
use chrono::Utc;

use crate::logging::retention;
use crate::model::ProjectName;
use crate::model::RunKind;
use crate::model::RunNumber;
use crate::model::Stage;
use crate::model::Tag;
use crate::model::Trigger;

/// How much is read of each end of a file. A line is shorter.
const END: u64 = 8 * 1024;

/// A run by its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRun {
    /// Its number.
    pub number: RunNumber,
    /// Its project.
    pub project: ProjectName,
    /// When it began, to the second.
    pub started_at: DateTime<Utc>,
    /// The file.
    pub path: PathBuf,
    /// What it was and why it was started; `None` if the first line does not say.
    pub beginning: Option<(RunKind, Trigger)>,
    /// The stage of the last line.
    pub stage: Option<Stage>,
    /// How it ended; `None` if it was cut off.
    pub end: Option<PastEnd>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastEnd {
    /// The outcome's word.
    pub outcome: &'static str,
    /// The stage that failed or was cut off.
    pub stage: Option<Stage>,
    /// Why it failed.
    pub reason: Option<String>,
    /// The tag that was pushed or deployed.
    pub tag: Option<Tag>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Every run that has a log below `log_dir`, of any project, in the order of their numbers.
///
/// # Errors
/// A folder or a file cannot be read.
pub fn past_runs(log_dir: &Path) -> io::Result<Vec<PastRun>> {
    let mut runs = Vec::new();
    for (folder, project) in folders(log_dir)? {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some((started_at, number)) = name.to_str().and_then(named) else { continue };
            let (first, last) = ends_of(&entry.path())?;
            runs.push(PastRun {
                number,
                project: project.clone(),
                started_at,
                path: entry.path(),
                beginning: beginning(&first, number),
                stage: last.get(25..33).and_then(|word| word.trim_end().parse().ok()),
                end: end(&last, number),
            });
        }
    }
    runs.sort_by_key(|run| run.number);
    Ok(runs)
}

/// The highest number among the logs below `log_dir`; 0 if there are none. Only names are read.
///
/// # Errors
/// A folder cannot be read.
pub fn highest_number(log_dir: &Path) -> io::Result<RunNumber> {
    let mut highest = RunNumber(0);
    for (folder, _) in folders(log_dir)? {
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name();
            highest = name.to_str().and_then(named).map_or(highest, |(_, number)| highest.max(number));
        }
    }
    Ok(highest)
}

fn folders(log_dir: &Path) -> io::Result<Vec<(PathBuf, ProjectName)>> {
    let entries = match std::fs::read_dir(log_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Some(project) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if entry.file_type()?.is_dir() {
            folders.push((entry.path(), project));
        }
    }
    Ok(folders)
}

fn named(file_name: &str) -> Option<(DateTime<Utc>, RunNumber)> {
    let started_at = retention::started_at(file_name)?;
    let (_, number) = file_name.strip_suffix(".log")?.split_once("_run-")?;
    Some((started_at, RunNumber(number.parse().ok()?)))
}

/// The first and the last line.
fn ends_of(path: &Path) -> io::Result<(String, String)> {
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    file.by_ref().take(END).read_to_end(&mut head)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
    let mut tail = Vec::new();
    file.take(END).read_to_end(&mut tail)?;
    let line = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let tail = tail.strip_suffix(b"\n").unwrap_or(&tail);
    Ok((line(head.split(|b| *b == b'\n').next()), line(tail.rsplit(|b| *b == b'\n').next())))
}

/// What the agent itself says in a line about the run as a whole.
fn said(line: &str) -> Option<(DateTime<Utc>, &str)> {
    let (stamp, rest) = line.split_once(' ')?;
    let at = DateTime::parse_from_rfc3339(stamp).ok()?.with_timezone(&Utc);
    Some((at, rest.strip_prefix("run       ")?))
}

/// `run 3, ci of hello, trigger poll: why`
fn beginning(line: &str, number: RunNumber) -> Option<(RunKind, Trigger)> {
    let (_, text) = said(line)?;
    let (kind, rest) = text.strip_prefix(&format!("run {number}, "))?.split_once(" of ")?;
    let (_, rest) = rest.split_once(", trigger ")?;
    let (trigger, _) = rest.split_once(": ")?;
    Some((kind.parse().ok()?, trigger.parse().ok()?))
}

/// `run 3 ended: …`, in the words of [`crate::run::in_words`].
fn end(line: &str, number: RunNumber) -> Option<PastEnd> {
    let (at, text) = said(line)?;
    let words = text.strip_prefix(&format!("run {number} ended: "))?;
    let good = |outcome, rest: &str| PastEnd {
        outcome,
        stage: None,
        reason: None,
        tag: rest.split(' ').next().and_then(|tag| tag.parse().ok()),
        at,
    };
    let bad = |outcome, stage: &str, reason: &str| PastEnd {
        outcome,
        stage: stage.parse().ok(),
        reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
        tag: None,
        at,
    };
    if let Some(rest) = words.strip_prefix("pushed ") {
        return Some(good("pushed", rest));
    }
    if let Some(rest) = words.strip_prefix("deployed ") {
        return Some(good("deployed", rest));
    }
    if let Some((_, rest)) =
        words.strip_prefix("rolled back, ").and_then(|rest| rest.split_once(" runs again: "))
    {
        let (stage, reason) = rest.split_once(": ")?;
        return Some(bad("rolled-back", stage, reason));
    }
    if let Some((by, stage)) = words.strip_prefix("superseded by ").and_then(|rest| rest.split_once(" at ")) {
        return Some(bad("superseded", stage, &format!("{by} is newer")));
    }
    if let Some(stage) = words.strip_prefix("interrupted at ") {
        return Some(bad("interrupted", stage, ""));
    }
    let (outcome, rest) = words.strip_prefix("DOWN, ").map_or(("failed", words), |rest| ("down", rest));
    let (stage, reason) = rest.split_once(" failed: ")?;
    Some(bad(outcome, stage, reason))
}
