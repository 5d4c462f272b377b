//! One agent per state folder: a lock that the kernel releases when its holder dies, however it dies.

use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::path::Path;

use anyhow::Context;
use anyhow::bail;

use crate::clients::store::make_state_dir;
use crate::fault_point::Effect;

/// The right to change what a state folder is about. Given back when dropped.
#[derive(Debug)]
pub struct AgentLock {
    _file: File,
}

impl AgentLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// Another agent holds it, or the folder cannot be written.
    pub fn take(state_dir: &Path) -> anyhow::Result<Self> {
        let _effect = Effect::begin("state", "lock");
        make_state_dir(state_dir).with_context(|| {
            format!("make the state folder {}: is `state_dir` right?", state_dir.display())
        })?;
        let path = state_dir.join("agent.lock");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("open {}: may this user write there?", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => bail!(
                "another homeport agent works with {}: it polls by itself; stop it first \
                 (`systemctl stop homeport`) or give this one its own `state_dir`",
                state_dir.display()
            ),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {}", path.display())),
        }
    }

    /// Whether an agent holds the lock now.
    pub fn is_held(state_dir: &Path) -> bool {
        let file = File::open(state_dir.join("agent.lock"));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}
