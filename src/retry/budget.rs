//! How often a source with a request budget may be polled.
//!
//! GitHub allows 60 requests an hour to an address without a token, and there a 304 counts too; with a token a
//! 304 is free.

use std::time::Duration;

use chrono::DateTime;
use chrono::Utc;

use crate::event::Budget;

/// The length of a budget's window.
const WINDOW_SECONDS: i64 = 3600;

/// One request in so many is left for what is not a poll, such as a commit's author when it is due.
const RESERVE: u32 = 10;

/// Whether requests carry a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// They do: an unchanged answer costs nothing.
    Token,
    /// They do not: every poll counts.
    Anonymous,
}

/// The time from one poll of a project to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The budget allows what the configuration asks for.
    AsWanted(Duration),
    /// The budget does not: this is the shortest time that fits. Worth one log line when it begins.
    Slowed(Duration),
}

impl Pace {
    /// The time from one poll to the next.
    pub const fn interval(self) -> Duration {
        match self {
            Self::AsWanted(interval) | Self::Slowed(interval) => interval,
        }
    }
}

/// The pace of each of `projects` that share one budget and would each like to poll every `wanted`.
pub fn poll_budget(
    wanted: Duration,
    projects: u32,
    credential: Credential,
    seen: Option<Budget>,
    now: DateTime<Utc>,
) -> Pace {
    // GitHub's clock names the reset and ours is compared with it: a difference must not stretch the window.
    let left = |reset: DateTime<Utc>| (reset - now).num_seconds().clamp(0, WINDOW_SECONDS).unsigned_abs();
    let whole_window = WINDOW_SECONDS.unsigned_abs();
    let (allowed, seconds) = match (credential, seen) {
        (Credential::Token, Some(seen)) if seen.remaining == 0 && left(seen.reset) > 0 => {
            (0, left(seen.reset))
        }
        // A server that shows no limit, such as an enterprise's own, is asked as often as is wanted.
        (Credential::Token, _) | (Credential::Anonymous, None) => return Pace::AsWanted(wanted),
        (Credential::Anonymous, Some(seen)) if left(seen.reset) > 0 => (seen.remaining, left(seen.reset)),
        (Credential::Anonymous, Some(seen)) => (seen.limit, whole_window),
    };
    let for_polls = u64::from(allowed - allowed.div_ceil(RESERVE));
    let polls = u64::from(projects.max(1));
    let fits = if for_polls == 0 { seconds } else { (seconds * polls).div_ceil(for_polls) };
    let fits = Duration::from_secs(fits);
    if fits <= wanted { Pace::AsWanted(wanted) } else { Pace::Slowed(fits) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::time::Duration;

    use chrono::DateTime;
    use chrono::TimeDelta;
    use chrono::Utc;
    use proptest::prelude::prop_assert;
    use proptest::proptest;

    use super::Credential;
    use super::Pace;
    use super::poll_budget;
    use crate::event::Budget;

    const HALF_A_MINUTE: Duration = Duration::from_secs(30);

    fn now() -> DateTime<Utc> {
        "2026-11-23T06:15:00Z".parse().unwrap()
    }

    fn left(remaining: u32, minutes: i64) -> Option<Budget> {
        Some(Budget { limit: 60, remaining, reset: now() + TimeDelta::minutes(minutes) })
    }

    fn anonymous(projects: u32, seen: Option<Budget>) -> Pace {
        poll_budget(HALF_A_MINUTE, projects, Credential::Anonymous, seen, now())
    }

    fn slowed(seconds: u64) -> Pace {
        Pace::Slowed(Duration::from_secs(seconds))
    }

    #[test]
    fn with_a_token_the_pace_is_as_wanted_until_the_budget_is_used_up() {
        let pace = |seen| poll_budget(HALF_A_MINUTE, 50, Credential::Token, seen, now());
        assert_eq!(pace(None), Pace::AsWanted(HALF_A_MINUTE));
        assert_eq!(pace(left(1, 50)), Pace::AsWanted(HALF_A_MINUTE));
        assert_eq!(pace(left(0, 50)), slowed(3000));
        assert_eq!(pace(left(0, -1)), Pace::AsWanted(HALF_A_MINUTE));
    }

    #[test]
    fn without_a_token_sixty_requests_an_hour_are_shared_out() {
        assert_eq!(anonymous(1, left(60, 60)), slowed(67));
        assert_eq!(anonymous(3, left(60, 60)), slowed(200));
    }

    #[test]
    fn a_server_that_shows_no_limit_is_asked_as_often_as_is_wanted() {
        assert_eq!(anonymous(3, None), Pace::AsWanted(HALF_A_MINUTE));
    }

    #[test]
    fn what_is_left_of_the_window_is_spread_over_what_is_left_of_the_hour() {
        assert_eq!(anonymous(1, left(10, 30)), slowed(200));
        assert_eq!(anonymous(1, left(59, 10)), Pace::AsWanted(HALF_A_MINUTE));
    }

    #[test]
    fn with_nothing_left_the_next_poll_waits_for_the_next_window() {
        assert_eq!(anonymous(1, left(0, 12)), slowed(720));
        assert_eq!(anonymous(1, left(1, 12)), slowed(720));
        assert_eq!(anonymous(1, left(0, 0)), slowed(67));
    }

    #[test]
    fn a_board_whose_clock_is_wrong_by_years_waits_no_longer_than_a_window() {
        assert_eq!(anonymous(1, left(0, 60 * 24 * 4000)), slowed(3600));
        assert_eq!(anonymous(1, left(0, -60 * 24 * 4000)), slowed(67));
    }

    #[test]
    fn a_pace_slower_than_the_budget_is_left_alone() {
        let wanted = Duration::from_secs(300);
        let pace = poll_budget(wanted, 1, Credential::Anonymous, left(60, 60), now());
        assert_eq!(pace, Pace::AsWanted(wanted));
    }

    proptest! {
        #[test]
        fn the_polls_of_all_projects_fit_into_what_is_left(
            projects in 1_u32..2000, remaining in 2_u32..=60, seconds in 1_i64..=3600,
        ) {
            let reset = now() + TimeDelta::seconds(seconds);
            let pace = anonymous(projects, Some(Budget { limit: 60, remaining, reset }));
            let polls = u64::from(projects) * seconds.unsigned_abs() / pace.interval().as_secs();
            prop_assert!(polls <= u64::from(remaining), "{polls} polls of {remaining}");
        }
    }
}
