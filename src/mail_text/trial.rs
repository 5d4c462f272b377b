//! The mail that the owner sends to see that mails arrive.

use chrono::DateTime;
use chrono::Utc;

use crate::mail_text::Mail;
use crate::mail_text::letter::Fact;
use crate::mail_text::letter::Letter;
use crate::mail_text::phrase;
use crate::model::ProjectName;

/// Tells that mail works. `server` is the mail server, `HOST:PORT`.
pub fn trial_mail(host: &str, server: &str, projects: &[ProjectName], now: DateTime<Utc>) -> Mail {
    let names = projects.iter().map(ProjectName::as_str).collect::<Vec<_>>().join(", ");
    let letter = Letter {
        subject: format!("[homeport] test mail from {host}"),
        lead: format!("This is the test mail you asked homeport on {host} for. Mail works."),
        next: vec![
            "You will get a mail when a stage fails, when a version is deployed or rolled back, when a service is down, and \
             when GitHub or Docker Hub cannot be polled for long. Repeats of the same failure within six hours are counted, not mailed."
                .to_owned(),
        ],
        facts: vec![
            ("Projects", Fact::of(names)),
            ("Server", Fact::of(server)),
            ("Sent", Fact::of(phrase::moment(now))),
            ("Host", Fact::of(host)),
        ],
        ..Letter::default()
    };
    letter.into_mail()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use chrono::DateTime;

    use super::trial_mail;

    #[test]
    fn a_test_mail_says_what_else_to_expect() {
        let projects = ["hello".parse().unwrap(), "world".parse().unwrap()];
        let now = DateTime::from_timestamp(1_795_414_500, 0).unwrap();
        let mail = trial_mail("raspberrypi", "smtp.example.org:587", &projects, now);
        insta::assert_snapshot!(format!("{}\n--\n{}", mail.subject, mail.text), @"
        [homeport] test mail from raspberrypi
        --
        This is the test mail you asked homeport on raspberrypi for. Mail works.

        You will get a mail when a stage fails, when a version is deployed or rolled back, when a service is down, and when GitHub or Docker Hub cannot be polled for long. Repeats of the same failure within six hours are counted, not mailed.

        Projects  hello, world
        Server    smtp.example.org:587
        Sent      2026-11-23 06:15 UTC
        Host      raspberrypi
        ");
    }
}
