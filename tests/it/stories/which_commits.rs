//! Which commits are run: those that say that they are not to be, those that change nothing of interest.

use std::time::Duration;

use serde_json::json;

use crate::world::World;
use crate::world::app::App;
use crate::world::github::Fault;
use crate::world::registry;
use crate::world::repository::Change;

const MAIN: &str = "main";

fn page(text: &str) -> Change {
    Change::Write("app/index.html".to_owned(), format!("{text}\n"))
}

#[tokio::test]
async fn a_commit_that_says_skip_ci_is_not_run_until_its_owner_asks() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    let quiet = world.repo.commit_changes(MAIN, &[page("hello two")], "Say two [skip ci]").await;
    world.github.requests().clear();

    let agent = world.agent.spawn_run().await;

    agent.wait_for_stderr("this commit is not run: its message says `[skip ci]`").await;
    for _ in 0..2 {
        world.wait_for_next_poll("GET", "/commits/heads/main").await;
    }
    let asked = |world: &World| world.github.requests().count("GET", &format!("/commits/{quiet}"));
    assert_eq!(asked(&world), 1);
    assert_eq!(agent.stderr().matches("this commit is not run").count(), 1, "{}", agent.stderr());
    let plan = world.agent.command(&["plan", world.project()]).await.expect_success();
    assert!(plan.stdout.contains("[skip ci]") && plan.stdout.contains("homeport trigger"), "{}", plan.stdout);
    let status = world.agent.status_json().await;
    assert_eq!(status["projects"][0]["skipped"]["commit"], json!(quiet));
    let status = world.agent.command(&["status"]).await.expect_success();
    assert!(status.stdout.contains("which is newer: its message says `[skip ci]`"), "{}", status.stdout);
    assert!(agent.terminate().await.success());

    // A restart keeps to it, and does not ask again.
    let agent = world.agent.spawn_run().await;
    for _ in 0..2 {
        world.wait_for_next_poll("GET", "/commits/heads/main").await;
    }
    assert_eq!(asked(&world), 1);
    assert!(!agent.stderr().contains("this commit is not run"), "{}", agent.stderr());
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1"]).await;
    world.expect_untouched(&one).await;

    let retried = world.agent.command(&["retry", world.project(), "--wait"]).await.expect_success();
    assert!(retried.stdout.contains("is not run (its message says `[skip ci]`)"), "{}", retried.stdout);
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_new_commit_that_github_does_not_describe_is_neither_run_nor_skipped_but_asked_about_again() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    world.repo.commit_page("hello two").await;
    world.github.fault_on("per_page=1", Fault::Status(502));

    let finished = world.agent.once().await.expect_code(3);

    assert!(finished.stderr.contains("poll of GitHub failed"), "{}", finished.stderr);
    world.expect_untouched(&one).await;
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1"]).await;
    world.github.clear_faults();
    world.agent.once().await.expect_success();
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn the_owner_has_a_commit_run_whatever_was_made_of_it() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    let quiet = world.repo.commit_changes(MAIN, &[page("hello two")], "Say two [ci skip]").await;
    let red = world.repo.commit_app(&App::FailingTest("hello three".to_owned())).await;
    let agent = world.agent.spawn_run().await;
    world.expect_mail("tests failed").await;
    let project = world.project().to_owned();

    let again = world.agent.command(&["trigger", &project, "--wait"]).await.expect_code(1);
    assert!(again.stderr.contains("test failed"), "{}", again.stderr);

    let prefix = quiet[..9].to_uppercase();
    let by_id =
        world.agent.command(&["trigger", &project, "--commit", &prefix, "--wait"]).await.expect_success();
    assert!(by_id.stdout.contains(&format!("{} is run next", &quiet[..7])), "{}", by_id.stdout);
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    let run = world.run_of(&quiet).await;
    assert_eq!((run.trigger.as_str(), run.outcome.as_str()), ("command", "pushed"));
    let same =
        world.agent.command(&["trigger", &project, "--commit", &quiet, "--wait"]).await.expect_success();
    assert!(same.stdout.contains("is not built anew") && same.stdout.contains("pushed 2"), "{}", same.stdout);

    let refused = world.agent.command(&["trigger", &project, "--commit", "0123456"]).await.expect_code(2);
    assert!(refused.stderr.contains("GitHub knows no commit 0123456"), "{}", refused.stderr);
    world.agent.command(&["trigger", &project, "--commit", "main"]).await.expect_code(2);
    world.github.fault(Fault::Status(502));
    let unreachable = world.agent.command(&["trigger", &project]).await.expect_code(3);
    assert!(unreachable.stderr.contains("GitHub cannot be asked"), "{}", unreachable.stderr);
    world.github.clear_faults();
    assert_eq!(world.runs().await.iter().filter(|run| run.commit.as_ref() == Some(&red)).count(), 2);
    world.expect_tags(&["1", "2"]).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_newer_commit_ends_the_run_that_goes_on_where_the_owner_wants_it_so() {
    let world = World::start().await;
    world.agent.set("/projects/0/cancel_running", true);
    world.deploy_page("hello one").await;
    let forever = "#!/bin/sh\nsleep 600\n".to_owned();
    let slow = vec![page("hello two"), Change::Write("test.sh".to_owned(), forever)];
    let tested = world.repo.commit_changes(MAIN, &slow, "Test for ever").await;
    let agent = world.agent.spawn_run().await;
    world.wait_for_stage("ci", "test").await;

    let mut stuck = App::Page("hello three".to_owned()).files();
    stuck.iter_mut().filter(|(path, _)| path == "Dockerfile").for_each(|(_, text)| {
        text.push_str("RUN [\"sleep\", \"600\"]\n");
    });
    let stuck: Vec<Change> = stuck.into_iter().map(|(path, text)| Change::Write(path, text)).collect();
    let built = world.repo.commit_changes(MAIN, &stuck, "Build for ever").await;
    world.wait_for_stage("ci", "build").await;
    world.repo.commit_page("hello four").await;

    world.expect_serving("hello four").await;
    world.expect_mail("2 deployed").await;
    let wanted = ["3 ci superseded at test", "4 ci superseded at build", "5 ci pushed 2", "6 cd deployed 2"];
    let runs: Vec<String> = world.runs().await.iter().skip(2).map(ToString::to_string).collect();
    assert_eq!(runs, wanted);
    assert_eq!(world.run(3).await.reason, Some(format!("{} is newer", &built[..7])));
    world.expect_status(&tested, "error").await;
    world.expect_status(&built, "error").await;
    let said = world.github.statuses().into_iter().rfind(|status| status.sha == tested).unwrap();
    assert_eq!(said.description, format!("superseded by {}", &built[..7]));
    world.expect_no_leftovers().await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_run_that_has_begun_to_push_is_not_ended_by_a_newer_commit() {
    let world = World::start().await;
    world.agent.set("/projects/0/cancel_running", true);
    let one = world.repo.commit_page("hello one").await;
    // The push goes slowly.
    world.registry.fault(registry::Fault::Delay(Duration::from_secs(1)));
    let agent = world.agent.spawn_run().await;
    world.wait_for_stage("ci", "push").await;

    let two = world.repo.commit_page("hello two").await;

    agent.wait_for_stderr(&format!("{} takes the place of {}", &two[..7], &one[..7])).await;
    world.registry.clear_faults();
    let second = world.run_of(&two).await;
    let first = world.run(1).await;
    assert_eq!((first.commit, first.outcome.as_str()), (Some(one), "pushed"));
    assert!(second.number > 1);
    world.expect_mail("2 deployed").await;
    world.expect_serving("hello two").await;
    // 1 was deployed before it, unless 2 was there already.
    world.mail.mark_all_read();
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_commit_is_run_only_if_a_file_of_interest_changed_since_the_last_run() {
    let world = World::start().await;
    world.agent.set("/projects/0/paths", json!(["app/**", "Dockerfile", "!app/*.md"]));
    world.deploy_page("hello one").await;
    let note = |path: &str, text: &str| vec![Change::Write(path.to_owned(), text.to_owned())];
    let compares = |world: &World| world.github.requests().count("GET", "/compare/");
    assert_eq!(compares(&world), 0, "before the first run there is nothing to compare with");

    world.repo.commit_changes(MAIN, &note("docs/a.md", "a"), "Write it down").await;
    world.repo.commit_changes(MAIN, &note("app/b.md", "b"), "Write more").await;
    // That GitHub does not answer is not that nothing has changed.
    world.github.fault_on("/compare/", Fault::Status(502));
    world.agent.once().await.expect_code(3);
    assert_eq!(world.agent.status_json().await["projects"][0]["skipped"], json!(null));
    world.github.clear_faults();
    let quiet = world.agent.once().await.expect_success();
    assert!(quiet.stderr.contains("all 2 files changed since"), "{}", quiet.stderr);
    assert!(quiet.stderr.contains("are outside of `paths`"), "{}", quiet.stderr);
    let asked = compares(&world);
    world.agent.once().await.expect_success();
    assert_eq!(compares(&world), asked, "what was left out is asked about again");
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1"]).await;

    // What was left out counts together with what comes after it; a file that moves counts at both its places.
    let moved = [
        Change::Delete("app/index.html".to_owned()),
        Change::Write("page".to_owned(), "hello one\n".to_owned()),
    ];
    world.repo.commit_changes(MAIN, &moved, "Move the page").await;
    world.repo.commit_changes(MAIN, &note("app/index.html", "hello two\n"), "Say two").await;
    world.repo.commit_changes(MAIN, &note("README.md", "read"), "Write still more").await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;

    // History that was rewritten says nothing about what changed.
    world.repo.force_push(None, &App::Page("hello two".to_owned())).await;
    world.agent.once().await.expect_success();
    world.expect_mail("3 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn the_newest_tag_that_matches_is_run_instead_of_the_branch() {
    let world = World::start().await;
    world.agent.unset("/projects/0/branch");
    world.agent.set("/projects/0/on", json!({ "tags": "v*" }));
    let one = world.repo.commit_page("hello one").await;
    world.agent.once().await.expect_success();
    world.expect_runs(&[]).await;

    world.repo.tag("v1.9.0", &one).await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello one").await;
    world.expect_mail("1 deployed").await;

    // An annotated tag stands for its commit, and 1.10 is newer than 1.9. A branch alone means nothing.
    let two = world.repo.commit_page("hello two").await;
    world.repo.annotated_tag("v1.10.0", &two).await;
    let three = world.repo.commit_page("hello three").await;
    let agent = world.agent.spawn_run().await;
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    let run = world.run_of(&two).await;
    assert_eq!(run.outcome, "pushed");
    let named = format!("commit {} (tag v1.10.0) is the newest", &two[..7]);
    assert!(world.log_of(run.number).await.contains(&named), "the log does not name the tag");

    // An older version that is tagged later is not run, nor is a tag of another kind.
    world.repo.tag("v1.9.1", &three).await;
    world.repo.tag("latest", &three).await;
    for _ in 0..3 {
        world.wait_for_next_poll("GET", "/git/matching-refs/tags/v").await;
    }
    let last = world.github.requests().matching("GET", "/git/matching-refs/tags/v");
    assert_eq!(last.iter().rev().find_map(|seen| seen.status), Some(304));
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 ci pushed 2", "4 cd deployed 2"]).await;

    // The newest tag is moved.
    world.repo.tag("v1.10.0", &three).await;
    world.expect_serving("hello three").await;
    world.expect_mail("3 deployed").await;
    assert!(agent.terminate().await.success());
    world.end().await;
}
