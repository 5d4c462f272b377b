//! Whether this machine has the disk and the memory that a build needs: one that fills the disk or the memory takes
//! what serves with it.

use std::path::Path;

use anyhow::anyhow;

use crate::ci::cache;
use crate::clients::disk::free_bytes;
use crate::clients::memory::available_bytes;
use crate::config::settings::BuildNeeds;
use crate::model::Blame;
use crate::model::Stage;
use crate::model::StageError;
use crate::run::Run;
use crate::run::failed;

/// What is free, as far as it can be asked: not on another machine's engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Free {
    disk: Option<u64>,
    memory: Option<u64>,
}

/// Refuses to build with less than the configured room. Before it does for want of disk, the dependency caches go.
///
/// # Errors
/// There is too little, or Docker does not answer: the world's fault, to be tried again.
pub async fn check_room(run: &Run, stage: Stage) -> Result<(), StageError> {
    let engine = run.clients.docker.engine().await.map_err(failed(stage, Blame::World))?;
    let (root, needs) = (Path::new(&engine.data_root), run.clients.build_needs);
    let look = || {
        let disk = free_bytes(root);
        Free { disk, memory: disk.and_then(|_| available_bytes()) }
    };
    let mut free = look();
    if free.disk.is_some_and(|bytes| bytes < needs.disk) {
        let removed = cache::give_up(&run.clients).await.map_err(failed(stage, Blame::World))?;
        if !removed.is_empty() {
            run.log.line(stage, &format!("the disk has too little room: removed {}", removed.join(", ")));
            free = look();
        }
    }
    match shortage(free, needs, root) {
        None => Ok(()),
        Some(why) => Err(StageError { stage, blame: Blame::World, source: anyhow!(why) }),
    }
}

/// What is missing and the way out, if anything is. What cannot be asked is not missing.
fn shortage(free: Free, needs: BuildNeeds, root: &Path) -> Option<String> {
    let megabytes = |bytes: u64| bytes / 1_000_000;
    if let Some(disk) = free.disk.filter(|disk| *disk < needs.disk) {
        return Some(format!(
            "only {} MB are free in {}, where Docker builds: at least {} MB are needed. `docker system prune` may make \
             room, and `docker.min_free_disk` says how much is needed",
            megabytes(disk),
            root.display(),
            megabytes(needs.disk)
        ));
    }
    let memory = free.memory.filter(|memory| *memory < needs.memory)?;
    Some(format!(
        "only {} MB of memory are available: a build needs at least {} MB. Stop something, or let \
         `docker.min_free_memory` say how much is needed",
        megabytes(memory),
        megabytes(needs.memory)
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    const NEEDS: BuildNeeds = BuildNeeds { disk: 500_000_000, memory: 64_000_000 };

    fn shortage_of(disk: Option<u64>, memory: Option<u64>) -> Option<String> {
        shortage(Free { disk, memory }, NEEDS, Path::new("/var/lib/docker"))
    }

    #[test]
    fn what_is_missing_is_named_with_its_figures() {
        insta::assert_snapshot!(shortage_of(Some(499_999_999), Some(0)).unwrap(), @"only 499 MB are free in /var/lib/docker, where Docker builds: at least 500 MB are needed. `docker system prune` may make room, and `docker.min_free_disk` says how much is needed");
        insta::assert_snapshot!(shortage_of(Some(500_000_000), Some(63_000_000)).unwrap(), @"only 63 MB of memory are available: a build needs at least 64 MB. Stop something, or let `docker.min_free_memory` say how much is needed");
    }

    #[test]
    fn exactly_enough_is_enough_and_what_cannot_be_asked_is_not_missing() {
        assert_eq!(shortage_of(Some(500_000_000), Some(64_000_000)), None);
        assert_eq!(shortage_of(None, None), None);
    }
}
