//! The runs as their owner sees them, by `homeport runs` and `homeport logs`, with the agent up or down.

use std::fmt;
use std::future::Future;
use std::panic::Location;

use serde::Deserialize;

use crate::world::World;
use crate::world::assertions::eventually;

/// One run as `homeport runs --json` tells it.
#[derive(Debug, Clone, Deserialize)]
pub struct Run {
    /// Its number.
    pub number: u64,
    /// Its project.
    pub project: String,
    /// `ci` or `cd`.
    pub kind: String,
    /// Why it was started.
    pub trigger: String,
    /// The commit, where one is known.
    pub commit: Option<String>,
    /// The tag.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<String>,
    /// The outcome's word; `running` while it goes on.
    pub outcome: String,
    /// The stage that failed or was cut off.
    pub failed_stage: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The stage entered last.
    pub stage: Option<String>,
    /// When it began.
    pub started_at: chrono::DateTime<chrono::Utc>,
    /// When it ended.
    pub finished_at: Option<chrono::DateTime<chrono::Utc>>,
    /// Its log file.
    pub log: std::path::PathBuf,
}

/// `3 ci failed at test`, `4 cd deployed 2`: number, kind, outcome, the stage that failed, the tag.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.number, self.kind, self.outcome)?;
        if let Some(stage) = &self.failed_stage {
            write!(f, " at {stage}")?;
        }
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, " {tag}"))
    }
}

impl World {
    /// All runs, oldest first.
    pub async fn runs(&self) -> Vec<Run> {
        let listed = self.agent.command(&["runs", "--json", "--limit", "1000"]).await.expect_success();
        let mut runs: Vec<Run> = serde_json::from_str(&listed.stdout).expect("runs --json gives runs");
        runs.reverse();
        runs
    }

    /// The run with this number.
    pub async fn run(&self, number: u64) -> Run {
        let found = self.runs().await.into_iter().find(|run| run.number == number);
        found.unwrap_or_else(|| panic!("there is no run {number}"))
    }

    /// The CI run of a commit, once it has begun.
    #[track_caller]
    pub fn run_of(&self, commit: &str) -> impl Future<Output = Run> {
        let at = Location::caller();
        async move {
            let mut found = None;
            let begun = eventually(async || {
                let runs = self.runs().await;
                found =
                    runs.into_iter().find(|run| run.kind == "ci" && run.commit.as_deref() == Some(commit));
                if found.is_some() { Ok(()) } else { Err("no run of it has begun") }
            });
            if let Err(last) = begun.await {
                panic!("{at}: commit {commit}: {last}");
            }
            found.unwrap()
        }
    }

    /// What `homeport logs N` prints.
    pub async fn log_of(&self, number: u64) -> String {
        self.agent.command(&["logs", &number.to_string()]).await.expect_success().stdout
    }

    /// These are the runs, now or soon, each as its [`Run`] is displayed; and each that has ended has its log.
    #[track_caller]
    pub fn expect_runs(&self, wanted: &[&str]) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let found = eventually(async || {
                let runs: Vec<String> = self.runs().await.iter().map(Run::to_string).collect();
                if runs == wanted { Ok(()) } else { Err(format!("{runs:?}")) }
            });
            if let Err(last) = found.await {
                panic!("{at}: the runs are not {wanted:?} but {last}");
            }
        }
    }

    /// A run of this kind (`ci`, `cd`) is in this stage now.
    #[track_caller]
    pub fn wait_for_stage(&self, kind: &str, stage: &str) -> impl Future<Output = Run> {
        let at = Location::caller();
        async move {
            let mut seen = None;
            let found = eventually(async || {
                let runs = self.runs().await;
                seen = runs.iter().find(|run| run.is_in(kind, stage)).cloned();
                let shown: Vec<String> = runs.iter().map(Run::to_string).collect();
                if seen.is_some() { Ok(()) } else { Err(format!("{shown:?}")) }
            });
            if let Err(last) = found.await {
                panic!("{at}: no {kind} run is in stage {stage}: {last}");
            }
            seen.expect("it was seen")
        }
    }

    /// Every run has ended, and its log says so in its last line.
    pub async fn expect_every_run_ended(&self) {
        for run in self.runs().await {
            assert!(run.finished_at.is_some(), "run {run} has no end");
            let log = std::fs::read_to_string(&run.log).unwrap_or_default();
            let last = log.lines().last().unwrap_or_default();
            let end = format!("run {} ended: ", run.number);
            assert!(last.contains(&end), "the log of run {run} does not end with its end but with {last:?}");
        }
    }
}

impl Run {
    fn is_in(&self, kind: &str, stage: &str) -> bool {
        self.kind == kind && self.outcome == "running" && self.stage.as_deref() == Some(stage)
    }
}
