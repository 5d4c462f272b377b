//! Commits that fail by their own fault: they are stopped, told of, judged once, and what serves goes on.

use serde_json::json;

use crate::world::World;
use crate::world::app::App;
use crate::world::app::BASE_IMAGE;
use crate::world::repository::Change;

#[tokio::test]
async fn failing_tests_stop_everything_and_the_old_version_serves() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    let red = world.repo.commit_app(&App::FailingTest("hello two".to_owned())).await;

    world.agent.once().await.expect_code(1);

    world.expect_untouched(&one).await;
    world.expect_serving("hello one").await;
    world.expect_tags(&["1"]).await;
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 ci failed at test"]).await;
    let mail = world.expect_mail("tests failed").await;
    assert!(mail.subject.contains("1 keeps running"), "{}", mail.subject);
    assert!(mail.text.contains("expected 2, got 3") && mail.text.contains(&red[..7]), "{}", mail.text);
    let (name, log) = mail.attachments.first().expect("the run's log is attached");
    assert!(name.ends_with("_run-000003.log"), "{name}");
    assert!(String::from_utf8_lossy(log).contains("expected 2, got 3"));
    assert!(world.log_of(3).await.contains("expected 2, got 3"));

    // The commit is judged: it is not run again.
    world.agent.once().await.expect_success();
    assert_eq!(world.runs().await.len(), 3);

    world.repo.commit_page("hello three").await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello three").await;
    world.expect_tags(&["1", "2"]).await;
    let mail = world.expect_mail("2 deployed").await;
    assert!(mail.subject.contains("FIXED"), "{}", mail.subject);
    world.end().await;
}

#[tokio::test]
async fn a_test_that_takes_too_long_is_stopped_and_leaves_nothing_running() {
    let world = World::start().await;
    world.agent.set("/projects/0/test/timeout", "1s");
    world.agent.set("/projects/0/test/commands", json!(["echo before the wait", "sleep 600"]));
    world.repo.commit_page("hello one").await;

    world.agent.once().await.expect_code(1);

    world.expect_runs(&["1 ci failed at test"]).await;
    let mail = world.expect_mail("tests failed").await;
    assert!(mail.text.contains("took longer than 1s"), "{}", mail.text);
    assert!(mail.text.contains("before the wait"), "{}", mail.text);
    world.expect_nothing_deployed().await;
    world.end().await;
}

#[tokio::test]
async fn a_dockerfile_that_takes_too_long_as_a_test_names_the_limit_of_tests() {
    let world = World::start().await;
    world.agent.set("/projects/0/test", json!({"in": {"dockerfile": "Dockerfile.test"}, "timeout": "3s"}));
    world.repo.commit_page("hello one").await;
    let dockerfile = format!("FROM {BASE_IMAGE}\nRUN sleep 600; : {}\n", world.prefix());
    world.repo.commit(&[("Dockerfile.test", &dockerfile)], "Sleep for long").await;

    world.agent.once().await.expect_code(1);

    world.expect_runs(&["1 ci failed at test"]).await;
    let mail = world.expect_mail("tests failed").await;
    assert!(mail.text.contains("took longer than 3s"), "{}", mail.text);
    assert!(mail.text.contains("`test.timeout` allows more"), "{}", mail.text);
    world.expect_nothing_deployed().await;
    world.end().await;
}

#[tokio::test]
async fn a_build_error_is_the_commits_fault_and_the_mail_shows_it() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    world.repo.commit_app(&App::BuildError).await;

    world.agent.once().await.expect_code(1);
    world.agent.once().await.expect_success();

    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 ci failed at build"]).await;
    world.expect_untouched(&one).await;
    world.expect_tags(&["1"]).await;
    let mail = world.expect_mail("build failed").await;
    assert!(mail.text.contains("no such package"), "{}", mail.text);
    assert!(mail.text.contains("code: 7") || mail.text.contains("code 7"), "{}", mail.text);
    world.end().await;
}

#[tokio::test]
async fn a_commit_without_its_dockerfile_fails_with_a_way_out() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    let gone = [Change::Delete("Dockerfile".to_owned())];
    world.repo.commit_changes("main", &gone, "Remove the Dockerfile").await;

    world.agent.once().await.expect_code(1);

    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 ci failed at build"]).await;
    world.expect_untouched(&one).await;
    let mail = world.expect_mail("build failed").await;
    assert!(mail.text.contains("Dockerfile"), "{}", mail.text);
    world.end().await;
}

#[tokio::test]
async fn the_same_failure_of_another_commit_is_mailed_again() {
    let world = World::start().await;
    world.repo.commit_app(&App::FailingTest("hello one".to_owned())).await;
    world.agent.once().await.expect_code(1);
    world.expect_mail("tests failed").await;

    world.repo.commit_app(&App::FailingTest("hello two".to_owned())).await;
    world.agent.once().await.expect_code(1);

    let mail = world.expect_mail("tests failed").await;
    assert!(mail.subject.contains("nothing is running"), "{}", mail.subject);
    world.expect_runs(&["1 ci failed at test", "2 ci failed at test"]).await;
    world.end().await;
}
