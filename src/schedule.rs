//! The timetable: turns schedules into events, and does nothing else.
//!
//! Cron expressions go to tokio-cron-scheduler. Plain durations are waited out on the clock instead: that
//! scheduler counts in whole seconds and wakes twice a second, which a quiet agent need not pay for.

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
    events: UnboundedSender<Event>,
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
        Self { clock, events, tickers: JoinSet::new(), cron: None }
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
        let events = self.events.clone();
        match schedule {
            Schedule::Every(interval) => {
                let (clock, interval) = (self.clock.clone(), *interval);
                self.tickers.spawn(async move {
                    while events.send(event()).is_ok() {
                        clock.sleep(interval).await;
                    }
                });
            }
            Schedule::Cron(expression) => {
                let job = Job::new_tz(expression.as_str(), Local, move |_, _| {
                    // Fails only when the agent is gone, and this timetable with it.
                    events.send(event()).ok();
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

    /// Stops all of it. Dropping stops the durations only: the cron scheduler runs a task of its own.
    pub async fn stop(mut self) {
        self.tickers.abort_all();
        if let Some(mut cron) = self.cron.take() {
            // It can only fail to hear that it should stop because it has stopped.
            cron.shutdown().await.ok();
        }
    }
}
