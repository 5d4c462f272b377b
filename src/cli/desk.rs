//! What `run` and `once` have in common: the lock, the journal, the database, and the clients made from a
//! configuration.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use slog::Level;

use crate::agent::Fresh;
use crate::cli::lock::AgentLock;
use crate::clients::Clients;
use crate::clients::clock::Clock;
use crate::clients::store::Store;
use crate::clients::tls::Tls;
use crate::config::load::Loaded;
use crate::config::load::load;
use crate::config::secret::Environment;
use crate::config::settings::Settings;
use crate::fault_point::Effect;
use crate::logging::past_run::highest_number;
use crate::logging::redact::Redactor;
use crate::logging::root::Root;
use crate::run::Board;
use crate::run::Shared;

/// What an agent works at.
pub struct Desk {
    tls: Tls,
    store: Store,
    root: Arc<Root>,
    board: Board,
    _lock: AgentLock,
}

impl Desk {
    /// Takes the lock, opens the database, and says the configuration's warnings.
    ///
    /// # Errors
    /// Another agent holds the lock, the folders cannot be used, or this machine has no certificate authorities.
    pub fn open(loaded: &Loaded) -> anyhow::Result<Self> {
        let settings = &loaded.settings;
        let lock = AgentLock::take(&settings.state_dir)?;
        let effect = Effect::begin("log", "make-folder");
        std::fs::create_dir_all(&settings.log_dir).with_context(|| {
            format!("make the log folder {}: is `log_dir` right?", settings.log_dir.display())
        })?;
        effect.end();
        // Before all that stays: reading them takes three times the memory of keeping them, for a moment, and
        // what comes after has a use for it.
        let tls = Tls::open()?;
        let clock = Clock::real();
        let known = highest_number(&settings.log_dir)
            .with_context(|| format!("read the log folder {}", settings.log_dir.display()))?;
        let store = Store::open_or_replace(&settings.state_dir, known, clock.now())?;
        let root = Root::to_stderr(Level::Info, Arc::new(move || clock.now()));
        root.redact_with(redactor(settings));
        for warning in &loaded.warnings {
            slog::warn!(root.logger, "{warning}");
        }
        Ok(Self { tls, store, root: Arc::new(root), board: Board::default(), _lock: lock })
    }

    /// The agent's journal.
    pub fn journal(&self) -> &slog::Logger {
        &self.root.logger
    }

    /// Everything a run needs, made from the settings.
    ///
    /// # Errors
    /// As [`Clients::connect`].
    pub fn connect(&self, settings: &Settings) -> anyhow::Result<Shared> {
        share(&self.root, &self.store, &self.board, &self.tls, settings)
    }

    /// Reads a configuration file again and makes everything from it.
    pub fn reload(&self, config: PathBuf) -> Box<dyn Fn() -> Result<Fresh, String>> {
        let (root, store, board) = (Arc::clone(&self.root), self.store.clone(), Arc::clone(&self.board));
        Box::new(move || {
            let loaded =
                load(&config, &Environment::of_this_process()).map_err(|errors| errors.to_string())?;
            for warning in &loaded.warnings {
                slog::warn!(root.logger, "{warning}");
            }
            let shared = Tls::open().and_then(|tls| share(&root, &store, &board, &tls, &loaded.settings));
            let shared = shared.map_err(|error| format!("{error:#}"))?;
            root.redact_with(shared.redactor.clone());
            Ok(Fresh { settings: loaded.settings, shared })
        })
    }
}

fn share(
    root: &Root,
    store: &Store,
    board: &Board,
    tls: &Tls,
    settings: &Settings,
) -> anyhow::Result<Shared> {
    Ok(Shared {
        clients: Arc::new(Clients::connect(settings, store.clone(), tls)?),
        journal: root.logger.clone(),
        board: Arc::clone(board),
        redactor: redactor(settings),
        log_dir: settings.log_dir.clone(),
    })
}

fn redactor(settings: &Settings) -> Redactor {
    let alone = [settings.github.token.as_ref(), settings.webhook.as_ref().map(|webhook| &webhook.secret)];
    let logins =
        [settings.docker_hub.login.as_ref(), settings.email.as_ref().and_then(|email| email.login.as_ref())];
    let logins = logins.into_iter().flatten().map(|login| (login.username.as_str(), &login.password));
    // git sends the token as the password of this user.
    let git = settings.github.token.as_ref().map(|token| ("x-access-token", token));
    let sources = settings.projects.iter().filter_map(|project| project.source.as_ref());
    let of_sources = sources.flat_map(|source| source.build.secrets.values().chain(&source.deploy_key));
    Redactor::new(alone.into_iter().flatten().chain(of_sources), logins.chain(git))
}
