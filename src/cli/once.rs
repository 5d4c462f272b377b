//! `homeport once`: one pass of everything, then the exit code says how it went.

use crate::agent::Agent;
use crate::agent::Life;
use crate::agent::Tally;
use crate::agent::Ties;
use crate::cli::Exit;
use crate::cli::block_on;
use crate::cli::complain;
use crate::cli::desk::Desk;
use crate::config::load::Loaded;

/// Polls everything, runs what is due until nothing is, sends the mail, and ends.
pub fn once(loaded: Loaded) -> Exit {
    let desk = match Desk::open(&loaded) {
        Ok(desk) => desk,
        Err(error) => {
            complain(&format!("{error:#}"));
            return Exit::Usage;
        }
    };
    match block_on(pass(&desk, loaded)) {
        Ok(Ok(Tally { failed_runs: 0, unreachable: 0 })) => Exit::Ok,
        Ok(Ok(Tally { failed_runs: 0, .. })) => Exit::Unreachable,
        Ok(Ok(_)) => Exit::RunFailed,
        Ok(Err(error)) => {
            slog::crit!(desk.journal(), "{error:#}");
            Exit::Usage
        }
        Err(error) => {
            slog::crit!(desk.journal(), "cannot start the runtime: {error}");
            Exit::Usage
        }
    }
}

async fn pass(desk: &Desk, loaded: Loaded) -> anyhow::Result<Tally> {
    let shared = desk.connect(&loaded.settings)?;
    let ties = Ties {
        reload: Box::new(|| Err("a single pass does not read its configuration again".to_owned())),
        alive: Box::new(|| {}),
        ready: Box::new(|| {}),
    };
    let agent = Agent::new(loaded.settings, shared, Life::OnePass, ties);
    crate::cli::run::listen_to_signals(&agent.events())?;
    agent.run().await
}
