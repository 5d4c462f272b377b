//! Runs a project's test script as processes of this machine, for `"test": {"in": "host"}`. Takes the
//! script, its folders and its limit; gives how it ended; hands on its output as it comes.
//!
//! The script runs in a session of its own, so that nothing in it can ask on the agent's terminal, with a
//! scrubbed environment, at low priority, and as the first to go when memory runs out. Nothing of it
//! outlives the call, however that ends: all processes of its session are killed, and those that left the
//! session are known by a mark in their environment. This is tidiness, not a jail: a script that is out to
//! harm runs as the agent's user and can. Such tests belong into a container.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::future::pending;
use std::io::PipeWriter;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Pid;
use rustix::process::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Child;
use tokio::process::Command;

use crate::clients::clock::Clock;
use crate::fault_point::Effect;
use crate::model::RunNumber;

/// Those variables of the agent's own environment that a script may see, if they are set.
pub const PASSED_ON: [&str; 5] = ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ"];

/// The variable that marks the processes of a run.
const MARK: &str = "HOMEPORT_RUN";
/// Makes the shell that runs the script: first to be killed for want of memory, of low priority, and with the
/// umask that tests expect, since the service's own is stricter.
const LAUNCH: &str =
    "umask 022; { echo 500 >/proc/self/oom_score_adj; } 2>/dev/null; exec nice -n 10 sh -e -c \"$1\"";
/// How often it is looked whether the killed are gone.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long the killed may take to go, and the last output to arrive.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// What is to be run, and where.
#[derive(Debug, Clone)]
pub struct HostRun<'a> {
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
    /// What the script sees of the environment beside `HOME`, `TMPDIR` and `CI`, see [`passed_on`].
    pub env: BTreeMap<String, String>,
    /// The most time it may take.
    pub timeout: Duration,
    /// The time between the request to end (SIGTERM) and the kill.
    pub grace: Duration,
}

/// How a script ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostExit {
    /// With this exit code.
    Code(i32),
    /// By a signal from elsewhere.
    Signal(i32),
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

/// Runs a script to its end or its limit. `out` gets its output and errors in the order in which they were
/// written. Dropped before it is done, it kills what it started.
///
/// # Errors
/// If the script cannot be started; how it ended is no error.
pub async fn run_host(run: &HostRun<'_>, out: &(dyn Fn(&[u8]) + Send + Sync)) -> anyhow::Result<HostExit> {
    for folder in [run.home, run.tmp] {
        let _effect = Effect::begin("test", "make-folder");
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let (reader, writer) = std::io::pipe().context("cannot make a pipe for the output of the tests")?;
    let mut output = Receiver::from_owned_fd(reader.into()).context("cannot read the output of the tests")?;
    let mark = new_mark(run.number);
    let starting = Effect::begin("test", "start");
    let mut child = command(run, &mark, writer)?
        .spawn()
        .with_context(|| format!("cannot start `setsid sh` in {}", run.dir.display()))?;
    starting.end();
    let processes =
        Processes { session: child.id().and_then(as_pid), mark: format!("{MARK}={mark}"), are_gone: false };

    let exit = match Clock::within(run.timeout, until_exit(&mut child, &mut output, out)).await {
        Ok(status) => HostExit::from(status.context("cannot wait for the tests")?),
        Err(_) => HostExit::TimedOut { limit: run.timeout },
    };
    // What the script left behind holds the pipe; when it is gone, the output ends by itself.
    let ended = async {
        processes.end(run.grace).await;
        Clock::within(LAST_WAIT, child.wait()).await.ok();
    };
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

fn command(run: &HostRun<'_>, mark: &str, writer: PipeWriter) -> anyhow::Result<Command> {
    let errors = writer.try_clone().context("cannot make a pipe for the errors of the tests")?;
    // `setsid` and `nice` are part of every system with a shell; to do the same here would take unsafe code.
    let mut command = Command::new("setsid");
    command
        .args(["sh", "-c", LAUNCH, "sh", run.script])
        .current_dir(run.dir)
        .env_clear()
        .envs(&run.env)
        .env("HOME", run.home)
        .env("TMPDIR", run.tmp)
        .env("CI", "true")
        .env(MARK, mark)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .kill_on_drop(true);
    Ok(command)
}

/// A mark that no other call has, here or in another agent on this machine.
fn new_mark(number: RunNumber) -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    format!("{number}-{}-{}", std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed))
}

async fn until_exit(
    child: &mut Child,
    output: &mut Receiver,
    out: &(dyn Fn(&[u8]) + Send + Sync),
) -> std::io::Result<ExitStatus> {
    let forever = async {
        hand_on(output, out).await;
        pending().await
    };
    tokio::select! {
        status = child.wait() => status,
        status = forever => status,
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

/// The processes of one script, as far as they can be told from others. Its drop kills them.
struct Processes {
    session: Option<Pid>,
    mark: String,
    are_gone: bool,
}

impl Processes {
    /// Asks each of them to end, and kills those that have not after `grace`.
    async fn end(mut self, grace: Duration) {
        let mut asked = BTreeSet::new();
        let ended = self.until_gone(|pid| {
            if asked.insert(pid.as_raw_nonzero()) {
                send(pid, Signal::TERM);
            }
        });
        if Clock::within(grace, ended).await.is_err() {
            Clock::within(LAST_WAIT, self.until_gone(|pid| send(pid, Signal::KILL))).await.ok();
        }
        self.are_gone = true;
    }

    /// Looks for them until there are none; calls `on_each` for each that is found, each time.
    async fn until_gone(&self, mut on_each: impl FnMut(Pid)) {
        // Two empty looks in a row: in the midst of an `exec` a process has no environment to be known by.
        let mut empty_looks = 0;
        while empty_looks < 2 {
            let found = self.alive().map(&mut on_each).count();
            empty_looks = if found == 0 { empty_looks + 1 } else { 0 };
            Clock::real().sleep(LOOK_AGAIN).await;
        }
    }

    fn alive(&self) -> impl Iterator<Item = Pid> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok().and_then(as_pid)?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let (state, session) = state_and_session(&stat)?;
            let is_ours = || self.session == Some(session) || self.is_marked(&entry.path());
            (!matches!(state, "Z" | "X") && is_ours()).then_some(pid)
        })
    }

    fn is_marked(&self, process: &Path) -> bool {
        // Those of other users cannot be read, and are not ours.
        let environment = std::fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|&b| b == 0).any(|variable| variable == self.mark.as_bytes())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if self.are_gone {
            return;
        }
        // Several times, for those that fork in between; no more, since a drop must not wait.
        for _ in 0..10 {
            self.alive().for_each(|pid| send(pid, Signal::KILL));
            std::thread::yield_now();
        }
    }
}

fn send(pid: Pid, signal: Signal) {
    // One that has gone since it was seen needs no signal.
    rustix::process::kill_process(pid, signal).ok();
}

/// The state letter and the session in a line of `/proc/PID/stat`, see `proc_pid_stat(5)`. The name before
/// them is in parentheses and may itself hold some.
fn state_and_session(stat: &str) -> Option<(&str, Pid)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    let session = fields.nth(2)?.parse().ok().and_then(as_pid)?;
    Some((state, session))
}

fn as_pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
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
            Self::TimedOut { limit } => write!(f, "was stopped at its limit of {} s", limit.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::state_and_session;

    #[test]
    fn a_process_may_have_parentheses_in_its_name() {
        let (state, session) = state_and_session("42 (a) R 1 (b) S 1 42 40 0 -1 4194560 123\n").unwrap();
        assert_eq!((state, session.as_raw_nonzero().get()), ("S", 40));
        assert!(state_and_session("").is_none());
    }
}
