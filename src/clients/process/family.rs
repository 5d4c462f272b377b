//! Which processes a script has started, found in `/proc`, and sending them signals.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::process::Pid;
use rustix::process::Signal;

/// A process that has not ended.
struct Living {
    pid: Pid,
    facts: Facts,
}

/// What `/proc/PID/stat` tells.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    is_stopped: bool,
    parent: i32,
    session: i32,
}

/// All that descend from a process. It must be the one that orphans among them fall to, else those are missed.
pub(super) fn descendants(of: Pid) -> Vec<Pid> {
    below(of, &living()).into_iter().map(|process| process.pid).collect()
}

/// Stops all that descend from a process, so that none of them starts another one while they are killed; then kills
/// them.
pub(super) fn kill_descendants(of: Pid) {
    // Each look finds what was started since the one before by those that were not stopped then.
    for _ in 0..100 {
        let all = living();
        let running = below(of, &all).into_iter().filter(|process| !process.facts.is_stopped);
        if running.map(|process| send(process.pid, Signal::STOP)).count() == 0 {
            break;
        }
    }
    descendants(of).into_iter().for_each(|pid| send(pid, Signal::KILL));
}

/// Kills all of a session, and all whose environment has this variable.
pub(super) fn kill_marked(session: Option<Pid>, variable: &str) {
    for process in living() {
        if session.is_some_and(|session| session.as_raw_nonzero().get() == process.facts.session)
            || has_variable(process.pid, variable)
        {
            send(process.pid, Signal::KILL);
        }
    }
}

pub(super) fn send(pid: Pid, signal: Signal) {
    // One that has gone since it was seen needs no signal.
    rustix::process::kill_process(pid, signal).ok();
}

fn below(root: Pid, all: &[Living]) -> Vec<&Living> {
    let mut known = BTreeSet::from([root.as_raw_nonzero().get()]);
    let mut found: Vec<&Living> = Vec::new();
    loop {
        let before = found.len();
        for process in all {
            if known.contains(&process.facts.parent) && known.insert(process.pid.as_raw_nonzero().get()) {
                found.push(process);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn living() -> Vec<Living> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        Some(Living { pid, facts: facts(&stat)? })
    });
    processes.collect()
}

fn has_variable(pid: Pid, variable: &str) -> bool {
    // Those of other users cannot be read, and are not ours.
    let path = Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join("environ");
    let environment = std::fs::read(path).unwrap_or_default();
    environment.split(|&b| b == 0).any(|found| found == variable.as_bytes())
}

/// What a line of `/proc/PID/stat` tells, see `proc_pid_stat(5)`; `None` for a process that has ended. The name before
/// the rest is in parentheses and may itself hold some.
fn facts(stat: &str) -> Option<Facts> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next().filter(|state| !matches!(*state, "Z" | "X"))?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Facts { is_stopped: matches!(state, "T" | "t"), parent, session })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_process_may_have_parentheses_in_its_name() {
        let told = facts("42 (a) R 1 (b) S 7 42 40 0 -1 4194560 123\n");
        assert_eq!(told, Some(Facts { is_stopped: false, parent: 7, session: 40 }));
        assert_eq!(facts("42 (a) Z 7 42 40 0 -1"), None);
        assert_eq!(facts(""), None);
    }

    #[test]
    fn descendants_are_found_in_whatever_order_they_are_listed() {
        let process = |pid, parent| Living {
            pid: Pid::from_raw(pid).unwrap(),
            facts: Facts { is_stopped: false, parent, session: 1 },
        };
        let all = [process(9, 8), process(8, 7), process(7, 5), process(6, 1), process(5, 1)];
        let found: Vec<i32> = below(Pid::from_raw(5).unwrap(), &all)
            .into_iter()
            .map(|process| process.pid.as_raw_nonzero().get())
            .collect();
        assert_eq!(found, [7, 8, 9]);
    }
}
