//! Mail out, over SMTP by lettre: one connection per mail, opened, used and closed within a time limit.
//!
//! Takes finished texts and says whether the server took them, or why not and what to do about it. Retries
//! nothing and keeps no connection: that is the outbox's business, and mails are hours apart. STARTTLS is
//! required where it is configured, never merely tried. Certificates are checked against the machine's own
//! store, or the one that `SSL_CERT_FILE` names.

mod conversation;
mod message;

use std::time::Duration;

use chrono::DateTime;
use chrono::Utc;
use lettre::message::Mailbox;
use tokio::time::timeout;

use crate::clients::mailer::conversation::Conversation;
use crate::config::settings::EmailSettings;
use crate::fault_point::Effect;

/// The longest a mail may take from the first packet to the server's last word.
const SEND_LIMIT: Duration = Duration::from_secs(120);
/// How long the server may take to say goodbye; the mail is already accepted.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);

/// A mail as it is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMail {
    /// The subject.
    pub subject: String,
    /// The body for those who read plain text.
    pub text: String,
    /// The body for all others.
    pub html: String,
    /// A text file to go with it: its name and its content, UTF-8.
    pub attachment: Option<(String, Vec<u8>)>,
    /// The `Message-ID`, with or without angle brackets: the same for every attempt at the same mail, so that
    /// a mail which arrives twice is recognised as one.
    pub message_id: String,
    /// Whether it should stand out in the inbox.
    pub urgent: bool,
    /// When that happened which the mail is about.
    pub date: DateTime<Utc>,
}

/// What became of a mail that the server took.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Sent {
    /// Recipients the server refused while it took the mail for others: a sentence each.
    pub refused: Vec<String>,
}

/// Why a mail was not sent. Each text names the server, the reason and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The network or the server has a bad time: worth another try soon.
    #[error("{0}")]
    Temporary(String),
    /// The server refuses this login, sender, recipient or kind of connection: no mail goes out until the
    /// configuration, or the server's, is changed. Worth keeping the mail and trying again rarely.
    #[error("{0}")]
    Settings(String),
    /// The server refuses this very message for good: trying again is useless, another message may pass.
    #[error("{0}")]
    Permanent(String),
}

/// Sends mail as the configuration says.
#[derive(Debug, Clone)]
pub struct Mailer {
    settings: EmailSettings,
    from: Mailbox,
    to: Vec<Mailbox>,
    limit: Duration,
}

impl Mailer {
    /// Checks the addresses; connects to nothing.
    pub fn new(settings: &EmailSettings) -> Result<Self, MailError> {
        let parse = |key: &str, text: &String| {
            let refused =
                |why| MailError::Settings(format!("`{key}` is not a mail address: `{text}`: {why}"));
            text.parse::<Mailbox>().map_err(refused)
        };
        let from = parse("email.from", &settings.from)?;
        let to = settings.to.iter().map(|text| parse("email.to", text)).collect::<Result<Vec<_>, _>>()?;
        if to.is_empty() {
            return Err(MailError::Settings("`email.to` names no recipient".to_owned()));
        }
        Ok(Self { settings: settings.clone(), from, to, limit: SEND_LIMIT })
    }

    /// The same with another limit for the whole of a mail. Default: two minutes.
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Sends one mail to all recipients.
    pub async fn send(&self, mail: &OutgoingMail) -> Result<Sent, MailError> {
        let message = message::build(&self.from, &self.to, mail)?;
        let mut conversation = Conversation::new(self);
        let outcome = timeout(self.limit, async {
            let mut connection = conversation.open().await?;
            let effect = Effect::begin("mail", "send");
            let sent = conversation.deliver(&effect, &mut connection, &message).await?;
            effect.end();
            Ok((connection, sent))
        });
        let (connection, sent) = match outcome.await {
            Ok(result) => result?,
            Err(_) => return Err(conversation.too_slow()),
        };
        conversation::say_goodbye(connection, FAREWELL_LIMIT).await;
        Ok(sent)
    }

    /// Connects, logs in and leaves again: whether a mail could be sent now.
    pub async fn check(&self) -> Result<(), MailError> {
        let mut conversation = Conversation::new(self);
        let outcome = timeout(self.limit, async {
            let mut connection = conversation.open().await?;
            conversation.ask_for_life(&mut connection).await?;
            Ok(connection)
        });
        let connection = match outcome.await {
            Ok(result) => result?,
            Err(_) => return Err(conversation.too_slow()),
        };
        conversation::say_goodbye(connection, FAREWELL_LIMIT).await;
        Ok(())
    }
}
