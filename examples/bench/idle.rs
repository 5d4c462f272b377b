//! An agent with nothing to do: memory, time on the processors and writes to disk while it polls one project's
//! GitHub and Docker Hub every 10 seconds and finds nothing new.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use crate::process;
use crate::process::Memory;
use crate::table::Row;
use crate::table::Table;
use crate::table::megabytes;
use crate::world::World;

/// What a start stirs up has settled by then: the first polls, the watch over a fresh deployment, the outbox.
const SETTLING: Duration = Duration::from_secs(4);
const MOST_MEMORY: u64 = 7_000_000;

/// What was measured.
pub struct Idle {
    window: Duration,
    polls: usize,
    memory: Memory,
    threads: u64,
    cpu: Duration,
    written: u64,
    changed: Vec<PathBuf>,
}

/// Starts the service, lets it settle, and watches it.
pub async fn measure(world: &World, window: Duration) -> Idle {
    let running = world.agent.spawn_run().await;
    running.wait_ready().await;
    tokio::time::sleep(SETTLING).await;
    let pid = running.pid();
    let folders = [world.agent.state_dir(), world.agent.log_dir()];
    let polls = || world.github.requests().all().len() + world.hub.requests().all().len();
    let (polls_before, files) = (polls(), stamps(&folders));
    let (cpu, written) = (process::cpu(pid), process::written(pid));

    tokio::time::sleep(window).await;

    let after = stamps(&folders);
    let names = files.keys().chain(after.keys()).filter(|name| files.get(*name) != after.get(*name));
    let idle = Idle {
        window,
        polls: polls() - polls_before,
        memory: process::memory(pid),
        threads: process::threads(pid),
        cpu: process::cpu(pid) - cpu,
        written: process::written(pid) - written,
        changed: names.cloned().collect(),
    };
    assert!(running.terminate().await.success(), "the idle agent did not end well:\n{}", running.stderr());
    idle
}

impl Idle {
    /// Adds its rows.
    pub fn report(&self, table: &mut Table) {
        let Memory { pss, rss, anonymous } = self.memory;
        let window = format!("{} s of idling, {} requests", self.window.as_secs(), self.polls);
        let aim = megabytes(MOST_MEMORY);
        table.add(Row::of("idle memory, PSS", megabytes(pss)).aim_at_most(aim, pss, MOST_MEMORY));
        let parts =
            format!("{} (anonymous {}, {} threads)", megabytes(rss), megabytes(anonymous), self.threads);
        table.add(Row::of("idle memory, RSS", parts));
        table.add(Row::of(format!("CPU in {window}"), format!("{:.2} s", self.cpu.as_secs_f64())));
        table.add(Row::of("bytes written to disk meanwhile", self.written.to_string()).aim_nothing());
        let changed = match self.changed.as_slice() {
            [] => "none".to_owned(),
            changed => format!("{changed:?}"),
        };
        table.add(Row::of("files of state and logs changed meanwhile", changed).aim_nothing());
    }
}

type Stamps = BTreeMap<PathBuf, (u64, SystemTime)>;

/// Length and time of change of everything below these folders, and of the folders themselves.
fn stamps(folders: &[PathBuf]) -> Stamps {
    let mut stamps = Stamps::new();
    folders.iter().for_each(|folder| look(folder, &mut stamps));
    stamps
}

fn look(path: &Path, stamps: &mut Stamps) {
    let facts = std::fs::symlink_metadata(path).expect("look at a file of the agent's");
    stamps.insert(path.to_owned(), (facts.len(), facts.modified().expect("a time of change")));
    if facts.is_dir() {
        let entries = std::fs::read_dir(path).expect("list a folder of the agent's");
        entries.for_each(|entry| look(&entry.expect("an entry").path(), stamps));
    }
}
