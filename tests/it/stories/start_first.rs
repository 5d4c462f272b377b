//! `order: "start-first"`: the new container proves itself beside the old one and takes its name while a real
//! reverse proxy, nginx, keeps asking for the service by that name.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use crate::world::World;
use crate::world::app::App;
use crate::world::app::BASE_IMAGE;
use crate::world::assertions::eventually;
use crate::world::leash::Leash;

/// Fewer requests than this over a swap show nothing.
const LEAST_REQUESTS: usize = 10_000;
const CONNECTIONS: usize = 6;
const LONGEST: Duration = Duration::from_secs(90);

fn page(text: &str) -> App {
    App::Page(text.to_owned())
}

/// nginx on the service's network, which asks Docker for the service's name.
struct Proxy {
    url: String,
    _nginx: Leash,
}

impl Proxy {
    async fn start(world: &World, network: &str) -> Self {
        let name = format!("{}.proxy", world.project());
        let run = ["run", "--detach", "--name", &name, "--network", network, BASE_IMAGE, "sleep", "100000"];
        world.engine.docker(&run).await.unwrap();
        let inspected = world.engine.inspect(&name).await.unwrap();
        let address = inspected["NetworkSettings"]["Networks"][network]["IPAddress"].as_str().unwrap();
        let folder = world.folder().join("nginx");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("nginx.conf");
        std::fs::write(&file, configuration(&folder.display().to_string(), world.project())).unwrap();
        // The container lends its place on the network, and with it Docker's name service.
        let place = format!("--net=/proc/{}/ns/net", inspected["State"]["Pid"]);
        let (file, folder) = (file.display().to_string(), folder.display().to_string());
        let argv = ["nsenter", &place, "--", "nginx", "-e", "stderr", "-p", &folder, "-c", &file];
        let nginx = Leash::start(&argv, &world.folder().join("nginx.log"));
        nginx.wait_listening(format!("{address}:80").parse().unwrap()).await;
        Self { url: format!("http://{address}/"), _nginx: nginx }
    }

    async fn page(&self) -> String {
        let answer = reqwest::get(&self.url).await.expect("ask the proxy");
        answer.text().await.expect("read the proxy's answer")
    }
}

fn configuration(folder: &str, name: &str) -> String {
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = kinds.iter().map(|kind| format!("{kind}_temp_path {folder}/{kind};\n")).collect();
    format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 512; }}\n\
         http {{\naccess_log off;\nkeepalive_requests 1000000;\n{temporary}\
         resolver 127.0.0.11 valid=1s ipv6=off;\n\
         server {{\nlisten 80;\nlocation / {{\nset $service {name};\nproxy_pass http://$service:8080;\n}}\n}}\n}}\n"
    )
}

/// What visitors saw.
#[derive(Debug, Default)]
struct Seen {
    count: usize,
    old: usize,
    new: usize,
    failures: Vec<String>,
    is_over: bool,
}

/// Visitors who ask one page after the other until they are told that it is over.
async fn visit(url: String, seen: Arc<Mutex<Seen>>) {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    let began = Instant::now();
    loop {
        let answer = async {
            let answer = client.get(&url).send().await?;
            Ok::<_, reqwest::Error>((answer.status(), answer.text().await?))
        };
        let answer = answer.await;
        let mut seen = seen.lock().unwrap();
        seen.count += 1;
        match answer {
            Ok((status, text)) if status.is_success() && text.contains("hello one") => seen.old += 1,
            Ok((status, text)) if status.is_success() && text.contains("hello two") => seen.new += 1,
            other => seen.failures.push(format!("{:?} after {:?}", other, began.elapsed())),
        }
        if (seen.is_over && seen.count >= LEAST_REQUESTS) || began.elapsed() > LONGEST {
            return;
        }
    }
}

/// A world whose service has no published port and lives on a network of its own.
async fn behind_a_proxy() -> (World, String) {
    let world = World::start().await;
    world.only_deploy();
    let network = format!("{}-net", world.prefix());
    world.engine.docker(&["network", "create", &network]).await.unwrap();
    world.agent.unset("/projects/0/deploy/ports");
    world.agent.set("/projects/0/deploy/network", network.as_str());
    world.agent.set("/projects/0/deploy/order", "start-first");
    // nginx believes a name for a second, and the old container has to outlast that.
    world.agent.set("/projects/0/deploy/stop_grace", "3s");
    (world, network)
}

async fn previous_of(world: &World) -> serde_json::Value {
    world.engine.inspect(&format!("{}.previous", world.project())).await.expect("there is a way back")
}

#[tokio::test]
async fn a_version_takes_over_under_load_without_one_failed_request() {
    let (world, network) = behind_a_proxy().await;
    let one = world.deploy("1", &page("hello one")).await;
    let proxy = Proxy::start(&world, &network).await;
    assert!(proxy.page().await.contains("hello one"));
    let seen = Arc::new(Mutex::new(Seen::default()));
    let visitors: Vec<_> =
        (0..CONNECTIONS).map(|_| tokio::spawn(visit(proxy.url.clone(), Arc::clone(&seen)))).collect();

    let two = world.deploy("2", &page("hello two")).await;

    seen.lock().unwrap().is_over = true;
    for visitor in visitors {
        visitor.await.unwrap();
    }
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert!(seen.failures.is_empty(), "{seen:?}");
    assert!(seen.count >= LEAST_REQUESTS && seen.old > 0 && seen.new > 0, "{seen:?}");
    assert!(proxy.page().await.contains("hello two"));
    assert_eq!((two.state.as_str(), two.policy.as_str()), ("running", "always"));
    let previous = previous_of(&world).await;
    assert_eq!(previous["Id"], one.id.as_str());
    world.expect_untouched(&two).await;
    // It had its time to finish what it was asked.
    let log = world.log_of(2).await;
    assert!(log.contains("stopping") && log.contains("handing the name"), "{log}");
    world.end().await;
}

#[tokio::test]
async fn a_bad_version_beside_the_old_one_is_never_asked_by_name() {
    let (world, network) = behind_a_proxy().await;
    let one = world.deploy("1", &page("hello one")).await;
    let proxy = Proxy::start(&world, &network).await;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let visitor = tokio::spawn(visit(proxy.url.clone(), Arc::clone(&seen)));
    world.publish("2", &App::Answers500).await;
    world.agent.set("/projects/0/deploy/prove/timeout", "2s");

    world.agent.once().await.expect_code(1);

    visitor.abort();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert!(seen.failures.is_empty() && seen.old == seen.count && seen.old > 0, "{seen:?}");
    world.expect_untouched(&one).await;
    world.expect_runs(&["1 cd deployed 1", "2 cd rolled-back at prove 2"]).await;
    world.expect_mail("2 rolled back: 1 is running again").await;
    world.end().await;
}

#[tokio::test]
async fn a_bad_first_version_leaves_nothing_on_the_network() {
    let (world, _) = behind_a_proxy().await;
    world.publish("1", &App::ExitsAtOnce).await;

    world.agent.once().await.expect_code(1);

    assert!(world.engine.containers().await.is_empty());
    world.expect_mail("1 not deployed").await;
    world.expect_runs(&["1 cd failed at prove 1"]).await;
    world.end().await;
}

#[tokio::test]
async fn a_service_that_used_to_publish_a_port_moves_behind_the_proxy() {
    let world = World::start().await;
    world.only_deploy();
    let one = world.deploy("1", &page("hello one")).await;
    world.expect_serving("hello one").await;
    let network = format!("{}-net", world.prefix());
    world.engine.docker(&["network", "create", &network]).await.unwrap();
    world.agent.unset("/projects/0/deploy/ports");
    world.agent.set("/projects/0/deploy/network", network.as_str());
    world.agent.set("/projects/0/deploy/order", "start-first");
    let proxy = Proxy::start(&world, &network).await;

    world.agent.once().await.expect_success();

    let moved = eventually(async || {
        let page = proxy.page().await;
        if page.contains("hello one") { Ok(()) } else { Err(page) }
    });
    moved.await.unwrap();
    world.expect_not_serving().await;
    assert_eq!(previous_of(&world).await["Id"], one.id.as_str());
    world.expect_mail("1 deployed").await;
    world.expect_runs(&["1 cd deployed 1", "2 cd deployed 1"]).await;
    world.end().await;
}
