//! How much room a disk has. Asks the kernel; changes nothing.

use std::path::Path;

/// The bytes that are free for this user on the disk that holds `path`; `None` if it cannot be asked, as for
/// a path of another machine.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}
