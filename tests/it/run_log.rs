//! Run logs on a real file system: what is there after a kill, on a full disk, after a flood of output.

use std::io;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use homeport::logging::redact::Redactor;
use homeport::logging::retention;
use homeport::logging::retention::Keep;
use homeport::logging::root::Root;
use homeport::logging::root::Style;
use homeport::logging::run_log::NewRunLog;
use homeport::logging::run_log::OUTPUT_LIMIT;
use homeport::logging::run_log::RunLog;
use homeport::model::ProjectName;
use homeport::model::RunNumber;
use homeport::model::Stage;
use secrecy::SecretString;
use tempfile::TempDir;

const SECRET: &str = "ghp_0123456789";
const FILE: &str = "hello/2026-11-23T06-15-00Z_run-000042.log";

fn start() -> DateTime<Utc> {
    "2026-11-23T06:15:00.123Z".parse().unwrap()
}

fn project() -> ProjectName {
    "hello".parse().unwrap()
}

fn new_log<'a>(dir: &'a Path, project: &'a ProjectName) -> NewRunLog<'a> {
    NewRunLog {
        log_dir: dir,
        project,
        number: RunNumber(42),
        started_at: start(),
        redactor: Redactor::new([&SecretString::from(SECRET)], []),
        now: Arc::new(start),
        output_limit: OUTPUT_LIMIT,
        journal: slog::Logger::root(slog::Discard, slog::o!()),
    }
}

fn run_log(dir: &Path) -> RunLog {
    RunLog::create(new_log(dir, &project())).unwrap()
}

fn text(dir: &Path) -> String {
    std::fs::read_to_string(dir.join(FILE)).unwrap()
}

#[test]
fn each_line_is_in_the_file_as_soon_as_it_was_said() {
    let dir = TempDir::new().unwrap();
    let log = run_log(dir.path());
    log.header("trigger poll: main 1a2b3c4 -> 5d6e7f8");
    log.line(Stage::Checkout, "fetching main\nwith ghp_0123456789");
    let expected = "\
2026-11-23T06:15:00.123Z run       trigger poll: main 1a2b3c4 -> 5d6e7f8
2026-11-23T06:15:00.123Z checkout  fetching main
2026-11-23T06:15:00.123Z checkout  with [redacted]
";
    assert_eq!(text(dir.path()), expected);

    let output = log.output(Stage::Test);
    output(b"collected 4 items\n2026-11-23T06:15:00.123Z run       forg");
    let expected = format!("{expected}2026-11-23T06:15:00.123Z test      | collected 4 items\n");
    assert_eq!(text(dir.path()), expected);
    output(b"ed\x1b[0m");
    drop(output);
    let forged = "2026-11-23T06:15:00.123Z test      | 2026-11-23T06:15:00.123Z run       forged\n";
    assert_eq!(text(dir.path()), format!("{expected}{forged}"));
}

#[test]
fn the_file_is_the_owners_and_his_groups_and_never_overwritten() {
    let dir = TempDir::new().unwrap();
    let log = run_log(dir.path());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(log.path(), dir.path().join(FILE));
    assert_eq!(mode(log.path()) & !0o640, 0);
    assert_eq!(mode(&dir.path().join("hello")) & !0o750, 0);
    let again = RunLog::create(new_log(dir.path(), &project())).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn a_begun_line_is_written_when_its_stage_ends() {
    let dir = TempDir::new().unwrap();
    let log = run_log(dir.path());
    let (test, build) = (log.output(Stage::Test), log.output(Stage::Build));
    test(b"no line end");
    build(b"still going");
    log.end_stage(Stage::Test).await;
    assert!(text(dir.path()).ends_with("test      | no line end\n"));
    assert!(!text(dir.path()).contains("still going"));
}

#[test]
fn the_last_lines_of_each_stage_are_kept_for_the_mail() {
    let dir = TempDir::new().unwrap();
    let log = run_log(dir.path());
    log.line(Stage::Checkout, "fetched");
    let output = log.output(Stage::Test);
    for n in 1..=40 {
        output(format!("line {n} {SECRET}\n").as_bytes());
    }
    let last = log.last_lines(Stage::Test);
    assert_eq!(
        (last.len(), last[0].as_str(), last[29].as_str()),
        (30, "line 11 [redacted]", "line 40 [redacted]")
    );
    assert_eq!(log.last_lines(Stage::Checkout), ["fetched"]);
    assert!(log.last_lines(Stage::Push).is_empty());
}

#[tokio::test]
async fn of_a_flood_the_head_and_the_end_are_kept() {
    let dir = TempDir::new().unwrap();
    let log = RunLog::create(NewRunLog { output_limit: 50_000, ..new_log(dir.path(), &project()) }).unwrap();
    let output = log.output(Stage::Test);
    let chunk = "flood of output that does not end\n".repeat(1000);
    for _ in 0..100 {
        output(chunk.as_bytes());
    }
    output(b"the very last line\n");
    assert!(text(dir.path()).len() < 51_000);
    assert!(text(dir.path()).contains("the limit of output per run is reached"));
    log.line(Stage::Test, "tests failed");
    log.end_stage(Stage::Test).await;
    let text = text(dir.path());
    assert!(text.contains("bytes) left out here"), "{}", &text[text.len() - 500..]);
    assert!(text.ends_with("test      | the very last line\n"));
    assert!(text.len() < 51_000 + 66_000);
    assert!(text.lines().all(|line| line.starts_with("2026-11-23T06:15:00.123Z ")));
}

/// Runs [`as_a_child`] in a process of its own, by way of a shell.
fn child(dir: &Path, task: &str, shell_prefix: &str) -> std::process::ExitStatus {
    let test = std::env::current_exe().unwrap();
    Command::new("sh")
        .arg("-c")
        .arg(format!("{shell_prefix} exec \"$0\" --exact run_log::as_a_child"))
        .arg(test)
        .env("RUN_LOG_CHILD", task)
        .env("RUN_LOG_DIR", dir)
        .output()
        .unwrap()
        .status
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The other side of [`child`]; does nothing unless called from there.
#[test]
fn as_a_child() {
    let Ok(task) = std::env::var("RUN_LOG_CHILD") else { return };
    let dir = std::env::var("RUN_LOG_DIR").unwrap();
    let dir = Path::new(&dir);
    let memory = Memory::default();
    let root = Root::new(memory.clone(), Style::Plain, slog::Level::Info, Arc::new(start));
    let log = RunLog::create(NewRunLog { journal: root.logger.clone(), ..new_log(dir, &project()) }).unwrap();
    let output = log.output(Stage::Test);
    match task.as_str() {
        "is killed" => {
            output(b"half a line\nand ");
            log.line(Stage::Test, "the last words");
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
        "runs out of disk" => {
            for n in 0..1000 {
                output(format!("line {n}\n").as_bytes());
            }
            assert_eq!(log.last_lines(Stage::Test)[29], "line 999");
            drop((output, log, root));
            let journal = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
            assert_eq!(journal.matches("cannot write the run log").count(), 1, "{journal}");
        }
        other => panic!("no such task: {other}"),
    }
}

#[test]
fn a_killed_agent_leaves_every_line_it_had_said() {
    let dir = TempDir::new().unwrap();
    assert_eq!(child(dir.path(), "is killed", "").signal(), Some(9));
    assert_eq!(
        text(dir.path()),
        "2026-11-23T06:15:00.123Z test      | half a line\n2026-11-23T06:15:00.123Z test      the last words\n"
    );
}

#[test]
fn a_full_disk_costs_lines_but_neither_the_run_nor_the_form_of_the_file() {
    let dir = TempDir::new().unwrap();
    // A limit on the size of files stands in for the disk: it too lets the last write end half-way.
    let status = child(dir.path(), "runs out of disk", "trap '' XFSZ; ulimit -f 16;");
    assert!(status.success(), "{status}");
    let text = text(dir.path());
    assert!((8000..=16 * 1024).contains(&text.len()), "{}", text.len());
    assert!(text.ends_with('\n'));
    for (n, line) in text.lines().enumerate() {
        assert_eq!(line, format!("2026-11-23T06:15:00.123Z test      | line {n}"));
    }
}

#[test]
fn without_a_file_the_log_still_keeps_the_last_lines() {
    let dir = TempDir::new().unwrap();
    let name = project();
    let log = RunLog::in_memory(new_log(dir.path(), &name), &io::Error::other("no space"));
    log.output(Stage::Test)(b"failed: 1\n");
    assert_eq!(log.last_lines(Stage::Test), ["failed: 1"]);
    assert!(!dir.path().join(FILE).exists());
}

#[test]
fn old_logs_go_and_other_files_stay() {
    let dir = TempDir::new().unwrap();
    let name = project();
    assert!(retention::sweep(dir.path(), &name, &Keep::default(), start()).unwrap().is_empty());
    for number in 1..=9_u32 {
        let started_at = start() - TimeDelta::days(100 - i64::from(number));
        let number = RunNumber(u64::from(number));
        RunLog::create(NewRunLog { number, started_at, ..new_log(dir.path(), &name) }).unwrap();
    }
    std::fs::write(dir.path().join("hello/notes.log"), "").unwrap();
    let removed = retention::sweep(dir.path(), &name, &Keep::default(), start()).unwrap();
    assert_eq!(removed.len(), 4);
    assert_eq!(std::fs::read_dir(dir.path().join("hello")).unwrap().count(), 6);
}
