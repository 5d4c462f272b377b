//! Moments on the clock of the wall, as the engine and the run logs tell them.

use std::time::Duration;
use std::time::Instant;

use chrono::DateTime;
use chrono::Utc;

/// The time of the first line of a run log that says this, if it says so.
pub fn of_line(log: &str, text: &str) -> Option<DateTime<Utc>> {
    let line = log.lines().find(|line| line.contains(text))?;
    DateTime::parse_from_rfc3339(line.split_whitespace().next()?).ok().map(|time| time.to_utc())
}

/// From one moment to another; nothing if it came before.
pub fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    (to - from).to_std().unwrap_or_default()
}

/// That moment on the clock that durations are measured with.
pub fn as_instant(moment: DateTime<Utc>) -> Instant {
    Instant::now() - between(moment, Utc::now())
}
