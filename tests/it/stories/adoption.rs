//! A container of the service's name that homeport did not make: it is a stranger's until its owner gives it away
//! with `adopt`, and then it is the first way back.

use serde_json::Value;

use crate::world::World;
use crate::world::app::APP_PORT;
use crate::world::app::App;
use crate::world::app::BASE_IMAGE;
use crate::world::assertions::in_one_line;
use crate::world::standing::Standing;

fn page(text: &str) -> App {
    App::Page(text.to_owned())
}

/// A world where a person has put the service up by hand, and how that stands.
async fn made_by_hand() -> (World, Standing) {
    let world = World::start().await;
    world.only_deploy();
    let published = format!("{}:{APP_PORT}", world.port());
    let serve =
        format!("mkdir /www; echo made by hand > /www/index.html; exec httpd -f -p {APP_PORT} -h /www");
    let run = ["run", "--detach", "--init", "--name", world.project(), "--label", "mine=yes"];
    let from = ["--publish", &published, "--env", "A=b", BASE_IMAGE, "sh", "-c", &serve];
    world.engine.docker(&[&run[..], &from[..]].concat()).await.unwrap();
    world.expect_serving("made by hand").await;
    let mine = world.standing().await;
    (world, mine)
}

fn previous(world: &World) -> String {
    format!("{}.previous", world.project())
}

/// All that its owner said about a container, which nobody else may change.
async fn made_as(world: &World, container: &str) -> Value {
    let inspected = world.engine.inspect(container).await.expect("the container is there");
    let mut config = inspected["HostConfig"].clone();
    config["RestartPolicy"] = Value::Null;
    serde_json::json!([inspected["Id"], inspected["Config"], config, inspected["Created"]])
}

#[tokio::test]
async fn a_strangers_service_is_left_alone_and_named_until_its_name_is_free() {
    let (world, mine) = made_by_hand().await;
    world.publish("1", &page("hello one")).await;

    world.agent.once().await.expect_code(1);

    assert_eq!(world.standing().await, mine);
    world.expect_serving("made by hand").await;
    world.expect_no_leftovers().await;
    assert!(world.engine.inspect(&previous(&world)).await.is_none());
    world.expect_runs(&["1 cd failed at pull 1"]).await;
    let named = format!("a container named `{}` exists and is not homeport's", world.project());
    let mail = world.expect_mail("1 not deployed").await;
    for text in [mail.text, world.log_of(1).await] {
        let text = in_one_line(&text);
        assert!(text.contains(&named) && text.contains("\"adopt\": true"), "{text}");
    }
    // Neither does it count as something that homeport has deployed.
    assert_eq!(world.agent.status_json().await["projects"][0]["current"], Value::Null);

    world.engine.remove(world.project()).await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello one").await;
    world.expect_mail("1 deployed").await;
    world.expect_no_leftovers().await;
    world.end().await;
}

#[tokio::test]
async fn an_adopted_service_makes_way_and_is_kept_whole_as_the_first_way_back() {
    let (world, mine) = made_by_hand().await;
    world.agent.set("/projects/0/deploy/adopt", true);
    let before = made_as(&world, world.project()).await;

    let one = world.deploy("1", &page("hello one")).await;

    world.expect_serving("hello one").await;
    world.expect_untouched(&one).await;
    assert_eq!(made_as(&world, &previous(&world)).await, before);
    assert!(world.log_of(1).await.contains("taking over"), "{}", world.log_of(1).await);
    world.agent.once().await.expect_success();
    world.expect_untouched(&one).await;
    world.expect_runs(&["1 cd deployed 1"]).await;

    // Given away is given away, also when the word is taken back.
    world.agent.unset("/projects/0/deploy/adopt");
    let two = world.deploy("2", &page("hello two")).await;
    world.expect_untouched(&two).await;
    assert_eq!(world.engine.inspect(&previous(&world)).await.unwrap()["Id"], one.id.as_str());
    assert!(world.engine.inspect(&mine.id).await.is_none(), "the first way back is left over");
    world.end().await;
}

#[tokio::test]
async fn an_adopted_service_comes_back_when_the_first_image_is_bad_and_makes_way_for_a_good_one() {
    let (world, mine) = made_by_hand().await;
    world.agent.set("/projects/0/deploy/adopt", true);
    let before = made_as(&world, world.project()).await;
    world.publish("1", &App::ExitsAtOnce).await;

    world.agent.once().await.expect_code(1);

    world.expect_serving("made by hand").await;
    world.expect_back(&mine).await;
    assert_eq!(made_as(&world, world.project()).await, before);
    assert!(world.engine.inspect(&previous(&world)).await.is_none());
    world.expect_runs(&["1 cd rolled-back at prove 1"]).await;
    let mail = world.expect_mail("1 rolled back: adopted is running again").await;
    assert!(mail.text.contains("cannot read the settings"), "{}", mail.text);
    let back = world.standing().await;
    world.agent.once().await.expect_success();
    world.expect_untouched(&back).await;
    assert_eq!(world.runs().await.len(), 1, "a quarantined image is not tried again");

    let two = world.deploy("2", &page("hello two")).await;
    world.expect_serving("hello two").await;
    world.expect_untouched(&two).await;
    assert_eq!(made_as(&world, &previous(&world)).await, before);
    world.end().await;
}

#[tokio::test]
async fn an_adopted_service_comes_back_when_the_first_image_fails_in_its_watch() {
    let (world, mine) = made_by_hand().await;
    world.agent.set("/projects/0/deploy/adopt", true);
    world.agent.set("/projects/0/deploy/watch", "60s");
    world.publish("1", &App::CrashesAfter(2500)).await;
    let agent = world.agent.spawn_run().await;
    world.expect_mail("1 deployed").await;

    world.expect_mail("1 rolled back: adopted is running again").await;

    world.expect_serving("made by hand").await;
    world.expect_back(&mine).await;
    let runs = ["1 cd deployed 1", "2 cd rolled-back at prove 1"];
    world.wait_for_next_hub_poll().await;
    world.wait_for_next_hub_poll().await;
    world.expect_runs(&runs).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_container_beside_the_adopted_one_is_nobodys_to_take() {
    let (world, mine) = made_by_hand().await;
    world.agent.set("/projects/0/deploy/adopt", true);
    let run = ["run", "--detach", "--name", &previous(&world), BASE_IMAGE, "sleep", "100000"];
    world.engine.docker(&run).await.unwrap();
    let beside = Standing::of(&world.engine.inspect(&previous(&world)).await.unwrap());
    world.publish("1", &page("hello one")).await;

    world.agent.once().await.expect_code(1);

    assert_eq!(world.standing().await, mine);
    assert_eq!(Standing::of(&world.engine.inspect(&previous(&world)).await.unwrap()), beside);
    world.expect_runs(&["1 cd failed at swap 1"]).await;
    let mail = world.expect_mail("1 not deployed, swap failed: adopted keeps running").await;
    let text = in_one_line(&mail.text);
    let named = format!("a container named `{}` exists and is not homeport's", previous(&world));
    assert!(text.contains(&named), "{text}");

    world.engine.rename(&previous(&world), &format!("{}-mine", world.project())).await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello one").await;
    world.expect_mail("1 deployed").await;
    world.engine.remove(&format!("{}-mine", world.project())).await;
    world.expect_no_leftovers().await;
    world.end().await;
}
