//! The configuration of the container changed: what serves is deployed once more with it, through the same
//! transaction as a new image, and a change that does not hold is undone and not repeated.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::world::World;
use crate::world::agent::RunningAgent;
use crate::world::app::APP_PORT;
use crate::world::app::App;
use crate::world::assertions::in_one_line;
use crate::world::port::ReservedPort;
use crate::world::standing::Standing;

const DEADLINE: Duration = Duration::from_secs(30);

/// A world where 1 serves and an agent runs; it exits when its environment has `BROKEN`.
async fn serving() -> (World, Standing, RunningAgent) {
    let world = World::start().await;
    world.only_deploy();
    let one = world.deploy("1", &App::ExitsIfTold("hello one".to_owned())).await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    (world, one, agent)
}

/// The owner changes a key of `deploy` and saves the file.
fn save(world: &World, key: &str, value: impl Into<Value>) {
    world.agent.set(&format!("/projects/0/deploy/{key}"), value);
    world.agent.write_config();
}

/// Polls go by, and these are the runs still.
async fn stays_at(world: &World, runs: &[&str]) {
    for _ in 0..3 {
        world.wait_for_next_hub_poll().await;
    }
    world.expect_runs(runs).await;
}

async fn previous(world: &World) -> Value {
    world.engine.inspect(&format!("{}.previous", world.project())).await.expect("there is a way back")
}

const FIRST: &str = "1 cd deployed 1";

#[tokio::test]
async fn each_changed_key_has_the_service_deployed_once_more() {
    let (world, mut before, agent) = serving().await;
    let pages = world.folder().join("pages");
    std::fs::create_dir(&pages).unwrap();
    std::fs::write(pages.join("index.html"), "hello volume\n").unwrap();
    let port = ReservedPort::find();
    let changes = [
        ("env", json!({"GREETING": "good day"})),
        ("labels", json!({"traefik.enable": "true"})),
        ("volumes", json!([format!("{}:/app:ro", pages.display())])),
        ("ports", json!([format!("{}:{APP_PORT}", port.number())])),
    ];
    let mut runs = vec![FIRST];
    for (number, (key, value)) in (2..).zip(changes) {
        save(&world, key, value);

        world.expect_mail("1 deployed again").await;

        runs.push(["2 cd deployed 1", "3 cd deployed 1", "4 cd deployed 1", "5 cd deployed 1"][number - 2]);
        stays_at(&world, &runs).await;
        let log = world.log_of(number as u64).await;
        assert!(log.contains(&format!("the configuration has changed ({key})")), "{log}");
        let now = world.standing().await;
        world.expect_untouched(&now).await;
        assert_eq!(previous(&world).await["Id"], before.id.as_str());
        before = now;
    }
    let inspected = world.engine.inspect(world.project()).await.unwrap();
    let env = inspected["Config"]["Env"].as_array().unwrap();
    assert!(env.contains(&json!("GREETING=good day")), "{env:?}");
    assert_eq!(inspected["Config"]["Labels"]["traefik.enable"], "true");
    world.engine.wait_until_serving(port.number(), "hello volume", DEADLINE).await.unwrap();
    world.expect_not_serving().await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_change_that_does_not_hold_is_undone_and_waits_for_the_next_change() {
    let (world, one, agent) = serving().await;
    save(&world, "env", json!({"BROKEN": "yes"}));

    let mail = world.expect_mail("1 rolled back: 1 is running again").await;

    assert!(mail.text.contains("told to break"), "{}", mail.text);
    let text = in_one_line(&mail.text);
    assert!(text.contains("until the configuration is changed again"), "{text}");
    world.expect_back(&one).await;
    world.expect_serving("hello one").await;
    let mut runs = vec![FIRST, "2 cd rolled-back at prove 1"];
    stays_at(&world, &runs).await;
    let status = world.agent.status_json().await;
    assert_eq!(status["projects"][0]["current"]["container_id"], one.id.as_str());
    // A restart keeps to it.
    assert!(agent.terminate().await.success());
    world.agent.once().await.expect_success();
    world.expect_runs(&runs).await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;

    save(&world, "env", json!({"MENDED": "yes"}));

    world.expect_mail("1 deployed again").await;
    runs.push("3 cd deployed 1");
    stays_at(&world, &runs).await;
    let now = world.standing().await;
    world.expect_untouched(&now).await;
    assert_eq!(previous(&world).await["Id"], one.id.as_str());
    world.expect_serving("hello one").await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_change_that_is_taken_back_by_hand_after_it_failed_leads_to_no_run() {
    let (world, one, agent) = serving().await;
    save(&world, "env", json!({"BROKEN": "yes"}));
    world.expect_mail("1 rolled back: 1 is running again").await;

    world.agent.unset("/projects/0/deploy/env");
    world.agent.write_config();

    agent.wait_for_stderr("the changed configuration is in force").await;
    stays_at(&world, &[FIRST, "2 cd rolled-back at prove 1"]).await;
    world.expect_back(&one).await;
    assert!(agent.terminate().await.success());
    // What failed was the configuration, so a newer image goes in as ever.
    world.deploy("2", &App::Page("hello two".to_owned())).await;
    world.expect_serving("hello two").await;
    world.end().await;
}

#[tokio::test]
async fn a_question_that_nothing_answers_is_not_asked_of_the_way_back_and_a_better_one_is_tried() {
    let (world, one, agent) = serving().await;
    world.agent.set("/projects/0/deploy/prove/timeout", "2s");
    world.agent.set("/projects/0/deploy/prove/port", 81);
    save(&world, "env", json!({"GREETING": "good day"}));

    world.expect_mail("1 rolled back: 1 is running again").await;

    world.expect_back(&one).await;
    world.expect_serving("hello one").await;
    let mut runs = vec![FIRST, "2 cd rolled-back at prove 1"];
    stays_at(&world, &runs).await;

    save(&world, "prove/port", APP_PORT);

    world.expect_mail("1 deployed again").await;
    runs.push("3 cd deployed 1");
    stays_at(&world, &runs).await;
    // It is no part of a container, so alone it is no reason to deploy.
    world.agent.unset("/projects/0/deploy/prove/port");
    world.agent.write_config();
    stays_at(&world, &runs).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_moved_port_behind_which_nothing_answers_leaves_the_service_where_it_was() {
    let (world, one, agent) = serving().await;
    let port = ReservedPort::find();
    world.agent.set("/projects/0/deploy/prove/timeout", "2s");
    save(&world, "ports", json!([format!("{}:81", port.number())]));

    world.expect_mail("1 rolled back: 1 is running again").await;

    world.expect_back(&one).await;
    world.expect_serving("hello one").await;
    let mut runs = vec![FIRST, "2 cd rolled-back at prove 1"];
    stays_at(&world, &runs).await;

    save(&world, "ports", json!([format!("{}:{APP_PORT}", port.number())]));

    world.expect_mail("1 deployed again").await;
    world.engine.wait_until_serving(port.number(), "hello one", DEADLINE).await.unwrap();
    world.expect_not_serving().await;
    runs.push("3 cd deployed 1");
    stays_at(&world, &runs).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_change_that_fails_in_its_watch_is_undone_and_waits_for_the_next_change() {
    let world = World::start().await;
    world.only_deploy();
    let one = world.deploy("1", &App::Healthy("hello one".to_owned())).await;
    world.agent.set("/projects/0/deploy/watch", "60s");
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    save(&world, "env", json!({"GREETING": "good day"}));
    world.expect_mail("1 deployed again").await;

    world.engine.docker(&["exec", world.project(), "touch", "/sick"]).await.unwrap();

    world.expect_mail("1 rolled back: 1 is running again").await;
    world.expect_back(&one).await;
    let mut runs = vec![FIRST, "2 cd deployed 1", "3 cd rolled-back at prove 1"];
    stays_at(&world, &runs).await;
    let status = world.agent.status_json().await;
    assert_eq!(status["projects"][0]["current"]["container_id"], one.id.as_str());

    save(&world, "env", json!({"GREETING": "good evening"}));
    world.expect_mail("1 deployed again").await;
    runs.push("4 cd deployed 1");
    stays_at(&world, &runs).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

async fn names(world: &World) -> Vec<String> {
    let mut names: Vec<String> = world.engine.containers().await.into_iter().map(|c| c.name).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_changed_container_name_moves_the_service_with_its_way_back() {
    let world = World::start().await;
    world.only_deploy();
    let one = world.deploy("1", &App::Page("hello one".to_owned())).await;
    let two = world.deploy("2", &App::Page("hello two".to_owned())).await;
    let moved = format!("{}-moved", world.project());
    world.agent.set("/projects/0/deploy/container", moved.as_str());

    world.agent.once().await.expect_success();

    world.expect_mail("2 deployed again").await;
    world.expect_serving("hello two").await;
    let way_back = format!("{moved}.previous");
    assert_eq!(names(&world).await, [moved.clone(), way_back.clone()]);
    assert_eq!(world.engine.inspect(&way_back).await.unwrap()["Id"], two.id.as_str());
    assert!(world.engine.inspect(&one.id).await.is_none(), "the former way back is left over");
    let status = world.agent.status_json().await;
    assert_eq!(status["projects"][0]["current"]["container"], moved.as_str());
    world.agent.once().await.expect_success();
    world.expect_runs(&[FIRST, "2 cd deployed 2", "3 cd deployed 2"]).await;
    world.end().await;
}

#[tokio::test]
async fn a_changed_container_name_that_comes_with_a_bad_change_leaves_the_service_under_its_old_one() {
    let (world, one, agent) = serving().await;
    let moved = format!("{}-moved", world.project());
    world.agent.set("/projects/0/deploy/container", moved.as_str());
    save(&world, "env", json!({"BROKEN": "yes"}));

    world.expect_mail("1 rolled back: 1 is running again").await;

    world.expect_back(&one).await;
    world.expect_serving("hello one").await;
    assert_eq!(names(&world).await, [world.project()]);
    let mut runs = vec![FIRST, "2 cd rolled-back at prove 1"];
    stays_at(&world, &runs).await;

    world.agent.unset("/projects/0/deploy/env");
    world.agent.write_config();
    world.expect_mail("1 deployed again").await;
    assert_eq!(names(&world).await, [moved.clone(), format!("{moved}.previous")]);
    runs.push("3 cd deployed 1");
    stays_at(&world, &runs).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_project_taken_out_and_put_back_goes_on_where_it_stood() {
    let (world, one, agent) = serving().await;
    let mine = world.agent.config()["projects"][0].clone();
    let mut other = mine.clone();
    other["name"] = json!(format!("{}-other", world.project()));
    other["deploy"]["container"] = other["name"].clone();
    other["deploy"]["ports"] = json!([format!("{}:{APP_PORT}", ReservedPort::find().number())]);
    world.agent.set("/projects", json!([other]));
    world.agent.write_config();

    let removed = format!("{} is no longer configured: its container is left running", world.project());
    agent.wait_for_stderr(&removed).await;

    world.expect_mail("-other] 1 deployed").await;
    world.expect_serving("hello one").await;
    assert_eq!(world.standing().await, one);

    world.agent.set("/projects", json!([mine]));
    world.agent.write_config();
    agent.wait_for_stderr(&format!("{}-other is no longer configured", world.project())).await;
    stays_at(&world, &[FIRST, "2 cd deployed 1"]).await;
    assert_eq!(world.standing().await, one);
    assert!(agent.terminate().await.success());
    let two = world.deploy("2", &App::Page("hello two".to_owned())).await;
    world.expect_serving("hello two").await;
    assert_eq!((two.state.as_str(), two.policy.as_str()), ("running", "always"));
    assert_eq!(previous(&world).await["Id"], one.id.as_str());
    world.end().await;
}
