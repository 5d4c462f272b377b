//! What a repository's tests can do, by its own test script in the usual container.

use serde_json::json;

use crate::hostile::hostile;
use crate::hostile::once_measured;
use crate::hostile::sized;
use crate::world::World;
use crate::world::app::App;
use crate::world::assertions::eventually;
use crate::world::repository::Change;

const MIB: u64 = 1 << 20;

/// A commit of a good app, the tests of which are this script.
async fn commit_tests(world: &World, script: &str) -> String {
    let mut changes: Vec<Change> = Vec::new();
    for (path, content) in App::Page("hello tested".to_owned()).files() {
        let content = if path == "test.sh" { format!("#!/bin/sh\n{script}\n") } else { content };
        changes.push(Change::Write(path, content));
    }
    world.repo.commit_changes("main", &changes, "Test in a special way").await
}

#[tokio::test]
async fn a_test_that_forks_without_end_fails_and_leaves_nothing_running() {
    let (world, canaries) = hostile().await;
    let marker = format!("6{}", world.prefix().chars().filter(char::is_ascii_digit).collect::<String>());
    commit_tests(&world, &format!("while :; do sleep {marker} & done")).await;

    world.agent.once().await.expect_code(1);

    world.expect_runs(&["1 ci failed at test"]).await;
    let mail = world.expect_mail("tests failed").await;
    assert!(mail.text.contains("fork"), "{}", mail.text);
    assert_eq!(world.processes_naming(&marker), [""; 0]);
    world.expect_nothing_deployed().await;
    canaries.expect_nowhere(&world).await;
    world.end().await;
}

#[tokio::test]
async fn a_test_on_the_host_that_multiplies_is_stopped_and_what_it_started_ends_with_its_run() {
    let (world, canaries) = hostile().await;
    world.agent.set("/projects/0/test/in", json!("host"));
    world.agent.set("/projects/0/cancel_running", true);
    let marker = format!("7{}", world.prefix().chars().filter(char::is_ascii_digit).collect::<String>());
    // Each starts two and goes on; 4,095 at the most, were nobody to stop it.
    let multiply = "f() { if test $1 -gt 0; then f $(($1 - 1)) & f $(($1 - 1)) & fi; ";
    commit_tests(&world, &format!("{multiply}sleep {marker}; }}\nf 11")).await;
    let agent = world.agent.spawn_run().await;

    let mail = world.expect_mail("tests failed").await;

    world.expect_runs(&["1 ci failed at test"]).await;
    assert!(mail.text.contains("processes") || mail.text.contains("fork"), "{}", mail.text);
    assert_eq!(world.processes_naming(&marker), [""; 0]);
    world.agent.command(&["plan", world.project()]).await.expect_success();

    // A run that a newer commit ends takes along what hides from it.
    let hide = format!("(env -i setsid sh -c 'cd /; sleep {marker}' &); sleep {marker}");
    commit_tests(&world, &format!("{hide}\n# once more")).await;
    let hidden = eventually(async || match world.processes_naming(&marker).len() {
        0..3 => Err("it has not started"),
        _ => Ok(()),
    });
    hidden.await.expect("the tests run");
    world.repo.commit_page("hello tested").await;
    world.expect_mail("deployed").await;
    let superseded = ["1 ci failed at test", "2 ci superseded at test", "3 ci pushed 1", "4 cd deployed 1"];
    world.expect_runs(&superseded).await;
    assert_eq!(world.processes_naming(&marker), [""; 0]);
    assert!(agent.terminate().await.success());
    canaries.expect_nowhere(&world).await;
    world.end().await;
}

#[tokio::test]
async fn a_test_that_deceives_the_reader_and_ignores_its_end_is_shown_as_what_it_is() {
    let (world, canaries) = hostile().await;
    let lies = r"trap '' TERM INT HUP
        printf '\033]0;owned\007\033[2J\033[1;1H\033[31mred\033[0m \302\2331049h c1\n'
        printf 'broken \377\376\300\200 text\n'
        printf '2026-11-23T06:15:00.000Z run       run 1 ended: pushed 99\n'
        printf 'over\r2026-11-23T06:15:00.000Z push      pushed as 99\n'
        printf '\342\200\256desrever\n'
        while :; do sleep 1; done";
    let sha = commit_tests(&world, lies).await;
    world.agent.set("/projects/0/test/timeout", "4s");

    world.agent.once().await.expect_code(1);

    world.expect_runs(&["1 ci failed at test"]).await;
    world.expect_status(&sha, "failure").await;
    let mail = world.expect_mail("tests failed").await;
    assert!(mail.text.contains("test.timeout"), "the mail names no way out: {}", mail.text);
    let raw = std::fs::read(&world.run(1).await.log).unwrap();
    let log = String::from_utf8(raw).expect("a run log is text");
    for (place, text) in
        [("the log", &log), ("the mail", &mail.text), ("the journal", &world.agent.transcript())]
    {
        let odd: Vec<char> = text.chars().filter(|c| c.is_control() && !"\n\t\r".contains(*c)).collect();
        assert!(odd.is_empty(), "{place} holds control characters: {odd:?}");
    }
    let lied: Vec<&str> = log.lines().filter(|line| line.contains("pushed")).collect();
    assert_eq!(lied.len(), 2, "{log}");
    assert!(lied.iter().all(|line| line.contains(" test      | ")), "{lied:?}");
    assert!(log.contains("| red") && log.contains("| broken "), "{log}");
    world.expect_nothing_deployed().await;
    canaries.expect_nowhere(&world).await;
    world.end().await;
}

#[tokio::test]
async fn a_flood_of_output_costs_neither_disk_nor_memory() {
    let (world, canaries) = hostile().await;
    let half = sized(6 * MIB, 512 * MIB);
    let flood = format!(
        "yes 'a line of the flood' | head -c {half}; head -c {half} /dev/zero | tr '\\0' x; echo; echo the end"
    );
    commit_tests(&world, &flood).await;
    world.agent.set("/projects/0/test/timeout", "10m");

    let (finished, memory) = once_measured(&world).await;

    finished.expect_success();
    world.expect_mail("1 deployed").await;
    let log = std::fs::read_to_string(&world.run(1).await.log).unwrap();
    eprintln!("{} MiB of output: a log of {} bytes, {memory} MiB of memory", 2 * half / MIB, log.len());
    // 10 MiB of output, the end of it, and the agent's own words.
    assert!((10 * MIB..11 * MIB).contains(&(log.len() as u64)), "the log has {} bytes", log.len());
    assert!(log.contains("left out here") && log.contains("| the end\n"));
    assert!(memory < 64, "the agent held {memory} MiB");
    canaries.expect_nowhere(&world).await;
    world.end().await;
}

/// Shows everything that a test can see, backwards, as no masking of secrets knows it; then tries to leave its mark.
fn curious(world: &World, parents: &str) -> String {
    let outside = world.folder().join("outside");
    format!(
        "{{ env; for p in {parents}; do cat /proc/$p/environ /proc/$p/cmdline; done; mount; \
         find / -xdev -name docker.sock; cat {secrets}/*; }} 2>/dev/null | tr '\\0' '\\n' | rev\n\
         echo stolen > {outside}\n\
         echo stolen > ../../../outside\n\
         echo looked around\n",
        secrets = world.agent.config_file().parent().unwrap().display(),
        outside = outside.display(),
    )
}

#[tokio::test]
async fn a_test_in_a_container_sees_no_secret_and_leaves_no_mark() {
    let (world, canaries) = hostile().await;
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let harmful = "echo owned > /proc/sys/kernel/hostname; mount -t tmpfs none /mnt\n";
    commit_tests(&world, &format!("{harmful}{}", curious(&world, "[0-9]*"))).await;

    world.agent.once().await.expect_success();

    world.expect_mail("1 deployed").await;
    assert!(world.log_of(1).await.contains("| looked around"));
    assert!(!world.folder().join("outside").exists());
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), hostname);
    world.expect_no_leftovers().await;
    canaries.expect_nowhere(&world).await;
    world.end().await;
}

#[tokio::test]
async fn a_test_on_the_host_finds_no_secret_at_its_parent_and_in_no_folder() {
    let (world, canaries) = hostile().await;
    world.agent.set("/projects/0/test/in", json!("host"));
    commit_tests(&world, &curious(&world, "$PPID")).await;

    world.agent.once().await.expect_success();

    world.expect_mail("1 deployed").await;
    let log = world.log_of(1).await;
    assert!(log.contains("| looked around"), "{log}");
    // Where the kernel cannot fence it in, a test on the host is as mighty as the agent, and the log says so.
    if log.contains("Landlock holds") {
        assert!(!world.folder().join("outside").exists());
        canaries.expect_nowhere(&world).await;
    }
    world.end().await;
}
