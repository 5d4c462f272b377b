//! Durations and schedules as the owner writes them: `30s`, `1h30m`, `250ms`, or a cron expression.
//!
//! Takes texts, gives checked values or a sentence that says what would be right. Reads no clock: whether a
//! cron expression fires at all is asked from a fixed day.

use std::fmt;
use std::iter;
use std::str::FromStr;
use std::time::Duration;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use croner::Cron;
use croner::parser::CronParser;
use croner::parser::Seconds;
use croner::parser::Year;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de;

/// The longest interval that is accepted.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// The shortest time between two polls that is accepted.
const SHORTEST_POLL: Duration = Duration::from_millis(100);
/// The units, longest first: the order in which they are written.
const UNITS: [(&str, u64); 5] =
    [("d", 24 * 3600 * 1000), ("h", 3600 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];

/// A length of time, written as whole numbers with units, the longest first: `250ms`, `30s`, `15m`, `1h30m`, `2d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String", extend("pattern" = "^(\\d+d)?(\\d+h)?(\\d+m)?(\\d+s)?(\\d+ms)?$", "minLength" = 2))]
pub struct Interval(Duration);

impl Interval {
    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The length of time.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Interval {
    type Err = String;

    /// Refuses numbers without a unit, unknown units, units out of order, and more than 365 days.
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!(
                "`{text}` has no unit: write `{text}s` for seconds or `{text}m` for minutes"
            ));
        }
        let millis = milliseconds(text).ok_or_else(|| {
            format!(
                "`{text}` is not a duration: write whole numbers with the units `d`, `h`, `m`, `s` or `ms`, \
                 such as `30s` or `1h30m`"
            )
        })?;
        let interval = Self(Duration::from_millis(millis));
        if interval.0 > LONGEST {
            return Err(format!("`{text}` is longer than {}, the most that is allowed", Self(LONGEST)));
        }
        Ok(interval)
    }
}

/// The milliseconds that `text` stands for; more than a `u64` holds counts as the most it holds.
fn milliseconds(text: &str) -> Option<u64> {
    let (mut rest, mut units, mut total) = (text, UNITS.as_slice(), 0_u64);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, behind) = rest.split_at_checked(digits)?;
        let letters = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, next) = behind.split_at_checked(letters)?;
        let place = units.iter().position(|(name, _)| *name == unit)?;
        let (_, worth) = units.get(place)?;
        let count = if number.is_empty() { return None } else { number.parse().unwrap_or(u64::MAX) };
        total = total.saturating_add(worth.saturating_mul(count));
        units = units.get(place + 1..)?;
        rest = next;
    }
    (!text.is_empty()).then_some(total)
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, worth) in UNITS {
            if left >= worth {
                write!(f, "{}{unit}", left / worth)?;
                left %= worth;
            }
        }
        Ok(())
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(TextOrNumber("a duration such as `30s`"))?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// When something recurs: every so often, or by a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub enum Schedule {
    /// With this much time between two starts, at least 100 ms.
    Every(Duration),
    /// By a cron expression of six fields, seconds first, that was checked to fire at all; five fields were
    /// given a `0` for the seconds. Where a day of the month and a weekday are both given, both must match.
    Cron(String),
}

impl Schedule {
    /// Every so many seconds.
    pub const fn every_seconds(seconds: u64) -> Self {
        Self::Every(Duration::from_secs(seconds))
    }

    /// The shortest time between two starts: of a cron expression, among its first sixty.
    pub fn shortest_gap(&self) -> Duration {
        match self {
            Self::Every(interval) => *interval,
            Self::Cron(expression) => {
                let Ok(cron) = parse_cron(expression) else { return LONGEST };
                // Not by croner's iterator, which in 3.0.1 leaves out every other second of `* * * * * *`.
                let next = |start: &DateTime<Utc>| cron.find_next_occurrence(start, false).ok();
                let starts = || iter::successors(next(&DateTime::UNIX_EPOCH), next).take(60);
                let gaps = starts().zip(starts().skip(1)).map(|(one, next)| next - one);
                gaps.min().and_then(|gap: TimeDelta| gap.to_std().ok()).unwrap_or(LONGEST)
            }
        }
    }

    /// Whether it names both a day of the month and a weekday, which classic cron joins by *or*.
    pub fn joins_two_days(&self) -> bool {
        match self {
            Self::Every(_) => false,
            Self::Cron(expression) => {
                let fields: Vec<&str> = expression.split(' ').collect();
                let is_given = |index: usize| fields.get(index).is_some_and(|f| !matches!(*f, "*" | "?"));
                is_given(3) && is_given(5)
            }
        }
    }
}

impl FromStr for Schedule {
    type Err = String;

    /// Refuses what is neither duration nor cron expression, less than 100 ms, and expressions that never fire.
    fn from_str(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        match fields.len() {
            5 => checked_cron(text, format!("0 {}", fields.join(" "))),
            6 => checked_cron(text, fields.join(" ")),
            0 | 1 if !text.starts_with(['@', '*']) => {
                let interval: Interval = text.parse()?;
                if interval.get() < SHORTEST_POLL {
                    let least = Interval(SHORTEST_POLL);
                    return Err(format!(
                        "`{text}` is too often: at least {least} must lie between two polls"
                    ));
                }
                Ok(Self::Every(interval.get()))
            }
            _ => Err(format!(
                "`{text}` is neither a duration such as `30s` nor a cron expression of five or six fields such as \
                 `*/5 * * * *`"
            )),
        }
    }
}

fn checked_cron(written: &str, expression: String) -> Result<Schedule, String> {
    let cron = parse_cron(&expression).map_err(|error| {
        format!("`{written}` is not a cron expression: {error}; `*/5 * * * *` would be every five minutes")
    })?;
    cron.find_next_occurrence(&DateTime::UNIX_EPOCH, true)
        .map_err(|_| format!("`{written}` never fires: no day of any year matches it"))?;
    Ok(Schedule::Cron(expression))
}

/// Parses as tokio-cron-scheduler does (`Job::new`: seconds required, both kinds of day must match), so that what
/// is accepted here is accepted there and means the same.
fn parse_cron(expression: &str) -> Result<Cron, croner::errors::CronError> {
    CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Optional)
        .dom_and_dow(true)
        .build()
        .parse(expression)
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(TextOrNumber("a duration such as `30s` or a cron expression"))?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Takes a text, and a bare number as the text it was written as, so that both get the same answer.
pub(super) struct TextOrNumber(pub(super) &'static str);

impl de::Visitor<'_> for TextOrNumber {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn interval(text: &str) -> Result<Duration, String> {
        text.parse().map(Interval::get)
    }

    fn cron(text: &str) -> Schedule {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn intervals_are_sums_of_numbers_with_units() {
        assert_eq!(interval("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(interval("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(interval("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(interval("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(interval("2d"), Ok(Duration::from_secs(172_800)));
        assert_eq!(interval("1m500ms"), Ok(Duration::from_millis(60_500)));
        assert_eq!(interval("0s"), Ok(Duration::ZERO));
        assert_eq!(interval("365d"), Ok(LONGEST));
    }

    #[test]
    fn a_number_without_a_unit_is_refused_with_the_suggestion_to_add_one() {
        let refusal = interval("30").unwrap_err();
        assert_eq!(refusal, "`30` has no unit: write `30s` for seconds or `30m` for minutes");
    }

    #[test]
    fn what_is_not_an_interval_is_refused() {
        for text in ["", "s", "30 s", "1.5h", "-1s", "30S", "30sec", "30m1h", "1s1s", "1h30", "５s", "30s "]
        {
            let refusal = interval(text).unwrap_err();
            assert!(refusal.starts_with(&format!("`{text}` is not a duration")), "{refusal}");
        }
        for text in ["366d", "365d1ms", "99999999999999999999999999d", "18446744073709551615h"] {
            let refusal = interval(text).unwrap_err();
            assert_eq!(refusal, format!("`{text}` is longer than 365d, the most that is allowed"));
        }
    }

    #[test]
    fn cron_expressions_are_kept_with_six_fields() {
        assert_eq!(cron("*/5 * * * *"), Schedule::Cron("0 */5 * * * *".to_owned()));
        assert_eq!(cron("30  0 3 * *  MON-FRI"), Schedule::Cron("30 0 3 * * MON-FRI".to_owned()));
        assert_eq!(cron("45s"), Schedule::every_seconds(45));
    }

    #[test]
    fn schedules_that_never_fire_or_too_often_are_refused() {
        for text in ["0 0 30 2 *", "0 0 0 31 4,6,9,11 *", "0 0 32 * *", "61 * * * *"] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
        assert_eq!(
            "0 0 30 2 *".parse::<Schedule>().unwrap_err(),
            "`0 0 30 2 *` never fires: no day of any year matches it"
        );
        assert_eq!(
            "99ms".parse::<Schedule>().unwrap_err(),
            "`99ms` is too often: at least 100ms must lie between two polls"
        );
        for text in ["@daily", "* * *", "* * * * * * 2030", "*", ""] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_leap_day_that_must_be_a_monday_still_fires() {
        assert!(cron("0 0 29 2 MON").joins_two_days());
        assert!(!cron("0 0 29 2 *").joins_two_days());
        assert!(!cron("0 0 ? * MON").joins_two_days());
    }

    #[test]
    fn the_shortest_gap_of_a_schedule_is_known() {
        assert_eq!(cron("* * * * * *").shortest_gap(), Duration::from_secs(1));
        assert_eq!(cron("0,50 * * * * *").shortest_gap(), Duration::from_secs(10));
        assert_eq!(cron("*/5 * * * *").shortest_gap(), Duration::from_secs(300));
        assert_eq!(cron("1m").shortest_gap(), Duration::from_secs(60));
    }

    proptest! {
        #[test]
        fn what_an_interval_prints_it_reads_again(millis in 0..=365_u64 * 24 * 3600 * 1000) {
            let written = Interval(Duration::from_millis(millis));
            prop_assert_eq!(written.to_string().parse(), Ok(written));
        }

        #[test]
        fn no_text_is_too_odd_for_a_schedule(text in "[0-9a-z*/,@? -]{0,24}") {
            let _is_schedule = text.parse::<Schedule>().is_ok();
        }
    }
}
