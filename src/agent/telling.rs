//! Telling somebody outside what is kept for them, in a task of its own: one at a time, once more if something was put
//! in meanwhile, and again later if not all of it could be told. Pure.

use std::time::Duration;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;

/// How far it is with what is kept for one of them.
#[derive(Debug, Default)]
pub(super) struct Telling {
    state: State,
    /// When what could not be told is tried again.
    planned: Option<DateTime<Utc>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody goes through it.
    #[default]
    Idle,
    /// It is being gone through.
    Going,
    /// It is being gone through, and something was put in since that may have been missed.
    GoingAgain,
}

impl Telling {
    /// Whether nobody goes through it.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Something may be due: whether to go through it now. While it is being gone through, that is done once more
    /// after.
    pub fn begin(&mut self) -> bool {
        let may_begin = self.is_idle();
        self.state = if may_begin { State::Going } else { State::GoingAgain };
        may_begin
    }

    /// It was gone through: whether to do so once more.
    pub fn end(&mut self) -> bool {
        std::mem::take(&mut self.state) == State::GoingAgain
    }

    /// Something new was put in: what was planned for the old says nothing about it.
    pub fn forget_plan(&mut self) {
        self.planned = None;
    }

    /// How long to wait for the next try, unless one is planned that comes before it.
    pub fn plan(&mut self, next: DateTime<Utc>, now: DateTime<Utc>) -> Option<Duration> {
        if self.planned.is_some_and(|planned| planned <= next && planned > now) {
            return None;
        }
        self.planned = Some(next);
        Some((next - now).max(TimeDelta::zero()).to_std().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    #[test]
    fn what_is_put_in_meanwhile_is_gone_through_once_more_and_only_once() {
        let mut telling = Telling::default();
        assert!(telling.begin());
        assert!(!telling.begin() && !telling.begin());
        assert!(telling.end() && telling.is_idle());
        assert!(telling.begin());
        assert!(!telling.end() && telling.is_idle());
    }

    #[test]
    fn of_two_tries_the_earlier_one_is_planned_and_a_past_one_hinders_none() {
        let mut telling = Telling::default();
        assert_eq!(telling.plan(at(60), at(0)), Some(Duration::from_secs(60)));
        assert_eq!(telling.plan(at(90), at(10)), None);
        assert_eq!(telling.plan(at(40), at(10)), Some(Duration::from_secs(30)));
        assert_eq!(telling.plan(at(90), at(50)), Some(Duration::from_secs(40)));
        telling.forget_plan();
        assert_eq!(telling.plan(at(100), at(50)), Some(Duration::from_secs(50)));
        // A clock that was set on in between.
        telling.forget_plan();
        assert_eq!(telling.plan(at(40), at(50)), Some(Duration::ZERO));
    }
}
