//! What the agent's database says, read beside it: whether the story has ended, and how.

use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::params;

use crate::world::World;

/// When a story has ended.
#[derive(Debug, Clone)]
pub enum Goal {
    /// This commit is judged, and what came of it is the current deployment.
    Commit(String),
    /// This digest is the current deployment.
    Deployed(String),
    /// This digest is quarantined, and another one is the current deployment.
    TakenBack(String),
}

/// A run that has ended.
#[derive(Debug, Clone)]
pub struct EndedRun {
    /// Its number.
    pub number: i64,
    /// `ci` or `cd`.
    pub kind: String,
    /// Its outcome's word.
    pub outcome: String,
}

/// The open database.
pub struct Records(Connection);

impl Records {
    /// Opens it; `None` if there is none yet.
    pub fn of(world: &World) -> Option<Self> {
        let path = world.agent.state_dir().join("homeport.db");
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        connection.busy_timeout(std::time::Duration::from_secs(2)).ok()?;
        Some(Self(connection))
    }

    /// Whether the story has ended, with nothing in flight and no mail waiting.
    pub fn is_settled(&self, goal: &Goal) -> bool {
        self.is_calm() && self.has_reached(goal)
    }

    fn is_calm(&self) -> bool {
        let open =
            "SELECT (SELECT count(*) FROM runs WHERE outcome IS NULL) + (SELECT count(*) FROM journals)
                         + (SELECT count(*) FROM outbox)";
        self.count(open, "") == Some(0)
    }

    fn has_reached(&self, goal: &Goal) -> bool {
        match goal {
            Goal::Commit(sha) => {
                let serving = "SELECT count(*) FROM judgements j JOIN runs r ON r.number = j.run
                               JOIN deployments d ON d.digest = r.digest AND d.standing = 'current'
                               WHERE j.sha = ?1 AND j.verdict = 'pushed'";
                self.count(serving, sha) == Some(1)
            }
            Goal::Deployed(digest) => self.is_current(digest),
            Goal::TakenBack(digest) => self.is_quarantined(digest) && !self.is_current(digest),
        }
    }

    fn is_current(&self, digest: &str) -> bool {
        self.count("SELECT count(*) FROM deployments WHERE standing = 'current' AND digest = ?1", digest)
            == Some(1)
    }

    /// Whether a digest is not tried again.
    pub fn is_quarantined(&self, digest: &str) -> bool {
        self.count("SELECT count(*) FROM quarantine WHERE digest = ?1", digest) == Some(1)
    }

    /// How many digests were quarantined by runs after this one.
    pub fn quarantined_after(&self, run: i64) -> Option<i64> {
        self.0.query_row("SELECT count(*) FROM quarantine WHERE run > ?1", [run], |row| row.get(0)).ok()
    }

    /// How many digests this run quarantined.
    pub fn quarantined_by(&self, run: i64) -> Option<i64> {
        self.0.query_row("SELECT count(*) FROM quarantine WHERE run = ?1", [run], |row| row.get(0)).ok()
    }

    /// Deployments in flight.
    pub fn journals(&self) -> Option<i64> {
        self.count("SELECT count(*) FROM journals", "")
    }

    /// The digest of the current deployment.
    pub fn current(&self) -> Option<String> {
        let sql = "SELECT digest FROM deployments WHERE standing = 'current'";
        self.0.query_row(sql, [], |row| row.get(0)).ok()
    }

    /// The number of the newest run; 0 if there is none.
    pub fn newest_run(&self) -> i64 {
        self.0.query_row("SELECT coalesce(max(number), 0) FROM runs", [], |row| row.get(0)).unwrap_or(0)
    }

    /// The runs after this one that have ended.
    pub fn ended_after(&self, run: i64) -> Vec<EndedRun> {
        let sql = "SELECT number, kind, outcome FROM runs WHERE number > ?1 AND outcome IS NOT NULL";
        let Ok(mut statement) = self.0.prepare(sql) else { return Vec::new() };
        let rows = statement.query_map([run], |row| {
            Ok(EndedRun { number: row.get(0)?, kind: row.get(1)?, outcome: row.get(2)? })
        });
        rows.into_iter().flatten().filter_map(Result::ok).collect()
    }

    fn count(&self, sql: &str, value: &str) -> Option<i64> {
        if sql.contains("?1") {
            self.0.query_row(sql, params![value], |row| row.get(0)).ok()
        } else {
            self.0.query_row(sql, [], |row| row.get(0)).ok()
        }
    }
}
