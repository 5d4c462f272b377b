//! `homeport run`: the service, from the configuration to the last run's end.

use std::path::PathBuf;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::mpsc::UnboundedSender;

use crate::agent::Agent;
use crate::agent::Life;
use crate::agent::Tally;
use crate::agent::Ties;
use crate::cli::Exit;
use crate::cli::block_on;
use crate::cli::complain;
use crate::cli::desk::Desk;
use crate::clients::clock::Clock;
use crate::config::load::Loaded;
use crate::event::Event;

/// How often the configuration file is looked at. A look is one question to the kernel and writes nothing.
const LOOK: Duration = Duration::from_secs(2);

/// Is the service until SIGTERM or SIGINT.
pub fn run(loaded: Loaded, config: PathBuf) -> Exit {
    let desk = match Desk::open(&loaded) {
        Ok(desk) => desk,
        Err(error) => {
            complain(&format!("{error:#}"));
            return Exit::Usage;
        }
    };
    match block_on(serve(&desk, loaded, config)) {
        Ok(Ok(_)) => Exit::Ok,
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

async fn serve(desk: &Desk, loaded: Loaded, config: PathBuf) -> anyhow::Result<Tally> {
    let shared = desk.connect(&loaded.settings)?;
    let ties = Ties {
        reload: desk.reload(config.clone()),
        alive: Box::new(|| tell(NotifyState::Watchdog)),
        ready: Box::new(|| tell(NotifyState::Ready)),
    };
    slog::info!(desk.journal(), "homeport {} starts with {}", env!("CARGO_PKG_VERSION"), config.display());
    let agent = Agent::new(loaded.settings, shared, Life::Service, ties);
    listen_to_signals(&agent.events())?;
    tokio::spawn(look_at_file(config, agent.events()));
    let tally = agent.run().await;
    tell(NotifyState::Stopping);
    tally
}

/// SIGTERM and SIGINT ask the agent to stop, SIGHUP to read its configuration again.
pub fn listen_to_signals(events: &UnboundedSender<Event>) -> anyhow::Result<()> {
    let meanings: [(SignalKind, fn() -> Event); 3] = [
        (SignalKind::terminate(), || Event::Stop),
        (SignalKind::interrupt(), || Event::Stop),
        (SignalKind::hangup(), || Event::ConfigChanged),
    ];
    for (kind, meaning) in meanings {
        let (mut signals, events) = (signal(kind)?, events.clone());
        tokio::spawn(
            async move { while signals.recv().await.is_some() && events.send(meaning()).is_ok() {} },
        );
    }
    Ok(())
}

/// Sends [`Event::ConfigChanged`] when the file was saved. An editor that writes in place is given one more
/// look to finish.
async fn look_at_file(config: PathBuf, events: UnboundedSender<Event>) {
    let clock = Clock::real();
    let stamp = || std::fs::metadata(&config).and_then(|facts| Ok((facts.modified()?, facts.len()))).ok();
    let mut applied = stamp();
    let mut seen = applied;
    loop {
        clock.sleep(LOOK).await;
        let now = stamp();
        if now.is_some() && now != applied && now == seen {
            applied = now;
            if events.send(Event::ConfigChanged).is_err() {
                return;
            }
        }
        seen = now;
    }
}

/// Tells systemd, if it is listening; nobody else needs to know.
fn tell(state: NotifyState<'_>) {
    sd_notify::notify(&[state]).ok();
}
