//! What homeport writes down: the journal on stderr ([`root`]) and one file per run ([`run_log`]). Both
//! pass every text through [`clean`] (no terminal escapes) and [`redact`] (no secrets) before it is
//! written. Old files go by [`retention`].
//!
//! Nothing here decides what is worth saying, and no failure to write is a failure of a run.

pub mod clean;
mod entry;
pub mod lines;
mod log_file;
mod output_limit;
pub mod past_run;
pub mod redact;
pub mod retention;
pub mod root;
pub mod run_log;

use std::sync::Arc;

use chrono::DateTime;
use chrono::Utc;

/// Tells the time for the stamps in the logs. An argument, since the clock itself stands further down.
pub type Now = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The stamp of a log line: UTC, to the millisecond.
fn stamp(now: DateTime<Utc>) -> String {
    now.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
