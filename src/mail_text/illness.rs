//! The mails about a service that fell ill after its watch: one when it does, one when it is well again.

use chrono::DateTime;
use chrono::Utc;

use crate::health::illness::Complaint;
use crate::health::illness::Illness;
use crate::mail_text::Mail;
use crate::mail_text::letter::Fact;
use crate::mail_text::letter::Letter;
use crate::mail_text::letter::Tone;
use crate::mail_text::phrase;
use crate::model::ProjectName;
use crate::model::Release;

/// A service that fell ill.
#[derive(Debug, Clone, Copy)]
pub struct Patient<'a> {
    /// This machine's name.
    pub host: &'a str,
    /// Its project.
    pub project: &'a ProjectName,
    /// What it is.
    pub release: &'a Release,
    /// What it suffers from, since when.
    pub illness: &'a Illness,
}

/// Tells that a service is ill. `output` is what it wrote last, oldest first, secrets redacted.
pub fn illness_mail(patient: &Patient<'_>, output: Vec<String>) -> Mail {
    let (project, tag) = (patient.project, phrase::tag(patient.release));
    let (headline, lead) = match patient.illness.complaint {
        Complaint::Unhealthy => (
            "is unhealthy, and keeps running",
            "has fallen ill: its HEALTHCHECK says that it does not work. It keeps running.",
        ),
        Complaint::Crashing => (
            "crashes again and again",
            "has fallen ill: it ends again and again, and Docker starts it again and again.",
        ),
    };
    let letter = Letter {
        subject: format!("[{project}] {tag} {headline}"),
        tone: Tone::Bad,
        lead: format!("{tag}, which was proven and passed its watch, {lead}"),
        output,
        next: vec![
            "homeport does not take it back: what worked for long seldom fails because of its image. Look at what it \
             needs: a database, the disk, the memory, a service elsewhere. Push a new commit if it is the code after all."
                .to_owned(),
            "This is mailed once, and once more when it is well again.".to_owned(),
        ],
        facts: facts(patient),
        ..Letter::default()
    };
    letter.into_mail()
}

/// Tells that it is well again, at `now`.
pub fn recovered_mail(patient: &Patient<'_>, now: DateTime<Utc>) -> Mail {
    let (project, tag) = (patient.project, phrase::tag(patient.release));
    let lasted = phrase::length((now - patient.illness.since).to_std().unwrap_or_default());
    let what = match patient.illness.complaint {
        Complaint::Unhealthy => "its HEALTHCHECK said that it did not work",
        Complaint::Crashing => "it ended again and again",
    };
    let letter = Letter {
        subject: format!("[{project}] {tag} is well again after {lasted}"),
        tone: Tone::Good,
        lead: format!("{tag} is well again. For {lasted}, until {}, {what}.", phrase::moment(now)),
        facts: facts(patient),
        ..Letter::default()
    };
    letter.into_mail()
}

fn facts(patient: &Patient<'_>) -> Vec<(&'static str, Fact)> {
    vec![
        ("Project", Fact::of(patient.project.as_str())),
        ("Since", Fact::of(phrase::moment(patient.illness.since))),
        ("Host", Fact::of(patient.host)),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use chrono::DateTime;
    use chrono::TimeDelta;

    use super::Patient;
    use super::illness_mail;
    use super::recovered_mail;
    use crate::health::illness::Complaint;
    use crate::health::illness::Illness;
    use crate::model::Release;

    #[test]
    fn an_illness_and_its_end() {
        let release = Release {
            tag: "41".parse().unwrap(),
            digest: format!("sha256:{}", "41".repeat(32)).parse().unwrap(),
        };
        let illness = Illness {
            container: "aa".parse().unwrap(),
            complaint: Complaint::Unhealthy,
            since: DateTime::from_timestamp(1_795_414_500, 0).unwrap(),
        };
        let project = "hello".parse().unwrap();
        let patient = Patient { host: "pi", project: &project, release: &release, illness: &illness };
        let mail = illness_mail(&patient, vec!["no route to the database".to_owned()]);
        insta::assert_snapshot!(mail.subject, @"[hello] 41 is unhealthy, and keeps running");
        assert!(mail.text.contains("no route to the database") && !mail.urgent, "{}", mail.text);
        let well = recovered_mail(&patient, illness.since + TimeDelta::minutes(90));
        insta::assert_snapshot!(format!("{}\n--\n{}", well.subject, well.text), @"
        [hello] 41 is well again after 1 h 30 min
        --
        41 is well again. For 1 h 30 min, until 2026-11-23 07:45 UTC, its HEALTHCHECK said that it did not work.

        Project   hello
        Since     2026-11-23 06:15 UTC
        Host      pi
        ");
    }
}
