//! The registry and the Docker Hub tags API in front of it: what a real docker pushes is what is listed.

use std::time::Duration;
use std::time::Instant;

use reqwest::StatusCode;
use serde_json::Value;
use serde_json::json;

use crate::world::HUB_TOKEN;
use crate::world::Options;
use crate::world::World;
use crate::world::app::App;
use crate::world::app::BASE_IMAGE;
use crate::world::hub::Fault;
use crate::world::hub::Lag;
use crate::world::hub::ListedTag;
use crate::world::hub::RetryHint;
use crate::world::registry;

fn page(text: &str) -> App {
    App::Page(text.to_owned())
}

async fn list(world: &World, query: &str) -> (u16, Value) {
    get(&format!("{}/v2/repositories/{}/tags{query}", world.hub.url(), world.image())).await
}

async fn get(url: &str) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

fn names(listed: &Value) -> Vec<&str> {
    listed["results"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_tags_are_what_docker_pushed_newest_first() {
    let world = World::start().await;
    assert_eq!(list(&world, "").await.0, 404, "an image that was never pushed");
    let first = world.publish("1", &page("one")).await;
    let second = world.publish("2", &page("two")).await;
    assert_ne!(first, second);

    let (status, listed) = list(&world, "?page_size=100").await;
    assert_eq!((status, names(&listed)), (200, vec!["2", "1"]));
    assert_eq!(listed["results"][0]["digest"], second);
    assert_eq!(listed["results"][1]["images"][0]["os"], "linux");
    assert_eq!(listed["results"][1]["images"][0]["architecture"], "amd64");
    world.expect_tags(&["1", "2"]).await;
    assert_eq!(world.registry.count_pushes(&world.image(), "1"), 1);

    let (_, single) =
        get(&format!("{}/v2/namespaces/{}/repositories/web/tags/1", world.hub.url(), world.prefix())).await;
    assert_eq!(single["digest"], first);
    assert_eq!(get(&format!("{}/v2/repositories/{}/tags/9", world.hub.url(), world.image())).await.0, 404);
    world.end().await;
}

#[tokio::test]
async fn pages_follow_next_and_end_with_404() {
    let world = World::start().await;
    for number in 1..=5 {
        world.hub.add_tag(
            &world.image(),
            ListedTag::fake(&number.to_string(), &["linux/arm64", "unknown/unknown"]),
        );
    }
    let (_, first) = list(&world, "?page_size=2&ordering=-last_updated").await;
    assert_eq!((&first["count"], names(&first)), (&json!(5), vec!["1", "2"]));
    let next = first["next"].as_str().unwrap();
    assert!(next.contains("/v2/repositories/") && next.contains("ordering=-last_updated"), "{next}");
    let (_, second) = get(next).await;
    assert_eq!(names(&second), ["3", "4"]);
    assert_eq!(list(&world, "?page_size=2&page=4").await.0, 404);
    assert_eq!(list(&world, "?page_size=1000").await.1["next"], Value::Null);
    world.hub.force_page_size(Some(1));
    assert_eq!(names(&list(&world, "?page_size=100").await.1).len(), 1);
}

#[tokio::test]
async fn the_index_lags_and_lists_oddities_on_demand() {
    let world = World::start().await;
    let digest = world.publish("1", &page("one")).await;
    world.hub.lag(Lag::Listings(2));
    for _ in 0..2 {
        assert_eq!(names(&list(&world, "").await.1), Vec::<&str>::new());
    }
    assert_eq!(names(&list(&world, "").await.1), ["1"]);
    world.hub.lag(Lag::UntilReleased);
    world.registry.retag(&world.image(), "1", "2").await;
    assert_eq!(names(&list(&world, "").await.1), ["1"]);
    world.hub.lag(Lag::None);
    assert_eq!(names(&list(&world, "").await.1), ["2", "1"]);

    world.hub.alter_tag(&world.image(), "2", |tag| tag.digest = None);
    world.hub.alter_tag(&world.image(), "1", |tag| tag.platforms.clear());
    let (_, listed) = list(&world, "").await;
    assert_eq!(listed["results"][0].get("digest"), None);
    assert_eq!(listed["results"][1]["images"], json!([]));
    world.hub.clear_alterations();

    let entries = [("linux/amd64", digest.as_str()), ("unknown/unknown", digest.as_str())];
    let index = world.registry.put_index(&world.image(), "3", &entries).await;
    let (_, listed) = list(&world, "").await;
    assert_eq!(listed["results"][0]["digest"], index);
    assert_eq!(listed["results"][0]["images"][1]["architecture"], "unknown");
}

#[tokio::test]
async fn the_hub_checks_logins_and_fails_as_it_is_told() {
    let world = World::start().await;
    world.publish("1", &page("one")).await;
    world.hub.make_private(&world.image());
    assert_eq!(list(&world, "").await.0, 404, "private");

    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(3)).build().unwrap();
    let log_in = async |secret: &str| {
        let body = json!({"identifier": "me", "secret": secret}).to_string();
        client.post(format!("{}/v2/auth/token", world.hub.url())).body(body).send().await.unwrap()
    };
    assert_eq!(log_in("wrong").await.status(), StatusCode::UNAUTHORIZED);
    let token =
        log_in(HUB_TOKEN).await.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
    let url = format!("{}/v2/repositories/{}/tags", world.hub.url(), world.image());
    let listed = async || client.get(&url).bearer_auth(&token).send().await;
    assert_eq!(listed().await.unwrap().status(), StatusCode::OK);

    let faults = [
        (Fault::NotFound, 404),
        (Fault::Unauthorized, 401),
        (Fault::Status(500), 500),
        (Fault::Html, 200),
        (Fault::RateLimited(RetryHint::Seconds(3)), 429),
        (Fault::RateLimited(RetryHint::Timestamp(3)), 429),
        (Fault::RateLimited(RetryHint::OldTimestamp(3)), 429),
        (Fault::RateLimited(RetryHint::Nothing), 429),
    ];
    for (fault, status) in faults {
        world.hub.fault_next(1, fault);
        assert_eq!(listed().await.unwrap().status().as_u16(), status);
    }
    world.hub.fault_next(1, Fault::EmptyList);
    assert_eq!(listed().await.unwrap().json::<Value>().await.unwrap()["results"], json!([]));
    world.hub.fault_next(1, Fault::Hang);
    assert!(listed().await.unwrap_err().is_timeout());
    world.hub.fault_next(1, Fault::HalfBody);
    assert!(listed().await.unwrap().text().await.is_err());
    world.hub.fault_next(1, Fault::Down);
    assert!(listed().await.is_err());

    world.hub.expire_tokens();
    assert_eq!(listed().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_push_is_refused_or_cut_and_the_registry_holds_nothing_of_it() {
    let world = World::start_with(Options { registry_login: true, ..Options::default() }).await;
    let image = format!("{}/{}:1", world.registry.address(), world.image());
    world.engine.docker(&["tag", BASE_IMAGE, &image]).await.unwrap();
    let push = async || world.engine.push(&image, world.registry.login()).await;

    world.registry.fault(registry::Fault::RefuseUpload(403));
    assert!(push().await.unwrap_err().contains("denied"));
    world.registry.clear_faults();
    world.registry.fault(registry::Fault::RefuseManifest(403));
    assert!(push().await.unwrap_err().contains("denied"));
    world.registry.clear_faults();
    world.registry.wire().go_down().await;
    assert!(push().await.unwrap_err().contains("refused"));
    world.registry.wire().come_back().await;
    world.expect_tags(&[]).await;

    push().await.unwrap();
    world.expect_tags(&["1"]).await;
    assert_eq!(world.registry.count_pushes(&world.image(), "1"), 1);
    assert!(
        world.registry.requests().all().iter().any(|seen| seen.authorization.as_deref() == Some("Basic"))
    );
}

#[tokio::test]
async fn an_upload_is_cut_after_so_many_bytes() {
    let world = World::start().await;
    let start = Instant::now();
    world.registry.wire().cut_uploads_after(Some(10_000));
    let url = format!("http://{}/v2/{}/blobs/uploads/", world.registry.address(), world.image());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let begun = client.post(url).send().await.unwrap();
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    let place = begun.headers()["location"].to_str().unwrap().to_owned();
    assert!(place.contains(&world.registry.address()), "the upload goes through the proxy, too: {place}");
    assert!(client.patch(&place).body(vec![0; 100_000]).send().await.is_err());
    world.registry.clear_faults();
    assert!(client.get(&place).send().await.unwrap().status().is_success());
    assert!(start.elapsed() < Duration::from_secs(5));
}
