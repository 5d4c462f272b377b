//! The files below `systemd/`, as systemd itself reads them. Needs Debian's package `systemd`, not a running one.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::process::Output;

use tempfile::TempDir;

/// How exposed the service may be, in tenths, on the scale of `systemd-analyze security`: 0 is a locked box, 100
/// an ordinary service of root.
const MOST_EXPOSURE: u32 = 20;

/// What builds run in.
const SLICE: &str = "homeport_build.slice";

fn file(name: &str) -> String {
    format!("{}/systemd/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A system that has the unit, what it starts, and nothing else.
fn system_with(unit: &str) -> TempDir {
    let root = TempDir::new().unwrap();
    let write = |path: &str, text: &str, mode: u32| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    };
    write("etc/systemd/system/homeport.service", unit, 0o644);
    write("usr/local/bin/homeport", "", 0o755);
    write("bin/kill", "", 0o755);
    for target in ["sysinit", "basic", "shutdown", "network-online", "time-sync", "multi-user"] {
        write(&format!("etc/systemd/system/{target}.target"), "[Unit]\nDescription=here\n", 0o644);
    }
    root
}

fn run(program: &str, arguments: &[&str], root: &Path) -> Output {
    Command::new(program)
        .arg(format!("--root={}", root.display()))
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program}, install the package systemd: {error}"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What systemd has to say against a unit. Unknown keys do not show in the exit code.
fn complaints(unit: &str) -> String {
    let root = system_with(unit);
    let output = run("systemd-analyze", &["verify", "--man=no", "homeport.service"], root.path());
    format!("{}{}", if output.status.success() { "" } else { "failed: " }, stderr(&output))
}

fn unit() -> String {
    std::fs::read_to_string(file("homeport.service")).unwrap()
}

#[test]
fn systemd_has_nothing_to_say_against_the_unit() {
    assert_eq!(complaints(&unit()), "");
}

#[test]
fn a_slip_in_the_unit_would_be_seen() {
    assert!(complaints(&unit().replace("\nWatchdogSec=", "\nWatchDogSeconds=")).contains("Unknown key"));
    assert!(
        complaints(&unit().replace("/usr/local/bin/homeport", "/usr/bin/homeport"))
            .contains("not executable")
    );
    assert!(complaints(&unit().replace("TimeoutStopSec=5min", "TimeoutStopSec=soon")).contains("soon"));
}

#[test]
fn the_service_is_locked_in_as_far_as_its_work_allows() {
    let root = system_with(&unit());
    let threshold = format!("--threshold={MOST_EXPOSURE}");
    let arguments = ["security", "--offline=true", "--no-pager", &threshold, "homeport.service"];
    let output = run("systemd-analyze", &arguments, root.path());
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
}

#[test]
fn systemd_has_nothing_to_say_against_the_slice_of_builds_which_comes_with_the_service() {
    let root = system_with(&unit());
    std::fs::copy(file(SLICE), root.path().join("etc/systemd/system").join(SLICE)).unwrap();
    for unit in [SLICE, "homeport.service"] {
        let output = run("systemd-analyze", &["verify", "--man=no", unit], root.path());
        assert!(output.status.success() && stderr(&output).is_empty(), "{unit}: {}", stderr(&output));
    }
    assert!(unit().contains(&format!("\nWants={SLICE}\n")), "nobody would start it");
    assert!(!SLICE.contains('-'), "it would be inside another slice");
}

#[test]
fn a_slip_in_the_slice_would_be_seen() {
    let root = system_with(&unit());
    let text = std::fs::read_to_string(file(SLICE)).unwrap().replace("CPUWeight=25", "CPUWeight=much");
    std::fs::write(root.path().join("etc/systemd/system").join(SLICE), text).unwrap();
    let output = run("systemd-analyze", &["verify", "--man=no", SLICE], root.path());
    assert!(stderr(&output).contains("much"), "{}", stderr(&output));
}

#[test]
fn every_setting_is_known_to_the_oldest_systemd_that_is_supported() {
    // Those newer than systemd 247 that come to mind first for such a service.
    let newer = [
        "RestartSteps",
        "RestartMaxDelaySec",
        "ImportCredential",
        "LoadCredentialEncrypted",
        "PrivateIPC",
        "NoExecPaths",
        "ExecPaths",
        "RestrictFileSystems",
        "notify-reload",
        "ProtectHostname=private",
        "MemoryZSwap",
        "StateDirectorySymlink",
        "ManagedOOM",
        "RestartMode",
        "ExtensionDirectories",
    ];
    for setting in newer {
        assert!(!unit().contains(setting), "{setting} is newer than systemd 247");
    }
}

#[test]
fn each_credential_may_be_missing() {
    let unit = unit();
    let loaded: Vec<&str> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("LoadCredential="))
        .map(|credential| credential.split_once(':').unwrap().0)
        .collect();
    assert_eq!(loaded, ["github-token", "docker-hub-token", "smtp-password", "webhook-secret", "deploy-key"]);
    for name in loaded {
        assert!(unit.contains(&format!("\nSetCredential={name}:\\n\n")), "{name}");
        assert!(unit.contains(&format!(":/etc/homeport/credentials/{name}\n")), "{name}");
    }
}

#[test]
fn the_user_may_use_docker_and_cannot_log_in() {
    let root = TempDir::new().unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    let output = run("systemd-sysusers", &[&file("homeport.sysusers")], root.path());
    assert!(output.status.success(), "{}", stderr(&output));
    let etc = |name: &str| std::fs::read_to_string(root.path().join("etc").join(name)).unwrap();
    assert!(
        etc("passwd").contains(":homeport agent:/var/lib/homeport:/usr/sbin/nologin\n"),
        "{}",
        etc("passwd")
    );
    let groups = etc("group");
    let docker = groups.lines().find(|line| line.starts_with("docker:")).unwrap();
    assert!(docker.ends_with(":homeport"), "{docker}");
}

#[test]
fn the_folder_of_the_secrets_is_for_root_alone() {
    let root = TempDir::new().unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    run("systemd-sysusers", &[&file("homeport.sysusers")], root.path());
    let output = run("systemd-tmpfiles", &["--create", &file("homeport.tmpfiles")], root.path());
    // Whoever is not root cannot give a file to root; all else must be in order.
    let complaints = stderr(&output);
    assert!(complaints.lines().all(|line| line.ends_with("Operation not permitted")), "{complaints}");
    let folder = std::fs::metadata(root.path().join("etc/homeport/credentials")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
}
