//! What the kernel knows of a process: its memory, its time on the processors, what it wrote. Reads `/proc`.

use std::time::Duration;

/// Memory in bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Its own pages, and its share of those it has in common with others.
    pub pss: u64,
    /// All its pages.
    pub rss: u64,
    /// Pages that are not a file's: heap and stacks.
    pub anonymous: u64,
}

/// Reads `/proc/PID/smaps_rollup`.
pub fn memory(pid: u32) -> Memory {
    in_rollup(&read(pid, "smaps_rollup")).expect("a running process has memory")
}

/// The same of a process that may have ended.
pub fn memory_of_any(pid: u32) -> Option<Memory> {
    in_rollup(&std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

fn in_rollup(text: &str) -> Option<Memory> {
    // Of a process that is about to be gone the file is empty.
    let bytes = |key: &str| text.contains(key).then(|| field(text, key) * 1024);
    Some(Memory { pss: bytes("Pss:")?, rss: bytes("Rss:")?, anonymous: bytes("Anonymous:")? })
}

/// User and system time of all its threads so far, in steps of 10 ms.
pub fn cpu(pid: u32) -> Duration {
    let text = read(pid, "stat");
    // The name, in brackets, may hold anything; utime and stime are fields 14 and 15 of proc_pid_stat(5).
    let after_name = text.rsplit(')').next().expect("a stat line has a name");
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().expect("ticks are a number");
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// Bytes it has caused to be written to disk so far.
pub fn written(pid: u32) -> u64 {
    field(&read(pid, "io"), "write_bytes:")
}

/// How many threads it has now.
pub fn threads(pid: u32) -> u64 {
    field(&read(pid, "status"), "Threads:")
}

fn read(pid: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("look at the running agent")
}

fn field(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("a known field");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}
