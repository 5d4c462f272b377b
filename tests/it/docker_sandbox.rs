//! A stranger's commands in a throwaway container of a real engine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::time::Duration;
use std::time::Instant;

use homeport::ci::context::Context;
use homeport::clients::docker::Builder;
use homeport::clients::docker::Docker;
use homeport::clients::docker::Sandbox;
use homeport::clients::docker::SandboxEnd;
use homeport::clients::docker::SandboxError;
use homeport::clients::docker::SandboxLimits;
use homeport::model::ROLE_SERVICE;
use homeport::model::ROLE_TEST;

use crate::docker_bed::Bed;
use crate::docker_bed::LIMIT;
use crate::docker_bed::Line;
use crate::docker_bed::Registry;
use crate::docker_bed::SERVICE;
use crate::docker_bed::eventually;
use crate::docker_bed::is_running;

const FREELY: SandboxLimits = SandboxLimits { memory: None, cpus: None, processes: None, time: LIMIT };

async fn run(
    bed: &Bed,
    image: &str,
    script: &str,
    limits: SandboxLimits,
) -> Result<SandboxEnd, SandboxError> {
    run_in(bed, image, script, limits, true).await
}

async fn run_in(
    bed: &Bed,
    image: &str,
    script: &str,
    limits: SandboxLimits,
    has_network: bool,
) -> Result<SandboxEnd, SandboxError> {
    run_on(bed, image, script, None, limits, has_network).await
}

async fn run_on(
    bed: &Bed,
    image: &str,
    script: &str,
    processors: Option<&str>,
    limits: SandboxLimits,
    has_network: bool,
) -> Result<SandboxEnd, SandboxError> {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir(tree.path().join("sub")).unwrap();
    fs::write(tree.path().join("sub/run.sh"), "#!/bin/sh\necho from the tree\n").unwrap();
    fs::set_permissions(tree.path().join("sub/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("sub/run.sh", tree.path().join("link")).unwrap();
    let env = BTreeMap::from([("CI".to_owned(), "true".to_owned())]);
    let sandbox = Sandbox {
        project: &bed.project,
        name: &bed.name("-test"),
        image,
        platform: None,
        login: None,
        script,
        tree: Some(Context::whole(tree.path()).stream()),
        workdir: "/home/of/the/tree",
        env: &env,
        labels: &BTreeMap::new(),
        user: None,
        volume: None,
        has_network,
        processors: processors.map(str::to_owned),
        limits,
    };
    bed.docker.run_sandbox(sandbox, &bed.out()).await
}

async fn is_gone(bed: &Bed) -> bool {
    bed.docker.containers_of(&bed.project).await.unwrap().is_empty()
}

#[tokio::test]
async fn a_script_runs_on_a_copy_of_the_tree() {
    let bed = Bed::new();
    let image = bed.image("ENTRYPOINT [\"/bin/false\"]\nENV OWN=own").await;
    let script = "pwd; ./link; echo $CI $OWN; touch new; ls -ln sub | grep -c ' 0        0 '; id -u\nfalse | true\nexit 3";
    assert_eq!(run(&bed, &image, script, FREELY).await.unwrap(), SandboxEnd::Exited(3));
    assert!(bed.output().ends_with("/home/of/the/tree\nfrom the tree\ntrue own\n1\n0\n"), "{}", bed.output());
    assert!(is_gone(&bed).await);
    let stops = run(&bed, &image, "false\necho never", FREELY).await.unwrap();
    assert_eq!(stops, SandboxEnd::Exited(1));
    assert!(!bed.output().contains("never"));
}

#[tokio::test]
async fn nothing_that_a_script_writes_is_lost() {
    let bed = Bed::new();
    let image = bed.image("").await;
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; printf 'no end'";
    assert_eq!(run(&bed, &image, script, FREELY).await.unwrap(), SandboxEnd::Exited(0));
    let output = bed.output();
    assert_eq!(output.lines().filter(|line| line.starts_with("line ")).count(), 20_000);
    assert!(output.ends_with("line 19999\nno end"));
}

#[tokio::test]
async fn a_script_that_does_not_end_is_killed_with_all_it_started() {
    let bed = Bed::new();
    let image = bed.image("").await;
    let limits = SandboxLimits { time: Duration::from_secs(1), ..FREELY };
    let began = Instant::now();
    let end = run(&bed, &image, "sleep 86003 & trap '' TERM; sleep 86003", limits).await.unwrap();
    assert_eq!(end, SandboxEnd::TimedOut);
    assert!(began.elapsed() < Duration::from_secs(20) && !is_running("86003") && is_gone(&bed).await);
}

#[tokio::test]
async fn what_a_script_leaves_behind_does_not_hold_it_up() {
    let bed = Bed::new();
    let image = bed.image("").await;
    let end = run(&bed, &image, "sleep 86004 & echo done", FREELY).await.unwrap();
    assert_eq!(end, SandboxEnd::Exited(0));
    assert!(bed.output().ends_with("done\n") && !is_running("86004"));
}

#[tokio::test]
async fn a_dropped_run_takes_its_container_along() {
    let bed = Bed::new();
    let image = bed.image("").await;
    {
        let mut run = Box::pin(run(&bed, &image, "sleep 86005", FREELY));
        while !is_running("86005") {
            assert!(tokio::time::timeout(Duration::from_millis(20), &mut run).await.is_err());
        }
    }
    eventually("the container is gone", async || is_gone(&bed).await && !is_running("86005")).await;
}

#[tokio::test]
async fn what_a_killed_agent_left_behind_is_removed_and_nothing_else() {
    let bed = Bed::new();
    let image = bed.image(SERVICE).await;
    let service = bed.started(&image, "").await;
    let left =
        bed.docker.create(&bed.name("-test"), &bed.spec(), &image, &bed.labels(ROLE_TEST)).await.unwrap();
    bed.docker.start(&left).await.unwrap();
    let removed = bed.docker.remove_leftovers(&bed.project).await.unwrap();
    assert_eq!(removed, [bed.name("-test").to_string()]);
    let kept = bed.docker.containers_of(&bed.project).await.unwrap();
    assert_eq!(kept.iter().map(|c| &c.id).collect::<Vec<_>>(), [&service]);
    assert!(kept.iter().all(|c| c.is_running()));
    assert_eq!(
        bed.labels(ROLE_SERVICE),
        kept.first()
            .map(|c| {
                let mut labels = c.labels.clone();
                labels.retain(|key, _| key.starts_with("homeport."));
                labels
            })
            .unwrap()
    );
    assert!(bed.docker.image(&image).await.unwrap().is_some());
}

#[tokio::test]
async fn a_script_has_no_more_rights_than_installing_needs() {
    let bed = Bed::new();
    let image = bed.image("").await;
    let script = "grep -E '^(CapEff|NoNewPrivs)' /proc/self/status\n\
        chown 7:7 sub/run.sh; mkdir /new; ! mount -t tmpfs x /new 2>/dev/null; ! mknod /new/x b 8 0 2>/dev/null\n\
        test ! -e /var/run/docker.sock; test ! -S /run/docker.sock; echo confined";
    assert_eq!(run(&bed, &image, script, FREELY).await.unwrap(), SandboxEnd::Exited(0), "{}", bed.output());
    // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, FSETID 4, KILL 5, SETGID 6, SETUID 7, NET_BIND_SERVICE 10, SETFCAP 31.
    assert!(bed.output().contains("CapEff:\t00000000800004fb\nNoNewPrivs:\t1\n"), "{}", bed.output());
    assert!(bed.output().ends_with("confined\n"));
}

#[tokio::test]
async fn a_script_gives_way_to_what_serves() {
    let bed = Bed::new();
    let image = bed.image("").await;
    // Where each version of control groups keeps the share of the processors: 256 of 1024, or the same in its scale.
    let script = "cat /proc/self/oom_score_adj; cat /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null || cat /sys/fs/cgroup/cpu.weight";
    assert_eq!(run(&bed, &image, script, FREELY).await.unwrap(), SandboxEnd::Exited(0), "{}", bed.output());
    let output = bed.output();
    assert!(output.ends_with("500\n256\n") || output.ends_with("500\n10\n"), "{output}");
}

#[tokio::test]
async fn a_script_without_a_network_has_its_own_loopback_alone() {
    let bed = Bed::new();
    let image = bed.image("").await;
    let script = "ls /sys/class/net";
    assert_eq!(run_in(&bed, &image, script, FREELY, false).await.unwrap(), SandboxEnd::Exited(0));
    assert!(bed.output().ends_with("\nlo\n"), "{}", bed.output());
    assert_eq!(run_in(&bed, &image, script, FREELY, true).await.unwrap(), SandboxEnd::Exited(0));
    assert!(bed.output().contains("eth0\n"), "{}", bed.output());
}

#[tokio::test]
async fn memory_processors_and_processes_are_limited() {
    let bed = Bed::new();
    let image = bed.image("").await;
    let limits = SandboxLimits { memory: Some(32 << 20), cpus: Some(64.5), processes: Some(20), time: LIMIT };
    let greedy = "head -c 200000000 /dev/zero | tail -c 150000000 | wc -c";
    if bed.docker.engine().await.unwrap().limits_memory {
        let end = run(&bed, &image, &format!("set -o pipefail; {greedy}"), limits).await.unwrap();
        assert_eq!(end, SandboxEnd::OutOfMemory, "{}", bed.output());
    }
    let many = "i=0; while [ $i -lt 40 ]; do sleep 60 & i=$((i+1)); done; echo all";
    let end = run(&bed, &image, many, limits).await.unwrap();
    assert!(matches!(end, SandboxEnd::Exited(code) if code != 0), "{end:?}");
    assert!(!bed.output().contains("all\n"));
}

#[tokio::test]
async fn a_script_is_kept_to_its_processors_where_the_engine_has_them() {
    let bed = Bed::new();
    let image = bed.image("").await;
    let script = "grep Cpus_allowed_list /proc/self/status";
    let mut lists = Vec::new();
    for processors in [None, Some("0"), Some("4000")] {
        let end = run_on(&bed, &image, script, processors, FREELY, true).await.unwrap();
        assert_eq!(end, SandboxEnd::Exited(0));
        lists.push(bed.output().lines().last().unwrap().to_owned());
    }
    let kept = bed.docker.engine().await.unwrap().limits_processors;
    assert_eq!(lists[1], if kept { "Cpus_allowed_list:\t0" } else { &lists[0] });
    assert_eq!(lists[2], lists[0], "an engine that does not have them runs the script all the same");
}

#[tokio::test]
async fn an_image_without_a_shell_is_named() {
    let bed = Bed::new();
    let image = bed.try_build(Builder::BuildKit, "FROM scratch\nCOPY busybox /\n", LIMIT).await.unwrap();
    let error = run(&bed, &image, "true", FREELY).await.unwrap_err();
    assert!(matches!(&error, SandboxError::NoShell(of) if *of == image), "{error}");
    assert!(is_gone(&bed).await);
    let missing = bed.image("").await;
    assert_eq!(run(&bed, &missing, "no-such-command", FREELY).await.unwrap(), SandboxEnd::Exited(127));
}

#[tokio::test]
async fn an_image_that_is_not_here_is_pulled() {
    let (bed, registry) = (Bed::new(), Registry::open());
    let image = bed.image("").await;
    let reference = bed.image_in(&registry.address, "1");
    bed.docker.tag(&image, &reference).await.unwrap();
    bed.docker.push(&reference, None, LIMIT, &bed.out()).await.unwrap();
    for name in [reference.to_string(), bed.image_in("docker.io", "built").to_string()] {
        bed.docker.remove_image(&name).await.unwrap();
    }
    let end = run(&bed, &reference.to_string(), "echo here", FREELY).await.unwrap();
    assert_eq!(end, SandboxEnd::Exited(0));
    assert!(bed.output().ends_with("here\n"), "{}", bed.output());
    assert!(run(&bed, "not an image", "true", FREELY).await.is_err());
}

#[tokio::test]
async fn a_tree_that_cannot_be_read_is_named_and_leaves_nothing() {
    let bed = Bed::new();
    let image = bed.image("").await;
    let sandbox = Sandbox {
        project: &bed.project,
        name: &bed.name("-test"),
        image: &image,
        platform: None,
        login: None,
        script: "true",
        tree: Some(Context::whole(std::path::Path::new("/nowhere/at/all")).stream()),
        workdir: "/w",
        env: &BTreeMap::new(),
        labels: &BTreeMap::new(),
        user: None,
        volume: None,
        has_network: true,
        processors: None,
        limits: FREELY,
    };
    let error = bed.docker.run_sandbox(sandbox, &bed.out()).await.unwrap_err();
    assert!(matches!(error, SandboxError::Tree(_)), "{error}");
    assert!(is_gone(&bed).await);
}

#[tokio::test]
async fn a_broken_connection_does_not_end_a_script() {
    let (mut bed, line) = (Bed::new(), Line::new());
    let image = bed.image("").await;
    bed.docker = Docker::connect(&line.host).unwrap();
    let cut = async {
        eventually("the script is under way", async || bed.output().contains("under way\n")).await;
        line.cut();
    };
    let (end, ()) = tokio::join!(run(&bed, &image, "echo under way; sleep 7; exit 4", FREELY), cut);
    assert_eq!(end.unwrap(), SandboxEnd::Exited(4));
    assert!(bed.output().contains("the output ended before the script"), "{}", bed.output());
    assert!(is_gone(&bed).await);
}
