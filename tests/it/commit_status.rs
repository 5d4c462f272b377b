//! What GitHub is told about commits: kept in the database until it was told, and said in GitHub's own words.

use std::time::Duration;

use chrono::Utc;
use homeport::clients::clock::Clock;
use homeport::clients::github::GitHub;
use homeport::clients::github::GitHubError;
use homeport::clients::store::Store;
use homeport::clients::tls::Tls;
use homeport::model::CommitState;
use homeport::model::CommitStatus;
use secrecy::SecretString;
use serde_json::Value;
use serde_json::json;
use url::Url;

use crate::stub_server::StubServer;
use crate::stub_server::answer;

const SHA: &str = "7fd1a60b01f91b314f59955a4e4d4e80d8edf11d";

fn status(state: CommitState) -> CommitStatus {
    CommitStatus {
        project: "web".parse().unwrap(),
        repository: "octocat/Hello-World".parse().unwrap(),
        sha: SHA.parse().unwrap(),
        state,
        description: format!("it is {state:?}"),
    }
}

async fn say(server: &StubServer, target: Option<&Url>) -> Result<(), GitHubError> {
    let token = SecretString::from("github_pat_TheToken".to_owned());
    let (limit, clock) = (Duration::from_secs(20), Clock::manual(Utc::now()));
    let github = GitHub::new(&Tls::open().unwrap(), &server.url, Some(&token), limit, clock).unwrap();
    github.set_status(&status(CommitState::Failure), target).await
}

#[tokio::test]
async fn a_word_is_kept_until_it_was_told_and_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let [pending, success] = [CommitState::Pending, CommitState::Success].map(status);
    store.keep_status(pending.clone()).await.unwrap();
    store.keep_status(success.clone()).await.unwrap();
    // That the older word was on its way meanwhile does not make the newer one told.
    store.status_told(pending).await.unwrap();
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.untold_statuses().await.unwrap(), std::slice::from_ref(&success));
    store.status_told(success.clone()).await.unwrap();
    store.keep_status(success).await.unwrap();
    assert_eq!(store.untold_statuses().await.unwrap(), []);
}

#[tokio::test]
async fn a_commit_that_the_world_failed_stays_failed_while_it_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let [pending, error, success] =
        [CommitState::Pending, CommitState::Error, CommitState::Success].map(status);
    store.keep_status(error.clone()).await.unwrap();
    store.status_told(error).await.unwrap();

    store.keep_status(pending).await.unwrap();
    assert_eq!(store.untold_statuses().await.unwrap(), []);

    store.keep_status(success.clone()).await.unwrap();
    assert_eq!(store.untold_statuses().await.unwrap(), [success]);
}

#[tokio::test]
async fn a_word_follows_a_renamed_repository() {
    let server = StubServer::start(|seen, _| match seen.target.strip_prefix("/repos/octocat/Hello-World") {
        Some(rest) => answer(307, &[("location", format!("/repositories/1296269{rest}").as_str())], "{}"),
        None => answer(201, &[], "{}"),
    })
    .await;

    say(&server, Some(&"https://pi.example.org/web".parse().unwrap())).await.unwrap();

    let asked = server.requests();
    let lines: Vec<_> = asked.iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect();
    let [old, new] = ["repos/octocat/Hello-World", "repositories/1296269"];
    assert_eq!(lines, [old, new].map(|place| format!("POST /{place}/statuses/{SHA}")));
    let body: Value = serde_json::from_str(&asked[1].body).unwrap();
    let wanted = json!({
        "state": "failure", "description": "it is Failure", "context": "homeport/web",
        "target_url": "https://pi.example.org/web"
    });
    assert_eq!(body, wanted);
    assert!(asked.iter().all(|seen| seen.header("authorization").len() == 1));
}

#[tokio::test]
async fn a_refusal_says_whether_to_say_it_again() {
    for (code, body, expected) in [
        (403, r#"{"message":"Resource not accessible by personal access token"}"#, "may not"),
        (404, r#"{"message":"Not Found"}"#, "may not"),
        (422, r#"{"message":"No commit found for SHA"}"#, "never"),
        // The owner will give a new token, and the word is still true then.
        (401, r#"{"message":"Bad credentials"}"#, "later"),
        (429, r#"{"message":"You have exceeded a secondary rate limit"}"#, "later"),
        (502, "<html>", "later"),
    ] {
        let server = StubServer::start(move |_, _| answer(code, &[], body)).await;
        let error = say(&server, None).await.unwrap_err();
        let found = match error {
            GitHubError::MayNotWrite { .. } => "may not",
            GitHubError::Invalid { .. } => "never",
            _ => "later",
        };
        assert_eq!(found, expected, "{code}: {error}");
        assert_eq!(server.requests().len(), 1);
    }
}
