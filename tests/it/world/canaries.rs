//! Canaries: secrets that are no other world's, and the check that they are nowhere but in their files, in the
//! agent's memory, and in the conversations they belong to.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;
use serde_json::json;

use crate::world::Options;
use crate::world::World;
use crate::world::hook::Hook;
use crate::world::mail::MailMode;
use crate::world::mail::PASSWORD;
use crate::world::registry::Login;

/// The id of the secret that builds are given.
pub const BUILD_SECRET: &str = "canary";

/// The secrets of one world, and who watches all processes of this machine for them.
pub struct Canaries {
    /// The GitHub token.
    pub github: String,
    /// The Docker Hub token.
    pub hub: String,
    webhook: String,
    /// The secret of every build, two lines, of which `base64` breaks the second.
    build: String,
    _hook: Hook,
    stop: Arc<AtomicBool>,
    watcher: Mutex<Option<JoinHandle<Seen>>>,
}

/// A process that had a secret in its environment: its command line and those of its ancestors.
type Lineage = Vec<String>;

/// What was seen of all processes.
#[derive(Default)]
struct Seen {
    in_arguments: Vec<String>,
    in_environments: Vec<Lineage>,
}

impl World {
    /// A world with these options, in which every secret is a canary and in use: a private repository, a mail server
    /// that wants a login, a webhook.
    pub async fn with_canaries(options: Options) -> (Self, Canaries) {
        let world =
            Self::start_with(Options { mail: MailMode::Login, private_repository: true, ..options }).await;
        let of_world = |kind: &str| format!("{kind}OnlyOf{}", world.prefix());
        let (github, hub, webhook) = (of_world("ghp_"), of_world("dckr_pat_"), of_world("hook/+="));
        let build = format!("{}\n{}", of_world("build/+="), of_world("AnotherLine").repeat(4));
        world.github.accept_token(&github);
        world.hub.accept_login(Login { username: "me".to_owned(), password: hub.clone() });
        let hook = world.open_hook();
        for (name, secret) in
            [("github-token", &github), ("docker-hub-token", &hub), ("webhook-secret", &webhook)]
        {
            world.agent.write_secret(name, secret);
        }
        let of_builds = world.agent.write_secret("build-secret", &build);
        world.agent.set("/projects/0/image/secrets", json!({ BUILD_SECRET: of_builds }));
        let stop = Arc::new(AtomicBool::new(false));
        // The mail password is shared by all worlds: a process that has it may be another's.
        let (own, until) = ([&github, &hub, &webhook, &build].map(Clone::clone), Arc::clone(&stop));
        let watcher = std::thread::spawn(move || watch_processes(&own, &until));
        (
            world,
            Canaries { github, hub, webhook, build, _hook: hook, stop, watcher: Mutex::new(Some(watcher)) },
        )
    }
}

impl Canaries {
    /// No process but a fetch has had a secret so far, and [`Self::expect_in_no_record`]. Gives how often a fetch was
    /// seen with its token. Ends the watch over processes.
    pub async fn expect_nowhere(&self, world: &World) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let watcher = self.watcher.lock().unwrap().take().expect("the canaries are looked for once");
        let seen = watcher.join().expect("watch all processes");
        assert!(seen.in_arguments.is_empty(), "secrets in arguments: {:?}", seen.in_arguments);
        for lineage in &seen.in_environments {
            // A process may have ended between the looks at it.
            let is_over = lineage.iter().any(String::is_empty);
            // A fetch that fails or is killed may end an instant before its helpers, which then have no ancestor; git
            // starts one of them by either name.
            let helpers = [" fetch ", "/git remote-http", "/git-remote-http", "git index-pack "];
            let is_of_fetch = |line: &String| helpers.iter().any(|word| line.contains(word));
            let is_fetch = lineage.iter().any(|line| line.contains("git") && is_of_fetch(line));
            assert!(is_over || is_fetch, "a process beside the fetch has a secret: {lineage:?}");
        }
        self.expect_in_no_record(world).await;
        seen.in_environments.len()
    }

    /// No secret is in the agent's journal and files, a mail, a commit status, an image or a container's description.
    pub async fn expect_in_no_record(&self, world: &World) {
        self.expect_absent("the agent's journal", world.agent.transcript().as_bytes());
        for folder in [world.agent.state_dir(), world.agent.log_dir()] {
            self.expect_absent_below(&folder);
        }
        for mail in world.mail.inbox() {
            for text in [&mail.raw, &mail.text, &mail.html] {
                self.expect_absent(&mail.subject, text.as_bytes());
            }
            mail.attachments.iter().for_each(|(name, content)| self.expect_absent(name, content));
        }
        for status in world.github.statuses() {
            self.expect_absent("a commit status", format!("{status:?}").as_bytes());
        }
        let saved = world.folder().join("saved-image");
        for image in world.engine.images().await {
            for look in [&["history", "--no-trunc", &image][..], &["image", "inspect", &image]] {
                let text = world.engine.docker(look).await.expect("look at an image");
                self.expect_absent(&look.join(" "), text.as_bytes());
            }
            let path = saved.to_str().expect("a path in UTF-8");
            world.engine.docker(&["save", "--output", path, &image]).await.expect("save an image");
            self.expect_absent(&image, &std::fs::read(&saved).expect("read a saved image"));
        }
        std::fs::remove_file(saved).ok();
        for container in world.engine.containers().await {
            let text = world.engine.docker(&["inspect", &container.name]).await.unwrap_or_default();
            self.expect_absent(&container.name, text.as_bytes());
        }
    }

    fn expect_absent_below(&self, folder: &Path) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.expect_absent_below(&path);
            } else {
                // What is gone again holds nothing.
                self.expect_absent(&path.display().to_string(), &std::fs::read(&path).unwrap_or_default());
            }
        }
    }

    fn expect_absent(&self, place: &str, content: &[u8]) {
        let secrets = [self.github.as_str(), &self.hub, &self.webhook, PASSWORD];
        let mut forms: Vec<String> = secrets.into_iter().chain(self.build.lines()).flat_map(forms).collect();
        // As `base64` breaks a file into lines.
        let pieces = self.build.as_bytes().chunks(57).filter(|piece| piece.len() > 20);
        forms.extend(pieces.map(|piece| STANDARD.encode(&piece[..piece.len() / 3 * 3])));
        let found = AhoCorasick::new(&forms).expect("a few words to look for").find(content);
        if let Some(found) = found {
            let around = content.get(found.start().saturating_sub(300)..).unwrap_or_default();
            let around = String::from_utf8_lossy(around.get(..700).unwrap_or(around));
            panic!("{place} holds a secret as {}: … {around} …", forms[found.pattern()]);
        }
    }
}

impl Drop for Canaries {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A secret as it is and as tools print it: URL-encoded, and in base64 at each alignment. And backwards, as no
/// masking knows it: what holds that was written by somebody who could read the secret.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), secret.chars().rev().collect()];
    forms.push(utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string());
    for before in 0..3 {
        let shifted = [&b"  "[..before.min(2)], secret.as_bytes()].concat();
        // Only those digits that nothing beside the secret has a part in.
        let whole = &shifted[..shifted.len() / 3 * 3];
        let first = if before == 0 { 0 } else { 4 };
        forms.extend([STANDARD.encode(whole), URL_SAFE.encode(whole)].map(|text| text[first..].to_owned()));
    }
    forms
}

/// Looks at every process, again and again, until told to stop.
fn watch_processes(secrets: &[String], stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        for entry in std::fs::read_dir("/proc").expect("list processes").filter_map(Result::ok) {
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
        std::thread::sleep(Duration::from_millis(2));
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
