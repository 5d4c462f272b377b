//! The only place that reads the time or waits for it. Takes durations, gives instants of the wall clock,
//! a monotonic time for measuring, and waiting; a manual clock for tests, whose waits take no real time.
//! Must not hold a duration of its own: those come from the configuration.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use chrono::DateTime;
use chrono::Utc;

/// The time, real or manual. Clones share it.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Real { origin: Instant },
    Manual(Arc<Mutex<ManualTime>>),
}

#[derive(Debug)]
struct ManualTime {
    start: DateTime<Utc>,
    passed: Duration,
}

/// Something took longer than it was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it took longer than the {limit:?} that it may take")]
pub struct TimeLimit {
    /// The time it had.
    pub limit: Duration,
}

impl Clock {
    /// The time of this machine.
    pub fn real() -> Self {
        Self { source: Source::Real { origin: Instant::now() } }
    }

    /// A time that begins at `start` and moves only when someone sleeps or advances it.
    pub fn manual(start: DateTime<Utc>) -> Self {
        let time = ManualTime { start, passed: Duration::ZERO };
        Self { source: Source::Manual(Arc::new(Mutex::new(time))) }
    }

    /// The wall clock, for people and for what other machines say. It can jump: a board without a battery
    /// starts in the past.
    pub fn now(&self) -> DateTime<Utc> {
        match &self.source {
            Source::Real { .. } => Utc::now(),
            Source::Manual(time) => {
                let time = time.lock().unwrap_or_else(PoisonError::into_inner);
                time.start + time.passed
            }
        }
    }

    /// The time since this clock was made, for measuring. It never jumps.
    pub fn monotonic(&self) -> Duration {
        match &self.source {
            Source::Real { origin } => origin.elapsed(),
            Source::Manual(time) => time.lock().unwrap_or_else(PoisonError::into_inner).passed,
        }
    }

    /// Waits. On a manual clock it moves the time on by `duration` and lets the other tasks run once.
    pub async fn sleep(&self, duration: Duration) {
        match &self.source {
            Source::Real { .. } => tokio::time::sleep(duration).await,
            Source::Manual(_) => {
                self.advance(duration);
                tokio::task::yield_now().await;
            }
        }
    }

    /// Moves a manual time on; the real one does not obey.
    pub fn advance(&self, duration: Duration) {
        match &self.source {
            Source::Real { .. } => {}
            Source::Manual(time) => {
                time.lock().unwrap_or_else(PoisonError::into_inner).passed += duration;
            }
        }
    }

    /// Gives up on `work` at its limit, and drops it. Always in real time, since what it guards is a real
    /// socket or process.
    ///
    /// # Errors
    /// [`TimeLimit`] if the work was not done in time.
    pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, TimeLimit> {
        tokio::time::timeout(limit, work).await.map_err(|_| TimeLimit { limit })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[tokio::test]
    async fn a_manual_clock_sleeps_an_hour_at_once_and_its_clones_see_it() {
        let started = Instant::now();
        let clock = Clock::manual(DateTime::UNIX_EPOCH);
        let clone = clock.clone();
        clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(clone.now().timestamp(), 3600);
        assert_eq!(clone.monotonic(), Duration::from_secs(3600));
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[tokio::test]
    async fn a_manual_sleep_lets_other_tasks_run() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH);
        let (tell, mut told) = tokio::sync::oneshot::channel();
        tokio::spawn(async move { tell.send(()).unwrap() });
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(told.try_recv(), Ok(()));
    }

    #[tokio::test]
    async fn a_real_clock_waits_and_does_not_obey_advance() {
        let clock = Clock::real();
        clock.advance(Duration::from_secs(3600));
        let before = clock.monotonic();
        clock.sleep(Duration::from_millis(5)).await;
        let waited = clock.monotonic() - before;
        assert!(waited >= Duration::from_millis(5) && waited < Duration::from_secs(3600));
    }

    #[tokio::test]
    async fn work_without_an_end_is_given_up_at_its_limit() {
        let limit = Duration::from_millis(5);
        let outcome = Clock::within(limit, std::future::pending::<()>()).await;
        assert_eq!(outcome, Err(TimeLimit { limit }));
        assert_eq!(Clock::within(Duration::from_secs(60), async { 1 }).await, Ok(1));
    }
}
