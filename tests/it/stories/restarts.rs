//! The agent stopped, killed and started again in the middle of things: nothing is lost, nothing is done twice.

use crate::world::World;
use crate::world::app::App;
use crate::world::assertions::eventually;

/// No tree of a run is left in the state folder.
async fn expect_no_work_trees(world: &World) {
    let trees = world.agent.state_dir().join("trees");
    let gone = eventually(async || {
        let left: Vec<_> = std::fs::read_dir(&trees).into_iter().flatten().filter_map(Result::ok).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    gone.await.unwrap_or_else(|left| panic!("work trees are left over: {left}"));
}

fn count_mails(world: &World, subject_part: &str) -> usize {
    world.mail.inbox().iter().filter(|mail| mail.subject.contains(subject_part)).count()
}

#[tokio::test]
async fn a_stop_in_the_tests_interrupts_the_run_and_the_commit_is_run_again() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    world.gate_tests();
    let two = world.repo.commit_page("hello two").await;
    let agent = world.agent.spawn_run().await;
    world.wait_at_gate(3).await;

    assert!(agent.terminate().await.success());

    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 ci interrupted at test"]).await;
    world.expect_every_run_ended().await;
    world.expect_no_unread_mail().await;
    world.expect_untouched(&one).await;
    expect_no_work_trees(&world).await;

    let agent = world.agent.spawn_run().await;
    world.let_pass(4).await;
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    assert!(agent.terminate().await.success());
    assert_eq!(world.run(4).await.commit, Some(two));
    world
        .expect_runs(&[
            "1 ci pushed 1",
            "2 cd deployed 1",
            "3 ci interrupted at test",
            "4 ci pushed 2",
            "5 cd deployed 2",
        ])
        .await;
    world.end().await;
}

#[tokio::test]
async fn a_kill_in_the_tests_leaves_nothing_behind_and_the_commit_is_run_again() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    world.gate_tests();
    world.repo.commit_page("hello two").await;
    let agent = world.agent.spawn_run().await;
    world.wait_at_gate(3).await;

    agent.kill().await;

    let agent = world.agent.spawn_run().await;
    world.wait_at_gate(4).await;
    let interrupted = ["1 ci pushed 1", "2 cd deployed 1", "3 ci interrupted at test"];
    world.expect_runs(&[&interrupted[..], &["4 ci running"]].concat()).await;
    let left = eventually(async || match world.engine.containers().await.len() {
        2 => Ok(()),
        count => Err(format!("{count} containers")),
    });
    left.await.expect("the service and the tests of run 4 alone are there");
    world.let_pass(4).await;
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    assert!(agent.terminate().await.success());
    world.expect_runs(&[&interrupted[..], &["4 ci pushed 2", "5 cd deployed 2"]].concat()).await;
    assert_eq!(count_mails(&world, "2 deployed"), 1);
    world.expect_no_leftovers().await;
    expect_no_work_trees(&world).await;
    world.end().await;
}

#[tokio::test]
async fn a_kill_while_a_good_image_is_proven_ends_as_its_deployment_under_the_same_number() {
    let world = World::start().await;
    world.agent.set("/projects/0/deploy/prove/timeout", "30s");
    let one = world.deploy_page("hello one").await;
    world.repo.commit_app(&App::StartsSlowly(3000, "hello two".to_owned())).await;
    let agent = world.agent.spawn_run().await;
    world.wait_for_stage("cd", "prove").await;

    agent.kill().await;

    let agent = world.agent.spawn_run().await;
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    assert!(agent.terminate().await.success());
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 ci pushed 2", "4 cd deployed 2"]).await;
    assert_eq!(count_mails(&world, "2 deployed"), 1);
    let two = world.standing().await;
    assert!(two.policy == "always" && two.id != one.id, "{two:?}");
    world.expect_untouched(&two).await;
    world.end().await;
}

#[tokio::test]
async fn a_kill_while_a_bad_image_is_proven_ends_as_its_rollback_under_the_same_number() {
    let world = World::start().await;
    world.agent.set("/projects/0/deploy/prove/timeout", "4s");
    let one = world.deploy_page("hello one").await;
    world.repo.commit_app(&App::NeverAnswers).await;
    let agent = world.agent.spawn_run().await;
    world.wait_for_stage("cd", "prove").await;

    agent.kill().await;

    world.agent.once().await;
    world.expect_back(&one).await;
    world.expect_serving("hello one").await;
    world.expect_mail("2 rolled back").await;
    world
        .expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 ci pushed 2", "4 cd rolled-back at prove 2"])
        .await;
    world.agent.once().await.expect_success();
    assert_eq!(count_mails(&world, "2 rolled back"), 1);
    world.end().await;
}

#[tokio::test]
async fn a_stop_while_an_image_is_proven_waits_for_the_verdict() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    world.repo.commit_app(&App::StartsSlowly(2000, "hello two".to_owned())).await;
    let agent = world.agent.spawn_run().await;
    world.wait_for_stage("cd", "prove").await;

    assert!(agent.terminate().await.success());

    world.expect_serving("hello two").await;
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 ci pushed 2", "4 cd deployed 2"]).await;
    world.agent.once().await.expect_success();
    world.expect_mail("2 deployed").await;
    assert_eq!(count_mails(&world, "2 deployed"), 1);
    world.end().await;
}

#[tokio::test]
async fn a_container_that_someone_removed_is_deployed_again() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    world.engine.remove(world.project()).await;

    world.agent.once().await.expect_success();

    world.expect_serving("hello one").await;
    world.expect_mail("1 deployed").await;
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 cd deployed 1"]).await;
    world.end().await;
}
