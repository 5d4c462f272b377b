//! What waits to run and what runs: two lanes, one run at a time in each.
//!
//! Takes requests from all projects; gives the next job when its lane is free. In a lane a project waits with
//! one job at most, and the newest wins. Must not start anything itself or know what a job is.

use crate::model::ProjectName;

/// One of the two lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Commits to images.
    Ci,
    /// Images to deployments.
    Cd,
}

/// Which of two waiting jobs goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Takes its turn.
    Ordinary,
    /// A rollback, a recovery, or what the owner ordered: goes before all ordinary ones.
    Urgent,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested<J> {
    /// The job waits.
    Queued,
    /// The job waits in the place of this older one of the same project, which will not run.
    Replaced(J),
    /// An urgent job of the same project waits and keeps its place; the ordinary newcomer is given back.
    GivenBack(J),
}

/// The two lanes.
#[derive(Debug)]
pub struct Queue<J> {
    ci: LaneState<J>,
    cd: LaneState<J>,
}

#[derive(Debug)]
struct LaneState<J> {
    running: Option<ProjectName>,
    /// In the order of asking; a project stands here once at most.
    waiting: Vec<Waiting<J>>,
}

#[derive(Debug)]
struct Waiting<J> {
    project: ProjectName,
    priority: Priority,
    job: J,
}

impl<J> Queue<J> {
    /// Two empty lanes.
    pub const fn new() -> Self {
        Self { ci: LaneState::new(), cd: LaneState::new() }
    }

    /// Lets a job wait for its turn. A job that replaces another keeps that one's place in the line.
    pub fn request(&mut self, lane: Lane, project: ProjectName, priority: Priority, job: J) -> Requested<J> {
        let waiting = &mut self.lane_mut(lane).waiting;
        let Some(older) = waiting.iter_mut().find(|older| older.project == project) else {
            waiting.push(Waiting { project, priority, job });
            return Requested::Queued;
        };
        if priority < older.priority {
            return Requested::GivenBack(job);
        }
        older.priority = priority;
        Requested::Replaced(std::mem::replace(&mut older.job, job))
    }

    /// Takes the ordinary job of a project out of the line. Urgent ones stay.
    pub fn withdraw(&mut self, lane: Lane, project: &ProjectName) -> Option<J> {
        let waiting = &mut self.lane_mut(lane).waiting;
        let place = waiting.iter().position(|w| w.project == *project && w.priority == Priority::Ordinary)?;
        Some(waiting.remove(place).job)
    }

    /// The job whose turn it is, if the lane is free; the lane is then taken until [`Queue::finished`].
    pub fn start_next(&mut self, lane: Lane) -> Option<(ProjectName, J)> {
        let state = self.lane_mut(lane);
        if state.running.is_some() {
            return None;
        }
        let place = state.first_of(Priority::Urgent).or_else(|| state.first_of(Priority::Ordinary))?;
        let Waiting { project, job, .. } = state.waiting.remove(place);
        state.running = Some(project.clone());
        Some((project, job))
    }

    /// The lane's run has ended, however it ended.
    pub fn finished(&mut self, lane: Lane) {
        self.lane_mut(lane).running = None;
    }

    /// The project whose run is going on in the lane.
    pub const fn running(&self, lane: Lane) -> Option<&ProjectName> {
        self.lane(lane).running.as_ref()
    }

    /// What waits in the lane, in the order of asking.
    pub fn waiting(&self, lane: Lane) -> impl Iterator<Item = (&ProjectName, &J)> {
        self.lane(lane).waiting.iter().map(|waiting| (&waiting.project, &waiting.job))
    }

    /// Whether nothing runs and nothing waits.
    pub fn is_idle(&self) -> bool {
        [&self.ci, &self.cd].iter().all(|lane| lane.running.is_none() && lane.waiting.is_empty())
    }

    const fn lane(&self, lane: Lane) -> &LaneState<J> {
        match lane {
            Lane::Ci => &self.ci,
            Lane::Cd => &self.cd,
        }
    }

    const fn lane_mut(&mut self, lane: Lane) -> &mut LaneState<J> {
        match lane {
            Lane::Ci => &mut self.ci,
            Lane::Cd => &mut self.cd,
        }
    }
}

impl<J> Default for Queue<J> {
    fn default() -> Self {
        Self::new()
    }
}

impl<J> LaneState<J> {
    const fn new() -> Self {
        Self { running: None, waiting: Vec::new() }
    }

    fn first_of(&self, priority: Priority) -> Option<usize> {
        self.waiting.iter().position(|waiting| waiting.priority == priority)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::collections::BTreeSet;

    use proptest::prelude::prop_assert;
    use proptest::proptest;

    use super::Lane;
    use super::Priority;
    use super::Queue;
    use super::Requested;

    /// A queue whose jobs are words, with one-line verbs.
    struct Line(Queue<&'static str>);

    impl Line {
        fn new() -> Self {
            Self(Queue::new())
        }

        fn ask(&mut self, lane: Lane, project: &str, job: &'static str) -> Requested<&'static str> {
            self.0.request(lane, project.parse().unwrap(), Priority::Ordinary, job)
        }

        fn urge(&mut self, project: &str, job: &'static str) -> Requested<&'static str> {
            self.0.request(Lane::Cd, project.parse().unwrap(), Priority::Urgent, job)
        }

        fn next(&mut self, lane: Lane) -> Option<&'static str> {
            self.0.start_next(lane).map(|(_, job)| job)
        }

        fn next_after_end(&mut self, lane: Lane) -> Option<&'static str> {
            self.0.finished(lane);
            self.next(lane)
        }
    }

    #[test]
    fn one_run_at_a_time_goes_on_in_each_lane() {
        let mut line = Line::new();
        line.ask(Lane::Ci, "web", "commit a");
        line.ask(Lane::Ci, "api", "commit b");
        line.ask(Lane::Cd, "web", "image 1");
        assert_eq!(line.next(Lane::Ci), Some("commit a"));
        assert_eq!(line.next(Lane::Ci), None);
        assert_eq!(line.next(Lane::Cd), Some("image 1"));
        assert_eq!(line.0.running(Lane::Ci).map(ToString::to_string).as_deref(), Some("web"));
        assert_eq!(line.next_after_end(Lane::Ci), Some("commit b"));
    }

    #[test]
    fn the_newest_commit_wins_and_the_replaced_one_is_handed_back() {
        let mut line = Line::new();
        assert_eq!(line.ask(Lane::Ci, "web", "commit 1"), Requested::Queued);
        assert_eq!(line.next(Lane::Ci), Some("commit 1"));
        assert_eq!(line.ask(Lane::Ci, "web", "commit 2"), Requested::Queued);
        assert_eq!(line.ask(Lane::Ci, "web", "commit 3"), Requested::Replaced("commit 2"));
        assert_eq!(line.next_after_end(Lane::Ci), Some("commit 3"));
        assert_eq!(line.next_after_end(Lane::Ci), None);
    }

    #[test]
    fn a_project_that_replaces_its_job_keeps_its_place_and_does_not_push_ahead() {
        let mut line = Line::new();
        line.ask(Lane::Ci, "web", "web 1");
        line.ask(Lane::Ci, "api", "api 1");
        line.ask(Lane::Ci, "web", "web 2");
        assert_eq!(line.next(Lane::Ci), Some("web 2"));
        line.ask(Lane::Ci, "web", "web 3");
        assert_eq!(line.next_after_end(Lane::Ci), Some("api 1"));
        assert_eq!(line.next_after_end(Lane::Ci), Some("web 3"));
    }

    #[test]
    fn the_same_project_may_wait_in_both_lanes() {
        let mut line = Line::new();
        assert_eq!(line.ask(Lane::Ci, "web", "commit"), Requested::Queued);
        assert_eq!(line.ask(Lane::Cd, "web", "image"), Requested::Queued);
        assert_eq!(line.0.waiting(Lane::Cd).count(), 1);
    }

    #[test]
    fn a_rollback_goes_before_the_deployments_that_wait() {
        let mut line = Line::new();
        line.ask(Lane::Cd, "web", "deploy web");
        line.ask(Lane::Cd, "api", "deploy api");
        line.urge("api", "roll api back");
        line.urge("shop", "roll shop back");
        assert_eq!(line.next(Lane::Cd), Some("roll api back"));
        assert_eq!(line.next_after_end(Lane::Cd), Some("roll shop back"));
        assert_eq!(line.next_after_end(Lane::Cd), Some("deploy web"));
        assert_eq!(line.next_after_end(Lane::Cd), None);
    }

    #[test]
    fn a_waiting_rollback_is_not_lost_to_a_newer_image() {
        let mut line = Line::new();
        line.urge("web", "roll back");
        assert_eq!(line.ask(Lane::Cd, "web", "deploy"), Requested::GivenBack("deploy"));
        assert_eq!(line.urge("web", "recover"), Requested::Replaced("roll back"));
        assert_eq!(line.next(Lane::Cd), Some("recover"));
        assert_eq!(line.next_after_end(Lane::Cd), None);
    }

    #[test]
    fn the_queue_is_idle_only_when_nothing_runs_and_nothing_waits() {
        let mut line = Line::new();
        assert!(line.0.is_idle());
        line.ask(Lane::Cd, "web", "deploy");
        assert!(!line.0.is_idle());
        line.next(Lane::Cd);
        assert!(!line.0.is_idle());
        line.0.finished(Lane::Cd);
        assert!(line.0.is_idle());
    }

    #[test]
    fn what_waits_may_be_withdrawn_but_for_what_is_urgent() {
        let mut line = Line::new();
        let web = "web".parse().unwrap();
        line.ask(Lane::Cd, "web", "deploy web");
        assert_eq!(line.0.withdraw(Lane::Cd, &web), Some("deploy web"));
        line.urge("web", "roll web back");
        assert_eq!(line.0.withdraw(Lane::Cd, &web), None);
        assert_eq!(line.next(Lane::Cd), Some("roll web back"));
    }

    proptest! {
        #[test]
        fn every_project_that_waits_gets_its_turn_once(asked in proptest::collection::vec(0_u8..6, 0..30)) {
            let mut queue = Queue::new();
            for project in &asked {
                queue.request(Lane::Ci, format!("p{project}").parse().unwrap(), Priority::Ordinary, *project);
            }
            let mut served = Vec::new();
            while let Some((_, project)) = queue.start_next(Lane::Ci) {
                served.push(project);
                queue.finished(Lane::Ci);
            }
            let mut first_asked = Vec::new();
            let mut seen = BTreeSet::new();
            first_asked.extend(asked.iter().copied().filter(|project| seen.insert(*project)));
            prop_assert!(served == first_asked);
            prop_assert!(queue.is_idle());
        }
    }
}
