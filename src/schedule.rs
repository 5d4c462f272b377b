//! The timetable: turns schedules into events, and does nothing else.
//!
//! Cron expressions go to tokio-cron-scheduler. Plain durations are waited out on the clock instead: that
//! scheduler counts in whole seconds and wakes twice a second, which a quiet agent need not pay for.

use std::sync::Arc;

use anyhow::Context;
use chrono::Local;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio_cron_scheduler::Job;
use tokio_cron_scheduler::JobScheduler;

use crate::clients::clock::Clock;
use crate::config::duration::Schedule;
use crate::event::Event;

/// A running timetable, until it is stopped.
pub struct Timetable {
    clock: Clock,
    /// The only one that lasts: the cron scheduler ends in its own time, and what it still calls then sends nothing.
    events: Arc<UnboundedSender<Event>>,
    tickers: JoinSet<()>,
    /// Started with the first cron expression.
    cron: Option<JobScheduler>,
}

impl std::fmt::Debug for Timetable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timetable").field("tickers", &self.tickers.len()).finish_non_exhaustive()
    }
}

impl Timetable {
    /// An empty timetable that sends to `events`.
    pub fn new(clock: Clock, events: UnboundedSender<Event>) -> Self {
        Self { clock, events: Arc::new(events), tickers: JoinSet::new(), cron: None }
    }

    /// Sends an event at every time of a schedule; with a duration, at once for the first time.
    ///
    /// # Errors
    /// The cron expression is refused, which a checked configuration rules out.
    pub async fn add(
        &mut self,
        schedule: &Schedule,
        event: impl Fn() -> Event + Send + Sync + 'static,
    ) -> anyhow::Result<()> {
        match schedule {
            Schedule::Every(interval) => {
                let (clock, interval, events) = (self.clock.clone(), *interval, Arc::clone(&self.events));
                self.tickers.spawn(async move {
                    while events.send(event()).is_ok() {
                        clock.sleep(interval).await;
                    }
                });
            }
            Schedule::Cron(expression) => {
                let events = Arc::downgrade(&self.events);
                let job = Job::new_tz(expression.as_str(), Local, move |_, _| {
                    // Without effect when the timetable is gone, or the agent is.
                    events.upgrade().and_then(|events| events.send(event()).ok());
                })
                .with_context(|| format!("schedule `{expression}`"))?;
                self.cron().await?.add(job).await.with_context(|| format!("schedule `{expression}`"))?;
            }
        }
        Ok(())
    }

    async fn cron(&mut self) -> anyhow::Result<&JobScheduler> {
        if self.cron.is_none() {
            let scheduler = JobScheduler::new().await.context("make the scheduler")?;
            scheduler.start().await.context("start the scheduler")?;
            self.cron = Some(scheduler);
        }
        self.cron.as_ref().context("the scheduler was just started")
    }

    /// Stops all of it: when this is done, nothing more is sent. Dropping does not end the cron scheduler's own task.
    pub async fn stop(mut self) {
        // Waits until the tickers have let go of the sender.
        self.tickers.shutdown().await;
        drop(self.events);
        if let Some(mut cron) = self.cron.take() {
            // It can only fail to hear that it should stop because it has stopped.
            cron.shutdown().await.ok();
        }
    }
}
