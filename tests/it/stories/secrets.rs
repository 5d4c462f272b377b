//! Where the secrets must not be: anywhere but in their files, the agent's memory, and the conversation they
//! belong to.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::world::Options;
use crate::world::World;
use crate::world::github::Fault;
use crate::world::mail::MailMode;
use crate::world::mail::PASSWORD;
use crate::world::registry::Login;

/// A process that had a secret in its environment, with the command lines of its ancestors, itself first.
type Lineage = Vec<String>;

/// What was seen of all processes of this machine while the agent worked.
#[derive(Default)]
struct Seen {
    in_arguments: Vec<String>,
    in_environments: Vec<Lineage>,
}

/// Looks at every process, again and again, until told to stop.
fn watch_processes(secrets: Vec<String>, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let arguments = command_line(pid);
            if secrets.iter().any(|secret| arguments.contains(secret)) {
                seen.in_arguments.push(arguments);
            }
            let environment = read(&entry.path().join("environ"));
            if secrets.iter().any(|secret| environment.contains(secret)) {
                seen.in_environments.push(lineage(pid));
            }
        }
    }
    seen
}

fn lineage(mut pid: u32) -> Lineage {
    let mut lines = Vec::new();
    while pid > 1 {
        lines.push(command_line(pid));
        let stat = read(Path::new(&format!("/proc/{pid}/stat")));
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        pid = parent.unwrap_or(0);
    }
    lines
}

fn command_line(pid: u32) -> String {
    read(Path::new(&format!("/proc/{pid}/cmdline"))).replace('\0', " ")
}

fn read(file: &Path) -> String {
    std::fs::read(file).map(|raw| String::from_utf8_lossy(&raw).into_owned()).unwrap_or_default()
}

/// Every file below a folder.
fn texts_below(folder: &Path) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        if entry.path().is_dir() {
            texts.extend(texts_below(&entry.path()));
        } else {
            texts.push((entry.path().display().to_string(), read(&entry.path())));
        }
    }
    texts
}

/// A world whose secrets are no other world's.
async fn secretive() -> (World, Vec<String>) {
    let options = Options { mail: MailMode::Login, private_repository: true, ..Options::default() };
    let world = World::start_with(options).await;
    let github = format!("ghp_OnlyOf{}", world.prefix());
    let hub = format!("dckr_pat_OnlyOf{}", world.prefix());
    world.github.accept_token(&github);
    world.hub.accept_login(Login { username: "me".to_owned(), password: hub.clone() });
    world.agent.write_secret("github-token", &github);
    world.agent.write_secret("docker-hub-token", &hub);
    (world, vec![github, hub, PASSWORD.to_owned()])
}

fn expect_absent(secrets: &[String], place: &str, text: &str) {
    for secret in secrets {
        for form in [secret.clone(), STANDARD.encode(secret)] {
            assert!(!text.contains(&form), "{place} holds the secret {form}:\n{text}");
        }
    }
}

#[tokio::test]
async fn secrets_stand_in_no_log_mail_image_file_or_process_list() {
    let (world, secrets) = secretive().await;
    // On the host, tests could see the most of all places; and a slow fetch is seen for sure.
    world.agent.set("/projects/0/test", json!({"in": "host", "commands": ["env", "ls -a", "sh test.sh"]}));
    world.github.fault_on("git-upload-pack", Fault::SlowBody(Duration::from_millis(5)));
    world.repo.commit_page("hello one").await;
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (secrets, stop) = (secrets[..2].to_vec(), Arc::clone(&stop));
        std::thread::spawn(move || watch_processes(secrets, &stop))
    };

    world.agent.once().await.expect_success();

    stop.store(true, Ordering::Relaxed);
    let seen = watcher.join().unwrap();
    assert!(seen.in_arguments.is_empty(), "secrets in arguments: {:?}", seen.in_arguments);
    assert!(!seen.in_environments.is_empty(), "the fetch was too quick to be seen");
    for lineage in &seen.in_environments {
        // A process may have ended between the looks at it.
        let is_over = lineage.iter().any(String::is_empty);
        let is_fetch = lineage.iter().any(|line| line.contains("git") && line.contains(" fetch "));
        assert!(is_over || is_fetch, "a process beside the fetch has a secret: {lineage:?}");
    }

    let mail = world.expect_mail("1 deployed").await;
    expect_absent(&secrets, "the mail", &mail.raw);
    expect_absent(&secrets, "the mail's text", &mail.text);
    for (name, content) in &mail.attachments {
        expect_absent(&secrets, name, &String::from_utf8_lossy(content));
    }
    expect_absent(&secrets, "stderr", &world.agent.transcript());
    for (name, text) in
        texts_below(&world.agent.state_dir()).into_iter().chain(texts_below(&world.agent.log_dir()))
    {
        expect_absent(&secrets, &name, &text);
    }
    let image = format!("{}/{}:1", world.registry.address(), world.image());
    for look in [&["history", "--no-trunc", &image][..], &["inspect", &image], &["inspect", world.project()]]
    {
        expect_absent(&secrets, &look.join(" "), &world.engine.docker(look).await.unwrap());
    }
    let content = format!("docker run --rm {image} sh -c 'find / -xdev -type f -name \"*token*\"; env'");
    let found = world.engine.docker(&["run", "--rm", &image, "env"]).await.unwrap();
    expect_absent(&secrets, &content, &found);
    world.end().await;
}

#[tokio::test]
async fn a_secret_that_a_test_prints_is_taken_out_of_log_and_mail() {
    let (world, secrets) = secretive().await;
    let encoded = STANDARD.encode(&secrets[0]);
    let printing = format!("echo the token is {} or {encoded}; echo {}; false", secrets[0], secrets[1]);
    world.agent.set("/projects/0/test/commands", json!([printing]));
    world.repo.commit_page("hello one").await;

    world.agent.once().await.expect_code(1);

    let mail = world.expect_mail("tests failed").await;
    assert!(mail.text.contains("the token is"), "{}", mail.text);
    expect_absent(&secrets, "the mail's text", &mail.text);
    expect_absent(&secrets, "the mail's HTML", &mail.html);
    for (name, content) in &mail.attachments {
        expect_absent(&secrets, name, &String::from_utf8_lossy(content));
    }
    for (name, text) in world.agent.run_logs() {
        expect_absent(&secrets, &name, &text);
    }
    expect_absent(&secrets, "stderr", &world.agent.transcript());
    for (name, text) in texts_below(&world.agent.state_dir()) {
        expect_absent(&secrets, &name, &text);
    }
    world.end().await;
}
