//! The agent as a service: the newest commit wins, and GitHub's webhook nudges it.

use crate::world::World;
use crate::world::assertions::eventually;
use crate::world::github::Fault;
use crate::world::hook::HOOK_SECRET;
use crate::world::hook::Hook;

#[tokio::test]
async fn of_two_pushes_during_a_run_only_the_newest_is_built() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    world.gate_tests();
    let two = world.repo.commit_page("hello two").await;
    let agent = world.agent.spawn_run().await;
    world.wait_at_gate(3).await;
    world.repo.commit_page("hello three").await;
    agent.wait_for_stderr("no run has judged it").await;
    world.wait_for_next_poll("GET", "/commits/heads/main").await;
    world.wait_for_next_poll("GET", "/commits/heads/main").await;
    let four = world.repo.commit_page("hello four").await;
    agent.wait_for_stderr("is replaced by something newer").await;

    world.let_pass(3).await;
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    let next = world.run_of(&four).await;
    world.let_pass(next.number).await;
    world.expect_serving("hello four").await;
    world.expect_mail("3 deployed").await;

    assert!(agent.terminate().await.success());
    let runs = world.runs().await;
    let commits: Vec<_> = runs.iter().filter(|run| run.kind == "ci").map(|run| &run.commit).collect();
    assert_eq!(commits[1..], [&Some(two), &Some(four)]);
    world.expect_tags(&["1", "2", "3"]).await;
    world.end().await;
}

/// A world whose agent polls GitHub once an hour and listens to the webhook.
async fn slow_poller() -> (World, Hook) {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    world.agent.set("/projects/0/poll/github", "1h");
    let hook = world.open_hook();
    world.github.requests().clear();
    (world, hook)
}

#[tokio::test]
async fn a_signed_push_is_live_long_before_the_next_poll() {
    let (world, hook) = slow_poller().await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    world.wait_for_polls(1).await;
    world.repo.commit_page("hello two").await;

    assert!((200..300).contains(&hook.push("delivery-1").await));

    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    assert_eq!(world.run(3).await.trigger, "webhook");
    agent.terminate().await;
    world.end().await;
}

#[tokio::test]
async fn a_wrong_signature_and_other_branches_nudge_nobody() {
    let (world, hook) = slow_poller().await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    world.wait_for_polls(1).await;
    world.repo.commit_page("hello two").await;

    assert_eq!(hook.deliver("delivery-1", "refs/heads/main", "not the secret").await, 401);
    assert!((200..300).contains(&hook.deliver("delivery-2", "refs/heads/other", HOOK_SECRET).await));
    assert!((200..300).contains(&hook.deliver("delivery-3", "refs/tags/main", HOOK_SECRET).await));

    // A refused delivery does not block the genuine one of the same id; a repeated one is no second nudge.
    assert_eq!(world.github.requests().count("GET", "/commits/heads/main"), 1);
    assert!((200..300).contains(&hook.push("delivery-1").await));
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    agent.terminate().await;
    world.end().await;
}

#[tokio::test]
async fn an_outage_of_github_is_mailed_once_and_so_is_its_end() {
    let (world, hook) = slow_poller().await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    world.wait_for_polls(1).await;
    world.github.fault(Fault::Status(503));

    for number in 1..=7 {
        hook.push(&format!("delivery-{number}")).await;
        world.wait_for_polls(1 + number).await;
    }

    let mail = world.expect_mail("polling GitHub has failed").await;
    assert!(mail.subject.contains("1 keeps running"), "{}", mail.subject);
    world.github.clear_faults();
    hook.push("delivery-8").await;
    world.expect_mail("GitHub can be polled again").await;
    world.expect_serving("hello one").await;
    agent.terminate().await;
    world.end().await;
}

impl World {
    /// GitHub has answered so many polls of the branch since the agent became a service.
    async fn wait_for_polls(&self, wanted: usize) {
        let polled = eventually(async || {
            let all = self.github.requests().matching("GET", "/commits/heads/main");
            let answered = all.iter().filter(|request| request.status.is_some()).count();
            if answered >= wanted { Ok(()) } else { Err(format!("{answered}")) }
        });
        polled.await.unwrap_or_else(|found| panic!("GitHub answered {found} polls, not {wanted}"));
    }
}
