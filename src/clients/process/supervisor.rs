//! The process between the agent and a script on the host: `homeport sandbox-exec ORDER`, which only the agent calls.
//!
//! It starts the script fenced in and at low priority, and is the one that orphans fall to: whatever the script starts
//! descends from it, however it hides, and when the kernel says that it has no child left, nothing of the script is
//! alive. It stays outside of the fence itself, so that the script cannot send it a signal where the kernel knows how
//! to forbid that. It ends everything when the script has ended, when it is told to, and when the agent is gone.
//!
//! On its standard input come the agent's words, the end of which is the agent's end; on its standard output go
//! [`Report`]s, one a line; its standard error is what the script writes.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::anyhow;
use rustix::fs::Mode;
use rustix::process::Pid;
use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::Signal;
use rustix::process::WaitOptions;
use rustix::process::WaitStatus;
use rustix::process::getpid;
use serde::Deserialize;
use serde::Serialize;

use crate::clients::clock::Clock;
use crate::clients::process::HostExit;
use crate::clients::process::family::descendants;
use crate::clients::process::family::kill_descendants;
use crate::clients::process::family::send;
use crate::clients::process::family::threads_below;
use crate::clients::process::family::threads_of_all;
use crate::clients::process::fence::Fence;
use crate::clients::process::fence::entries;
use crate::clients::process::fence::fence_in;
use crate::clients::process::pen::Pen;
use crate::clients::process::processors::keep_to_all_but_one;
use crate::clients::process::reach::Reach;
use crate::fault_point::Effect;

/// Starts the script when the disk has nothing else to do, where util-linux is installed.
const LAUNCH: &str =
    "if command -v ionice >/dev/null; then exec ionice -t -c 3 sh -e -c \"$1\"; fi; exec sh -e -c \"$1\"";
/// How much the script gives way to others.
const NICE: i32 = 10;
/// The kernel's number for who goes first when memory runs out: of the script, and what it is set back to.
const OOM_SCORE: &str = "/proc/self/oom_score_adj";
const FIRST_TO_GO: &str = "500";
/// The most processes and threads, so that a script that forks without end does not take the machine. The kernel counts
/// all of the user, and holds root to no such number: there, and in any case, this process counts those of the script.
const MOST_THREADS: u64 = 2048;
/// More than any difference between two priorities: what the kernel makes of it is its highest.
const FIRST: i32 = -40;
/// How often it is looked for what is still alive, and for how many they are.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What is to be run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// The script for `sh`.
    pub(super) script: String,
    /// The time between the request to end (SIGTERM) and the kill.
    pub(super) grace: Duration,
    /// What the script may change.
    pub(super) own: Vec<PathBuf>,
    /// What it may not see.
    pub(super) hidden: Vec<PathBuf>,
}

/// What the agent is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The script runs, and this holds it.
    Started(Fence),
    /// It could not be started, for this reason.
    NotStarted(String),
    /// It has ended. What it left behind is ended now.
    Ended(HostExit),
}

/// What the agent says to have the script ended before its time. It says nothing else.
pub(super) const END: &[u8] = b"end\n";

/// What happens while a script runs.
enum Event {
    ScriptEnded(HostExit),
    /// The agent wants it to end.
    EndWanted,
    /// There are too many processes and threads of it.
    TooMany,
    /// The agent is gone, or waits no longer.
    AgentGone,
    /// Neither the script nor anything it started is alive.
    AllGone,
}

/// Runs the script of an order to its end, and ends all that it has started.
///
/// # Errors
/// The order cannot be read; all else is reported.
pub fn supervise(order: &str) -> anyhow::Result<()> {
    let order: Order = serde_json::from_str(order).context("`sandbox-exec` is for the agent's own use")?;
    let grace = order.grace;
    let (pen, before) = (Pen::enter(), threads_of_all().unwrap_or_default());
    let started = prepare().and_then(|()| {
        // What the script is started with it keeps; this process is not to go first, and once fenced in no thread may.
        let own_score = std::fs::read_to_string(OOM_SCORE).unwrap_or_default();
        set_oom_score(FIRST_TO_GO);
        let started = thread::spawn(move || start(&order)).join();
        set_oom_score(own_score.trim());
        started.map_err(|_| anyhow!("the thread that starts the tests broke off"))?
    });
    let (script, fence) = match started {
        Ok(started) => started,
        Err(error) => {
            report(&Report::NotStarted(format!("{error:#}")));
            return Ok(());
        }
    };
    let pen = pen.and_then(Pen::leave);
    report(&Report::Started(fence));
    // Who keeps thousands in check must get its turn among them. That only root may, whom the kernel does not help.
    rustix::process::nice(FIRST).ok();
    let (sender, events) = channel();
    let listener = sender.clone();
    thread::spawn(move || listen(&listener));
    thread::spawn(move || reap(script, &sender));
    let crowd = Crowd { pen, before };
    match crowd.next(&events) {
        Event::ScriptEnded(exit) => {
            report(&Report::Ended(exit));
            crowd.end(&events, grace);
        }
        Event::EndWanted => crowd.end(&events, grace),
        Event::TooMany => {
            crowd.end(&events, Duration::ZERO);
            report(&Report::Ended(HostExit::TooMany { most: MOST_THREADS }));
        }
        Event::AgentGone => crowd.end(&events, Duration::ZERO),
        Event::AllGone => {}
    }
    Ok(())
}

/// A session of its own, so that nothing can ask on the agent's terminal; orphans fall to this process; the umask that
/// tests expect, since the service's own is stricter.
fn prepare() -> anyhow::Result<()> {
    rustix::process::setsid().context("begin a session for the tests")?;
    rustix::process::set_child_subreaper(Some(getpid())).context("take in the orphans of the tests")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let most = rustix::process::getrlimit(Resource::Nproc).maximum.unwrap_or(u64::MAX).min(MOST_THREADS);
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    rustix::process::setrlimit(Resource::Nproc, limit).context("limit the processes of the tests")
}

/// Starts the script from a thread that is restricted before: what a thread starts inherits its fence and its priority,
/// the other threads have neither.
fn start(order: &Order) -> anyhow::Result<(Pid, Fence)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let fence = fence_in(&Reach::new(&order.own, &order.hidden, &path, &entries))?;
    // Where it is refused the script runs all the same.
    rustix::process::nice(NICE).ok();
    keep_to_all_but_one();
    let mut script = Command::new("sh");
    // In a group of its own, so that it can be signalled without this process.
    script.args(["-c", LAUNCH, "sh", &order.script]).stdin(Stdio::null()).process_group(0);
    for pipe in [Command::stdout, Command::stderr] {
        let errors = std::io::stderr().as_fd().try_clone_to_owned();
        pipe(&mut script, errors.context("hand on the pipe for the output of the tests")?);
    }
    let child = script.spawn().context("start `sh` for the tests")?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("the tests have no process")?;
    Ok((pid, fence))
}

/// Where the kernel refuses, who goes first is left to it.
fn set_oom_score(score: &str) {
    let _effect = Effect::begin("test", "set-oom-score");
    std::fs::write(OOM_SCORE, score).ok();
}

/// Passes on what the agent says.
fn listen(events: &Sender<Event>) {
    let mut word = [0; END.len()];
    let mut input = std::io::stdin().lock();
    // Fails only when the end is under way.
    if input.read_exact(&mut word).is_ok() {
        events.send(Event::EndWanted).ok();
        // Nothing more is said: this waits until the agent is gone.
        std::io::copy(&mut input, &mut std::io::sink()).ok();
    }
    events.send(Event::AgentGone).ok();
}

/// Takes in what has ended, until nothing is left.
fn reap(script: Pid, events: &Sender<Event>) {
    loop {
        let event = match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == script => Event::ScriptEnded(exit(status)),
            Ok(_) | Err(rustix::io::Errno::INTR) => continue,
            Err(_) => Event::AllGone,
        };
        let is_last = matches!(event, Event::AllGone);
        if events.send(event).is_err() || is_last {
            return;
        }
    }
}

/// All that the script has started.
struct Crowd {
    pen: Option<Pen>,
    /// How many threads the machine had before.
    before: u64,
}

impl Crowd {
    /// Waits for what happens next, and looks meanwhile for how many there are.
    fn next(&self, events: &Receiver<Event>) -> Event {
        loop {
            match events.recv_timeout(LOOK_AGAIN) {
                Ok(event) => return event,
                Err(RecvTimeoutError::Disconnected) => return Event::AgentGone,
                Err(RecvTimeoutError::Timeout) if self.is_too_large() => return Event::TooMany,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Only where the whole machine has so many more than before is it worth the time to find out whose they are.
    fn is_too_large(&self) -> bool {
        let more = threads_of_all().unwrap_or_default().saturating_sub(self.before);
        more > MOST_THREADS
            && self.pen.as_ref().map_or_else(|| threads_below(getpid()), Pen::threads) > MOST_THREADS
    }

    /// Asks all that is alive to end, and kills what has not after `grace`.
    fn end(&self, events: &Receiver<Event>, grace: Duration) {
        let (clock, mut asked) = (Clock::real(), BTreeSet::new());
        let last = clock.monotonic() + grace;
        while clock.monotonic() < last && !self.is_too_large() {
            for pid in descendants(getpid()) {
                if asked.insert(pid.as_raw_nonzero()) {
                    send(pid, Signal::TERM);
                }
            }
            match events.recv_timeout(LOOK_AGAIN) {
                Ok(Event::AllGone) => return,
                Ok(Event::AgentGone) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Event::ScriptEnded(_) | Event::EndWanted | Event::TooMany)
                | Err(RecvTimeoutError::Timeout) => {}
            }
        }
        loop {
            self.pen.iter().for_each(Pen::kill);
            kill_descendants(getpid());
            match events.recv_timeout(LOOK_AGAIN) {
                Ok(Event::AllGone) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Event::ScriptEnded(_) | Event::EndWanted | Event::TooMany | Event::AgentGone)
                | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

fn exit(status: WaitStatus) -> HostExit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => HostExit::Code(code),
        (None, signal) => HostExit::Signal(signal.unwrap_or_default()),
    }
}

/// An agent that is gone is told nothing.
fn report(report: &Report) {
    let Ok(mut line) = serde_json::to_vec(report) else { return };
    line.push(b'\n');
    std::io::stdout().write_all(&line).and_then(|()| std::io::stdout().flush()).ok();
}
