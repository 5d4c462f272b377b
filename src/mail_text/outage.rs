//! The mails about a source that cannot be polled: one when it has lasted, one when it is over.

use chrono::DateTime;
use chrono::Utc;

use crate::event::Source;
use crate::mail_text::Mail;
use crate::mail_text::letter::Fact;
use crate::mail_text::letter::Letter;
use crate::mail_text::letter::Tone;
use crate::mail_text::phrase;
use crate::model::ProjectName;
use crate::model::Release;

/// A source that cannot be polled.
#[derive(Debug, Clone, Copy)]
pub struct Outage<'a> {
    /// This machine's name.
    pub host: &'a str,
    /// What cannot be polled.
    pub source: Source,
    /// The projects that wait for it, at least one.
    pub affected: &'a [Affected],
    /// The first failed poll.
    pub since: DateTime<Utc>,
    /// The polls that failed until now.
    pub failures: u32,
    /// Why the last one failed, the chain on one line, secrets redacted.
    pub last_error: &'a str,
}

/// A project that waits for the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    /// The project.
    pub project: ProjectName,
    /// What serves meanwhile.
    pub serving: Option<Release>,
}

/// Tells that a source has not been polled for a while.
pub fn outage_mail(outage: &Outage<'_>) -> Mail {
    let (source, since) = (outage.source, phrase::moment(outage.since));
    let (news, way_out) = match source {
        Source::GitHub => ("new commits", "the GitHub token, or the repository's and branch's name"),
        Source::DockerHub => ("new images", "the Docker Hub token, or the image's name"),
    };
    let letter = Letter {
        subject: format!("[{}] polling {source} has failed since {since}{}", tag(outage), meanwhile(outage)),
        tone: Tone::Bad,
        lead: format!(
            "Every poll of {source} has failed since {since}: {news} are not seen until one succeeds. What runs keeps \
             running."
        ),
        cause: Some(outage.last_error.to_owned()),
        next: vec![format!(
            "homeport keeps trying, with growing pauses, and mails once more when it is over. If the reason speaks of a \
             login or of something that is not found, check {way_out} in the config: `homeport check`."
        )],
        facts: facts(outage),
        ..Letter::default()
    };
    letter.into_mail()
}

/// Tells that it is over, at `now`.
pub fn recovery_mail(outage: &Outage<'_>, now: DateTime<Utc>) -> Mail {
    let source = outage.source;
    let lasted = phrase::length((now - outage.since).to_std().unwrap_or_default());
    let news = match source {
        Source::GitHub => "Commits pushed",
        Source::DockerHub => "Images pushed",
    };
    let letter = Letter {
        subject: format!(
            "[{}] {source} can be polled again after {lasted}{}",
            tag(outage),
            meanwhile(outage)
        ),
        tone: Tone::Good,
        lead: format!(
            "{source} can be polled again. For {lasted}, until {}, every poll had failed.",
            phrase::moment(now)
        ),
        next: vec![format!("{news} meanwhile are picked up now.")],
        facts: facts(outage).into_iter().chain([("Reason", Fact::of(outage.last_error))]).collect(),
        ..Letter::default()
    };
    letter.into_mail()
}

/// What stands in the subject's brackets.
fn tag<'a>(outage: &Outage<'a>) -> &'a str {
    match outage.affected {
        [only] => only.project.as_str(),
        _ => "homeport",
    }
}

fn meanwhile(outage: &Outage<'_>) -> String {
    match outage.affected {
        [Affected { serving: Some(release), .. }] => format!(": {} keeps running", phrase::tag(release)),
        [_] => String::new(),
        _ => ": what runs keeps running".to_owned(),
    }
}

fn facts(outage: &Outage<'_>) -> Vec<(&'static str, Fact)> {
    let projects = outage.affected.iter().map(|affected| match &affected.serving {
        Some(release) => format!("{} ({} is running)", affected.project, phrase::tag(release)),
        None => affected.project.to_string(),
    });
    let projects = projects.collect::<Vec<_>>().join(", ");
    vec![
        ("Projects", Fact::of(projects)),
        ("Since", Fact::of(phrase::moment(outage.since))),
        ("Failed", Fact::of(phrase::count(outage.failures, "poll"))),
        ("Host", Fact::of(outage.host)),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use chrono::DateTime;
    use chrono::TimeDelta;

    use super::Affected;
    use super::Outage;
    use super::outage_mail;
    use super::recovery_mail;
    use crate::event::Source;
    use crate::model::Release;

    fn affected(project: &str, serving: bool) -> Affected {
        let release = Release {
            tag: "41".parse().unwrap(),
            digest: format!("sha256:{}", "41".repeat(32)).parse().unwrap(),
        };
        Affected { project: project.parse().unwrap(), serving: serving.then_some(release) }
    }

    #[test]
    fn an_outage_and_its_end() {
        let since = DateTime::from_timestamp(1_795_414_500, 0).unwrap();
        let outage = Outage {
            host: "raspberrypi",
            source: Source::GitHub,
            affected: &[affected("hello", true)],
            since,
            failures: 5,
            last_error: "ask api.github.com for the head of me/hello: 503 Service Unavailable",
        };
        let mail = outage_mail(&outage);
        insta::assert_snapshot!(format!("{}\n--\n{}", mail.subject, mail.text), @"
        [hello] polling GitHub has failed since 2026-11-23 06:15 UTC: 41 keeps running
        --
        Every poll of GitHub has failed since 2026-11-23 06:15 UTC: new commits are not seen until one succeeds. What runs keeps running.

        Why: ask api.github.com for the head of me/hello: 503 Service Unavailable

        homeport keeps trying, with growing pauses, and mails once more when it is over. If the reason speaks of a login or of something that is not found, check the GitHub token, or the repository's and branch's name in the config: `homeport check`.

        Projects  hello (41 is running)
        Since     2026-11-23 06:15 UTC
        Failed    5 polls
        Host      raspberrypi
        ");
        let over = recovery_mail(&Outage { failures: 23, ..outage }, since + TimeDelta::minutes(200));
        insta::assert_snapshot!(format!("{}\n--\n{}", over.subject, over.text), @"
        [hello] GitHub can be polled again after 3 h 20 min: 41 keeps running
        --
        GitHub can be polled again. For 3 h 20 min, until 2026-11-23 09:35 UTC, every poll had failed.

        Commits pushed meanwhile are picked up now.

        Projects  hello (41 is running)
        Since     2026-11-23 06:15 UTC
        Failed    23 polls
        Host      raspberrypi
        Reason    ask api.github.com for the head of me/hello: 503 Service Unavailable
        ");
    }

    #[test]
    fn one_mail_tells_of_all_projects() {
        let outage = Outage {
            host: "raspberrypi",
            source: Source::DockerHub,
            affected: &[affected("hello", true), affected("builder", false)],
            since: DateTime::from_timestamp(1_795_414_500, 0).unwrap(),
            failures: 1,
            last_error: "429 Too Many Requests",
        };
        let mail = outage_mail(&outage);
        insta::assert_snapshot!(format!("{}\n--\n{}", mail.subject, mail.text), @"
        [homeport] polling Docker Hub has failed since 2026-11-23 06:15 UTC: what runs keeps running
        --
        Every poll of Docker Hub has failed since 2026-11-23 06:15 UTC: new images are not seen until one succeeds. What runs keeps running.

        Why: 429 Too Many Requests

        homeport keeps trying, with growing pauses, and mails once more when it is over. If the reason speaks of a login or of something that is not found, check the Docker Hub token, or the image's name in the config: `homeport check`.

        Projects  hello (41 is running), builder
        Since     2026-11-23 06:15 UTC
        Failed    1 poll
        Host      raspberrypi
        ");
        let over = recovery_mail(&outage, outage.since + TimeDelta::seconds(90));
        insta::assert_snapshot!(over.subject, @"[homeport] Docker Hub can be polled again after 1 min 30 s: what runs keeps running");
    }
}
