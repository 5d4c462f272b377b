//! Is the head of the branch due for a CI run?
//!
//! Takes the head, what is remembered of it and the time; gives a [`CommitDecision`]. A commit is judged once:
//! only a failure that was the world's fault is followed by another run without anybody asking.

use std::fmt;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;

use crate::config::settings::FileFilter;
use crate::decide::skip::reason_to_skip;
use crate::model::CommitFacts;
use crate::model::CommitSha;
use crate::model::RunNumber;

/// No backoff is longer than this. A wait that lies further ahead was written by a clock that was wrong, as
/// that of a board without a battery can be, and would otherwise never end.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(24);

/// What is remembered of one commit and its project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitMemory {
    /// What was made of this commit. A run that the world or a crash cut off did not judge it.
    pub judgement: Option<Judgement>,
    /// What this commit says and does, where it is known.
    pub facts: CommitFacts,
    /// The commit whose run is going on in this project.
    pub running: Option<CommitSha>,
    /// After a failure of the world: not before then.
    pub waiting_until: Option<DateTime<Utc>>,
}

/// The last word on a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Its image is in the registry.
    Pushed {
        /// The run that pushed it.
        run: RunNumber,
    },
    /// It failed by its own fault.
    Failed {
        /// The run that failed.
        run: RunNumber,
        /// Why, on one line.
        reason: String,
    },
    /// It was not run, since what it says or changes asks for none.
    Skipped {
        /// Why, a clause.
        reason: String,
    },
    /// The owner wants it run, whatever was made of it before.
    Wanted,
}

/// What follows for the head of the branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitDecision {
    /// A run is due.
    Due {
        /// Why now, a sentence for the run's log.
        reason: String,
    },
    /// Its image is in the registry.
    AlreadyPushed {
        /// The run that pushed it.
        run: RunNumber,
    },
    /// It failed by its own fault and is not tried again unless somebody asks.
    AlreadyFailed {
        /// The run that failed.
        run: RunNumber,
        /// Why, on one line.
        reason: String,
    },
    /// It is not run, which is to be remembered.
    Skip {
        /// Why, a clause.
        reason: String,
    },
    /// It was not run, and is not unless somebody asks.
    AlreadySkipped {
        /// Why, a clause.
        reason: String,
    },
    /// Its run is going on.
    InProgress,
    /// The world failed it a moment ago.
    NotBefore(DateTime<Utc>),
}

/// Whether the head of the branch is due for a run.
///
/// A run of another commit does not matter here: the queue keeps the newest commit until the lane is free.
pub fn commit_due(
    head: &CommitSha,
    memory: &CommitMemory,
    filter: &FileFilter,
    now: DateTime<Utc>,
) -> CommitDecision {
    if memory.running.as_ref() == Some(head) {
        return CommitDecision::InProgress;
    }
    match &memory.judgement {
        Some(Judgement::Pushed { run }) => return CommitDecision::AlreadyPushed { run: *run },
        Some(Judgement::Failed { run, reason }) => {
            return CommitDecision::AlreadyFailed { run: *run, reason: reason.clone() };
        }
        Some(Judgement::Skipped { reason }) => {
            return CommitDecision::AlreadySkipped { reason: reason.clone() };
        }
        Some(Judgement::Wanted) => {}
        None => {
            if let Some(reason) = reason_to_skip(&memory.facts, filter) {
                return CommitDecision::Skip { reason };
            }
        }
    }
    let commit = match &memory.facts.tag {
        Some(tag) => format!("commit {} (tag {tag})", head.short()),
        None => format!("commit {}", head.short()),
    };
    match memory.waiting_until {
        Some(until) if until > now && until - now <= LONGEST_WAIT => CommitDecision::NotBefore(until),
        Some(_) => CommitDecision::Due {
            reason: format!("{commit} is tried again: its last run was cut short, not judged"),
        },
        None if memory.judgement == Some(Judgement::Wanted) => CommitDecision::Due {
            reason: format!("{commit} is to be run by command, whatever was made of it before"),
        },
        None => CommitDecision::Due { reason: format!("{commit} is the newest and no run has judged it") },
    }
}

impl fmt::Display for CommitDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Due { reason } => f.write_str(reason),
            Self::AlreadyPushed { run } => write!(f, "run {run} pushed this commit"),
            Self::AlreadyFailed { run, reason } => {
                write!(f, "this commit failed in run {run} and is not tried again by itself: {reason}")
            }
            Self::Skip { reason } | Self::AlreadySkipped { reason } => {
                write!(f, "this commit is not run: {reason}")
            }
            Self::InProgress => f.write_str("the run of this commit is going on"),
            Self::NotBefore(when) => write!(f, "waiting until {} to try again", when.format("%FT%TZ")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use chrono::DateTime;
    use chrono::TimeDelta;
    use chrono::Utc;

    use super::CommitDecision;
    use super::CommitMemory;
    use super::Judgement;
    use super::commit_due;
    use crate::config::settings::FileFilter;
    use crate::model::CommitFacts;
    use crate::model::CommitSha;
    use crate::model::RunNumber;
    use crate::model::SkipMark;

    fn head() -> CommitSha {
        "a".repeat(40).parse().unwrap()
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    fn decide(memory: CommitMemory) -> CommitDecision {
        commit_due(&head(), &memory, &FileFilter::All, now())
    }

    fn failed() -> Judgement {
        Judgement::Failed { run: RunNumber(41), reason: "2 tests failed".to_owned() }
    }

    #[test]
    fn a_commit_nobody_has_seen_is_due() {
        let decision = decide(CommitMemory::default());
        assert!(matches!(decision, CommitDecision::Due { .. }));
        assert_eq!(decision.to_string(), "commit aaaaaaa is the newest and no run has judged it");
    }

    #[test]
    fn the_reason_names_the_tag_that_led_to_the_commit() {
        let facts = CommitFacts { tag: Some("v1.2.0".to_owned()), ..CommitFacts::default() };
        let decision = decide(CommitMemory { facts, ..CommitMemory::default() });
        assert_eq!(
            decision.to_string(),
            "commit aaaaaaa (tag v1.2.0) is the newest and no run has judged it"
        );
    }

    #[test]
    fn a_pushed_commit_is_not_run_again() {
        let judgement = Some(Judgement::Pushed { run: RunNumber(40) });
        let decision = decide(CommitMemory { judgement, ..CommitMemory::default() });
        assert_eq!(decision, CommitDecision::AlreadyPushed { run: RunNumber(40) });
    }

    #[test]
    fn a_failed_commit_is_not_run_again_and_the_answer_says_why() {
        let decision = decide(CommitMemory { judgement: Some(failed()), ..CommitMemory::default() });
        assert_eq!(
            decision.to_string(),
            "this commit failed in run 41 and is not tried again by itself: 2 tests failed"
        );
    }

    #[test]
    fn a_commit_whose_message_says_so_is_not_run_unless_its_owner_wants_it() {
        let facts = CommitFacts { skip: Some(SkipMark::NoCi), ..CommitFacts::default() };
        let new = CommitMemory { facts: facts.clone(), ..CommitMemory::default() };
        assert_eq!(decide(new).to_string(), "this commit is not run: its message says `[no ci]`");
        let reason = "its message says `[no ci]`".to_owned();
        let judgement = Some(Judgement::Skipped { reason: reason.clone() });
        let again = CommitMemory { judgement, ..CommitMemory::default() };
        assert_eq!(decide(again), CommitDecision::AlreadySkipped { reason });
        let wanted = CommitMemory { judgement: Some(Judgement::Wanted), facts, ..CommitMemory::default() };
        assert!(matches!(decide(wanted), CommitDecision::Due { .. }));
    }

    #[test]
    fn a_running_commit_is_not_started_twice_even_when_it_failed_before() {
        let memory =
            CommitMemory { judgement: Some(failed()), running: Some(head()), ..CommitMemory::default() };
        assert_eq!(decide(memory), CommitDecision::InProgress);
    }

    #[test]
    fn a_new_head_is_due_while_an_older_commit_runs() {
        let running = Some("b".repeat(40).parse().unwrap());
        let decision = decide(CommitMemory { running, ..CommitMemory::default() });
        assert!(matches!(decision, CommitDecision::Due { .. }));
    }

    #[test]
    fn a_failure_of_the_world_waits_out_its_backoff_and_then_tries_again() {
        let until = now() + TimeDelta::minutes(3);
        let memory = CommitMemory { waiting_until: Some(until), ..CommitMemory::default() };
        assert_eq!(commit_due(&head(), &memory, &FileFilter::All, now()), CommitDecision::NotBefore(until));
        let later = commit_due(&head(), &memory, &FileFilter::All, until);
        assert_eq!(
            later.to_string(),
            "commit aaaaaaa is tried again: its last run was cut short, not judged"
        );
    }

    #[test]
    fn a_wait_written_by_a_wrong_clock_does_not_last_for_years() {
        let until = now() + TimeDelta::days(4000);
        let decision = decide(CommitMemory { waiting_until: Some(until), ..CommitMemory::default() });
        assert!(matches!(decision, CommitDecision::Due { .. }));
    }
}
