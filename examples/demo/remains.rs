//! What a demo could leave behind, and that it does not: it is looked for by the demo's name in Docker, among the
//! processes and on disk, and removed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use crate::story::NAME;
use crate::world::app::BASE_IMAGE;
use crate::world::claim;
use crate::world::engine::SHARED_HOST;
use crate::world::engine::clean_up;

/// A request to Docker that was cut off may still be carried out.
const SETTLING: Duration = Duration::from_millis(300);
const DEADLINE: Duration = Duration::from_secs(15);

/// What to look for when the demo is over.
pub struct Remains {
    /// What every name of this demo begins with.
    prefix: String,
    had_base_image: bool,
}

impl Remains {
    /// Looks at what is there before the demo makes anything.
    pub fn of_this_demo() -> Self {
        Self { prefix: format!("{NAME}-{}-", std::process::id()), had_base_image: has_base_image() }
    }

    /// Removes what the demo left behind. Gives what could not be removed.
    pub fn remove(&self) -> Vec<String> {
        let end = Instant::now() + DEADLINE;
        let mut times_clean = 0;
        loop {
            let left = self.list();
            times_clean = if left.is_empty() { times_clean + 1 } else { 0 };
            if times_clean == 2 || Instant::now() >= end {
                self.remove_base_image();
                return left;
            }
            if !left.is_empty() {
                clean_up::remove_all(SHARED_HOST, &self.prefix);
            }
            std::thread::sleep(SETTLING);
        }
    }

    fn list(&self) -> Vec<String> {
        let listings: [(&str, &[&str]); 4] = [
            ("container", &["ps", "--all", "--no-trunc", "--format", "{{.Names}} {{.Image}} {{.Labels}}"]),
            ("image", &["images", "--format", "{{.Repository}}:{{.Tag}}"]),
            ("network", &["network", "ls", "--format", "{{.Name}}"]),
            ("volume", &["volume", "ls", "--format", "{{.Name}}"]),
        ];
        let in_docker = listings.into_iter().flat_map(|(kind, listing)| {
            let all = docker(listing);
            all.lines().map(|thing| format!("{kind} {thing}")).collect::<Vec<_>>()
        });
        in_docker.chain(processes()).chain(files()).filter(|thing| thing.contains(&self.prefix)).collect()
    }

    /// The base image stays where it was before, or where the tests use it now.
    fn remove_base_image(&self) {
        let is_used = files().any(|file| file.ends_with(".claim"));
        if !self.had_base_image && !is_used && has_base_image() {
            docker(&["rmi", BASE_IMAGE]);
        }
    }
}

fn has_base_image() -> bool {
    docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).lines().any(|image| image == BASE_IMAGE)
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(["--host", SHARED_HOST]).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// The command lines of all processes but this one.
fn processes() -> impl Iterator<Item = String> {
    let me = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries.filter(move |entry| *entry.file_name() != *me).filter_map(|entry| {
        let raw = std::fs::read(entry.path().join("cmdline")).ok()?;
        Some(format!("process {}", String::from_utf8_lossy(&raw).replace('\0', " ")))
    })
}

fn files() -> impl Iterator<Item = String> {
    let folder = std::env::temp_dir().join(claim::FOLDER);
    let entries = std::fs::read_dir(Path::new(&folder)).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| format!("file {}", entry.path().display()))
}
