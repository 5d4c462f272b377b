//! Runs a project's test script as processes of this machine, for `"test": {"in": "host"}`. Takes the
//! script, its folders and its limit; gives how it ended; hands on its output as it comes.
//!
//! Between the agent and the script stands a process of the agent's own program, the [`supervise`]r: it fences the
//! script in as far as the kernel can, and nothing of the script outlives it. The script runs in a session of its own,
//! with a scrubbed environment, at low priority, and as the first to go when memory runs out. On a kernel without
//! Landlock this is tidiness, not a jail, and Docker's socket is in reach of whose group may use it in any case: tests
//! of strangers belong into a container.

mod family;
mod fence;
mod pen;
mod processors;
mod reach;
mod supervisor;

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::io::PipeWriter;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::bail;
use rustix::process::Pid;
use serde::Deserialize;
use serde::Serialize;
use tokio::io::AsyncBufReadExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::io::BufReader;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Child;
use tokio::process::ChildStdin;
use tokio::process::ChildStdout;
use tokio::process::Command;

use crate::clients::clock::Clock;
use crate::clients::process::family::kill_marked;
use crate::clients::process::supervisor::END;
use crate::clients::process::supervisor::Order;
use crate::clients::process::supervisor::Report;
use crate::fault_point::Effect;
use crate::model::RunNumber;

pub use fence::Fence;
pub use processors::all_but_one;
pub use supervisor::supervise;

/// Those variables of the agent's own environment that a script may see, if they are set.
pub const PASSED_ON: [&str; 5] = ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ"];
/// The agent's own program, also when a newer one has been put in its place since.
pub const OWN_PROGRAM: &str = "/proc/self/exe";
/// The hidden command that makes it a supervisor.
pub const SUPERVISE: &str = "sandbox-exec";

/// The variable that marks the processes of a run.
const MARK: &str = "HOMEPORT_RUN";
/// How long the killed may take to go, and the last output to arrive.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// What is to be run, and where.
#[derive(Debug, Clone)]
pub struct HostRun<'a> {
    /// The program that is the supervisor: [`OWN_PROGRAM`], unless the caller is another.
    pub program: &'a Path,
    /// The run it belongs to.
    pub number: RunNumber,
    /// The script for `sh`, as `ci::script` makes it.
    pub script: &'a str,
    /// The folder to run it in.
    pub dir: &'a Path,
    /// `HOME`: made if absent.
    pub home: &'a Path,
    /// `TMPDIR`: made if absent.
    pub tmp: &'a Path,
    /// What of this machine's files it must not see, where the kernel can hide it. The folders above are excepted.
    pub hidden: &'a [PathBuf],
    /// What the script sees of the environment beside `HOME`, `TMPDIR` and `CI`, see [`passed_on`].
    pub env: BTreeMap<String, String>,
    /// The most time it may take.
    pub timeout: Duration,
    /// The time between the request to end (SIGTERM) and the kill.
    pub grace: Duration,
}

/// How a script ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostExit {
    /// With this exit code.
    Code(i32),
    /// By a signal from elsewhere.
    Signal(i32),
    /// It was stopped, since it ran more processes and threads than these.
    TooMany {
        /// The most that are allowed.
        most: u64,
    },
    /// It was stopped at its limit.
    TimedOut {
        /// The limit.
        limit: Duration,
    },
}

/// The variables of [`PASSED_ON`] in the agent's environment. `PATH` is always among them.
pub fn passed_on() -> BTreeMap<String, String> {
    let path = ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    let own = PASSED_ON.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    [path].into_iter().chain(own).collect()
}

/// Runs a script to its end or its limit. `fenced` is told once what holds it; `out` gets its output and errors in the
/// order in which they were written. Dropped before it is done, it has all killed that the script started.
///
/// # Errors
/// If the script cannot be started; how it ended is no error.
pub async fn run_host(
    run: &HostRun<'_>,
    fenced: &(dyn Fn(Fence) + Send + Sync),
    out: &(dyn Fn(&[u8]) + Send + Sync),
) -> anyhow::Result<HostExit> {
    for folder in [run.home, run.tmp] {
        let _effect = Effect::begin("test", "make-folder");
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let (reader, writer) = std::io::pipe().context("cannot make a pipe for the output of the tests")?;
    let mut output = Receiver::from_owned_fd(reader.into()).context("cannot read the output of the tests")?;
    let mark = new_mark(run.number);
    let mut supervisor = Supervisor::start(run, &mark, writer)?;
    let exit = match Clock::within(run.timeout, until_exit(&mut supervisor, fenced, &mut output, out)).await {
        Ok(exit) => exit?,
        Err(_) => {
            supervisor.end().await;
            HostExit::TimedOut { limit: run.timeout }
        }
    };
    // What the script left behind holds the pipe; when it is gone, the output ends by itself.
    let ended = supervisor.ended(run.grace, &mark);
    let drained = hand_on(&mut output, out);
    tokio::pin!(ended, drained);
    tokio::select! {
        () = &mut ended => {
            Clock::within(LAST_WAIT, drained).await.ok();
        }
        () = &mut drained => ended.await,
    }
    Ok(exit)
}

/// A mark that no other call has, here or in another agent on this machine.
fn new_mark(number: RunNumber) -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    format!("{number}-{}-{}", std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed))
}

async fn until_exit(
    supervisor: &mut Supervisor,
    fenced: &(dyn Fn(Fence) + Send + Sync),
    output: &mut Receiver,
    out: &(dyn Fn(&[u8]) + Send + Sync),
) -> anyhow::Result<HostExit> {
    // The fence is told before the first output.
    if let Some(exit) = supervisor.started(fenced).await? {
        return Ok(exit);
    }
    let forever = async {
        hand_on(output, out).await;
        pending().await
    };
    tokio::select! {
        exit = supervisor.exit() => exit,
        exit = forever => exit,
    }
}

/// Hands on the output until it ends.
async fn hand_on(output: &mut Receiver, out: &(dyn Fn(&[u8]) + Send + Sync)) {
    let mut chunk = vec![0; 16 * 1024];
    // An error of a pipe means the same as its end: nothing more will come.
    while let Ok(length @ 1..) = output.read(&mut chunk).await {
        out(&chunk[..length]);
    }
}

/// The process that runs the script. Dropped, it loses the agent's end of its input, and kills what it has started.
struct Supervisor {
    process: Child,
    words: ChildStdin,
    reports: BufReader<ChildStdout>,
}

impl Supervisor {
    fn start(run: &HostRun<'_>, mark: &str, writer: PipeWriter) -> anyhow::Result<Self> {
        let order = Order {
            script: run.script.to_owned(),
            grace: run.grace,
            own: [run.dir, run.home, run.tmp].map(Path::to_owned).into(),
            hidden: run.hidden.to_owned(),
        };
        let order = serde_json::to_string(&order).context("write the order for the tests")?;
        let mut command = Command::new(run.program);
        command
            .arg0("homeport")
            .args([SUPERVISE, &order])
            .current_dir(run.dir)
            .env_clear()
            .envs(&run.env)
            .env("HOME", run.home)
            .env("TMPDIR", run.tmp)
            .env("CI", "true")
            .env(MARK, mark)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(writer);
        let starting = Effect::begin("test", "start");
        let mut process = command.spawn().with_context(|| {
            format!("cannot start `{} {SUPERVISE}` in {}", run.program.display(), run.dir.display())
        })?;
        starting.end();
        let (words, reports) = (process.stdin.take(), process.stdout.take());
        let (words, reports) = words.zip(reports).context("cannot talk to the supervisor of the tests")?;
        Ok(Self { process, words, reports: BufReader::new(reports) })
    }

    /// Waits until the script runs; `Some` if it has never begun to.
    async fn started(&mut self, fenced: &(dyn Fn(Fence) + Send + Sync)) -> anyhow::Result<Option<HostExit>> {
        match self.report().await? {
            Some(Report::Started(fence)) => {
                fenced(fence);
                Ok(None)
            }
            Some(Report::NotStarted(why)) => bail!("cannot start the tests: {why}"),
            Some(Report::Ended(exit)) => Ok(Some(exit)),
            None => {
                let status = self.process.wait().await.context("cannot wait for the tests")?;
                bail!("the supervisor of the tests ended before it began: {status}")
            }
        }
    }

    /// Waits for the end of the script.
    async fn exit(&mut self) -> anyhow::Result<HostExit> {
        match self.report().await? {
            Some(Report::Ended(exit)) => Ok(exit),
            Some(Report::Started(_) | Report::NotStarted(_)) => {
                bail!("the supervisor of the tests speaks out of turn")
            }
            // Only the script itself has a reason to kill it, and can where the kernel cannot forbid it.
            None => Ok(self.process.wait().await.context("cannot wait for the tests")?.into()),
        }
    }

    async fn report(&mut self) -> anyhow::Result<Option<Report>> {
        let mut line = String::new();
        let length = self.reports.read_line(&mut line).await.context("cannot read how the tests stand")?;
        if length == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line).map(Some).context("cannot understand how the tests stand")
    }

    /// Has the script ended before its time.
    async fn end(&mut self) {
        // One that has ended needs no word.
        self.words.write_all(END).await.ok();
    }

    /// Waits until the script and all it started are gone.
    async fn ended(mut self, grace: Duration, mark: &str) {
        let session = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if Clock::within(grace + LAST_WAIT, self.process.wait()).await.is_err() {
            self.process.kill().await.ok();
        }
        // Nothing is left, unless the supervisor was killed.
        kill_marked(session, &format!("{MARK}={mark}"));
    }
}

impl HostExit {
    /// Whether the script did all it was to do.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Code(0))
    }
}

impl From<ExitStatus> for HostExit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for HostExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(9) => f.write_str("was killed (signal 9), perhaps for want of memory"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::TooMany { most } => {
                write!(f, "was stopped, since it ran more than {most} processes and threads at once")
            }
            Self::TimedOut { limit } => write!(f, "was stopped at its limit of {} s", limit.as_secs_f64()),
        }
    }
}
