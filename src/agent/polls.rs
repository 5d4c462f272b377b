//! Asking the two sources, and deciding from their answers what is due. The decisions themselves are pure,
//! in [`crate::decide`]; a poll that brings nothing new writes nothing to the disk.

use std::sync::Arc;

use crate::agent::Agent;
use crate::agent::ask::ask_github;
use crate::agent::ask::ask_hub;
use crate::agent::ask::digest_of;
use crate::agent::job::Job;
use crate::agent::project::ProjectState;
use crate::agent::rebuild::Memory;
use crate::config::settings::ProjectSettings;
use crate::decide::ImageDecision;
use crate::event::Again;
use crate::event::Event;
use crate::event::Head;
use crate::event::Listing;
use crate::event::PollFailure;
use crate::event::Source;
use crate::model::Container;
use crate::model::Followed;
use crate::model::ProjectName;
use crate::model::Release;
use crate::model::Repository;
use crate::model::StandingOrders;
use crate::model::Tag;
use crate::model::Trigger;
use crate::queue::Lane;
use crate::queue::Priority;

impl Agent {
    /// Asks a source about a project, unless it is being asked, or has said that it does not want to be.
    pub(super) fn poll(&mut self, name: &ProjectName, source: Source, trigger: Trigger) {
        if !self.ask(name, source, trigger) && trigger == Trigger::OwnPush {
            self.look_for_awaited(name, None);
        }
    }

    /// Whether the source is being asked now.
    fn ask(&mut self, name: &ProjectName, source: Source, trigger: Trigger) -> bool {
        let now = self.now();
        let (clients, events) = (Arc::clone(&self.shared.clients), self.events.clone());
        let Some(project) = self.projects.get_mut(name) else { return false };
        if self.stopping.is_cancelled()
            || self.memory != Memory::Whole
            || !is_polled(&project.settings, source)
        {
            return false;
        }
        let state = project.source_mut(source);
        if state.asking.is_some() {
            if trigger != Trigger::Poll {
                state.again = Some(trigger);
            }
            return true;
        }
        if state.must_wait(trigger, now) {
            return false;
        }
        state.asking = Some(trigger);
        let (settings, known) = (Arc::clone(&project.settings), project.known());
        tokio::spawn(async move {
            let name = settings.name.clone();
            let event = match source {
                Source::GitHub => Event::GitHubPolled(name, ask_github(&clients, &settings, known).await),
                Source::DockerHub => {
                    let seen = |shown: Option<Container>| {
                        // Fails only when the agent is gone.
                        events.send(Event::ServiceSeen(settings.name.clone(), shown.map(Box::new))).ok();
                    };
                    Event::HubPolled(name, ask_hub(&clients, &settings, seen).await)
                }
            };
            // Fails only when the agent is gone.
            events.send(event).ok();
        });
        true
    }

    /// The webhook's hint: whoever follows that asks now.
    pub(super) fn poll_pushed(&mut self, repository: &Repository, followed: &Followed) {
        let follows = |project: &ProjectState| {
            let source = project.settings.source.as_ref();
            source.is_some_and(|s| s.followed == *followed && s.repository.eq_ignoring_case(repository))
        };
        let names: Vec<_> =
            self.projects.iter().filter(|(_, p)| follows(p)).map(|(n, _)| n.clone()).collect();
        for name in names {
            self.poll(&name, Source::GitHub, Trigger::Webhook);
        }
    }

    pub(super) async fn github_polled(&mut self, name: &ProjectName, answer: Result<Head, PollFailure>) {
        let Some(answer) = self.take_in(name, Source::GitHub, answer).await else { return };
        let Some(project) = self.projects.get_mut(name) else { return };
        if let Some(new) = answer.moved_to {
            project.has_come_to(new);
        }
        project.etag = answer.etag;
        project.github.budget = answer.budget;
        if let Some(now) = answer.renamed_to.filter(|_| !std::mem::replace(&mut project.said_renamed, true)) {
            slog::warn!(
                self.shared.journal,
                "{name}: the repository is now called {now}: put that into `repository`"
            );
        }
        self.keep_to_budget(name);
        self.consider_commit(name).await;
        self.ask_again_if_nudged(name, Source::GitHub);
    }

    pub(super) async fn hub_polled(&mut self, name: &ProjectName, answer: Result<Listing, PollFailure>) {
        match self.take_in(name, Source::DockerHub, answer).await {
            Some(listing) => {
                self.look_for_awaited(name, Some(&listing));
                self.consider_image(name, listing);
            }
            None => self.look_for_awaited(name, None),
        }
        self.ask_again_if_nudged(name, Source::DockerHub);
    }

    /// Starts a deployment of the newest image, if it is due.
    pub(super) fn consider_image(&mut self, name: &ProjectName, listing: Listing) {
        // What stands in the service's place while a run changes it says nothing; it is asked again after.
        if self.queue.running(Lane::Cd) == Some(name) {
            return;
        }
        let now = self.now();
        let Some(project) = self.projects.get_mut(name) else { return };
        let decision = project.image_decision(&listing);
        let paused = paused_clause(&project.orders);
        if project.hub.is_news(&format!("{decision}{paused}")) {
            slog::info!(self.shared.journal, "{name}: {decision}{paused}");
        }
        match decision {
            ImageDecision::Due { .. } if project.orders.paused_since.is_some() => {}
            ImageDecision::Due { tag, digest: Some(digest), reason } => {
                let release = Release { tag, digest };
                if project.cd.must_wait(now) || project.deploying.as_ref() == Some(&release) {
                    return;
                }
                let (trigger, answers) = (project.hub.trigger, project.asker.clone());
                let waits = self
                    .queue
                    .waiting(Lane::Cd)
                    .any(|(project, job)| project == name && job.is_image(&release));
                if !waits {
                    let job = Job::Image { release, trigger, reason, answers };
                    self.request(Lane::Cd, name, Priority::Ordinary, job);
                }
            }
            ImageDecision::Due { tag, digest: None, .. } => self.ask_for_digest(name, listing, tag),
            ImageDecision::EmptyListing
            | ImageDecision::UpToDate { .. }
            | ImageDecision::Quarantined { .. }
            | ImageDecision::Nothing { .. } => {}
        }
    }

    /// Docker Hub lists no digest for old tags: the registry knows it, and the choice is made again with it.
    fn ask_for_digest(&mut self, name: &ProjectName, mut listing: Listing, tag: Tag) {
        let Some(project) = self.projects.get_mut(name) else { return };
        project.hub.asking = Some(project.hub.trigger);
        let (clients, events, settings) =
            (Arc::clone(&self.shared.clients), self.events.clone(), Arc::clone(&project.settings));
        tokio::spawn(async move {
            let answer = match digest_of(&clients, &settings, &tag).await {
                Ok(digest) => {
                    let asked = listing.tags.iter_mut().filter(|listed| listed.tag == tag);
                    asked.for_each(|listed| listed.digest = Some(digest.clone()));
                    Ok(listing)
                }
                Err(error) => Err(PollFailure { reason: format!("{error:#}"), again: Again::WithPauses }),
            };
            // Fails only when the agent is gone.
            events.send(Event::HubPolled(settings.name.clone(), answer)).ok();
        });
    }

    /// Docker Hub's listing can lag behind a push: the tag just pushed is asked for a few times more.
    fn look_for_awaited(&mut self, name: &ProjectName, listing: Option<&Listing>) {
        let Some(project) = self.projects.get_mut(name) else { return };
        let Some(awaited) = project.awaited.as_mut() else { return };
        if listing.is_some_and(|listing| listing.tags.iter().any(|listed| listed.tag == awaited.tag)) {
            project.awaited = None;
            return;
        }
        match awaited.next_try() {
            Some(wait) => {
                self.put_off += 1;
                self.send_later(wait, Event::PollAgain(name.clone(), Source::DockerHub, Trigger::OwnPush));
            }
            None => {
                let tag = &awaited.tag;
                slog::warn!(
                    self.shared.journal,
                    "{name}: Docker Hub still does not list {tag}, which was just pushed; the schedule goes on asking"
                );
                project.awaited = None;
            }
        }
    }

    fn ask_again_if_nudged(&mut self, name: &ProjectName, source: Source) {
        let Some(project) = self.projects.get_mut(name) else { return };
        if let Some(trigger) = project.source_mut(source).again.take() {
            self.poll(name, source, trigger);
        }
    }
}

const fn is_polled(settings: &ProjectSettings, source: Source) -> bool {
    match source {
        Source::GitHub => settings.source.is_some(),
        Source::DockerHub => settings.deploy.is_some(),
    }
}

/// What is added to what would be started.
pub(super) fn paused_clause(orders: &StandingOrders) -> &'static str {
    match orders.paused_since {
        Some(_) => "; paused, so nothing is started",
        None => "",
    }
}
