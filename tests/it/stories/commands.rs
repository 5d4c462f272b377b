//! The command line, with the agent up, down, and before its first start.

use serde_json::Value;
use serde_json::json;

use crate::world::World;
use crate::world::app::App;
use crate::world::github::Fault;

#[tokio::test]
async fn history_commands_answer_before_anything_has_happened() {
    let world = World::start().await;

    assert_eq!(world.agent.runs_json().await, json!([]));
    let runs = world.agent.command(&["runs"]).await.expect_success();
    assert_eq!(runs.stdout.trim(), "no runs yet");
    let status = world.agent.status_json().await;
    assert_eq!(status["agent"], "stopped");
    let project = &status["projects"][0];
    assert_eq!(project["name"], world.project());
    for key in ["current", "previous", "last_ci", "last_cd"] {
        assert_eq!(project[key], Value::Null, "{key}");
    }
    let logs = world.agent.command(&["logs"]).await.expect_code(2);
    assert!(logs.stderr.contains("no database") || logs.stderr.contains("no runs yet"), "{}", logs.stderr);
    world.agent.command(&["logs", "1"]).await.expect_code(2);
    world.end().await;
}

#[tokio::test]
async fn history_commands_answer_with_the_agent_up_and_down() {
    let world = World::start().await;
    world.gate_tests();
    let sha = world.repo.commit_page("hello one").await;
    let agent = world.agent.spawn_run().await;
    world.wait_at_gate(1).await;

    let runs = world.agent.runs_json().await;
    let run = &runs[0];
    assert_eq!(run["number"], 1);
    assert_eq!(run["project"], world.project());
    assert_eq!((&run["kind"], &run["trigger"]), (&json!("ci"), &json!("poll")));
    assert_eq!((&run["commit"], &run["outcome"]), (&json!(sha), &json!("running")));
    assert_eq!((&run["finished_at"], &run["failed_stage"]), (&Value::Null, &Value::Null));
    assert!(run["log"].as_str().unwrap().ends_with("_run-000001.log"), "{run}");
    assert!(run["started_at"].is_string());
    assert_eq!(world.agent.status_json().await["agent"], "running");
    assert!(world.log_of(1).await.contains("waiting at the gate"));
    let follower = world.agent.spawn(&["logs", "--follow", "1"]).await;
    follower.wait_for_stdout("waiting at the gate").await;

    world.let_pass(1).await;

    assert!(follower.wait_end().await.success());
    assert!(follower.stdout().contains("run 1 ended: pushed 1"), "{}", follower.stdout());
    world.expect_serving("hello one").await;
    world.expect_mail("1 deployed").await;
    assert!(agent.terminate().await.success());
    let status = world.agent.status_json().await;
    assert_eq!(status["agent"], "stopped");
    assert_eq!(status["projects"][0]["current"]["tag"], "1");
    let newest = world.agent.command(&["logs"]).await.expect_success();
    assert!(newest.stdout.contains("run 2 ended: deployed 1"), "{}", newest.stdout);
    let table = world.agent.command(&["runs"]).await.expect_success().stdout;
    assert!(table.contains("deployed") && table.contains("pushed") && table.contains(&sha[..7]), "{table}");
    let words = world.agent.command(&["status"]).await.expect_success().stdout;
    assert!(words.contains("current   1 ("), "{words}");
    world.end().await;
}

#[tokio::test]
async fn a_second_agent_on_the_same_state_is_refused() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;

    for command in ["once", "run"] {
        let refused = world.agent.command(&[command]).await.expect_code(2);
        assert!(refused.stderr.contains("another homeport agent works with"), "{}", refused.stderr);
    }

    // A killed agent leaves no lock behind.
    agent.kill().await;
    world.agent.once().await.expect_success();
    world.end().await;
}

#[tokio::test]
async fn exit_codes_tell_what_went_wrong() {
    let world = World::start().await;
    let check = world.agent.command(&["check"]).await.expect_code(3);
    assert!(check.stdout.contains("is empty: push a first commit"), "{}", check.stdout);
    world.repo.commit_app(&App::FailingTest("hello one".to_owned())).await;
    world.agent.command(&["check"]).await.expect_success();
    world.agent.command(&["frobnicate"]).await.expect_code(2);
    world.agent.command(&["logs", "eleven"]).await.expect_code(2);

    world.github.fault(Fault::Status(503));
    let check = world.agent.command(&["check"]).await.expect_code(3);
    assert!(check.stdout.contains("FAIL  GitHub"), "{}", check.stdout);
    world.agent.once().await.expect_code(3);
    world.github.clear_faults();

    world.agent.once().await.expect_code(1);
    world.expect_mail("tests failed").await;

    world.agent.set("/projects/0/deploy/portz", json!([]));
    for command in ["once", "run", "check", "status", "runs", "logs", "test-mail"] {
        let refused = world.agent.command(&[command]).await.expect_code(2);
        let said = refused.stdout + &refused.stderr;
        assert!(said.contains("portz") && said.contains("ports"), "{command}: {said}");
    }
    world.agent.unset("/projects/0/deploy/portz");
    world.end().await;
}

#[tokio::test]
async fn without_docker_nothing_is_run_and_history_still_answers() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    world.agent.set("/docker/host", format!("unix://{}/no.sock", world.folder().display()));

    let finished = world.agent.once().await.expect_code(3);

    assert!(finished.stderr.contains("no.sock"), "{}", finished.stderr);
    let status = world.agent.status_json().await;
    let current = &status["projects"][0]["current"];
    assert_eq!((&current["tag"], &current["state"]), (&json!("1"), &Value::Null));
    assert_eq!(world.runs().await.len(), 2);
    world.expect_untouched(&one).await;

    world.agent.set("/docker/host", world.engine.host());
    world.end().await;
}

#[tokio::test]
async fn a_commit_that_meets_no_docker_is_run_again() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    world.repo.commit_page("hello two").await;
    world.agent.set("/docker/host", format!("unix://{}/no.sock", world.folder().display()));
    let finished = world.agent.once().await;
    assert!(matches!(finished.code, Some(1 | 3)), "{finished:?}");
    world.mail.mark_all_read();

    world.agent.set("/docker/host", world.engine.host());
    world.agent.once().await.expect_success();

    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    world.end().await;
}
