//! Where the secrets must not be: anywhere but in their files, the agent's memory, and the conversation they
//! belong to.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::world::Options;
use crate::world::World;
use crate::world::github::Fault;

#[tokio::test]
async fn secrets_stand_in_no_log_mail_image_file_or_process_list() {
    let (world, canaries) = World::with_canaries(Options::default()).await;
    // On the host, tests could see the most of all places; and a slow fetch is seen for sure.
    world.agent.set("/projects/0/test", json!({"in": "host", "commands": ["env", "ls -a", "sh test.sh"]}));
    world.github.fault_on("git-upload-pack", Fault::SlowBody(Duration::from_millis(5)));
    world.repo.commit_page("hello one").await;

    world.agent.once().await.expect_success();

    world.expect_mail("1 deployed").await;
    let fetches = canaries.expect_nowhere(&world).await;
    assert!(fetches > 0, "the fetch was too quick to be seen");
    world.end().await;
}

#[tokio::test]
async fn a_secret_that_a_test_prints_is_taken_out_of_log_and_mail() {
    let (world, canaries) = World::with_canaries(Options::default()).await;
    let encoded = STANDARD.encode(&canaries.github);
    let printing =
        format!("echo the token is {} or {encoded}; echo {}; false", canaries.github, canaries.hub);
    world.agent.set("/projects/0/test/commands", json!([printing]));
    world.repo.commit_page("hello one").await;

    world.agent.once().await.expect_code(1);

    let mail = world.expect_mail("tests failed").await;
    assert!(mail.text.contains("the token is"), "{}", mail.text);
    canaries.expect_in_no_record(&world).await;
    world.end().await;
}
