//! Ports that are kept for one world: outside the range from which the kernel hands out its own, and locked
//! against other worlds, in this process or another, until dropped (or the process dies).

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A free TCP port that no other world will take.
pub struct ReservedPort {
    number: u16,
    file: PathBuf,
    _lock: File,
}

impl ReservedPort {
    /// Finds one.
    pub fn find() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let folder = std::env::temp_dir().join("hp-world-ports");
        let start = std::process::id().wrapping_mul(97) % u32::from(COUNT);
        loop {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let offset = (start + u32::from(step)) % u32::from(COUNT);
            let number = FIRST + u16::try_from(offset).expect("an offset below COUNT");
            std::fs::create_dir_all(&folder).expect("make the folder of port locks");
            let file = folder.join(number.to_string());
            // Whoever gives back the last port removes the folder, perhaps just now.
            let Ok(lock) = File::create(&file) else { continue };
            let is_ours = lock.try_lock().is_ok() && is_still_at(&lock, &file);
            if is_ours && TcpListener::bind(("0.0.0.0", number)).is_ok() {
                return Self { number, file, _lock: lock };
            }
        }
    }

    /// The port's number.
    pub const fn number(&self) -> u16 {
        self.number
    }
}

impl Drop for ReservedPort {
    /// The file goes while it is still locked.
    fn drop(&mut self) {
        std::fs::remove_file(&self.file).ok();
        if let Some(folder) = self.file.parent() {
            std::fs::remove_dir(folder).ok();
        }
    }
}

/// Whether a locked file is the one of that name still: its owner may have removed it before the lock was ours.
fn is_still_at(lock: &File, path: &Path) -> bool {
    let (Ok(locked), Ok(named)) = (lock.metadata(), path.metadata()) else { return false };
    (locked.dev(), locked.ino()) == (named.dev(), named.ino())
}
