//! A control group (version 2) around a script, where the kernel and the user's rights allow one, as root's do: all in
//! it are counted quickly, and killed in one step, however fast they multiply. It lies below the agent's own group, so
//! that who ends that one, as systemd does, ends this one too. It needs no controller.

use std::path::Path;
use std::path::PathBuf;

use rustix::process::getpid;

use crate::fault_point::Effect;

/// What the names of these groups begin with; the supervisor's number follows.
const NAME: &str = "homeport-test-";

/// The group. Dropped, it is removed, if nothing of it is alive.
pub(super) struct Pen {
    folder: PathBuf,
}

impl Pen {
    /// Makes one below the group of this process, and moves this process into it, so that what it starts is in it.
    pub(super) fn enter() -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let parent = own_group(&mounts, &own)?;
        let _effect = Effect::begin("test", "make-group");
        // Those of supervisors that were killed.
        for left in std::fs::read_dir(&parent).into_iter().flatten().flatten() {
            let is_left = |number: &str| !Path::new("/proc").join(number).exists();
            if left.file_name().to_str().and_then(|name| name.strip_prefix(NAME)).is_some_and(is_left) {
                std::fs::remove_dir(left.path()).ok();
            }
        }
        let folder = parent.join(format!("{NAME}{}", getpid().as_raw_nonzero()));
        std::fs::create_dir(&folder).ok()?;
        let pen = Self { folder };
        // Linux before 5.14 cannot kill it.
        if !pen.folder.join("cgroup.kill").exists() {
            return None;
        }
        move_into(&pen.folder).ok()?;
        Some(pen)
    }

    /// Moves this process back to where it was.
    pub(super) fn leave(self) -> Option<Self> {
        let _effect = Effect::begin("test", "leave-group");
        move_into(self.folder.parent()?).ok()?;
        Some(self)
    }

    /// How many threads are in it.
    pub(super) fn threads(&self) -> u64 {
        let listed = std::fs::read(self.folder.join("cgroup.threads")).unwrap_or_default();
        listed.iter().filter(|&&byte| byte == b'\n').count() as u64
    }

    /// Kills all in it.
    pub(super) fn kill(&self) {
        let _effect = Effect::begin("test", "kill-group");
        std::fs::write(self.folder.join("cgroup.kill"), "1").ok();
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        let _effect = Effect::begin("test", "remove-group");
        std::fs::remove_dir(&self.folder).ok();
    }
}

fn move_into(group: &Path) -> std::io::Result<()> {
    // 0 is the process that writes.
    std::fs::write(group.join("cgroup.procs"), "0")
}

/// The folder of the group of version 2 that a process is in, by what `/proc` says of its mounts and its groups.
fn own_group(mounts: &str, groups: &str) -> Option<PathBuf> {
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount = mounts.find_map(|fields| match fields[..] {
        [_, at, "cgroup2", ..] => Some(at.to_owned()),
        _ => None,
    })?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // Of a process outside of what its namespace shows it is told by a way up.
    let is_below = !Path::new(path).components().any(|part| part.as_os_str() == "..");
    is_below.then(|| Path::new(&mount).join(path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn the_own_group_is_found_beside_those_of_version_1() {
        let mounts =
            "cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let groups = "8:pids:/other\n0::/system.slice/homeport.service\n";
        let wanted = PathBuf::from("/sys/fs/cgroup/unified/system.slice/homeport.service");
        assert_eq!(own_group(mounts, groups), Some(wanted));
        assert_eq!(own_group(mounts, "0::/../elsewhere\n"), None);
        assert_eq!(own_group(mounts, "8:pids:/\n"), None);
        assert_eq!(own_group("cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n", groups), None);
    }
}
