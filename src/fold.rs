//! Which ended runs are worth a mail. Pure: takes run reports one after the other, remembers what was mailed,
//! gives a [`Verdict`] for each. One [`FailureMemory`] per project, stored by the caller between runs.
//!
//! - Deployed, rolled back and down are always mailed.
//! - A failed run is mailed, unless its like was mailed within [`FOLD_WINDOW`]; then it is counted. Its like is:
//!   the same stage, and the same reason but for numbers and ids. Where the commit or the image is to blame,
//!   also the same commit or image: whoever pushes an attempt at a repair must hear what became of it, and "the
//!   tests ended with exit code 1" is the reason of most. What the world is to blame for comes back by
//!   itself, commit or no commit, and is folded across them.
//! - A pushed image is mailed only where it is not deployed; else the mail about its deployment tells it.
//! - A run that was cut off is not mailed: it is tried again, and that is.
//! - A success ends the failures of its kind and says how many there were.

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use serde::Deserialize;
use serde::Serialize;
use sha2::Digest as _;
use sha2::Sha256;

use crate::model::Blame;
use crate::model::Failure;
use crate::model::Outcome;
use crate::model::RunKind;
use crate::model::RunReport;
use crate::model::Stage;

/// How long the mail about a failure stands for its like.
pub const FOLD_WINDOW: TimeDelta = TimeDelta::hours(6);
/// How many different failures are remembered per project.
const REMEMBERED: usize = 32;

/// What becomes of a project's images on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// They are deployed here.
    Deploys,
    /// They are built and pushed only.
    OnlyBuilds,
}

/// What is to be done about a run that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is mailed now.
    Mail {
        /// The runs that failed in the same way since the last mail about it and were only counted.
        repeats: Option<Repeats>,
        /// The failures that this success ends.
        fixed: Option<Streak>,
    },
    /// It is counted: its like was mailed before.
    Fold {
        /// How many were counted since that mail, this one included.
        times: u32,
    },
    /// Nobody needs to hear of it.
    Silent,
}

/// Runs that were counted instead of mailed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeats {
    /// How many.
    pub times: u32,
    /// The mail they were counted after.
    pub since: DateTime<Utc>,
}

/// Failed runs without a success in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streak {
    /// How many.
    pub failures: u32,
    /// The end of the first of them.
    pub since: DateTime<Utc>,
}

/// What a project's owner was told about failures. Starts empty; stored as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FailureMemory {
    mailed: Vec<Mailed>,
    /// CI runs that failed since the last one that pushed.
    ci: Option<Streak>,
    /// CD runs that failed since the last one that deployed.
    cd: Option<Streak>,
    /// CI failures that a push has ended and the mail about its deployment is to tell of.
    mended: Option<Streak>,
}

/// A failure that was mailed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mailed {
    kind: RunKind,
    stage: Stage,
    likeness: String,
    at: DateTime<Utc>,
    folded: u32,
}

impl FailureMemory {
    /// Judges the run that has just ended and remembers it. To be called once per run, in the order of their ends.
    pub fn judge(&mut self, report: &RunReport, role: Role) -> Verdict {
        match &report.outcome {
            Outcome::Superseded { .. } | Outcome::Interrupted(_) => Verdict::Silent,
            Outcome::Failed(failure) => {
                self.count_failure(report);
                self.fold(report, failure)
            }
            Outcome::RolledBack { .. } | Outcome::Down(_) => {
                self.count_failure(report);
                Verdict::Mail { repeats: None, fixed: None }
            }
            Outcome::Pushed(_) => {
                self.forget(RunKind::Ci);
                let ended = self.ci.take();
                match role {
                    Role::OnlyBuilds => Verdict::Mail { repeats: None, fixed: ended },
                    Role::Deploys => {
                        self.mended = joined(self.mended, ended);
                        Verdict::Silent
                    }
                }
            }
            Outcome::Deployed(_) => {
                self.forget(RunKind::Cd);
                let fixed = joined(self.mended.take(), self.cd.take());
                Verdict::Mail { repeats: None, fixed }
            }
        }
    }

    fn count_failure(&mut self, report: &RunReport) {
        let streak = match report.kind {
            RunKind::Ci => &mut self.ci,
            RunKind::Cd => &mut self.cd,
        };
        *streak = joined(*streak, Some(Streak { failures: 1, since: report.finished_at }));
    }

    fn fold(&mut self, report: &RunReport, failure: &Failure) -> Verdict {
        let (now, likeness) = (report.finished_at, likeness(report, failure));
        let like =
            |m: &&mut Mailed| m.kind == report.kind && m.stage == failure.stage && m.likeness == likeness;
        let Some(mailed) = self.mailed.iter_mut().find(like) else {
            if self.mailed.len() == REMEMBERED {
                self.mailed.remove(0);
            }
            self.mailed.push(Mailed {
                kind: report.kind,
                stage: failure.stage,
                likeness,
                at: now,
                folded: 0,
            });
            return Verdict::Mail { repeats: None, fixed: None };
        };
        // A board without a clock battery may have mailed in what is now the future: that must not silence it.
        if (now - mailed.at).abs() < FOLD_WINDOW {
            mailed.folded = mailed.folded.saturating_add(1);
            return Verdict::Fold { times: mailed.folded };
        }
        let repeats = (mailed.folded > 0).then_some(Repeats { times: mailed.folded, since: mailed.at });
        (mailed.at, mailed.folded) = (now, 0);
        Verdict::Mail { repeats, fixed: None }
    }

    fn forget(&mut self, kind: RunKind) {
        self.mailed.retain(|mailed| mailed.kind != kind);
    }
}

/// Two streaks as one.
fn joined(a: Option<Streak>, b: Option<Streak>) -> Option<Streak> {
    match (a, b) {
        (Some(a), Some(b)) => {
            Some(Streak { failures: a.failures.saturating_add(b.failures), since: a.since.min(b.since) })
        }
        (one, other) => one.or(other),
    }
}

/// A short text that is equal for failures that are alike: of reasons of any length only a hash is kept.
fn likeness(report: &RunReport, failure: &Failure) -> String {
    let about = match (failure.blame, &report.candidate, &report.commit) {
        (Blame::World, _, _) => "",
        (Blame::Image, Some(candidate), _) | (Blame::Commit, Some(candidate), None) => {
            candidate.digest.as_str()
        }
        (Blame::Commit | Blame::Image, _, Some(commit)) => commit.sha.as_str(),
        (Blame::Commit | Blame::Image, None, None) => "",
    };
    let hash = Sha256::digest(format!("{about}\n{}", masked(&failure.reason)));
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A reason without what differs from one time to the next: every number, and every id of at least seven
/// hexadecimal digits, becomes `#`.
fn masked(reason: &str) -> String {
    let mut masked = String::with_capacity(reason.len());
    for word in reason.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let body = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_id = body.len() >= 7
            && body.bytes().all(|b| b.is_ascii_hexdigit())
            && body.bytes().any(|b| b.is_ascii_digit());
        if is_id {
            masked.push('#');
            masked.push_str(&word[body.len()..]);
            continue;
        }
        for character in word.chars() {
            match character.is_ascii_digit() {
                true if masked.ends_with('#') => {}
                true => masked.push('#'),
                false => masked.push(character),
            }
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use chrono::DateTime;
    use chrono::TimeDelta;
    use chrono::Utc;

    use super::FailureMemory;
    use super::REMEMBERED;
    use super::Repeats;
    use super::Role;
    use super::Streak;
    use super::Verdict;
    use super::masked;
    use crate::model::Blame;
    use crate::model::Bump;
    use crate::model::Commit;
    use crate::model::Failure;
    use crate::model::Outcome;
    use crate::model::Release;
    use crate::model::RunKind;
    use crate::model::RunNumber;
    use crate::model::RunReport;
    use crate::model::Stage;
    use crate::model::Trigger;

    const PLAIN_MAIL: Verdict = Verdict::Mail { repeats: None, fixed: None };

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_400_000, 0).unwrap() + TimeDelta::minutes(minute)
    }

    fn release(tag: u8) -> Release {
        let digest = format!("sha256:{}", format!("{tag:02x}").repeat(32));
        Release { tag: tag.to_string().parse().unwrap(), digest: digest.parse().unwrap() }
    }

    fn run(minute: i64, commit: u8, outcome: Outcome) -> RunReport {
        let is_cd = matches!(outcome, Outcome::Deployed(_) | Outcome::RolledBack { .. } | Outcome::Down(_))
            || outcome.stopped_at().is_some_and(|stage| stage >= Stage::Pull);
        RunReport {
            number: RunNumber(1),
            project: "hello".parse().unwrap(),
            kind: if is_cd { RunKind::Cd } else { RunKind::Ci },
            trigger: Trigger::Poll,
            commit: Some(Commit {
                sha: format!("{commit:02x}").repeat(20).parse().unwrap(),
                subject: String::new(),
                author: String::new(),
                url: String::new(),
                bump: Bump::Patch,
                skip: None,
            }),
            candidate: is_cd.then(|| release(commit)),
            outcome,
            serving: None,
            started_at: at(minute),
            finished_at: at(minute),
            stages: Vec::new(),
            gap: None,
            log: "/log".into(),
            last_lines: Vec::new(),
        }
    }

    fn failed(stage: Stage, blame: Blame, reason: &str) -> Outcome {
        Outcome::Failed(Failure { stage, blame, reason: reason.to_owned() })
    }

    fn no_network(n: u32) -> Outcome {
        failed(Stage::Push, Blame::World, &format!("connection {n} to the registry timed out after {n}.5s"))
    }

    #[test]
    fn the_same_failure_is_folded_for_six_hours_and_then_told_with_its_count() {
        let mut memory = FailureMemory::default();
        let mut judge = |minute, outcome| memory.judge(&run(minute, 1, outcome), Role::Deploys);
        assert_eq!(judge(0, no_network(1)), PLAIN_MAIL);
        assert_eq!(judge(10, no_network(22)), Verdict::Fold { times: 1 });
        assert_eq!(judge(359, no_network(333)), Verdict::Fold { times: 2 });
        let repeats = Some(Repeats { times: 2, since: at(0) });
        assert_eq!(judge(360, no_network(4)), Verdict::Mail { repeats, fixed: None });
        assert_eq!(judge(361, no_network(5)), Verdict::Fold { times: 1 });
    }

    #[test]
    fn another_stage_or_another_reason_is_told_at_once() {
        let mut memory = FailureMemory::default();
        let mut judge = |outcome| memory.judge(&run(0, 1, outcome), Role::Deploys);
        assert_eq!(judge(no_network(1)), PLAIN_MAIL);
        assert_eq!(judge(failed(Stage::Push, Blame::World, "login refused")), PLAIN_MAIL);
        assert_eq!(judge(failed(Stage::Checkout, Blame::World, "login refused")), PLAIN_MAIL);
        assert_eq!(judge(no_network(2)), Verdict::Fold { times: 1 });
    }

    #[test]
    fn every_new_commit_that_fails_by_its_own_fault_is_told() {
        let mut memory = FailureMemory::default();
        let red = || failed(Stage::Test, Blame::Commit, "the tests ended with exit code 1");
        assert_eq!(memory.judge(&run(0, 1, red()), Role::Deploys), PLAIN_MAIL);
        assert_eq!(memory.judge(&run(5, 2, red()), Role::Deploys), PLAIN_MAIL);
        assert_eq!(memory.judge(&run(9, 2, red()), Role::Deploys), Verdict::Fold { times: 1 });
        // What the world is to blame for is one story, whichever commit it hits.
        assert_eq!(memory.judge(&run(20, 3, no_network(1)), Role::Deploys), PLAIN_MAIL);
        assert_eq!(memory.judge(&run(25, 4, no_network(1)), Role::Deploys), Verdict::Fold { times: 1 });
    }

    #[test]
    fn deployments_and_what_undoes_them_are_never_folded() {
        let mut memory = FailureMemory::default();
        let failure = || Failure { stage: Stage::Prove, blame: Blame::Image, reason: "no answer".to_owned() };
        for minute in 0..3 {
            let rolled_back = Outcome::RolledBack { failure: failure() };
            assert_eq!(memory.judge(&run(minute, 1, rolled_back), Role::Deploys), PLAIN_MAIL);
            assert_eq!(memory.judge(&run(minute, 1, Outcome::Down(failure())), Role::Deploys), PLAIN_MAIL);
        }
        let fixed = Some(Streak { failures: 6, since: at(0) });
        let deployed = |minute| run(minute, 2, Outcome::Deployed(release(2)));
        assert_eq!(memory.judge(&deployed(4), Role::Deploys), Verdict::Mail { repeats: None, fixed });
        assert_eq!(memory.judge(&deployed(5), Role::Deploys), PLAIN_MAIL);
    }

    #[test]
    fn the_deployment_tells_that_the_tests_are_mended() {
        let mut memory = FailureMemory::default();
        let red = |minute| run(minute, 1, failed(Stage::Test, Blame::Commit, "exit code 1"));
        memory.judge(&red(0), Role::Deploys);
        memory.judge(&red(1), Role::Deploys);
        // An older image may still be on its way: it mends nothing.
        assert_eq!(memory.judge(&run(2, 9, Outcome::Deployed(release(9))), Role::Deploys), PLAIN_MAIL);
        assert_eq!(memory.judge(&run(3, 2, Outcome::Pushed(release(2))), Role::Deploys), Verdict::Silent);
        let fixed = Some(Streak { failures: 2, since: at(0) });
        let deployed = run(4, 2, Outcome::Deployed(release(2)));
        assert_eq!(memory.judge(&deployed, Role::Deploys), Verdict::Mail { repeats: None, fixed });
    }

    #[test]
    fn a_push_is_told_where_nothing_is_deployed_and_resets_what_was_folded() {
        let mut memory = FailureMemory::default();
        assert_eq!(memory.judge(&run(0, 1, no_network(1)), Role::OnlyBuilds), PLAIN_MAIL);
        let pushed = run(1, 1, Outcome::Pushed(release(1)));
        let fixed = Some(Streak { failures: 1, since: at(0) });
        assert_eq!(memory.judge(&pushed, Role::OnlyBuilds), Verdict::Mail { repeats: None, fixed });
        assert_eq!(memory.judge(&pushed, Role::OnlyBuilds), PLAIN_MAIL);
        assert_eq!(memory.judge(&run(2, 1, no_network(1)), Role::OnlyBuilds), PLAIN_MAIL);
    }

    #[test]
    fn a_run_that_was_cut_off_is_silent_and_changes_nothing() {
        let mut memory = FailureMemory::default();
        let cut_off = run(0, 1, Outcome::Interrupted(Stage::Swap));
        assert_eq!(memory.judge(&cut_off, Role::Deploys), Verdict::Silent);
        let by = "b".repeat(40).parse().unwrap();
        let overtaken = run(0, 1, Outcome::Superseded { by, stage: Stage::Test });
        assert_eq!(memory.judge(&overtaken, Role::Deploys), Verdict::Silent);
        assert_eq!(memory, FailureMemory::default());
    }

    #[test]
    fn a_clock_that_was_wrong_does_not_silence_anything() {
        let mut memory = FailureMemory::default();
        memory.judge(&run(1_000_000, 1, no_network(1)), Role::Deploys);
        assert_eq!(memory.judge(&run(0, 1, no_network(1)), Role::Deploys), PLAIN_MAIL);
    }

    #[test]
    fn the_memory_is_bounded_and_survives_a_restart() {
        let mut memory = FailureMemory::default();
        for letter in 0..100_u8 {
            let reason = char::from(b' ' + letter % 94).to_string().repeat(usize::from(letter) + 1);
            memory.judge(&run(0, 1, failed(Stage::Push, Blame::World, &reason)), Role::Deploys);
        }
        assert_eq!(memory.mailed.len(), REMEMBERED);
        let stored = serde_json::to_string(&memory).unwrap();
        assert_eq!(serde_json::from_str::<FailureMemory>(&stored).unwrap(), memory);
        assert_eq!(serde_json::from_str::<FailureMemory>("{}").unwrap(), FailureMemory::default());
    }

    #[test]
    fn numbers_and_ids_are_masked_and_words_are_not() {
        insta::assert_snapshot!(masked("container 3f2a9b81c0de exited with code 137 after 12.5s (run-000042)"), @"container # exited with code # after #.#s (run-#)");
        insta::assert_snapshot!(masked("deadbeef defaced 1a2b3c4, port 5000: é1é 10:20:30 sha256:00ff00ff"), @"deadbeef defaced #, port #: é#é #:#:# sha#:#");
    }
}
