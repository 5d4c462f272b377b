//! A published port that somebody else holds when the service is to be deployed for the first time: they are named,
//! and nothing is blamed, left behind or done to them.

use std::net::TcpListener;

use crate::world::World;
use crate::world::app::APP_PORT;
use crate::world::app::App;
use crate::world::app::BASE_IMAGE;
use crate::world::assertions::in_one_line;
use crate::world::standing::Standing;

/// A world where 1 is to be deployed for the first time.
async fn first_deployment() -> World {
    let world = World::start().await;
    world.only_deploy();
    world.publish("1", &App::Page("hello one".to_owned())).await;
    world
}

/// The deployment fails before anything is made, and says who holds the port.
async fn is_refused_because_of(world: &World, holder: &str) {
    world.agent.once().await.expect_code(1);

    world.expect_runs(&["1 cd failed at swap 1"]).await;
    let mail = world.expect_mail("1 not deployed, swap failed: nothing is running").await;
    let named = format!("port {} of this machine is held by {holder}", world.port());
    for text in [mail.text, world.log_of(1).await] {
        let text = in_one_line(&text);
        assert!(text.contains(&named), "{text}");
    }
}

/// Nothing was held against the image: as soon as the port is free it is deployed.
async fn is_deployed_now(world: World) {
    world.agent.once().await.expect_success();
    world.expect_serving("hello one").await;
    world.expect_mail("1 deployed").await;
    world.expect_runs(&["1 cd failed at swap 1", "2 cd deployed 1"]).await;
    world.expect_no_leftovers().await;
    world.end().await;
}

#[tokio::test]
async fn a_container_that_holds_the_port_is_named_and_left_alone() {
    let world = first_deployment().await;
    let holder = format!("{}-holder", world.prefix());
    let published = format!("{}:{APP_PORT}", world.port());
    let run = ["run", "--detach", "--init", "--name", &holder, "--publish", &published];
    world.engine.docker(&[&run[..], &[BASE_IMAGE, "sleep", "100000"]].concat()).await.unwrap();
    let before = Standing::of(&world.engine.inspect(&holder).await.unwrap());

    is_refused_because_of(&world, &format!("the container `{holder}`")).await;

    let left: Vec<String> = world.engine.containers().await.into_iter().map(|c| c.name).collect();
    assert_eq!(left, std::slice::from_ref(&holder));
    assert_eq!(Standing::of(&world.engine.inspect(&holder).await.unwrap()), before);
    world.engine.remove(&holder).await;
    is_deployed_now(world).await;
}

#[tokio::test]
async fn a_program_that_listens_on_the_port_is_named_with_its_process() {
    let world = first_deployment().await;
    let listener = TcpListener::bind(("0.0.0.0", world.port())).unwrap();
    let program = std::fs::read_to_string("/proc/self/comm").unwrap();
    let holder = format!("the program `{}` (process {})", program.trim(), std::process::id());

    is_refused_because_of(&world, &holder).await;

    assert!(world.engine.containers().await.is_empty());
    drop(listener);
    is_deployed_now(world).await;
}

#[tokio::test]
async fn its_owner_need_not_wait_for_the_next_try_once_the_port_is_free() {
    let world = first_deployment().await;
    let listener = TcpListener::bind(("0.0.0.0", world.port())).unwrap();
    let agent = world.agent.spawn_run().await;
    world.expect_mail("1 not deployed").await;
    world.wait_for_next_hub_poll().await;
    world.expect_runs(&["1 cd failed at swap 1"]).await;
    drop(listener);

    let retried = world.agent.command(&["retry", world.project(), "--wait"]).await.expect_success();

    assert!(retried.stdout.contains("nothing was held against"), "{}", retried.stdout);
    world.expect_serving("hello one").await;
    world.expect_mail("1 deployed").await;
    world.expect_runs(&["1 cd failed at swap 1", "2 cd deployed 1"]).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}
