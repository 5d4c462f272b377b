//! `docker system prune --all --force`, by a person or a timer, at every awkward moment: it takes each container that
//! does not run and each image without a container. What serves goes on, and what is needed is pulled again.
// The agent is ended at fault points, to be caught between two acts.
#![cfg(feature = "fault-points")]

use crate::world::Options;
use crate::world::World;
use crate::world::agent::RunningAgent;
use crate::world::app::App;
use crate::world::assertions::eventually;
use crate::world::standing::Standing;

fn page(text: &str) -> App {
    App::Page(text.to_owned())
}

/// An engine of its own, since everything unused goes, whoever's it is.
async fn world() -> World {
    World::start_with(Options { private_engine: true, ..Options::default() }).await
}

async fn clear_away(world: &World) {
    world.engine.docker(&["system", "prune", "--all", "--force"]).await.unwrap();
}

/// This version's image is on the machine.
async fn has_image(world: &World, tag: &str) -> bool {
    let name = format!("{}/{}:{tag}", world.registry.address(), world.image());
    world.engine.images().await.contains(&name)
}

/// A world where 1 serves, and an agent that was killed on the way to 2, at this point.
async fn killed_at(point: &str) -> (World, Standing) {
    let world = world().await;
    world.only_deploy();
    let one = world.deploy("1", &page("hello one")).await;
    world.publish("2", &page("hello two")).await;
    world.agent.env("HOMEPORT_FAULT_AT", point);
    let agent = world.agent.spawn(&["once"]).await;
    world.agent.env("HOMEPORT_FAULT_AT", "");
    assert_eq!(agent.wait_end().await.code(), None, "the agent did not come to {point}");
    (world, one)
}

/// The next pass finds 2 due again, and its image in the registry.
async fn is_deployed_after_all(world: World, failed: &str) {
    world.agent.once().await.expect_success();
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    world.expect_runs(&["1 cd deployed 1", failed, "3 cd deployed 2"]).await;
    let two = world.standing().await;
    world.expect_untouched(&two).await;
    world.end().await;
}

#[tokio::test]
async fn an_image_that_is_cleared_away_before_its_container_is_made_costs_a_try_and_no_service() {
    let (world, one) = killed_at("docker.create#1 before").await;
    assert!(has_image(&world, "2").await);
    clear_away(&world).await;
    assert!(!has_image(&world, "2").await);

    world.agent.once().await.expect_code(1);

    world.expect_untouched(&one).await;
    world.expect_mail("2 not deployed, swap failed: 1 keeps running").await;
    is_deployed_after_all(world, "2 cd failed at swap 2").await;
}

#[tokio::test]
async fn a_candidate_that_is_cleared_away_before_the_old_one_is_stopped_costs_a_try_and_no_service() {
    let (world, one) = killed_at("docker.stop#1 before").await;
    clear_away(&world).await;
    world.expect_serving("hello one").await;

    world.agent.once().await.expect_code(1);

    world.expect_back(&one).await;
    assert_eq!(world.standing().await.started_at, one.started_at, "1 was stopped for nothing");
    world.expect_mail("2 rolled back: 1 is running again").await;
    is_deployed_after_all(world, "2 cd rolled-back at swap 2").await;
}

#[tokio::test]
async fn between_the_stop_and_the_start_nothing_is_left_and_the_last_version_comes_from_the_registry() {
    let (world, _) = killed_at("docker.start#1 before").await;
    clear_away(&world).await;
    world.expect_nothing_deployed().await;
    assert!(!has_image(&world, "1").await && !has_image(&world, "2").await);

    world.agent.once().await.expect_code(1);

    world.expect_serving("hello one").await;
    let mail = world.expect_mail("2 rolled back: 1 is running again").await;
    assert!(mail.text.contains("made anew"), "{}", mail.text);
    let again = world.standing().await;
    world.expect_untouched(&again).await;
    is_deployed_after_all(world, "2 cd rolled-back at swap 2").await;
}

/// A world where 1 served, 2 is being proven, and then everything unused was cleared away: 1 and its image too.
async fn cleared_in_a_proof(second: &App) -> (World, RunningAgent) {
    let world = world().await;
    world.only_deploy();
    world.deploy("1", &page("hello one")).await;
    world.publish("2", second).await;
    let agent = world.agent.spawn(&["once"]).await;
    world.wait_for_stage("cd", "prove").await;
    let runs = eventually(async || match world.engine.containers().await {
        all if all.iter().any(|c| c.name == world.project() && c.state == "running") => Ok(()),
        all => Err(format!("{all:?}")),
    });
    runs.await.unwrap();
    clear_away(&world).await;
    assert!(!has_image(&world, "1").await);
    (world, agent)
}

#[tokio::test]
async fn a_way_back_that_is_cleared_away_in_a_proof_comes_from_the_registry_when_the_image_is_bad() {
    let (world, agent) = cleared_in_a_proof(&App::NeverAnswers).await;

    assert_eq!(agent.wait_end().await.code(), Some(1));

    world.expect_serving("hello one").await;
    world.expect_mail("2 rolled back: 1 is running again").await;
    let runs = ["1 cd deployed 1", "2 cd rolled-back at prove 2"];
    world.expect_runs(&runs).await;
    let again = world.standing().await;
    world.agent.once().await.expect_success();
    world.expect_runs(&runs).await;
    world.expect_untouched(&again).await;
    world.end().await;
}

#[tokio::test]
async fn a_way_back_that_is_cleared_away_in_a_proof_is_not_needed_by_a_good_image() {
    let (world, agent) = cleared_in_a_proof(&App::StartsSlowly(4000, "hello two".to_owned())).await;

    assert_eq!(agent.wait_end().await.code(), Some(0));

    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    let two = world.standing().await;
    assert_eq!((two.state.as_str(), two.policy.as_str()), ("running", "always"));
    world.expect_untouched(&two).await;
    world.end().await;
}

/// A world at rest, 2 with 1 behind it, and then everything unused was cleared away.
async fn cleared_at_rest() -> (World, Standing) {
    let world = world().await;
    world.only_deploy();
    world.deploy("1", &page("hello one")).await;
    let two = world.deploy("2", &page("hello two")).await;
    // It cannot be built any more afterwards: its base is cleared away too.
    world.publish("draft", &App::ExitsAtOnce).await;
    clear_away(&world).await;
    assert!(world.engine.inspect(&format!("{}.previous", world.project())).await.is_none());
    assert!(has_image(&world, "2").await && !has_image(&world, "1").await);
    (world, two)
}

#[tokio::test]
async fn at_rest_what_serves_is_left_alone_and_is_the_way_back_of_a_bad_image() {
    let (world, two) = cleared_at_rest().await;
    world.agent.once().await.expect_success();
    world.expect_untouched(&two).await;
    world.registry.retag(&world.image(), "draft", "3").await;

    world.agent.once().await.expect_code(1);

    world.expect_back(&two).await;
    world.expect_serving("hello two").await;
    world.expect_mail("3 rolled back: 2 is running again").await;
    world.expect_runs(&["1 cd deployed 1", "2 cd deployed 2", "3 cd rolled-back at prove 3"]).await;
    world.end().await;
}

#[tokio::test]
async fn at_rest_the_owner_still_goes_back_to_a_version_that_is_not_on_the_machine() {
    let (world, two) = cleared_at_rest().await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;

    world.agent.command(&["rollback", world.project(), "--wait"]).await.expect_success();

    world.expect_serving("hello one").await;
    world.expect_mail("1 deployed by command: back from 2").await;
    let previous = world.engine.inspect(&format!("{}.previous", world.project())).await.unwrap();
    assert_eq!(previous["Id"], two.id.as_str());
    let one = world.standing().await;
    world.wait_for_next_hub_poll().await;
    world.wait_for_next_hub_poll().await;
    world.expect_untouched(&one).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn an_image_that_waits_for_the_end_of_a_build_and_is_cleared_away_is_pulled_again() {
    let world = world().await;
    world.deploy_page("hello one").await;
    let agent = world.agent.spawn_run().await;
    let dockerfile = "FROM hp-base:1\nCOPY app /app\nRUN [\"sleep\", \"15\"]\nEXPOSE 8080\n\
                      CMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/app\"]\n";
    world.repo.commit(&[("Dockerfile", dockerfile), ("app/index.html", "hello six\n")], "Build slowly").await;
    world.wait_for_stage("ci", "build").await;
    world.publish("5", &page("hello five")).await;
    let is_pulled = eventually(async || match has_image(&world, "5").await {
        true => Ok(()),
        false => Err("the image is not here yet"),
    });
    is_pulled.await.unwrap();

    clear_away(&world).await;
    assert!(!has_image(&world, "5").await, "the build is over already");

    world.expect_mail("5 deployed").await;
    world.expect_mail("6 deployed").await;
    world.expect_serving("hello six").await;
    let runs = ["1 ci pushed 1", "2 cd deployed 1", "3 ci pushed 6", "4 cd deployed 5", "5 cd deployed 6"];
    world.expect_runs(&runs).await;
    assert!(world.log_of(4).await.contains("pulling it again"));
    assert!(agent.terminate().await.success());
    world.end().await;
}
