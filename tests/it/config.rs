//! Loading configurations that work: the shipped ones, defaults, secrets in their places, the schema.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use homeport::config::SmtpSecurity;
use homeport::config::duration::Schedule;
use homeport::config::load::Loaded;
use homeport::config::load::load;
use homeport::config::load::load_to_look;
use homeport::config::problem::ConfigErrors;
use homeport::config::project::TestPlace;
use homeport::config::schema::key_paths;
use homeport::config::schema::schema;
use homeport::config::secret::Environment;
use homeport::config::settings::TestPlan;
use homeport::config::settings::TestTerms;
use homeport::model::Followed;
use secrecy::ExposeSecret;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;

pub const EXAMPLE: &str = include_str!("../../config.example.json");
const MINIMAL: &str = include_str!("../../config.minimal.json");

/// What a private key looks like from outside.
const DEPLOY_KEY: &[u8] =
    b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----\n";

/// A folder with a configuration and the secrets it names, and an environment.
pub struct Desk {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl Desk {
    /// A folder with every secret that the shipped configurations name.
    pub fn new() -> Self {
        let desk = Self {
            folder: tempfile::tempdir().unwrap(),
            environment: vec![("DOCKER_HUB_TOKEN".to_owned(), "hub-secret".to_owned())],
        };
        desk.put("deploy-key", DEPLOY_KEY, 0o600);
        for name in ["github-token", "docker-hub-token", "smtp-password", "webhook-secret", "pip.conf"] {
            desk.put(name, format!("{name}-content\n").as_bytes(), 0o600);
        }
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn put(&self, name: &str, content: &[u8], mode: u32) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), content).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    pub fn load(&self, text: &str) -> Result<Loaded, ConfigErrors> {
        self.put("config.json", text.as_bytes(), 0o600);
        load(&self.path("config.json"), &self.environment.iter().cloned().collect::<Environment>())
    }

    /// What the errors print, with the folder's path shortened to `DIR`.
    #[track_caller]
    pub fn errors(&self, text: &str) -> String {
        let errors = self.load(text).expect_err("this configuration should have been refused");
        self.shortened(&errors.to_string())
    }

    /// The warnings, one per line, with the folder's path shortened to `DIR`.
    #[track_caller]
    pub fn warnings(&self, text: &str) -> String {
        let loaded = self.load(text).unwrap_or_else(|errors| panic!("{errors}"));
        self.shortened(&loaded.warnings.join("\n"))
    }

    fn shortened(&self, text: &str) -> String {
        let folder = self.folder.path().to_str().unwrap();
        text.replace(&format!("{folder}/config.json"), "config.json").replace(folder, "DIR")
    }
}

/// The minimal configuration with some values replaced or added, each named by its JSON pointer.
pub fn minimal_with(edits: &[(&str, Value)]) -> String {
    let mut config: Value = serde_json::from_str(MINIMAL).unwrap();
    for (pointer, value) in edits {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = config.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
        match parent {
            Value::Array(list) => list.push(value.clone()),
            parent => parent[key] = value.clone(),
        }
    }
    serde_json::to_string_pretty(&config).unwrap()
}

#[track_caller]
fn loaded(text: &str) -> Loaded {
    Desk::new().load(text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_example_loads_without_a_warning() {
    let Loaded { settings, warnings } = loaded(EXAMPLE);
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(settings.state_dir, Path::new("/var/lib/homeport"));
    assert_eq!(settings.github.token.unwrap().expose_secret(), "github-token-content");
    assert_eq!(settings.docker_hub.login.unwrap().password.expose_secret(), "hub-secret");
    assert_eq!(settings.email.unwrap().login.unwrap().password.expose_secret(), "smtp-password-content");
    assert_eq!(settings.webhook.unwrap().secret.expose_secret(), "webhook-secret-content");
    let [hello, built, deployed] = settings.projects.as_slice() else { panic!("three projects") };
    assert_eq!(hello.deploy.as_ref().unwrap().spec.ports[0].to_string(), "5000:5000");
    assert!(built.deploy.is_none() && deployed.source.is_none());
    let source = built.source.as_ref().unwrap();
    assert_eq!((source.build.dockerfile.as_str(), source.build.context.as_str()), ("Dockerfile", "worker"));
    assert_eq!(source.poll, Schedule::Cron("0 */5 6-22 * * *".to_owned()));
    assert!(
        matches!(&source.test, TestPlan::Run { place: TestPlace::Dockerfile(_), terms, .. } if terms.network.is_some())
    );
}

#[test]
fn the_minimal_configuration_has_ten_lines_and_every_default() {
    assert_eq!(MINIMAL.lines().count(), 10);
    let settings = loaded(MINIMAL).settings;
    assert_eq!(settings.github.api_url.as_str(), "https://api.github.com/");
    assert_eq!(settings.github.clone_url.as_str(), "https://github.com/");
    assert_eq!(settings.docker_hub.api_url.as_str(), "https://hub.docker.com/");
    assert_eq!(settings.docker_hub.registry, "docker.io");
    assert_eq!(settings.docker_host, "unix:///var/run/docker.sock");
    for hidden in ["/var/lib/homeport", "/var/log/homeport", "/var/run/docker.sock"] {
        assert!(settings.hidden.iter().any(|path| path == Path::new(hidden)), "{hidden}");
    }
    assert!(settings.email.is_none() && settings.webhook.is_none() && settings.heartbeat.is_none());
    let project = &settings.projects[0];
    assert_eq!((project.name.as_str(), &project.platform), ("hello", &None));
    let source = project.source.as_ref().unwrap();
    assert_eq!(source.followed, Followed::Branch("main".parse().unwrap()));
    assert_eq!(source.poll, Schedule::every_seconds(30));
    assert_eq!(
        source.test,
        TestPlan::Detect(TestTerms { timeout: Duration::from_secs(900), network: None, cache: true })
    );
    assert_eq!(source.build.timeout, Duration::from_secs(3600));
    let deploy = project.deploy.as_ref().unwrap();
    assert_eq!((deploy.spec.name.as_str(), &deploy.poll), ("hello", &Schedule::every_seconds(60)));
    assert_eq!((deploy.watch, deploy.keep_images), (Duration::from_secs(600), 3));
    assert_eq!((deploy.prove.timeout, deploy.prove.good_samples), (Duration::from_secs(120), 3));
}

#[test]
fn the_minimal_configuration_is_warned_about_what_it_leaves_out() {
    insta::assert_snapshot!(Desk::new().warnings(MINIMAL), @r"
    config.json:1:1: email: left out: nobody is told by mail when a run fails
    config.json:1:1: github.token: left out: without a token GitHub answers 60 requests an hour, and these projects ask 120 times, so the polls will slow down to that
    ");
}

#[test]
fn a_key_spelt_out_with_its_default_changes_nothing() {
    // One folder for all, since the settings name it.
    let desk = Desk::new();
    let settings = |text: &str| {
        let loaded = desk.load(text).unwrap_or_else(|errors| panic!("{errors}"));
        format!("{:?}", loaded.settings)
    };
    let plain = settings(MINIMAL);
    let defaults = [
        ("/github", json!({ "api_url": "https://api.github.com", "clone_url": "https://github.com" })),
        ("/docker_hub/api_url", json!("https://hub.docker.com/")),
        ("/docker_hub/registry", json!("docker.io")),
        (
            "/docker",
            json!({ "host": "unix:///var/run/docker.sock", "min_free_disk": "500MB", "min_free_memory": "64000kB" }),
        ),
        ("/projects/0/name", json!("hello")),
        ("/projects/0/branch", json!("main")),
        ("/projects/0/poll", json!({ "github": "30s", "docker_hub": "1m" })),
        ("/projects/0/test", json!({ "timeout": "15m", "cache": true })),
        ("/projects/0/image/dockerfile", json!("./Dockerfile")),
        ("/projects/0/image/context", json!("./")),
        ("/projects/0/image/timeout", json!("1h")),
        ("/projects/0/image/tag", json!({ "scheme": "counter" })),
        ("/projects/0/deploy/container", json!("hello")),
        ("/projects/0/deploy/order", json!("stop-first")),
        ("/projects/0/deploy/stop_grace", json!("10s")),
        ("/projects/0/deploy/watch", json!("10m")),
        ("/projects/0/deploy/keep_images", json!(3)),
        (
            "/projects/0/deploy/prove",
            json!({ "timeout": "2m", "good_samples": 3, "interval": "1s", "min_uptime": "10s" }),
        ),
    ];
    for default in defaults {
        let spelt_out = settings(&minimal_with(std::slice::from_ref(&default)));
        assert_eq!(spelt_out, plain, "{}", default.0);
    }
}

#[test]
fn a_name_is_made_from_the_repository_or_the_image() {
    let named = |repository: Value, image: &str| {
        let edits = [("/projects/0/repository", repository), ("/projects/0/image/name", json!(image))];
        loaded(&minimal_with(&edits)).settings.projects[0].name.to_string()
    };
    assert_eq!(named(json!("Me/Hello.World"), "me/x"), "hello.world");
    assert_eq!(named(json!("me/_private"), "me/x"), "private");
    assert_eq!(named(Value::Null, "grafana/grafana-oss"), "grafana-oss");
}

#[test]
fn folders_are_relative_to_the_configuration() {
    let desk = Desk::new();
    let text = minimal_with(&[("/state_dir", json!("state")), ("/log_dir", json!("../logs"))]);
    let settings = desk.load(&text).unwrap().settings;
    assert_eq!(settings.state_dir, desk.path("state"));
    assert_eq!(settings.log_dir, desk.path("../logs"));
}

#[test]
fn the_smtp_port_follows_the_security() {
    for (security, port) in [("starttls", 587), ("tls", 465), ("none", 25)] {
        let email =
            json!({ "from": "a@b.org", "to": ["c@d.org"], "smtp": { "host": "mail", "security": security } });
        let email = loaded(&minimal_with(&[("/email", email)])).settings.email.unwrap();
        assert_eq!(email.port, port);
        assert_eq!(email.security == SmtpSecurity::Starttls, port == 587);
    }
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert!(Desk::new().load(&format!("\u{feff}{MINIMAL}")).is_ok());
}

#[test]
fn a_secret_file_is_looked_for_among_the_credentials_first() {
    let mut desk = Desk::new();
    desk.put("credentials/docker-hub-token", b"from systemd\r\n", 0o400);
    desk.set("CREDENTIALS_DIRECTORY", desk.path("credentials").to_str().unwrap());
    let login = desk.load(MINIMAL).unwrap().settings.docker_hub.login.unwrap();
    assert_eq!(login.password.expose_secret(), "from systemd");
    fs::remove_file(desk.path("credentials/docker-hub-token")).unwrap();
    let login = desk.load(MINIMAL).unwrap().settings.docker_hub.login.unwrap();
    assert_eq!(login.password.expose_secret(), "docker-hub-token-content");
}

#[test]
fn a_secret_that_others_can_see_is_warned_about() {
    let desk = Desk::new();
    desk.put("docker-hub-token", b"seen", 0o644);
    let text = minimal_with(&[("/github", json!({ "token": "ghp_plain" }))]);
    insta::assert_snapshot!(desk.warnings(&text), @r#"
    config.json:1:1: email: left out: nobody is told by mail when a run fails
    config.json:3:14: docker_hub.token: the file `DIR/docker-hub-token` can be read by every user of this machine: `chmod 600` it, with homeport's user as owner
    config.json:9:14: github.token: this secret stands in the config itself, for everyone to see who may read it: write `{"file": "PATH"}` or `{"env": "NAME"}`
    "#);
}

#[test]
fn a_secret_of_a_build_may_have_several_lines_and_is_hidden_from_tests() {
    let desk = Desk::new();
    desk.put("key", b"-----BEGIN KEY-----\nabc\n-----END KEY-----\n", 0o600);
    desk.put("token", b"one line\n", 0o600);
    let sources = json!({ "key": { "file": "key" }, "_t.o-k": { "file": "token" } });
    let settings = desk.load(&minimal_with(&[("/projects/0/image/secrets", sources)])).unwrap().settings;
    let secrets = &settings.projects[0].source.as_ref().unwrap().build.secrets;
    assert_eq!(secrets["key"].expose_secret(), "-----BEGIN KEY-----\nabc\n-----END KEY-----\n");
    assert_eq!(secrets["_t.o-k"].expose_secret(), "one line");
    assert!(settings.hidden.contains(&desk.path("key")), "{:?}", settings.hidden);

    desk.put("key", &[b'x'; 17_000], 0o600);
    let one = json!({ "key": { "file": "key" } });
    insta::assert_snapshot!(desk.errors(&minimal_with(&[("/projects/0/image/secrets", one)])), @"config.json:18:18: projects[0].image.secrets.key: the file `DIR/key` cannot be read: it is longer than 16384 bytes; it must be a file with the secret that homeport's user may read");
}

#[test]
fn nothing_that_is_loaded_shows_a_secret() {
    let mut desk = Desk::new();
    desk.set("PLAIN", "hunter2");
    let text = minimal_with(&[
        ("/projects/0/image/secrets", json!({ "a": "hunter2" })),
        ("/github", json!({ "token": "hunter2" })),
        ("/webhook", json!({ "secret": { "env": "PLAIN" } })),
    ]);
    let loaded = desk.load(&text).unwrap();
    assert_eq!(loaded.settings.webhook.as_ref().unwrap().secret.expose_secret(), "hunter2");
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert!(!format!("{:?}", [("A", "hunter2")].into_iter().collect::<Environment>()).contains("hunter2"));
}

#[test]
fn what_works_but_is_dubious_is_warned_about() {
    let desk = Desk::new();
    let text = minimal_with(&[
        ("/github", json!({ "token": { "file": "github-token" }, "api_url": "http://git.example/api/v3" })),
        ("/docker", json!({ "host": "tcp://nas.local:2375" })),
        ("/webhook", json!({ "listen": "0.0.0.0:9000", "secret": { "file": "webhook-secret" } })),
        (
            "/email",
            json!({ "from": "a@b.org", "to": ["c@d.org"],
                "smtp": { "host": "mail.example.org", "security": "none", "username": "me", "password": { "file": "smtp-password" } } }),
        ),
        ("/projects/0/poll", json!({ "docker_hub": "0 0 1 * MON" })),
        ("/projects/0/deploy/ports", json!([])),
        ("/projects/0/deploy/volumes", json!(["/var/run/docker.sock:/var/run/docker.sock"])),
    ]);
    insta::assert_snapshot!(desk.warnings(&text), @r"
    config.json:3:13: docker.host: who reaches this port is root on that machine, since `tcp://` has no encryption and no login
    config.json:18:19: email.smtp.security: with `none` the password travels in the clear: use `starttls` or `tls`
    config.json:26:16: github.api_url: the token goes to this address over plain `http`, for everyone on the way to read: use `https`
    config.json:34:18: projects[0].deploy.ports: no port is published and no `network` is joined, which is right for a worker only
    config.json:36:11: projects[0].deploy.volumes[0]: who has the Docker socket is root on this machine, and this container gets it
    config.json:43:23: projects[0].poll.docker_hub: both the day of the month and the weekday must match here, unlike in a crontab
    config.json:49:15: webhook.listen: other machines can reach this address: only a reverse proxy with TLS in front of it should have to
    ");
}

#[test]
fn every_key_of_the_schema_occurs_in_the_example() {
    /// Of two ways to write a secret, the one that the example shows elsewhere; of two that exclude each other, one.
    const ALTERNATIVES: [&str; 6] = [
        "github.token.env",
        "docker_hub.token.file",
        "email.smtp.password.env",
        "webhook.secret.env",
        "projects[].deploy_key.env",
        "projects[].paths_ignore",
    ];
    fn keys(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    keys(value, &path, found);
                    found.push(path);
                }
            }
            Value::Array(list) => list.iter().for_each(|value| keys(value, &format!("{path}[]"), found)),
            _ => {}
        }
    }
    let mut shown = Vec::new();
    keys(&serde_json::from_str(EXAMPLE).unwrap(), "", &mut shown);
    let hidden: Vec<String> = key_paths()
        .into_iter()
        .filter(|path| !shown.contains(path) && !ALTERNATIVES.contains(&path.as_str()))
        .collect();
    assert_eq!(hidden, Vec::<String>::new());
}

#[test]
fn every_key_of_the_schema_is_described() {
    fn walk(value: &Value, path: &str, bare: &mut Vec<String>) {
        if let Some(properties) = value.get("properties").and_then(Value::as_object) {
            for (key, property) in properties {
                if property.get("description").is_none() {
                    bare.push(format!("{path}/{key}"));
                }
            }
        }
        match value {
            Value::Object(object) => {
                object.iter().for_each(|(key, value)| walk(value, &format!("{path}/{key}"), bare))
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, path, bare)),
            _ => {}
        }
    }
    let mut bare = Vec::new();
    walk(&schema(), "", &mut bare);
    assert_eq!(bare, Vec::<String>::new());
}

#[test]
fn the_schema_tells_defaults_limits_and_what_is_required() {
    let schema = schema();
    let at = |pointer: &str| {
        schema.pointer(pointer).cloned().unwrap_or_else(|| panic!("no {pointer} in {schema:#}"))
    };
    assert_eq!(at("/required"), json!(["projects"]));
    assert_eq!(at("/additionalProperties"), json!(false));
    assert_eq!(at("/properties/state_dir/default"), json!("/var/lib/homeport"));
    assert_eq!(at("/$defs/Poll/properties/github/default"), json!("30s"));
    assert_eq!(at("/$defs/Deploy/properties/stop_grace/default"), json!("10s"));
    assert_eq!(at("/$defs/Deploy/properties/keep_images/minimum"), json!(1));
    assert_eq!(at("/$defs/Email/properties/smtp/required"), json!(["host"]));
    assert_eq!(at("/$defs/Project/properties/image/required"), json!(["name"]));
}

#[test]
fn a_credential_that_systemd_only_stands_in_for_is_looked_for_beside_the_configuration() {
    let mut desk = Desk::new();
    desk.put("given/github-token", b"\n", 0o400);
    desk.set("CREDENTIALS_DIRECTORY", desk.path("given").to_str().unwrap());
    let loaded = desk.load(EXAMPLE).unwrap();
    let token = loaded.settings.github.token.unwrap();
    assert_eq!(token.expose_secret(), "github-token-content");
}

#[test]
fn history_can_be_looked_at_by_who_may_not_read_the_secrets() {
    let desk = Desk::new();
    for name in ["github-token", "docker-hub-token", "smtp-password", "webhook-secret"] {
        fs::remove_file(desk.path(name)).unwrap();
    }
    desk.put("config.json", EXAMPLE.as_bytes(), 0o600);
    let nothing: Environment = std::iter::empty::<(String, String)>().collect();
    assert!(load(&desk.path("config.json"), &nothing).is_err());
    let loaded = load_to_look(&desk.path("config.json"), &nothing).unwrap();
    assert!(loaded.settings.projects.len() > 1);
}
