//! How much room a disk has, and what files take of it. Asks the kernel; changes nothing.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;

/// The bytes that are free for this user on the disk that holds `path`; `None` if it cannot be asked, as for
/// a path of another machine.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The bytes that all below these folders takes on its disk, as far as it can be looked at.
pub async fn bytes_below(folders: Vec<PathBuf>) -> u64 {
    tokio::task::spawn_blocking(move || count(folders)).await.unwrap_or_default()
}

fn count(mut folders: Vec<PathBuf>) -> u64 {
    /// What the kernel counts in, whatever the disk does, see `stat(2)`.
    const BLOCK: u64 = 512;
    let mut bytes = 0_u64;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(facts) = entry.metadata() else { continue };
            bytes = bytes.saturating_add(facts.blocks().saturating_mul(BLOCK));
            if facts.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}
