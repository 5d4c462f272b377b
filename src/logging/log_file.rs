//! The file below a run log: takes whole lines and puts each batch down by one `write`, so that what was
//! taken is there even if the process is killed the next moment. A full disk loses lines, never the file.

use std::fs::File;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::fault_point::Effect;

/// A file that only grows, by whole lines.
#[derive(Debug)]
pub struct LogFile {
    /// `None` if the file could not be made.
    file: Option<Arc<File>>,
    length: u64,
    lost_lines: u64,
}

impl LogFile {
    /// Makes the file and the folder it stands in. An existing file is an error.
    pub fn create(path: &Path) -> io::Result<Self> {
        let _effect = Effect::begin("log", "create");
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        }
        let file = File::options().append(true).create_new(true).mode(0o640).open(path)?;
        Ok(Self { file: Some(Arc::new(file)), length: 0, lost_lines: 0 })
    }

    /// Opens a file that a former process has begun; makes it if it is gone.
    pub fn resume(path: &Path) -> io::Result<Self> {
        let _effect = Effect::begin("log", "resume");
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        }
        let file = File::options().append(true).create(true).mode(0o640).open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file: Some(Arc::new(file)), length, lost_lines: 0 })
    }

    /// Stands in for a file that could not be made: every line is lost.
    pub const fn missing() -> Self {
        Self { file: None, length: 0, lost_lines: 0 }
    }

    /// Lines lost since the last that was written.
    pub const fn lost_lines(&self) -> u64 {
        self.lost_lines
    }

    /// Writes `lines` whole or not at all; `Err` only for the first of a row of failures.
    pub fn append(&mut self, lines: &str) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        match file.as_ref().write_all(lines.as_bytes()) {
            Ok(()) => {
                self.length += lines.len() as u64;
                self.lost_lines = 0;
                Ok(())
            }
            Err(error) => {
                // Part of it may be written; should this fail too, the torn line stays, which does no harm.
                file.set_len(self.length).ok();
                let is_first = self.lost_lines == 0;
                self.lost_lines += lines.bytes().filter(|&b| b == b'\n').count() as u64;
                if is_first { Err(error) } else { Ok(()) }
            }
        }
    }

    /// The open file, for a sync that holds no lock.
    pub fn handle(&self) -> Option<Arc<File>> {
        self.file.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::fs::File;
    use std::sync::Arc;

    use super::LogFile;

    #[test]
    fn a_full_disk_is_said_once_and_the_lost_lines_are_counted() {
        let full = File::options().append(true).open("/dev/full").unwrap();
        let mut file = LogFile { file: Some(Arc::new(full)), length: 0, lost_lines: 0 };
        assert!(file.append("a\nb\n").is_err());
        assert!(file.append("c\n").is_ok());
        assert_eq!(file.lost_lines(), 3);

        file.file = Some(Arc::new(File::options().append(true).open("/dev/null").unwrap()));
        assert!(file.append("d\n").is_ok());
        assert_eq!(file.lost_lines(), 0);
    }
}
