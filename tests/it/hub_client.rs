//! The Docker Hub client against a server that answers as Docker Hub does, oddities and all.

use std::time::Duration;
use std::time::Instant;

use axum::response::Response;
use chrono::DateTime;
use chrono::SecondsFormat;
use chrono::Utc;
use homeport::clients::clock::Clock;
use homeport::clients::hub::Hub;
use homeport::clients::hub::HubError;
use homeport::clients::tls::Tls;
use homeport::config::settings::Login;
use homeport::model::ListedTag;
use secrecy::SecretString;
use serde_json::Value;
use serde_json::json;
use url::Url;

use crate::stub_server::Seen;
use crate::stub_server::StubServer;
use crate::stub_server::Then;
use crate::stub_server::answer;
use crate::stub_server::closed_address;

const SECRET: &str = "dckr_pat_TheSecret";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_746_136_878, 0).unwrap()
}

fn client(url: &Url) -> Hub {
    Hub::new(&Tls::open().unwrap(), url, None, Duration::from_secs(20), Clock::manual(now())).unwrap()
}

fn client_with_login(url: &Url, clock: &Clock) -> Hub {
    let login = Login { username: "me".to_owned(), password: SecretString::from(SECRET.to_owned()) };
    Hub::new(&Tls::open().unwrap(), url, Some(login), Duration::from_secs(20), clock.clone()).unwrap()
}

async fn all(hub: &Hub) -> Result<Vec<ListedTag>, HubError> {
    hub.tags(&"me/hello".parse().unwrap(), |_| false).await
}

fn names(tags: &[ListedTag]) -> Vec<&str> {
    tags.iter().map(|tag| tag.tag.as_str()).collect()
}

fn page(names: &[&str], next: Option<&str>) -> Response {
    let results: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    answer(200, &[], json!({ "count": 999, "next": next, "previous": null, "results": results }).to_string())
}

/// The error that a listing ends in when Docker Hub answers so.
async fn refusal(status: u16, headers: &'static [(&str, &str)], body: &'static str) -> HubError {
    let server = StubServer::start(move |_, _| answer(status, headers, body)).await;
    let error = all(&client(&server.url)).await.unwrap_err();
    assert_eq!(server.requests().len(), 1, "nothing is repeated here");
    error
}

fn sample(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/dockerhub/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What is read from a sample, whatever its outer shape: a line per tag.
async fn read(name: &str) -> String {
    let sample = sample(name);
    let results = match (&sample, sample.get("results")) {
        (Value::Array(results), _) => results.clone(),
        (_, Some(results)) => results.as_array().unwrap().clone(),
        _ => vec![sample],
    };
    let body = json!({ "count": 1, "next": null, "results": results }).to_string();
    let server = StubServer::start(move |_, _| answer(200, &[], body.clone())).await;
    let tags = all(&client(&server.url)).await.unwrap();
    assert_eq!(tags.len(), results.len());
    tags.into_iter().map(|tag| line(&tag)).collect()
}

fn line(tag: &ListedTag) -> String {
    let digest = tag.digest.as_ref().map_or("-", |digest| digest.short());
    let time = tag.pushed_at.map_or("-".to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true));
    let platforms: Vec<String> = tag.platforms.iter().map(ToString::to_string).collect();
    format!("  {} {digest} {time} [{}]\n", tag.tag, platforms.join(" "))
}

#[tokio::test]
async fn every_real_answer_is_read() {
    let folder = format!("{}/tests/fixtures/dockerhub", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let mut lines = String::new();
    for file in files {
        lines += &format!("{file}\n{}", read(&file).await);
    }
    insta::assert_snapshot!(lines, @r"
    tag.grafana-2.1.3.null-dates-empty-os.json
      2.1.3 - - [linux/amd64]
    tag.library-rust-1.44.0-slim.no-digest.raw.json
      1.44.0-slim - 2020-06-09T20:45:50.400981Z [linux/amd64 linux/arm64/v8 linux/arm/v7 linux/386]
    tag.library-rust-1.44.1-slim.no-digest.raw.json
      1.44.1-slim - 2020-06-19T02:45:26.871928Z [linux/arm64/v8 linux/amd64 linux/arm/v7 linux/386]
    tag.linuxserver-dillinger-latest.json
      latest 58dc39f6cdde 2024-03-20T20:11:07.183053Z [linux/amd64 linux/arm64]
    tag.n8n-1.119.1.json
      1.119.1 4a43ddf853af 2025-11-10T14:19:44.292916Z [linux/amd64 linux/arm64]
    tag.rancher-k3s-v1.25.14.raw.json
      v1.25.14-k3s1 5f7b660e6f2a 2023-09-21T02:55:46.869820Z [linux/amd64 linux/arm64 linux/arm linux/s390x]
    tags.gcmirrors-kube-apiserver.inactive-null-pushed.json
      v1.18.7-rc.0 - 2020-07-16T07:29:28.814990Z [linux/amd64]
    tags.hexpm-elixir.partial-platforms.json
      1.19.4-erlang-28.1.1-debian-trixie-20251229-slim 3c102af2a10c 2026-01-01T15:44:36.795749Z [linux/arm64/v8]
      1.19.4-erlang-28.1.1-debian-trixie-20251208-slim 830b0c404538 2025-12-09T02:40:58.412213Z [linux/amd64 linux/arm64/v8]
      1.19.4-erlang-28.1.1-debian-trixie-20251117 249c2a2f1c44 2025-11-27T16:45:46.302517Z [linux/amd64 linux/arm64/v8]
    tags.library-debian.page1.raw.json
      unstable-slim 2ae17aff4c3c 2023-06-13T04:58:31.821511Z [linux/amd64 linux/s390x]
      unstable-20230612-slim 2ae17aff4c3c 2023-06-13T04:58:26.736918Z [linux/amd64 linux/s390x]
    tags.library-node.empty-images.json
      22.18.0-slim 88f44fbb06cc 2025-08-04T15:40:07.906572Z []
    tags.marqaaron-2021-era.results-array.json
      latest - 2021-01-04T19:55:18.440537Z [linux/amd64]
      1.2.1 - 2021-01-04T19:55:17.371990Z [linux/amd64]
      1.2.0 - 2021-01-03T20:18:06.075181Z [linux/amd64]
      1.1.0 - 2021-01-01T00:20:16.732299Z [linux/amd64]
    tags.portainer-agent.page1.json
      alpine-sts d57c3d57774d 2026-07-30T04:44:13.965904Z [linux/amd64 linux/arm64 linux/arm/v7 linux/ppc64le]
    tags.xmrig2021-r2021.inactive-no-digest.json
      latest - 2021-05-25T22:27:21.712654Z [linux/amd64]
    ");
}

#[tokio::test]
async fn a_hundred_tags_are_asked_for_and_official_images_are_in_the_library() {
    let server = StubServer::start(|_, _| page(&["1"], None)).await;
    let hub = client(&server.url.join("hub/").unwrap());
    all(&hub).await.unwrap();
    hub.tags(&"debian".parse().unwrap(), |_| false).await.unwrap();
    assert_eq!(
        server.lines(),
        [
            "GET /hub/v2/repositories/me/hello/tags?page_size=100",
            "GET /hub/v2/repositories/library/debian/tags?page_size=100",
        ]
    );
    assert_eq!(server.requests()[0].header("user-agent"), [concat!("homeport/", env!("CARGO_PKG_VERSION"))]);
    assert!(server.requests()[0].header("authorization").is_empty());
}

#[tokio::test]
async fn pages_are_followed_until_there_is_none_and_a_tag_that_moved_counts_once() {
    let server = StubServer::start(|seen, before| match before {
        0 => {
            assert_eq!(seen.target, "/v2/repositories/me/hello/tags?page_size=100");
            let host = seen.header("host")[0];
            page(
                &["4", "3"],
                Some(&format!("http://{host}/v2/repositories/me/hello/tags?page=2&page_size=100")),
            )
        }
        1 => page(&["3", "2"], Some("?page=3&page_size=100")),
        _ => page(&["1"], None),
    })
    .await;
    assert_eq!(names(&all(&client(&server.url)).await.unwrap()), ["4", "3", "2", "1"]);
    assert!(server.lines()[2].ends_with("tags?page=3&page_size=100"));
}

#[tokio::test]
async fn pages_are_followed_only_while_they_matter() {
    let server =
        StubServer::start(|_, before| page(&[&format!("t{before}")], Some(&format!("?page={}", before + 2))))
            .await;
    let hub = client(&server.url);
    let tags = hub.tags(&"me/hello".parse().unwrap(), |tags| tags.len() >= 3).await.unwrap();
    assert_eq!(names(&tags), ["t0", "t1", "t2"]);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_page_past_the_end_ends_the_list() {
    let server = StubServer::start(|_, before| match before {
        0 => page(&["1"], Some("?page=2&page_size=100")),
        _ => answer(404, &[], r#"{"message":"httperror 404: object not found","errinfo":{}}"#),
    })
    .await;
    assert_eq!(names(&all(&client(&server.url)).await.unwrap()), ["1"]);
}

#[tokio::test]
async fn a_list_without_an_end_or_in_a_circle_is_an_error() {
    let endless = StubServer::start(|_, before| page(&["1"], Some(&format!("?page={}", before + 2)))).await;
    let error = all(&client(&endless.url)).await.unwrap_err();
    assert!(matches!(error, HubError::TooManyTags { read: 1, .. }), "{error}");
    assert_eq!(endless.requests().len(), 100);

    let circle = StubServer::start(|_, _| page(&["1"], Some("?page=2"))).await;
    let error = all(&client(&circle.url)).await.unwrap_err();
    assert!(matches!(error, HubError::Malformed { .. }), "{error}");
    assert_eq!(circle.requests().len(), 2);
}

#[tokio::test]
async fn neither_a_next_page_nor_a_redirect_leads_to_another_server() {
    let elsewhere = StubServer::start(|_, _| page(&["666"], None)).await;
    let target = elsewhere.url.join("/v2/x").unwrap().to_string();
    let next = target.clone();
    for server in [
        StubServer::start(move |_, _| page(&["1"], Some(&next))).await,
        StubServer::start(move |_, _| answer(302, &[("location", &target)], "")).await,
    ] {
        let error = all(&client(&server.url)).await.unwrap_err();
        assert!(matches!(error, HubError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains("another server"), "{error}");
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

#[tokio::test]
async fn a_redirect_at_home_is_followed() {
    let server = StubServer::start(|seen, _| match seen.target.as_str() {
        "/v2/repositories/me/hello/tags/?page_size=100" => page(&["1"], None),
        _ => answer(301, &[("location", "/v2/repositories/me/hello/tags/?page_size=100")], ""),
    })
    .await;
    assert_eq!(names(&all(&client(&server.url)).await.unwrap()), ["1"]);
}

#[tokio::test]
async fn nothing_that_goes_wrong_looks_like_an_image_without_tags() {
    let missing =
        r#"{"message":"httperror 404: object not found","errinfo":{"namespace":"me","repository":"hello"}}"#;
    let error = refusal(404, &[], missing).await;
    assert!(matches!(error, HubError::NotFound { has_login: false, .. }), "{error}");
    assert!(error.to_string().contains("`docker_hub.token`"), "{error}");
    let error =
        refusal(404, &[("content-type", "text/html")], "<!doctype html><title>404 : Docker</title>").await;
    assert!(matches!(error, HubError::NotFound { .. }), "{error}");
    let error = refusal(401, &[], r#"{"detail":"Unauthorized"}"#).await;
    assert!(matches!(error, HubError::Unauthorized { has_login: false, .. }), "{error}");
    let error = refusal(403, &[], r#"{"detail":"no\u001b[31m"}"#).await;
    assert!(matches!(error, HubError::Forbidden { .. }) && !error.to_string().contains('\u{1b}'), "{error}");
    let error = refusal(200, &[], r#"{"count":0,"next":null,"previous":null,"results":[]}"#).await;
    assert!(matches!(error, HubError::Empty { .. }), "{error}");
    let error = refusal(200, &[], "<!doctype html><html>Please log in</html>").await;
    assert!(matches!(error, HubError::Malformed { .. }) && error.to_string().contains("web page"), "{error}");
    let error = refusal(200, &[], r#"{"count":1,"results":[{"name":"1""#).await;
    assert!(matches!(error, HubError::Malformed { .. }), "{error}");
    let error = refusal(500, &[], r#"{"txnid":"x","message":"ListRepositoryTags failed"}"#).await;
    assert!(matches!(error, HubError::Server { status: 500, .. }), "{error}");
    let error = refusal(503, &[], "").await;
    assert!(matches!(error, HubError::Server { status: 503, .. }), "{error}");
}

#[tokio::test]
async fn half_a_body_is_cut_off_and_an_endless_one_is_not_read_to_its_end() {
    let cut =
        StubServer::raw(b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{\"results\":[", Then::Close).await;
    let error = all(&client(&cut.url)).await.unwrap_err();
    assert!(matches!(error, HubError::CutOff { .. }), "{error}");
    let huge = StubServer::start(|_, _| answer(200, &[], vec![b' '; 9 << 20])).await;
    let error = all(&client(&huge.url)).await.unwrap_err();
    assert!(matches!(error, HubError::Malformed { .. }) && error.to_string().contains("longer"), "{error}");
}

#[tokio::test]
async fn every_form_of_limit_says_when_to_come_back() {
    const DATE: (&str, &str) = ("date", "Thu, 01 May 2025 22:01:18 GMT");
    let body = r#"{"detail":"Rate limit exceeded","error":false}"#;
    for (headers, wait) in [
        (&[DATE, ("retry-after", "1746136938"), ("x-ratelimit-reset", "1746136999")][..], 60),
        (&[DATE, ("retry-after", "37")], 37),
        (&[DATE, ("x-retry-after", "1746136938")], 60),
        (&[DATE, ("retry-after", "Thu, 01 May 2025 22:03:18 GMT")], 120),
        (&[DATE, ("x-ratelimit-reset", "1746136908")], 30),
        (&[DATE, ("retry-after", "86400")], 3600),
        (&[], 60),
    ] {
        match refusal(429, headers, body).await {
            HubError::RateLimited { until } => assert_eq!((until - now()).num_seconds(), wait, "{headers:?}"),
            other => panic!("{headers:?}: {other}"),
        }
    }
    assert!(matches!(refusal(429, &[], "Too Many Requests").await, HubError::RateLimited { .. }));
}

#[tokio::test]
async fn a_mute_a_hanging_and_a_dripping_server_hold_a_poll_no_longer_than_its_limit() {
    for (bytes, then) in [
        (&b""[..], Then::Hang),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n{", Then::Hang),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n", Then::Drip),
    ] {
        let server = StubServer::raw(bytes, then).await;
        let hub = Hub::new(
            &Tls::open().unwrap(),
            &server.url,
            None,
            Duration::from_millis(200),
            Clock::manual(now()),
        )
        .unwrap();
        let started = Instant::now();
        let error = all(&hub).await.unwrap_err();
        assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn no_server_and_no_tls_are_unreachable_with_their_cause() {
    let plain = StubServer::raw(b"HTTP/1.1 400 Bad Request\r\n\r\n", Then::Close).await;
    let tls = Url::parse(&plain.url.as_str().replace("http:", "https:")).unwrap();
    for url in [closed_address().await, tls] {
        let error = all(&client(&url)).await.unwrap_err();
        assert!(matches!(error, HubError::Unreachable { .. }), "{url}: {error}");
        let chain = format!("{:#}", anyhow::Error::new(error));
        assert!(chain.starts_with("Docker Hub (127.0.0.1) cannot be reached: "), "{chain}");
    }
}

/// Docker Hub with an account: `bearer` is what a login gives and the tags want.
fn with_account(seen: &Seen, bearer: &str) -> Response {
    if seen.target == "/v2/auth/token" {
        let body: Value = serde_json::from_str(&seen.body).unwrap();
        assert_eq!(body, json!({ "identifier": "me", "secret": SECRET }));
        return answer(200, &[], json!({ "access_token": bearer }).to_string());
    }
    if seen.header("authorization") == [format!("Bearer {bearer}")] {
        page(&["1"], None)
    } else {
        answer(401, &[], r#"{"detail":"token expired"}"#)
    }
}

#[tokio::test]
async fn a_login_is_used_until_it_is_about_to_end() {
    let server = StubServer::start(|seen, _| with_account(seen, "jwt")).await;
    let clock = Clock::manual(now());
    let hub = client_with_login(&server.url, &clock);
    all(&hub).await.unwrap();
    all(&hub).await.unwrap();
    assert_eq!(server.requests().len(), 3);
    clock.advance(Duration::from_secs(9 * 60));
    all(&hub).await.unwrap();
    assert_eq!(server.lines().iter().filter(|line| line.contains("auth/token")).count(), 2);
}

#[tokio::test]
async fn a_login_that_ended_early_is_renewed_once() {
    let server = StubServer::start(|seen, before| match before {
        0..=2 => with_account(seen, "first"),
        _ => with_account(seen, "second"),
    })
    .await;
    let hub = client_with_login(&server.url, &Clock::manual(now()));
    all(&hub).await.unwrap();
    all(&hub).await.unwrap();
    all(&hub).await.unwrap();
    let last: Vec<String> = server.lines().into_iter().skip(3).collect();
    let tags = "GET /v2/repositories/me/hello/tags?page_size=100";
    assert_eq!(last, [tags, "POST /v2/auth/token", tags]);
}

#[tokio::test]
async fn a_login_that_is_given_but_not_accepted_is_no_endless_loop() {
    let server = StubServer::start(|seen, _| match seen.method.as_str() {
        "POST" => answer(200, &[], r#"{"access_token":"jwt"}"#),
        _ => answer(401, &[], "{}"),
    })
    .await;
    let error = all(&client_with_login(&server.url, &Clock::manual(now()))).await.unwrap_err();
    assert!(matches!(error, HubError::Unauthorized { has_login: true, .. }), "{error}");
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn a_refused_login_is_not_tried_again_and_never_printed() {
    let server =
        StubServer::start(|_, _| answer(401, &[], r#"{"detail":"Incorrect authentication credentials"}"#))
            .await;
    let clock = Clock::manual(now());
    let hub = client_with_login(&server.url, &clock);
    for _ in 0..5 {
        let error = all(&hub).await.unwrap_err();
        assert!(matches!(error, HubError::LoginRefused { .. }), "{error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains("Incorrect authentication") && !text.contains(SECRET), "{text}");
        clock.advance(Duration::from_secs(11 * 60));
    }
    assert_eq!(server.lines(), ["POST /v2/auth/token"]);
    // A locked user name refuses the right secret too, so an hour later is not never.
    clock.advance(Duration::from_secs(3600));
    all(&hub).await.unwrap_err();
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_limited_or_broken_login_is_the_worlds_fault_and_is_tried_again() {
    let server = StubServer::start(|_, before| match before {
        0 => answer(429, &[("retry-after", "37")], "{}"),
        1 => answer(502, &[], "<html>"),
        2 => answer(200, &[], "<html>"),
        3 => answer(200, &[], r#"{"access_token":"jwt"}"#),
        _ => page(&["1"], None),
    })
    .await;
    let hub = client_with_login(&server.url, &Clock::manual(now()));
    assert!(matches!(all(&hub).await.unwrap_err(), HubError::RateLimited { .. }));
    assert!(matches!(all(&hub).await.unwrap_err(), HubError::Server { status: 502, .. }));
    assert!(matches!(all(&hub).await.unwrap_err(), HubError::Malformed { .. }));
    assert_eq!(names(&all(&hub).await.unwrap()), ["1"]);
}

#[tokio::test]
async fn the_old_login_is_tried_where_there_is_no_new_one_and_none_where_there_is_neither() {
    let old = StubServer::start(|seen, _| match seen.target.as_str() {
        "/v2/auth/token" => answer(404, &[], ""),
        "/v2/users/login" => {
            let body: Value = serde_json::from_str(&seen.body).unwrap();
            assert_eq!(body, json!({ "username": "me", "password": SECRET }));
            answer(200, &[], r#"{"token":"old"}"#)
        }
        _ => page(&[seen.header("authorization")[0].trim_start_matches("Bearer ")], None),
    })
    .await;
    let hub = client_with_login(&old.url, &Clock::manual(now()));
    assert_eq!(names(&all(&hub).await.unwrap()), ["old"]);

    let neither = StubServer::start(|seen, _| match seen.method.as_str() {
        "POST" => answer(404, &[], ""),
        _ => page(&["1"], None),
    })
    .await;
    let hub = client_with_login(&neither.url, &Clock::manual(now()));
    all(&hub).await.unwrap();
    all(&hub).await.unwrap();
    assert_eq!(neither.requests().len(), 4);
    assert!(neither.requests().iter().all(|seen| seen.header("authorization").is_empty()));
}
