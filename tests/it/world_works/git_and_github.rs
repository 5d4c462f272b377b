//! GitHub and git: what a real git and a real HTTP client are answered.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use reqwest::Response;
use reqwest::StatusCode;
use serde_json::Value;
use serde_json::json;

use crate::world::GITHUB_TOKEN;
use crate::world::Options;
use crate::world::World;
use crate::world::app::App;
use crate::world::github::Fault;
use crate::world::repository::Change;
use crate::world::repository::scrubbed_git;

fn git(arguments: &[&str], folder: &Path) -> Output {
    scrubbed_git().args(arguments).current_dir(folder).output().unwrap()
}

fn clone(world: &World, options: &[&str], target: &str) -> Output {
    let url = format!("{}/{}.git", world.github.url(), world.repo.name());
    let arguments = [&["clone", "--quiet"][..], options, &[url.as_str(), target][..]].concat();
    git(&arguments, world.folder())
}

async fn ask(world: &World, path: &str, headers: &[(&str, &str)]) -> Response {
    let client =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut request = client.get(format!("{}{path}", world.github.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn commits(world: &World, reference: &str) -> String {
    format!("/repos/{}/commits/{reference}", world.repo.name())
}

const SHA_ONLY: (&str, &str) = ("accept", "application/vnd.github.sha");

#[tokio::test]
async fn git_clones_whole_shallow_and_by_sha() {
    let world = World::start().await;
    let first = world.repo.commit_page("one").await;
    let second = world.repo.commit_page("two").await;

    assert!(clone(&world, &[], "whole").status.success());
    let log = git(&["log", "--format=%H"], &world.folder().join("whole"));
    assert_eq!(String::from_utf8_lossy(&log.stdout), format!("{second}\n{first}\n"));
    assert_eq!(std::fs::read_to_string(world.folder().join("whole/app/index.html")).unwrap(), "two\n");

    assert!(clone(&world, &["--depth=1"], "shallow").status.success());
    let log = git(&["rev-list", "--count", "HEAD"], &world.folder().join("shallow"));
    assert_eq!(String::from_utf8_lossy(&log.stdout), "1\n");

    let url = format!("{}/{}", world.github.url(), world.repo.name());
    git(&["init", "--quiet", "by-sha"], world.folder());
    let fetched = git(&["fetch", "--depth=1", &url, &first], &world.folder().join("by-sha"));
    assert!(fetched.status.success(), "{fetched:?}");
    world.end().await;
}

#[tokio::test]
async fn a_private_repository_is_cloned_with_the_token_only() {
    let world = World::start_with(Options { private_repository: true, ..Options::default() }).await;
    let sha = world.repo.commit_page("secret").await;

    assert!(!clone(&world, &[], "anonymous").status.success());
    let header = |password: &str| {
        use base64::Engine as _;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{password}"));
        format!("http.extraHeader=Authorization: Basic {pair}")
    };
    assert!(!clone(&world, &["-c", &header("wrong")], "wrong").status.success());
    assert!(clone(&world, &["-c", &header(GITHUB_TOKEN)], "right").status.success());

    assert_eq!(
        ask(&world, &commits(&world, "heads/main"), &[SHA_ONLY]).await.status(),
        StatusCode::NOT_FOUND
    );
    let bearer = format!("Bearer {GITHUB_TOKEN}");
    let shown = ask(&world, &commits(&world, "heads/main"), &[SHA_ONLY, ("authorization", &bearer)]).await;
    assert_eq!(shown.text().await.unwrap(), sha);
    let seen = world.github.requests().matching("GET", "/commits/");
    assert_eq!(
        seen.iter().map(|one| one.authorization.as_deref()).collect::<Vec<_>>(),
        [None, Some("Bearer")]
    );
}

#[tokio::test]
async fn the_head_of_a_branch_is_its_etag_and_304_when_known() {
    let world = World::start().await;
    let sha = world.repo.commit_page("one").await;
    world.repo.branch("feature/with/slashes", &sha).await;
    let tag = world.repo.annotated_tag("v1", &sha).await;
    assert_ne!(tag, sha);

    for reference in ["heads/main", "main", "heads/feature/with/slashes", "tags/v1", "v1", &sha, &sha[..10]] {
        let answer = ask(&world, &commits(&world, reference), &[SHA_ONLY]).await;
        assert_eq!(answer.headers()["etag"], format!("\"{sha}\""), "{reference}");
        assert_eq!(answer.text().await.unwrap(), sha, "{reference}");
    }
    let etag = format!("\"{sha}\"");
    let bearer = format!("Bearer {GITHUB_TOKEN}");
    let known = [SHA_ONLY, ("if-none-match", etag.as_str()), ("authorization", bearer.as_str())];
    let unchanged = ask(&world, &commits(&world, "heads/main"), &known).await;
    assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED);
    let used = unchanged.headers()["x-ratelimit-used"].clone();
    assert_eq!(unchanged.text().await.unwrap(), "");
    let again = ask(&world, &commits(&world, "heads/main"), &known).await;
    assert_eq!(again.headers()["x-ratelimit-used"], used, "a 304 is free with a token");

    let newer = world.repo.force_push(None, &App::Page("rewritten".to_owned())).await;
    let changed = ask(&world, &commits(&world, "heads/main"), &known).await;
    assert_eq!(changed.text().await.unwrap(), newer);
}

#[tokio::test]
async fn a_commit_and_its_repository_are_described_in_the_official_shape() {
    let world = World::start().await;
    let first = world.repo.commit_page("one").await;
    let changes =
        [Change::Write("a.txt".to_owned(), "a\n".to_owned()), Change::Delete("README.md".to_owned())];
    let sha = world.repo.commit_changes("main", &changes, "Say two\n\nAnd more.").await;

    // octocrab's own models are the judge of the shape.
    let answer = ask(&world, &commits(&world, &sha), &[]).await;
    let commit: octocrab::models::repos::RepoCommit = answer.json().await.unwrap();
    assert_eq!(commit.commit.message, "Say two\n\nAnd more.");
    assert_eq!(commit.parents[0].sha.as_deref(), Some(first.as_str()));
    assert_eq!(commit.files.unwrap().len(), 2);
    let answer = ask(&world, &format!("/repos/{}", world.repo.name()), &[]).await;
    let repository: octocrab::models::Repository = answer.json().await.unwrap();
    assert_eq!(repository.default_branch.as_deref(), Some("main"));
}

#[tokio::test]
async fn what_is_not_there_answers_as_github_does() {
    let world = World::start().await;
    let message = async |path: String, headers: &[(&str, &str)]| {
        let answer = ask(&world, &path, headers).await;
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["message"].clone())
    };
    assert_eq!(message(commits(&world, "heads/main"), &[]).await, (409, json!("Git Repository is empty.")));
    world.repo.commit_page("one").await;
    let missing = message(commits(&world, "heads/missing"), &[SHA_ONLY]).await;
    assert_eq!(missing, (422, json!("No commit found for SHA: heads/missing")));
    assert_eq!(message("/repos/acme/nothing/commits/main".to_owned(), &[]).await, (404, json!("Not Found")));
    let wrong = [("authorization", "token wrong")];
    assert_eq!(message(commits(&world, "heads/main"), &wrong).await, (401, json!("Bad credentials")));
}

#[tokio::test]
async fn a_renamed_repository_redirects_the_api_and_git() {
    let world = World::start().await;
    let sha = world.repo.commit_page("one").await;
    world.github.rename(world.repo.name(), &format!("acme/{}-renamed", world.prefix()));

    let moved = ask(&world, &commits(&world, "heads/main"), &[SHA_ONLY]).await;
    assert_eq!(moved.status(), StatusCode::MOVED_PERMANENTLY);
    let target = moved.headers()["location"].to_str().unwrap().replace(&world.github.url(), "");
    assert_eq!(target, format!("/repositories/{}/commits/heads/main", world.repo.id()));
    assert_eq!(ask(&world, &target, &[SHA_ONLY]).await.text().await.unwrap(), sha);
    assert!(clone(&world, &[], "moved").status.success());
}

#[tokio::test]
async fn commit_statuses_are_checked_and_recorded() {
    let world = World::start().await;
    let sha = world.repo.commit_page("one").await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |sha: &str, body: Value| {
        let url = format!("{}/repos/{}/statuses/{sha}", world.github.url(), world.repo.name());
        let request = client.post(url).header("authorization", format!("token {GITHUB_TOKEN}"));
        request.body(body.to_string()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(post(&sha, json!({"state": "pending", "context": "homeport"})).await, 201);
    assert_eq!(post(&sha, json!({"state": "success", "description": "x".repeat(141)})).await, 422);
    assert_eq!(post(&"0".repeat(40), json!({"state": "success"})).await, 422);
    world.expect_status(&sha, "pending").await;
    assert_eq!(world.github.statuses().len(), 1);
}

#[tokio::test]
async fn github_fails_as_it_is_told() {
    let world = World::start().await;
    let sha = world.repo.commit_page("one").await;
    let path = commits(&world, "heads/main");
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(3)).build().unwrap();
    let get = async || {
        let answer = client.get(format!("{}{path}", world.github.url())).send().await?;
        let status = answer.status().as_u16();
        answer.text().await.map(|body| (status, body))
    };

    world.github.fault_next(1, Fault::Down);
    assert!(get().await.is_err());
    assert_eq!(get().await.unwrap().0, 200, "the fault was for one request");
    world.github.fault_next(1, Fault::HalfBody);
    assert!(get().await.is_err(), "the body was cut");
    world.github.fault_next(1, Fault::HangForever);
    assert!(get().await.unwrap_err().is_timeout());
    world.github.fault_next(1, Fault::Status(502));
    assert!(get().await.unwrap().1.contains("<html>"));
    world.github.fault_next(1, Fault::GarbageJson);
    assert!(serde_json::from_str::<Value>(&get().await.unwrap().1).is_err());
    world.github.fault_next(1, Fault::SlowBody(Duration::from_millis(20)));
    assert!(get().await.unwrap_err().is_timeout());

    world.github.fault(Fault::PrimaryLimit(403, Duration::from_secs(60)));
    let limited = ask(&world, &path, &[]).await;
    assert_eq!((limited.status().as_u16(), &limited.headers()["x-ratelimit-remaining"] == "0"), (403, true));
    world.github.fault(Fault::SecondaryLimit(429, Some(Duration::from_secs(7))));
    assert_eq!(ask(&world, &path, &[]).await.headers()["retry-after"], "7");
    world.github.fault(Fault::Forbidden);
    assert_ne!(ask(&world, &path, &[]).await.headers()["x-ratelimit-remaining"], "0");
    world.github.clear_faults();

    world.github.set_rate_limit(60, 60, Duration::from_secs(60));
    assert_eq!(ask(&world, &path, &[]).await.status().as_u16(), 403, "the hour is used up");
    world.github.set_rate_limit(60, 0, Duration::from_secs(60));

    world.github.wire().go_down().await;
    get().await.unwrap_err();
    world.github.wire().come_back().await;
    assert!(get().await.unwrap().1.contains(&sha));
}

#[tokio::test]
#[should_panic(expected = "/surprise")]
async fn a_request_to_an_unknown_route_fails_the_test_at_its_end() {
    let world = World::start().await;
    world.repo.commit_page("one").await;
    ask(&world, &format!("/repos/{}/surprise", world.repo.name()), &[]).await;
    world.end().await;
}
