//! Docker dies, is stopped or loses its power in the middle of things, and comes back: no image is blamed for it,
//! the last good version serves as soon as Docker does, and nothing is told that is not so.

use crate::world::Options;
use crate::world::World;
use crate::world::agent::RunningAgent;
use crate::world::app::App;
use crate::world::assertions::eventually;
use crate::world::assertions::in_one_line;
use crate::world::engine::PrivateEngine;
use crate::world::registry::Fault;
use crate::world::standing::Standing;

fn page(text: &str) -> App {
    App::Page(text.to_owned())
}

fn slow(text: &str) -> App {
    App::StartsSlowly(3000, text.to_owned())
}

async fn world() -> World {
    World::start_with(Options { private_engine: true, ..Options::default() }).await
}

fn engine(world: &World) -> &PrivateEngine {
    world.private_engine.as_ref().unwrap()
}

async fn wait_for_log(world: &World, what: &str, times: usize) {
    let said = eventually(async || {
        let count: usize = world.agent.run_logs().iter().map(|(_, log)| log.matches(what).count()).sum();
        if count >= times { Ok(()) } else { Err(format!("{what}: {count} times")) }
    });
    said.await.unwrap();
}

#[tokio::test]
async fn docker_that_dies_in_a_pull_costs_a_try() {
    let world = world().await;
    world.only_deploy();
    world.deploy("1", &page("hello one")).await;
    world.publish("2", &page("hello two")).await;
    world.registry.fault_on("/blobs/", Fault::HangForever);
    let agent = world.agent.spawn(&["once"]).await;
    wait_for_log(&world, "pulling ", 2).await;
    engine(&world).kill();
    assert_eq!(agent.wait_end().await.code(), Some(1));
    world.registry.clear_faults();
    engine(&world).restart().await;
    world.expect_serving("hello one").await;

    world.agent.once().await.expect_success();

    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    world.expect_runs(&["1 cd deployed 1", "2 cd failed at pull 2", "3 cd deployed 2"]).await;
    world.expect_mail("2 not deployed, pull failed: 1 keeps running").await;
    world.end().await;
}

#[tokio::test]
async fn docker_that_dies_in_a_build_does_not_judge_the_commit() {
    let world = world().await;
    world.deploy_page("hello one").await;
    let dockerfile = "FROM hp-base:1\nCOPY app /app\nRUN [\"sleep\", \"3\"]\nEXPOSE 8080\n\
                      CMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/app\"]\n";
    world.repo.commit(&[("Dockerfile", dockerfile), ("app/index.html", "hello two\n")], "Build slowly").await;
    let agent = world.agent.spawn(&["once"]).await;
    world.wait_for_stage("ci", "build").await;
    engine(&world).cut_power();
    agent.wait_end().await;
    engine(&world).restart().await;
    world.expect_serving("hello one").await;

    world.agent.once().await.expect_success();

    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    let runs: Vec<String> = world.runs().await.iter().map(ToString::to_string).collect();
    assert_eq!(runs[2..], ["3 ci failed at build", "4 ci pushed 2", "5 cd deployed 2"]);
    let unread = world.mail.unread();
    if !unread.is_empty() {
        world.expect_mail("build").await;
    }
    world.end().await;
}

/// A world where 1 served and 2 is being proven by a running agent.
async fn proving() -> (World, Standing, RunningAgent) {
    let world = world().await;
    world.only_deploy();
    let one = world.deploy("1", &page("hello one")).await;
    world.publish("2", &slow("hello two")).await;
    let agent = world.agent.spawn_run().await;
    world.wait_for_stage("cd", "prove").await;
    (world, one, agent)
}

/// Docker alone has brought 1 back; the agent ends its story, and 2 is deployed at the next try.
async fn is_put_back_and_tried_again(world: World, one: &Standing, agent: RunningAgent) {
    world.expect_mail("2 rolled back: 1 is running again").await;
    world.expect_back(one).await;
    world.expect_serving("hello one").await;
    assert!(agent.terminate().await.success());
    world.expect_runs(&["1 cd deployed 1", "2 cd rolled-back at prove 2"]).await;

    world.agent.once().await.expect_success();
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn docker_that_dies_in_a_proof_brings_the_last_good_version_back() {
    let (world, one, agent) = proving().await;
    engine(&world).kill();
    engine(&world).restart().await;
    is_put_back_and_tried_again(world, &one, agent).await;
}

#[tokio::test]
async fn docker_that_is_restarted_in_a_proof_brings_the_last_good_version_back() {
    let (world, one, agent) = proving().await;
    engine(&world).stop();
    engine(&world).restart().await;
    is_put_back_and_tried_again(world, &one, agent).await;
}

#[tokio::test]
async fn a_power_cut_in_a_proof_brings_the_last_good_version_back() {
    let (world, one, agent) = proving().await;
    engine(&world).cut_power();
    agent.kill().await;
    engine(&world).restart().await;
    world.expect_serving("hello one").await;
    let agent = world.agent.spawn_run().await;
    is_put_back_and_tried_again(world, &one, agent).await;
}

#[tokio::test]
async fn docker_that_is_restarted_in_a_rollback_is_waited_for() {
    let world = world().await;
    world.only_deploy();
    let one = world.deploy("1", &slow("hello one")).await;
    world.publish("2", &App::ExitsAtOnce).await;
    let agent = world.agent.spawn_run().await;
    world.wait_for_stage("cd", "rollback").await;
    wait_for_log(&world, "proving ", 3).await;

    engine(&world).stop();
    engine(&world).restart().await;

    world.expect_mail("2 rolled back: 1 is running again").await;
    world.expect_back(&one).await;
    world.expect_serving("hello one").await;
    world.expect_runs(&["1 cd deployed 1", "2 cd rolled-back at prove 2"]).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn everything_unused_is_cleared_away_in_a_watch_and_the_version_before_comes_from_the_registry() {
    let world = world().await;
    world.only_deploy();
    world.deploy("1", &page("hello one")).await;
    world.agent.set("/projects/0/deploy/watch", "60s");
    world.publish("2", &App::Healthy("hello two".to_owned())).await;
    let agent = world.agent.spawn_run().await;
    world.expect_mail("2 deployed").await;

    world.engine.docker(&["system", "prune", "--all", "--force"]).await.unwrap();
    assert!(world.engine.inspect(&format!("{}.previous", world.project())).await.is_none());
    world.engine.docker(&["exec", world.project(), "touch", "/sick"]).await.unwrap();

    let mail = world.expect_mail("2 rolled back: 1 is running again").await;
    assert!(mail.text.contains("made anew"), "{}", mail.text);
    world.expect_serving("hello one").await;
    let again = world.standing().await;
    world.expect_untouched(&again).await;
    world.expect_runs(&["1 cd deployed 1", "2 cd deployed 2", "3 cd rolled-back at prove 2"]).await;
    assert!(world.log_of(3).await.contains("is gone from this machine: pulling"));
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn nothing_holds_and_the_mail_says_what_was_tried() {
    let world = world().await;
    world.only_deploy();
    world.deploy("1", &page("hello one")).await;
    world.agent.set("/projects/0/deploy/watch", "60s");
    world.publish("2", &App::Healthy("hello two".to_owned())).await;
    let agent = world.agent.spawn_run().await;
    world.expect_mail("2 deployed").await;
    let two = world.standing().await;

    world.engine.docker(&["system", "prune", "--all", "--force"]).await.unwrap();
    world.registry.fault_on("/manifests/", Fault::RefusePull(503));
    world.engine.docker(&["exec", world.project(), "touch", "/sick"]).await.unwrap();

    let mail = world.expect_mail("DOWN: 2 failed and 1 did not come back").await;
    let text = in_one_line(&mail.text);
    assert!(text.contains("its image is gone from this machine"), "{text}");
    // A service that is ill is more than none. It is told of once, and what held before is tried again.
    world.expect_mail("1 not deployed, pull failed: 2 keeps running").await;
    let now = world.standing().await;
    assert_eq!((now.id, now.state.as_str(), now.policy.as_str()), (two.id, "running", "always"));
    world.registry.clear_faults();
    world.agent.command(&["deploy", world.project(), "1"]).await.expect_success();
    world.expect_serving("hello one").await;
    world.expect_mail("FIXED: 1 deployed").await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn docker_that_goes_away_while_nothing_happens_is_waited_for_in_silence() {
    let world = world().await;
    world.only_deploy();
    let one = world.deploy("1", &page("hello one")).await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    engine(&world).cut_power();
    agent.wait_for_stderr("cannot be reached").await;
    // It is not Docker Hub that is in trouble: it is asked again when it is its turn, however long this takes.
    agent.wait_for_stderr("poll of Docker Hub failed, next as scheduled").await;
    world.expect_runs(&["1 cd deployed 1"]).await;

    engine(&world).restart().await;

    world.expect_serving("hello one").await;
    world.expect_back(&one).await;
    world.publish("2", &page("hello two")).await;
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    world.expect_runs(&["1 cd deployed 1", "2 cd deployed 2"]).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn docker_that_is_restarted_in_a_first_proof_says_nothing_against_the_image() {
    let world = world().await;
    world.only_deploy();
    world.publish("1", &slow("hello one")).await;
    let agent = world.agent.spawn(&["once"]).await;
    world.wait_for_stage("cd", "prove").await;

    engine(&world).stop();
    engine(&world).restart().await;

    assert_eq!(agent.wait_end().await.code(), Some(0));
    world.expect_serving("hello one").await;
    world.expect_mail("1 deployed").await;
    world.expect_runs(&["1 cd deployed 1"]).await;
    world.end().await;
}
