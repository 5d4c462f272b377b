//! A person's hands on the containers in the middle of a deployment: it ends in one version that serves, and no
//! image is blamed for what a person did.

use crate::world::World;
use crate::world::agent::RunningAgent;
use crate::world::app::App;
use crate::world::assertions::eventually;
use crate::world::standing::Standing;

fn page(text: &str) -> App {
    App::Page(text.to_owned())
}

fn slow(text: &str) -> App {
    App::StartsSlowly(2500, text.to_owned())
}

/// A world where 1 served and 2 is being proven.
async fn proving(second: &App) -> (World, Standing, RunningAgent) {
    let world = World::start().await;
    world.only_deploy();
    let one = world.deploy("1", &page("hello one")).await;
    world.publish("2", second).await;
    world.agent.set("/projects/0/deploy/prove/timeout", "5s");
    let agent = world.agent.spawn(&["once"]).await;
    world.wait_for_stage("cd", "prove").await;
    (world, one, agent)
}

/// What a person did to 2 took it from its place: 1 serves again, and 2 is deployed as soon as it is left alone.
async fn is_put_back_and_tried_again(world: World, one: &Standing, agent: &RunningAgent, stage: &str) {
    assert_eq!(agent.wait_end().await.code(), Some(1));
    world.expect_back(one).await;
    world.expect_serving("hello one").await;
    let failed = format!("2 cd rolled-back at {stage} 2");
    world.expect_runs(&["1 cd deployed 1", &failed]).await;
    world.expect_mail("2 rolled back: 1 is running again").await;

    world.agent.once().await.expect_success();
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    world.expect_runs(&["1 cd deployed 1", &failed, "3 cd deployed 2"]).await;
    world.expect_no_leftovers().await;
    world.end().await;
}

/// 2 went into service all the same.
async fn is_deployed(world: &World, agent: &RunningAgent) {
    assert_eq!(agent.wait_end().await.code(), Some(0));
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    world.expect_runs(&["1 cd deployed 1", "2 cd deployed 2"]).await;
    let two = world.standing().await;
    assert_eq!((two.state.as_str(), two.policy.as_str()), ("running", "always"));
    world.expect_untouched(&two).await;
}

#[tokio::test]
async fn a_candidate_that_someone_stops_is_not_to_blame() {
    let (world, one, agent) = proving(&slow("hello two")).await;
    world.engine.stop(world.project()).await;
    is_put_back_and_tried_again(world, &one, &agent, "prove").await;
}

#[tokio::test]
async fn a_candidate_that_someone_kills_is_not_to_blame() {
    let (world, one, agent) = proving(&slow("hello two")).await;
    world.engine.kill(world.project()).await;
    is_put_back_and_tried_again(world, &one, &agent, "prove").await;
}

#[tokio::test]
async fn a_candidate_that_someone_removes_is_not_to_blame() {
    let (world, one, agent) = proving(&slow("hello two")).await;
    world.engine.remove(world.project()).await;
    is_put_back_and_tried_again(world, &one, &agent, "prove").await;
}

#[tokio::test]
async fn a_candidate_that_someone_renames_gets_its_name_back() {
    let (world, one, agent) = proving(&slow("hello two")).await;
    world.engine.rename(world.project(), &format!("{}.mine", world.project())).await;
    is_deployed(&world, &agent).await;
    world
        .expect_container(&format!("{}.previous", world.project()), "exited", &digest(&world, "1").await)
        .await;
    assert_ne!(world.standing().await.id, one.id);
    world.end().await;
}

#[tokio::test]
async fn a_candidate_that_someone_restarts_proves_itself_again() {
    let (world, _, agent) = proving(&slow("hello two")).await;
    world.engine.docker(&["restart", "--time", "0", world.project()]).await.unwrap();
    // It was told to stop and runs: either verdict is told truly, and in the end it serves.
    agent.wait_end().await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello two").await;
    world.expect_mail("2 ").await;
    let two = world.standing().await;
    world.expect_untouched(&two).await;
    let runs = world.runs().await;
    assert!(runs.last().is_some_and(|run| run.to_string().ends_with("cd deployed 2")), "{runs:?}");
    if runs.len() > 2 {
        world.expect_mail("2 deployed").await;
    }
    world.end().await;
}

#[tokio::test]
async fn a_way_back_that_someone_removes_is_not_needed_by_a_good_image() {
    let (world, _, agent) = proving(&slow("hello two")).await;
    world.engine.remove(&format!("{}.previous", world.project())).await;
    is_deployed(&world, &agent).await;
    world.end().await;
}

#[tokio::test]
async fn a_way_back_that_someone_renames_is_found_by_a_good_image() {
    let (world, one, agent) = proving(&slow("hello two")).await;
    let previous = format!("{}.previous", world.project());
    world.engine.rename(&previous, &format!("{}.mine", world.project())).await;
    is_deployed(&world, &agent).await;
    assert_eq!(world.engine.inspect(&previous).await.unwrap()["Id"], one.id.as_str());
    world.end().await;
}

#[tokio::test]
async fn a_way_back_that_someone_renames_is_found_when_the_image_is_bad() {
    let (world, one, agent) = proving(&App::NeverAnswers).await;
    let previous = format!("{}.previous", world.project());
    world.engine.rename(&previous, &format!("{}.mine", world.project())).await;

    assert_eq!(agent.wait_end().await.code(), Some(1));

    world.expect_back(&one).await;
    world.expect_serving("hello one").await;
    world.expect_mail("2 rolled back: 1 is running again").await;
    world.expect_runs(&["1 cd deployed 1", "2 cd rolled-back at prove 2"]).await;
    world.agent.once().await.expect_success();
    assert_eq!(world.runs().await.len(), 2, "a quarantined image is not tried again");
    world.end().await;
}

#[tokio::test]
async fn a_way_back_that_someone_removes_is_made_anew_when_the_image_is_bad() {
    let (world, one, agent) = proving(&App::NeverAnswers).await;
    world.engine.remove(&format!("{}.previous", world.project())).await;

    assert_eq!(agent.wait_end().await.code(), Some(1));

    world.expect_serving("hello one").await;
    world.expect_mail("2 rolled back: 1 is running again").await;
    world.expect_runs(&["1 cd deployed 1", "2 cd rolled-back at prove 2"]).await;
    let again = world.standing().await;
    assert!(again.id != one.id && again.policy == "always", "{again:?}");
    world.expect_untouched(&again).await;
    world.end().await;
}

/// A world where 1 does not stop when it is told to, and so 2 is made but not yet started.
async fn stopping() -> (World, Standing, RunningAgent) {
    let world = World::start().await;
    world.only_deploy();
    world.agent.set("/projects/0/deploy/stop_grace", "4s");
    let one = world.deploy("1", &App::IgnoresSigterm("hello one".to_owned())).await;
    world.publish("2", &page("hello two")).await;
    let agent = world.agent.spawn(&["once"]).await;
    let is_told = eventually(async || {
        let told = world.agent.run_logs().into_iter().any(|(_, log)| log.contains("stopping "));
        if told { Ok(()) } else { Err("1 was not told to stop") }
    });
    is_told.await.unwrap();
    (world, one, agent)
}

#[tokio::test]
async fn a_candidate_removed_before_its_start_is_not_to_blame() {
    let (world, one, agent) = stopping().await;
    world.engine.remove(world.project()).await;
    is_put_back_and_tried_again(world, &one, &agent, "swap").await;
}

#[tokio::test]
async fn a_candidate_renamed_before_its_start_gets_its_name_back() {
    let (world, _, agent) = stopping().await;
    world.engine.rename(world.project(), &format!("{}.mine", world.project())).await;
    is_deployed(&world, &agent).await;
    world.end().await;
}

#[tokio::test]
async fn an_old_container_removed_while_it_stops_is_not_needed_by_a_good_image() {
    let (world, _, agent) = stopping().await;
    world.engine.remove(&format!("{}.previous", world.project())).await;
    is_deployed(&world, &agent).await;
    world.end().await;
}

/// A world where 2 is bad, and 1, started again, takes its time to answer.
async fn rolling_back() -> (World, Standing, RunningAgent) {
    let world = World::start().await;
    world.only_deploy();
    let one = world.deploy("1", &slow("hello one")).await;
    world.publish("2", &App::ExitsAtOnce).await;
    let agent = world.agent.spawn(&["once"]).await;
    world.wait_for_stage("cd", "rollback").await;
    let runs = eventually(async || {
        let proven = world.agent.run_logs().into_iter().any(|(_, log)| log.matches("proving ").count() > 1);
        if proven { Ok(()) } else { Err("1 is not being proven") }
    });
    runs.await.unwrap();
    (world, one, agent)
}

#[tokio::test]
async fn a_way_back_that_someone_stops_in_a_rollback_is_started_again() {
    let (world, one, agent) = rolling_back().await;
    world.engine.stop(world.project()).await;
    agent.wait_end().await;

    // Where the run had to be suspended, the next pass takes it up.
    world.agent.once().await;

    world.expect_back(&one).await;
    world.expect_serving("hello one").await;
    world.expect_mail("2 rolled back: 1 is running again").await;
    world.expect_runs(&["1 cd deployed 1", "2 cd rolled-back at prove 2"]).await;
    world.end().await;
}

#[tokio::test]
async fn a_way_back_that_someone_removes_in_a_rollback_is_made_anew() {
    let (world, one, agent) = rolling_back().await;
    world.engine.remove(world.project()).await;
    agent.wait_end().await;

    world.agent.once().await;

    world.expect_serving("hello one").await;
    world.expect_mail("2 rolled back: 1 is running again").await;
    world.expect_runs(&["1 cd deployed 1", "2 cd rolled-back at prove 2"]).await;
    let again = world.standing().await;
    assert!(again.id != one.id, "{again:?}");
    world.expect_untouched(&again).await;
    world.end().await;
}

async fn digest(world: &World, tag: &str) -> String {
    world.registry.digest(&world.image(), tag).await.unwrap()
}
