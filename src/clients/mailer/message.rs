//! A mail's bytes on the wire: headers, text and HTML as alternatives, the log as an attachment. All encoded
//! so that every byte is ASCII, which every server takes.

use std::time::SystemTime;

use lettre::Message;
use lettre::message::Attachment;
use lettre::message::Mailbox;
use lettre::message::MultiPart;
use lettre::message::header::ContentType;
use lettre::message::header::HeaderName;
use lettre::message::header::HeaderValue;

use crate::clients::mailer::MailError;
use crate::clients::mailer::OutgoingMail;

/// RFC 3834: keeps autoresponders from answering.
const AUTO_SUBMITTED: (HeaderName, &str) =
    (HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated");
/// There is no standard for urgency; these are what mail programs look at.
const URGENT: [(HeaderName, &str); 3] = [
    (HeaderName::new_from_ascii_str("X-Priority"), "1 (Highest)"),
    (HeaderName::new_from_ascii_str("Importance"), "high"),
    (HeaderName::new_from_ascii_str("Priority"), "urgent"),
];

/// Builds the message.
pub fn build(from: &Mailbox, to: &[Mailbox], mail: &OutgoingMail) -> Result<Message, MailError> {
    let header = |(name, value): (HeaderName, &str)| HeaderValue::new(name, value.to_owned());
    let mut builder = Message::builder()
        .from(from.clone())
        .subject(one_line(&mail.subject))
        .date(SystemTime::from(mail.date))
        .message_id(Some(message_id(&mail.message_id)))
        .raw_header(header(AUTO_SUBMITTED));
    for recipient in to {
        builder = builder.to(recipient.clone());
    }
    if mail.urgent {
        for urgent in URGENT {
            builder = builder.raw_header(header(urgent));
        }
    }
    let bodies = MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone());
    let content = match &mail.attachment {
        None => bodies,
        Some((name, bytes)) => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let file = Attachment::new(one_line(name)).body(text, ContentType::TEXT_PLAIN);
            MultiPart::mixed().multipart(bodies).singlepart(file)
        }
    };
    builder.multipart(content).map_err(|e| MailError::Permanent(format!("put the mail together: {e}")))
}

/// A header's text without anything that could begin another header.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The id between angle brackets, without characters that do not belong there.
fn message_id(text: &str) -> String {
    let id: String = text.chars().filter(|c| c.is_ascii_graphic() && !"<>".contains(*c)).collect();
    format!("<{id}>")
}
