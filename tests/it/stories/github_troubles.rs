//! GitHub in trouble, GitHub that limits, and branches that are not where they were.

use std::time::Duration;

use crate::world::World;
use crate::world::app::App;
use crate::world::assertions::eventually;
use crate::world::github::Fault;
use crate::world::repository::Repository;

#[tokio::test]
async fn no_answer_of_github_touches_what_serves() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    world.repo.commit_page("hello two").await;
    let faults = [
        Fault::Down,
        Fault::Status(500),
        Fault::Status(502),
        Fault::HalfBody,
        Fault::GarbageJson,
        Fault::Forbidden,
        Fault::PrimaryLimit(403, Duration::from_secs(30)),
        Fault::PrimaryLimit(429, Duration::from_secs(30)),
        Fault::SecondaryLimit(403, None),
        Fault::SecondaryLimit(429, Some(Duration::from_secs(30))),
    ];

    for fault in faults {
        let name = format!("{fault:?}");
        world.github.fault(fault);
        world.github.requests().clear();
        let finished = world.agent.once().await;
        assert_eq!(finished.code, Some(3), "exit code while GitHub answers {name}: {}", finished.stderr);
        assert!(finished.stderr.contains("poll of GitHub failed"), "{name}: {}", finished.stderr);
        assert_eq!(world.github.requests().all().len(), 1, "{name}: asked again at once");
        world.expect_untouched(&one).await;
        world.github.clear_faults();
    }

    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1"]).await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn a_missing_permission_is_said_with_a_way_out() {
    let world = World::start().await;
    world.github.fault(Fault::Forbidden);
    let finished = world.agent.once().await.expect_code(3);
    assert!(finished.stderr.contains("Resource not accessible"), "{}", finished.stderr);
    world.end().await;
}

/// A running agent that is limited once asks again when it was told to, and not before.
async fn keeps_to(fault: Fault) {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    world.github.fault_next(1, fault);
    world.github.requests().clear();

    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;

    let asked_again = eventually(async || match world.github.requests().all().len() {
        0 | 1 => Err("not yet"),
        _ => Ok(()),
    });
    asked_again.await.unwrap();
    let requests = world.github.requests().all();
    let waited = requests[1].at - requests[0].at;
    // Its own pauses after a failure begin with ten seconds at most.
    assert!(waited > Duration::from_millis(10_500), "asked again after {waited:?}, told to wait 12 s");
    assert!(waited < Duration::from_secs(25), "asked again after {waited:?} only, told to wait 12 s");
    agent.terminate().await;
    world.end().await;
}

#[tokio::test]
async fn the_hourly_limit_is_waited_out() {
    keeps_to(Fault::PrimaryLimit(403, Duration::from_secs(12))).await;
}

#[tokio::test]
async fn the_secondary_limit_is_waited_out() {
    keeps_to(Fault::SecondaryLimit(429, Some(Duration::from_secs(12)))).await;
}

#[tokio::test]
async fn a_poll_with_nothing_new_is_conditional_and_writes_nothing() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    let head = world.repo.head().await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    // A source is asked again only when its last answer has been dealt with: after the second poll, the first has
    // said what it had to say.
    for _ in 0..2 {
        world.wait_for_next_poll("GET", "/commits/heads/main").await;
        world.wait_for_next_hub_poll().await;
    }
    world.github.requests().clear();
    let (before, said) = (world.agent.files(), agent.stderr());

    for _ in 0..4 {
        world.wait_for_next_poll("GET", "/commits/heads/main").await;
        world.wait_for_next_hub_poll().await;
    }

    assert_eq!(world.agent.files(), before, "polls with nothing new have written to the disk");
    assert_eq!(agent.stderr(), said, "polls with nothing new have been logged");
    for request in world.github.requests().all() {
        let is_answered = request.status.is_some();
        assert_eq!(request.headers.get("if-none-match"), Some(&format!("\"{head}\"")), "{request}");
        assert!(!is_answered || request.status == Some(304), "{request}");
        assert_eq!(request.headers.get("accept").map(String::as_str), Some("application/vnd.github.sha"));
    }
    agent.terminate().await;
    world.end().await;
}

#[tokio::test]
async fn a_renamed_repository_is_followed() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    let new_name = format!("acme/{}-renamed", world.prefix());
    world.github.rename(world.repo.name(), &new_name);
    let renamed: Repository = world.github.repository(&new_name);
    renamed.commit_page("hello renamed").await;

    world.agent.once().await.expect_success();

    world.expect_serving("hello renamed").await;
    world.expect_mail("2 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn a_rewritten_branch_is_built_from_its_new_head() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    let base = world.repo.head().await;
    world.deploy_page("hello two").await;
    let rewritten = world.repo.force_push(Some(&base), &App::Page("hello rewritten".to_owned())).await;

    world.agent.once().await.expect_success();

    world.expect_serving("hello rewritten").await;
    assert_eq!(world.run(5).await.commit, Some(rewritten));
    world.expect_tags(&["1", "2", "3"]).await;
    world.expect_mail("3 deployed").await;

    // A branch without any history in common with what was seen.
    world.repo.force_push(None, &App::Page("hello anew".to_owned())).await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello anew").await;
    world.expect_mail("4 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn a_branch_set_back_to_a_commit_that_was_pushed_is_not_built_again() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    let first = world.repo.head().await;
    let two = world.deploy_page("hello two").await;
    world.repo.branch("main", &first).await;

    world.agent.once().await.expect_success();

    world.expect_untouched(&two).await;
    assert_eq!(world.runs().await.len(), 4);
    world.end().await;
}

#[tokio::test]
async fn a_missing_branch_is_named_and_found_again() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    let head = world.repo.head().await;
    world.repo.branch("elsewhere", &head).await;
    world.repo.delete_branch("main").await;

    let finished = world.agent.once().await.expect_code(3);

    assert!(finished.stderr.contains("there is no branch `main`"), "{}", finished.stderr);
    world.expect_untouched(&one).await;
    world.repo.branch("main", &head).await;
    world.repo.commit_page("hello two").await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn a_checkout_that_breaks_off_is_tried_again() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    world.repo.commit_page("hello two").await;
    world.github.fault_on("git-upload-pack", Fault::Status(503));

    world.agent.once().await.expect_code(1);

    world.expect_untouched(&one).await;
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 ci failed at checkout"]).await;
    world.expect_mail("checkout failed").await;
    world.github.clear_faults();
    world.agent.once().await.expect_success();
    world.expect_serving("hello two").await;
    world.expect_mail("FIXED: 2 deployed").await;
    world.end().await;
}
