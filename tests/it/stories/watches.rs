//! What happens to a deployment after it has proven itself: for a while it is watched.

use crate::world::World;
use crate::world::app::App;

/// A world with a running agent, whose first version has proven itself long ago and whose second is watched.
async fn watched(
    second: &App,
) -> (World, crate::world::standing::Standing, crate::world::agent::RunningAgent) {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    world.agent.set("/projects/0/deploy/watch", "60s");
    world.repo.commit_app(second).await;
    let agent = world.agent.spawn_run().await;
    world.expect_mail("2 deployed").await;
    (world, one, agent)
}

const TAKEN_BACK: [&str; 5] =
    ["1 ci pushed 1", "2 cd deployed 1", "3 ci pushed 2", "4 cd deployed 2", "5 cd rolled-back at prove 2"];

async fn is_taken_back(world: &World, one: &crate::world::standing::Standing) {
    world.expect_serving("hello one").await;
    world.expect_runs(&TAKEN_BACK).await;
    world.expect_back(one).await;
    assert_eq!(world.run(5).await.trigger, "watch");
    let mail = world.expect_mail("2 rolled back").await;
    assert!(mail.subject.contains("1 is running again"), "{}", mail.subject);
    let status = world.agent.status_json().await;
    assert_eq!(status["projects"][0]["current"]["tag"], "1");
    // It is quarantined: further polls leave it alone.
    world.wait_for_next_hub_poll().await;
    world.wait_for_next_hub_poll().await;
    world.expect_runs(&TAKEN_BACK).await;
}

#[tokio::test]
async fn a_service_that_dies_in_its_watch_is_taken_back() {
    let (world, one, agent) = watched(&App::CrashesAfter(2500)).await;

    is_taken_back(&world, &one).await;

    assert!(world.log_of(5).await.contains("out of luck"), "{}", world.log_of(5).await);
    world.repo.commit_page("hello three").await;
    world.expect_serving("hello three").await;
    world.expect_mail("3 deployed").await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_service_that_falls_ill_in_its_watch_is_taken_back_even_after_a_restart_of_the_agent() {
    let (world, one, agent) = watched(&App::Healthy("hello two".to_owned())).await;
    // Killed between the server's word and its own note of it, it would have to send the mail again.
    agent.wait_for_stderr("mail sent").await;
    agent.kill().await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;

    world.engine.docker(&["exec", world.project(), "touch", "/sick"]).await.unwrap();

    is_taken_back(&world, &one).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_service_that_its_owner_stops_stays_stopped() {
    let (world, _, agent) = watched(&App::Page("hello two".to_owned())).await;
    world.engine.stop(world.project()).await;
    let stopped = world.standing().await;

    for _ in 0..3 {
        world.wait_for_next_hub_poll().await;
    }

    assert_eq!(world.standing().await, stopped);
    assert_eq!(stopped.state, "exited");
    assert!(agent.terminate().await.success());
    world.expect_runs(&TAKEN_BACK[..4]).await;
    world.end().await;
}

#[tokio::test]
async fn a_first_deployment_that_dies_in_its_watch_is_left_to_docker_and_told_of() {
    let world = World::start().await;
    world.agent.set("/projects/0/deploy/watch", "60s");
    world.repo.commit_app(&App::CrashesAfter(2500)).await;
    let agent = world.agent.spawn_run().await;
    world.expect_mail("1 deployed").await;
    let one = world.standing().await;

    let mail = world.expect_mail("DOWN: 1 failed and nothing was deployed before it").await;

    assert!(mail.text.contains("out of luck"), "{}", mail.text);
    world.wait_for_next_hub_poll().await;
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 cd down at prove 1"]).await;
    let now = world.standing().await;
    assert_eq!((now.id, now.policy.as_str()), (one.id, "always"));
    world.repo.commit_page("hello two").await;
    world.expect_serving("hello two").await;
    world.expect_mail("FIXED: 2 deployed").await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

/// A world whose second version has a HEALTHCHECK and is past its watch, and whose agent runs.
async fn past_its_watch() -> (World, crate::world::standing::Standing, crate::world::agent::RunningAgent) {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    world.agent.set("/projects/0/deploy/watch", "0s");
    world.repo.commit_app(&App::Healthy("hello two".to_owned())).await;
    world.agent.once().await.expect_success();
    world.expect_mail("2 deployed").await;
    let two = world.standing().await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    (world, two, agent)
}

#[tokio::test]
async fn a_service_that_falls_ill_after_its_watch_is_told_of_once_and_left_alone() {
    let (world, two, agent) = past_its_watch().await;

    world.engine.docker(&["exec", world.project(), "touch", "/sick"]).await.unwrap();

    let mail = world.expect_mail("2 is unhealthy, and keeps running").await;
    assert!(mail.text.contains("does not take it back"), "{}", mail.text);
    agent.wait_for_stderr("mail sent: [").await;
    // Told once, and not once per look or per restart.
    agent.kill().await;
    let agent = world.agent.spawn_run().await;
    for _ in 0..3 {
        world.wait_for_next_hub_poll().await;
    }
    world.expect_no_unread_mail().await;

    world.engine.docker(&["exec", world.project(), "rm", "/sick"]).await.unwrap();

    world.expect_mail("2 is well again after").await;
    for _ in 0..3 {
        world.wait_for_next_hub_poll().await;
    }
    world.expect_untouched(&two).await;
    world.expect_runs(&TAKEN_BACK[..4]).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_service_that_crashes_again_and_again_after_its_watch_is_told_of_with_its_last_words() {
    let world = World::start().await;
    world.agent.set("/projects/0/deploy/watch", "0s");
    world.repo.commit_app(&App::CrashesAfter(1500)).await;
    let agent = world.agent.spawn_run().await;
    world.expect_mail("1 deployed").await;

    let mail = world.expect_mail("1 crashes again and again").await;

    assert!(mail.text.contains("out of luck"), "{}", mail.text);
    world.wait_for_next_hub_poll().await;
    assert!(agent.terminate().await.success());
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1"]).await;
    assert_eq!(world.standing().await.policy, "always");
    world.end().await;
}

#[tokio::test]
async fn a_look_at_a_service_that_is_well_or_known_to_be_ill_writes_nothing() {
    let (world, _, agent) = past_its_watch().await;
    world.engine.docker(&["exec", world.project(), "touch", "/sick"]).await.unwrap();
    world.expect_mail("2 is unhealthy").await;
    agent.wait_for_stderr("mail sent: [").await;
    world.wait_for_next_hub_poll().await;
    let before = world.agent.files();

    for _ in 0..3 {
        world.wait_for_next_hub_poll().await;
    }

    assert_eq!(world.agent.files(), before);
    assert!(agent.terminate().await.success());
    world.end().await;
}
