//! The webhook over a real socket: GitHub's official payloads and signatures, and strangers who send
//! something else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use homeport::model::Followed;
use homeport::webhook::Endpoint;
use homeport::webhook::Limits;
use homeport::webhook::delivery::Watched;
use homeport::webhook::serve;
use serde::Deserialize;
use sha2::Sha256;
use slog::Logger;
use slog::o;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const SECRET: &str = "It's a Secret to Everybody";
const PATIENCE: Duration = Duration::from_secs(20);
const MAIN_PUSH: &[u8] = br#"{"ref":"refs/heads/main","repository":{"full_name":"me/hello"}}"#;

/// A running endpoint and what it nudged.
struct Webhook {
    address: SocketAddr,
    nudges: Arc<Mutex<Vec<String>>>,
    agent_listens: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

fn followed(watched: &Watched) -> String {
    match &watched.followed {
        Followed::Branch(branch) => branch.to_string(),
        Followed::Tags(glob) => glob.to_string(),
    }
}

impl Webhook {
    async fn start(watched: &[(&str, &str)]) -> Self {
        Self::start_with(SECRET, watched, Limits::default()).await
    }

    async fn start_with(secret: &str, watched: &[(&str, &str)], limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let nudges = Arc::new(Mutex::new(Vec::new()));
        let agent_listens = Arc::new(AtomicBool::new(true));
        let nudge = {
            let (nudges, agent_listens) = (Arc::clone(&nudges), Arc::clone(&agent_listens));
            move |w: &Watched| {
                anyhow::ensure!(agent_listens.load(Ordering::SeqCst), "the agent has ended");
                nudges.lock().unwrap().push(format!("{} {}", w.repository, followed(w)));
                Ok(())
            }
        };
        let watched = watched
            .iter()
            .map(|(r, b)| Watched {
                repository: r.parse().unwrap(),
                followed: Followed::Branch(b.parse().unwrap()),
            })
            .collect();
        let endpoint = Endpoint { secret: secret.into(), watched, limits };
        let shutdown = async { drop(stopped.await) };
        let log = Logger::root(slog::Discard, o!());
        let server = tokio::spawn(serve(listener, endpoint, nudge, shutdown, log));
        Self { address, nudges, agent_listens, stop, server }
    }

    fn take_nudges(&self) -> Vec<String> {
        std::mem::take(&mut *self.nudges.lock().unwrap())
    }

    /// Sends bytes, and gives the status and text of the answer; the connection must end behind it.
    async fn send_raw(&self, bytes: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let text = answer.split_once("\r\n\r\n").unwrap().1;
        (status.parse().unwrap(), text.to_owned())
    }

    async fn send(&self, request: &Delivery<'_>) -> u16 {
        self.send_raw(&request.to_bytes()).await.0
    }
}

/// A request as GitHub sends it, unless told otherwise.
struct Delivery<'a> {
    line: &'a str,
    event: Option<&'a str>,
    id: Option<&'a str>,
    content_type: &'a str,
    signature: Option<String>,
    body: &'a [u8],
}

impl<'a> Delivery<'a> {
    fn of(event: &'a str, body: &'a [u8]) -> Self {
        Self {
            line: "POST /webhook",
            event: Some(event),
            id: None,
            content_type: "application/json",
            signature: Some(sign(SECRET, body)),
            body,
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut text =
            format!("{} HTTP/1.1\r\nHost: pi\r\nUser-Agent: GitHub-Hookshot/1a2b3c4\r\n", self.line);
        let headers = [
            ("Content-Type", Some(self.content_type)),
            ("X-GitHub-Event", self.event),
            ("X-GitHub-Delivery", self.id),
            ("X-Hub-Signature-256", self.signature.as_deref()),
        ];
        for (name, value) in headers {
            if let Some(value) = value {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        [text.as_bytes(), self.body].concat()
    }
}

fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/webhooks").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[derive(Deserialize)]
struct Index {
    files: Vec<Example>,
}

#[derive(Deserialize)]
struct Example {
    file: String,
    event: String,
}

#[derive(Deserialize)]
struct PayloadSignatures {
    secret: String,
    signatures: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    secret: String,
    payload: String,
    x_hub_signature_256: String,
    valid: Option<bool>,
}

/// The three repositories of the official pushes.
const OFFICIAL: &[(&str, &str)] = &[
    ("codertocat/hello-world", "master"),
    ("6543/oxiduct", "main"),
    ("bradrydzewski/drone-test-go", "main"),
];

#[tokio::test]
async fn of_all_official_payloads_only_pushes_to_watched_branches_nudge() {
    let webhook = Webhook::start(OFFICIAL).await;
    let index: Index = serde_json::from_slice(&fixture("INDEX.json")).unwrap();
    let signed: PayloadSignatures = serde_json::from_slice(&fixture("payload-signatures.json")).unwrap();
    assert_eq!(signed.secret, SECRET);
    assert_eq!(index.files.len(), 36);
    let mut nudged = Vec::new();
    for example in &index.files {
        let body = fixture(&example.file);
        let mut delivery = Delivery::of(&example.event, &body);
        delivery.signature = Some(signed.signatures[&example.file].clone());
        delivery.id = Some(&example.file);
        let status = webhook.send(&delivery).await;
        let nudges = webhook.take_nudges();
        assert_eq!(status, if nudges.is_empty() { 200 } else { 202 }, "{}", example.file);
        nudged.extend(nudges.into_iter().map(|nudge| format!("{}: {nudge}", example.file)));
    }
    insta::assert_snapshot!(nudged.join("\n"), @"
    push.branch.new.json: codertocat/hello-world master
    push.branch.new.no-username-committer.json: codertocat/hello-world master
    push.branch.normal.json: codertocat/hello-world master
    push.branch.forced.json: 6543/oxiduct main
    ");
}

#[tokio::test]
async fn an_official_payload_with_another_ones_signature_is_refused() {
    let webhook = Webhook::start(OFFICIAL).await;
    let body = fixture("push.branch.normal.json");
    let other = fixture("push.branch.forced.json");
    for signature in [None, Some(String::new()), Some(sign(SECRET, &other)), Some(sign("wrong", &body))] {
        let mut delivery = Delivery::of("push", &body);
        delivery.signature = signature;
        assert_eq!(webhook.send(&delivery).await, 401);
    }
    assert!(webhook.take_nudges().is_empty());
}

#[tokio::test]
async fn the_documented_signature_vectors_hold() {
    let vectors: Vectors = serde_json::from_slice(&fixture("signature-vectors.json")).unwrap();
    assert_eq!(vectors.vectors.len(), 10);
    for vector in vectors.vectors {
        let webhook = Webhook::start_with(&vector.secret, &[("me/hello", "main")], Limits::default()).await;
        let mut delivery = Delivery::of("star", vector.payload.as_bytes());
        delivery.signature = Some(vector.x_hub_signature_256.clone());
        // The undecided vector has upper-case digits, which GitHub never sends.
        let expected = if vector.valid == Some(true) { 200 } else { 401 };
        assert_eq!(webhook.send(&delivery).await, expected, "{}", vector.x_hub_signature_256);
    }
}

#[tokio::test]
async fn two_signatures_are_as_good_as_none() {
    let webhook = Webhook::start(&[("me/hello", "main")]).await;
    let good = sign(SECRET, MAIN_PUSH);
    let mut delivery = Delivery::of("push", MAIN_PUSH);
    delivery.signature = Some(format!("sha256=00\r\nX-Hub-Signature-256: {good}"));
    assert_eq!(webhook.send(&delivery).await, 401);
}

#[tokio::test]
async fn a_form_is_signed_as_it_was_sent() {
    let webhook = Webhook::start(OFFICIAL).await;
    let json = String::from_utf8(fixture("push.branch.normal.json")).unwrap();
    let form: String =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &json).finish();
    let mut delivery = Delivery::of("push", form.as_bytes());
    delivery.content_type = "application/x-www-form-urlencoded";
    assert_eq!(webhook.send(&delivery).await, 202);
    assert_eq!(webhook.take_nudges(), ["codertocat/hello-world master"]);

    delivery.signature = Some(sign(SECRET, json.as_bytes()));
    assert_eq!(webhook.send(&delivery).await, 401);
}

#[tokio::test]
async fn a_repeated_delivery_is_ignored_unless_its_first_attempt_failed() {
    let webhook = Webhook::start(&[("me/hello", "main")]).await;
    let mut delivery = Delivery::of("push", MAIN_PUSH);
    delivery.id = Some("72d3162e-cc78-11e3-81ab-4c9367dc0958");

    webhook.agent_listens.store(false, Ordering::SeqCst);
    assert_eq!(webhook.send(&delivery).await, 503);
    webhook.agent_listens.store(true, Ordering::SeqCst);
    assert_eq!(webhook.send(&delivery).await, 202);
    assert_eq!(webhook.send(&delivery).await, 200);
    assert_eq!(webhook.take_nudges(), ["me/hello main"]);

    // A delivery without a valid signature cannot use up an id.
    let mut forged = Delivery::of("push", MAIN_PUSH);
    (forged.id, forged.signature) = (Some("next"), Some(sign("wrong", MAIN_PUSH)));
    assert_eq!(webhook.send(&forged).await, 401);
    delivery.id = Some("next");
    assert_eq!(webhook.send(&delivery).await, 202);
}

#[tokio::test]
async fn other_paths_methods_and_content_types_are_refused() {
    let webhook = Webhook::start(&[("me/hello", "main")]).await;
    for (line, expected) in [
        ("GET /webhook", 405),
        ("PUT /webhook", 405),
        ("POST /", 404),
        ("POST /webhook/", 404),
        ("GET /metrics", 404),
        ("POST /webhook?x=1", 202),
    ] {
        let mut delivery = Delivery::of("push", MAIN_PUSH);
        delivery.line = line;
        assert_eq!(webhook.send(&delivery).await, expected, "{line}");
    }
    let mut plain = Delivery::of("push", MAIN_PUSH);
    plain.content_type = "text/plain";
    assert_eq!(webhook.send(&plain).await, 415);
    let mut nameless = Delivery::of("push", MAIN_PUSH);
    nameless.event = None;
    assert_eq!(webhook.send(&nameless).await, 400);
    assert_eq!(webhook.send(&Delivery::of("push", b"{\"ref\":")).await, 400);
    assert_eq!(webhook.take_nudges(), ["me/hello main"]);
}

#[tokio::test]
async fn a_body_up_to_the_limit_is_read_and_a_larger_one_gets_an_answer() {
    let webhook = Webhook::start(&[("me/hello", "main")]).await;
    let padded = |size: usize| [MAIN_PUSH, &vec![b' '; size - MAIN_PUSH.len()]].concat();
    let just_right = padded(1024 * 1024);
    assert_eq!(webhook.send(&Delivery::of("push", &just_right)).await, 202);
    for size in [1024 * 1024 + 1, 8 * 1024 * 1024] {
        let too_large = padded(size);
        assert_eq!(webhook.send(&Delivery::of("push", &too_large)).await, 413);
    }
    assert_eq!(webhook.take_nudges().len(), 1);
}

#[tokio::test]
async fn the_answer_tells_the_owner_why_nothing_happens() {
    let webhook = Webhook::start(&[("me/hello", "main")]).await;
    let renamed = br#"{"ref":"refs/heads/main","repository":{"full_name":"me/hallo"}}"#;
    let (status, text) = webhook.send_raw(&Delivery::of("push", renamed).to_bytes()).await;
    assert_eq!(status, 200);
    insta::assert_snapshot!(text, @"ignored: no project follows repository `me/hallo`; if it was renamed, so must be `repository` in the config");
}

#[tokio::test]
async fn a_slow_client_is_cut_and_gives_its_place_to_the_next() {
    let limits = Limits { connections: 2, connection_life: Duration::from_millis(300), ..Limits::default() };
    let webhook = Webhook::start_with(SECRET, &[("me/hello", "main")], limits).await;
    let request = Delivery::of("push", MAIN_PUSH).to_bytes();
    // One says nothing, one stops in the headers, one in the body: more than there are places.
    let mut slow = Vec::new();
    for length in [0, 30, request.len() - 1] {
        let mut stream = TcpStream::connect(webhook.address).await.unwrap();
        stream.write_all(&request[..length]).await.unwrap();
        slow.push(stream);
    }
    assert_eq!(webhook.send_raw(&request).await.0, 202);
    for mut stream in slow {
        let mut rest = Vec::new();
        // Cut: either way the wait ends, and no slow client got what it asked for.
        let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
        assert!(ended.is_err() || !String::from_utf8_lossy(&rest).contains(" 202 "));
    }
    assert_eq!(webhook.take_nudges(), ["me/hello main"]);
}

#[tokio::test]
async fn the_end_of_the_agent_ends_the_endpoint_even_with_a_client_that_waits() {
    let limits = Limits { farewell: Duration::from_millis(50), ..Limits::default() };
    let webhook = Webhook::start_with(SECRET, &[("me/hello", "main")], limits).await;
    assert_eq!(webhook.send(&Delivery::of("ping", b"{}")).await, 200);
    let _waits = TcpStream::connect(webhook.address).await.unwrap();
    webhook.stop.send(()).unwrap();
    timeout(PATIENCE, webhook.server).await.unwrap().unwrap();
    assert!(TcpStream::connect(webhook.address).await.is_err());
}
