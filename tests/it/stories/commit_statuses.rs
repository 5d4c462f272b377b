//! What GitHub shows beside a commit while its run goes on, and when it has ended.

use crate::world::World;
use crate::world::app::App;
use crate::world::github::CommitStatus;
use crate::world::github::Fault;

/// What was said of a commit, in order: `pending`, `success: pushed as 1`.
fn said(world: &World, sha: &str) -> Vec<String> {
    let of_it = |status: &CommitStatus| status.sha == sha;
    let words = |status: CommitStatus| match status.state.as_str() {
        "pending" => status.state,
        state => format!("{state}: {}", status.description),
    };
    world.github.statuses().into_iter().filter(of_it).map(words).collect()
}

#[tokio::test]
async fn a_commit_is_pending_until_its_image_is_in_the_registry() {
    let world = World::start().await;
    world.agent.set("/github/status_url", "https://pi.example.org/hello");
    let sha = world.repo.commit_page("hello one").await;

    world.agent.once().await.expect_success();

    world.expect_mail("1 deployed").await;
    assert_eq!(said(&world, &sha), ["pending", "success: pushed as 1"]);
    let last = world.github.statuses().pop().unwrap();
    assert_eq!(last.context, format!("homeport/{}", world.project()));
    assert_eq!(last.target_url, "https://pi.example.org/hello");
    // Nothing is said again of what is known.
    world.agent.once().await.expect_success();
    assert_eq!(said(&world, &sha).len(), 2);
    world.end().await;
}

#[tokio::test]
async fn a_commit_that_failed_says_why_in_few_words() {
    let world = World::start().await;
    let long = format!("echo {} >&2; exit 3", "a long story ".repeat(30));
    world.agent.set("/projects/0/test/commands", serde_json::json!([long]));
    let sha = world.repo.commit_page("hello one").await;

    world.agent.once().await.expect_code(1);

    world.expect_mail("tests failed").await;
    assert_eq!(said(&world, &sha), ["pending", "failure: test failed: the tests exited with code 3"]);
    assert!(world.github.statuses().iter().all(|status| status.description.chars().count() <= 140));
    world.end().await;
}

#[tokio::test]
async fn a_token_that_may_write_no_statuses_hinders_nothing_and_is_told_of_once() {
    let world = World::start().await;
    world.github.fault_on("/statuses/", Fault::Forbidden);
    let agent = world.agent.spawn_run().await;

    world.repo.commit_page("hello one").await;
    world.expect_mail("1 deployed").await;
    world.repo.commit_page("hello two").await;
    world.expect_mail("2 deployed").await;

    agent.wait_for_stderr("Commit statuses: read and write").await;
    assert!(agent.terminate().await.success());
    assert_eq!(agent.stderr().matches("takes no commit statuses").count(), 1, "{}", agent.stderr());
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 ci pushed 2", "4 cd deployed 2"]).await;
    world.github.clear_faults();
    world.end().await;
}

#[tokio::test]
async fn what_github_could_not_be_told_is_told_by_the_next_process() {
    let world = World::start().await;
    world.github.fault_on("/statuses/", Fault::Down);
    let sha = world.repo.commit_page("hello one").await;
    world.agent.once().await.expect_success();
    world.expect_mail("1 deployed").await;
    assert_eq!(said(&world, &sha), Vec::<String>::new());

    world.github.clear_faults();
    world.agent.once().await.expect_success();

    assert_eq!(said(&world, &sha), ["success: pushed as 1"]);
    world.end().await;
}

#[tokio::test]
async fn a_run_that_was_cut_off_leaves_its_commit_pending_and_the_next_one_ends_it() {
    let world = World::start().await;
    world.agent.set("/projects/0/test/commands", serde_json::json!(["sleep 600"]));
    let sha = world.repo.commit_page("hello one").await;
    let agent = world.agent.spawn_run().await;
    world.wait_for_stage("ci", "test").await;
    world.expect_status(&sha, "pending").await;
    agent.kill().await;
    world.agent.set("/projects/0/test/commands", serde_json::json!(["true"]));

    world.agent.once().await.expect_success();

    world.expect_mail("1 deployed").await;
    assert_eq!(said(&world, &sha), ["pending", "success: pushed as 1"]);
    world.end().await;
}

#[tokio::test]
async fn an_owner_who_wants_no_statuses_gets_none() {
    let world = World::start().await;
    world.agent.set("/github/statuses", false);
    world.repo.commit_app(&App::Page("hello one".to_owned())).await;
    world.agent.once().await.expect_success();
    world.expect_mail("1 deployed").await;
    assert!(world.github.statuses().is_empty());
    world.end().await;
}
