//! Waits after failures: exponential with jitter, or what the server asked for.

use std::time::Duration;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;

/// No server is waited for longer than this before it is asked again. GitHub's windows are an hour long.
pub const LONGEST_TOLD_WAIT: TimeDelta = TimeDelta::hours(1);

/// Above this a `Retry-After` is a unix time, below it seconds: Docker Hub has sent both under the same name.
const UNIX_TIMES_FROM: i64 = 1_000_000_000;

/// Waits that double with each failure in a row, up to a cap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// The first wait is at most `base`, none is longer than `cap`.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// Counts a failure and gives the wait before the next attempt: between half and the whole of the step.
    ///
    /// `jitter` is a random number from 0 to 1, so that many agents behind one address do not come back at once.
    pub fn next(&mut self, jitter: f64) -> Duration {
        let doubled = 2_u32.checked_pow(self.failures).and_then(|factor| self.base.checked_mul(factor));
        let step = doubled.map_or(self.cap, |step| step.min(self.cap));
        self.failures = self.failures.saturating_add(1);
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 };
        let half = step / 2;
        half.saturating_add((step - half).mul_f64(jitter)).min(step)
    }

    /// After a success: the next failure begins with the first wait again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The instant a `Retry-After`, `X-Retry-After` or `x-ratelimit-reset` header stands for: seconds, a unix time
/// or an HTTP date. `None` if it is none of them.
pub fn retry_after(header: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let header = header.trim();
    match header.parse::<i64>() {
        Ok(seconds) if seconds < 0 => None,
        Ok(unix_time) if unix_time >= UNIX_TIMES_FROM => DateTime::from_timestamp(unix_time, 0),
        Ok(seconds) => now.checked_add_signed(TimeDelta::try_seconds(seconds)?),
        Err(_) => DateTime::parse_from_rfc2822(header).ok().map(|date| date.to_utc()),
    }
}

/// When to ask again: when the server said, if it named an instant to come, else after the backoff; in neither case
/// later than [`LONGEST_TOLD_WAIT`] from now.
pub fn not_before(now: DateTime<Utc>, told: Option<DateTime<Utc>>, backoff: Duration) -> DateTime<Utc> {
    let latest = now.checked_add_signed(LONGEST_TOLD_WAIT).unwrap_or(now);
    let backoff = TimeDelta::from_std(backoff).unwrap_or(LONGEST_TOLD_WAIT).min(LONGEST_TOLD_WAIT);
    let after_backoff = now.checked_add_signed(backoff).unwrap_or(latest);
    told.filter(|told| *told > now).unwrap_or(after_backoff).min(latest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::time::Duration;

    use chrono::DateTime;
    use chrono::TimeDelta;
    use chrono::Utc;
    use proptest::prelude::any;
    use proptest::prelude::prop_assert;
    use proptest::proptest;

    use super::Backoff;
    use super::LONGEST_TOLD_WAIT;
    use super::not_before;
    use super::retry_after;

    fn now() -> DateTime<Utc> {
        "2026-11-23T06:15:00Z".parse().unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_waits_double_up_to_the_cap_and_begin_again_after_a_success() {
        let mut backoff = Backoff::new(seconds(10), seconds(60));
        let waits: Vec<Duration> = (0..5).map(|_| backoff.next(1.0)).collect();
        assert_eq!(waits, [10, 20, 40, 60, 60].map(seconds));
        backoff.reset();
        assert_eq!(backoff.next(1.0), seconds(10));
    }

    #[test]
    fn jitter_takes_away_up_to_half_of_a_wait() {
        let wait = |jitter| Backoff::new(seconds(10), seconds(60)).next(jitter);
        assert_eq!(wait(0.0), seconds(5));
        assert_eq!(wait(0.5), Duration::from_millis(7500));
        assert_eq!(wait(f64::NAN), seconds(10));
    }

    #[test]
    fn docker_hubs_and_githubs_ways_to_say_wait_are_all_understood() {
        let at = |header| retry_after(header, now()).map(|at| at - now());
        assert_eq!(at("30"), Some(TimeDelta::seconds(30)));
        assert_eq!(at(" 0 "), Some(TimeDelta::zero()));
        assert_eq!(at("1795414560"), Some(TimeDelta::seconds(60)));
        assert_eq!(at("Mon, 23 Nov 2026 06:16:00 GMT"), Some(TimeDelta::seconds(60)));
        for header in ["", "soon", "-5", "1.5", "99999999999999999999"] {
            assert_eq!(at(header), None, "{header}");
        }
    }

    #[test]
    fn what_the_server_said_goes_before_the_backoff() {
        let told = now() + TimeDelta::minutes(7);
        assert_eq!(not_before(now(), Some(told), seconds(60)), told);
        assert_eq!(not_before(now(), None, seconds(60)), now() + TimeDelta::minutes(1));
    }

    #[test]
    fn an_instant_that_is_past_is_no_instruction() {
        let past = now() - TimeDelta::minutes(7);
        assert_eq!(not_before(now(), Some(past), seconds(60)), now() + TimeDelta::minutes(1));
    }

    #[test]
    fn no_server_is_waited_for_longer_than_an_hour() {
        let latest = now() + LONGEST_TOLD_WAIT;
        assert_eq!(not_before(now(), Some(now() + TimeDelta::days(400)), seconds(1)), latest);
        assert_eq!(not_before(now(), None, Duration::MAX), latest);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_longer_than_the_cap(
            base in any::<u64>(), cap in any::<u64>(), failures in 0_usize..80, jitter in any::<f64>(),
        ) {
            let mut backoff = Backoff::new(seconds(base), seconds(cap));
            for _ in 0..failures {
                backoff.next(jitter);
            }
            prop_assert!(backoff.next(jitter) <= seconds(cap));
        }

        #[test]
        fn no_header_puts_the_next_attempt_into_the_past_or_far_away(header in "[0-9a-zA-Z:, +-]{0,40}") {
            let at = not_before(now(), retry_after(&header, now()), seconds(5));
            prop_assert!(at > now() && at <= now() + LONGEST_TOLD_WAIT);
        }
    }
}
