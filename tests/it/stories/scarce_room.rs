//! A build and a checkout take only what what serves can spare.

use std::process::Command;

use crate::world::World;
use crate::world::assertions::in_one_line;
use crate::world::github::Fault;
use crate::world::small_disk::SmallDisk;

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

#[tokio::test]
async fn a_commit_is_not_blamed_for_a_disk_that_others_fill() {
    let world = World::start().await;
    let Some(disk) = SmallDisk::mount(&world.agent.state_dir(), 300) else {
        eprintln!("not tested: this user may not mount");
        return;
    };
    world.agent.set("/docker/min_free_disk", "100MB");
    world.repo.commit_page("hello blameless").await;
    world.github.fault_on("git-upload-pack", Fault::HangForever);
    let agent = world.agent.spawn(&["once"]).await;
    world.wait_for_stage("ci", "checkout").await;

    let neighbour = world.agent.state_dir().join("neighbour");
    let file = neighbour.to_str().unwrap();
    let filled = Command::new("fallocate").args(["-l", "250M", file]).status();
    assert!(filled.unwrap().success());

    assert_eq!(agent.wait_end().await.code(), Some(1));
    let mail = world.expect_mail("checkout failed").await;
    let text = in_one_line(&mail.text);
    assert!(
        text.contains("(0 MB are the commit's)") && text.contains("Free some room on that disk"),
        "{text}"
    );
    std::fs::remove_file(neighbour).unwrap();
    world.github.clear_faults();
    world.agent.once().await.expect_success();
    world.expect_serving("hello blameless").await;
    world.expect_mail("FIXED: 1 deployed").await;
    world.expect_no_unread_mail().await;
    // It has to go before its folder can.
    drop(disk);
}
