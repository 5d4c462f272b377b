//! Which run logs are too many, too old or too big to keep, and their removal. Takes one project's
//! folder; gives what was removed. Touches only files that carry the name of a run log, and never the
//! newest few, among which are those being written.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use chrono::DateTime;
use chrono::NaiveDateTime;
use chrono::Utc;

use crate::fault_point::Effect;
use crate::model::ProjectName;

/// How many logs of a project are kept whatever else holds.
const ALWAYS_KEPT: usize = 5;

/// How much is kept of each project's logs; what is beyond any of the three goes, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Files.
    pub files: usize,
    /// Time since the run began.
    pub age: Duration,
    /// Bytes of all files together.
    pub bytes: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self { files: 200, age: Duration::from_secs(90 * 24 * 3600), bytes: 200_000_000 }
    }
}

/// A run log as it is found in its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOnDisk {
    /// The file.
    pub path: PathBuf,
    /// When its run began, by its name.
    pub started_at: DateTime<Utc>,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Those of one project's logs that are to be removed. Pure.
pub fn expired(mut logs: Vec<LogOnDisk>, keep: &Keep, now: DateTime<Utc>) -> Vec<PathBuf> {
    // Newest first; the names of two runs of one second differ in their number.
    logs.sort_by(|a, b| (b.started_at, &b.path).cmp(&(a.started_at, &a.path)));
    let mut bytes: u64 = 0;
    let mut expired = Vec::new();
    for (newer, log) in logs.into_iter().enumerate() {
        bytes = bytes.saturating_add(log.bytes);
        let age = (now - log.started_at).to_std().unwrap_or_default();
        let is_kept = newer < keep.files && age <= keep.age && bytes <= keep.bytes;
        if newer >= ALWAYS_KEPT && !is_kept {
            expired.push(log.path);
        }
    }
    expired
}

/// When the run of a log file began, if the name is one of a run log. Pure.
pub fn started_at(file_name: &str) -> Option<DateTime<Utc>> {
    let (start, number) = file_name.strip_suffix(".log")?.split_once("_run-")?;
    let is_number = number.len() >= 6 && number.bytes().all(|b| b.is_ascii_digit());
    let start = NaiveDateTime::parse_from_str(start, "%Y-%m-%dT%H-%M-%SZ").ok()?;
    is_number.then(|| start.and_utc())
}

/// Removes the expired logs of `project` below `log_dir`; gives those that are gone. A file that cannot
/// be removed does not keep the others from going: the first such error is given in the end.
pub fn sweep(
    log_dir: &Path,
    project: &ProjectName,
    keep: &Keep,
    now: DateTime<Utc>,
) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    let mut first_error = None;
    for path in expired(found(&log_dir.join(project.as_str()))?, keep, now) {
        let effect = Effect::begin("log", "remove");
        let gone = std::fs::remove_file(&path);
        effect.end();
        match gone {
            Ok(()) => removed.push(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let named =
                    io::Error::new(error.kind(), format!("cannot remove {}: {error}", path.display()));
                first_error.get_or_insert(named);
            }
        }
    }
    first_error.map_or(Ok(removed), Err)
}

fn found(folder: &Path) -> io::Result<Vec<LogOnDisk>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut logs = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Some(started_at) = entry.file_name().to_str().and_then(started_at) else { continue };
        // Gone since the folder was read, or not to be looked at: not ours to remove either way.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() {
            logs.push(LogOnDisk { path: entry.path(), started_at, bytes: metadata.len() });
        }
    }
    Ok(logs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::path::PathBuf;
    use std::time::Duration;

    use chrono::DateTime;
    use chrono::TimeDelta;
    use chrono::Utc;

    use super::Keep;
    use super::LogOnDisk;
    use super::expired;
    use super::started_at;

    const ALL: Keep = Keep { files: usize::MAX, age: Duration::MAX, bytes: u64::MAX };

    fn now() -> DateTime<Utc> {
        "2026-11-23T06:15:00Z".parse().unwrap()
    }

    /// Ten logs, one a day, `0` of today, each of ten bytes.
    fn ten_days() -> Vec<LogOnDisk> {
        (0..10)
            .map(|day| LogOnDisk {
                path: PathBuf::from(day.to_string()),
                started_at: now() - TimeDelta::days(day),
                bytes: 10,
            })
            .collect()
    }

    fn gone(keep: Keep) -> Vec<String> {
        expired(ten_days(), &keep, now()).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn within_the_limits_all_is_kept() {
        assert!(gone(ALL).is_empty());
        assert!(gone(Keep::default()).is_empty());
    }

    #[test]
    fn the_oldest_go_by_count_age_or_bytes() {
        assert_eq!(gone(Keep { files: 7, ..ALL }), ["7", "8", "9"]);
        assert_eq!(gone(Keep { age: Duration::from_secs(8 * 24 * 3600), ..ALL }), ["9"]);
        assert_eq!(gone(Keep { bytes: 85, ..ALL }), ["8", "9"]);
    }

    #[test]
    fn the_newest_stay_whatever_their_size_and_age() {
        let nothing = Keep { files: 0, age: Duration::ZERO, bytes: 0 };
        assert_eq!(gone(nothing), ["5", "6", "7", "8", "9"]);
    }

    #[test]
    fn only_run_logs_are_known_by_their_name() {
        assert_eq!(started_at("2026-11-23T06-15-00Z_run-000042.log"), Some(now()));
        assert_eq!(started_at("2026-11-23T06-15-00Z_run-1000042.log"), Some(now()));
        for other in [
            "notes.log",
            "2026-11-23T06-15-00Z_run-000042.log.gz",
            "2026-11-23_run-000042.log",
            "2026-11-23T06-15-00Z_run-42.log",
            "2026-11-23T06-15-00Z_run-00004x.log",
            "",
        ] {
            assert_eq!(started_at(other), None, "{other}");
        }
    }
}
