//! The way of a commit when all goes well.

use serde_json::json;

use crate::world::World;
use crate::world::app::App;

#[tokio::test]
async fn the_first_commit_ends_as_the_first_deployment() {
    let world = World::start().await;
    let sha = world.repo.commit_page("hello one").await;

    world.agent.once().await.expect_success();

    world.expect_serving("hello one").await;
    world.expect_tags(&["1"]).await;
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1"]).await;
    let digest = world.registry.digest(&world.image(), "1").await.unwrap();
    world.expect_running(&digest).await;
    assert_eq!(world.standing().await.policy, "always");
    world.expect_no_leftovers().await;
    let mail = world.expect_mail("1 deployed").await;
    assert!(mail.text.contains(&sha[..7]) && mail.text.contains("Say hello one"), "{}", mail.text);
    assert!(mail.html.contains(&sha[..7]), "{}", mail.html);
    let deployed = world.run(2).await;
    assert_eq!((deployed.commit, deployed.digest), (Some(sha), Some(digest)));
    assert_eq!(deployed.trigger, "own-push");
    world.end().await;
}

#[tokio::test]
async fn each_commit_replaces_the_one_before_and_one_old_container_is_kept() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    let two = world.deploy_page("hello two").await;
    let three = world.deploy_page("hello three").await;

    world.expect_tags(&["1", "2", "3"]).await;
    assert!(world.engine.inspect(&one.id).await.is_none(), "the container before the previous one is gone");
    let previous = world.engine.inspect(&format!("{}.previous", world.project())).await.unwrap();
    assert_eq!(previous["Id"], json!(two.id));
    world.expect_untouched(&three).await;

    let status = world.agent.status_json().await;
    let project = &status["projects"][0];
    assert_eq!(project["current"]["tag"], "3");
    assert_eq!(project["current"]["container_id"], json!(three.id));
    assert_eq!(project["current"]["running"], true);
    assert_eq!(project["current"]["digest"], json!(world.registry.digest(&world.image(), "3").await));
    assert_eq!(project["previous"]["tag"], "2");
    assert_eq!(project["previous"]["container_id"], json!(two.id));
    assert_eq!(project["last_ci"]["number"], 5);
    assert_eq!(project["last_cd"]["outcome"], "deployed");
    world.end().await;
}

#[tokio::test]
async fn a_pass_with_nothing_new_does_nothing() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;

    world.agent.once().await.expect_success();
    world.agent.once().await.expect_success();

    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1"]).await;
    world.expect_untouched(&one).await;
    assert_eq!(world.registry.pushes().len(), 1);
    world.end().await;
}

#[tokio::test]
async fn an_image_with_a_healthcheck_is_deployed_when_that_says_healthy() {
    let world = World::start().await;
    world.agent.unset("/projects/0/deploy/prove/http");
    world.repo.commit_app(&App::Healthy("hello healthy".to_owned())).await;

    world.agent.once().await.expect_success();

    world.expect_serving("hello healthy").await;
    world.expect_mail("1 deployed").await;
    let log = world.log_of(2).await;
    assert!(log.contains("the image's HEALTHCHECK says healthy"), "{log}");
    let inspected = world.engine.inspect(world.project()).await.unwrap();
    assert_eq!(inspected["State"]["Health"]["Status"], "healthy");
    world.end().await;
}

#[tokio::test]
async fn without_an_http_path_the_containers_own_port_is_waited_for() {
    let world = World::start().await;
    world.agent.unset("/projects/0/deploy/prove/http");
    world.repo.commit_app(&App::StartsSlowly(1500, "hello slow".to_owned())).await;

    world.agent.once().await.expect_success();

    // Docker's own proxy accepts connections on the published port all the time.
    let (status, body) = world.engine.http_get(world.port(), "/").await.unwrap();
    assert_eq!((status, body.trim()), (200, "hello slow"));
    let log = world.log_of(2).await;
    assert!(log.contains("port 8080 accepts a connection"), "{log}");
    world.expect_mail("1 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn a_process_without_a_handler_for_sigterm_is_replaced_at_once() {
    let world = World::start().await;
    world.agent.set("/projects/0/deploy/stop_grace", "60s");
    world.deploy_page("hello one").await;
    world.deploy_page("hello two").await;

    // As process 1 of its container it would be deaf to the signal; an init in front of it makes it hear.
    let run = world.run(4).await;
    let took = run.finished_at.unwrap() - run.started_at;
    assert!(took < chrono::TimeDelta::seconds(30), "the swap took {took}");
    world.end().await;
}

#[tokio::test]
async fn a_process_that_ignores_sigterm_is_replaced_after_its_grace() {
    let world = World::start().await;
    world.repo.commit_app(&App::IgnoresSigterm("hello deaf".to_owned())).await;
    world.agent.once().await.expect_success();
    world.expect_mail("1 deployed").await;

    world.deploy_page("hello two").await;

    let log = world.log_of(4).await;
    assert!(log.contains("its grace was over"), "{log}");
    world.end().await;
}

#[tokio::test]
async fn a_moving_tag_follows_the_newest_version() {
    let world = World::start().await;
    world.agent.set("/projects/0/image/also", json!(["latest"]));
    world.deploy_page("hello one").await;
    world.deploy_page("hello two").await;

    world.expect_tags(&["1", "2", "latest"]).await;
    let image = world.image();
    assert_eq!(world.registry.digest(&image, "latest").await, world.registry.digest(&image, "2").await);
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 ci pushed 2", "4 cd deployed 2"]).await;
    world.end().await;
}
