//! The probe and the heartbeat against servers that answer, stay silent and misbehave.

use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

use homeport::clients::heartbeat::Heartbeat;
use homeport::clients::probe::Probe;
use homeport::clients::tls::Tls;
use url::Url;

use crate::stub_server::StubServer;
use crate::stub_server::Then;
use crate::stub_server::answer;
use crate::stub_server::closed_address;

const LIMIT: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

fn address(url: &Url) -> SocketAddr {
    url.socket_addrs(|| None).unwrap()[0]
}

#[tokio::test]
async fn every_status_is_an_answer_and_a_redirect_is_not_followed() {
    let server = StubServer::start(|seen, _| {
        let status = seen.target.trim_start_matches("/s/").parse().unwrap();
        answer(status, &[("location", "http://127.0.0.1:1/elsewhere")], "page")
    })
    .await;
    let probe = Probe::new().unwrap();
    for status in [200, 204, 302, 404, 500] {
        assert_eq!(probe.http(address(&server.url), &format!("/s/{status}"), LIMIT).await, Ok(status));
    }
    let seen = &server.requests()[0];
    assert_eq!(seen.header("host"), ["localhost"]);
    assert_eq!(seen.header("user-agent"), [concat!("homeport/", env!("CARGO_PKG_VERSION"))]);
}

#[tokio::test]
async fn a_path_keeps_its_query() {
    let server = StubServer::start(|_, _| answer(200, &[], "")).await;
    Probe::new().unwrap().http(address(&server.url), "/health?deep=1", LIMIT).await.unwrap();
    assert_eq!(server.lines(), ["GET /health?deep=1"]);
}

#[tokio::test]
async fn a_body_without_an_end_does_not_hold_a_probe() {
    let server = StubServer::raw(b"HTTP/1.1 200 OK\r\n\r\ndata", Then::Drip).await;
    let started = Instant::now();
    assert_eq!(Probe::new().unwrap().http(address(&server.url), "/", LIMIT).await, Ok(200));
    assert!(started.elapsed() < LIMIT / 2);
}

#[tokio::test]
async fn no_answer_says_why_in_words() {
    let probe = Probe::new().unwrap();
    let closed = address(&closed_address().await);
    let refused = "Connection refused (os error 111)";
    assert_eq!(probe.http(closed, "/", LIMIT).await.unwrap_err().reason, refused);
    assert_eq!(probe.tcp(closed, LIMIT).await.unwrap_err().reason, refused);

    let mute = StubServer::raw(b"", Then::Hang).await;
    let slow = "no answer within 200ms";
    assert_eq!(probe.http(address(&mute.url), "/", SHORT).await.unwrap_err().reason, slow);
    assert_eq!(probe.tcp(address(&mute.url), LIMIT).await, Ok(()));

    let rude = StubServer::raw(b"", Then::Close).await;
    let reason = probe.http(address(&rude.url), "/", LIMIT).await.unwrap_err().reason;
    assert!(reason.contains("connection closed") || reason.contains("reset"), "{reason}");
    let no_http = StubServer::raw(b"SSH-2.0-OpenSSH_9.2\r\n", Then::Close).await;
    let reason = probe.http(address(&no_http.url), "/", LIMIT).await.unwrap_err().reason;
    assert!(reason.contains("HTTP"), "{reason}");
}

#[tokio::test]
async fn a_heartbeat_is_one_get_and_says_when_it_was_not_heard() {
    let server = StubServer::start(|_, before| answer(if before == 0 { 200 } else { 404 }, &[], "OK")).await;
    let heartbeat =
        Heartbeat::new(&Tls::open().unwrap(), &server.url.join("secret-uuid").unwrap(), LIMIT).unwrap();
    heartbeat.ping().await.unwrap();
    assert_eq!(server.lines(), ["GET /secret-uuid"]);
    let unheard = format!("{:#}", heartbeat.ping().await.unwrap_err());
    assert!(unheard.contains("answered 404") && !unheard.contains("secret-uuid"), "{unheard}");
}

#[tokio::test]
async fn a_heartbeat_that_nobody_hears_does_not_hang_or_tell_its_address() {
    let mute = StubServer::raw(b"", Then::Hang).await;
    for url in [closed_address().await, mute.url.clone()] {
        let heartbeat =
            Heartbeat::new(&Tls::open().unwrap(), &url.join("secret-uuid").unwrap(), SHORT).unwrap();
        let text = format!("{:#}", heartbeat.ping().await.unwrap_err());
        assert!(
            text.starts_with("ping the heartbeat at 127.0.0.1") && !text.contains("secret-uuid"),
            "{text}"
        );
    }
}
