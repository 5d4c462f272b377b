//! What homeport does next after a run, and what the owner can do about it. The one place that names commands.

use crate::fold::Role;
use crate::mail_text::phrase;
use crate::model::Blame;
use crate::model::Failure;
use crate::model::Outcome;
use crate::model::Release;
use crate::model::RunKind;
use crate::model::RunReport;
use crate::model::Trigger;

/// The paragraphs that say so, in order.
pub fn after_run(report: &RunReport, role: Role, previous: Option<&Release>) -> Vec<String> {
    let project = &report.project;
    match &report.outcome {
        Outcome::Failed(failure) | Outcome::RolledBack { failure } => after_failure(report, failure),
        Outcome::Down(failure) => {
            let mut next = after_failure(report, failure);
            next.push(format!(
                "The service stays down until something can be started. What is left of it: \
                 `docker ps -a --filter label=homeport.project={project}`. What the failed container said: \
                 `homeport logs {}`.",
                report.number
            ));
            next
        }
        Outcome::Deployed(_) => {
            let undo = previous.map(|previous| {
                format!(
                    "homeport keeps watching it for a while, and goes back to {} should it fail. So does \
                     `homeport rollback {project}`, by command.",
                    phrase::tag(previous)
                )
            });
            undo.into_iter().collect()
        }
        Outcome::Pushed(_) => match role {
            Role::Deploys => vec!["homeport deploys it next.".to_owned()],
            Role::OnlyBuilds => Vec::new(),
        },
        Outcome::Superseded { .. } => Vec::new(),
        Outcome::Interrupted(_) => vec!["homeport tries it again by itself.".to_owned()],
    }
}

/// Whether what was to be deployed is what serves: it was its configuration that had changed.
pub fn is_same_again(report: &RunReport) -> bool {
    report.candidate.is_some() && report.candidate == report.serving
}

fn after_failure(report: &RunReport, failure: &Failure) -> Vec<String> {
    let project = &report.project;
    let candidate = report.candidate.as_ref().map_or_else(|| "this image".to_owned(), phrase::tag);
    let next = match (failure.blame, report.kind) {
        (Blame::World, RunKind::Cd) if report.trigger == Trigger::Command => format!(
            "homeport does not repeat a command by itself; what a poll finds due is tried again with growing pauses. \
             At once: `homeport deploy {project} {candidate}`."
        ),
        (Blame::World, _) => format!(
            "homeport tries again by itself, with growing pauses. `homeport retry {project}` tries at once."
        ),
        (Blame::Commit | Blame::Image, RunKind::Ci) => format!(
            "homeport does not try this commit again; it waits for a new one. If the commit was not to blame, \
             `homeport retry {project}` tries it again."
        ),
        (Blame::Commit | Blame::Image, RunKind::Cd) if is_same_again(report) => format!(
            "homeport leaves {candidate} as it was until the configuration is changed again. If the change was not to \
             blame, `homeport retry {project}` tries it again."
        ),
        (Blame::Commit | Blame::Image, RunKind::Cd) => format!(
            "homeport does not deploy {candidate} again; it waits for a newer image. If the image was not to blame, \
             `homeport retry {project}` tries it again."
        ),
    };
    vec![next]
}
