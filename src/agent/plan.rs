//! What would happen now, and why. Decides as a poll does, and changes nothing.

use crate::agent::Agent;
use crate::agent::project::ProjectState;
use crate::decide::CommitDecision;
use crate::decide::ImageDecision;
use crate::event::Findings;
use crate::event::Head;
use crate::event::Listing;
use crate::event::PollFailure;
use crate::event::Source;
use crate::model::Hold;
use crate::model::Move;
use crate::model::Plan;
use crate::model::ProjectName;
use crate::model::Prospect;
use crate::queue::Lane;

impl Agent {
    /// The plan for a project; `None` if it is gone from the configuration.
    pub(super) async fn plan(&self, name: &ProjectName, findings: &Findings) -> Option<Plan> {
        let project = self.projects.get(name)?;
        let current = project.current.as_ref().map(|deployment| &deployment.release);
        let hold = project.orders.hold.as_ref().filter(|hold| hold.is_in_force(current));
        let ci = match &findings.head {
            Some(head) => Some(self.ci_prospect(name, project, head).await),
            None => None,
        };
        let cd = findings.listing.as_ref().map(|listing| self.cd_prospect(name, project, listing));
        Some(Plan {
            project: name.clone(),
            paused: project.orders.paused_since,
            held: hold.map(Hold::tags).unwrap_or_default(),
            ci,
            cd,
        })
    }

    async fn ci_prospect(
        &self,
        name: &ProjectName,
        project: &ProjectState,
        head: &Result<Head, PollFailure>,
    ) -> Prospect {
        let head = match head {
            Ok(Head { moved_to: Some(new), .. }) => Some((&new.sha, &new.facts)),
            Ok(Head { moved_to: None, .. }) => project.seen.as_ref().map(|seen| (seen, &project.facts)),
            Err(failure) => return self.unanswered(Source::GitHub, failure),
        };
        let Some((head, facts)) = head else {
            return Prospect { next: Move::Nothing, about: None, why: "there is no commit yet".to_owned() };
        };
        let about = Some(head.short().to_owned());
        let (next, why) = match self.commit_decision(name, head, facts).await {
            Err(error) => (Move::Unknown, format!("{:#}", anyhow::Error::from(error))),
            Ok(CommitDecision::Due { reason }) => self.when(name, project, Lane::Ci, reason),
            Ok(decision @ CommitDecision::NotBefore(_)) => (Move::Wait, decision.to_string()),
            Ok(decision @ CommitDecision::AlreadyFailed { .. }) => {
                (Move::Nothing, format!("{decision}; `homeport retry {name}` tries it again"))
            }
            Ok(decision @ (CommitDecision::Skip { .. } | CommitDecision::AlreadySkipped { .. })) => {
                (Move::Nothing, format!("{decision}; `homeport trigger {name}` runs it all the same"))
            }
            Ok(decision @ (CommitDecision::AlreadyPushed { .. } | CommitDecision::InProgress)) => {
                (Move::Nothing, decision.to_string())
            }
        };
        Prospect { next, about, why }
    }

    fn cd_prospect(
        &self,
        name: &ProjectName,
        project: &ProjectState,
        listing: &Result<Listing, PollFailure>,
    ) -> Prospect {
        let listing = match listing {
            Ok(listing) => listing,
            Err(failure) => return self.unanswered(Source::DockerHub, failure),
        };
        if self.queue.running(Lane::Cd) == Some(name) {
            let about = project.deploying.as_ref().map(|release| release.tag.to_string());
            let why = "a deployment is under way; what follows is decided when it has ended".to_owned();
            return Prospect { next: Move::Wait, about, why };
        }
        match project.image_decision(listing) {
            ImageDecision::Due { tag, reason, .. } => {
                let (next, why) = match project.cd.not_before.filter(|_| project.cd.must_wait(self.now())) {
                    Some(then) => (Move::Wait, format!("{reason}; tried again at {}", then.format("%FT%TZ"))),
                    None => self.when(name, project, Lane::Cd, reason),
                };
                Prospect { next, about: Some(tag.to_string()), why }
            }
            ImageDecision::Quarantined { tag, why, .. } => Prospect {
                next: Move::Nothing,
                about: Some(tag.to_string()),
                why: format!("{why}; `homeport retry {name}` tries it again"),
            },
            decision @ (ImageDecision::EmptyListing
            | ImageDecision::UpToDate { .. }
            | ImageDecision::Nothing { .. }) => {
                Prospect { next: Move::Nothing, about: None, why: decision.to_string() }
            }
        }
    }

    /// Whether what is due may start now.
    fn when(&self, name: &ProjectName, project: &ProjectState, lane: Lane, reason: String) -> (Move, String) {
        if project.orders.paused_since.is_some() {
            return (Move::Wait, format!("{reason}; paused until `homeport resume {name}`"));
        }
        match self.queue.running(lane) {
            Some(other) => (Move::Wait, format!("{reason}; after the run of {other} that is under way")),
            None => (Move::Start, reason),
        }
    }

    fn unanswered(&self, source: Source, failure: &PollFailure) -> Prospect {
        let reason = self.shared.redactor.redact(&failure.reason);
        Prospect { next: Move::Unknown, about: None, why: format!("{source} cannot be asked: {reason}") }
    }
}
