//! The configuration an owner would write for the world's services, with the short times of a test.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use serde_json::json;

use crate::world::GITHUB_TOKEN;
use crate::world::app::APP_PORT;
use crate::world::app::BASE_IMAGE;
use crate::world::engine::Engine;
use crate::world::github::GitHub;
use crate::world::hub::Hub;
use crate::world::mail::MailMode;
use crate::world::mail::MailServer;
use crate::world::mail::PASSWORD;
use crate::world::mail::USERNAME;
use crate::world::registry::Login;
use crate::world::registry::Registry;
use crate::world::repository::Repository;

/// Where the agent finds everything.
pub struct Surroundings<'a> {
    /// The project's and the container's name.
    pub project: &'a str,
    /// `namespace/name` on Docker Hub.
    pub image: &'a str,
    /// The published port.
    pub port: u16,
    /// GitHub, for the API and for git.
    pub github: &'a GitHub,
    /// The repository to watch.
    pub repository: &'a Repository,
    /// Docker Hub's tags API.
    pub hub: &'a Hub,
    /// The account on it.
    pub hub_login: &'a Login,
    /// Where images go and come from.
    pub registry: &'a Registry,
    /// The Docker engine.
    pub engine: &'a Engine,
    /// The mail server.
    pub mail: &'a MailServer,
}

impl Surroundings<'_> {
    /// The configuration, with its secrets as files beside it in `folder`.
    pub fn configuration(&self, folder: &Path) -> Value {
        let secret = |name: &str, value: &str| write_secret(folder, name, value);
        json!({
            "state_dir": folder.join("state"),
            "log_dir": folder.join("logs"),
            "github": {
                "token": secret("github-token", GITHUB_TOKEN),
                "api_url": self.github.url(), "clone_url": self.github.url()
            },
            "docker_hub": {
                "username": self.hub_login.username,
                "token": secret("docker-hub-token", &self.hub_login.password),
                "api_url": self.hub.url(), "registry": self.registry.address()
            },
            "docker": {"host": self.engine.host()},
            "email": {
                "from": "homeport@example.org", "to": ["owner@example.org"],
                "smtp": self.smtp(&secret("smtp-password", PASSWORD))
            },
            "projects": [{
                "name": self.project,
                "repository": self.repository.name(),
                "branch": "main",
                "poll": {"github": "500ms", "docker_hub": "500ms"},
                "test": {"in": {"image": BASE_IMAGE}, "commands": ["sh test.sh"], "timeout": "60s"},
                "image": {"name": self.image},
                "deploy": {
                    "container": self.project,
                    "ports": [format!("{}:{APP_PORT}", self.port)],
                    "prove": {"http": "/", "timeout": "10s", "good_samples": 2, "interval": "50ms",
                              "min_uptime": "300ms"},
                    "stop_grace": "1s", "watch": "2s", "keep_images": 3
                }
            }]
        })
    }

    fn smtp(&self, password: &Value) -> Value {
        let security = match self.mail.mode() {
            MailMode::Plain | MailMode::Login => "none",
            MailMode::StartTls => "starttls",
            MailMode::Tls => "tls",
        };
        let address = self.mail.address();
        let mut smtp = json!({"host": address.ip(), "port": address.port(), "security": security});
        if self.mail.mode() != MailMode::Plain {
            smtp["username"] = json!(USERNAME);
            smtp["password"] = password.clone();
        }
        smtp
    }
}

/// Writes a secret that its owner alone may read; what the configuration says for it.
pub fn write_secret(folder: &Path, name: &str, value: &str) -> Value {
    let file = folder.join(name);
    std::fs::write(&file, format!("{value}\n")).expect("write a secret");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("guard a secret");
    json!({ "file": name })
}
