//! First deployments with something in the way.

use std::net::TcpListener;

use crate::world::World;
use crate::world::app::App;
use crate::world::app::BASE_IMAGE;

#[tokio::test]
async fn a_first_deployment_that_fails_leaves_nothing_and_the_next_goes_through() {
    let world = World::start().await;
    world.repo.commit_app(&App::ExitsAtOnce).await;

    world.agent.once().await.expect_code(1);

    world.expect_nothing_deployed().await;
    world.expect_runs(&["1 ci pushed 1", "2 cd failed at prove 1"]).await;
    let mail = world.expect_mail("1 not deployed").await;
    assert!(mail.subject.contains("nothing is running"), "{}", mail.subject);
    assert!(mail.text.contains("cannot read the settings"), "{}", mail.text);
    assert_eq!(world.agent.status_json().await["projects"][0]["current"], serde_json::Value::Null);

    world.agent.once().await.expect_success();
    assert_eq!(world.runs().await.len(), 2, "a quarantined image is not tried again");
    world.deploy_page("hello two").await;
    world.expect_no_leftovers().await;
    world.end().await;
}

#[tokio::test]
async fn a_taken_port_is_named_and_the_image_is_not_blamed() {
    let world = World::start().await;
    let squatter = TcpListener::bind(("0.0.0.0", world.port())).unwrap();
    world.repo.commit_page("hello one").await;

    world.agent.once().await.expect_code(1);

    assert!(world.engine.containers().await.is_empty());
    world.expect_runs(&["1 ci pushed 1", "2 cd failed at swap 1"]).await;
    let mail = world.expect_mail("1 not deployed").await;
    assert!(mail.text.contains(&world.port().to_string()), "{}", mail.text);

    drop(squatter);
    world.agent.once().await.expect_success();
    world.expect_serving("hello one").await;
    world.expect_mail("1 deployed").await;
    world.expect_runs(&["1 ci pushed 1", "2 cd failed at swap 1", "3 cd deployed 1"]).await;
    world.end().await;
}

#[tokio::test]
async fn a_strangers_container_with_the_services_name_is_left_alone_and_named() {
    let world = World::start().await;
    let run = ["run", "--detach", "--name", world.project(), BASE_IMAGE, "sleep", "100000"];
    world.engine.docker(&run).await.unwrap();
    let stranger = world.standing().await;
    world.repo.commit_page("hello one").await;

    world.agent.once().await.expect_code(1);

    assert_eq!(world.standing().await, stranger);
    world.expect_no_leftovers().await;
    world.expect_runs(&["1 ci pushed 1", "2 cd failed at pull 1"]).await;
    let mail = world.expect_mail("1 not deployed").await;
    let named = format!("a container named `{}` exists and is not homeport's", world.project());
    assert!(mail.text.split_whitespace().collect::<Vec<_>>().join(" ").contains(&named), "{}", mail.text);

    world.engine.remove(world.project()).await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello one").await;
    world.expect_mail("1 deployed").await;
    world.end().await;
}
