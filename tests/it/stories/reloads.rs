//! The configuration changed while the agent runs.

use serde_json::json;

use crate::world::World;
use crate::world::app::APP_PORT;
use crate::world::app::App;
use crate::world::port::ReservedPort;

#[tokio::test]
async fn a_project_added_to_the_file_is_taken_up_without_a_restart() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    let (port, name) = (ReservedPort::find(), format!("{}-second", world.project()));
    let second = world.github.create_repository(&format!("acme/{name}")).await;
    second.commit_app(&App::Page("hello second".to_owned())).await;
    let mut project = world.agent.config()["projects"][0].clone();
    project["name"] = json!(name);
    project["repository"] = json!(second.name());
    project["image"]["name"] = json!(format!("{}/second", world.prefix()));
    project["deploy"]["container"] = json!(name);
    project["deploy"]["ports"] = json!([format!("{}:{APP_PORT}", port.number())]);
    let first = world.agent.config()["projects"][0].clone();

    world.agent.set("/projects", json!([first, project]));
    world.agent.write_config();

    let deadline = std::time::Duration::from_secs(30);
    world.engine.wait_until_serving(port.number(), "hello second", deadline).await.unwrap();
    world.expect_mail(&format!("[{name}] 1 deployed")).await;
    world.expect_serving("hello one").await;
    assert_eq!(world.standing().await, one);
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_bad_edit_is_refused_aloud_and_the_old_file_stays_in_force() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    let good = world.agent.config();

    world.agent.set("/projects/0/deploy/ports", json!(["99999:8080"]));
    world.agent.set("/projects/0/pol", json!({}));
    world.agent.write_config();

    agent.wait_for_stderr("the changed configuration is refused, the old one stays in force").await;
    agent.wait_for_stderr("99999").await;
    agent.wait_for_stderr("`pol`").await;
    world.repo.commit_page("hello two").await;
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    // Commands read the file themselves, so the good one comes back first.
    for (key, value) in good.as_object().unwrap() {
        world.agent.set(&format!("/{key}"), value.clone());
    }
    world.agent.write_config();
    agent.wait_for_stderr("the changed configuration is in force").await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_hangup_applies_a_changed_poll_at_once() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    world.agent.set("/projects/0/poll", json!({"github": "1h", "docker_hub": "1h"}));
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    world.wait_until_quiet().await;
    world.agent.set("/projects/0/poll/github", "300ms");
    world.agent.write_config();
    agent.signal("HUP");

    agent.wait_for_stderr("the changed configuration is in force").await;
    for _ in 0..3 {
        world.wait_for_next_poll("GET", "/commits/heads/main").await;
    }
    world.repo.commit_page("hello two").await;
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_project_taken_out_of_the_file_is_left_running() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    let mut other = world.agent.config()["projects"][0].clone();
    other["name"] = json!(format!("{}-other", world.project()));
    other["deploy"]["container"] = json!(format!("{}-other", world.project()));
    other["deploy"]["ports"] = json!([format!("{}:{APP_PORT}", ReservedPort::find().number())]);
    other["branch"] = json!("nowhere");
    other["image"]["name"] = json!(format!("{}/other", world.prefix()));

    world.agent.set("/projects", json!([other]));
    world.agent.write_config();

    agent.wait_for_stderr("is no longer configured: its container is left running").await;
    world.expect_serving("hello one").await;
    assert_eq!(world.standing().await, one);
    assert!(agent.terminate().await.success());
    world.end().await;
}

impl World {
    /// Both sources have answered the polls with which the agent began.
    async fn wait_until_quiet(&self) {
        let quiet = crate::world::assertions::eventually(async || {
            let all = [self.github.requests().all(), self.hub.requests().all()].concat();
            if all.iter().all(|request| request.status.is_some()) { Ok(()) } else { Err("a poll is open") }
        });
        quiet.await.unwrap();
    }
}
