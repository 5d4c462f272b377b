//! The simulated world: everything the agent talks to, on loopback and on this machine's Docker engine, and the
//! agent itself as a process. GitHub and Docker Hub's tags API are simulated in their official shapes; git, the
//! registry, the mail server and Docker are real.
//!
//! A test reads like a story:
//! ```ignore
//! let world = World::start().await;
//! world.repo.commit_page("hello one").await;
//! world.agent.once().await.expect_success();
//! world.expect_serving("hello one").await;
//! world.end().await;
//! ```
//! Faults are data: `world.github.fault(...)`. A request to a route that a service does not know fails the test,
//! and so does, at [`World::end`], a mail that nobody read. A test that fails prints the world's journal.
//!
//! It uses nothing of the library, so that an example can include it by `#[path]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "tests, demo and bench each use a part of the world")]
#![allow(unused_imports, reason = "tests, demo and bench each use a part of the world")]

pub mod agent;
pub mod answer;
pub mod app;
pub mod assertions;
pub mod canaries;
pub mod claim;
pub mod engine;
pub mod gate;
pub mod github;
pub mod history;
pub mod hook;
pub mod hub;
pub mod leash;
pub mod mail;
pub mod place;
pub mod port;
pub mod registry;
pub mod repository;
pub mod requests;
pub mod simulators;
pub mod small_disk;
pub mod standing;
pub mod wire;

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use crate::world::agent::Agent;
use crate::world::agent::Surroundings;
use crate::world::app::App;
use crate::world::claim::Claim;
use crate::world::engine::Engine;
use crate::world::engine::PrivateEngine;
use crate::world::github::GitHub;
use crate::world::hub::Hub;
use crate::world::mail::MailMode;
use crate::world::mail::MailServer;
use crate::world::mail::Script;
use crate::world::mail::ScriptedSmtp;
use crate::world::place::Place;
use crate::world::port::ReservedPort;
use crate::world::registry::Login;
use crate::world::registry::Registry;
use crate::world::repository::Repository;
use crate::world::simulators::Simulators;

/// The GitHub token that the agent is given.
pub const GITHUB_TOKEN: &str = "ghp_TokenOfTheSimulatedWorld0123456789";
/// The Docker Hub token that the agent is given.
pub const HUB_TOKEN: &str = "dckr_pat_TokenOfTheSimulatedWorld";

/// What a world may have beside the usual.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How the mail server wants to be spoken to.
    pub mail: MailMode,
    /// The registry wants the Docker Hub login for everything.
    pub registry_login: bool,
    /// The repository is private.
    pub private_repository: bool,
    /// Docker is an engine of this world's own, which may be killed.
    pub private_engine: bool,
    /// The agent's binary, where the test binary does not know it.
    pub binary: Option<PathBuf>,
    /// What the names of everything begin with, where a person reads them; `hp` if not said.
    pub name: Option<&'static str>,
}

/// A world of its own: its names, ports and files are shared with no other.
pub struct World {
    /// The simulated GitHub.
    pub github: GitHub,
    /// The repository that the agent watches.
    pub repo: Repository,
    /// The simulated Docker Hub tags API.
    pub hub: Hub,
    /// The registry.
    pub registry: Registry,
    /// The mail server.
    pub mail: MailServer,
    /// The Docker engine.
    pub engine: Engine,
    /// The agent.
    pub agent: Agent,
    /// The engine of its own, if this world has one.
    pub private_engine: Option<PrivateEngine>,
    port: ReservedPort,
    address: IpAddr,
    simulators: Arc<Simulators>,
    folder: TempDir,
    claim: Claim,
}

impl World {
    /// The usual world: no repository's commit, no image, no container yet.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// A world with what the options say.
    pub async fn start_with(options: Options) -> Self {
        // Several TLS providers may be compiled in, so none is the default by itself.
        rustls::crypto::ring::default_provider().install_default().ok();
        Claim::abandoned().into_iter().for_each(Claim::bury);
        let claim = Claim::new(options.name.unwrap_or("hp"));
        let folder = world_folder(claim.name());
        let simulators = Arc::new(Simulators::start());
        let private_engine =
            if options.private_engine { Some(PrivateEngine::start(&claim).await) } else { None };
        let place = Place::of(private_engine.as_ref());

        let login = Login { username: "me".to_owned(), password: HUB_TOKEN.to_owned() };
        let registry_login = options.registry_login.then(|| login.clone());
        let at = ["github", "registry", "mail", "docker"].map(|part| folder.path().join(part));
        let (github, registry, mail, engine) = tokio::join!(
            GitHub::start(&simulators, place.address, &at[0]),
            Registry::start(&simulators, place.address, &at[1], registry_login),
            MailServer::start(options.mail, place.address, &at[2]),
            Engine::connect(&place.docker, place.served_at, claim.name(), &at[3]),
        );
        github.accept_token(GITHUB_TOKEN);
        let repo = github.create_repository(&format!("acme/{}", claim.name())).await;
        if options.private_repository {
            github.make_private(repo.name());
        }
        let hub = Hub::start(&simulators, place.address, registry.reader().clone()).await;
        hub.accept_login(login.clone());
        let port = ReservedPort::find();
        let surroundings = Surroundings {
            project: claim.name(),
            image: &image_of(&claim),
            port: port.number(),
            github: &github,
            repository: &repo,
            hub: &hub,
            hub_login: &login,
            registry: &registry,
            engine: &engine,
            mail: &mail,
        };
        let binary = options.binary.unwrap_or_else(tested_binary);
        let files = folder.path().join("agent");
        let agent = Agent::new(&binary, &files, &surroundings, place.enter, Arc::clone(&simulators));
        let address = place.address;
        Self {
            github,
            repo,
            hub,
            registry,
            mail,
            engine,
            agent,
            private_engine,
            port,
            address,
            simulators,
            folder,
            claim,
        }
    }

    /// What the names of everything in this world begin with or contain.
    pub fn prefix(&self) -> &str {
        self.claim.name()
    }

    /// The project's name, which is also that of its container.
    pub fn project(&self) -> &str {
        self.claim.name()
    }

    /// The image without registry and tag.
    pub fn image(&self) -> String {
        image_of(&self.claim)
    }

    /// The published port of the service.
    pub const fn port(&self) -> u16 {
        self.port.number()
    }

    /// The world's own folder, gone at its end.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Pushes a version of the app under a tag as another machine would, and gives its digest. The image is not
    /// left in the engine.
    pub async fn publish(&self, tag: &str, app: &App) -> String {
        let image = format!("{}/{}:{tag}", self.registry.address(), self.image());
        self.engine.build(app, &image).await;
        self.engine.push(&image, self.registry.login()).await.expect("push a sample image");
        self.engine.docker(&["rmi", &image]).await.expect("remove the pushed image");
        self.registry.digest(&self.image(), tag).await.expect("the registry has what was pushed")
    }

    /// A mail server that follows a script; point the agent at it with [`World::mail_goes_to`].
    pub async fn scripted_smtp(&self, script: Script) -> ScriptedSmtp {
        ScriptedSmtp::start(&self.simulators, self.address, script).await
    }

    /// The agent's mail goes to this scripted server from the next start on, with a login.
    pub fn mail_goes_to(&self, server: &ScriptedSmtp) {
        self.agent.set("/email/smtp/port", server.address().port());
        self.agent.set("/email/smtp/security", "none");
        self.agent.set("/email/smtp/username", mail::USERNAME);
        self.agent.set("/email/smtp/password", serde_json::json!({"file": "smtp-password"}));
    }

    /// What happened, in text, for a person who looks at a failed test.
    pub fn journal(&self) -> String {
        let mut text = String::from("=== the world's journal\n");
        let logs = [("GitHub", self.github.requests()), ("Docker Hub", self.hub.requests())];
        for (name, log) in logs.into_iter().chain([("registry", self.registry.requests())]) {
            text.push_str(&format!("--- requests to {name}\n"));
            log.all().iter().for_each(|request| text.push_str(&format!("{request}\n")));
        }
        text.push_str("--- mails\n");
        self.mail.inbox().iter().for_each(|mail| text.push_str(&format!("{}\n", mail.subject)));
        text.push_str(&format!("--- the agent's stderr\n{}", self.agent.transcript()));
        for (name, log) in self.agent.run_logs() {
            text.push_str(&format!("--- run log {name}\n{log}"));
        }
        text
    }

    /// Ends the world and fails the test if a run has no end, a mail was not read, or a service was asked for an
    /// unknown route.
    pub async fn end(self) {
        self.expect_every_run_ended().await;
        self.expect_no_unread_mail().await;
    }

    fn unexpected_requests(&self) -> Vec<String> {
        let logs = [self.github.requests(), self.hub.requests()];
        let seen = logs.into_iter().flat_map(requests::RequestLog::all);
        seen.filter(|request| request.is_unexpected).map(|request| request.to_string()).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let unexpected = self.unexpected_requests();
        if std::thread::panicking() {
            eprintln!("{}", self.journal());
        }
        self.engine.clean_up();
        if !unexpected.is_empty() && !std::thread::panicking() {
            panic!("requests to routes that the simulated services do not know:\n{}", unexpected.join("\n"));
        }
    }
}

fn image_of(claim: &Claim) -> String {
    format!("{}/web", claim.name())
}

/// A folder that exim's user may enter, but could not make again after the world has ended.
fn world_folder(prefix: &str) -> TempDir {
    let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(claim::folder());
    let folder = folder.expect("make the world's folder");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))
        .expect("open the world's folder");
    folder
}

fn tested_binary() -> PathBuf {
    let known = option_env!("CARGO_BIN_EXE_homeport");
    PathBuf::from(known.expect("the path of the agent's binary: set `Options::binary`"))
}
