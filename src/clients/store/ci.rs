//! What CI must not forget: which commits are judged, and which tags are taken.

use rusqlite::OptionalExtension;
use rusqlite::Row;

use crate::clients::store::Store;
use crate::clients::store::StoreError;
use crate::clients::store::parsed;
use crate::model::CommitSha;
use crate::model::Digest;
use crate::model::ProjectName;
use crate::model::RunNumber;
use crate::model::Tag;

/// What was made of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its image is in the registry.
    Pushed {
        /// The run that pushed it.
        run: RunNumber,
    },
    /// It failed by its own fault.
    Failed {
        /// The run in which it failed.
        run: RunNumber,
        /// Why.
        reason: String,
    },
    /// It was not run, since what it says or changes asks for none.
    Skipped {
        /// Why.
        reason: String,
    },
    /// The owner wants it run, whatever was made of it before.
    Wanted,
}

impl Store {
    /// The commit judged last and the verdict, so that the first poll after a start can ask "still this one?".
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn last_judged(
        &self,
        project: ProjectName,
    ) -> Result<Option<(CommitSha, Verdict)>, StoreError> {
        self.read(move |tx| {
            tx.query_row(
                "SELECT * FROM judgements WHERE project = ?1 AND verdict <> 'wanted'
                 ORDER BY run DESC, verdict = 'skipped' DESC, rowid DESC LIMIT 1",
                [project.as_str()],
                |row| Ok((parsed(row, "sha")?, verdict(row)?)),
            )
            .optional()
        })
        .await
    }

    /// The commit that a run judged last, whatever was left out since.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn last_run_judged(&self, project: ProjectName) -> Result<Option<CommitSha>, StoreError> {
        self.read(move |tx| {
            tx.query_row(
                "SELECT sha FROM judgements WHERE project = ?1 AND verdict IN ('pushed', 'failed')
                 ORDER BY run DESC LIMIT 1",
                [project.as_str()],
                |row| parsed(row, "sha"),
            )
            .optional()
        })
        .await
    }

    /// The commit of the newest version that was pushed.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn last_pushed(&self, project: ProjectName) -> Result<Option<CommitSha>, StoreError> {
        self.read(move |tx| {
            tx.query_row(
                "SELECT sha FROM judgements WHERE project = ?1 AND verdict = 'pushed' ORDER BY run DESC LIMIT 1",
                [project.as_str()],
                |row| parsed(row, "sha"),
            )
            .optional()
        })
        .await
    }

    /// What is known of a commit; `None` if it was never judged.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn verdict(&self, project: ProjectName, sha: CommitSha) -> Result<Option<Verdict>, StoreError> {
        self.read(move |tx| {
            tx.prepare_cached("SELECT * FROM judgements WHERE project = ?1 AND sha = ?2")?
                .query_row((project.as_str(), sha.as_str()), verdict)
                .optional()
        })
        .await
    }

    /// Records that a commit is not run, and why. What a run made of it stays.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn skip_commit(
        &self,
        project: ProjectName,
        sha: CommitSha,
        reason: String,
    ) -> Result<(), StoreError> {
        self.write("skip-commit", move |tx| {
            tx.execute(
                "INSERT INTO judgements (project, sha, verdict, run, reason)
                 SELECT ?1, ?2, 'skipped', coalesce(max(number), 0), ?3 FROM runs WHERE project = ?1
                 ON CONFLICT DO NOTHING",
                (project.as_str(), sha.as_str(), reason),
            )?;
            Ok(())
        })
        .await
    }

    /// Records that the owner wants a commit run, whatever was made of it before.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn want_commit(&self, project: ProjectName, sha: CommitSha) -> Result<(), StoreError> {
        self.write("want-commit", move |tx| {
            tx.execute(
                "INSERT OR REPLACE INTO judgements (project, sha, verdict, run) VALUES (?1, ?2, 'wanted', 0)",
                (project.as_str(), sha.as_str()),
            )?;
            Ok(())
        })
        .await
    }

    /// Every tag this machine ever took for a project.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn reserved_tags(&self, project: ProjectName) -> Result<Vec<Tag>, StoreError> {
        self.read(move |tx| {
            tx.prepare("SELECT tag FROM reservations WHERE project = ?1")?
                .query_map([project.as_str()], |row| parsed(row, "tag"))?
                .collect()
        })
        .await
    }

    /// The tags that earlier runs of the same commit took, newest first: one of them may have been pushed by a run
    /// that was cut off before it could say so.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn tags_taken_for(
        &self,
        project: ProjectName,
        sha: CommitSha,
        before: RunNumber,
    ) -> Result<Vec<Tag>, StoreError> {
        self.read(move |tx| {
            tx.prepare(
                "SELECT reservations.tag FROM reservations JOIN runs ON runs.number = reservations.run
                 WHERE reservations.project = ?1 AND runs.commit_sha = ?2 AND runs.number < ?3
                 ORDER BY runs.number DESC",
            )?
            .query_map((project.as_str(), sha.as_str(), before.0.cast_signed()), |row| parsed(row, "tag"))?
            .collect()
        })
        .await
    }

    /// Takes a tag for good, before anything is pushed under it. `false` if it was taken before.
    ///
    /// # Errors
    /// The database cannot be written; nothing may be pushed then.
    pub async fn reserve_tag(
        &self,
        project: ProjectName,
        tag: Tag,
        run: RunNumber,
    ) -> Result<bool, StoreError> {
        self.write("reserve-tag", move |tx| {
            let rows = tx.execute(
                "INSERT INTO reservations (project, tag, run) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                (project.as_str(), tag.as_str(), run.0.cast_signed()),
            )?;
            Ok(rows == 1)
        })
        .await
    }

    /// Records what the registry holds under a tag that was pushed.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn record_push(
        &self,
        project: ProjectName,
        tag: Tag,
        digest: Digest,
    ) -> Result<(), StoreError> {
        self.write("record-push", move |tx| {
            tx.execute(
                "UPDATE reservations SET digest = ?3 WHERE project = ?1 AND tag = ?2",
                (project.as_str(), tag.as_str(), digest.as_str()),
            )?;
            Ok(())
        })
        .await
    }
}

fn verdict(row: &Row<'_>) -> rusqlite::Result<Verdict> {
    let word: String = row.get("verdict")?;
    let run: i64 = row.get("run")?;
    let run = RunNumber(run.unsigned_abs());
    Ok(match word.as_str() {
        "pushed" => Verdict::Pushed { run },
        "skipped" => Verdict::Skipped { reason: row.get("reason")? },
        "wanted" => Verdict::Wanted,
        _ => Verdict::Failed { run, reason: row.get("reason")? },
    })
}
