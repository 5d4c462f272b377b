//! Orders that need to ask GitHub, Docker Hub, the registry or Docker first: `deploy`, `retry`, `trigger` and `plan`. The
//! questions are put in a task of their own; what follows from the answers is decided when they are there.

use std::sync::Arc;

use crate::agent::Agent;
use crate::agent::ask::Known;
use crate::agent::ask::ask_github;
use crate::agent::ask::ask_hub;
use crate::agent::ask::running_in_place;
use crate::agent::ask_git;
use crate::agent::orders::Answer;
use crate::agent::orders::Choice;
use crate::agent::orders::refused;
use crate::agent::project::SourceState;
use crate::clients::Clients;
use crate::clients::store::Verdict;
use crate::config::settings::ProjectSettings;
use crate::decide::ImageDecision;
use crate::event::Answers;
use crate::event::Errand;
use crate::event::Event;
use crate::event::Findings;
use crate::event::Head;
use crate::event::Listing;
use crate::event::PollFailure;
use crate::model::CommitPrefix;
use crate::model::Digest;
use crate::model::ListedTag;
use crate::model::ProjectName;
use crate::model::Release;
use crate::model::Reply;
use crate::model::Tag;
use crate::model::Trigger;
use crate::tag;

impl Agent {
    /// Asks what an order needs to know.
    pub(super) fn inquire(&self, name: &ProjectName, errand: Errand, answers: Answers) {
        let Some(project) = self.projects.get(name) else { return };
        let (settings, known) = (Arc::clone(&project.settings), project.known());
        let (clients, events, name) = (Arc::clone(&self.shared.clients), self.events.clone(), name.clone());
        tokio::spawn(async move {
            let findings = match &errand {
                Errand::Deploy(tag) => ask_about_tag(&clients, &settings, tag).await,
                Errand::Trigger(wanted) => {
                    ask_about_commit(&clients, &settings, wanted.as_ref(), known).await
                }
                Errand::Retry | Errand::Plan => ask_both(&clients, &settings, known).await,
            };
            // Fails only when the agent is gone.
            events.send(Event::Informed(name, errand, Box::new(findings), answers)).ok();
        });
    }

    pub(super) async fn informed(
        &mut self,
        name: &ProjectName,
        errand: Errand,
        findings: Findings,
        answers: &Answers,
    ) {
        self.refresh(name).await;
        let answer = match errand {
            Errand::Plan => {
                if let Some(plan) = self.plan(name, &findings).await {
                    answers.say(Reply::Plan(Box::new(plan)));
                }
                return;
            }
            Errand::Trigger(wanted) => return self.triggered(name, wanted, findings, answers).await,
            Errand::Retry => self.retry(name, findings, answers).await,
            Errand::Deploy(tag) => match findings.digest.clone() {
                Some(Err(reason)) => {
                    let reason = self.shared.redactor.redact(&reason).into_owned();
                    return answers.say(Reply::Unreachable(format!(
                        "the registry cannot be asked what {tag} is: {reason}; `homeport rollback {name} --to {tag}` \
                         needs no registry, if it held here before"
                    )));
                }
                Some(Ok(Some(digest))) => self.deploy(name, Release { tag, digest }, findings, answers).await,
                Some(Ok(None)) | None => Err(self.no_such_tag(name, &tag, &findings)),
            },
        };
        self.answer(name, answer, answers);
    }

    fn no_such_tag(&self, name: &ProjectName, tag: &Tag, findings: &Findings) -> String {
        let Some(project) = self.projects.get(name) else { return format!("{name} is gone") };
        let image = &project.settings.image;
        let newest = match &findings.listing {
            Some(Ok(listing)) => newest_version(&project.settings, &listing.tags),
            Some(Err(_)) | None => None,
        };
        let newest = newest.map_or_else(String::new, |newest| format!("; the newest is {}", newest.tag));
        format!("the registry has no {image}:{tag}{newest}")
    }

    async fn deploy(
        &mut self,
        name: &ProjectName,
        release: Release,
        findings: Findings,
        answers: &Answers,
    ) -> Answer {
        let Some(project) = self.projects.get(name) else { return Err(format!("{name} is gone")) };
        let made_from = project.current.as_ref().map(|current| &current.spec);
        let wanted = project.settings.deploy.as_ref().map(|deploy| &deploy.spec);
        let is_running = findings.running.as_ref().is_some_and(|now| now.digest == release.digest);
        if is_running && made_from == wanted && project.deploying.is_none() {
            return Err(format!("{release} is deployed already, and runs"));
        }
        let listed = findings.listing.and_then(Result::ok).map(|listing| listing.tags).unwrap_or_default();
        let instead_of = newest_version(&project.settings, &listed).cloned();
        let reason = format!("the owner asked for {release}");
        self.choose(name, Choice { release, reason, listed, instead_of }, answers).await
    }

    /// Forgets what keeps the newest commit and the newest image from being tried, and tries them.
    async fn retry(&mut self, name: &ProjectName, mut findings: Findings, answers: &Answers) -> Answer {
        let store = self.shared.clients.store.clone();
        let mut lifted = Vec::new();
        self.clear_waits(name, &findings);
        let seen = self.projects.get(name).and_then(|project| project.seen.clone());
        if let Some(seen) = seen {
            let what = match store.verdict(name.clone(), seen.clone()).await.map_err(refused)? {
                Some(Verdict::Failed { .. }) => Some(format!("the failure of commit {}", seen.short())),
                Some(Verdict::Skipped { reason }) => {
                    Some(format!("that commit {} is not run ({reason})", seen.short()))
                }
                Some(Verdict::Pushed { .. } | Verdict::Wanted) | None => None,
            };
            if let Some(what) = what {
                store.want_commit(name.clone(), seen).await.map_err(refused)?;
                lifted.push(what);
            }
        }
        if store.forget_refused_spec(name.clone()).await.map_err(refused)? {
            lifted.push("the failure of the changed configuration".to_owned());
        }
        if let Some((tag, digest)) = self.quarantined_among(name, &findings) {
            lifted.push(format!("the quarantine of {tag} ({})", digest.short()));
            store.lift_quarantine(name.clone(), digest).await.map_err(refused)?;
        }
        self.refresh(name).await;
        let mut said = match lifted.is_empty() {
            true => format!("nothing was held against {name}"),
            false => format!("lifted {}", lifted.join(" and ")),
        };
        if let Some(plan) = self.plan(name, &findings).await {
            let lanes = [("ci", &plan.ci), ("cd", &plan.cd)];
            for (lane, prospect) in lanes.into_iter().filter_map(|(lane, p)| Some((lane, p.as_ref()?))) {
                said += &format!("\n{lane} {}: {}", prospect.next.word(), prospect.why);
            }
        }
        let Some(project) = self.projects.get_mut(name) else { return Ok(said) };
        project.asker = Some(answers.clone());
        (project.github.trigger, project.hub.trigger) = (Trigger::Command, Trigger::Command);
        self.consider_commit(name).await;
        if let Some(Ok(listing)) = findings.listing.take() {
            self.consider_image(name, listing);
        }
        if let Some(project) = self.projects.get_mut(name) {
            project.asker = None;
        }
        Ok(said)
    }

    /// No wait of our own stands in the way any more. What a source itself asked for holds until it answers.
    fn clear_waits(&mut self, name: &ProjectName, findings: &Findings) {
        let Some(project) = self.projects.get_mut(name) else { return };
        project.ci.clear();
        project.cd.clear();
        project.judged = None;
        clear_source(&mut project.hub, matches!(findings.listing, Some(Ok(_))));
        clear_source(&mut project.github, matches!(findings.head, Some(Ok(_))));
        if let Some(Ok(Head { moved_to: Some(new), .. })) = &findings.head {
            project.has_come_to(new.clone());
        }
    }

    fn quarantined_among(&self, name: &ProjectName, findings: &Findings) -> Option<(Tag, Digest)> {
        let Some(Ok(listing)) = &findings.listing else { return None };
        match self.projects.get(name)?.image_decision(listing) {
            ImageDecision::Quarantined { tag, digest, .. } => Some((tag, digest)),
            ImageDecision::EmptyListing
            | ImageDecision::UpToDate { .. }
            | ImageDecision::Due { .. }
            | ImageDecision::Nothing { .. } => None,
        }
    }
}

fn clear_source(source: &mut SourceState, has_answered: bool) {
    source.backoff.reset();
    source.not_before = source.told.filter(|_| !has_answered);
    source.told = source.not_before;
}

fn newest_version<'a>(settings: &ProjectSettings, listed: &'a [ListedTag]) -> Option<&'a ListedTag> {
    let ranked = listed.iter().filter_map(|l| Some((tag::rank(settings.scheme, &l.tag, l.pushed_at)?, l)));
    ranked.max_by_key(|(rank, _)| *rank).map(|(_, listed)| listed)
}

async fn ask_both(clients: &Clients, settings: &ProjectSettings, known: Known) -> Findings {
    let (head, listing) = tokio::join!(
        async {
            match settings.source {
                Some(_) => Some(ask_github(clients, settings, known).await),
                None => None,
            }
        },
        ask_for_listing(clients, settings),
    );
    Findings { head, listing, ..Findings::default() }
}

/// Asks for the commit with these digits, or for the newest one.
async fn ask_about_commit(
    clients: &Clients,
    settings: &ProjectSettings,
    wanted: Option<&CommitPrefix>,
    known: Known,
) -> Findings {
    match (wanted, &settings.source) {
        (Some(wanted), Some(source)) => {
            let found = match clients.knows_by_git_alone(source) {
                true => ask_git::find_commit(clients, source, wanted).await.map_err(|failure| failure.reason),
                false => clients.github.find_commit(&source.repository, wanted).await.map_err(refused),
            };
            Findings { commit: Some(found), ..Findings::default() }
        }
        (_, _) => {
            let head = Some(ask_github(clients, settings, known).await);
            Findings { head, ..Findings::default() }
        }
    }
}

async fn ask_about_tag(clients: &Clients, settings: &ProjectSettings, tag: &Tag) -> Findings {
    let (digest, listing, running) = tokio::join!(
        clients.registry_digest(&settings.image, tag),
        ask_for_listing(clients, settings),
        running_in_place(clients, settings),
    );
    let digest = Some(digest.map_err(refused));
    Findings { digest, listing, running, ..Findings::default() }
}

async fn ask_for_listing(
    clients: &Clients,
    settings: &ProjectSettings,
) -> Option<Result<Listing, PollFailure>> {
    match settings.deploy {
        Some(_) => Some(ask_hub(clients, settings, |_| {}).await),
        None => None,
    }
}
