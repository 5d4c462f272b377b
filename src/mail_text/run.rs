//! The mail about a run that has ended.

use crate::fold::Repeats;
use crate::fold::Role;
use crate::fold::Streak;
use crate::mail_text::Mail;
use crate::mail_text::advice;
use crate::mail_text::letter::Fact;
use crate::mail_text::letter::Letter;
use crate::mail_text::letter::Tone;
use crate::mail_text::phrase;
use crate::model::Failure;
use crate::model::Hold;
use crate::model::Outcome;
use crate::model::Release;
use crate::model::RunKind;
use crate::model::RunReport;
use crate::model::Stage;
use crate::model::Trigger;

/// The most letters of a list of tags in a sentence.
const LONGEST_LIST: usize = 80;

/// What a report does not know and its mail should tell.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// This machine's name.
    pub host: &'a str,
    /// What becomes of the project's images here.
    pub role: Role,
    /// What served before the run, if anything did.
    pub previous: Option<&'a Release>,
    /// What the owner chose by command instead of something newer, if that is in force.
    pub hold: Option<&'a Hold>,
    /// Equal failures that were counted instead of mailed.
    pub repeats: Option<Repeats>,
    /// The failures that this success ends.
    pub fixed: Option<Streak>,
}

/// Tells of a run that has ended.
pub fn run_mail(report: &RunReport, around: &Surroundings<'_>) -> Mail {
    let (headline, lead) = headline_and_lead(report, around);
    let fixed = if around.fixed.is_some() { "FIXED: " } else { "" };
    let letter = Letter {
        subject: format!("[{}] {fixed}{headline}", report.project),
        tone: match &report.outcome {
            Outcome::Pushed(_) | Outcome::Deployed(_) => Tone::Good,
            Outcome::RolledBack { .. }
            | Outcome::Failed(_)
            | Outcome::Superseded { .. }
            | Outcome::Interrupted(_) => Tone::Bad,
            Outcome::Down(_) => Tone::Urgent,
        },
        lead,
        notes: notes(around),
        cause: report.outcome.failure().map(|failure| failure.reason.clone()),
        output: report.last_lines.clone(),
        next: advice::after_run(report, around.role, around.previous),
        facts: facts(report, around),
    };
    letter.into_mail()
}

/// The subject's words behind the project's name, and the first sentences of the body.
fn headline_and_lead(report: &RunReport, around: &Surroundings<'_>) -> (String, String) {
    let candidate = report.candidate.as_ref().map_or_else(|| "the new image".to_owned(), phrase::tag);
    let running = |verb: &str| match (&report.serving, around.role) {
        (Some(release), _) => Some(format!("{} {verb}", phrase::tag(release))),
        (None, Role::Deploys) => Some("nothing is running".to_owned()),
        (None, Role::OnlyBuilds) => None,
    };
    let with_running = |(headline, sentence): (String, String), now: Option<String>| match now {
        Some(now) => (format!("{headline}: {now}"), format!("{sentence}; {now}.")),
        None => (headline, format!("{sentence}.")),
    };
    let ended_early = |how: String| {
        let sentence = phrase::capitalised(&how);
        with_running((how, sentence), running("keeps running"))
    };
    match &report.outcome {
        Outcome::Failed(failure) => {
            with_running(what_failed(report, failure, &candidate), running("keeps running"))
        }
        Outcome::RolledBack { .. } => {
            let now = running("is running again").unwrap_or_default();
            let candidate = what_was_tried(report, candidate);
            let how = match report.trigger {
                Trigger::Watch => "was deployed, failed while it was watched, and was rolled back",
                Trigger::Poll
                | Trigger::Webhook
                | Trigger::OwnPush
                | Trigger::Command
                | Trigger::Recovery => "did not hold and was rolled back",
            };
            (
                format!("{candidate} rolled back: {now}"),
                phrase::capitalised(&format!("{candidate} {how}; {now}.")),
            )
        }
        Outcome::Down(_) => {
            let way_back = missing_way_back(report, around);
            let lead = format!("The service is down: {candidate} failed and {way_back}.");
            (format!("DOWN: {candidate} failed and {way_back}"), lead)
        }
        Outcome::Deployed(release) => deployed(release, report.trigger, around),
        Outcome::Pushed(release) => pushed(report, release),
        Outcome::Superseded { by, .. } => {
            ended_early(format!("run {} made way for {}", report.number, by.short()))
        }
        Outcome::Interrupted(stage) => {
            ended_early(format!("run {} was cut off in stage {stage}", report.number))
        }
    }
}

fn pushed(report: &RunReport, release: &Release) -> (String, String) {
    let commit = report.commit.as_ref().map_or_else(|| "The commit".to_owned(), phrase::commit);
    (format!("{} pushed", release.tag), format!("{commit} is in the registry as {}.", release.tag))
}

/// Where the same release is back as it was, its changed configuration.
fn what_was_tried(report: &RunReport, candidate: String) -> String {
    match advice::is_same_again(report) {
        true => format!("the changed configuration of {candidate}"),
        false => candidate,
    }
}

fn deployed(release: &Release, trigger: Trigger, around: &Surroundings<'_>) -> (String, String) {
    let tag = phrase::tag(release);
    let hold = around.hold.filter(|hold| trigger == Trigger::Command && hold.kept.digest == release.digest);
    match (around.previous, hold) {
        // Its configuration was changed, or someone removed its container.
        (Some(previous), _) if previous.digest == release.digest => (
            format!("{tag} deployed again"),
            format!("{tag} is running in a new container, which has proven itself."),
        ),
        (Some(previous), Some(hold)) => (
            format!("{tag} deployed by command: back from {}", phrase::tag(previous)),
            format!(
                "{tag} is running and has proven itself. It replaces {}, because you asked for it. homeport goes on by \
                 itself when there is something newer than {}.",
                phrase::tag(previous),
                phrase::cut(&hold.in_words(), LONGEST_LIST)
            ),
        ),
        (Some(previous), None) => (
            format!("{tag} deployed"),
            format!("{tag} is running and has proven itself. It replaces {}.", phrase::tag(previous)),
        ),
        (None, _) => (format!("{tag} deployed"), format!("{tag} is running and has proven itself.")),
    }
}

/// Why the version before does not serve instead.
fn missing_way_back(report: &RunReport, around: &Surroundings<'_>) -> String {
    match around.previous.filter(|previous| report.candidate.as_ref() != Some(*previous)) {
        Some(before) => format!("{} did not come back", phrase::tag(before)),
        None if report.trigger == Trigger::Watch => "nothing was deployed before it".to_owned(),
        None => "nothing is running".to_owned(),
    }
}

/// The failed step and what it was about, as a headline (`tests failed for 1a2b3c4 "add login"`) and as a sentence.
fn what_failed(report: &RunReport, failure: &Failure, candidate: &str) -> (String, String) {
    let step = match failure.stage {
        Stage::Test => "tests",
        Stage::Prove => "proof",
        Stage::Commit => "take-over",
        Stage::Checkout | Stage::Build | Stage::Push | Stage::Pull | Stage::Swap | Stage::Rollback => {
            failure.stage.word()
        }
    };
    let failed_for =
        |what: &str| (format!("{step} failed for {what}"), format!("The {step} failed for {what}"));
    match report.kind {
        RunKind::Ci => match &report.commit {
            Some(commit) => failed_for(&phrase::commit(commit)),
            None => failed_for("the newest commit"),
        },
        RunKind::Cd if report.candidate.is_some() && report.candidate == report.serving => {
            failed_for(candidate)
        }
        RunKind::Cd => (
            format!("{candidate} not deployed, {step} failed"),
            phrase::capitalised(&format!("{candidate} was not deployed: the {step} failed")),
        ),
    }
}

fn notes(around: &Surroundings<'_>) -> Vec<String> {
    let fixed = around.fixed.map(|streak| {
        let runs = phrase::count(streak.failures, "run");
        format!("This ends a series of failures: {runs} had failed since {}.", phrase::moment(streak.since))
    });
    let repeats = around.repeats.map(|repeats| {
        let times = phrase::count(repeats.times, "more time");
        format!("This happened {times} since {}, without a mail each time.", phrase::moment(repeats.since))
    });
    fixed.into_iter().chain(repeats).collect()
}

fn facts(report: &RunReport, around: &Surroundings<'_>) -> Vec<(&'static str, Fact)> {
    let mut facts = vec![("Project", Fact::of(report.project.as_str()))];
    match (&report.serving, around.role) {
        (Some(release), _) => facts.push(("Running", Fact::of(in_full(release)))),
        (None, Role::Deploys) => facts.push(("Running", Fact::of("nothing"))),
        (None, Role::OnlyBuilds) => {}
    }
    if let Some(commit) = &report.commit {
        let by = if commit.author.is_empty() { String::new() } else { format!(" by {}", commit.author) };
        let text = format!("{}{by}", phrase::commit(commit));
        facts.push(("Commit", Fact::linked(text, &commit.url)));
    }
    if let Some(image) = image_of(report).filter(|image| report.serving.as_ref() != Some(*image)) {
        facts.push(("Image", Fact::of(in_full(image))));
    }
    if let Some(gap) = report.gap {
        facts.push(("Away", Fact::of(format!("{}, in which nothing answered", phrase::length(gap)))));
    }
    if !report.stages.is_empty() {
        facts.push(("Stages", Fact::of(stages(report))));
    }
    let took = (report.finished_at - report.started_at).to_std().unwrap_or_default();
    let run = format!(
        "{}, started {} {}, took {}",
        report.number,
        phrase::moment(report.started_at),
        because(report.trigger),
        phrase::length(took)
    );
    facts.push(("Run", Fact::of(run)));
    facts.push(("Log", Fact::of(report.log.display().to_string())));
    facts.push(("Host", Fact::of(around.host)));
    facts
}

/// The image the run was about.
const fn image_of(report: &RunReport) -> Option<&Release> {
    match &report.outcome {
        Outcome::Pushed(release) | Outcome::Deployed(release) => Some(release),
        Outcome::RolledBack { .. }
        | Outcome::Failed(_)
        | Outcome::Down(_)
        | Outcome::Superseded { .. }
        | Outcome::Interrupted(_) => report.candidate.as_ref(),
    }
}

fn in_full(release: &Release) -> String {
    format!("{}, {}", release.tag, release.digest)
}

/// The stages with their durations; the one at which the run stopped is marked.
fn stages(report: &RunReport) -> String {
    let stopped_at = report.outcome.stopped_at();
    let stages = report.stages.iter().map(|(stage, time)| {
        let mark = match &report.outcome {
            _ if stopped_at != Some(*stage) => "",
            Outcome::Superseded { .. } | Outcome::Interrupted(_) => " (cut off)",
            Outcome::RolledBack { .. } | Outcome::Failed(_) | Outcome::Down(_) => " (failed)",
            Outcome::Pushed(_) | Outcome::Deployed(_) => "",
        };
        format!("{stage} {}{mark}", phrase::length(*time))
    });
    stages.collect::<Vec<_>>().join(", ")
}

const fn because(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Poll => "by a poll",
        Trigger::Webhook => "by GitHub's webhook",
        Trigger::OwnPush => "after the push",
        Trigger::Command => "by command",
        Trigger::Recovery => "to recover from a crash",
        Trigger::Watch => "by the watch over the deployment",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::time::Duration;

    use chrono::DateTime;
    use chrono::TimeDelta;

    use super::Surroundings;
    use super::run_mail;
    use crate::fold::Repeats;
    use crate::fold::Role;
    use crate::fold::Streak;
    use crate::mail_text::Mail;
    use crate::model::Blame;
    use crate::model::Bump;
    use crate::model::Commit;
    use crate::model::Failure;
    use crate::model::Hold;
    use crate::model::Outcome;
    use crate::model::PutAside;
    use crate::model::Release;
    use crate::model::RunKind;
    use crate::model::RunNumber;
    use crate::model::RunReport;
    use crate::model::Stage;
    use crate::model::Trigger;

    const HERE: Surroundings<'_> = Surroundings {
        host: "raspberrypi",
        role: Role::Deploys,
        previous: None,
        hold: None,
        repeats: None,
        fixed: None,
    };

    fn release(tag: &str) -> Release {
        let digest = format!("sha256:{}", tag.repeat(64).get(..64).unwrap());
        Release { tag: tag.parse().unwrap(), digest: digest.parse().unwrap() }
    }

    fn failure(stage: Stage, blame: Blame, reason: &str) -> Failure {
        Failure { stage, blame, reason: reason.to_owned() }
    }

    fn ci(outcome: Outcome) -> RunReport {
        let started_at = DateTime::from_timestamp(1_795_414_500, 0).unwrap();
        RunReport {
            number: RunNumber(7),
            project: "hello".parse().unwrap(),
            kind: RunKind::Ci,
            trigger: Trigger::Poll,
            commit: Some(Commit {
                sha: "1a2b3c4d5e".repeat(4).parse().unwrap(),
                subject: "add login".to_owned(),
                author: "Ann".to_owned(),
                url: "https://github.com/me/hello/commit/1a2b3c4".to_owned(),
                bump: Bump::Patch,
                skip: None,
            }),
            candidate: None,
            outcome,
            serving: Some(release("41")),
            started_at,
            finished_at: started_at + TimeDelta::seconds(75),
            stages: vec![
                (Stage::Checkout, Duration::from_millis(1250)),
                (Stage::Test, Duration::from_millis(73_400)),
            ],
            gap: None,
            log: "/var/log/homeport/hello/2026-11-23T06-15-00Z_run-000007.log".into(),
            last_lines: Vec::new(),
        }
    }

    fn cd(outcome: Outcome) -> RunReport {
        RunReport {
            kind: RunKind::Cd,
            trigger: Trigger::OwnPush,
            candidate: Some(release("42")),
            stages: vec![
                (Stage::Pull, Duration::from_millis(9300)),
                (Stage::Swap, Duration::from_millis(1900)),
                (Stage::Prove, Duration::from_millis(63_800)),
            ],
            gap: Some(Duration::from_millis(2340)),
            ..ci(outcome)
        }
    }

    fn print(mail: &Mail) -> String {
        let urgent = if mail.urgent { " (urgent)" } else { "" };
        format!("{}{urgent}\n--\n{}", mail.subject, mail.text)
    }

    #[test]
    fn a_way_back_by_command_says_what_was_put_aside() {
        let report = RunReport {
            trigger: Trigger::Command,
            candidate: Some(release("41")),
            ..cd(Outcome::Deployed(release("41")))
        };
        let newer = release("42");
        let since = DateTime::UNIX_EPOCH;
        let put_aside = vec![PutAside { tag: newer.tag.clone(), digest: Some(newer.digest.clone()), since }];
        let hold = Hold { kept: release("41"), put_aside };
        let around = Surroundings { previous: Some(&newer), hold: Some(&hold), ..HERE };
        let mail = run_mail(&report, &around);
        insta::assert_snapshot!(mail.subject, @"[hello] 41 deployed by command: back from 42");
        insta::assert_snapshot!(mail.text.lines().next().unwrap(), @"41 is running and has proven itself. It replaces 42, because you asked for it. homeport goes on by itself when there is something newer than 42.");
    }

    #[test]
    fn tests_failed() {
        let failed = failure(Stage::Test, Blame::Commit, "run the tests in python:3.12-slim: exit code 1");
        let output = ["def test_login():", ">       assert login() == 200", "E       assert 500 == 200"];
        let report =
            RunReport { last_lines: output.map(str::to_owned).to_vec(), ..ci(Outcome::Failed(failed)) };
        insta::assert_snapshot!(print(&run_mail(&report, &HERE)), @r#"
        [hello] tests failed for 1a2b3c4 "add login": 41 keeps running
        --
        The tests failed for 1a2b3c4 "add login"; 41 keeps running.

        Why: run the tests in python:3.12-slim: exit code 1

        Last lines of output:

            def test_login():
            >       assert login() == 200
            E       assert 500 == 200

        homeport does not try this commit again; it waits for a new one. If the commit was not to blame, `homeport retry hello` tries it again.

        Project   hello
        Running   41, sha256:4141414141414141414141414141414141414141414141414141414141414141
        Commit    1a2b3c4 "add login" by Ann
                  https://github.com/me/hello/commit/1a2b3c4
        Stages    checkout 1.2 s, test 1 min 13 s (failed)
        Run       7, started 2026-11-23 06:15 UTC by a poll, took 1 min 15 s
        Log       /var/log/homeport/hello/2026-11-23T06-15-00Z_run-000007.log
        Host      raspberrypi
        "#);
    }

    #[test]
    fn the_push_failed_again_and_again() {
        let failed = failure(Stage::Push, Blame::World, "push me/hello:42: connection timed out");
        let around = Surroundings {
            repeats: Some(Repeats { times: 7, since: DateTime::from_timestamp(1_795_390_000, 0).unwrap() }),
            ..HERE
        };
        insta::assert_snapshot!(print(&run_mail(&ci(Outcome::Failed(failed)), &around)), @r#"
        [hello] push failed for 1a2b3c4 "add login": 41 keeps running
        --
        The push failed for 1a2b3c4 "add login"; 41 keeps running.

        This happened 7 more times since 2026-11-22 23:26 UTC, without a mail each time.

        Why: push me/hello:42: connection timed out

        homeport tries again by itself, with growing pauses. `homeport retry hello` tries at once.

        Project   hello
        Running   41, sha256:4141414141414141414141414141414141414141414141414141414141414141
        Commit    1a2b3c4 "add login" by Ann
                  https://github.com/me/hello/commit/1a2b3c4
        Stages    checkout 1.2 s, test 1 min 13 s
        Run       7, started 2026-11-23 06:15 UTC by a poll, took 1 min 15 s
        Log       /var/log/homeport/hello/2026-11-23T06-15-00Z_run-000007.log
        Host      raspberrypi
        "#);
    }

    #[test]
    fn the_build_failed_where_nothing_is_deployed() {
        let failed = failure(Stage::Build, Blame::Commit, "Dockerfile line 3: pip: not found");
        let report = RunReport { serving: None, ..ci(Outcome::Failed(failed)) };
        let around = Surroundings { role: Role::OnlyBuilds, ..HERE };
        insta::assert_snapshot!(print(&run_mail(&report, &around)), @r#"
        [hello] build failed for 1a2b3c4 "add login"
        --
        The build failed for 1a2b3c4 "add login".

        Why: Dockerfile line 3: pip: not found

        homeport does not try this commit again; it waits for a new one. If the commit was not to blame, `homeport retry hello` tries it again.

        Project   hello
        Commit    1a2b3c4 "add login" by Ann
                  https://github.com/me/hello/commit/1a2b3c4
        Stages    checkout 1.2 s, test 1 min 13 s
        Run       7, started 2026-11-23 06:15 UTC by a poll, took 1 min 15 s
        Log       /var/log/homeport/hello/2026-11-23T06-15-00Z_run-000007.log
        Host      raspberrypi
        "#);
    }

    #[test]
    fn pushed_where_nothing_is_deployed() {
        let report = RunReport { serving: None, ..ci(Outcome::Pushed(release("42"))) };
        let around = Surroundings { role: Role::OnlyBuilds, ..HERE };
        insta::assert_snapshot!(print(&run_mail(&report, &around)), @r#"
        [hello] 42 pushed
        --
        1a2b3c4 "add login" is in the registry as 42.

        Project   hello
        Commit    1a2b3c4 "add login" by Ann
                  https://github.com/me/hello/commit/1a2b3c4
        Image     42, sha256:4242424242424242424242424242424242424242424242424242424242424242
        Stages    checkout 1.2 s, test 1 min 13 s
        Run       7, started 2026-11-23 06:15 UTC by a poll, took 1 min 15 s
        Log       /var/log/homeport/hello/2026-11-23T06-15-00Z_run-000007.log
        Host      raspberrypi
        "#);
    }

    #[test]
    fn deployed() {
        let report = RunReport { serving: Some(release("42")), ..cd(Outcome::Deployed(release("42"))) };
        let before = release("41");
        let around = Surroundings { previous: Some(&before), ..HERE };
        insta::assert_snapshot!(print(&run_mail(&report, &around)), @r#"
        [hello] 42 deployed
        --
        42 is running and has proven itself. It replaces 41.

        homeport keeps watching it for a while, and goes back to 41 should it fail. So does `homeport rollback hello`, by command.

        Project   hello
        Running   42, sha256:4242424242424242424242424242424242424242424242424242424242424242
        Commit    1a2b3c4 "add login" by Ann
                  https://github.com/me/hello/commit/1a2b3c4
        Away      2.3 s, in which nothing answered
        Stages    pull 9.3 s, swap 1.9 s, prove 1 min 03 s
        Run       7, started 2026-11-23 06:15 UTC after the push, took 1 min 15 s
        Log       /var/log/homeport/hello/2026-11-23T06-15-00Z_run-000007.log
        Host      raspberrypi
        "#);
    }

    #[test]
    fn deployed_for_the_first_time_after_failures() {
        let report = RunReport {
            serving: Some(release("42")),
            commit: None,
            gap: None,
            trigger: Trigger::Command,
            ..cd(Outcome::Deployed(release("42")))
        };
        let since = DateTime::from_timestamp(1_795_390_000, 0).unwrap();
        let around = Surroundings { fixed: Some(Streak { failures: 3, since }), ..HERE };
        insta::assert_snapshot!(print(&run_mail(&report, &around)), @"
        [hello] FIXED: 42 deployed
        --
        42 is running and has proven itself.

        This ends a series of failures: 3 runs had failed since 2026-11-22 23:26 UTC.

        Project   hello
        Running   42, sha256:4242424242424242424242424242424242424242424242424242424242424242
        Stages    pull 9.3 s, swap 1.9 s, prove 1 min 03 s
        Run       7, started 2026-11-23 06:15 UTC by command, took 1 min 15 s
        Log       /var/log/homeport/hello/2026-11-23T06-15-00Z_run-000007.log
        Host      raspberrypi
        ");
    }

    #[test]
    fn rolled_back() {
        let failed =
            failure(Stage::Prove, Blame::Image, "GET http://172.17.0.3:5000/: 500 Internal Server Error");
        let report = RunReport {
            last_lines: vec!["Traceback (most recent call last):".to_owned(), "KeyError: 'DB'".to_owned()],
            ..cd(Outcome::RolledBack { failure: failed })
        };
        let before = release("41");
        let around = Surroundings { previous: Some(&before), ..HERE };
        insta::assert_snapshot!(print(&run_mail(&report, &around)), @r#"
        [hello] 42 rolled back: 41 is running again
        --
        42 did not hold and was rolled back; 41 is running again.

        Why: GET http://172.17.0.3:5000/: 500 Internal Server Error

        Last lines of output:

            Traceback (most recent call last):
            KeyError: 'DB'

        homeport does not deploy 42 again; it waits for a newer image. If the image was not to blame, `homeport retry hello` tries it again.

        Project   hello
        Running   41, sha256:4141414141414141414141414141414141414141414141414141414141414141
        Commit    1a2b3c4 "add login" by Ann
                  https://github.com/me/hello/commit/1a2b3c4
        Image     42, sha256:4242424242424242424242424242424242424242424242424242424242424242
        Away      2.3 s, in which nothing answered
        Stages    pull 9.3 s, swap 1.9 s, prove 1 min 03 s (failed)
        Run       7, started 2026-11-23 06:15 UTC after the push, took 1 min 15 s
        Log       /var/log/homeport/hello/2026-11-23T06-15-00Z_run-000007.log
        Host      raspberrypi
        "#);
    }

    #[test]
    fn rolled_back_by_the_watch() {
        let failed = failure(Stage::Prove, Blame::Image, "restarted 5 times in 2 min");
        let report = RunReport { trigger: Trigger::Watch, ..cd(Outcome::RolledBack { failure: failed }) };
        let mail = run_mail(&report, &HERE);
        insta::assert_snapshot!(mail.subject, @"[hello] 42 rolled back: 41 is running again");
        insta::assert_snapshot!(mail.text.lines().next().unwrap(), @"42 was deployed, failed while it was watched, and was rolled back; 41 is running again.");
    }

    #[test]
    fn down() {
        let failed = failure(Stage::Rollback, Blame::Image, "start hello: port 5000 is taken");
        let report = RunReport { serving: None, gap: None, ..cd(Outcome::Down(failed)) };
        let before = release("41");
        let around = Surroundings { previous: Some(&before), ..HERE };
        insta::assert_snapshot!(print(&run_mail(&report, &around)), @r#"
        [hello] DOWN: 42 failed and 41 did not come back (urgent)
        --
        The service is down: 42 failed and 41 did not come back.

        Why: start hello: port 5000 is taken

        homeport does not deploy 42 again; it waits for a newer image. If the image was not to blame, `homeport retry hello` tries it again.

        The service stays down until something can be started. What is left of it: `docker ps -a --filter label=homeport.project=hello`. What the failed container said: `homeport logs 7`.

        Project   hello
        Running   nothing
        Commit    1a2b3c4 "add login" by Ann
                  https://github.com/me/hello/commit/1a2b3c4
        Image     42, sha256:4242424242424242424242424242424242424242424242424242424242424242
        Stages    pull 9.3 s, swap 1.9 s, prove 1 min 03 s
        Run       7, started 2026-11-23 06:15 UTC after the push, took 1 min 15 s
        Log       /var/log/homeport/hello/2026-11-23T06-15-00Z_run-000007.log
        Host      raspberrypi
        "#);
    }

    #[test]
    fn every_other_ending_has_a_true_subject() {
        let failed = |stage, blame| Outcome::Failed(failure(stage, blame, "because"));
        let nothing = |report| RunReport { serving: None, ..report };
        let down = Outcome::Down(failure(Stage::Prove, Blame::Image, "because"));
        let rolled_back = Outcome::RolledBack { failure: failure(Stage::Prove, Blame::World, "because") };
        let reports = [
            ci(failed(Stage::Checkout, Blame::World)),
            RunReport { commit: None, ..ci(failed(Stage::Checkout, Blame::World)) },
            nothing(ci(failed(Stage::Test, Blame::Commit))),
            ci(Outcome::Pushed(release("42"))),
            cd(failed(Stage::Pull, Blame::World)),
            RunReport { candidate: None, ..cd(failed(Stage::Pull, Blame::World)) },
            nothing(cd(failed(Stage::Prove, Blame::Image))),
            RunReport { serving: Some(release("42")), ..cd(failed(Stage::Commit, Blame::World)) },
            nothing(cd(rolled_back)),
            nothing(cd(down)),
            cd(Outcome::Interrupted(Stage::Prove)),
        ];
        let said = reports.iter().map(|report| {
            let mail = run_mail(report, &HERE);
            format!("{}\n    {}", mail.subject, mail.text.lines().next().unwrap())
        });
        insta::assert_snapshot!(said.collect::<Vec<_>>().join("\n"), @r#"
        [hello] checkout failed for 1a2b3c4 "add login": 41 keeps running
            The checkout failed for 1a2b3c4 "add login"; 41 keeps running.
        [hello] checkout failed for the newest commit: 41 keeps running
            The checkout failed for the newest commit; 41 keeps running.
        [hello] tests failed for 1a2b3c4 "add login": nothing is running
            The tests failed for 1a2b3c4 "add login"; nothing is running.
        [hello] 42 pushed
            1a2b3c4 "add login" is in the registry as 42.
        [hello] 42 not deployed, pull failed: 41 keeps running
            42 was not deployed: the pull failed; 41 keeps running.
        [hello] the new image not deployed, pull failed: 41 keeps running
            The new image was not deployed: the pull failed; 41 keeps running.
        [hello] 42 not deployed, proof failed: nothing is running
            42 was not deployed: the proof failed; nothing is running.
        [hello] take-over failed for 42: 42 keeps running
            The take-over failed for 42; 42 keeps running.
        [hello] 42 rolled back: nothing is running
            42 did not hold and was rolled back; nothing is running.
        [hello] DOWN: 42 failed and nothing is running
            The service is down: 42 failed and nothing is running.
        [hello] run 7 was cut off in stage prove: 41 keeps running
            Run 7 was cut off in stage prove; 41 keeps running.
        "#);
    }

    #[test]
    fn strangers_words_can_neither_break_the_subject_nor_the_page() {
        let evil =
            "x\r\nBcc: you@example.org\u{202e}<script>alert(1)</script>".to_owned() + &"y".repeat(5000);
        let report = RunReport {
            commit: Some(Commit {
                sha: "1a2b3c4d5e".repeat(4).parse().unwrap(),
                subject: evil.clone(),
                author: evil.clone(),
                url: "javascript:alert(1)".to_owned(),
                bump: Bump::Patch,
                skip: None,
            }),
            last_lines: vec![format!("\u{1b}[2J{evil}"), "</pre><b>".to_owned()],
            ..ci(Outcome::Failed(failure(Stage::Test, Blame::Commit, &evil)))
        };
        let mail = run_mail(&report, &Surroundings { host: "<pi>", ..HERE });
        insta::assert_snapshot!(mail.subject, @r#"[hello] tests failed for 1a2b3c4 "x Bcc: you@example.org<script>alert(1)</script>yyyyyyyyyyyy…": 41 keeps running"#);
        assert!(
            !mail.html.contains("<script>")
                && !mail.html.contains("</pre><b>")
                && !mail.html.contains("<pi>")
        );
        assert!(!mail.html.contains("javascript:") && !mail.text.contains("javascript:"));
        let hidden = |c: char| c == '\u{202e}' || c.is_control() && c != '\n';
        assert!(!mail.text.contains(hidden) && !mail.html.contains(hidden));
        assert!(mail.text.len() < 10_000, "{}", mail.text.len());
    }

    #[test]
    fn the_longest_names_leave_room_for_what_is_running() {
        let long = Release { tag: "t".repeat(128).parse().unwrap(), ..release("42") };
        let report = RunReport {
            project: "p".repeat(64).parse().unwrap(),
            candidate: Some(long),
            ..cd(Outcome::Down(failure(Stage::Prove, Blame::Image, "because")))
        };
        let before = Release { tag: "s".repeat(128).parse().unwrap(), ..release("41") };
        let mail = run_mail(&report, &Surroundings { previous: Some(&before), ..HERE });
        assert!(mail.subject.chars().count() <= 200);
        assert!(mail.subject.ends_with("did not come back"), "{}", mail.subject);
    }
}
