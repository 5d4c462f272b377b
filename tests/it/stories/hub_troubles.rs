//! Docker Hub in trouble: whatever it answers, a running service is not touched, and the owner hears of it once.

use std::time::Duration;

use crate::world::World;
use crate::world::app::App;
use crate::world::assertions::eventually;
use crate::world::hub::Fault;
use crate::world::hub::RetryHint;
use crate::world::standing::Standing;

/// A pass of the agent while Docker Hub answers like this, with a commit's image waiting to be seen.
async fn changes_nothing(world: &World, one: &Standing, fault: Fault) {
    let name = format!("{fault:?}");
    world.hub.fault(fault);
    let finished = world.agent.once().await;
    assert_eq!(finished.code, Some(3), "exit code while Docker Hub answers {name}: {}", finished.stderr);
    assert!(finished.stderr.contains("poll of Docker Hub failed"), "{name}: {}", finished.stderr);
    world.expect_untouched(one).await;
    world.expect_serving("hello one").await;
    world.hub.clear_faults();
}

#[tokio::test]
async fn no_answer_is_taken_for_there_is_no_image() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    world.publish("2", &App::Page("hello two".to_owned())).await;
    let faults = [
        Fault::NotFound,
        Fault::Unauthorized,
        Fault::EmptyList,
        Fault::Html,
        Fault::HalfBody,
        Fault::Down,
        Fault::Status(500),
        Fault::Status(503),
        Fault::RateLimited(RetryHint::Seconds(30)),
        Fault::RateLimited(RetryHint::Timestamp(30)),
        Fault::RateLimited(RetryHint::OldTimestamp(30)),
        Fault::RateLimited(RetryHint::Nothing),
    ];

    for fault in faults {
        changes_nothing(&world, &one, fault).await;
    }

    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1"]).await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn an_answer_that_never_comes_ends_the_poll_and_nothing_else() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    changes_nothing(&world, &one, Fault::Hang).await;
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1"]).await;
    world.end().await;
}

#[tokio::test]
async fn a_listing_without_the_running_version_removes_nothing() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    let two = world.deploy_page("hello two").await;
    let digest = world.registry.digest(&world.image(), "2").await.unwrap();
    world.registry.reader().delete(&world.image(), &digest).await;

    world.agent.once().await.expect_success();

    world.expect_tags(&["1"]).await;
    world.expect_untouched(&two).await;
    world.expect_serving("hello two").await;
    world.end().await;
}

/// A running agent that is limited once asks again when it was told to, and not before.
async fn keeps_to(hint: RetryHint) {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    world.hub.fault_next(1, Fault::RateLimited(hint));
    world.hub.requests().clear();

    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;

    let asked_again = eventually(async || match world.hub.requests().all().len() {
        0 | 1 => Err("not yet"),
        _ => Ok(()),
    });
    asked_again.await.unwrap();
    let requests = world.hub.requests().all();
    assert_eq!(requests[0].status, Some(429));
    let waited = requests[1].at - requests[0].at;
    // Its own pauses after a failure begin with ten seconds at most.
    assert!(waited > Duration::from_millis(10_500), "asked again after {waited:?}, told to wait 12 s");
    assert!(waited < Duration::from_secs(25), "asked again after {waited:?} only, told to wait 12 s");
    agent.terminate().await;
    world.end().await;
}

#[tokio::test]
async fn a_wait_in_seconds_is_kept_to() {
    keeps_to(RetryHint::Seconds(12)).await;
}

#[tokio::test]
async fn a_wait_until_a_unix_time_is_kept_to() {
    keeps_to(RetryHint::Timestamp(12)).await;
}

#[tokio::test]
async fn a_wait_in_the_old_header_is_kept_to() {
    keeps_to(RetryHint::OldTimestamp(12)).await;
}

#[tokio::test]
async fn an_outage_is_mailed_once_and_so_is_its_end() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    // The own push waits for its tag to be listed, and asks again and again in short pauses.
    world.hub.fault_on("/tags", Fault::NotFound);
    world.hub.requests().clear();
    world.repo.commit_page("hello two").await;

    let mail = world.expect_mail("polling Docker Hub has failed").await;
    assert!(mail.subject.contains("1 keeps running"), "{}", mail.subject);
    world.expect_serving("hello one").await;
    let failures = world.hub.requests().count("GET", "/tags");
    let failed_once_more = eventually(async || {
        let now = world.hub.requests().count("GET", "/tags");
        if now > failures { Ok(()) } else { Err(format!("still {now}")) }
    });
    failed_once_more.await.unwrap();
    world.hub.clear_faults();

    world.expect_mail("Docker Hub can be polled again").await;
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    agent.terminate().await;
    world.end().await;
}

#[tokio::test]
async fn a_private_image_is_found_and_pulled_with_the_login() {
    let options = crate::world::Options {
        registry_login: true,
        private_repository: true,
        ..crate::world::Options::default()
    };
    let world = World::start_with(options).await;
    world.hub.make_private(&world.image());
    world.deploy_page("hello one").await;
    // Docker Hub's tokens last ten minutes.
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    world.hub.expire_tokens();
    world.publish("2", &App::Page("hello two".to_owned())).await;
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    agent.terminate().await;
    world.end().await;
}
