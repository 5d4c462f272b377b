//! What is worth a mail, and the outbox that survives a restart and an outage. A run's end, what follows
//! from it and the mail about it are recorded together; sending is a matter of its own, in `outbox`, and fails
//! no run.

mod commit_status;
mod outbox;
mod service;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use chrono::DateTime;
use chrono::Utc;
use url::Url;

use crate::clients::Clients;
use crate::clients::clock::Clock;
use crate::clients::mailer::Mailer;
use crate::clients::mailer::OutgoingMail;
use crate::clients::store::Deployment;
use crate::clients::store::Filer;
use crate::clients::store::Filing;
use crate::clients::store::Origin;
use crate::clients::store::Queued;
use crate::config::settings::EmailSettings;
use crate::config::settings::Settings;
use crate::event::Source;
use crate::fold::FailureMemory;
use crate::fold::Role;
use crate::fold::Verdict;
use crate::mail_text::Affected;
use crate::mail_text::FoundProject;
use crate::mail_text::LostDatabase;
use crate::mail_text::Mail;
use crate::mail_text::Outage;
use crate::mail_text::Surroundings;
use crate::mail_text::lost_database_mail;
use crate::mail_text::outage_mail;
use crate::mail_text::recovery_mail;
use crate::mail_text::run_mail;
use crate::mail_text::trial_mail;
use crate::model::ProjectName;
use crate::model::Release;
use crate::model::Repository;
use crate::model::RunNumber;
use crate::model::RunReport;
use crate::model::Trigger;

/// Writes the owner's mail. Made anew from the settings whenever it is needed.
#[derive(Debug, Clone)]
pub struct Notifier {
    clients: Arc<Clients>,
    journal: slog::Logger,
    is_wanted: bool,
    deploying: Vec<ProjectName>,
    /// The projects of whose commits GitHub is told, and where these are.
    statuses_for: BTreeMap<ProjectName, Repository>,
    status_url: Option<Url>,
}

impl Notifier {
    /// A notifier in these settings.
    pub fn new(settings: &Settings, clients: Arc<Clients>, journal: slog::Logger) -> Self {
        let deploying =
            settings.projects.iter().filter(|p| p.deploy.is_some()).map(|p| p.name.clone()).collect();
        let tells = settings.github.statuses && settings.github.token.is_some();
        let followed =
            settings.projects.iter().filter(|_| tells).filter_map(|project| {
                Some((project.name.clone(), project.source.as_ref()?.repository.clone()))
            });
        Self {
            clients,
            journal,
            is_wanted: settings.email.is_some(),
            deploying,
            statuses_for: followed.collect(),
            status_url: settings.github.status_url.clone(),
        }
    }

    /// Records the end of a CI run, with the mail about it if it is worth one.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn finish_ci(&self, report: RunReport) -> anyhow::Result<RunReport> {
        let filer = self.filer(&report).await;
        let status = self.status_of(&report);
        self.clients
            .store
            .finish_ci(report.clone(), status, filer)
            .await
            .context("record the end of the run")?;
        Ok(report)
    }

    /// Records the end of a CD run, with the deployment it made and the mail about it.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn finish_cd(
        &self,
        report: RunReport,
        deployed: Option<Deployment>,
    ) -> anyhow::Result<RunReport> {
        let filer = self.filer(&report).await;
        let finished = self.clients.store.finish_cd(report.clone(), deployed, filer).await;
        finished.context("record the end of the run")?;
        Ok(report)
    }

    /// Tells that a source has not been polled for a while.
    pub async fn outage(
        &self,
        project: &ProjectName,
        source: Source,
        since: DateTime<Utc>,
        failures: u32,
        error: &str,
    ) {
        let outage = (source, since, failures, error);
        self.tell_outage(project, "outage", outage, outage_mail).await;
    }

    /// Tells that it can be polled again.
    pub async fn recovery(&self, project: &ProjectName, source: Source, since: DateTime<Utc>, failures: u32) {
        let now = self.clients.clock.now();
        let outage = (source, since, failures, "");
        self.tell_outage(project, "recovery", outage, |outage| recovery_mail(outage, now)).await;
    }

    /// The mail that tells that the database was lost and what was found out again, if mail is wanted.
    pub fn database_lost(
        &self,
        origin: &Origin,
        projects: &[FoundProject],
        runs: usize,
        next: RunNumber,
    ) -> Option<Queued> {
        if !self.is_wanted {
            return None;
        }
        let host = host_name();
        let mail = lost_database_mail(&LostDatabase {
            host: &host,
            damage: origin.damage.as_deref(),
            kept: origin.kept.as_deref(),
            since: origin.made_at,
            projects,
            runs,
            next,
        });
        let id = message_id(&host, &origin.made_at.timestamp_millis(), "database-lost");
        Some(queued(mail, id, origin.made_at, None))
    }

    /// What the end of this run leaves for the owner, to be found out when it is recorded.
    async fn filer(&self, report: &RunReport) -> Filer {
        let previous = self.before(report).await;
        let orders = self.clients.store.standing_orders(report.project.clone()).await.unwrap_or_default();
        let role = if self.deploying.contains(&report.project) { Role::Deploys } else { Role::OnlyBuilds };
        let (report, journal, is_wanted) = (report.clone(), self.journal.clone(), self.is_wanted);
        Box::new(move |mut memory: FailureMemory| {
            let verdict = memory.judge(&report, role);
            let mail = match verdict {
                Verdict::Mail { repeats, fixed } if is_wanted => {
                    let host = host_name();
                    let (previous, hold) = (previous.as_ref(), orders.hold.as_ref());
                    let around = Surroundings { host: &host, role, previous, hold, repeats, fixed };
                    let id = message_id(&host, &report.number, report.outcome.word());
                    Some(queued(run_mail(&report, &around), id, report.finished_at, Some(&report.log)))
                }
                Verdict::Fold { times } => {
                    let project = &report.project;
                    slog::info!(
                        journal,
                        "{project}: the same failure as before, not mailed again ({times} times)"
                    );
                    None
                }
                Verdict::Mail { .. } | Verdict::Silent => None,
            };
            Filing { memory, mail }
        })
    }

    async fn tell_outage(
        &self,
        project: &ProjectName,
        what: &str,
        (source, since, failures, last_error): (Source, DateTime<Utc>, u32, &str),
        text: impl FnOnce(&Outage<'_>) -> Mail,
    ) {
        slog::warn!(self.journal, "{project}: {what} of {source}: {failures} failed polls since {since}");
        if !self.is_wanted {
            return;
        }
        let host = host_name();
        let affected =
            [Affected { project: project.clone(), serving: self.serving_by_records(project).await }];
        let outage = Outage { host: &host, source, affected: &affected, since, failures, last_error };
        let mail = text(&outage);
        let about = format!("{project}.{}.{}", source.to_string().replace(' ', "-"), since.timestamp());
        let queued = queued(mail, message_id(&host, &about, what), self.clients.clock.now(), None);
        if let Err(error) = self.clients.store.enqueue(queued).await {
            slog::error!(self.journal, "cannot keep the mail about the {what}: {error:#}");
        }
    }

    /// What served before the run's candidate. A watch's candidate serves already.
    async fn before(&self, report: &RunReport) -> Option<Release> {
        match report.trigger {
            Trigger::Watch => {
                let previous = self.clients.store.previous(report.project.clone()).await;
                previous.ok().flatten().map(|deployment| deployment.release)
            }
            Trigger::Poll | Trigger::Webhook | Trigger::OwnPush | Trigger::Command | Trigger::Recovery => {
                self.serving_by_records(&report.project).await
            }
        }
    }

    async fn serving_by_records(&self, project: &ProjectName) -> Option<Release> {
        self.clients.store.current(project.clone()).await.ok().flatten().map(|deployment| deployment.release)
    }
}

/// Sends a test mail at once.
///
/// # Errors
/// What the mail server says, with the way out.
pub async fn send_test_mail(email: &EmailSettings, projects: &[ProjectName]) -> anyhow::Result<()> {
    let (host, now) = (host_name(), Clock::real().now());
    let mail = trial_mail(&host, &format!("{}:{}", email.host, email.port), projects, now);
    let about = now.timestamp_millis();
    let mail = OutgoingMail {
        subject: mail.subject,
        text: mail.text,
        html: mail.html,
        attachment: None,
        message_id: message_id(&host, &about, "test"),
        urgent: false,
        date: now,
    };
    let sent = Mailer::new(email)?.send(&mail).await?;
    match sent.refused.first() {
        Some(refused) => anyhow::bail!("{refused}"),
        None => Ok(()),
    }
}

fn queued(mail: Mail, message_id: String, happened_at: DateTime<Utc>, log: Option<&Path>) -> Queued {
    Queued {
        message_id,
        happened_at,
        subject: mail.subject,
        text: mail.text,
        html: mail.html,
        log: log.map(Path::to_owned),
        urgent: mail.urgent,
        attempts: 0,
    }
}

/// The same for every attempt at the same mail.
fn message_id(host: &str, about: &impl std::fmt::Display, what: &str) -> String {
    let host: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    format!("homeport.{about}.{what}@{host}")
}

/// What this machine is called.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
