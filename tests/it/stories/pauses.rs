//! Pausing, resuming, trying again, and asking what would happen.

use serde_json::Value;
use serde_json::json;

use crate::world::World;
use crate::world::app::App;
use crate::world::github::Fault;

#[tokio::test]
async fn a_pause_starts_nothing_survives_a_restart_and_ends_with_what_is_due() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;

    let paused = world.agent.command(&["pause", world.project()]).await.expect_success();

    assert!(paused.stdout.contains("is paused: polls go on"), "{}", paused.stdout);
    world.repo.commit_page("hello two").await;
    agent.wait_for_stderr("paused, so nothing is started").await;
    world.wait_for_next_hub_poll().await;
    assert!(agent.terminate().await.success());
    world.agent.once().await.expect_success();
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1"]).await;
    world.expect_untouched(&one).await;
    assert!(world.agent.status_json().await["projects"][0]["paused"].is_string());
    let words = world.agent.command(&["status"]).await.expect_success().stdout;
    assert!(words.contains("nothing is started by itself"), "{words}");

    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    let plan = world.agent.command(&["plan", world.project(), "--json"]).await.expect_success().json();
    assert_eq!(plan["ci"]["next"], "wait", "{plan}");
    let again = world.agent.command(&["pause", world.project()]).await.expect_success();
    assert!(again.stdout.contains("has been paused since"), "{}", again.stdout);

    world.agent.command(&["resume", world.project()]).await.expect_success();

    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    assert_eq!(world.agent.status_json().await["projects"][0]["paused"], Value::Null);
    let again = world.agent.command(&["resume", world.project()]).await.expect_success();
    assert!(again.stdout.contains("is not paused"), "{}", again.stdout);
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn an_order_is_done_during_a_pause_and_a_run_under_way_goes_on() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    world.deploy_page("hello two").await;
    world.gate_tests();
    let agent = world.agent.spawn_run().await;
    world.repo.commit_page("hello three").await;
    world.wait_at_gate(5).await;

    let paused = world.agent.command(&["pause", world.project()]).await.expect_success();

    assert!(paused.stdout.contains("the CI run under way goes on"), "{}", paused.stdout);
    world.let_pass(5).await;
    agent.wait_for_stderr("3 is newer than 2").await;
    let back = world.agent.command(&["rollback", world.project(), "--wait"]).await.expect_success();
    assert!(back.stdout.contains("stays paused otherwise"), "{}", back.stdout);
    world.expect_serving("hello one").await;
    world.expect_mail("1 deployed by command: back from 2").await;
    let runs = ["1 ci pushed 1", "2 cd deployed 1", "3 ci pushed 2", "4 cd deployed 2", "5 ci pushed 3"];
    world.expect_runs(&[&runs[..], &["6 cd deployed 1"]].concat()).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_commit_that_failed_for_something_that_is_mended_is_tried_again() {
    let world = World::start().await;
    let mended = world.folder().join("mended");
    let test = format!("test -e {}", mended.display());
    world.agent.set("/projects/0/test", json!({"in": "host", "commands": [test], "timeout": "60s"}));
    world.repo.commit_page("hello one").await;
    let agent = world.agent.spawn_run().await;
    world.expect_mail("tests failed").await;
    let plan = world.agent.command(&["plan", world.project()]).await.expect_success();
    assert!(plan.stdout.contains("is not tried again by itself"), "{}", plan.stdout);
    std::fs::write(&mended, "").unwrap();

    let retried = world.agent.command(&["retry", world.project(), "--wait"]).await.expect_success();

    assert!(retried.stdout.contains("lifted the failure of commit"), "{}", retried.stdout);
    assert!(retried.stdout.contains("pushed 1"), "{}", retried.stdout);
    world.expect_serving("hello one").await;
    world.expect_mail("1 deployed").await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_plan_says_what_would_happen_and_changes_nothing() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    // Nothing but the plan asks.
    world.agent.set("/projects/0/poll/github", "1h");
    world.agent.set("/projects/0/poll/docker_hub", "1h");
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    let plan =
        async || world.agent.command(&["plan", world.project(), "--json"]).await.expect_success().json();

    let now = plan().await;
    assert_eq!((&now["paused"], &now["held"]), (&Value::Null, &json!([])));
    assert_eq!((&now["ci"]["next"], &now["cd"]["next"]), (&json!("nothing"), &json!("nothing")), "{now}");

    let sha = world.repo.commit_page("hello two").await;
    let now = plan().await;
    assert_eq!((&now["ci"]["next"], &now["ci"]["about"]), (&json!("start"), &json!(sha[..7])), "{now}");
    world.publish("5", &App::Page("hello five".to_owned())).await;
    let now = plan().await;
    assert_eq!((&now["cd"]["next"], &now["cd"]["about"]), (&json!("start"), &json!("5")), "{now}");
    let words = world.agent.command(&["plan", world.project()]).await.expect_success().stdout;
    assert!(words.contains("5 starts: 5 is newer than 1"), "{words}");

    world.github.fault(Fault::Status(503));
    let now = plan().await;
    assert_eq!(now["ci"]["next"], "unknown", "{now}");
    world.github.clear_faults();
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1"]).await;
    world.expect_untouched(&one).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}
