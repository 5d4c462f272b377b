//! The GitHub client against a server that answers as GitHub does.

use std::time::Duration;
use std::time::Instant;

use chrono::DateTime;
use chrono::Utc;
use homeport::clients::clock::Clock;
use homeport::clients::github::GitHub;
use homeport::clients::github::GitHubError;
use homeport::clients::github::Head;
use homeport::clients::github::HeadAnswer;
use homeport::clients::github::Messages;
use homeport::clients::github::TagRef;
use homeport::clients::tls::Tls;
use homeport::event::Budget;
use homeport::model::Changed;
use homeport::model::CommitSha;
use homeport::model::Repository;
use secrecy::SecretString;
use url::Url;

use crate::stub_server::StubServer;
use crate::stub_server::Then;
use crate::stub_server::answer;
use crate::stub_server::closed_address;

const OLD: &str = "6dcb09b5b57875f334f61aebed695e2e4193db5e";
const NEW: &str = "7fd1a60b01f91b314f59955a4e4d4e80d8edf11d";
const TOKEN: &str = "github_pat_TheToken";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn sha(text: &str) -> CommitSha {
    text.parse().unwrap()
}

fn repository() -> Repository {
    "octocat/Hello-World".parse().unwrap()
}

fn client(url: &Url, token: Option<&str>) -> GitHub {
    client_within(url, token, Duration::from_secs(20))
}

fn client_within(url: &Url, token: Option<&str>, limit: Duration) -> GitHub {
    let token = token.map(|token| SecretString::from(token.to_owned()));
    GitHub::new(&Tls::open().unwrap(), url, token.as_ref(), limit, Clock::manual(now())).unwrap()
}

async fn poll(github: &GitHub, branch: &str, known: Option<&str>) -> Result<HeadAnswer, GitHubError> {
    let known = known.map(sha);
    github.head(&repository(), &branch.parse().unwrap(), known.as_ref()).await
}

/// The error that a poll ends in when GitHub answers so.
async fn refusal(status: u16, headers: &'static [(&str, &str)], body: &'static str) -> GitHubError {
    let server = StubServer::start(move |_, _| answer(status, headers, body)).await;
    poll(&client(&server.url, Some(TOKEN)), "main", None).await.unwrap_err()
}

fn wait_of(error: &GitHubError) -> i64 {
    match error {
        GitHubError::RateLimited { until } => (*until - now()).num_seconds(),
        other => panic!("no rate limit: {other}"),
    }
}

#[tokio::test]
async fn a_poll_sends_the_known_commit_as_its_etag_and_reads_the_new_one() {
    let server = StubServer::start(|_, _| {
        let headers = [
            ("content-type", "application/vnd.github.sha; charset=utf-8"),
            ("date", "Mon, 21 Sep 2026 14:13:20 GMT"),
            ("x-ratelimit-limit", "5000"),
            ("x-ratelimit-remaining", "4999"),
            ("x-ratelimit-reset", "1790000900"),
        ];
        answer(200, &headers, NEW)
    })
    .await;
    let head = poll(&client(&server.url, Some(TOKEN)), "main", Some(OLD)).await.unwrap();
    assert_eq!(head.head, Head::At(sha(NEW)));
    let reset = now() + Duration::from_secs(900);
    assert_eq!(head.budget, Some(Budget { limit: 5000, remaining: 4999, reset }));
    assert_eq!(head.moved_to, None);

    let seen = &server.requests()[0];
    assert_eq!(seen.target, "/repos/octocat/Hello-World/commits/heads/main");
    assert_eq!(seen.header("accept"), ["application/vnd.github.sha"]);
    assert_eq!(seen.header("if-none-match"), [format!("\"{OLD}\"")]);
    assert_eq!(seen.header("authorization"), [format!("Bearer {TOKEN}")]);
    assert_eq!(seen.header("user-agent"), [concat!("homeport/", env!("CARGO_PKG_VERSION"))]);
}

#[tokio::test]
async fn an_unchanged_branch_is_unchanged_whether_by_304_or_by_the_same_commit() {
    let server = StubServer::start(|_, before| match before {
        0 => answer(304, &[("etag", "\"x\"")], ""),
        _ => answer(200, &[], format!("{OLD}\n")),
    })
    .await;
    let github = client(&server.url, None);
    for _ in 0..2 {
        assert_eq!(poll(&github, "main", Some(OLD)).await.unwrap().head, Head::Unchanged);
    }
    assert!(server.requests()[0].header("authorization").is_empty());
}

#[tokio::test]
async fn a_304_that_nobody_asked_for_is_no_answer() {
    let error = refusal(304, &[], "").await;
    assert!(matches!(error, GitHubError::Server { status: 304, .. }), "{error}");
}

#[tokio::test]
async fn a_branch_keeps_its_slashes_and_encodes_the_rest() {
    let server = StubServer::start(|_, _| answer(200, &[], NEW)).await;
    poll(&client(&server.url, None), "feature/50%-off#1+ü", None).await.unwrap();
    let path = "/repos/octocat/Hello-World/commits/heads/feature/50%25-off%231%2B%C3%BC";
    assert_eq!(server.lines(), [format!("GET {path}")]);
}

#[tokio::test]
async fn an_api_below_a_path_is_asked_below_that_path() {
    let server = StubServer::start(|_, _| answer(200, &[], NEW)).await;
    for base in ["api/v3", "api/v3/", "repos"] {
        poll(&client(&server.url.join(base).unwrap(), None), "main", None).await.unwrap();
    }
    let tail = "/repos/octocat/Hello-World/commits/heads/main";
    assert_eq!(
        server.lines(),
        [format!("GET /api/v3{tail}"), format!("GET /api/v3{tail}"), format!("GET /repos{tail}")]
    );
}

#[tokio::test]
async fn a_primary_limit_waits_for_the_reset() {
    const HEADERS: &[(&str, &str)] = &[
        ("date", "Mon, 21 Sep 2026 14:13:20 GMT"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1790000600"),
    ];
    for status in [403, 429] {
        let error =
            refusal(status, HEADERS, r#"{"message":"API rate limit exceeded for 203.0.113.7."}"#).await;
        assert_eq!(wait_of(&error), 600);
    }
}

#[tokio::test]
async fn a_secondary_limit_waits_as_told_or_a_minute() {
    let body = r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes."}"#;
    assert_eq!(
        wait_of(&refusal(403, &[("retry-after", "30"), ("x-ratelimit-remaining", "4987")], body).await),
        30
    );
    assert_eq!(wait_of(&refusal(403, &[("x-ratelimit-remaining", "4987")], body).await), 60);
    assert_eq!(wait_of(&refusal(429, &[], "<html>").await), 60);
}

#[tokio::test]
async fn a_refused_token_is_asked_for_once_and_never_printed() {
    let error = refusal(401, &[], r#"{"message":"Bad credentials","status":"401"}"#).await;
    assert!(matches!(error, GitHubError::Unauthorized { .. }));
    let text = format!("{error:?} {error}");
    assert!(text.contains("github.token") && !text.contains(TOKEN), "{text}");
}

#[tokio::test]
async fn a_permission_error_is_not_a_limit_and_is_not_repeated() {
    let server = StubServer::start(|_, _| {
        let body = r#"{"message":"Resource not accessible by personal access token","status":"403"}"#;
        answer(403, &[("x-ratelimit-remaining", "4999")], body)
    })
    .await;
    let error = poll(&client(&server.url, Some(TOKEN)), "main", None).await.unwrap_err();
    assert!(matches!(error, GitHubError::Forbidden { .. }), "{error}");
    assert!(error.to_string().contains("Resource not accessible"), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn everything_missing_says_what_and_the_way_out() {
    let not_found = r#"{"message":"Not Found","status":"404"}"#;
    let with_token = refusal(404, &[], not_found).await;
    assert!(matches!(with_token, GitHubError::NotFound { .. }));
    assert!(with_token.to_string().contains("give the token read access"), "{with_token}");

    let server = StubServer::start(move |_, _| answer(404, &[], not_found)).await;
    let without = poll(&client(&server.url, None), "main", None).await.unwrap_err();
    assert!(without.to_string().contains("set `github.token` if it is private"), "{without}");

    let branch = refusal(422, &[], r#"{"message":"No commit found for SHA: main","status":"422"}"#).await;
    assert!(branch.to_string().contains("no branch `main`"), "{branch}");
    let empty = refusal(409, &[], r#"{"message":"Git Repository is empty.","status":"409"}"#).await;
    assert!(empty.to_string().contains("push a first commit"), "{empty}");
}

#[tokio::test]
async fn a_server_error_is_not_repeated_here() {
    let server = StubServer::start(|_, _| answer(502, &[], "<html>502 Bad Gateway</html>")).await;
    let error = poll(&client(&server.url, None), "main", None).await.unwrap_err();
    assert!(matches!(error, GitHubError::Server { status: 502, .. }), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_no_commit_is_malformed() {
    for body in ["", "<html>Please log in</html>", "6dcb09b", "{\"sha\":\"x\"}"] {
        let error = refusal(200, &[], body).await;
        assert!(matches!(error, GitHubError::Malformed { .. }), "{body}: {error}");
    }
    let endless = StubServer::start(|_, _| answer(200, &[], vec![b'a'; 5 << 20])).await;
    let error = poll(&client(&endless.url, None), "main", None).await.unwrap_err();
    assert!(matches!(error, GitHubError::TooLong { .. }), "{error}");
}

#[tokio::test]
async fn a_renamed_repository_is_followed_and_its_new_name_is_asked_once() {
    let server = StubServer::start(|seen, _| match seen.target.as_str() {
        "/repos/octocat/Hello-World/commits/heads/main" => {
            answer(301, &[("location", "/repositories/1296269/commits/heads/main")], "{}")
        }
        "/repositories/1296269/commits/heads/main" if seen.header("if-none-match").is_empty() => {
            answer(200, &[], NEW)
        }
        "/repositories/1296269/commits/heads/main" => answer(304, &[], ""),
        "/repositories/1296269" => answer(200, &[], r#"{"id":1296269,"full_name":"octocat/new-name"}"#),
        other => panic!("unexpected {other}"),
    })
    .await;
    let github = client(&server.url, Some(TOKEN));
    let first = poll(&github, "main", None).await.unwrap();
    assert_eq!((first.head, first.moved_to), (Head::At(sha(NEW)), Some("octocat/new-name".parse().unwrap())));
    let second = poll(&github, "main", Some(NEW)).await.unwrap();
    assert_eq!((second.head, second.moved_to), (Head::Unchanged, Some("octocat/new-name".parse().unwrap())));
    assert_eq!(server.requests().len(), 5);
    assert!(server.requests().iter().all(|seen| seen.header("authorization").len() == 1));
}

#[tokio::test]
async fn a_redirect_to_another_host_is_refused_and_gets_no_token() {
    let portal = StubServer::start(|_, _| answer(200, &[], NEW)).await;
    let target = portal.url.to_string();
    let server = StubServer::start(move |_, _| answer(302, &[("location", &target)], "")).await;
    let error = poll(&client(&server.url, Some(TOKEN)), "main", None).await.unwrap_err();
    assert!(matches!(error, GitHubError::Malformed { .. }), "{error}");
    assert!(error.to_string().contains("login page"), "{error}");
    assert_eq!(portal.requests().len(), 0);
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let server = StubServer::start(|seen, _| answer(301, &[("location", seen.target.as_str())], "")).await;
    let error = poll(&client(&server.url, None), "main", None).await.unwrap_err();
    assert!(matches!(error, GitHubError::Malformed { .. }), "{error}");
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn a_mute_a_hanging_and_a_dripping_server_hold_a_poll_no_longer_than_its_limit() {
    for (bytes, then) in [
        (&b""[..], Then::Hang),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n6dcb", Then::Hang),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n", Then::Drip),
    ] {
        let server = StubServer::raw(bytes, then).await;
        let github = client_within(&server.url, None, Duration::from_millis(200));
        let started = Instant::now();
        let error = poll(&github, "main", None).await.unwrap_err();
        assert!(matches!(error, GitHubError::Unreachable { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn no_server_a_cut_answer_and_no_tls_are_unreachable_with_their_cause() {
    let cut = StubServer::raw(b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n6dcb", Then::Close).await;
    let plain = StubServer::raw(b"HTTP/1.1 400 Bad Request\r\n\r\n", Then::Close).await;
    let tls = Url::parse(&plain.url.as_str().replace("http:", "https:")).unwrap();
    for url in [closed_address().await, cut.url.clone(), tls] {
        let error = poll(&client(&url, None), "main", None).await.unwrap_err();
        assert!(matches!(error, GitHubError::Unreachable { .. }), "{url}: {error}");
        let chain = format!("{:#}", anyhow::Error::new(error));
        assert!(chain.starts_with("GitHub (127.0.0.1) cannot be reached: "), "{chain}");
        assert!(!chain.contains("Found at"), "{chain}");
    }
}

#[tokio::test]
async fn a_commit_is_read_from_githubs_own_example() {
    let body = format!(
        r#"{{"sha":"{OLD}","html_url":"https://github.com/octocat/Hello-World/commit/{OLD}",
        "commit":{{"message":"Fix all the bugs\n\nAnd more","author":{{"name":"Monalisa Octocat","email":"x","date":"2011-04-14T16:00:49Z"}}}},
        "author":{{"login":"octocat"}},"files":[{{"filename":"file1.txt","additions":10}}]}}"#
    );
    let server = StubServer::start(move |_, _| answer(200, &[], body.clone())).await;
    let commit = client(&server.url, None).commit(&repository(), &sha(OLD)).await.unwrap();
    assert_eq!(commit.subject, "Fix all the bugs");
    assert_eq!(commit.author, "Monalisa Octocat");
    assert_eq!(commit.url, format!("https://github.com/octocat/Hello-World/commit/{OLD}"));
    assert_eq!(server.lines(), [format!("GET /repos/octocat/Hello-World/commits/{OLD}?per_page=1")]);
}

#[tokio::test]
async fn a_token_that_no_header_can_carry_is_refused_at_once_without_printing_it() {
    let url = closed_address().await;
    let token = SecretString::from("two\nlines".to_owned());
    let refused =
        GitHub::new(&Tls::open().unwrap(), &url, Some(&token), Duration::from_secs(1), Clock::manual(now()));
    let text = format!("{:#}", refused.err().unwrap());
    assert!(text.contains("line break") && !text.contains("two"), "{text}");
}

#[tokio::test]
async fn a_commit_is_found_by_its_first_digits_and_a_branch_of_that_name_is_none() {
    let server = StubServer::start(|_, number| match number {
        0 => answer(200, &[], NEW),
        1 => answer(200, &[], OLD),
        2 => answer(422, &[], r#"{"message": "No commit found for SHA: 7fd1a60"}"#),
        _ => answer(404, &[], r#"{"message": "Not Found"}"#),
    })
    .await;
    let github = client(&server.url, Some(TOKEN));
    let find = async || github.find_commit(&repository(), &"7fd1a60".parse().unwrap()).await;

    assert_eq!(find().await.unwrap(), Some(sha(NEW)));
    assert_eq!(find().await.unwrap(), None);
    assert_eq!(find().await.unwrap(), None);
    assert!(matches!(find().await, Err(GitHubError::NotFound { .. })));
    assert_eq!(server.lines()[0], "GET /repos/octocat/Hello-World/commits/7fd1a60");
}

#[tokio::test]
async fn what_changed_is_known_unless_history_was_rewritten_or_there_is_too_much() {
    let too_many = vec![serde_json::json!({"filename": "a"}); 300];
    let cut = serde_json::json!({"status": "ahead", "files": too_many}).to_string();
    let known =
        r#"{"status": "ahead", "files": [{"filename": "b", "previous_filename": "a"}, {"filename": "c"}]}"#;
    let rewritten = r#"{"status": "diverged", "files": [{"filename": "c"}]}"#;
    let server = StubServer::start(move |_, number| match number {
        0 => answer(200, &[], known),
        1 => answer(200, &[], rewritten),
        2 => answer(200, &[], cut.clone()),
        3 => answer(404, &[], r#"{"message": "Not Found"}"#),
        4 => answer(200, &[], "x".repeat(5 << 20)),
        5 => answer(502, &[], "<html>"),
        _ => answer(200, &[], "<html>"),
    })
    .await;
    let github = client(&server.url, Some(TOKEN));
    let ask = async || github.changed_files(&repository(), &sha(OLD), &sha(NEW)).await;

    let paths = ["b", "a", "c"].map(str::to_owned).to_vec();
    assert_eq!(ask().await.unwrap(), Changed::Files { since: sha(OLD), paths });
    for why in ["rewritten", "cut short", "gone", "too long"] {
        assert_eq!(ask().await.unwrap(), Changed::Unknown, "{why}");
    }
    assert!(matches!(ask().await, Err(GitHubError::Server { status: 502, .. })));
    assert!(matches!(ask().await, Err(GitHubError::Malformed { .. })));
    let line = format!("GET /repos/octocat/Hello-World/compare/{OLD}...{NEW}?per_page=1");
    assert_eq!(server.lines()[0], line);
}

#[tokio::test]
async fn what_commits_say_is_known_only_where_the_newer_one_follows_the_older() {
    let listed =
        r#"[{"commit": {"message": "feat: a light"}}, {"commit": {}}, {"commit": {"message": "fix"}}]"#;
    let ahead = format!(r#"{{"status": "ahead", "total_commits": 252, "commits": {listed}}}"#);
    let rewritten = format!(r#"{{"status": "diverged", "total_commits": 3, "commits": {listed}}}"#);
    let server = StubServer::start(move |_, number| match number {
        0 => answer(200, &[], ahead.clone()),
        1 => answer(200, &[], rewritten.clone()),
        2 => answer(404, &[], r#"{"message": "Not Found"}"#),
        3 => answer(200, &[], "x".repeat(5 << 20)),
        _ => answer(502, &[], "<html>"),
    })
    .await;
    let github = client(&server.url, Some(TOKEN));
    let ask = async || github.messages(&repository(), &sha(OLD), &sha(NEW)).await;

    let read = ["feat: a light", "", "fix"].map(str::to_owned).to_vec();
    assert_eq!(ask().await.unwrap(), Some(Messages { read, left_out: 249 }));
    for why in ["rewritten", "gone", "too long"] {
        assert_eq!(ask().await.unwrap(), None, "{why}");
    }
    assert!(matches!(ask().await, Err(GitHubError::Server { status: 502, .. })));
    // A page would hold the oldest of them.
    assert_eq!(server.lines()[0], format!("GET /repos/octocat/Hello-World/compare/{OLD}...{NEW}"));
}

#[tokio::test]
async fn tags_come_page_by_page_and_are_asked_for_with_their_etag_where_one_page_holds_them() {
    let tag = |name: &str, kind: &str| {
        format!(
            r#"[{{"ref": "refs/tags/{name}", "object": {{"type": "{kind}", "sha": "{NEW}", "url": ""}}}}]"#
        )
    };
    let server = StubServer::start(move |seen, number| match number {
        0 => answer(200, &[("etag", "W/\"a\"")], tag("v1", "commit")),
        1 if seen.header("if-none-match") == ["W/\"a\""] => answer(304, &[], ""),
        2 => answer(
            200,
            &[("etag", "W/\"b\""), ("link", "<https://api.github.com/x?page=2>; rel=\"next\"")],
            tag("v1", "commit"),
        ),
        3 => answer(200, &[("etag", "W/\"c\"")], tag("v2", "tag")),
        4 => answer(200, &[], OLD),
        _ => answer(404, &[], r#"{"message": "Not Found"}"#),
    })
    .await;
    let github = client(&server.url, Some(TOKEN));
    let ask = async |etag: Option<&str>| github.tags(&repository(), "v", etag).await;
    let tag = |name: &str, commit: Option<&str>| TagRef { name: name.to_owned(), commit: commit.map(sha) };

    let first = ask(None).await.unwrap();
    assert_eq!(first.tags, Some(vec![tag("v1", Some(NEW))]));
    let again = ask(first.etag.as_deref()).await.unwrap();
    assert_eq!((again.tags, again.etag), (None, first.etag));
    let both = ask(None).await.unwrap();
    assert_eq!((both.tags, both.etag), (Some(vec![tag("v1", Some(NEW)), tag("v2", None)]), None));
    assert_eq!(github.commit_of_tag(&repository(), "v2").await.unwrap(), sha(OLD));
    assert!(matches!(ask(None).await, Err(GitHubError::NotFound { .. })));
    let path = "GET /repos/octocat/Hello-World";
    assert_eq!(server.lines()[3], format!("{path}/git/matching-refs/tags/v?per_page=100&page=2"));
    assert_eq!(server.lines()[4], format!("{path}/commits/tags/v2"));
}
