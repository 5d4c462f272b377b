//! `homeport runs` and `homeport logs`: what happened, with the agent up or down.

use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use anyhow::bail;
use chrono::DateTime;
use chrono::Local;
use chrono::Utc;

use crate::cli::Exit;
use crate::cli::block_on;
use crate::cli::complain;
use crate::cli::say;
use crate::cli::table::columns;
use crate::clients::clock::Clock;
use crate::clients::store::RunRow;
use crate::clients::store::Store;
use crate::clients::store::StoreError;
use crate::config::load::Loaded;
use crate::model::CommitSha;
use crate::model::ProjectName;
use crate::model::RunNumber;
use crate::model::Tag;

/// Lists the runs, newest first.
pub fn runs(loaded: &Loaded, project: Option<ProjectName>, limit: u32, json: bool) -> Exit {
    if let Some(name) = &project
        && !loaded.settings.projects.iter().any(|p| p.name == *name)
    {
        complain(&format!("there is no project `{name}` in the configuration"));
        return Exit::Usage;
    }
    answer(async {
        let rows = match Store::open_to_look(&loaded.settings.state_dir) {
            Ok(store) => store.runs(project, limit).await?,
            Err(StoreError::Absent(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        if json {
            say(&serde_json::to_string_pretty(&rows)?);
        } else if rows.is_empty() {
            say(&"no runs yet");
        } else {
            say(&table(&rows));
        }
        Ok(())
    })
}

/// Prints the log of a run.
pub fn logs(loaded: &Loaded, run: Option<RunNumber>, follow: bool) -> Exit {
    answer(async {
        let store = Store::open_to_look(&loaded.settings.state_dir)?;
        let row = match run {
            Some(number) => store.run(number).await?,
            None => store.runs(None, 1).await?.pop(),
        };
        match (row, run) {
            (Some(row), _) => print_log(&store, &row, follow).await,
            (None, Some(number)) => bail!("there is no run {number}: `homeport runs` lists them"),
            (None, None) => bail!("no runs yet"),
        }
    })
}

/// One line for a person: what the newest run of a kind did.
pub fn in_a_line(row: &RunRow) -> String {
    let what = row.tag.as_ref().map(Tag::to_string).or_else(|| short(row)).unwrap_or_default();
    let failed = row.failed_stage.map_or_else(String::new, |stage| format!(" at {stage}"));
    format!("#{} {what} {}{failed}, {}", row.number, row.outcome, local(row.started_at))
}

fn answer(work: impl Future<Output = anyhow::Result<()>>) -> Exit {
    match block_on(work).context("start the runtime").flatten() {
        Ok(()) => Exit::Ok,
        Err(error) => {
            complain(&format!("{error:#}"));
            Exit::Usage
        }
    }
}

async fn print_log(store: &Store, row: &RunRow, follow: bool) -> anyhow::Result<()> {
    let clock = Clock::real();
    let mut printed = 0;
    loop {
        // Asked before the file is read, so that what an ending run wrote last is still printed.
        let has_ended = store.run(row.number).await?.is_none_or(|row| row.finished_at.is_some());
        printed = print_from(&row.log, printed)?;
        if !follow || has_ended {
            return Ok(());
        }
        clock.sleep(Duration::from_millis(200)).await;
    }
}

fn print_from(log: &Path, offset: u64) -> anyhow::Result<u64> {
    use std::io::Seek;
    let gone = || format!("open the run's log {}: has it been deleted as too old?", log.display());
    let mut file = std::fs::File::open(log).with_context(gone)?;
    file.seek(std::io::SeekFrom::Start(offset))?;
    let mut out = std::io::stdout().lock();
    let mut buffer = [0; 16 * 1024];
    let mut printed = offset;
    loop {
        let n = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..n).filter(|bytes| !bytes.is_empty()) else { break };
        if out.write_all(bytes).is_err() {
            break;
        }
        printed += n as u64;
    }
    out.flush().ok();
    Ok(printed)
}

fn table(rows: &[RunRow]) -> String {
    let header =
        ["RUN", "PROJECT", "KIND", "COMMIT", "TAG", "OUTCOME", "STARTED", "TOOK", "WHY"].map(str::to_owned);
    let mut lines = vec![header];
    lines.extend(rows.iter().map(|row| {
        let failed = row.failed_stage.map_or_else(String::new, |stage| format!(" at {stage}"));
        [
            row.number.to_string(),
            row.project.to_string(),
            row.kind.to_string(),
            short(row).unwrap_or_default(),
            row.tag.as_ref().map(Tag::to_string).unwrap_or_default(),
            format!("{}{failed}", row.outcome),
            local(row.started_at),
            row.finished_at.map(|end| took(end, row.started_at)).unwrap_or_default(),
            row.reason.as_deref().map(first_words).unwrap_or_default(),
        ]
    }));
    columns(&lines)
}

fn short(row: &RunRow) -> Option<String> {
    row.commit.as_ref().map(|sha: &CommitSha| sha.short().to_owned())
}

fn local(time: DateTime<Utc>) -> String {
    time.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string()
}

fn took(end: DateTime<Utc>, start: DateTime<Utc>) -> String {
    let milliseconds = (end - start).num_milliseconds();
    match milliseconds / 1000 {
        seconds if seconds >= 60 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}.{}s", milliseconds / 1000, milliseconds % 1000 / 100),
    }
}

fn first_words(reason: &str) -> String {
    const WIDTH: usize = 60;
    if reason.chars().count() <= WIDTH {
        return reason.to_owned();
    }
    let cut: String = reason.chars().take(WIDTH - 1).collect();
    format!("{cut}…")
}
