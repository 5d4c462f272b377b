//! `homeport test-mail`: does a mail from here arrive?

use anyhow::Context;

use crate::cli::Exit;
use crate::cli::block_on;
use crate::cli::complain;
use crate::cli::say;
use crate::config::load::Loaded;
use crate::notify::send_test_mail;

/// Sends one mail at once, past the outbox.
pub fn test_mail(loaded: &Loaded) -> Exit {
    let Some(email) = &loaded.settings.email else {
        complain(&"no `email` is configured");
        return Exit::Usage;
    };
    let projects: Vec<_> = loaded.settings.projects.iter().map(|project| project.name.clone()).collect();
    match block_on(send_test_mail(email, &projects)).context("start the runtime").flatten() {
        Ok(()) => {
            say(&format!("sent to {}", email.to.join(", ")));
            Exit::Ok
        }
        Err(error) => {
            complain(&format!("{error:#}"));
            Exit::Unreachable
        }
    }
}
