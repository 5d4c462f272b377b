//! A person's hands on the containers between deployments: what was meant to stay stays, what is gone is made
//! anew, and what was renamed is known by what it is.

use crate::world::World;
use crate::world::agent::RunningAgent;
use crate::world::app::App;
use crate::world::standing::Standing;

fn page(text: &str) -> App {
    App::Page(text.to_owned())
}

/// A world where 1 served and 2 serves, with no agent about.
async fn idle(second: &App) -> (World, Standing, Standing) {
    let world = World::start().await;
    world.only_deploy();
    let one = world.deploy("1", &page("hello one")).await;
    let two = world.deploy("2", second).await;
    (world, one, two)
}

#[tokio::test]
async fn a_renamed_service_goes_on_and_is_the_way_back_of_the_next() {
    let (world, _, two) = idle(&page("hello two")).await;
    let mine = format!("{}.mine", world.project());
    world.engine.rename(world.project(), &mine).await;

    world.agent.once().await.expect_success();
    assert_eq!(world.runs().await.len(), 2, "what serves under another name still serves");
    assert_eq!(world.engine.inspect(&mine).await.unwrap()["State"]["StartedAt"], two.started_at.as_str());

    world.deploy("3", &page("hello three")).await;
    world.expect_serving("hello three").await;
    let previous = world.engine.inspect(&format!("{}.previous", world.project())).await.unwrap();
    assert_eq!(previous["Id"], two.id.as_str());
    let three = world.standing().await;
    world.expect_untouched(&three).await;
    world.end().await;
}

#[tokio::test]
async fn a_renamed_service_is_put_back_in_its_place_when_the_next_is_bad() {
    let (world, _, two) = idle(&page("hello two")).await;
    world.engine.rename(world.project(), &format!("{}.mine", world.project())).await;
    world.publish("3", &App::ExitsAtOnce).await;

    world.agent.once().await.expect_code(1);

    world.expect_back(&two).await;
    world.expect_serving("hello two").await;
    world.expect_mail("3 rolled back: 2 is running again").await;
    world.end().await;
}

#[tokio::test]
async fn a_service_removed_with_its_way_back_is_deployed_again() {
    let (world, ..) = idle(&page("hello two")).await;
    world.engine.remove(world.project()).await;
    world.engine.remove(&format!("{}.previous", world.project())).await;

    world.agent.once().await.expect_success();

    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    world.expect_runs(&["1 cd deployed 1", "2 cd deployed 2", "3 cd deployed 2"]).await;
    world.expect_no_leftovers().await;
    world.end().await;
}

#[tokio::test]
async fn a_removed_service_leaves_its_way_back_to_the_one_that_is_deployed_again() {
    let (world, one, _) = idle(&page("hello two")).await;
    world.engine.remove(world.project()).await;

    world.agent.once().await.expect_success();

    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    let two = world.standing().await;
    world.expect_untouched(&two).await;
    let previous = world.engine.inspect(&format!("{}.previous", world.project())).await;
    assert_eq!(previous.expect("the way back is kept")["Id"], one.id.as_str());
    world.end().await;
}

#[tokio::test]
async fn a_removed_way_back_is_not_missed_by_a_rollback_to_what_serves() {
    let (world, _, two) = idle(&page("hello two")).await;
    world.engine.remove(&format!("{}.previous", world.project())).await;
    world.publish("3", &App::ExitsAtOnce).await;

    world.agent.once().await.expect_code(1);

    world.expect_back(&two).await;
    world.expect_mail("3 rolled back: 2 is running again").await;
    world.end().await;
}

#[tokio::test]
async fn a_renamed_way_back_makes_room_for_the_next() {
    let (world, one, two) = idle(&page("hello two")).await;
    let previous = format!("{}.previous", world.project());
    world.engine.rename(&previous, &format!("{}.mine", world.project())).await;

    world.deploy("3", &page("hello three")).await;

    assert_eq!(world.engine.inspect(&previous).await.unwrap()["Id"], two.id.as_str());
    assert!(world.engine.inspect(&one.id).await.is_none(), "the way back before is left over");
    world.expect_no_leftovers().await;
    world.end().await;
}

#[tokio::test]
async fn a_service_that_its_owner_stopped_makes_way_for_a_newer_image_and_stays_stopped_until_then() {
    let (world, _, two) = idle(&page("hello two")).await;
    world.engine.stop(world.project()).await;
    world.agent.once().await.expect_success();
    assert_eq!(world.standing().await.state, "exited");
    assert_eq!(world.runs().await.len(), 2);

    world.deploy("3", &page("hello three")).await;

    world.expect_serving("hello three").await;
    let previous = world.engine.inspect(&format!("{}.previous", world.project())).await.unwrap();
    assert_eq!(previous["Id"], two.id.as_str());
    world.end().await;
}

/// A world where 1 served, and 2 serves and is watched by a running agent.
async fn watched(second: &App) -> (World, Standing, RunningAgent) {
    let world = World::start().await;
    world.only_deploy();
    let one = world.deploy("1", &page("hello one")).await;
    world.agent.set("/projects/0/deploy/watch", "60s");
    world.publish("2", second).await;
    let agent = world.agent.spawn_run().await;
    world.expect_mail("2 deployed").await;
    (world, one, agent)
}

fn ill_soon() -> App {
    App::Healthy("hello two".to_owned())
}

async fn fall_ill(world: &World, container: &str) {
    world.engine.docker(&["exec", container, "touch", "/sick"]).await.unwrap();
}

const TAKEN_BACK: [&str; 3] = ["1 cd deployed 1", "2 cd deployed 2", "3 cd rolled-back at prove 2"];

#[tokio::test]
async fn a_service_removed_in_its_watch_is_deployed_again_without_blame() {
    let (world, _, agent) = watched(&page("hello two")).await;

    world.engine.remove(world.project()).await;

    world.expect_mail("2 deployed").await;
    world.expect_serving("hello two").await;
    world.expect_runs(&["1 cd deployed 1", "2 cd deployed 2", "3 cd deployed 2"]).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_service_renamed_in_its_watch_is_watched_on() {
    let (world, one, agent) = watched(&ill_soon()).await;
    let mine = format!("{}.mine", world.project());
    world.engine.rename(world.project(), &mine).await;

    fall_ill(&world, &mine).await;

    world.expect_mail("2 rolled back: 1 is running again").await;
    world.expect_back(&one).await;
    world.expect_runs(&TAKEN_BACK).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_way_back_renamed_in_the_watch_is_found() {
    let (world, one, agent) = watched(&ill_soon()).await;
    let previous = format!("{}.previous", world.project());
    world.engine.rename(&previous, &format!("{}.mine", world.project())).await;

    fall_ill(&world, world.project()).await;

    world.expect_mail("2 rolled back: 1 is running again").await;
    world.expect_back(&one).await;
    world.expect_runs(&TAKEN_BACK).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_way_back_removed_in_the_watch_is_made_anew() {
    let (world, one, agent) = watched(&ill_soon()).await;
    world.engine.remove(&format!("{}.previous", world.project())).await;

    fall_ill(&world, world.project()).await;

    world.expect_mail("2 rolled back: 1 is running again").await;
    world.expect_serving("hello one").await;
    world.expect_runs(&TAKEN_BACK).await;
    let again = world.standing().await;
    assert!(again.id != one.id, "{again:?}");
    world.expect_untouched(&again).await;
    world.wait_for_next_hub_poll().await;
    world.wait_for_next_hub_poll().await;
    world.expect_runs(&TAKEN_BACK).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}
