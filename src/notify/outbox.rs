//! Sending what waits in the outbox, oldest first, until the mail server has taken it.

use std::path::Path;
use std::time::Duration;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;

use crate::clients::mailer::MailError;
use crate::clients::mailer::Mailer;
use crate::clients::mailer::OutgoingMail;
use crate::clients::store::Queued;
use crate::mail_text::Mail;
use crate::notify::Notifier;

/// The first and the longest wait between two attempts at a mail.
const RETRY: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(60 * 60));
/// After the outbox could not be read.
const LOOK_AGAIN: TimeDelta = TimeDelta::minutes(1);
/// What is older, or beyond this number, is given up: an outbox must not fill the card.
const OLDEST: Duration = Duration::from_secs(14 * 24 * 3600);
const MOST: u32 = 500;
/// How much of a run log goes with a mail: its end, which tells the failure.
const ATTACHED: u64 = 256 * 1024;

impl Notifier {
    /// Sends what is due. Returns when the next mail should be tried, if one waits.
    pub async fn deliver(&self) -> Option<DateTime<Utc>> {
        match self.go_through_outbox().await {
            Ok(next) => next,
            Err(error) => {
                slog::error!(self.journal, "cannot go through the outbox: {error:#}");
                Some(self.clients.clock.now() + LOOK_AGAIN)
            }
        }
    }

    async fn go_through_outbox(&self) -> anyhow::Result<Option<DateTime<Utc>>> {
        let store = &self.clients.store;
        let Some(mailer) = &self.clients.mailer else { return Ok(None) };
        let now = self.clients.clock.now();
        self.trim_outbox(now).await?;
        for mail in store.due_mails(now).await? {
            if let Some(next) = self.try_mail(mailer, mail).await? {
                // The others would meet the same server: they wait with this one.
                return Ok(Some(next));
            }
        }
        Ok(store.next_mail_at().await?)
    }

    async fn trim_outbox(&self, now: DateTime<Utc>) -> anyhow::Result<()> {
        let store = &self.clients.store;
        if store.next_mail_at().await?.is_some() {
            let given_up = store.trim_outbox(now, OLDEST, MOST).await?;
            if given_up > 0 {
                slog::error!(
                    self.journal,
                    "{given_up} mails could not be sent for too long and are given up"
                );
            }
        }
        Ok(())
    }

    /// Tries one mail. If the server is the problem rather than the mail: when it is tried again.
    async fn try_mail(&self, mailer: &Mailer, mail: Queued) -> anyhow::Result<Option<DateTime<Utc>>> {
        let store = &self.clients.store;
        let now = self.clients.clock.now();
        let (id, subject, attempts) = (mail.message_id.clone(), mail.subject.clone(), mail.attempts);
        match mailer.send(&outgoing(mail, now)).await {
            Ok(sent) => {
                // Noted before it is told: where the journal says that it was sent, it is not sent again.
                let noted = store.mail_sent(id).await;
                slog::info!(self.journal, "mail sent: {subject}");
                for refused in sent.refused {
                    slog::warn!(self.journal, "{refused}");
                }
                noted?;
                Ok(None)
            }
            Err(MailError::Permanent(reason)) => {
                slog::error!(self.journal, "the mail `{subject}` is refused for good: {reason}");
                store.mail_sent(id).await?;
                Ok(None)
            }
            Err(MailError::Temporary(reason) | MailError::Settings(reason)) => {
                let wait = RETRY.0.saturating_mul(2_u32.saturating_pow(attempts.min(16))).min(RETRY.1);
                let seconds = wait.as_secs();
                slog::warn!(self.journal, "the mail `{subject}` waits, next try in {seconds} s: {reason}");
                let next = now + TimeDelta::from_std(wait).unwrap_or_default();
                store.mail_failed(id, reason, next).await?;
                Ok(Some(next))
            }
        }
    }
}

fn outgoing(queued: Queued, now: DateTime<Utc>) -> OutgoingMail {
    let Queued { message_id, happened_at, subject, text, html, log, urgent, .. } = queued;
    let mail = Mail { subject, text, html, urgent }.sent_at(now, happened_at);
    let attachment = log.as_deref().and_then(|log| {
        let name = log.file_name()?.to_string_lossy().into_owned();
        Some((name, end_of(log)?))
    });
    OutgoingMail {
        subject: mail.subject,
        text: mail.text,
        html: mail.html,
        attachment,
        message_id,
        urgent: mail.urgent,
        date: happened_at,
    }
}

/// The end of a log file, from the start of a line; `None` if it is gone, which is no reason not to mail.
fn end_of(log: &Path) -> Option<Vec<u8>> {
    use std::io::Read;
    use std::io::Seek;
    let mut file = std::fs::File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    let mut bytes = Vec::new();
    if length <= ATTACHED {
        file.take(ATTACHED).read_to_end(&mut bytes).ok()?;
        return Some(bytes);
    }
    file.seek(std::io::SeekFrom::Start(length - ATTACHED)).ok()?;
    file.take(ATTACHED).read_to_end(&mut bytes).ok()?;
    let line = bytes.iter().position(|&b| b == b'\n').map_or(0, |at| at + 1);
    let note =
        format!("[the first {} bytes are left out: the whole log is {}]\n", length - ATTACHED, log.display());
    Some(note.into_bytes().into_iter().chain(bytes.into_iter().skip(line)).collect())
}
