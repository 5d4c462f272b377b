//! The log of one run: `LOG_DIR/PROJECT/2026-11-23T06-15-00Z_run-000042.log`. Takes the agent's own lines
//! and the raw output of programs; gives a file that is complete up to the last line taken, even after a
//! kill, and the last lines of each stage for the mail.
//!
//! ```text
//! 2026-11-23T06:15:00.000Z run       trigger poll: main 1a2b3c4 -> 5d6e7f8
//! 2026-11-23T06:15:02.456Z test      | collected 4 items
//! ```
//!
//! Only output stands behind a `|`: no program can write a line that looks like the agent's. A write that
//! fails never fails the run: it is said once in the journal, and the last lines stay in memory.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use chrono::DateTime;
use chrono::Utc;

use crate::logging::Now;
use crate::logging::clean::one_line;
use crate::logging::entry::admit_output;
use crate::logging::entry::entry;
use crate::logging::entry::remember;
use crate::logging::lines::Lines;
use crate::logging::log_file::LogFile;
use crate::logging::output_limit::OutputLimit;
use crate::logging::redact::Redactor;
use crate::logging::stamp;
use crate::model::ProjectName;
use crate::model::RunNumber;
use crate::model::Stage;

/// How much program output a run may write, unless it is said otherwise: 10 MiB.
pub const OUTPUT_LIMIT: usize = 10 * 1024 * 1024;

/// Lines of one chunk are written together up to about this many bytes.
const BATCH: usize = 64 * 1024;

/// What a run log is made from.
#[derive(Clone)]
pub struct NewRunLog<'a> {
    /// The folder of all logs.
    pub log_dir: &'a Path,
    /// The project, which has a folder of its own in it.
    pub project: &'a ProjectName,
    /// The run's number.
    pub number: RunNumber,
    /// When the run began.
    pub started_at: DateTime<Utc>,
    /// What masks the secrets.
    pub redactor: Redactor,
    /// The clock.
    pub now: Now,
    /// How many bytes of program output are written, see [`OUTPUT_LIMIT`].
    pub output_limit: usize,
    /// Where a failure to write is said.
    pub journal: slog::Logger,
}

/// The log of one run. A clone is the same log.
#[derive(Clone)]
pub struct RunLog {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    redactor: Redactor,
    now: Now,
    journal: slog::Logger,
    state: Mutex<State>,
}

struct State {
    file: LogFile,
    limit: OutputLimit,
    /// The streams that are being read, by the number of their [`Output`].
    streams: BTreeMap<u64, Stream>,
    streams_made: u64,
    last_lines: BTreeMap<Stage, VecDeque<String>>,
}

struct Stream {
    stage: Stage,
    lines: Lines,
}

impl RunLog {
    /// Makes the file, and the project's folder if it is the first.
    pub fn create(new: NewRunLog<'_>) -> io::Result<Self> {
        let path = new.path();
        let file = LogFile::create(&path)?;
        Ok(Self::over(file, path, new))
    }

    /// Goes on with the log of a run that was cut off.
    pub fn resume(new: NewRunLog<'_>) -> io::Result<Self> {
        let path = new.path();
        let file = LogFile::resume(&path)?;
        Ok(Self::over(file, path, new))
    }

    /// A log without a file, for a run that has to go on although its file could not be opened.
    pub fn in_memory(new: NewRunLog<'_>, error: &io::Error) -> Self {
        let path = new.path();
        slog::error!(
            new.journal,
            "cannot make the run log {}: {error}; the run goes on without",
            path.display()
        );
        Self::over(LogFile::missing(), path, new)
    }

    fn over(file: LogFile, path: PathBuf, new: NewRunLog<'_>) -> Self {
        let state = State {
            file,
            limit: OutputLimit::new(new.output_limit),
            streams: BTreeMap::new(),
            streams_made: 0,
            last_lines: BTreeMap::new(),
        };
        let NewRunLog { redactor, now, journal, .. } = new;
        Self { inner: Arc::new(Inner { path, redactor, now, journal, state: Mutex::new(state) }) }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// A text as it may leave the process: with the secrets masked, on one line.
    pub fn redact(&self, text: &str) -> String {
        one_line(&self.inner.redactor.redact(text))
    }

    /// Writes a line about the run as a whole, such as what started it and why now.
    pub fn header(&self, text: &str) {
        self.inner.write_text(None, text);
    }

    /// Writes a line about a stage. Line ends in `text` make several lines of it.
    pub fn line(&self, stage: Stage, text: &str) {
        self.inner.write_text(Some(stage), text);
    }

    /// A sink for the raw output of a program. Each sink puts its own lines together; give each stream of
    /// a program its own. A line that is not ended is written when the sink is dropped or the stage ends.
    pub fn output(&self, stage: Stage) -> impl Fn(&[u8]) + Send + Sync + use<> {
        let mut state = self.inner.lock();
        state.streams_made += 1;
        let number = state.streams_made;
        let lines = Lines::new(self.inner.redactor.clone());
        state.streams.insert(number, Stream { stage, lines });
        drop(state);
        let output = Output { log: self.clone(), number };
        move |bytes: &[u8]| output.push(bytes)
    }

    /// Ends a stage: writes begun lines and the end of output that was over the limit, and puts the file
    /// on the disk, so that a power cut loses at most the stage that was running.
    pub async fn end_stage(&self, stage: Stage) {
        self.inner.flush(Some(stage));
        let log = self.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || log.sync()).await {
            slog::warn!(self.inner.journal, "cannot sync {}: {error}", self.path().display());
        }
    }

    /// Puts what was written on the disk (`fdatasync`). Blocks, on a memory card for a second or more.
    pub fn sync(&self) {
        let handle = self.inner.lock().file.handle();
        if let Some(Err(error)) = handle.map(|file| file.sync_data()) {
            slog::warn!(self.inner.journal, "cannot sync {}: {error}", self.path().display());
        }
    }

    /// The last lines of a stage, its own and its programs', oldest first, without stamps.
    pub fn last_lines(&self, stage: Stage) -> Vec<String> {
        self.inner
            .lock()
            .last_lines
            .get(&stage)
            .map_or_else(Vec::new, |lines| lines.iter().cloned().collect())
    }
}

impl fmt::Debug for RunLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RunLog").field(&self.inner.path).finish()
    }
}

impl NewRunLog<'_> {
    /// Where the log's file stands.
    pub fn path(&self) -> PathBuf {
        path(self.log_dir, self.project, self.number, self.started_at)
    }
}

/// Where the log of a run stands.
pub fn path(log_dir: &Path, project: &ProjectName, number: RunNumber, started_at: DateTime<Utc>) -> PathBuf {
    let start = started_at.format("%Y-%m-%dT%H-%M-%SZ");
    log_dir.join(project.as_str()).join(format!("{start}_run-{:06}.log", number.0))
}

/// One stream of output; its drop ends the stream.
struct Output {
    log: RunLog,
    number: u64,
}

impl Output {
    fn push(&self, bytes: &[u8]) {
        let inner = &self.log.inner;
        let mut state = inner.lock();
        let state = &mut *state;
        let Some(stream) = state.streams.get_mut(&self.number) else { return };
        let (stage, now) = (stream.stage, stamp((inner.now)()));
        let last_lines = state.last_lines.entry(stage).or_default();
        let (limit, file) = (&mut state.limit, &mut state.file);
        let mut batch = String::new();
        stream.lines.push(bytes, |line| {
            admit_output(&mut batch, limit, &now, stage, &line);
            remember(last_lines, line);
            if batch.len() > BATCH {
                inner.append(file, &batch);
                batch.clear();
            }
        });
        inner.append(file, &batch);
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let mut state = self.log.inner.lock();
        if let Some(mut stream) = state.streams.remove(&self.number) {
            let last = stream.lines.finish();
            self.log.inner.write_last_of_stream(&mut state, stream.stage, last);
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // What a panic may have left half done is one line of a log.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_text(&self, stage: Option<Stage>, text: &str) {
        let mut state = self.lock();
        let now = stamp((self.now)());
        let mut batch = String::new();
        let mut write = |line: String| {
            batch.push_str(&entry(&now, stage, "", &line));
            if let Some(stage) = stage {
                remember(state.last_lines.entry(stage).or_default(), line);
            }
        };
        let mut lines = Lines::new(self.redactor.clone());
        lines.push(text.as_bytes(), &mut write);
        lines.finish().map(write);
        self.append(&mut state.file, &batch);
    }

    /// Ends `stage`, or all of them.
    fn flush(&self, stage: Option<Stage>) {
        let mut state = self.lock();
        let ending = |stream: &Stream| stage.is_none_or(|stage| stage == stream.stage);
        let last: Vec<(Stage, Option<String>)> = state
            .streams
            .values_mut()
            .filter(|stream| ending(stream))
            .map(|stream| (stream.stage, stream.lines.finish()))
            .collect();
        for (stage, line) in last {
            self.write_last_of_stream(&mut state, stage, line);
        }
        let Some(rest) = state.limit.end_stage() else { return };
        let now = stamp((self.now)());
        let mut batch = String::new();
        if rest.dropped_lines > 0 {
            let note = format!("{} lines ({} bytes) left out here", rest.dropped_lines, rest.dropped_bytes);
            batch.push_str(&entry(&now, stage, "", &note));
        }
        batch.extend(rest.tail);
        self.append(&mut state.file, &batch);
    }

    fn write_last_of_stream(&self, state: &mut State, stage: Stage, line: Option<String>) {
        let Some(line) = line else { return };
        let mut batch = String::new();
        admit_output(&mut batch, &mut state.limit, &stamp((self.now)()), stage, &line);
        remember(state.last_lines.entry(stage).or_default(), line);
        self.append(&mut state.file, &batch);
    }

    /// Writes whole lines. After a failure the first line that finds its way says how many did not.
    fn append(&self, file: &mut LogFile, lines: &str) {
        if lines.is_empty() {
            return;
        }
        let written = match file.lost_lines() {
            0 => file.append(lines),
            lost => {
                let note = format!("{lost} lines could not be written here");
                let note = entry(&stamp((self.now)()), None, "", &note);
                file.append(&format!("{note}{lines}"))
            }
        };
        if let Err(error) = written {
            let path = self.path.display();
            slog::error!(self.journal, "cannot write the run log {path}: {error}; the run goes on");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.flush(None);
    }
}
