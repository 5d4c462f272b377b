//! Pushes to a registry that refuses, breaks off, or holds what others pushed: one content per number, ever.

use serde_json::json;

use crate::world::World;
use crate::world::app::App;
use crate::world::assertions::eventually;
use crate::world::github;
use crate::world::hub::Lag;
use crate::world::hub::ListedTag;
use crate::world::registry::Fault;

/// A push that fails, whatever the reason: the old version serves, the world is to blame, the number is gone.
async fn is_tried_again_under_the_next_number(world: &World, break_it: impl FnOnce(&World)) {
    let one = world.deploy_page("hello one").await;
    world.repo.commit_page("hello two").await;
    break_it(world);

    world.agent.once().await.expect_code(1);

    world.expect_untouched(&one).await;
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 ci failed at push"]).await;
    let mail = world.expect_mail("push failed").await;
    assert!(mail.subject.contains("1 keeps running"), "{}", mail.subject);

    world.registry.clear_faults();
    world.agent.once().await.expect_success();
    world.expect_serving("hello two").await;
    assert_eq!(world.registry.count_pushes(&world.image(), "3"), 1);
}

#[tokio::test]
async fn a_push_refused_before_its_layers_is_tried_again() {
    let world = World::start().await;
    is_tried_again_under_the_next_number(&world, |world| {
        world.registry.fault(Fault::RefuseUpload(403));
    })
    .await;
    world.expect_mail("FIXED: 3 deployed").await;
    world.expect_tags(&["1", "3"]).await;
    assert_eq!(world.registry.count_pushes(&world.image(), "2"), 0);
    world
        .expect_runs(&[
            "1 ci pushed 1",
            "2 cd deployed 1",
            "3 ci failed at push",
            "4 ci pushed 3",
            "5 cd deployed 3",
        ])
        .await;
    world.end().await;
}

#[tokio::test]
async fn a_push_refused_after_its_layers_is_tried_again() {
    let world = World::start().await;
    is_tried_again_under_the_next_number(&world, |world| {
        world.registry.fault(Fault::RefuseManifest(503));
    })
    .await;
    world.expect_mail("FIXED: 3 deployed").await;
    world.expect_tags(&["1", "3"]).await;
    assert_eq!(world.registry.count_pushes(&world.image(), "2"), 0);
    world.end().await;
}

#[tokio::test]
async fn a_push_cut_off_after_the_registry_took_it_is_never_repeated_under_its_number() {
    let world = World::start().await;
    is_tried_again_under_the_next_number(&world, |world| {
        world.registry.fault_next(1, Fault::CutAfterManifest);
        // Listed, 2 might be deployed before the next run begins, which would then take it up.
        world.hub.hide(&world.image(), "2");
    })
    .await;
    // The registry has 2, and whether it had it nobody could say: 2 stays what it is.
    world.expect_tags(&["1", "2", "3"]).await;
    assert_eq!(world.registry.count_pushes(&world.image(), "2"), 1);
    world.expect_mail("FIXED: 3 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn an_upload_cut_off_in_the_middle_is_tried_again() {
    let world = World::start().await;
    is_tried_again_under_the_next_number(&world, |world| {
        world.registry.wire().cut_uploads_after(Some(900));
    })
    .await;
    world.expect_mail("FIXED: 3 deployed").await;
    assert!(world.registry.count_pushes(&world.image(), "2") <= 1);
    world.end().await;
}

#[tokio::test]
async fn a_number_that_docker_hub_does_not_list_yet_is_stepped_over() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    world.hub.lag(Lag::UntilReleased);
    world.publish("2", &App::Page("hello stranger".to_owned())).await;
    world.repo.commit_page("hello two").await;

    let (finished, pushed) = tokio::join!(world.agent.once(), async {
        let pushed = eventually(async || match world.registry.count_pushes(&world.image(), "3") {
            1 => Ok(()),
            _ => Err(format!("{:?}", world.registry.pushes())),
        });
        let pushed = pushed.await;
        world.hub.lag(Lag::None);
        pushed
    });

    finished.expect_success();
    pushed.unwrap();
    world.expect_serving("hello two").await;
    world.expect_tags(&["1", "2", "3"]).await;
    assert_eq!(world.registry.count_pushes(&world.image(), "2"), 1, "the stranger's push, and no other");
    assert!(world.log_of(3).await.contains("the tag 2 is taken: stepping over it"));
    world.expect_mail("3 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn tags_that_are_no_versions_are_ignored() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    world.publish("nightly", &App::Page("hello stranger".to_owned())).await;
    for tag in ["latest", "v9", "99-rc1", "2.0.0", "007"] {
        world.registry.retag(&world.image(), "nightly", tag).await;
    }
    world.hub.add_tag(&world.image(), ListedTag::fake("experiment", &["linux/amd64"]));

    world.agent.once().await.expect_success();

    world.expect_untouched(&one).await;
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1"]).await;
    world.deploy_page("hello two").await;
    assert_eq!(world.run(4).await.tag.as_deref(), Some("2"));
    world.end().await;
}

#[tokio::test]
async fn a_version_pushed_from_elsewhere_is_deployed_and_the_next_number_follows_it() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    let digest = world.publish("5", &App::Page("hello five".to_owned())).await;

    world.agent.once().await.expect_success();

    world.expect_serving("hello five").await;
    world.expect_running(&digest).await;
    world.expect_mail("5 deployed").await;
    world.deploy_page("hello six").await;
    world.expect_tags(&["1", "5", "6"]).await;
    world
        .expect_runs(&[
            "1 ci pushed 1",
            "2 cd deployed 1",
            "3 cd deployed 5",
            "4 ci pushed 6",
            "5 cd deployed 6",
        ])
        .await;
    world.end().await;
}

#[tokio::test]
async fn a_tag_that_docker_hub_lists_late_is_deployed_in_the_same_pass() {
    let world = World::start().await;
    world.hub.lag(Lag::Listings(2));
    world.repo.commit_page("hello one").await;

    world.agent.once().await.expect_success();

    world.expect_serving("hello one").await;
    world.expect_mail("1 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn an_image_without_a_repository_of_ours_is_only_deployed() {
    let world = World::start().await;
    for key in ["/projects/0/repository", "/projects/0/branch", "/projects/0/test"] {
        world.agent.unset(key);
    }
    world.agent.set("/projects/0/poll", json!({"docker_hub": "500ms"}));
    world.publish("1", &App::Page("hello stranger".to_owned())).await;

    world.agent.once().await.expect_success();

    world.expect_serving("hello stranger").await;
    world.expect_runs(&["1 cd deployed 1"]).await;
    world.expect_mail("1 deployed").await;
    assert_eq!(world.github.requests().all().len(), 0);
    world.end().await;
}

#[tokio::test]
async fn a_version_is_raised_by_the_greatest_change_since_the_one_before_it() {
    let world = World::start().await;
    world.only_build();
    world.agent.set("/projects/0/image/tag", json!({ "scheme": "semver", "bump": "conventional" }));
    let commit = async |message: &str, test: &str| {
        world.repo.commit(&[("test.sh", &format!("#!/bin/sh\n# {message}\n{test}\n"))], message).await
    };
    world.repo.commit_page("hello one").await;
    world.agent.once().await.expect_success();

    // Several commits come in one push, of which the newest alone is run.
    commit("feat: a second page", "true").await;
    commit("fix: the second page", "true").await;
    world.agent.once().await.expect_success();
    world.expect_runs(&["1 ci pushed 0.1.0", "2 ci pushed 0.2.0"]).await;

    // What was new in a commit that failed comes with the one that mends it; what came before is not counted again.
    commit("feat: a third page", "exit 1").await;
    world.agent.once().await.expect_code(1);
    world.expect_mail("tests failed").await;
    commit("fix: the third page", "true").await;
    world.agent.once().await.expect_success();
    world.expect_mail("FIXED").await;
    commit("fix: a typing error", "true").await;
    world.agent.once().await.expect_success();
    let said = ["3 ci failed at test", "4 ci pushed 0.3.0", "5 ci pushed 0.3.1"];
    world.expect_runs(&[&["1 ci pushed 0.1.0", "2 ci pushed 0.2.0"][..], &said].concat()).await;
    let alone = "the message of this commit alone says by how much the version is raised";
    assert!(!world.log_of(5).await.contains(alone));

    // Where GitHub cannot say what came since, the newest message speaks for itself.
    world.repo.force_push(None, &App::Page("hello anew".to_owned())).await;
    world.agent.once().await.expect_success();
    let log = world.log_of(6).await;
    assert!(log.contains(alone) && log.contains("history was rewritten"), "{log}");
    world.expect_tags(&["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.3.2"]).await;
    commit("feat: a fourth page", "true").await;
    commit("fix: the fourth page", "true").await;
    world.github.fault_on("/compare/", github::Fault::Status(502));
    world.agent.once().await.expect_success();
    let log = world.log_of(7).await;
    assert!(log.contains(alone) && log.contains("502"), "{log}");
    world.expect_tags(&["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.3.2", "0.3.3"]).await;
    world.mail.mark_all_read();
    world.end().await;
}
