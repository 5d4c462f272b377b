//! A disk that is soon full.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// A mounted disk of few megabytes; unmounted when dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many megabytes at a path, where this machine lets us.
    pub fn mount(at: &Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(at).expect("make a mount point");
        let size = format!("size={megabytes}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(at).output();
        mount.expect("run mount").status.success().then(|| Self(at.to_owned()))
    }

    /// Its bytes in use.
    pub fn used(&self) -> u64 {
        let answer = Command::new("df").args(["--output=used", "--block-size=1"]).arg(&self.0).output();
        let answer = String::from_utf8_lossy(&answer.expect("run df").stdout).into_owned();
        answer.lines().last().and_then(|line| line.trim().parse().ok()).expect("df gives a number")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}
