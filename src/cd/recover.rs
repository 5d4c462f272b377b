//! Start-up: a deployment that a crash, a power cut or a shutdown left in the middle is finished or undone,
//! under its own run number, by the same machine that would have gone on with it.

use crate::cd::Ended;
use crate::cd::Suspended;
use crate::cd::drive_to_end;
use crate::config::settings::DeploySettings;
use crate::run::Run;
use crate::swap::Journal;
use crate::swap::View;

/// Ends a deployment from its journal. A rollback waits for nothing; neither does this.
///
/// # Errors
/// [`Suspended`] if it still cannot be ended, for instance because Docker does not answer.
pub async fn recover(run: &Run, deploy: &DeploySettings, journal: Journal) -> Result<Ended, Suspended> {
    run.log.header(&format!("the journal stands at: {}", journal.step));
    // While it goes on no build need begin: a container proves itself badly on a busy board.
    let _board = run.board.try_lock();
    drive_to_end(run, deploy, journal, View::Broken).await
}
