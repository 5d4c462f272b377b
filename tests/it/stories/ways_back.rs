//! The first way back is gone, or does not hold: older releases are made anew in turn, newest first, until one holds,
//! and the owner is told what was tried.

use crate::world::World;
use crate::world::app::App;
use crate::world::assertions::eventually;
use crate::world::assertions::in_one_line;

fn page(text: &str) -> App {
    App::Page(text.to_owned())
}

/// These words stand in the text, one behind the other.
fn expect_in_order(text: &str, words: &[&str]) {
    let mut rest = text;
    for word in words {
        let Some((_, behind)) = rest.split_once(word) else {
            panic!("{word:?} is not said, or not in the order of {words:?}: {text}")
        };
        rest = behind;
    }
}

/// The owner has deleted this version on Docker Hub.
async fn delete_from_hub(world: &World, tag: &str) {
    let digest = world.registry.digest(&world.image(), tag).await.unwrap();
    world.registry.reader().delete(&world.image(), &digest).await;
}

/// This version's image was cleared away from this machine.
async fn clear_away(world: &World, tag: &str) {
    let name = format!("{}/{}:{tag}", world.registry.address(), world.image());
    let id = world.engine.docker(&["images", "--quiet", "--no-trunc", &name]).await.unwrap();
    world.engine.docker(&["rmi", "--force", id.trim()]).await.unwrap();
}

#[tokio::test]
async fn older_releases_are_tried_in_turn_newest_first_until_one_holds() {
    let world = World::start().await;
    world.only_deploy();
    let network = format!("{}-net", world.project());
    world.engine.docker(&["network", "create", &network]).await.unwrap();
    world.deploy("1", &page("hello one")).await;
    world.agent.set("/projects/0/deploy/network", network.clone());
    world.deploy("2", &page("hello two")).await;
    world.agent.unset("/projects/0/deploy/network");
    world.deploy("3", &page("hello three")).await;
    world.publish("4", &App::NeverAnswers).await;
    let agent = world.agent.spawn(&["once"]).await;
    world.wait_for_stage("cd", "prove").await;

    // 3 is gone with its container and its image, and what 2 was made for is not there any more.
    world.engine.remove(&format!("{}.previous", world.project())).await;
    clear_away(&world, "3").await;
    for tag in ["2", "3"] {
        delete_from_hub(&world, tag).await;
    }
    world.engine.docker(&["network", "rm", &network]).await.unwrap();
    assert_eq!(agent.wait_end().await.code(), Some(1));

    world.expect_serving("hello one").await;
    world.expect_running(&world.registry.digest(&world.image(), "1").await.unwrap()).await;
    let runs = ["1 cd deployed 1", "2 cd deployed 2", "3 cd deployed 3", "4 cd rolled-back at prove 4"];
    world.expect_runs(&runs).await;
    let mail = world.expect_mail("4 rolled back: 1 is running again").await;
    let tried = ["its container is gone", "; then 3 (", "gone from this machine", "; then 2 (", "network"];
    expect_in_order(&in_one_line(&mail.text), &[&tried[..], &["; so 1 (", "was made anew"]].concat());
    let status = world.agent.status_json().await;
    assert_eq!(status["projects"][0]["current"]["tag"], "1");
    let one = world.standing().await;
    assert_eq!((one.state.as_str(), one.policy.as_str()), ("running", "always"));

    // What failed is not tried again by itself.
    world.agent.once().await.expect_success();
    world.expect_runs(&runs).await;
    world.expect_untouched(&one).await;
    world.deploy("5", &page("hello five")).await;
    world.expect_serving("hello five").await;
    world.end().await;
}

#[tokio::test]
async fn what_fell_ill_in_its_watch_stays_until_an_older_release_has_proven_itself() {
    let world = World::start().await;
    world.only_deploy();
    world.agent.set("/projects/0/deploy/prove/timeout", "30s");
    world.deploy("1", &page("hello one")).await;
    world.deploy("2", &App::StartsSlowly(12_000, "hello two".to_owned())).await;
    // So much patience there is not any more.
    world.agent.set("/projects/0/deploy/prove/timeout", "6s");
    world.agent.set("/projects/0/deploy/watch", "60s");
    world.publish("3", &App::Healthy("hello three".to_owned())).await;
    let agent = world.agent.spawn_run().await;
    world.expect_mail("3 deployed").await;
    let three = world.standing().await;
    world.engine.remove(&format!("{}.previous", world.project())).await;

    world.engine.docker(&["exec", world.project(), "touch", "/sick"]).await.unwrap();

    // 2 is made anew and fails: then the ill one, which still answers, has its place again.
    let is_passed_over = eventually(async || {
        let logged = world.agent.run_logs().into_iter().any(|(_, log)| log.contains("trying 1 ("));
        if logged { Ok(()) } else { Err("2 is not passed over") }
    });
    is_passed_over.await.unwrap();
    let mail = world.expect_mail("3 rolled back: 1 is running again").await;
    let tried =
        ["HEALTHCHECK says unhealthy", "; then 2 (", "not proven within", "; so 1 (", "was made anew"];
    expect_in_order(&in_one_line(&mail.text), &tried);
    world.expect_serving("hello one").await;
    let runs = ["1 cd deployed 1", "2 cd deployed 2", "3 cd deployed 3", "4 cd rolled-back at prove 3"];
    world.expect_runs(&runs).await;
    let log = world.log_of(4).await;
    let steps = ["back: trying 2 (", "starting", "starting", "back: trying 1 ("];
    expect_in_order(&log, &steps);
    let one = world.standing().await;
    assert_ne!(one.id, three.id);

    // 2 is newer than what serves, and listed; but it did not hold where an older one did.
    world.wait_for_next_hub_poll().await;
    world.wait_for_next_hub_poll().await;
    world.expect_runs(&runs).await;
    world.expect_untouched(&one).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}
