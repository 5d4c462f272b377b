//! When failing polls are an outage worth telling, and when it is over.

use std::time::Duration;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;

/// So many failures in a row are an outage.
pub const OUTAGE_FAILURES: u32 = 5;

/// Failures in a row over so long are an outage, however few they are.
pub const OUTAGE_AFTER: Duration = Duration::from_secs(15 * 60);

/// What is worth telling after a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollReport {
    /// Nothing beyond the poll's own log line.
    Nothing,
    /// An outage: said once, until it is over.
    ReportOutage {
        /// The first failure.
        since: DateTime<Utc>,
        /// The failures so far.
        failures: u32,
    },
    /// The end of an outage that was reported.
    ReportRecovery {
        /// The first failure.
        since: DateTime<Utc>,
        /// The failures in all.
        failures: u32,
    },
}

/// How the polls of one source have gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollHealth {
    enough_failures: u32,
    long_enough: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    Failing { since: DateTime<Utc>, failures: u32 },
    Reported { since: DateTime<Utc>, failures: u32 },
}

impl PollHealth {
    /// A source that is well; an outage is so many failures in a row, or failures in a row over so long.
    pub const fn new(enough_failures: u32, long_enough: Duration) -> Self {
        Self { enough_failures, long_enough, state: State::Well }
    }

    /// A poll failed.
    pub fn failed(&mut self, now: DateTime<Utc>) -> PollReport {
        let (since, failures) = match self.state {
            State::Well => (now, 1),
            State::Failing { since, failures } => (since, failures.saturating_add(1)),
            State::Reported { since, failures } => {
                self.state = State::Reported { since, failures: failures.saturating_add(1) };
                return PollReport::Nothing;
            }
        };
        // A clock that was set back in between gives no time at all; the count decides then.
        let lasted = (now - since).to_std().unwrap_or_default();
        if failures >= self.enough_failures || (failures > 1 && lasted >= self.long_enough) {
            self.state = State::Reported { since, failures };
            PollReport::ReportOutage { since, failures }
        } else {
            self.state = State::Failing { since, failures };
            PollReport::Nothing
        }
    }

    /// A poll succeeded, whether or not it found anything new.
    pub const fn succeeded(&mut self) -> PollReport {
        let report = match self.state {
            State::Well | State::Failing { .. } => PollReport::Nothing,
            State::Reported { since, failures } => PollReport::ReportRecovery { since, failures },
        };
        self.state = State::Well;
        report
    }

    /// How long the last failures in a row have gone on; `None` after a success.
    pub fn failing_for(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        match self.state {
            State::Well => None,
            State::Failing { since, .. } | State::Reported { since, .. } => Some(now - since),
        }
    }
}

impl Default for PollHealth {
    fn default() -> Self {
        Self::new(OUTAGE_FAILURES, OUTAGE_AFTER)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use chrono::DateTime;
    use chrono::TimeDelta;
    use chrono::Utc;
    use proptest::prelude::any;
    use proptest::prelude::prop_assert;
    use proptest::proptest;

    use super::PollHealth;
    use super::PollReport;

    fn minute(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    #[test]
    fn the_fifth_failure_in_a_row_is_an_outage_and_is_said_once() {
        let mut health = PollHealth::default();
        for n in 0..4 {
            assert_eq!(health.failed(minute(n)), PollReport::Nothing);
        }
        let outage = PollReport::ReportOutage { since: minute(0), failures: 5 };
        assert_eq!(health.failed(minute(4)), outage);
        assert_eq!(health.failed(minute(5)), PollReport::Nothing);
        assert_eq!(health.failed(minute(90)), PollReport::Nothing);
    }

    #[test]
    fn rare_polls_that_fail_for_a_quarter_of_an_hour_are_an_outage() {
        let mut health = PollHealth::default();
        assert_eq!(health.failed(minute(0)), PollReport::Nothing);
        let outage = PollReport::ReportOutage { since: minute(0), failures: 2 };
        assert_eq!(health.failed(minute(15)), outage);
    }

    #[test]
    fn the_end_of_an_outage_is_said_once_and_the_next_outage_is_said_again() {
        let mut health = PollHealth::default();
        for n in 0..6 {
            health.failed(minute(n));
        }
        let recovery = PollReport::ReportRecovery { since: minute(0), failures: 6 };
        assert_eq!(health.succeeded(), recovery);
        assert_eq!(health.succeeded(), PollReport::Nothing);
        let reports: Vec<PollReport> = (10..15).map(|n| health.failed(minute(n))).collect();
        assert_eq!(reports.last(), Some(&PollReport::ReportOutage { since: minute(10), failures: 5 }));
    }

    #[test]
    fn a_hiccup_is_neither_an_outage_nor_a_recovery() {
        let mut health = PollHealth::default();
        for n in 0..4 {
            health.failed(minute(n));
        }
        assert_eq!(health.succeeded(), PollReport::Nothing);
        assert_eq!(health.failed(minute(20)), PollReport::Nothing);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_hide_an_outage() {
        let mut health = PollHealth::default();
        let reports: Vec<PollReport> = (0..5).map(|n| health.failed(minute(100 - 10 * n))).collect();
        assert_eq!(reports.last(), Some(&PollReport::ReportOutage { since: minute(100), failures: 5 }));
    }

    proptest! {
        #[test]
        fn outages_and_recoveries_alternate(polls in proptest::collection::vec(any::<bool>(), 0..200)) {
            let mut health = PollHealth::default();
            let mut is_out = false;
            for (n, succeeds) in (0..).zip(polls) {
                match if succeeds { health.succeeded() } else { health.failed(minute(n)) } {
                    PollReport::Nothing => {}
                    PollReport::ReportOutage { .. } => {
                        prop_assert!(!is_out);
                        is_out = true;
                    }
                    PollReport::ReportRecovery { .. } => {
                        prop_assert!(is_out);
                        is_out = false;
                    }
                }
            }
        }
    }
}
