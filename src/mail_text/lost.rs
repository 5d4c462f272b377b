//! The mail about a database that was lost, and what was found out again.

use chrono::DateTime;
use chrono::Utc;

use crate::mail_text::Mail;
use crate::mail_text::letter::Fact;
use crate::mail_text::letter::Letter;
use crate::mail_text::letter::Tone;
use crate::mail_text::phrase;
use crate::model::ProjectName;
use crate::model::Release;
use crate::model::RunNumber;

/// A database that was lost.
#[derive(Debug, Clone, Copy)]
pub struct LostDatabase<'a> {
    /// This machine's name.
    pub host: &'a str,
    /// What was wrong with it; `None` if there was none any more.
    pub damage: Option<&'a str>,
    /// Where it is now, if there was one.
    pub kept: Option<&'a str>,
    /// The new one was begun.
    pub since: DateTime<Utc>,
    /// The projects of which something was found.
    pub projects: &'a [FoundProject],
    /// How many runs have a log.
    pub runs: usize,
    /// The next run's number.
    pub next: RunNumber,
}

/// What was found of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundProject {
    /// The project.
    pub project: ProjectName,
    /// What stands in the service's place.
    pub serving: Option<Release>,
    /// What stands behind it.
    pub previous: Option<Release>,
    /// What had to be done so that exactly one container serves.
    pub done: Vec<String>,
}

/// Tells that the database was lost, once.
pub fn lost_database_mail(lost: &LostDatabase<'_>) -> Mail {
    let serving: Vec<String> = lost.projects.iter().map(in_short).collect();
    let what = if lost.damage.is_some() { "damaged" } else { "gone" };
    let done = lost.projects.iter().filter(|found| !found.done.is_empty()).map(|found| {
        format!(
            "{} was in the middle of something, and was brought to rest: {}.",
            found.project,
            found.done.join("; ")
        )
    });
    let mut notes = vec![format!(
        "It was made anew from the containers and {} with a log. The next run is number {}; no number and no tag is used \
         a second time.",
        phrase::count(u32::try_from(lost.runs).unwrap_or(u32::MAX), "run"),
        lost.next
    )];
    notes.extend(done);
    let letter = Letter {
        subject: format!("[homeport] the database was {what} and is rebuilt: {}", serving.join(", ")),
        tone: Tone::Bad,
        lead: format!("homeport's database on {} was {what}. What serves was not touched by that.", lost.host),
        notes,
        cause: lost.damage.map(ToOwned::to_owned),
        next: vec![
            "Lost is what only the database knew: which commits and images failed, so the newest of each may be tried, and \
             may fail, once more; mail that waited to be sent; versions older than the previous one, as ways back; what was \
             pinned or paused."
                .to_owned(),
            match lost.kept {
                Some(kept) => format!(
                    "The old file is kept as {kept}; `sqlite3 FILE .recover` may show more of it. A file is seldom damaged \
                     without a cause: a power cut on a failing card, or a program that wrote to it. Look at `dmesg`."
                ),
                None => "Was the state folder moved or cleared? If you have the old database, stop homeport and put it back."
                    .to_owned(),
            },
        ],
        facts: facts(lost),
        ..Letter::default()
    };
    letter.into_mail()
}

fn in_short(found: &FoundProject) -> String {
    match &found.serving {
        Some(release) => format!("{} {} keeps its place", found.project, phrase::tag(release)),
        None => format!("of {} nothing serves", found.project),
    }
}

fn facts(lost: &LostDatabase<'_>) -> Vec<(&'static str, Fact)> {
    let name = |release: &Option<Release>| release.as_ref().map_or_else(|| "none".to_owned(), phrase::tag);
    let projects = lost.projects.iter().map(|found| {
        format!("{} (current {}, previous {})", found.project, name(&found.serving), name(&found.previous))
    });
    vec![
        ("Projects", Fact::of(projects.collect::<Vec<_>>().join(", "))),
        ("Found", Fact::of(phrase::moment(lost.since))),
        ("Host", Fact::of(lost.host)),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use chrono::DateTime;

    use super::FoundProject;
    use super::LostDatabase;
    use super::lost_database_mail;
    use crate::model::Release;
    use crate::model::RunNumber;

    #[test]
    fn a_lost_database_says_what_is_lost_and_what_runs() {
        let release = Release {
            tag: "41".parse().unwrap(),
            digest: format!("sha256:{}", "41".repeat(32)).parse().unwrap(),
        };
        let found = FoundProject {
            project: "hello".parse().unwrap(),
            serving: Some(release),
            previous: None,
            done: vec!["hello.next was removed".to_owned()],
        };
        let mail = lost_database_mail(&LostDatabase {
            host: "raspberrypi",
            damage: Some("file is not a database"),
            kept: Some("/var/lib/homeport/homeport.db.damaged-2026-11-23T06-15-00Z"),
            since: DateTime::from_timestamp(1_795_414_500, 0).unwrap(),
            projects: &[found],
            runs: 7,
            next: RunNumber(8),
        });
        insta::assert_snapshot!(mail.subject, @"[homeport] the database was damaged and is rebuilt: hello 41 keeps its place");
        for part in
            ["Why: file is not a database", "hello.next was removed", "7 runs", "number 8", "damaged-2026"]
        {
            assert!(mail.text.contains(part), "{part}: {}", mail.text);
        }
    }
}
