//! A world's claim on its name: a locked file, which the kernel unlocks when the test's process dies, however that
//! happens. So the next world can tell which names belong to the dead, and remove what they left behind.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use crate::world::engine::SHARED_HOST;
use crate::world::engine::clean_up;
use crate::world::engine::private;

/// The name of the folder of all worlds, among the temporary files.
pub const FOLDER: &str = "hp-worlds";

const SUFFIX: &str = ".claim";

/// A name that is no other world's, and no part of one.
pub struct Claim {
    name: String,
    file: PathBuf,
    _lock: File,
}

impl Claim {
    /// Claims a new name that begins with this word.
    pub fn new(word: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{word}-{}-{}w", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (file, lock) = loop {
            let file = folder().join(format!("{name}{SUFFIX}"));
            // The last world to end removes the folder, perhaps just now.
            match File::create(&file) {
                Ok(lock) => break (file, lock),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "make a world's claim: {error}"),
            }
        };
        lock.lock().expect("lock a world's claim");
        Self { name, file, _lock: lock }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The claims whose owners have died without ending their worlds; they are ours now.
    pub fn abandoned() -> Vec<Self> {
        let entries = std::fs::read_dir(folder()).into_iter().flatten();
        let claim = |file: PathBuf| -> Option<Self> {
            let name = file.file_name()?.to_str()?.strip_suffix(SUFFIX)?.to_owned();
            let lock = File::open(&file).ok()?;
            // A claim made a moment ago may not be locked yet, but then its maker is alive.
            let is_dead = !Path::new("/proc").join(name.split('-').nth(1)?).exists();
            if !is_dead || lock.try_lock().is_err() || !file.exists() {
                return None;
            }
            Some(Self { name, file, _lock: lock })
        };
        entries.filter_map(|entry| claim(entry.ok()?.path())).collect()
    }

    /// Removes what a world of this name has left in the shared engine, in an engine of its own and on disk.
    pub fn bury(self) {
        clean_up::remove_all(SHARED_HOST, &self.name);
        let entries = std::fs::read_dir(folder()).into_iter().flatten().filter_map(Result::ok);
        let is_ours = |path: &PathBuf| path.is_dir() && path.to_string_lossy().contains(&self.name);
        for path in entries.map(|entry| entry.path()).filter(is_ours) {
            private::tear_down(&path);
            std::fs::remove_dir_all(path).ok();
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        std::fs::remove_file(&self.file).ok();
        if let Some(folder) = self.file.parent() {
            std::fs::remove_dir(folder).ok();
        }
    }
}

/// The folder of all worlds: not one that exim's user could make a folder in after a world's end.
pub fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(FOLDER);
    std::fs::create_dir_all(&folder).expect("make the folder of all worlds");
    folder
}
