//! A build takes only what what serves can spare.

use crate::world::World;

#[tokio::test]
async fn a_build_that_would_fill_the_disk_or_the_memory_does_not_start() {
    let world = World::start().await;
    world.agent.set("/docker/min_free_disk", "900TB");
    world.repo.commit_page("hello one").await;
    world.agent.once().await.expect_code(1);
    let mail = world.expect_mail("build failed").await;
    assert!(mail.text.contains("at least 900000000 MB are needed"), "{}", mail.text);
    assert!(mail.text.contains("docker.min_free_disk"), "{}", mail.text);
    // What makes the next test quick goes before what serves is in danger.
    let removed = format!("the disk has too little room: removed homeport-cache-{}", world.project());
    assert!(world.log_of(1).await.contains(&removed), "{}", world.log_of(1).await);

    world.agent.set("/docker/min_free_disk", "1MB");
    world.agent.set("/docker/min_free_memory", "900TB");
    world.agent.once().await.expect_code(1);
    let mail = world.expect_mail("build failed").await;
    let wanted = "of memory are available: a build needs at least 900000000 MB";
    assert!(mail.text.contains(wanted), "{}", mail.text);

    world.agent.unset("/docker/min_free_memory");
    world.agent.once().await.expect_success();

    world
        .expect_runs(&["1 ci failed at build", "2 ci failed at build", "3 ci pushed 1", "4 cd deployed 1"])
        .await;
    world.expect_mail("FIXED: 1 deployed").await;
    world.end().await;
}
