//! What the owner orders of a running agent: back, to a chosen tag, and what polls make of it afterwards.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::world::World;
use crate::world::app::App;

/// A world with two good deployments, 1 and 2, and the service running.
async fn two_versions() -> (World, crate::world::agent::RunningAgent) {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    world.deploy_page("hello two").await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    (world, agent)
}

#[tokio::test]
async fn the_owner_goes_back_and_polls_leave_it_so_until_something_newer_comes() {
    let (world, agent) = two_versions().await;

    let back = world.agent.command(&["rollback", world.project(), "--wait"]).await.expect_success();

    assert!(back.stdout.contains("polls deploy only what is newer than 2"), "{}", back.stdout);
    assert!(back.stdout.contains("deployed 1"), "{}", back.stdout);
    world.expect_serving("hello one").await;
    let mail = world.expect_mail("1 deployed by command: back from 2").await;
    assert!(mail.text.contains("when there is something newer than 2"), "{}", mail.text);
    assert_eq!(world.runs().await.last().unwrap().trigger, "command");
    let one = world.standing().await;
    world.wait_for_next_hub_poll().await;
    world.wait_for_next_hub_poll().await;
    world.expect_untouched(&one).await;
    let status = world.agent.status_json().await;
    assert_eq!(status["projects"][0]["held"], json!(["2"]));

    // A restart keeps to it.
    assert!(agent.terminate().await.success());
    world.agent.once().await.expect_success();
    world.expect_untouched(&one).await;
    let agent = world.agent.spawn_run().await;

    world.repo.commit_page("hello three").await;

    world.expect_serving("hello three").await;
    world.expect_mail("3 deployed").await;
    assert_eq!(world.agent.status_json().await["projects"][0]["held"], json!([]));
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_chosen_tag_or_run_is_deployed_and_what_makes_no_sense_is_refused_with_the_way_out() {
    let (world, agent) = two_versions().await;
    let project = world.project().to_owned();
    let refusal = async |words: &[&str]| world.agent.command(words).await.expect_code(2).stderr;

    let said = refusal(&["deploy", &project, "2"]).await;
    assert!(said.contains("is deployed already"), "{said}");
    let said = refusal(&["deploy", &project, "99"]).await;
    assert!(said.contains(":99; the newest is 2"), "{said}");
    let said = refusal(&["rollback", &project, "--to", "99"]).await;
    assert!(said.contains("2 (run 4), 1 (run 2)") && said.contains("homeport deploy"), "{said}");
    let said = refusal(&["rollback", &project, "--to", "2"]).await;
    assert!(said.contains("is a tag") && said.contains("--to '#2'"), "{said}");
    let said = refusal(&["pause", &format!("{project}x")]).await;
    assert!(said.contains(&format!("did you mean `{project}`?")), "{said}");
    refusal(&["deploy", &project, "no/tag"]).await;

    world.agent.command(&["rollback", &project, "--to", "#2", "--wait"]).await.expect_success();
    world.expect_serving("hello one").await;
    world.expect_mail("1 deployed").await;
    let forth = world.agent.command(&["deploy", &project, "2", "--wait"]).await.expect_success();
    assert!(!forth.stdout.contains("polls deploy only"), "{}", forth.stdout);
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    world.agent.command(&["deploy", &project, "1", "--wait"]).await.expect_success();
    world.expect_mail("1 deployed by command: back from 2").await;
    let one = world.standing().await;
    world.wait_for_next_hub_poll().await;
    world.wait_for_next_hub_poll().await;
    world.expect_untouched(&one).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn before_the_first_deployment_there_is_nothing_to_go_back_to() {
    let world = World::start().await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;

    let refused = world.agent.command(&["rollback", world.project()]).await.expect_code(2);
    assert!(refused.stderr.contains("nothing of") && refused.stderr.contains("homeport deploy"));
    world.repo.commit_page("hello one").await;
    world.expect_mail("1 deployed").await;
    let refused = world.agent.command(&["rollback", world.project()]).await.expect_code(2);
    assert!(refused.stderr.contains("nothing was deployed before 1"), "{}", refused.stderr);
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_failed_image_is_deployed_when_its_owner_insists_and_fails_again_or_is_free() {
    let world = World::start().await;
    world.agent.set("/projects/0/deploy/prove/timeout", "2s");
    let one = world.deploy_page("hello one").await;
    let agent = world.agent.spawn_run().await;
    world.repo.commit_app(&App::ExitsAtOnce).await;
    world.expect_mail("2 rolled back").await;
    let plan = world.agent.command(&["plan", world.project()]).await.expect_success();
    assert!(plan.stdout.contains("homeport retry"), "{}", plan.stdout);

    let insisted = world.agent.command(&["deploy", world.project(), "2", "--wait"]).await.expect_code(1);

    assert!(insisted.stderr.contains("rolled back"), "{}", insisted.stderr);
    world.expect_mail("2 rolled back").await;
    world.expect_back(&one).await;
    world.wait_for_next_hub_poll().await;
    let retried = world.agent.command(&["retry", world.project(), "--wait"]).await.expect_code(1);
    assert!(retried.stdout.contains("lifted the quarantine of 2"), "{}", retried.stdout);
    world.expect_mail("2 rolled back").await;
    world.expect_back(&one).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn only_its_user_and_group_may_open_the_socket_and_a_mute_client_holds_up_nobody() {
    let world = World::start().await;
    let socket = world.agent.state_dir().join("control.sock");
    let absent = world.agent.command(&["pause", world.project()]).await.expect_code(3);
    assert!(absent.stderr.contains("no homeport service is running"), "{}", absent.stderr);
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    // A killed agent leaves its socket.
    agent.kill().await;
    assert!(socket.exists());
    let absent = world.agent.command(&["plan", world.project()]).await.expect_code(3);
    assert!(absent.stderr.contains("systemctl start homeport"), "{}", absent.stderr);

    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;

    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o660);
    assert_eq!(mode(&world.agent.state_dir()), 0o750);
    let _mute = UnixStream::connect(&socket).await.unwrap();
    let answer = speak(&socket, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let answer = speak(&socket, "POST /orders HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = speak(&socket, "POST /orders HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    world.agent.command(&["plan", world.project()]).await.expect_success();
    assert!(agent.terminate().await.success());
    assert!(!socket.exists(), "a stopped agent leaves its socket");
    world.end().await;
}

async fn speak(socket: &std::path::Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn ordered_commits_are_run_to_their_end_through_a_kill_and_past_a_newer_commit() {
    let world = World::start().await;
    world.only_build();
    world.agent.set("/projects/0/cancel_running", true);
    let one = world.repo.commit_page("hello one").await;
    let two = world.repo.commit_page("hello two").await;
    world.repo.commit_page("hello three").await;
    world.agent.once().await.expect_success();
    world.gate_tests();
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    let trigger = async |sha: &str| {
        world.agent.command(&["trigger", world.project(), "--commit", sha]).await.expect_success();
    };
    trigger(&one).await;
    world.wait_at_gate(2).await;
    trigger(&two).await;

    agent.kill().await;

    let agent = world.agent.spawn_run().await;
    world.wait_at_gate(3).await;
    let four = world.repo.commit_page("hello four").await;
    agent.wait_for_stderr(&format!("{}: commit {} is the newest", &four[..7], &four[..7])).await;
    world.let_pass(3).await;
    world.let_pass(4).await;
    world.let_pass(5).await;
    let runs =
        ["1 ci pushed 1", "2 ci interrupted at test", "3 ci pushed 2", "4 ci pushed 3", "5 ci pushed 4"];
    world.expect_runs(&runs).await;
    let commits: Vec<_> = world.runs().await.into_iter().skip(1).map(|run| run.commit).collect();
    assert_eq!(commits, [&one, &one, &two, &four].map(|sha| Some(sha.clone())));
    assert_eq!(world.run(3).await.trigger, "command");
    assert!(world.log_of(3).await.contains("no run of it came to its end"));
    assert!(agent.terminate().await.success());

    // What was done is not done again.
    world.agent.once().await.expect_success();
    world.expect_runs(&runs).await;
    world.mail.mark_all_read();
    world.end().await;
}
