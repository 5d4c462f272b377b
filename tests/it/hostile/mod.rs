//! Repositories that nobody should trust: what each does, and the test that shows what comes of it. Each ends in a
//! clear failure of a stage, or passes where it does no harm, within its limits; and in those that go through the
//! whole agent the secrets are canaries, which are looked for everywhere afterwards
//! ([`crate::world::canaries::Canaries`]).
//!
//! | what is hostile | shown by |
//! |---|---|
//! | hooks; `core.fsmonitor`, `core.sshCommand`, filters in a configuration it brings along | [`git_traps`]; `git_client::nothing_that_a_repository_brings_along_is_run` |
//! | submodules by `ext::` and `file://` | [`git_traps`]; `git_client::a_submodule_stays_an_empty_folder_and_its_address_is_not_visited` |
//! | submodules with addresses and paths that are options of git | [`git_traps`] |
//! | an `.lfsconfig` that names another server or programs; LFS contents on a server that asks for a login | `git_lfs::nothing_of_a_repository_redirects_the_download_or_runs_a_program` |
//! | branches, tags and files whose names are options or commands | [`git_traps`] |
//! | a branch of the configuration that is an option | [`git_traps`] |
//! | links out of the tree, in the checkout and in the build context | [`git_traps`]; `build_context::nothing_outside_the_tree_is_ever_used` |
//! | a tree that reaches for `.git` or out of itself | `git_client::a_tree_that_reaches_for_dot_git_or_out_of_itself_is_refused` |
//! | a Dockerfile that is a link to a secret; one at `../` | [`builds`]; `config_refusals`, `build_context::nothing_outside_the_tree_is_ever_used` |
//! | a tree of 200,000 files, a file of 2 GB, one of 10 GB in a small pack | [`trees`] |
//! | a `.dockerignore` of 10,000 patterns | [`trees`]; `dockerignore::a_stranger_cannot_make_the_match_slow` |
//! | tests that fork without end, in a container and on the host | [`scripts`]; `docker_sandbox::memory_processors_and_processes_are_limited`, `host_process::those_that_multiply_in_sessions_of_their_own_are_stopped_in_time` |
//! | tests that ignore SIGTERM | [`scripts`]; `docker_sandbox::a_script_that_does_not_end_is_killed_with_all_it_started`, `host_process::who_ignores_the_request_to_end_is_killed` |
//! | tests that leave daemons behind | `stories::test_places`; `docker_sandbox::what_a_script_leaves_behind_does_not_hold_it_up`, `host_process::a_daemon_left_behind_neither_holds_up_the_stage_nor_outlives_it` |
//! | tests that print 1 GB, with line ends and without | [`scripts`]; `run_log::of_a_flood_the_head_and_the_end_are_kept` |
//! | tests that print terminal escapes, invalid UTF-8, lines like the agent's own | [`scripts`] |
//! | tests that print their environment and read `/proc` of their parents | [`scripts`] |
//! | tests that write outside their tree | [`scripts`]; `docker_sandbox::a_script_has_no_more_rights_than_installing_needs` |
//! | tests that change what will be built | `stories::test_places` |
//! | a test that prints a secret it was told | `stories::secrets` |
//! | a Dockerfile that never ends and looks for secrets meanwhile | [`builds`] |
//! | a Dockerfile that prints a secret it was given | [`builds`] |
//!
//! The big ones are of a size that shows the same in seconds. With `HOMEPORT_HOSTILE_FULL=1` in the environment they
//! are as big as the table says; that takes some minutes and 20 GB of disk.

mod builds;
mod git_traps;
mod scripts;
mod trees;

use std::time::Duration;
use std::time::Instant;

use crate::world::Options;
use crate::world::World;
use crate::world::agent::Finished;
use crate::world::assertions::eventually;
use crate::world::canaries::Canaries;

/// How long a pass over something big may take at full size.
const DEADLINE: Duration = Duration::from_secs(1800);

/// A world whose secrets are canaries.
async fn hostile() -> (World, Canaries) {
    World::with_canaries(Options::default()).await
}

/// The size of something big: the first for every run of the suite, the second where the whole is asked for.
fn sized(usual: u64, full: u64) -> u64 {
    if std::env::var_os("HOMEPORT_HOSTILE_FULL").is_some() { full } else { usual }
}

/// `homeport once`, and the most memory that the agent has held meanwhile, in MiB.
async fn once_measured(world: &World) -> (Finished, u64) {
    let agent = world.agent.spawn(&["once"]).await;
    let (mut most, end) = (0, Instant::now() + DEADLINE);
    while agent.is_running() {
        assert!(Instant::now() < end, "homeport has not ended after {DEADLINE:?}\n{}", agent.stderr());
        most = most.max(memory_of(agent.pid()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let code = agent.wait_end().await.code();
    (Finished { code, stdout: agent.stdout(), stderr: agent.stderr() }, most)
}

/// The peak of a process's resident memory so far in MiB; 0 if it is gone.
fn memory_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}

/// Nothing of a run is left in the folder of trees.
async fn expect_no_trees(world: &World) {
    let trees = world.agent.state_dir().join("trees");
    let gone = eventually(async || {
        let left: Vec<_> = std::fs::read_dir(&trees).into_iter().flatten().flatten().collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    gone.await.expect("the trees are removed");
}
