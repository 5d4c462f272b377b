//! The agent, or Docker, is away for long while the world goes on: at the return the newest version is deployed, once,
//! and what came in between is not.

use crate::world::Options;
use crate::world::World;
use crate::world::agent::RunningAgent;
use crate::world::app::App;
use crate::world::assertions::eventually;

fn page(text: &str) -> App {
    App::Page(text.to_owned())
}

fn count_mails(world: &World, subject_part: &str) -> usize {
    world.mail.inbox().iter().filter(|mail| mail.subject.contains(subject_part)).count()
}

/// A world whose agent was killed, and which has got three newer images since.
async fn left_alone() -> World {
    let world = World::start().await;
    world.only_deploy();
    world.deploy("1", &page("hello one")).await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    agent.kill().await;
    for (tag, text) in [("2", "hello two"), ("3", "hello three"), ("4", "hello four")] {
        world.publish(tag, &page(text)).await;
    }
    world
}

/// The newest alone is deployed, once, and told once.
async fn comes_up_to_date(world: World) {
    let agent = world.agent.spawn_run().await;

    world.expect_serving("hello four").await;
    world.expect_mail("4 deployed").await;
    let four = world.standing().await;
    world.wait_for_next_hub_poll().await;
    world.wait_for_next_hub_poll().await;
    world.expect_runs(&["1 cd deployed 1", "2 cd deployed 4"]).await;
    world.expect_untouched(&four).await;
    assert_eq!(count_mails(&world, "deployed"), 2);
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn an_agent_that_was_away_finds_its_service_removed_and_deploys_the_newest_alone() {
    let world = left_alone().await;
    world.engine.remove(world.project()).await;
    comes_up_to_date(world).await;
}

#[tokio::test]
async fn an_agent_that_was_away_finds_its_service_stopped_and_deploys_the_newest_alone() {
    let world = left_alone().await;
    world.engine.stop(world.project()).await;
    comes_up_to_date(world).await;
}

/// A world with an engine of its own where 1 serves, and a second version that is not called 2 yet.
async fn before_the_outage() -> World {
    let world = World::start_with(Options { private_engine: true, ..Options::default() }).await;
    world.only_deploy();
    world.deploy("1", &page("hello one")).await;
    world.publish("draft", &page("hello two")).await;
    world
}

/// Docker has been found away so many times.
async fn wait_for_vain_polls(agent: &RunningAgent, times: usize) {
    let polled = eventually(async || {
        let count = agent.stderr().matches("poll of Docker Hub failed").count();
        if count >= times { Ok(()) } else { Err(format!("{count} polls have failed")) }
    });
    polled.await.unwrap();
}

/// Docker is back: what was published meanwhile is deployed by the same agent, in one run.
async fn is_deployed_at_dockers_return(world: World, agent: RunningAgent) {
    assert!(agent.is_running(), "an agent without Docker waits");
    world.expect_runs(&["1 cd deployed 1"]).await;

    world.private_engine.as_ref().unwrap().restart().await;

    world.expect_mail("2 deployed").await;
    world.expect_serving("hello two").await;
    world.expect_runs(&["1 cd deployed 1", "2 cd deployed 2"]).await;
    let two = world.standing().await;
    world.expect_untouched(&two).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn an_image_that_is_published_while_docker_is_away_is_deployed_when_it_is_back() {
    let world = before_the_outage().await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    world.private_engine.as_ref().unwrap().cut_power();
    wait_for_vain_polls(&agent, 1).await;
    world.registry.retag(&world.image(), "draft", "2").await;
    wait_for_vain_polls(&agent, 2).await;
    is_deployed_at_dockers_return(world, agent).await;
}

#[tokio::test]
async fn an_agent_that_starts_before_docker_waits_for_it_and_deploys_what_is_new() {
    let world = before_the_outage().await;
    world.private_engine.as_ref().unwrap().cut_power();
    world.registry.retag(&world.image(), "draft", "2").await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    wait_for_vain_polls(&agent, 2).await;
    is_deployed_at_dockers_return(world, agent).await;
}
