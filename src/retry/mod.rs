//! How long to wait before asking again: after failures, within a request budget, and after being told to wait.
//! Also when failing polls are worth a mail.
//!
//! Takes clock values, headers and a random number as arguments; gives durations, instants and reports. Must
//! not wait, read a clock or roll dice itself.

mod backoff;
mod budget;
mod outage;

pub use backoff::Backoff;
pub use backoff::LONGEST_TOLD_WAIT;
pub use backoff::not_before;
pub use backoff::retry_after;
pub use budget::Credential;
pub use budget::Pace;
pub use budget::poll_budget;
pub use outage::OUTAGE_AFTER;
pub use outage::OUTAGE_FAILURES;
pub use outage::PollHealth;
pub use outage::PollReport;
