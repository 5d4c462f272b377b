//! What tests download is kept for the next run of the same project, and nothing of it lasts longer than it is wanted.

use serde_json::json;

use crate::world::World;

/// A test that says whether it finds what the one before it kept. It is red, so that nothing is built.
const LOOK: &str = "if [ -e \"$PIP_CACHE_DIR/kept\" ]; then echo was kept; else echo is new; \
                    mkdir -p \"$PIP_CACHE_DIR\"; : >\"$PIP_CACHE_DIR/kept\"; fi; exit 1";

/// The run finds this in its cache.
async fn expect_next_run(world: &World, number: u64, wanted: &str) {
    world.agent.once().await.expect_code(1);
    let log = world.log_of(number).await;
    assert!(log.lines().any(|line| line.ends_with(&format!("| {wanted}"))), "{number}: {log}");
}

async fn caches(world: &World) -> Vec<String> {
    let filter = format!("name=homeport-cache-{}", world.prefix());
    let listed = world.engine.docker(&["volume", "ls", "--quiet", "--filter", &filter]).await.unwrap();
    listed.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_project_finds_what_its_last_run_kept_and_no_other_does() {
    let world = World::start().await;
    world.agent.unset("/email");
    world.agent.set("/projects/0/test/commands", json!([LOOK]));
    let own = format!("homeport-cache-{}", world.project());
    world.repo.commit_page("hello one").await;
    expect_next_run(&world, 1, "is new").await;
    world.repo.commit_page("hello two").await;
    expect_next_run(&world, 2, "was kept").await;
    assert_eq!(caches(&world).await, [own.as_str()]);

    let first = world.agent.config()["projects"][0].clone();
    let mut second = first.clone();
    second["name"] = json!(format!("{}-other", world.project()));
    second["image"]["name"] = json!(format!("{}/other", world.prefix()));
    second.as_object_mut().unwrap().remove("deploy");
    second["poll"].as_object_mut().unwrap().remove("docker_hub");
    world.agent.set("/projects", json!([first, second]));
    expect_next_run(&world, 3, "is new").await;
    assert_eq!(caches(&world).await, [own.clone(), format!("{own}-other")]);

    // The owner takes the second project out and removes the volumes that no container uses.
    world.agent.set("/projects", json!([first]));
    world.engine.docker(&["volume", "rm", &own]).await.unwrap();
    world.repo.commit_page("hello three").await;
    expect_next_run(&world, 4, "is new").await;
    assert_eq!(caches(&world).await, [own.as_str()]);

    world.agent.set("/projects/0/test/cache", false);
    world.repo.commit_page("hello four").await;
    expect_next_run(&world, 5, "is new").await;
    assert_eq!(caches(&world).await, Vec::<String>::new());
    world.end().await;
}

#[tokio::test]
async fn a_volume_of_somebody_else_is_neither_used_nor_removed() {
    let world = World::start().await;
    let name = format!("homeport-cache-{}", world.project());
    world.engine.docker(&["volume", "create", &name]).await.unwrap();
    world.repo.commit_page("hello one").await;

    world.agent.once().await.expect_success();

    let log = world.log_of(1).await;
    assert!(
        log.contains(&format!("without a dependency cache: the volume {name} is not this project's")),
        "{log}"
    );
    assert_eq!(caches(&world).await, [name]);
    world.expect_mail("1 deployed").await;
    world.end().await;
}
