//! Fences a thread, and all that it starts, in by Landlock, as far as the kernel knows it. The only place that knows
//! the crate.

use std::fmt;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;
use landlock::ABI;
use landlock::Access as _;
use landlock::AccessFs;
use landlock::LandlockStatus;
use landlock::Ruleset;
use landlock::RulesetAttr as _;
use landlock::RulesetCreatedAttr as _;
use landlock::RulesetStatus;
use landlock::Scope;
use landlock::path_beneath_rules;
use serde::Deserialize;
use serde::Serialize;

use crate::clients::process::reach::Reach;

/// What keeps tests on the host from what is not theirs, beside the rights of their user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fence {
    /// Nothing: a kernel before Linux 5.13, or one that has Landlock switched off.
    None,
    /// Files out of reach can be neither read nor changed, and no process outside looked into.
    Files,
    /// Also: no process outside can be sent a signal (Linux 6.12).
    Signals,
    /// Also: no socket out of reach can be connected to by its path (Linux 7.1).
    Sockets,
}

/// Restricts the calling thread, and what it starts from now on, to these files. There is no way back.
///
/// # Errors
/// The kernel knows Landlock and refuses the rules.
pub(super) fn fence_in(reach: &Reach) -> anyhow::Result<Fence> {
    // What newer kernels know is left out by older ones.
    let newest = ABI::V9;
    let reading = AccessFs::from_read(newest) | AccessFs::ResolveUnix;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(newest))?
        .scope(Scope::from_all(newest))?
        .create()?
        .add_rules(path_beneath_rules(&reach.readable, reading))?
        .add_rules(path_beneath_rules(&reach.writable, AccessFs::from_all(newest)))?
        .restrict_self()
        .context("restrict the tests by Landlock")?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _)
        | (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => Fence::None,
        (
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced,
            LandlockStatus::Available { effective_abi, kernel_abi: _ },
        ) => Fence::of(effective_abi),
    })
}

/// The entries of a folder that are no symbolic links; none if it cannot be read.
pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_link = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_symlink());
    listed.filter(|entry| !is_link(entry)).map(|entry| entry.path()).collect()
}

impl Fence {
    fn of(abi: ABI) -> Self {
        if abi >= ABI::V9 {
            Self::Sockets
        } else if abi >= ABI::V6 {
            Self::Signals
        } else {
            Self::Files
        }
    }
}

/// As a line of the run log: what holds, and what does not.
impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = "Landlock holds: they read the system, change only their own and the temporary folders, and \
                      reach none of homeport's files and processes";
        let socket = "Docker's socket stays open to whose group may use it";
        match self {
            Self::None => f.write_str(
                "kernel without Landlock: tests on the host can read and change what the agent's user can, its state \
                 and secrets too",
            ),
            Self::Files => write!(f, "{inside}, but for signals, which this kernel lets through; {socket}"),
            Self::Signals => write!(f, "{inside}; {socket}"),
            Self::Sockets => write!(f, "{inside}, nor Docker's socket"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn each_kernel_is_told_what_it_holds() {
        let told = [(ABI::V1, Fence::Files), (ABI::V5, Fence::Files), (ABI::V6, Fence::Signals)];
        for (abi, fence) in told.into_iter().chain([(ABI::V8, Fence::Signals), (ABI::V9, Fence::Sockets)]) {
            assert_eq!(Fence::of(abi), fence);
        }
        assert!(Fence::None.to_string().starts_with("kernel without Landlock: tests on the host can read"));
        assert!(Fence::Files.to_string().contains("but for signals"));
        assert!(Fence::Signals.to_string().ends_with("Docker's socket stays open to whose group may use it"));
        assert!(Fence::Sockets.to_string().ends_with("nor Docker's socket"));
    }
}
