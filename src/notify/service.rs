//! What a look at a service after its watch leads to: a mail when it has fallen ill and one when it is well again,
//! each recorded together with what was told.

use crate::clients::store::Queued;
use crate::health::illness::Change;
use crate::health::illness::Illness;
use crate::logging::redact::Redactor;
use crate::mail_text::Mail;
use crate::mail_text::Patient;
use crate::mail_text::illness_mail;
use crate::mail_text::recovered_mail;
use crate::model::ProjectName;
use crate::model::Release;
use crate::notify::Notifier;
use crate::notify::host_name;
use crate::notify::message_id;

/// How many of its last lines go with a mail.
const LAST_WORDS: usize = 30;

impl Notifier {
    /// Records a change in a service's health, with the mail about it.
    pub async fn service_changed(
        &self,
        project: &ProjectName,
        release: &Release,
        change: Change,
        redactor: &Redactor,
    ) {
        let (illness, mail) = match change {
            Change::None => return,
            Change::Replaced => (None, None),
            Change::FellIll(illness) => {
                let complaint = illness.complaint;
                slog::warn!(
                    self.journal,
                    "{project}: {release} has fallen ill after its watch and is left as it is: it {complaint}"
                );
                let mail = self.about_illness(project, release, &illness, redactor).await;
                (Some(illness), mail)
            }
            Change::Recovered(illness) => {
                slog::info!(self.journal, "{project}: {release} is well again");
                (None, self.about_recovery(project, release, &illness))
            }
        };
        if let Err(error) = self.clients.store.record_illness(project.clone(), illness, mail).await {
            slog::error!(self.journal, "{project}: cannot record how its service is: {error:#}");
        }
    }

    async fn about_illness(
        &self,
        project: &ProjectName,
        release: &Release,
        illness: &Illness,
        redactor: &Redactor,
    ) -> Option<Queued> {
        if !self.is_wanted {
            return None;
        }
        // Its last words explain most; missing them is no reason to say nothing.
        let words = self.clients.docker.logs_tail(&illness.container, LAST_WORDS).await.unwrap_or_default();
        let words = words.iter().map(|line| redactor.redact(line).into_owned()).collect();
        let host = host_name();
        let mail = illness_mail(&Patient { host: &host, project, release, illness }, words);
        Some(self.queued_about(project, illness, "ill", mail))
    }

    fn about_recovery(&self, project: &ProjectName, release: &Release, illness: &Illness) -> Option<Queued> {
        if !self.is_wanted {
            return None;
        }
        let host = host_name();
        let now = self.clients.clock.now();
        let mail = recovered_mail(&Patient { host: &host, project, release, illness }, now);
        Some(self.queued_about(project, illness, "well", mail))
    }

    fn queued_about(&self, project: &ProjectName, illness: &Illness, what: &str, mail: Mail) -> Queued {
        let about = format!("{project}.{}", illness.since.timestamp_millis());
        let message_id = message_id(&host_name(), &about, what);
        let Mail { subject, text, html, urgent } = mail;
        let happened_at = self.clients.clock.now();
        Queued { message_id, happened_at, subject, text, html, log: None, urgent, attempts: 0 }
    }
}
