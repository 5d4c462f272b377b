//! Whether this machine has the disk and the memory that a build needs, and whether a checkout leaves the disk what must
//! stay free: what fills the disk or the memory takes what serves with it.

use std::path::Path;
use std::time::Duration;

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

/// How often it is looked for what a checkout leaves, which a fast disk may lose half a gigabyte a second of.
const LOOK: Duration = Duration::from_millis(100);

/// A disk that has less room than a checkout must leave it.
#[derive(Debug, Clone, Copy)]
pub struct Short {
    /// What was free when the checkout began.
    before: u64,
    /// What is free now.
    free: u64,
    /// What is to be free when a build begins.
    needed: u64,
}

/// Waits until `folder`'s disk has less room than a checkout that begins now must leave it.
pub async fn runs_short(run: &Run, folder: &Path) -> Short {
    let Some(before) = free_bytes(folder) else { return std::future::pending().await };
    let needed = run.clients.build_needs.disk;
    loop {
        run.clients.clock.sleep(LOOK).await;
        if let Some(free) = free_bytes(folder).filter(|free| *free < floor(before, needed)) {
            return Short { before, free, needed };
        }
    }
}

/// What must stay free: what a build needs, but of a disk that has little more than that, half.
fn floor(before: u64, needed: u64) -> u64 {
    needed.min(before / 2)
}

impl Short {
    /// The failure of a checkout that has written `own` bytes itself.
    pub fn failure(self, own: u64, folder: &Path) -> StageError {
        StageError { stage: Stage::Checkout, blame: self.blame(own), source: anyhow!(self.told(own, folder)) }
    }

    /// A commit that takes as much as must stay free, and more, would take it at every try: it is the commit's fault
    /// then. Where others took most of it, or the disk had little more before, it may be anybody's: it is tried again.
    fn blame(self, own: u64) -> Blame {
        let is_most = own >= self.before.saturating_sub(self.free) / 2;
        if is_most && self.before / 2 >= self.needed { Blame::Commit } else { Blame::World }
    }

    fn told(self, own: u64, folder: &Path) -> String {
        let floor = floor(self.before, self.needed);
        let [before, free, own_part, floor] =
            [self.before, self.free, own, floor].map(|bytes| bytes / 1_000_000);
        let way_out = match self.blame(own) {
            Blame::Commit => {
                ", then ask for another try with `homeport retry`; or let the repository hold less"
            }
            Blame::World | Blame::Image => " on that disk",
        };
        format!(
            "the files of the commit fill the disk: of {before} MB that were free in {} before the checkout {free} MB are \
             left ({own_part} MB are the commit's), and {floor} MB must stay free (`docker.min_free_disk`), so git was \
             stopped. Free some room{way_out}",
            folder.display()
        )
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
    fn a_checkout_leaves_what_is_configured_or_half_of_what_there_was() {
        assert_eq!([(60_000, 500), (1000, 500), (100, 500)].map(|(b, n)| floor(b, n)), [500, 500, 50]);
    }

    #[test]
    fn a_disk_that_runs_short_is_the_commits_fault_if_most_of_it_is_its_own_and_there_was_enough() {
        let short = |before, free| Short { before, free, needed: 500 };
        assert_eq!(short(1000, 499).blame(400), Blame::Commit);
        assert_eq!(short(998, 498).blame(400), Blame::World, "there was too little before");
        assert_eq!(short(60_000, 499).blame(20_000), Blame::World, "others took more");
        let short = Short { before: 2_000_000_000, free: 499_000_000, needed: 500_000_000 };
        let own = 1_400_000_000;
        insta::assert_snapshot!(short.told(own, Path::new("/var/lib/homeport")), @"the files of the commit fill the disk: of 2000 MB that were free in /var/lib/homeport before the checkout 499 MB are left (1400 MB are the commit's), and 500 MB must stay free (`docker.min_free_disk`), so git was stopped. Free some room, then ask for another try with `homeport retry`; or let the repository hold less");
    }

    #[test]
    fn exactly_enough_is_enough_and_what_cannot_be_asked_is_not_missing() {
        assert_eq!(shortage_of(Some(500_000_000), Some(64_000_000)), None);
        assert_eq!(shortage_of(None, None), None);
    }
}
