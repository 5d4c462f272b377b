//! The story: a first commit goes live, a second breaks a test, a third never comes up, a fourth goes live.

use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use crate::app;
use crate::scene::Scene;
use crate::tell;
use crate::world::World;
use crate::world::mail::Mail;

/// What all names in this story begin with.
pub const NAME: &str = "shop";

/// The longest line of the configuration.
const LINE: usize = 76;
/// How much of a run log is shown.
const LOG_LINES: usize = 20;

/// How long the shop was away, as the visitor saw it and as homeport's mail says.
struct Absence {
    what: &'static str,
    seen: Duration,
    reported: String,
}

/// Tells it, and fails where something is not as told.
pub async fn tell() {
    let world = introduce().await;
    let scene = open_the_shop(world).await;
    break_a_test(&scene).await;
    let rolled_back = never_come_up(&scene).await;
    let replaced = go_on(&scene).await;
    look_back(&scene).await;
    compare(&[rolled_back, replaced]);
    end(scene).await;
}

async fn introduce() -> World {
    tell::line(
        "homeport keeps a tiny web shop on this machine up to date. GitHub and Docker Hub are simulated;",
    );
    tell::line(
        "git, Docker, the registry, the mail server and homeport itself are real. Lines with a time are its journal.",
    );
    let world = Scene::build().await;
    tell::heading("What homeport was told: config.json");
    tell::quote(&overview(&world.agent.config(), 0));
    tell::line(
        "Tokens and passwords stand in files of their own. The times are shorter than an owner would choose.",
    );
    world
}

async fn open_the_shop(world: World) -> Scene {
    tell::heading("Commit 1 goes live");
    Scene::push(&world, &app::OPEN_THE_SHOP).await;
    tell::command("homeport check");
    world.agent.write_config();
    let checked = world.agent.command(&["check"]).await.expect_success();
    tell::quote(&checked.stdout);
    tell::command("homeport run &");
    let scene = Scene::enter(world).await;
    scene.mail("1 deployed").await;
    scene.page("Today: bread.").await;
    scene.world.expect_tags(&["1"]).await;
    scene
}

async fn break_a_test(scene: &Scene) {
    tell::heading("Commit 2 breaks a test and stops there");
    let began = Instant::now();
    Scene::push(&scene.world, &app::MISSPELL_THE_GREETING).await;
    let mail = scene.mail("tests failed").await;
    assert!(mail.subject.contains("1 keeps running"), "the subject tells what serves: {}", mail.subject);
    assert!(mail.text.contains("Godo morning!"), "the mail tells what the test said:\n{}", mail.text);
    assert!(!mail.attachments.is_empty(), "the run log comes with the mail");
    scene.page("Today: bread.").await;
    scene.world.expect_tags(&["1"]).await;
    let wait = scene.absence_since(began).await;
    assert!(wait < Duration::from_secs(1), "the visitor waited {wait:?} though nothing was swapped");
    tell::line("No image was pushed, and the visitor, who asks every 5 ms, always got the old page.");
}

async fn never_come_up(scene: &Scene) -> Absence {
    tell::heading("Commit 3 passes its tests, but never comes up, and is rolled back");
    let began = Instant::now();
    Scene::push(&scene.world, &app::WAIT_FOR_A_FILE).await;
    let mail = scene.mail("rolled back").await;
    assert!(mail.text.contains("waiting for /data/opening-hours"), "the mail quotes the app:\n{}", mail.text);
    scene.page("Today: bread.").await;
    scene.world.expect_tags(&["1", "2"]).await;
    scene.world.expect_running(&digest(scene, "1").await).await;
    scene.world.expect_no_leftovers().await;
    let seen = scene.absence_since(began).await;
    assert!(seen >= Duration::from_secs(3), "the proof was given {seen:?}, less than its time");
    Absence { what: "rollback of 2 to 1, after 3 s of trying", seen, reported: away(&mail) }
}

async fn go_on(scene: &Scene) -> Absence {
    tell::heading("Commit 4 goes live");
    let began = Instant::now();
    Scene::push(&scene.world, &app::DO_WITHOUT_THE_FILE).await;
    let mail = scene.mail("3 deployed").await;
    scene.page("Today: bread and cake.").await;
    scene.world.expect_tags(&["1", "2", "3"]).await;
    scene.world.expect_running(&digest(scene, "3").await).await;
    scene.world.expect_no_leftovers().await;
    let seen = scene.absence_since(began).await;
    Absence { what: "swap of 1 for 3", seen, reported: away(&mail) }
}

async fn look_back(scene: &Scene) {
    tell::heading("Looking back");
    let status = scene.ask(&["status"]).await;
    assert!(status.contains("agent: running"), "the status says that the agent runs");
    let runs = scene.ask(&["runs"]).await;
    // Four commits were tested; three images were made, and each was tried.
    assert_eq!(runs.lines().count(), 1 + 4 + 3, "every run is listed");
    let logs = scene.world.agent.run_logs();
    assert_eq!(logs.len(), 4 + 3, "every run has a log");
    tell::command("ls -R log_dir");
    logs.iter().for_each(|(name, text)| tell::quote(&format!("{name}  {} lines", text.lines().count())));
    let (_, rollback) =
        logs.iter().find(|(_, text)| text.contains("rolled back")).expect("a log of a rollback");
    tell::command("homeport logs 5 | tail");
    let lines: Vec<&str> = rollback.lines().collect();
    tell::quote(&lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"));
}

fn compare(absences: &[Absence]) {
    tell::heading("How long the shop was away");
    tell::line(&format!("  {:<42} {:>20}   homeport's mail says", "", "visitor, every 5 ms"));
    for Absence { what, seen, reported } in absences {
        tell::line(&format!("  {what:<42} {:>17} ms   {reported}", seen.as_millis()));
    }
}

async fn end(scene: Scene) {
    let Scene { agent, visitor, world, .. } = scene;
    drop(visitor);
    let status = agent.terminate().await;
    assert!(status.success(), "homeport did not end well: {status}\n{}", agent.stderr());
    drop(agent);
    world.end().await;
}

async fn digest(scene: &Scene, tag: &str) -> String {
    let image = scene.world.image();
    scene.world.registry.digest(&image, tag).await.expect("the registry has the tag")
}

/// What a mail says of the time in which nothing served.
fn away(mail: &Mail) -> String {
    let fact = mail.text.lines().find_map(|line| line.strip_prefix("Away"));
    fact.unwrap_or_else(|| panic!("the mail does not say how long the shop was away:\n{}", mail.text))
        .trim()
        .to_owned()
}

/// JSON on as few lines as can be read.
fn overview(value: &Value, indent: usize) -> String {
    let on_one_line = value.to_string();
    let inner = " ".repeat(indent + 2);
    let outer = " ".repeat(indent);
    match value {
        _ if indent + on_one_line.len() <= LINE => on_one_line,
        Value::Object(fields) => {
            let field = |(key, value)| format!("{inner}\"{key}\": {}", overview(value, indent + 2));
            format!("{{\n{}\n{outer}}}", fields.iter().map(field).collect::<Vec<_>>().join(",\n"))
        }
        Value::Array(items) => {
            let item = |value| format!("{inner}{}", overview(value, indent + 2));
            format!("[\n{}\n{outer}]", items.iter().map(item).collect::<Vec<_>>().join(",\n"))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => on_one_line,
    }
}
