//! Which processes a script has started, found in `/proc`, how many they are, and sending them signals.

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
    group: i32,
    session: i32,
    threads: u64,
}

impl Living {
    /// Stops it with its group, unless it stands already; gives 1 if it ran.
    fn stop(&self, of: Pid) -> usize {
        if self.facts.is_stopped {
            return 0;
        }
        self.send(of, Signal::STOP);
        1
    }

    /// Sends a signal to its whole group, which the kernel does in one step: none of the group can start another one
    /// meanwhile. All of the group descend from `of` too, as groups do not go beyond a session; only that of `of`
    /// itself is left out.
    fn send(&self, of: Pid, signal: Signal) {
        match Pid::from_raw(self.facts.group).filter(|group| *group != of) {
            Some(group) => drop(rustix::process::kill_process_group(group, signal)),
            None => send(self.pid, signal),
        }
    }
}

/// All that descend from a process. It must be the one that orphans among them fall to, else those are missed.
pub(super) fn descendants(of: Pid) -> Vec<Pid> {
    below(of, &living().collect::<Vec<_>>()).into_iter().map(|process| process.pid).collect()
}

/// How many threads all that descend from a process have together.
pub(super) fn threads_below(of: Pid) -> u64 {
    below(of, &living().collect::<Vec<_>>()).into_iter().map(|process| process.facts.threads).sum()
}

/// How many threads there are on this machine, which is quickly said; `None` if the kernel does not say so.
pub(super) fn threads_of_all() -> Option<u64> {
    threads_in(&std::fs::read_to_string("/proc/loadavg").ok()?)
}

/// Stops all that descend from a process, so that none of them starts another one while they are killed; then kills
/// them. `of` must lead its own group.
pub(super) fn kill_descendants(of: Pid) {
    for _ in 0..100 {
        // The first is quick, the second misses none.
        if stop_in_passing(of) == 0 && stop_found(of) == 0 {
            break;
        }
    }
    below(of, &living().collect::<Vec<_>>()).into_iter().for_each(|process| process.send(of, Signal::KILL));
}

/// Stops those that descend from a process as they come up, and gives how many ran. They come in the order of their
/// numbers, which is as a rule that of their start: what is started during the look is met at its end, and so those
/// that multiply are not faster than it.
fn stop_in_passing(of: Pid) -> usize {
    let mut known = BTreeSet::from([of.as_raw_nonzero().get()]);
    let mut count = 0;
    for process in living() {
        if known.contains(&process.facts.parent) && known.insert(process.pid.as_raw_nonzero().get()) {
            count += process.stop(of);
        }
    }
    count
}

/// Stops all that descend from a process, and gives how many ran.
fn stop_found(of: Pid) -> usize {
    below(of, &living().collect::<Vec<_>>()).into_iter().map(|process| process.stop(of)).sum()
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

/// All processes that have not ended, looked at one after another.
fn living() -> impl Iterator<Item = Living> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        Some(Living { pid, facts: facts(&stat)? })
    })
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
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let threads = fields.nth(13)?.parse().ok()?;
    Some(Facts { is_stopped: matches!(state, "T" | "t"), parent, group, session, threads })
}

/// The number of threads in `/proc/loadavg`, see `proc_loadavg(5)`.
fn threads_in(loadavg: &str) -> Option<u64> {
    let (_, all) = loadavg.split_ascii_whitespace().nth(3)?.split_once('/')?;
    all.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_process_may_have_parentheses_in_its_name() {
        let rest = "0 -1 4194560 123 0 0 0 12 3 0 0 20 0 5 0 99 1000";
        let told = facts(&format!("42 (a) R 1 (b) S 7 41 40 {rest}\n"));
        assert_eq!(told, Some(Facts { is_stopped: false, parent: 7, group: 41, session: 40, threads: 5 }));
        assert_eq!(facts(&format!("42 (a) Z 7 41 40 {rest}")), None);
        assert_eq!(facts(""), None);
    }

    #[test]
    fn the_machine_says_how_many_threads_it_has() {
        assert_eq!(threads_in("0.35 0.88 0.50 2/345 12345\n"), Some(345));
        assert_eq!(threads_in(""), None);
        assert!(threads_of_all().is_some_and(|threads| threads > 1));
    }

    #[test]
    fn descendants_are_found_in_whatever_order_they_are_listed() {
        let process = |pid, parent| Living {
            pid: Pid::from_raw(pid).unwrap(),
            facts: Facts { is_stopped: false, parent, group: 1, session: 1, threads: 1 },
        };
        let all = [process(9, 8), process(8, 7), process(7, 5), process(6, 1), process(5, 1)];
        let found: Vec<i32> = below(Pid::from_raw(5).unwrap(), &all)
            .into_iter()
            .map(|process| process.pid.as_raw_nonzero().get())
            .collect();
        assert_eq!(found, [7, 8, 9]);
    }
}
