//! Whether a service that passed its watch has fallen ill, and whether it is well again.
//!
//! Takes what the looks at its container show, one after another; gives what its owner is to be told, once. Nothing
//! is undone by it: what worked for long fails for another reason than its image.

use std::fmt;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use serde::Deserialize;
use serde::Serialize;

use crate::model::Container;
use crate::model::ContainerId;
use crate::model::HealthStatus;
use crate::model::Life;

/// So many restarts within [`SPAN`] are a crash loop. Fewer are what a restart policy is for.
const CRASHES: u64 = 3;
/// How long restarts are counted together, and how long a service that crashed has to run to be well again.
const SPAN: TimeDelta = TimeDelta::minutes(10);
/// A HEALTHCHECK that was bad has to be good at so many looks in a row.
const GOOD_LOOKS: u32 = 3;

/// What a service suffers from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Complaint {
    /// Its HEALTHCHECK says that it does not work.
    Unhealthy,
    /// It ends again and again, and Docker starts it again and again.
    Crashing,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unhealthy => "is unhealthy",
            Self::Crashing => "crashes again and again",
        })
    }
}

/// An illness that its owner has been told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Illness {
    /// The container that is ill.
    pub container: ContainerId,
    /// What it suffers from.
    pub complaint: Complaint,
    /// When it was seen first.
    pub since: DateTime<Utc>,
}

/// What follows from a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing that is not known.
    None,
    /// It has fallen ill.
    FellIll(Illness),
    /// It is well again.
    Recovered(Illness),
    /// What was ill is no longer what serves: there is nothing more to tell of it.
    Replaced,
}

/// What is remembered of one service between two looks. Only the illness has to survive a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wellbeing {
    /// What its owner was told, and not yet that it is over.
    pub illness: Option<Illness>,
    counted: Option<Counted>,
    good_looks: u32,
}

/// From when on restarts are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Counted {
    container: ContainerId,
    restarts: u64,
    from: DateTime<Utc>,
}

impl Wellbeing {
    /// A service of which this was told.
    pub fn told(illness: Option<Illness>) -> Self {
        Self { illness, ..Self::default() }
    }

    /// Takes in a look at what stands in the service's place; `None` if nothing does.
    pub fn look(&mut self, shown: Option<&Container>, now: DateTime<Utc>) -> Change {
        let Some(container) = shown else { return self.replaced() };
        if self.illness.as_ref().is_some_and(|illness| illness.container != container.id) {
            return self.replaced();
        }
        let restarts = self.restarts_lately(container, now);
        match self.illness.clone() {
            None => match complaint(container, restarts) {
                None => Change::None,
                Some(complaint) => {
                    let illness = Illness { container: container.id.clone(), complaint, since: now };
                    (self.illness, self.good_looks) = (Some(illness.clone()), 0);
                    Change::FellIll(illness)
                }
            },
            Some(illness) => {
                let is_good = is_good(container, illness.complaint, now);
                self.good_looks = if is_good { self.good_looks.saturating_add(1) } else { 0 };
                if self.good_looks < GOOD_LOOKS {
                    return Change::None;
                }
                (self.illness, self.counted) = (None, None);
                Change::Recovered(illness)
            }
        }
    }

    fn replaced(&mut self) -> Change {
        self.counted = None;
        self.illness.take().map_or(Change::None, |_| Change::Replaced)
    }

    /// How often Docker has restarted it since the count began. A count of Docker's that went back is a new one.
    fn restarts_lately(&mut self, container: &Container, now: DateTime<Utc>) -> u64 {
        let goes_on = |counted: &&Counted| {
            counted.container == container.id
                && counted.restarts <= container.restarts
                && (now - counted.from).abs() < SPAN
        };
        match self.counted.as_ref().filter(goes_on) {
            Some(counted) => container.restarts.saturating_sub(counted.restarts),
            None => {
                let (container, restarts) = (container.id.clone(), container.restarts);
                self.counted = Some(Counted { container, restarts, from: now });
                0
            }
        }
    }
}

/// One that a person stopped or paused is left to them.
fn complaint(container: &Container, restarts_lately: u64) -> Option<Complaint> {
    match container.life {
        Life::Created | Life::Paused | Life::Exited { .. } | Life::Dead => None,
        Life::Running { .. } | Life::Restarting if restarts_lately >= CRASHES => Some(Complaint::Crashing),
        Life::Running { .. } if container.health == Some(HealthStatus::Unhealthy) => {
            Some(Complaint::Unhealthy)
        }
        Life::Running { .. } | Life::Restarting => None,
    }
}

fn is_good(container: &Container, complaint: Complaint, now: DateTime<Utc>) -> bool {
    let Life::Running { since } = container.life else { return false };
    let is_healthy = match container.health {
        None | Some(HealthStatus::Healthy) => true,
        Some(HealthStatus::Starting | HealthStatus::Unhealthy) => false,
    };
    match complaint {
        Complaint::Unhealthy => is_healthy,
        Complaint::Crashing => is_healthy && now - since >= SPAN,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::collections::BTreeMap;

    use super::*;
    use crate::model::RestartPolicy;

    fn minute(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn running(id: &str, restarts: u64, since: i64, health: Option<HealthStatus>) -> Container {
        Container {
            id: id.parse().unwrap(),
            name: "web".to_owned(),
            image_id: String::new(),
            labels: BTreeMap::new(),
            policy: RestartPolicy::Always,
            life: Life::Running { since: minute(since) },
            restarts,
            health,
            address: None,
        }
    }

    fn told(changes: &[Change]) -> Vec<&'static str> {
        let word = |change: &Change| match change {
            Change::None => None,
            Change::FellIll(_) => Some("ill"),
            Change::Recovered(_) => Some("well"),
            Change::Replaced => Some("replaced"),
        };
        changes.iter().filter_map(word).collect()
    }

    #[test]
    fn an_unhealthy_service_is_told_once_also_after_a_restart_and_once_more_when_it_is_well() {
        let ill = running("aa", 0, 0, Some(HealthStatus::Unhealthy));
        let well = running("aa", 0, 0, Some(HealthStatus::Healthy));
        let mut state = Wellbeing::default();
        assert_eq!(state.look(Some(&well), minute(0)), Change::None);
        let Change::FellIll(illness) = state.look(Some(&ill), minute(1)) else { panic!("not told") };
        assert_eq!(illness.complaint, Complaint::Unhealthy);
        assert_eq!(state.look(Some(&ill), minute(2)), Change::None);

        let mut state = Wellbeing::told(Some(illness));
        let looks = [&ill, &well, &well, &ill, &well, &well, &well, &well];
        let changes: Vec<_> = looks.into_iter().map(|look| state.look(Some(look), minute(3))).collect();
        assert_eq!(told(&changes), ["well"]);
        assert!(matches!(changes[6], Change::Recovered(_)), "{changes:?}");
    }

    #[test]
    fn three_restarts_in_ten_minutes_are_a_crash_loop_and_two_are_not() {
        let looks = |counts: &[u64]| {
            let mut state = Wellbeing::default();
            let look =
                |(n, restarts): (i64, &u64)| state.look(Some(&running("aa", *restarts, n, None)), minute(n));
            (0..).zip(counts).map(look).collect::<Vec<_>>()
        };
        assert_eq!(told(&looks(&[5, 5, 6, 7, 7, 7])), Vec::<&str>::new());
        assert_eq!(told(&looks(&[5, 6, 7, 8, 9, 20])), ["ill"]);
        // One every six minutes is what the restart policy is for.
        assert_eq!(told(&looks(&[1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 4])), Vec::<&str>::new());
        // A person started it anew: Docker counts from 0.
        assert_eq!(told(&looks(&[7, 0, 1, 2])), Vec::<&str>::new());
    }

    #[test]
    fn what_crashed_is_well_when_it_has_run_for_ten_minutes() {
        let illness =
            Illness { container: "aa".parse().unwrap(), complaint: Complaint::Crashing, since: minute(0) };
        let mut state = Wellbeing::told(Some(illness));
        let changes: Vec<_> =
            (1..20).map(|n| state.look(Some(&running("aa", 9, 2, None)), minute(n))).collect();
        assert_eq!(told(&changes), ["well"]);
        assert!(matches!(changes[13], Change::Recovered(_)), "{changes:?}");
    }

    #[test]
    fn what_a_person_stopped_or_removed_or_a_deployment_replaced_is_nobodys_illness() {
        let ill = running("aa", 0, 0, Some(HealthStatus::Unhealthy));
        let stopped = Container { life: Life::Exited { code: 137, out_of_memory: false }, ..ill.clone() };
        assert_eq!(Wellbeing::default().look(Some(&stopped), minute(0)), Change::None);
        for replaced in [Some(running("bb", 0, 0, None)), None] {
            let mut state = Wellbeing::default();
            let looks = [Some(&ill), Some(&stopped), replaced.as_ref(), replaced.as_ref()];
            let changes: Vec<_> = looks.into_iter().map(|look| state.look(look, minute(1))).collect();
            assert_eq!(told(&changes), ["ill", "replaced"]);
        }
    }
}
