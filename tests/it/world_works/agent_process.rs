//! The agent as a process, with a shell script in its place: configuration, commands, readiness, signals.

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;

use serde_json::Value;
use serde_json::json;

use crate::world::GITHUB_TOKEN;
use crate::world::Options;
use crate::world::World;

/// A world whose agent is this shell script.
async fn world_with(script: &str) -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("homeport");
    let draft = folder.path().join("draft");
    std::fs::write(&draft, format!("#!/bin/sh\n{script}\n")).unwrap();
    // Copied by another process: a child forked just now could hold a file that this one has open for writing,
    // and what is open for writing cannot be run.
    let install = std::process::Command::new("install").arg("-m755").arg(&draft).arg(&binary).status();
    assert!(install.unwrap().success());
    (World::start_with(Options { binary: Some(binary), ..Options::default() }).await, folder)
}

#[tokio::test]
async fn a_command_gets_the_configuration_and_is_heard() {
    let (world, _folder) = world_with("echo \"a log line of $1\" >&2; cat \"$3\"; exit 4").await;
    world.agent.set("/projects/0/deploy/prove/http", Value::Null);
    world.agent.set("/webhook/listen", "127.0.0.1:1");
    world.agent.unset("/projects/0/deploy/prove/timeout");

    let finished = world.agent.once().await.expect_code(4).expect_failure();
    assert_eq!(finished.stderr, "a log line of once\n");
    let config = finished.json();
    assert_eq!(config, world.agent.config());
    assert_eq!(config["github"]["api_url"], world.github.url());
    assert_eq!(config["webhook"], json!({"listen": "127.0.0.1:1"}));
    assert_eq!(config["projects"][0]["deploy"]["prove"].get("timeout"), None);
    let token = config["github"]["token"]["file"].as_str().unwrap();
    let token = std::fs::read_to_string(world.agent.config_file().with_file_name(token)).unwrap();
    assert_eq!(token.trim(), GITHUB_TOKEN);
    assert!(world.journal().contains("a log line of once"));
}

#[tokio::test]
async fn a_service_tells_its_readiness_and_takes_signals() {
    let (world, _folder) =
        world_with("trap 'echo bye >&2; exit 0' TERM; echo up >&2; while :; do sleep 0.02; done").await;
    let agent = world.agent.spawn_run().await;
    agent.wait_for_stderr("up").await;
    let socket = world.agent.config_file().with_file_name("notify.socket");
    UnixDatagram::unbound().unwrap().send_to(b"READY=1\nSTATUS=fine", socket).unwrap();
    agent.wait_ready().await;
    assert_eq!(agent.notified(), ["READY=1", "STATUS=fine"]);
    assert!(agent.is_running());
    assert_eq!(agent.terminate().await.code(), Some(0));
    assert_eq!(agent.stderr(), "up\nbye\n");

    let agent = world.agent.spawn_run().await;
    agent.wait_for_stderr("up").await;
    assert_eq!(agent.kill().await.signal(), Some(9));
    assert!(!agent.is_running());
}

#[tokio::test]
#[should_panic(expected = "homeport ended")]
async fn a_service_that_ends_before_it_is_ready_fails_the_test() {
    let (world, _folder) = world_with("exit 2").await;
    world.agent.spawn_run().await.wait_ready().await;
}
