//! The real Docker engine, spoken to by the `docker` command line as a person would: looks at containers and
//! images, breaks them, builds and pushes sample images, asks the served pages. It touches only what carries
//! the world's prefix, and removes that at the end. An absent engine is a failure, never a skipped test.

mod base_image;
pub mod clean_up;
pub mod private;

pub use private::PrivateEngine;

use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;

use crate::world::app::App;
use crate::world::registry::Login;

/// The engine that all worlds share.
pub const SHARED_HOST: &str = "unix:///var/run/docker.sock";

/// An engine as one world sees it.
pub struct Engine {
    host: String,
    address: IpAddr,
    prefix: String,
    folder: PathBuf,
    client: reqwest::Client,
}

/// A container of this world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// `running`, `exited`, `created` …
    pub state: String,
    /// The image as it was given at creation.
    pub image: String,
}

impl Engine {
    /// The engine at `host`, whose published ports are reached at `address`.
    pub async fn connect(host: &str, address: IpAddr, prefix: &str, folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("make the docker client's folder");
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_millis(500))
            .timeout(Duration::from_secs(5))
            .build()
            .expect("make a client for the served pages");
        let engine = Self {
            host: host.to_owned(),
            address,
            prefix: prefix.to_owned(),
            folder: folder.to_owned(),
            client,
        };
        if let Err(error) = engine.docker(&["version"]).await {
            panic!("the world needs a Docker engine at {host}: {error}");
        }
        base_image::ensure(&engine).await;
        engine
    }

    /// `docker.host`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Runs `docker` with these arguments; its output, or what it complained about.
    pub async fn docker(&self, arguments: &[&str]) -> Result<String, String> {
        let output = tokio::process::Command::from(self.command(arguments)).kill_on_drop(true).output().await;
        let output = output.expect("run docker");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(format!("docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            // Ctrl-C in the terminal is for whom the world belongs to.
            .process_group(0)
            .env("DOCKER_CONFIG", &self.folder)
            .env("DOCKER_BUILDKIT", "0")
            .args(["--host", &self.host])
            .args(arguments);
        command
    }

    /// All that Docker knows of a container; `None` if there is none of that name.
    pub async fn inspect(&self, name: &str) -> Option<Value> {
        let text = self.docker(&["container", "inspect", name]).await.ok()?;
        let all: Value = serde_json::from_str(&text).expect("docker inspect gives JSON");
        all.get(0).cloned()
    }

    /// The digests under which the registry knows the image that a container was made from.
    pub async fn digests_of(&self, container: &str) -> Vec<String> {
        let Some(inspected) = self.inspect(container).await else { return Vec::new() };
        let id = inspected["Image"].as_str().unwrap_or_default();
        let format = "{{range .RepoDigests}}{{.}} {{end}}";
        let all = self.docker(&["image", "inspect", "--format", format, id]).await.unwrap_or_default();
        all.split_whitespace().filter_map(|one| Some(one.split_once('@')?.1.to_owned())).collect()
    }

    /// The world's containers: those whose name, image or labels carry its prefix.
    pub async fn containers(&self) -> Vec<Container> {
        let listed = self.docker(&["ps", "--all", "--no-trunc", "--format", "{{json .}}"]).await;
        self.ours(&listed.expect("list containers"))
            .into_iter()
            .map(|row| {
                let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
                Container { name: text("Names"), state: text("State"), image: text("Image") }
            })
            .collect()
    }

    /// The world's images as `NAME:TAG`.
    pub async fn images(&self) -> Vec<String> {
        let listed = self.docker(&["images", "--no-trunc", "--format", "{{json .}}"]).await;
        let name = |row: &Value| Some(format!("{}:{}", row["Repository"].as_str()?, row["Tag"].as_str()?));
        self.ours(&listed.expect("list images")).iter().filter_map(name).collect()
    }

    fn ours(&self, rows: &str) -> Vec<Value> {
        let ours = rows.lines().filter(|row| row.contains(&self.prefix));
        ours.filter_map(|row| serde_json::from_str(row).ok()).collect()
    }

    /// Kills a container's process, as a crash would.
    pub async fn kill(&self, name: &str) {
        self.docker(&["kill", name]).await.expect("kill a container");
    }

    /// Stops a container at once.
    pub async fn stop(&self, name: &str) {
        self.docker(&["stop", "--time", "0", name]).await.expect("stop a container");
    }

    /// Renames a container.
    pub async fn rename(&self, name: &str, to: &str) {
        self.docker(&["rename", name, to]).await.expect("rename a container");
    }

    /// Removes a container, running or not.
    pub async fn remove(&self, name: &str) {
        self.docker(&["rm", "--force", "--volumes", name]).await.expect("remove a container");
    }

    /// What a container has said, both outputs.
    pub async fn logs(&self, name: &str) -> String {
        let output =
            tokio::process::Command::from(self.command(&["logs", name])).output().await.expect("run docker");
        [output.stdout, output.stderr].iter().map(|part| String::from_utf8_lossy(part)).collect()
    }

    /// Builds a version of the app as `image`, without the agent.
    pub async fn build(&self, app: &App, image: &str) {
        let context = tempfile::tempdir_in(&self.folder).expect("make a build context");
        for (path, content) in app.files() {
            let file = context.path().join(path);
            std::fs::create_dir_all(file.parent().expect("a file has a folder")).expect("make a folder");
            std::fs::write(&file, &content).expect("write a file of the app");
            if content.starts_with("#!") {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                std::fs::set_permissions(&file, mode).expect("make a script executable");
            }
        }
        let context = context.path().to_str().expect("a path in UTF-8");
        // The label is how an image is found again that has lost its name to a newer one.
        let label = format!("world={}", self.prefix);
        let built = self
            .docker(&["build", "--quiet", "--no-cache", "--label", &label, "--tag", image, context])
            .await;
        built.expect("build a sample image");
    }

    /// Pushes an image as it is named, logged in if need be.
    pub async fn push(&self, image: &str, login: Option<&Login>) -> Result<(), String> {
        if let Some(login) = login {
            let registry = image.split('/').next().unwrap_or_default();
            let pair = STANDARD.encode(format!("{}:{}", login.username, login.password));
            let config = json!({"auths": {registry: {"auth": pair}}});
            std::fs::write(self.folder.join("config.json"), config.to_string())
                .expect("write a docker login");
        }
        self.docker(&["push", "--quiet", image]).await.map(|_| ())
    }

    /// Asks a published port; the status and the body.
    pub async fn http_get(&self, port: u16, path: &str) -> Result<(u16, String), String> {
        let url = format!("http://{}:{port}{path}", self.address);
        let answer = self.client.get(url).send().await.map_err(|error| format!("{error:#}"))?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await.map_err(|error| format!("{error:#}"))?))
    }

    /// Waits until the page at a published port holds `text`; the last answer if it never does.
    pub async fn wait_until_serving(&self, port: u16, text: &str, deadline: Duration) -> Result<(), String> {
        let end = Instant::now() + deadline;
        loop {
            let last = self.http_get(port, "/").await;
            match &last {
                Ok((200, body)) if body.contains(text) => return Ok(()),
                Ok(_) | Err(_) if Instant::now() >= end => {
                    return Err(format!("the last answer was {last:?}"));
                }
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Removes every container, network, volume and image of this world. Blocks, for use in a drop.
    pub fn clean_up(&self) {
        clean_up::remove_all(&self.host, &self.prefix);
    }
}
