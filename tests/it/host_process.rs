//! Tests on the host: real processes that behave, fork, hide and refuse to die.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use homeport::ci::script::script;
use homeport::clients::process::Fence;
use homeport::clients::process::HostExit;
use homeport::clients::process::HostRun;
use homeport::clients::process::passed_on;
use homeport::clients::process::run_host;
use homeport::model::RunNumber;
use tempfile::TempDir;

const PLENTY: Duration = Duration::from_secs(60);

struct Place {
    dir: TempDir,
    home: PathBuf,
    tmp: PathBuf,
    hidden: Vec<PathBuf>,
}

impl Place {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        Self { home: dir.path().join("home"), tmp: dir.path().join("tmp"), hidden: Vec::new(), dir }
    }

    fn run<'a>(&'a self, script: &'a str) -> HostRun<'a> {
        HostRun {
            program: Path::new(env!("CARGO_BIN_EXE_homeport")),
            number: RunNumber(42),
            script,
            dir: self.dir.path(),
            home: &self.home,
            tmp: &self.tmp,
            hidden: &self.hidden,
            env: passed_on(),
            timeout: PLENTY,
            grace: PLENTY,
        }
    }

    /// The process whose number a script wrote into `file`.
    fn pid(&self, file: &str) -> Option<u32> {
        std::fs::read_to_string(self.dir.path().join(file)).ok()?.trim().parse().ok()
    }
}

async fn outcome(run: HostRun<'_>) -> (HostExit, String) {
    let output = Mutex::new(Vec::new());
    let exit =
        run_host(&run, &|_| (), &|bytes| output.lock().unwrap().extend_from_slice(bytes)).await.unwrap();
    (exit, String::from_utf8(output.into_inner().unwrap()).unwrap())
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, fields)| !fields.trim_start().starts_with('Z'))
}

fn commands(commands: &[&str]) -> String {
    script(&commands.iter().map(|&c| c.to_owned()).collect::<Vec<_>>())
}

#[tokio::test]
async fn commands_are_shown_and_their_output_and_errors_keep_their_order() {
    let place = Place::new();
    let script = commands(&["echo out; echo err >&2; echo out", "cd /; export A='50%'", "echo \"$PWD $A\""]);
    let (exit, output) = outcome(place.run(&script)).await;
    assert_eq!(exit, HostExit::Code(0));
    assert!(exit.is_success());
    insta::assert_snapshot!(output, @r#"
    + echo out; echo err >&2; echo out
    out
    err
    out
    + cd /; export A='50%'
    + echo "$PWD $A"
    / 50%
    "#);
}

#[tokio::test]
async fn the_first_failure_ends_the_script_with_its_own_code() {
    for failing in ["exit 7", "(exit 7)", "cd / && (exit 7) && true", "false || (exit 7)", "(exit 7) && true"]
    {
        let script = commands(&["true", failing, "echo not reached"]);
        let place = Place::new();
        let (exit, output) = outcome(place.run(&script)).await;
        assert_eq!(exit, HostExit::Code(7), "{failing}");
        assert!(!output.contains("\nnot reached"), "{failing}: {output}");
    }
}

#[tokio::test]
async fn no_command_can_break_out_of_its_quotes() {
    let shells = ["dash", "bash", "busybox sh"];
    let odd =
        ["'", "\"", "echo \\", "echo '%s' \"%d\" 100%", "echo a\necho b", "if true", "`", "$(", "# note"];
    for shell in shells {
        for command in odd {
            let script = commands(&[command, "echo next"]);
            let program = format!("{shell} -c \"$1\"");
            let output =
                std::process::Command::new("sh").args(["-c", &program, "sh", &script]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let shown = format!("+ {}\n", command.replace('\n', "\n> "));
            assert!(text.starts_with(&shown), "{shell}: {command}: {text}");
            assert_eq!(
                text.ends_with("+ echo next\nnext\n"),
                output.status.success(),
                "{shell}: {command}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn the_environment_is_scrubbed() {
    let place = Place::new();
    let (_, output) = outcome(place.run("env")).await;
    let known = [
        "PATH",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "HOME",
        "TMPDIR",
        "CI",
        "HOMEPORT_RUN",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
    ];
    for line in output.lines() {
        let name = line.split_once('=').unwrap().0;
        assert!(known.contains(&name), "{line}");
    }
    assert!(output.contains(&format!("HOME={}\n", place.home.display())));
    assert!(output.contains("CI=true\n"));
    assert!(place.tmp.is_dir());
}

#[tokio::test]
async fn nothing_can_be_asked_of_a_person() {
    let place = Place::new();
    let (exit, output) =
        outcome(place.run("cat; if (: </dev/tty) 2>/dev/null; then echo a terminal; fi")).await;
    assert_eq!((exit, output.as_str()), (HostExit::Code(0), ""));
}

#[tokio::test]
async fn the_strict_umask_of_the_service_does_not_reach_the_tests() {
    if std::env::var_os("HAS_STRICT_UMASK").is_none() {
        let own_name = "host_process::the_strict_umask_of_the_service_does_not_reach_the_tests";
        let again = std::process::Command::new("sh")
            .args(["-c", "umask 027; exec \"$0\" --exact \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg(own_name)
            .env("HAS_STRICT_UMASK", "yes")
            .status()
            .unwrap();
        assert!(again.success());
        return;
    }
    let place = Place::new();
    let (_, output) = outcome(place.run("umask")).await;
    assert_eq!(output, "0022\n");
}

#[tokio::test]
async fn tests_give_way_to_the_service_in_time_and_memory() {
    let place = Place::new();
    let (_, output) = outcome(place.run("nice; cat /proc/self/oom_score_adj; nproc")).await;
    let said: Vec<&str> = output.lines().collect();
    let [nice, score, processors] = said[..] else { panic!("{output}") };
    assert!(nice.parse::<i32>().unwrap() >= 10, "{nice}");
    assert_eq!(score, "500");
    let all = std::thread::available_parallelism().unwrap().get();
    assert_eq!(processors.parse::<usize>().unwrap(), (all - 1).max(1), "one is left to what serves");
}

#[tokio::test]
async fn tests_write_when_the_disk_has_nothing_else_to_do() {
    let place = Place::new();
    let (_, output) = outcome(place.run("ionice")).await;
    assert_eq!(output, "idle\n", "ionice is of util-linux, which Debian always has");
}

#[tokio::test]
async fn processes_that_take_turns_are_gone_at_the_limit() {
    let place = Place::new();
    let marker = format!("turns-{}", std::process::id());
    // Each starts the next and ends, so that there are never the same ones for two looks in a row.
    std::fs::write(place.dir.path().join(&marker), "trap '' TERM; sh \"$0\" &").unwrap();
    let script = format!("for i in 1 2 3 4 5 6 7 8; do sh {marker} & done; wait; sleep 1000");
    let limits = (Duration::from_secs(1), Duration::from_millis(200));
    let run = HostRun { timeout: limits.0, grace: limits.1, ..place.run(&script) };
    let (exit, _) = outcome(run).await;
    assert!(matches!(exit, HostExit::TimedOut { .. }), "{exit}");
    assert_eq!(naming(&marker), 0);
}

#[tokio::test]
async fn those_that_multiply_in_sessions_of_their_own_are_stopped_in_time() {
    let place = Place::new();
    let marker = format!("many-{}", std::process::id());
    // Each starts two and ends, in the background of a script that has ended; 4,095 at a time at the most.
    let two =
        "trap '' TERM; n=$(($1 - 1)); if test $n -ge 0; then setsid sh $0 $n & sh $0 $n & fi; sleep 1000";
    std::fs::write(place.dir.path().join(&marker), two).unwrap();
    let started = Instant::now();
    let (exit, output) = outcome(place.run(&format!("sh {marker} 11 & sleep 1; exit 3"))).await;
    // The kernel holds anybody but root to the same number.
    let is_held = output.contains("fork") || matches!(exit, HostExit::TooMany { .. } | HostExit::Code(3));
    assert!(is_held, "{exit}");
    assert_eq!(naming(&marker), 0);
    assert!(started.elapsed() < PLENTY);
}

/// How many processes have this in their command line.
fn naming(marker: &str) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let naming = all.filter(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.windows(marker.len()).any(|part| part == marker.as_bytes())
    });
    naming.count()
}

/// What holds a script on this kernel, by what it is told.
async fn fence_of(run: HostRun<'_>) -> (Fence, String) {
    let (fence, output) = (Mutex::new(None), Mutex::new(Vec::new()));
    let out = |bytes: &[u8]| output.lock().unwrap().extend_from_slice(bytes);
    run_host(&run, &|told| *fence.lock().unwrap() = Some(told), &out).await.unwrap();
    (fence.into_inner().unwrap().unwrap(), String::from_utf8(output.into_inner().unwrap()).unwrap())
}

#[tokio::test]
async fn what_is_hidden_can_be_neither_read_nor_changed_where_the_kernel_has_landlock() {
    let (mut place, secrets) = (Place::new(), TempDir::new().unwrap());
    let canary = secrets.path().join("canary");
    std::fs::write(&canary, "canary").unwrap();
    place.hidden = vec![secrets.path().canonicalize().unwrap()];
    let script = format!(
        "cat {0}/canary || echo unread; ls {0} || echo unlisted; echo changed >{0}/canary || echo unchanged\n\
         rm -f {0}/canary || :; ls /home /root || echo homeless; echo here >file; cat file; echo t >$TMPDIR/t; cat /etc/hostname >/dev/null; \
         readlink /proc/{1}/exe >/dev/null || echo blind; echo mine",
        secrets.path().display(),
        std::process::id(),
    );
    let (fence, output) = fence_of(place.run(&format!("{{ {script}; }} 2>/dev/null"))).await;
    let is_fenced = fence != Fence::None;
    for word in ["unread", "unlisted", "unchanged", "homeless", "blind"] {
        assert_eq!(output.lines().any(|line| line == word), is_fenced, "{word} with {fence:?}: {output}");
    }
    assert_eq!(canary.exists(), is_fenced);
    assert!(output.contains("here\n") && output.ends_with("mine\n"), "{output}");
}

#[tokio::test]
async fn no_process_outside_can_be_signalled_where_the_kernel_knows_how() {
    let place = Place::new();
    let mut other = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let script = format!(
        "kill -9 {} 2>/dev/null || echo refused; kill -9 $PPID 2>/dev/null || echo refused; echo alive",
        other.id()
    );
    let (fence, output) = fence_of(place.run(&script)).await;
    let ended = other.try_wait().unwrap();
    other.kill().ok();
    other.wait().unwrap();
    let is_forbidden = fence >= Fence::Signals;
    assert_eq!(ended.is_none(), is_forbidden, "{fence:?}: {output}");
    assert_eq!(output == "refused\nrefused\nalive\n", is_forbidden, "{fence:?}: {output}");
}

#[tokio::test]
async fn tests_end_with_the_agent() {
    let place = Place::new();
    let program = place.run("").program;
    let order = serde_json::json!({
        "script": "trap '' TERM; (env -i setsid sleep 1000 & echo $! >daemon); echo $$ >shell; while :; do sleep 0.1; done",
        "grace": PLENTY, "own": [place.dir.path()], "hidden": [],
    });
    let mut supervisor = std::process::Command::new(program)
        .args(["sandbox-exec", &order.to_string()])
        .current_dir(place.dir.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PLENTY;
    while place.pid("daemon").is_none() || place.pid("shell").is_none() {
        assert!(Instant::now() < deadline, "it does not start");
        std::thread::yield_now();
    }
    // As when the agent is killed: its end of the pipe is closed by the kernel.
    drop(supervisor.stdin.take());
    assert!(supervisor.wait().unwrap().success());
    assert!(["daemon", "shell"].iter().all(|file| !is_alive(place.pid(file).unwrap())));
}

#[tokio::test]
async fn a_lot_of_output_comes_through_whole() {
    let place = Place::new();
    let count = Mutex::new(0);
    let run = place.run("head -c 30000000 /dev/zero; echo end");
    let exit = run_host(&run, &|_| (), &|bytes| *count.lock().unwrap() += bytes.len()).await.unwrap();
    assert_eq!((exit, count.into_inner().unwrap()), (HostExit::Code(0), 30_000_004));
}

#[tokio::test]
async fn at_the_limit_the_whole_tree_goes() {
    let place = Place::new();
    let script = "(sleep 1000 & echo $! >child; wait) & echo started; wait";
    let (exit, output) = outcome(HostRun { timeout: Duration::from_secs(2), ..place.run(script) }).await;
    assert_eq!(exit, HostExit::TimedOut { limit: Duration::from_secs(2) });
    assert_eq!(exit.to_string(), "was stopped at its limit of 2 s");
    assert_eq!(output, "started\n");
    assert!(!is_alive(place.pid("child").unwrap()));
}

#[tokio::test]
async fn at_the_limit_a_process_may_still_say_why() {
    let place = Place::new();
    let script = "trap 'echo dumping stacks; exit 3' TERM; sleep 1000 & wait";
    let (exit, output) = outcome(HostRun { timeout: Duration::from_secs(2), ..place.run(script) }).await;
    assert!(matches!(exit, HostExit::TimedOut { .. }));
    assert_eq!(output, "dumping stacks\n");
}

#[tokio::test]
async fn who_ignores_the_request_to_end_is_killed() {
    let place = Place::new();
    let script = "trap '' TERM; echo $$ >stubborn; while :; do sleep 0.1; done";
    let (timeout, grace) = (Duration::from_secs(2), Duration::from_millis(100));
    let (exit, _) = outcome(HostRun { timeout, grace, ..place.run(script) }).await;
    assert!(matches!(exit, HostExit::TimedOut { .. }));
    assert!(!is_alive(place.pid("stubborn").unwrap()));
}

#[tokio::test]
async fn a_daemon_left_behind_neither_holds_up_the_stage_nor_outlives_it() {
    let place = Place::new();
    let started = Instant::now();
    for script in [
        "sleep 1000 & echo $! >daemon",
        "setsid sh -c 'echo $$ >daemon; exec sleep 1000' & while ! [ -s daemon ]; do :; done",
        "env -i sleep 1000 & echo $! >daemon",
        // Forks twice, in a session of its own, and there is nothing by which it could be told from others.
        "(env -i setsid sh -c 'cd /; (exec sleep 1000) & echo $! >\"$1\"' sh \"$PWD/daemon\" &) ; while ! [ -s daemon ]; do :; done",
    ] {
        let (exit, _) = outcome(place.run(script)).await;
        assert_eq!(exit, HostExit::Code(0), "{script}");
        assert!(!is_alive(place.pid("daemon").unwrap()), "{script}");
        std::fs::remove_file(place.dir.path().join("daemon")).unwrap();
    }
    assert!(started.elapsed() < PLENTY);
}

#[tokio::test]
async fn a_run_that_is_dropped_takes_its_processes_along() {
    let place = Place::new();
    let script = "setsid sh -c 'echo $$ >daemon; exec sleep 1000' & echo $$ >shell; wait";
    let run = place.run(script);
    let has_started = async {
        while place.pid("daemon").is_none() || place.pid("shell").is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = run_host(&run, &|_| (), &|_| ()) => panic!("it does not end by itself"),
        () = has_started => {}
    }
    for file in ["daemon", "shell"] {
        let pid = place.pid(file).unwrap();
        let deadline = Instant::now() + PLENTY;
        while is_alive(pid) {
            assert!(Instant::now() < deadline, "{file} is still alive");
            std::thread::yield_now();
        }
    }
}

#[tokio::test]
async fn a_death_by_a_signal_is_told_from_a_failure() {
    let place = Place::new();
    let (exit, _) = outcome(place.run("kill -9 $$")).await;
    assert_eq!(exit, HostExit::Signal(9));
    assert!(!exit.is_success());
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let place = Place::new();
    let run = HostRun { dir: Path::new("/nowhere/at/all"), ..place.run("true") };
    let error = run_host(&run, &|_| (), &|_| ()).await.unwrap_err();
    assert!(format!("{error:#}").contains("/nowhere/at/all"), "{error:#}");
}
