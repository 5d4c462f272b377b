//! When a server that limits its clients wants to be asked again: reads what GitHub and Docker Hub put into
//! their headers. Takes headers and the time, gives an instant; sends nothing and waits for nothing.
//!
//! A server's instant is first turned into a wait by the server's own `Date`, so that a board whose clock is
//! wrong still waits as long as it should.

use std::time::Duration;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use http::HeaderMap;
use http::header::DATE;

/// The longest wait that is believed. GitHub's windows are one hour; a longer hint is a mistake.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A number above this is an instant in unix time, below it a number of seconds: Docker Hub has sent both
/// under the same name (docker/hub-feedback#2459).
const FIRST_UNIX_TIME: i64 = 1_000_000_000;

/// What `Retry-After`, or Docker Hub's older `X-Retry-After`, asks for: seconds, unix time or an HTTP date.
/// At least a second and at most [`LONGEST_WAIT`] after `now`; `None` without a header that can be read.
pub fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    ["retry-after", "x-retry-after"].iter().find_map(|name| {
        let text = text_of(headers, name)?;
        let wait = match text.parse::<i64>() {
            Ok(seconds) if seconds <= FIRST_UNIX_TIME => TimeDelta::try_seconds(seconds)?,
            Ok(instant) => DateTime::from_timestamp(instant, 0)? - server_time(headers, now),
            Err(_) => http_date(text)? - server_time(headers, now),
        };
        Some(now + bounded(wait))
    })
}

/// When the budget that `X-RateLimit-*` describes is full again, within the same bounds.
pub fn limit_reset(headers: &HeaderMap, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let instant = DateTime::from_timestamp(number(headers, "x-ratelimit-reset")?, 0)?;
    Some(now + bounded(instant - server_time(headers, now)))
}

/// A header's value as a number.
pub fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    text_of(headers, name)?.parse().ok()
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn server_time(headers: &HeaderMap, now: DateTime<Utc>) -> DateTime<Utc> {
    text_of(headers, DATE.as_str()).and_then(http_date).unwrap_or(now)
}

fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.with_timezone(&Utc))
}

fn bounded(wait: TimeDelta) -> Duration {
    wait.to_std().unwrap_or_default().clamp(Duration::from_secs(1), LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_746_136_878, 0).unwrap()
    }

    fn seconds(until: Option<DateTime<Utc>>) -> Option<i64> {
        until.map(|until| (until - now()).num_seconds())
    }

    #[test]
    fn every_form_of_retry_after_is_understood() {
        for (pairs, wait) in [
            (vec![("retry-after", "37")], Some(37)),
            (vec![("retry-after", "1746136938")], Some(60)),
            (vec![("x-retry-after", "1746136938")], Some(60)),
            (vec![("retry-after", "Thu, 01 May 2025 22:02:18 GMT")], Some(60)),
            (vec![("retry-after", "soon"), ("x-retry-after", "5")], Some(5)),
            (vec![("retry-after", "soon")], None),
            (vec![("retry-after", "")], None),
            (vec![], None),
        ] {
            assert_eq!(seconds(retry_after(&headers(&pairs), now())), wait, "{pairs:?}");
        }
    }

    #[test]
    fn a_wait_is_never_negative_and_never_longer_than_an_hour() {
        for (value, wait) in [
            ("0", 1),
            ("-5", 1),
            ("1746136000", 1),
            ("999999999", 3600),
            ("4000000000", 3600),
            ("9223372036854775807", 0),
        ] {
            let until = seconds(retry_after(&headers(&[("retry-after", value)]), now()));
            assert_eq!(until.unwrap_or(0), wait, "{value}");
        }
    }

    #[test]
    fn a_wrong_clock_of_this_machine_does_not_change_the_wait() {
        let headers =
            headers(&[("date", "Thu, 01 May 2025 22:01:18 GMT"), ("x-ratelimit-reset", "1746136938")]);
        let epoch = DateTime::UNIX_EPOCH;
        assert_eq!((limit_reset(&headers, epoch).unwrap() - epoch).num_seconds(), 60);
    }
}
