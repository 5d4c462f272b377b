//! Does a new commit ask for a run at all? GitHub's marks in its message say that it does not.

use crate::model::CommitFacts;

/// Why a commit is not run, a clause; `None` if nothing speaks against it.
pub fn reason_to_skip(facts: &CommitFacts) -> Option<String> {
    facts.skip.map(|mark| format!("its message says `{}`", mark.word()))
}
