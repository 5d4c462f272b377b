//! Every sentence that a user reads by mail. Pure: facts in, a finished [`Mail`] out.
//!
//! A subject says what is running now, since that is what the reader wants to know on a phone at night. A body
//! says what happened in one sentence, why, what homeport does next and what the owner can do, and then the facts.
//! Text and HTML say the same. All that is inserted may come from strangers (a commit's subject, an image's
//! output): it is cleaned of control characters, escaped, and bounded.

mod advice;
mod illness;
mod letter;
mod lost;
mod outage;
mod phrase;
mod run;
mod trial;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use serde::Deserialize;
use serde::Serialize;

pub use crate::mail_text::illness::Patient;
pub use crate::mail_text::illness::illness_mail;
pub use crate::mail_text::illness::recovered_mail;
pub use crate::mail_text::lost::FoundProject;
pub use crate::mail_text::lost::LostDatabase;
pub use crate::mail_text::lost::lost_database_mail;
pub use crate::mail_text::outage::Affected;
pub use crate::mail_text::outage::Outage;
pub use crate::mail_text::outage::outage_mail;
pub use crate::mail_text::outage::recovery_mail;
pub use crate::mail_text::phrase::cut;
pub use crate::mail_text::run::Surroundings;
pub use crate::mail_text::run::run_mail;
pub use crate::mail_text::trial::trial_mail;

/// From how late on a mail says that it is late.
pub const LATE: TimeDelta = TimeDelta::minutes(10);

/// A mail's words. Kept in the outbox until it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// One line of at most 200 characters, none of them a control character.
    pub subject: String,
    /// The body for those who read plain text.
    pub text: String,
    /// The body for all others.
    pub html: String,
    /// Whether it should stand out in the inbox: nothing serves.
    pub urgent: bool,
}

impl Mail {
    /// The mail as it is to be sent at `now` about something that happened at `happened`: with a note if that is
    /// [`LATE`], for what it says of the present may have changed.
    pub fn sent_at(self, now: DateTime<Utc>, happened: DateTime<Utc>) -> Self {
        let late = now - happened;
        if late < LATE {
            return self;
        }
        let late = phrase::length(late.to_std().unwrap_or_default());
        let note = format!(
            "This mail is late: it is about {}, and could not be sent for {late}. Things may have changed since.",
            phrase::moment(happened)
        );
        Self {
            subject: letter::subject(&format!("{} (delayed by {late})", self.subject)),
            text: format!("{note}\n\n{}", self.text),
            html: letter::with_note_on_top(&self.html, &note),
            urgent: self.urgent,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use chrono::DateTime;
    use chrono::TimeDelta;

    use super::Mail;
    use super::trial_mail;

    #[test]
    fn a_late_mail_says_so_and_a_prompt_one_does_not() {
        let happened = DateTime::from_timestamp(1_795_414_500, 0).unwrap();
        let mail = trial_mail("raspberrypi", "smtp.example.org:587", &[], happened);
        let sent_after = |minutes| mail.clone().sent_at(happened + TimeDelta::minutes(minutes), happened);
        assert_eq!(sent_after(9), mail);
        assert_eq!(sent_after(-60), mail);

        let late = sent_after(200);
        insta::assert_snapshot!(late.subject, @"[homeport] test mail from raspberrypi (delayed by 3 h 20 min)");
        insta::assert_snapshot!(late.text.lines().next().unwrap(), @"This mail is late: it is about 2026-11-23 06:15 UTC, and could not be sent for 3 h 20 min. Things may have changed since.");
        assert!(late.text.ends_with(&mail.text));
        let note = late.html.find("This mail is late").unwrap();
        assert!(note < late.html.find("This is the test mail").unwrap());
        assert_eq!(late.html.matches("<body").count(), 1);
    }

    #[test]
    fn a_mail_survives_the_outbox() {
        let mail = trial_mail("pi", "smtp.example.org:25", &[], DateTime::UNIX_EPOCH);
        let stored = serde_json::to_string(&mail).unwrap();
        assert_eq!(serde_json::from_str::<Mail>(&stored).unwrap(), mail);
    }
}
