//! Docker: the sample images behave as they are called, BuildKit builds them offline, and an engine of one's own
//! can be killed and cut from its power.

use std::time::Duration;
use std::time::Instant;

use bollard::Docker;
use bollard::query_parameters::BuildImageOptionsBuilder;
use bollard::query_parameters::BuilderVersion;
use futures_util::StreamExt;

use crate::world::Options;
use crate::world::World;
use crate::world::app::App;
use crate::world::app::BASE_IMAGE;
use crate::world::assertions::eventually;
use crate::world::claim;

/// Runs a version of the app at the world's port under the project's name, as an agent would: with an init.
async fn run(world: &World, app: &App, options: &[&str]) {
    let image = format!("{}/sample:1", world.prefix());
    world.engine.build(app, &image).await;
    let ports = format!("{}:8080", world.port());
    let fixed = ["run", "--detach", "--init", "--name", world.project(), "--publish", &ports];
    world.engine.docker(&[&fixed[..], options, &[image.as_str()][..]].concat()).await.unwrap();
}

async fn wait_for(world: &World, what: &str, pointer: &str, value: &str) {
    let reached = eventually(async || {
        let inspected = world.engine.inspect(world.project()).await.ok_or("there is no container")?;
        let now = inspected.pointer(pointer).map(ToString::to_string).unwrap_or_default();
        if now == value { Ok(()) } else { Err(now) }
    });
    if let Err(last) = reached.await {
        panic!("{what}: {pointer} is {last}, not {value}");
    }
}

#[tokio::test]
async fn the_good_versions_serve_their_text() {
    let world = World::start().await;
    let text = "hello".to_owned();
    for app in [App::Page(text.clone()), App::StartsSlowly(300, text.clone()), App::IgnoresSigterm(text)] {
        run(&world, &app, &[]).await;
        world.expect_serving("hello").await;
        let stopping = Instant::now();
        world.engine.docker(&["stop", "--time", "2", world.project()]).await.unwrap();
        let took = stopping.elapsed();
        assert_eq!(took > Duration::from_secs(2), matches!(app, App::IgnoresSigterm(_)), "{app:?}: {took:?}");
        world.engine.remove(world.project()).await;
        world.expect_not_serving().await;
    }
}

#[tokio::test]
async fn the_health_checks_say_what_they_are_called() {
    let world = World::start().await;
    run(&world, &App::Healthy("well".to_owned()), &[]).await;
    wait_for(&world, "healthy", "/State/Health/Status", "\"healthy\"").await;
    world.engine.docker(&["exec", world.project(), "touch", "/sick"]).await.unwrap();
    wait_for(&world, "sick", "/State/Health/Status", "\"unhealthy\"").await;
    world.engine.remove(world.project()).await;
    run(&world, &App::Unhealthy, &[]).await;
    wait_for(&world, "unhealthy", "/State/Health/Status", "\"unhealthy\"").await;
}

#[tokio::test]
async fn the_broken_versions_break_as_they_are_called() {
    let world = World::start().await;
    run(&world, &App::ExitsAtOnce, &[]).await;
    wait_for(&world, "exits", "/State/ExitCode", "3").await;
    assert!(world.engine.logs(world.project()).await.contains("cannot read the settings"));
    world.engine.remove(world.project()).await;

    run(&world, &App::CrashesAfter(200), &["--restart", "always"]).await;
    world.expect_serving("CrashesAfter").await;
    wait_for(&world, "crashes again and again", "/RestartCount", "2").await;
    world.engine.remove(world.project()).await;

    run(&world, &App::NeverAnswers, &[]).await;
    wait_for(&world, "runs", "/State/Running", "true").await;
    assert!(world.engine.http_get(world.port(), "/").await.is_err());
    world.engine.remove(world.project()).await;

    run(&world, &App::Answers500, &[]).await;
    let answered = eventually(async || match world.engine.http_get(world.port(), "/").await {
        Ok((500, _)) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    answered.await.unwrap();

    let build_error = App::BuildError.files();
    let dockerfile = &build_error.iter().find(|(path, _)| path == "Dockerfile").unwrap().1;
    assert!(dockerfile.contains("exit 7"));
}

#[tokio::test]
async fn buildkit_builds_a_sample_offline_and_says_where_it_fails() {
    let world = World::start().await;
    let docker = Docker::connect_with_socket(world.engine.host(), 30, bollard::API_DEFAULT_VERSION).unwrap();
    let build = async |app: App, name: &str| -> Result<(), String> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in app.files() {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o755);
            archive.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        let body = bollard::body_full(archive.into_inner().unwrap().into());
        let options = BuildImageOptionsBuilder::default()
            .t(name)
            .version(BuilderVersion::BuilderBuildKit)
            .session(&format!("{}-{}", world.prefix(), name.len()))
            .build();
        let mut stream = docker.build_image(options, None, Some(body));
        while let Some(step) = stream.next().await {
            step.map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    let image = format!("{}/buildkit:1", world.prefix());
    build(App::Page("by buildkit".to_owned()), &image).await.unwrap();
    assert_eq!(world.engine.images().await, [image]);
    let error = build(App::BuildError, &format!("{}/broken:1", world.prefix())).await.unwrap_err();
    assert!(error.contains("exit code: 7"), "{error}");
}

#[tokio::test]
async fn nothing_of_a_world_is_left_in_the_engine() {
    let world = World::start().await;
    run(&world, &App::Page("hello".to_owned()), &["--label", "a=b"]).await;
    assert_eq!(world.engine.containers().await.len(), 1);
    world.expect_no_leftovers().await;
    let prefix = world.prefix().to_owned();
    let neighbour = World::start().await;
    world.end().await;
    let all = ["ps", "-a", "--format", "{{.Names}}"];
    assert!(!neighbour.engine.docker(&all).await.unwrap().contains(&prefix));
    let images = ["images", "--format", "{{.Repository}}"];
    assert!(!neighbour.engine.docker(&images).await.unwrap().contains(&prefix));
}

#[tokio::test]
async fn what_a_killed_test_left_behind_is_removed_by_the_next_world() {
    // No process has such an id: above the kernel's highest.
    let dead = format!("hp-{}-0w", (1 << 22) + std::process::id());
    let world = World::start().await;
    let run = ["run", "--detach", "--init", "--name", &dead, BASE_IMAGE, "sleep", "1000"];
    world.engine.docker(&run).await.unwrap();
    std::fs::create_dir(claim::folder().join(&dead)).unwrap();
    std::fs::write(claim::folder().join(format!("{dead}.claim")), "").unwrap();

    World::start().await.end().await;
    assert_eq!(world.engine.inspect(&dead).await, None);
    assert!(!claim::folder().join(&dead).exists());
}

#[tokio::test]
async fn an_engine_of_its_own_survives_a_kill_and_a_power_cut() {
    let world = World::start_with(Options { private_engine: true, ..Options::default() }).await;
    let engine = world.private_engine.as_ref().unwrap();
    world.publish("1", &App::Page("pushed over the cable".to_owned())).await;
    world.expect_tags(&["1"]).await;
    let image = format!("{}/{}:1", world.registry.address(), world.image());
    let ports = format!("{}:8080", world.port());
    // Without an init the restarted engine would wait ten seconds for what it finds running to stop.
    let how = ["run", "--detach", "--init", "--restart", "always", "--publish", &ports];
    world.engine.docker(&[&how[..], &["--name", world.project(), &image]].concat()).await.unwrap();
    world.expect_serving("pushed over the cable").await;

    let asked = [engine.enter(), ["busybox", "wget", "-q", "-O", "-"].map(str::to_owned).to_vec()].concat();
    let output = std::process::Command::new(&asked[0])
        .args(&asked[1..])
        .arg(format!("{}/rate_limit", world.github.url()))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("remaining"), "{output:?}");

    engine.kill();
    assert!(world.engine.docker(&["ps"]).await.is_err());
    engine.restart().await;
    world.expect_serving("pushed over the cable").await;

    engine.cut_power();
    world.expect_not_serving().await;
    engine.restart().await;
    world.expect_serving("pushed over the cable").await;
    world.end().await;
}
