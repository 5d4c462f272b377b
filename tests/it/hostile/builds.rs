//! What a Dockerfile can do.

use serde_json::json;

use crate::hostile::expect_no_trees;
use crate::hostile::hostile;
use crate::world::app::App;
use crate::world::app::BASE_IMAGE;
use crate::world::assertions::eventually;
use crate::world::canaries::BUILD_SECRET;
use crate::world::repository::Change;

/// Shows what a build can see of the world around it; all of it backwards, as no masking of secrets knows it.
const LOOK_AROUND: &str = "{ env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; find / -xdev -name '*token*' \
     -o -xdev -name '*password*' -o -name docker.sock; cat /run/secrets/*; } 2>/dev/null | tr '\\0' '\\n' | rev; \
     echo looked around";

#[tokio::test]
async fn a_build_that_does_not_end_is_stopped_and_has_seen_no_secret() {
    let (world, canaries) = hostile().await;
    let endless = format!("trap '' TERM; while :; do sleep 1; done # {}", world.prefix());
    let dockerfile = format!("FROM {BASE_IMAGE}\nRUN {LOOK_AROUND}\nRUN {endless}\n");
    let mut changes: Vec<Change> = Vec::new();
    for (path, content) in App::Page("hello endless".to_owned()).files() {
        let content = if path == "Dockerfile" { dockerfile.clone() } else { content };
        changes.push(Change::Write(path, content));
    }
    world.repo.commit_changes("main", &changes, "Build for ever").await;
    world.agent.set("/projects/0/image/timeout", "4s");

    world.agent.once().await.expect_code(1);

    world.expect_runs(&["1 ci failed at build"]).await;
    let mail = world.expect_mail("build failed").await;
    assert!(mail.text.contains("image.timeout"), "the mail names no way out: {}", mail.text);
    assert!(world.log_of(1).await.contains("looked around"));
    let ended = eventually(async || {
        let left = world.processes_naming(&format!("done # {}", world.prefix()));
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    ended.await.expect("the engine has ended the build");
    world.expect_nothing_deployed().await;
    canaries.expect_nowhere(&world).await;
    expect_no_trees(&world).await;
    world.end().await;
}

#[tokio::test]
async fn a_dockerfile_that_is_a_link_to_a_secret_is_not_read() {
    let (world, canaries) = hostile().await;
    world.agent.set("/projects/0/test", json!("none"));
    let secret = world.agent.config_file().with_file_name("github-token");
    let link = Change::Symlink("Dockerfile".to_owned(), secret.display().to_string());
    let page = Change::Write("app/index.html".to_owned(), "hello link".to_owned());
    world.repo.commit_changes("main", &[page, link], "Build a secret").await;

    world.agent.once().await.expect_code(1);

    world.expect_runs(&["1 ci failed at build"]).await;
    let mail = world.expect_mail("build failed").await;
    assert!(mail.text.contains("leads out of the repository"), "{}", mail.text);
    world.expect_nothing_deployed().await;
    canaries.expect_nowhere(&world).await;
    world.end().await;
}

#[tokio::test]
async fn a_dockerfile_that_prints_the_secret_it_was_given_shows_it_to_nobody() {
    let (world, canaries) = hostile().await;
    let mount = format!("RUN --mount=type=secret,id={BUILD_SECRET}");
    let given = format!("/run/secrets/{BUILD_SECRET}");
    let printing = format!(
        "{mount},required=true cat {given}; base64 {given}; base64 {given} | tr -d '\\n'; \
         sed 's/+/%2B/g; s,/,%2F,g; s/=/%3D/g' {given}; echo; echo printed for {}",
        world.prefix()
    );
    // Backwards, as no masking knows it: neither a line without the mount nor a test's build may have it at all.
    let look_around = format!("RUN : {}; {LOOK_AROUND}", world.prefix());
    let test =
        format!("FROM {BASE_IMAGE}\n{mount} : {}; rev {given} || echo not for tests\n", world.prefix());
    let commit = async |page: &str, end: &str| {
        let mut changes = vec![Change::Write("test.Dockerfile".to_owned(), test.clone())];
        for (path, content) in App::Page(page.to_owned()).files() {
            let own = format!("FROM {BASE_IMAGE}\n{printing}{end}\n{look_around}\n");
            let content = content.replace(&format!("FROM {BASE_IMAGE}\n"), &own);
            changes.push(Change::Write(path, content));
        }
        world.repo.commit_changes("main", &changes, page).await;
    };
    world.agent.set("/projects/0/test", json!({"in": {"dockerfile": "test.Dockerfile"}}));

    commit("hello thief", "; exit 7").await;
    world.agent.once().await.expect_code(1);
    let mail = world.expect_mail("build failed").await;
    assert!(mail.text.contains("printed for") && mail.text.contains("[redacted]"), "{}", mail.text);
    commit("hello fence", "").await;
    world.agent.once().await.expect_success();

    world.expect_serving("hello fence").await;
    world.expect_mail("1 deployed").await;
    let log = world.log_of(2).await;
    assert!(log.contains("not for tests") && log.contains("looked around"), "{log}");
    canaries.expect_nowhere(&world).await;
    world.end().await;
}
