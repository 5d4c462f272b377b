//! Waiting for a container to end.
//!
//! Takes an id, gives how it ended. The engine holds the request open until then, so an exit is seen at once
//! and not at the next sample.

use std::collections::HashMap;
use std::time::Duration;

use bollard::errors::Error as Bollard;
use bollard::query_parameters::EventsOptionsBuilder;
use bollard::query_parameters::InspectContainerOptions;
use bollard::query_parameters::WaitContainerOptionsBuilder;
use chrono::DateTime;
use futures_util::StreamExt;

use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::clients::docker::containers::KILLED;
use crate::model::Container;
use crate::model::ContainerId;
use crate::model::Life;

/// How often the connection may break while the container runs on, so that a broken proxy makes no busy loop.
const MOST_BREAKS: u32 = 5;

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its main process exited, or was killed (137).
    Exited {
        /// The exit code.
        code: i64,
    },
    /// It was removed.
    Removed,
}

impl Docker {
    /// Ends when the container does, at once if it has ended already or never ran. One that Docker restarts by
    /// itself has not ended: its `restarts` and `since` tell. If the connection breaks, an inspection says
    /// whether there is anything left to wait for.
    ///
    /// # Errors
    /// `Unreachable` if the engine is away: its containers may run on, so ask again when it is back.
    pub async fn wait_exit(&self, id: &ContainerId) -> Result<Ended, DockerError> {
        for _ in 0..MOST_BREAKS {
            if let Some(ended) = self.wait_for("not-running", id).await? {
                return Ok(ended);
            }
            match self.inspect(id.as_str()).await?.map(|container| container.life) {
                None => return Ok(Ended::Removed),
                Some(Life::Exited { code, .. }) => return Ok(Ended::Exited { code }),
                Some(Life::Created | Life::Dead) => return Ok(Ended::Exited { code: 0 }),
                Some(Life::Running { .. } | Life::Paused | Life::Restarting) => {}
            }
        }
        Err(self
            .attempt(&format!("wait for container {id}"))
            .broke_off("the connection breaks again and again"))
    }

    /// Whether the kernel killed a process of an ended container for want of memory. The engine's flag is not
    /// set when the news of the exit overtakes the news of the reason, so a killed container's events are
    /// looked through up to a moment after its end.
    pub(super) async fn was_starved(&self, id: &ContainerId, code: i64) -> Result<bool, DockerError> {
        let what = format!("ask why container {id} ended");
        let options = None::<InspectContainerOptions>;
        let found = self.ask(&what, async |api| api.inspect_container(id.as_str(), options).await).await?;
        let state = found.state.unwrap_or_default();
        let moment = |text: Option<String>| DateTime::parse_from_rfc3339(&text?).ok();
        let times = moment(state.started_at).zip(moment(state.finished_at));
        let Some((from, to)) = times.filter(|_| state.oom_killed != Some(true) && code == KILLED) else {
            return Ok(state.oom_killed == Some(true));
        };
        let filters = HashMap::from([("container", vec![id.as_str()]), ("event", vec!["oom"])]);
        let events = EventsOptionsBuilder::default()
            .since(&from.timestamp().to_string())
            .until(&to.timestamp().saturating_add(2).to_string())
            .filters(&filters)
            .build();
        let first = self.ask(&what, async |api| api.events(Some(events)).next().await.transpose()).await?;
        Ok(first.is_some())
    }

    /// Whether someone sent a signal to a container since the life that was seen began: a person with `docker stop`,
    /// or Docker itself while it shuts down. What ends by itself, or is killed by the kernel, is told nothing. By now
    /// Docker or a person may have started it again.
    ///
    /// # Errors
    /// As [`Docker::inspect`].
    pub async fn was_told_to_stop(&self, seen: &Container) -> Result<bool, DockerError> {
        let id = &seen.id;
        let what = format!("ask whether container {id} was told to stop");
        let options = None::<InspectContainerOptions>;
        let found = self.ask(&what, async |api| api.inspect_container(id.as_str(), options).await).await?;
        let moment = |text: Option<String>| Some(DateTime::parse_from_rfc3339(&text?).ok()?.to_utc());
        let state = found.state.unwrap_or_default();
        let from = match seen.life {
            Life::Running { since } => Some(since),
            Life::Created | Life::Paused | Life::Restarting | Life::Exited { .. } | Life::Dead => {
                moment(state.started_at)
            }
        };
        // One that never ended has a zero for its end.
        let times = from.zip(moment(state.finished_at)).filter(|(from, to)| from <= to);
        let Some((from, to)) = times else { return Ok(false) };
        let filters = HashMap::from([("container", vec![id.as_str()]), ("event", vec!["kill"])]);
        let events = EventsOptionsBuilder::default()
            // To the nanosecond: what came just before, another life's end, is no part of it.
            .since(&format!("{}.{:09}", from.timestamp(), from.timestamp_subsec_nanos()))
            .until(&to.timestamp().saturating_add(1).to_string())
            .filters(&filters)
            .build();
        let first = self.ask(&what, async |api| api.events(Some(events)).next().await.transpose()).await?;
        Ok(first.is_some())
    }

    /// Ends when the container is gone.
    pub(super) async fn removed(&self, id: &ContainerId, limit: Duration) -> Result<(), DockerError> {
        let what = format!("wait for the removal of container {id}");
        match tokio::time::timeout(limit, self.wait_for("removed", id)).await {
            Ok(ended) => ended.map(drop),
            Err(_) => Err(self.attempt(&what).timed_out(limit)),
        }
    }

    /// One request to wait; `None` if the connection broke before an answer.
    async fn wait_for(&self, condition: &str, id: &ContainerId) -> Result<Option<Ended>, DockerError> {
        let what = format!("wait for container {id}");
        let attempt = self.attempt(&what);
        let options = WaitContainerOptionsBuilder::default().condition(condition).build();
        // The engine sends the head of its answer at once and the rest when the container ends.
        let api = self.asking(&attempt, self.patience)?;
        let mut answers = std::pin::pin!(api.wait_container(id.as_str(), Some(options)));
        match answers.next().await {
            Some(Ok(answer)) => Ok(Some(Ended::Exited { code: answer.status_code })),
            // bollard makes an error of every exit code but 0.
            Some(Err(Bollard::DockerContainerWaitError { code, .. })) => Ok(Some(Ended::Exited { code })),
            Some(Err(error)) => match attempt.failed(error) {
                DockerError::NotFound { .. } => Ok(Some(Ended::Removed)),
                // Whether the engine is away or only the connection broke, an inspection tells.
                DockerError::Stream { .. } | DockerError::Unreachable { .. } => Ok(None),
                error => Err(error),
            },
            None => Ok(None),
        }
    }
}
