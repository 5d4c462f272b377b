//! The database: what it keeps is there after the process is gone, and what belongs together is written
//! together.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use chrono::DateTime;
use chrono::Utc;
use homeport::clients::store::Begun;
use homeport::clients::store::Deployment;
use homeport::clients::store::Filer;
use homeport::clients::store::Filing;
use homeport::clients::store::Queued;
use homeport::clients::store::Store;
use homeport::clients::store::StoreError;
use homeport::clients::store::Verdict;
use homeport::config::project::Order;
use homeport::config::settings::ContainerSpec;
use homeport::config::settings::Proof;
use homeport::model::Blame;
use homeport::model::Commit;
use homeport::model::CommitSha;
use homeport::model::Failure;
use homeport::model::Outcome;
use homeport::model::ProjectName;
use homeport::model::Release;
use homeport::model::RunKind;
use homeport::model::RunNumber;
use homeport::model::RunReport;
use homeport::model::Stage;
use homeport::model::Trigger;
use homeport::swap::Journal;
use homeport::swap::Step;
use tempfile::TempDir;

/// A state folder and the names that the tests speak of.
struct Card {
    folder: TempDir,
    project: ProjectName,
}

impl Card {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), project: "web".parse().unwrap() }
    }

    fn open(&self) -> Store {
        Store::open(self.folder.path()).unwrap()
    }

    async fn begin(&self, store: &Store, kind: RunKind) -> RunNumber {
        let begun = Begun {
            project: self.project.clone(),
            kind,
            trigger: Trigger::Poll,
            commit: None,
            release: None,
            started_at: at(0),
        };
        let (number, _) =
            store.begin_run(begun, |number| PathBuf::from(format!("/logs/{number}.log"))).await.unwrap();
        number
    }

    fn report(&self, number: RunNumber, kind: RunKind, outcome: Outcome) -> RunReport {
        RunReport {
            number,
            project: self.project.clone(),
            kind,
            trigger: Trigger::Poll,
            commit: Some(Commit::unknown(sha())),
            candidate: Some(release(number.0)),
            outcome,
            serving: None,
            started_at: at(0),
            finished_at: at(60),
            stages: Vec::new(),
            gap: None,
            log: PathBuf::from("/logs/1.log"),
            last_lines: Vec::new(),
        }
    }

    async fn deploy(&self, store: &Store) -> RunNumber {
        let run = self.begin(store, RunKind::Cd).await;
        let release = release(run.0);
        let report = self.report(run, RunKind::Cd, Outcome::Deployed(release.clone()));
        let deployment = Deployment {
            run,
            release,
            container: "c0ffee".parse().unwrap(),
            image_id: format!("image-{run}"),
            replaced: None,
            spec: spec(),
            deployed_at: at(60),
        };
        store.finish_cd(report, Some(deployment), nothing()).await.unwrap();
        run
    }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
}

fn sha() -> CommitSha {
    "1234567890123456789012345678901234567890".parse().unwrap()
}

fn release(number: u64) -> Release {
    Release {
        tag: number.to_string().parse().unwrap(),
        digest: format!("sha256:{number:064x}").parse().unwrap(),
    }
}

fn spec() -> ContainerSpec {
    ContainerSpec {
        labels: BTreeMap::new(),
        name: "web".parse().unwrap(),
        ports: Vec::new(),
        env: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
        volumes: Vec::new(),
        network: None,
        stop_grace: Duration::from_secs(10),
        proof: Proof::default(),
    }
}

fn nothing() -> Filer {
    Box::new(|memory| Filing { memory, mail: None })
}

fn mail(id: &str) -> Queued {
    Queued {
        message_id: id.to_owned(),
        happened_at: at(60),
        subject: "[web] 1 deployed".to_owned(),
        text: "text".to_owned(),
        html: "<p>html</p>".to_owned(),
        log: None,
        urgent: false,
        attempts: 0,
    }
}

fn failure(stage: Stage, blame: Blame) -> Failure {
    Failure { stage, blame, reason: "it did not hold".to_owned() }
}

#[tokio::test]
async fn run_numbers_rise_over_restarts_and_none_is_given_twice() {
    let card = Card::new();
    let first = card.begin(&card.open(), RunKind::Ci).await;
    let store = card.open();
    let second = card.begin(&store, RunKind::Cd).await;
    assert_eq!((first, second), (RunNumber(1), RunNumber(2)));
    let row = store.run(second).await.unwrap().unwrap();
    assert_eq!((row.log, row.outcome.as_str()), (PathBuf::from("/logs/2.log"), "running"));
}

#[tokio::test]
async fn a_run_without_an_end_is_found_after_a_restart_with_the_stage_it_was_in() {
    let card = Card::new();
    let store = card.open();
    let run = card.begin(&store, RunKind::Ci).await;
    store.enter_stage(run, Stage::Build).await.unwrap();
    drop(store);
    let unfinished = card.open().unfinished_runs().await.unwrap();
    assert_eq!(
        unfinished.iter().map(|row| (row.number, row.stage)).collect::<Vec<_>>(),
        [(run, Some(Stage::Build))]
    );
}

#[tokio::test]
async fn a_commit_is_judged_by_its_own_failure_and_not_by_the_worlds() {
    let card = Card::new();
    let store = card.open();
    let run = card.begin(&store, RunKind::Ci).await;
    let worlds = Outcome::Failed(failure(Stage::Push, Blame::World));
    store.finish_ci(card.report(run, RunKind::Ci, worlds), None, nothing()).await.unwrap();
    assert_eq!(store.verdict(card.project.clone(), sha()).await.unwrap(), None);

    let run = card.begin(&store, RunKind::Ci).await;
    let own = Outcome::Failed(failure(Stage::Test, Blame::Commit));
    store.finish_ci(card.report(run, RunKind::Ci, own), None, nothing()).await.unwrap();
    let verdict = store.verdict(card.project.clone(), sha()).await.unwrap();
    assert_eq!(verdict, Some(Verdict::Failed { run, reason: "it did not hold".to_owned() }));
    let judged = store.last_judged(card.project.clone()).await.unwrap().map(|(sha, _)| sha);
    assert_eq!(judged, Some(sha()));
}

#[tokio::test]
async fn a_skipped_commit_stays_skipped_until_it_is_wanted_or_run() {
    let card = Card::new();
    let store = card.open();
    let run = card.begin(&store, RunKind::Ci).await;
    let pushed = Outcome::Pushed(release(1));
    store.finish_ci(card.report(run, RunKind::Ci, pushed), None, nothing()).await.unwrap();
    let newer: CommitSha = "b".repeat(40).parse().unwrap();
    let skip = || Verdict::Skipped { reason: "it says so".to_owned() };

    store.skip_commit(card.project.clone(), newer.clone(), "it says so".to_owned()).await.unwrap();
    store.skip_commit(card.project.clone(), sha(), "it says so".to_owned()).await.unwrap();

    let verdict = async |sha: &CommitSha| store.verdict(card.project.clone(), sha.clone()).await.unwrap();
    assert_eq!(verdict(&newer).await, Some(skip()));
    assert_eq!(verdict(&sha()).await, Some(Verdict::Pushed { run }), "what a run made of it stays");
    let last = store.last_judged(card.project.clone()).await.unwrap();
    assert_eq!(last, Some((newer.clone(), skip())), "it is newer than what the last run judged");

    store.want_commit(card.project.clone(), newer.clone()).await.unwrap();
    assert_eq!(verdict(&newer).await, Some(Verdict::Wanted));
    let last = store.last_judged(card.project.clone()).await.unwrap();
    assert_eq!(last, Some((sha(), Verdict::Pushed { run })));
}

#[tokio::test]
async fn a_tag_is_reserved_once_whatever_becomes_of_its_push() {
    let card = Card::new();
    let store = card.open();
    let run = card.begin(&store, RunKind::Ci).await;
    let tag = release(7).tag;
    assert!(store.reserve_tag(card.project.clone(), tag.clone(), run).await.unwrap());
    drop(store);
    let store = card.open();
    assert!(!store.reserve_tag(card.project.clone(), tag.clone(), run).await.unwrap());
    assert_eq!(store.reserved_tags(card.project.clone()).await.unwrap(), [tag]);
}

#[tokio::test]
async fn a_journal_survives_and_ends_with_its_run() {
    let card = Card::new();
    let store = card.open();
    let run = card.begin(&store, RunKind::Cd).await;
    let journal = Journal {
        run,
        project: card.project.clone(),
        attempt: 0,
        committed: None,
        order: Order::StopFirst,
        restoring: None,
        candidate: release(run.0),
        image_id: "image".to_owned(),
        spec: spec(),
        step: Step::Rollback(failure(Stage::Prove, Blame::Image)),
        old: Some("01d".parse().unwrap()),
        older: None,
        former_name: None,
    };
    store.write_journal(journal.clone()).await.unwrap();
    drop(store);
    let store = card.open();
    assert_eq!(store.journal(card.project.clone()).await.unwrap(), Some(journal));

    let outcome = Outcome::RolledBack { failure: failure(Stage::Prove, Blame::Image) };
    store.finish_cd(card.report(run, RunKind::Cd, outcome), None, nothing()).await.unwrap();
    assert_eq!(store.journal(card.project.clone()).await.unwrap(), None);
    let quarantined = store.quarantined(card.project.clone()).await.unwrap();
    assert_eq!(quarantined.iter().map(|q| &q.digest).collect::<Vec<_>>(), [&release(run.0).digest]);
}

#[tokio::test]
async fn a_deployment_that_is_taken_back_in_its_watch_hands_its_place_to_the_one_before() {
    let card = Card::new();
    let store = card.open();
    let first = card.deploy(&store).await;
    let second = card.deploy(&store).await;
    assert_eq!(store.current(card.project.clone()).await.unwrap().unwrap().run, second);
    assert_eq!(store.previous(card.project.clone()).await.unwrap().unwrap().run, first);

    let run = card.begin(&store, RunKind::Cd).await;
    let outcome = Outcome::RolledBack { failure: failure(Stage::Prove, Blame::Image) };
    let report = RunReport { candidate: Some(release(second.0)), ..card.report(run, RunKind::Cd, outcome) };
    // The same release with a changed configuration: its container is the one that is back.
    store.finish_cd(report.clone(), None, nothing()).await.unwrap();
    assert_eq!(store.current(card.project.clone()).await.unwrap().unwrap().run, second);

    store.finish_cd(RunReport { trigger: Trigger::Watch, ..report }, None, nothing()).await.unwrap();
    assert_eq!(store.current(card.project.clone()).await.unwrap().unwrap().run, first);
    assert_eq!(store.previous(card.project.clone()).await.unwrap(), None);
}

#[tokio::test]
async fn a_mail_waits_until_it_is_sent_and_the_same_one_waits_once() {
    let card = Card::new();
    let store = card.open();
    let run = card.begin(&store, RunKind::Ci).await;
    let filing: Filer = Box::new(|memory| Filing { memory, mail: Some(mail("a@b")) });
    store.finish_ci(card.report(run, RunKind::Ci, Outcome::Pushed(release(1))), None, filing).await.unwrap();
    store.enqueue(mail("a@b")).await.unwrap();
    drop(store);

    let store = card.open();
    assert_eq!(store.due_mails(at(60)).await.unwrap(), [mail("a@b")]);
    store.mail_failed("a@b".to_owned(), "nobody listens".to_owned(), at(120)).await.unwrap();
    assert_eq!(store.due_mails(at(60)).await.unwrap(), []);
    assert_eq!(store.next_mail_at().await.unwrap(), Some(at(120)));
    assert_eq!(store.due_mails(at(120)).await.unwrap(), [Queued { attempts: 1, ..mail("a@b") }]);
    store.mail_sent("a@b".to_owned()).await.unwrap();
    assert_eq!(store.next_mail_at().await.unwrap(), None);
}

#[tokio::test]
async fn an_outbox_gives_up_what_is_too_old_or_too_much() {
    let card = Card::new();
    let store = card.open();
    for n in 0..5 {
        store.enqueue(Queued { happened_at: at(n), ..mail(&format!("{n}@b")) }).await.unwrap();
    }
    let given_up = store.trim_outbox(at(100), Duration::from_secs(98), 2).await.unwrap();
    assert_eq!(given_up, 3);
    let left = store.due_mails(at(100)).await.unwrap();
    assert_eq!(left.iter().map(|m| m.message_id.as_str()).collect::<Vec<_>>(), ["3@b", "4@b"]);
}

#[tokio::test]
async fn history_can_be_looked_at_beside_the_agent_and_is_for_its_user_alone() {
    let card = Card::new();
    assert!(matches!(Store::open_to_look(card.folder.path()), Err(StoreError::Absent(_))));
    let store = card.open();
    let run = card.begin(&store, RunKind::Ci).await;
    let looker = Store::open_to_look(card.folder.path()).unwrap();
    assert_eq!(looker.runs(None, 10).await.unwrap().len(), 1);
    assert!(looker.enter_stage(run, Stage::Test).await.is_err());
    for name in ["homeport.db", "homeport.db-wal", "homeport.db-shm"] {
        let mode = std::fs::metadata(card.folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_database_of_an_older_homeport_is_led_to_the_present_and_keeps_what_it_holds() {
    let card = Card::new();
    let store = card.open();
    let run = card.deploy(&store).await;
    drop(store);
    let file = rusqlite::Connection::open(Store::path(card.folder.path())).unwrap();
    file.execute_batch("DROP TABLE commit_statuses; DROP TABLE commit_orders; PRAGMA user_version = 1")
        .unwrap();
    drop(file);

    let store = card.open();

    let current = store.current(card.project.clone()).await.unwrap();
    assert_eq!(current.map(|deployment| deployment.run), Some(run));
    assert_eq!(store.untold_statuses().await.unwrap(), []);
}

#[tokio::test]
async fn a_database_of_a_newer_homeport_is_refused_and_left_alone() {
    let card = Card::new();
    drop(card.open());
    let file = rusqlite::Connection::open(Store::path(card.folder.path())).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    let refused = Store::open(card.folder.path()).unwrap_err();
    assert!(matches!(refused, StoreError::TooNew { found: 99, .. }), "{refused}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_an_error_with_its_name() {
    let card = Card::new();
    std::fs::write(
        Store::path(card.folder.path()),
        "not a database, but long enough to be read as one".repeat(99),
    )
    .unwrap();
    let refused = Store::open(card.folder.path()).unwrap_err();
    assert!(refused.to_string().contains("homeport.db"), "{refused}");
}
