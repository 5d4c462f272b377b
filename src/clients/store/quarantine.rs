//! The quarantine: the digests that failed for a reason of their own, which no poll tries again. The world's failures
//! leave a digest open.

use rusqlite::OptionalExtension;
use rusqlite::Transaction;

use crate::clients::store::from_json;
use crate::model::Blame;
use crate::model::Outcome;
use crate::model::Release;
use crate::model::RunReport;
use crate::swap::Journal;
use crate::swap::Tried;

/// What a run that has ended, and whose journal still stands, says against releases.
pub(super) fn fill(tx: &Transaction<'_>, report: &RunReport) -> rusqlite::Result<()> {
    quarantine_candidate(tx, report)?;
    quarantine_tried(tx, report)
}

fn quarantine_candidate(tx: &Transaction<'_>, report: &RunReport) -> rusqlite::Result<()> {
    let failure = match &report.outcome {
        Outcome::RolledBack { failure } | Outcome::Failed(failure) | Outcome::Down(failure) => failure,
        Outcome::Pushed(_) | Outcome::Deployed(_) | Outcome::Superseded { .. } | Outcome::Interrupted(_) => {
            return Ok(());
        }
    };
    match &report.candidate {
        Some(release) if failure.blame == Blame::Image => quarantine(tx, report, release, &failure.reason),
        Some(_) | None => Ok(()),
    }
}

/// Newer ways back that did not hold where an older one did: the next poll would find the newest of them due again.
/// Where nothing held, the world may be to blame for all of it, and they stay what they are: ways back.
fn quarantine_tried(tx: &Transaction<'_>, report: &RunReport) -> rusqlite::Result<()> {
    if !matches!(report.outcome, Outcome::RolledBack { .. }) {
        return Ok(());
    }
    let journal: Option<Journal> = tx
        .query_row(
            "SELECT journal FROM journals WHERE project = ?1 AND json_extract(journal, '$.run') = ?2",
            (report.project.as_str(), report.number.0.cast_signed()),
            |row| from_json(row, "journal"),
        )
        .optional()?;
    let tried = journal.and_then(|journal| journal.restoring).map(|restoring| restoring.tried);
    for Tried { release, reason, blame } in tried.into_iter().flatten() {
        if let Some(release) = release.filter(|_| blame == Blame::Image) {
            quarantine(tx, report, &release, &reason)?;
        }
    }
    Ok(())
}

fn quarantine(
    tx: &Transaction<'_>,
    report: &RunReport,
    release: &Release,
    reason: &str,
) -> rusqlite::Result<()> {
    // What serves again is not to blame: the same content failed with another configuration. What merely could not
    // be replaced is, or nothing would be tried in its place.
    let is_back = !matches!(report.outcome, Outcome::Down(_));
    if is_back && report.serving.as_ref().is_some_and(|serving| serving.digest == release.digest) {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO quarantine (project, digest, tag, run, reason) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (project, digest) DO UPDATE SET tag = ?3, run = ?4, reason = ?5",
        (
            report.project.as_str(),
            release.digest.as_str(),
            release.tag.as_str(),
            report.number.0.cast_signed(),
            reason,
        ),
    )?;
    Ok(())
}
