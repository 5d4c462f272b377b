//! What is kept of images and what goes: the ways back stay, the rest of homeport's own goes, nobody else's.

use serde_json::json;

use crate::world::World;
use crate::world::app::App;
use crate::world::assertions::eventually;

/// The tags of this world's image in the engine, in the registry's name.
async fn tags(world: &World) -> Vec<String> {
    let name = format!("{}/{}:", world.registry.address(), world.image());
    let all = world.engine.images().await;
    let mut tags: Vec<_> =
        all.iter().filter_map(|image| image.strip_prefix(&name)).map(str::to_owned).collect();
    tags.sort();
    tags
}

async fn expect_local_tags(world: &World, wanted: &[&str]) {
    let found = eventually(async || {
        let now = tags(world).await;
        if now == wanted { Ok(()) } else { Err(format!("{now:?}")) }
    });
    found.await.unwrap_or_else(|now| panic!("the images are not {wanted:?} but {now}"));
}

#[tokio::test]
async fn the_newest_images_that_held_stay_and_a_strangers_too() {
    let world = World::start().await;
    world.agent.set("/projects/0/deploy/keep_images", 2);
    // Built by hand, under a name of the same repository, before all others.
    let stranger = format!("{}/{}:by-hand", world.registry.address(), world.image());
    world.engine.build(&App::Page("by hand".to_owned()), &stranger).await;

    for text in ["hello one", "hello two", "hello three", "hello four"] {
        world.deploy_page(text).await;
    }

    expect_local_tags(&world, &["3", "4", "by-hand"]).await;
    world.end().await;
}

#[tokio::test]
async fn the_way_back_survives_a_prune_of_all_unused_images() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    world.deploy_page("hello two").await;
    // Not `docker image prune`, which would take other worlds' images along.
    for image in tags(&world).await {
        let name = format!("{}/{}:{image}", world.registry.address(), world.image());
        world.engine.docker(&["rmi", &name]).await.ok();
    }
    world.repo.commit_app(&App::ExitsAtOnce).await;

    world.agent.once().await.expect_code(1);

    world.expect_serving("hello two").await;
    world.expect_mail("3 rolled back").await;
    let previous = world.engine.inspect(&format!("{}.previous", world.project())).await.unwrap();
    assert_eq!(previous["Id"].as_str(), Some(one.id.as_str()));
    world.end().await;
}

#[tokio::test]
async fn an_image_that_failed_goes_at_once() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    world.repo.commit_app(&App::ExitsAtOnce).await;

    world.agent.once().await.expect_code(1);

    world.expect_mail("2 rolled back").await;
    expect_local_tags(&world, &["1"]).await;
    world.end().await;
}

#[tokio::test]
async fn a_machine_that_only_builds_keeps_the_newest_image() {
    let world = World::start().await;
    world.only_build();
    for (text, tag) in [("hello one", "1"), ("hello two", "2"), ("hello three", "3")] {
        world.repo.commit_page(text).await;
        world.agent.once().await.expect_success();
        world.expect_mail(&format!("{tag} pushed")).await;
    }

    expect_local_tags(&world, &["3"]).await;
    world.expect_tags(&["1", "2", "3"]).await;
    assert_eq!(world.agent.config()["projects"][0]["deploy"], json!(null));
    world.end().await;
}

#[tokio::test]
async fn what_is_left_of_older_images_goes_at_a_start_too() {
    let world = World::start().await;
    for text in ["hello one", "hello two", "hello three"] {
        world.deploy_page(text).await;
    }
    expect_local_tags(&world, &["1", "2", "3"]).await;
    world.agent.set("/projects/0/deploy/keep_images", 1);

    let agent = world.agent.spawn_run().await;

    // The one before has the container that is the way back.
    expect_local_tags(&world, &["2", "3"]).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}
