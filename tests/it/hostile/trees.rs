//! Trees that are too large, and files that are larger than they look.

use std::io;
use std::io::Write;
use std::process::ChildStdin;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use futures_util::TryStreamExt;
use homeport::ci::context::Context;
use serde_json::json;
use tempfile::TempDir;

use crate::hostile::expect_no_trees;
use crate::hostile::hostile;
use crate::hostile::once_measured;
use crate::hostile::sized;
use crate::world::World;
use crate::world::app::App;
use crate::world::assertions::in_one_line;
use crate::world::canaries::Canaries;
use crate::world::repository::scrubbed_git;
use crate::world::small_disk::SmallDisk;

const MIB: u64 = 1 << 20;

/// Commits the app and what `more` writes into the stream of `git fast-import`.
fn commit_much(world: &World, more: impl FnOnce(&mut ChildStdin) -> io::Result<()>) {
    let mut git = scrubbed_git()
        .arg("-C")
        .arg(world.repo.directory())
        .args(["fast-import", "--quiet", "--force", "--done"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("start git");
    let mut stream = git.stdin.take().expect("stdin is piped");
    write_commit(&mut stream, more).expect("write a large commit");
    drop(stream);
    assert!(git.wait().expect("wait for git").success());
}

fn write_commit(
    stream: &mut ChildStdin,
    more: impl FnOnce(&mut ChildStdin) -> io::Result<()>,
) -> io::Result<()> {
    writeln!(stream, "blob\nmark :1\ndata 2\nx\n")?;
    writeln!(stream, "commit refs/heads/main\ncommitter Mona <mona@example.org> 1790000000 +0000")?;
    writeln!(stream, "data 4\nGrow\ndeleteall")?;
    for (path, content) in App::Page("hello large".to_owned()).files() {
        writeln!(stream, "M 100755 inline {path}\ndata {}\n{content}", content.len())?;
    }
    more(stream)?;
    writeln!(stream, "done")
}

/// A file of one letter, a thousandth of its size in a pack; not of zeros, since those git writes as a hole.
fn letters(stream: &mut ChildStdin, path: &str, size: u64) -> io::Result<()> {
    writeln!(stream, "M 100644 inline {path}\ndata {size}")?;
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..size / MIB {
        stream.write_all(&chunk)?;
    }
    writeln!(stream)
}

/// It is run, in little memory, and leaves nothing behind.
async fn expect_through(world: World, canaries: Canaries, what: &str) {
    let started = Instant::now();
    let (finished, memory) = once_measured(&world).await;

    let took = started.elapsed();
    let log: usize = world.agent.run_logs().iter().map(|(_, log)| log.len()).sum();
    eprintln!("{what}: {took:?}, {memory} MiB of memory, logs of {log} bytes");
    finished.expect_success();
    world.expect_serving("hello large").await;
    world.expect_mail("1 deployed").await;
    assert!(memory < 64, "the agent held {memory} MiB");
    expect_no_trees(&world).await;
    canaries.expect_nowhere(&world).await;
    world.end().await;
}

#[tokio::test]
async fn a_tree_of_very_many_files_goes_through() {
    let (world, canaries) = hostile().await;
    let count = sized(2_000, 200_000);
    // Half of them in one folder.
    commit_much(&world, |stream| {
        (0..count / 2).try_for_each(|n| {
            writeln!(stream, "M 100644 :1 flat/{n}\nM 100644 :1 deep/{}/{}/{n}", n % 40, n % 100)
        })
    });
    let counted = format!("test $(find flat deep -type f | wc -l) = {count}");
    world.agent.set("/projects/0/test", json!({"in": {"image": "hp-base:1"}, "commands": [counted]}));

    expect_through(world, canaries, &format!("{count} files")).await;
}

#[tokio::test]
async fn a_large_file_goes_through_in_little_memory() {
    let (world, canaries) = hostile().await;
    let size = sized(48 * MIB, 2048 * MIB);
    commit_much(&world, |stream| letters(stream, "large", size));
    let measured = format!("test $(stat -c %s large) = {size}");
    world.agent.set("/projects/0/test", json!({"in": {"image": "hp-base:1"}, "commands": [measured]}));

    expect_through(world, canaries, &format!("{} MiB", size / MIB)).await;
}

/// Ends a world with a small disk, which has to go before its folder can.
async fn end(world: &World, disk: SmallDisk) {
    world.expect_every_run_ended().await;
    world.expect_no_unread_mail().await;
    drop(disk);
}

#[tokio::test]
async fn a_file_that_is_larger_than_the_disk_fails_the_checkout_and_leaves_room_again() {
    let (world, canaries) = hostile().await;
    let Some(disk) = SmallDisk::mount(&world.agent.state_dir(), 32) else {
        eprintln!("not tested: this user may not mount");
        return;
    };
    commit_much(&world, |stream| letters(stream, "large", sized(64 * MIB, 10_240 * MIB)));

    let started = Instant::now();
    let (finished, memory) = once_measured(&world).await;

    let took = started.elapsed();
    let log: usize = world.agent.run_logs().iter().map(|(_, log)| log.len()).sum();
    eprintln!("a full disk: {took:?}, {memory} MiB of memory, logs of {log} bytes");
    finished.expect_code(1);
    world.expect_runs(&["1 ci failed at checkout"]).await;
    let mail = world.expect_mail("checkout failed").await;
    let text = in_one_line(&mail.text);
    assert!(text.contains("fill the disk") || text.contains("no space is left"), "{text}");
    world.expect_nothing_deployed().await;
    expect_no_trees(&world).await;
    assert!(disk.used() < 16 * MIB, "{} bytes are left in use", disk.used());

    world.repo.commit_page("hello small").await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello small").await;
    world.expect_mail("1 deployed").await;
    canaries.expect_nowhere(&world).await;
    end(&world, disk).await;
}

#[tokio::test]
async fn a_commit_that_would_fill_the_disk_is_stopped_while_there_is_room_for_others() {
    let (world, canaries) = hostile().await;
    let Some(disk) = SmallDisk::mount(&world.agent.state_dir(), 600) else {
        eprintln!("not tested: this user may not mount");
        return;
    };
    world.agent.set("/docker/min_free_disk", "290MB");
    commit_much(&world, |stream| letters(stream, "large", 640 * MIB));

    world.agent.once().await.expect_code(1);

    let mail = world.expect_mail("checkout failed").await;
    let text = in_one_line(&mail.text);
    assert!(
        text.contains("the files of the commit fill the disk") && text.contains("homeport retry"),
        "{text}"
    );
    expect_no_trees(&world).await;
    assert!(disk.used() < 16 * MIB, "{} bytes are left in use", disk.used());
    // It would take as much at every try.
    world.agent.once().await.expect_success();
    world.expect_runs(&["1 ci failed at checkout"]).await;
    canaries.expect_nowhere(&world).await;
    end(&world, disk).await;
}

#[tokio::test]
async fn an_ignore_file_of_ten_thousand_patterns_costs_little_time() {
    let dir = TempDir::new().unwrap();
    for folder in 0..20 {
        std::fs::create_dir(dir.path().join(format!("{folder}"))).unwrap();
        for file in 0..25 {
            std::fs::write(dir.path().join(format!("{folder}/a_file_{file}.txt")), "x").unwrap();
        }
    }
    std::fs::write(dir.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    // Of the costly kind: nothing is plain, and the exceptions keep every folder open.
    let patterns = (0..5_000).map(|n| format!("**/a*{n}?x*z\n!*a?{n}*/b*\n"));
    std::fs::write(dir.path().join(".dockerignore"), patterns.collect::<String>() + "**/*_7.txt\n").unwrap();

    let started = Instant::now();
    let context = Context::for_build(dir.path(), ".", "Dockerfile").await.unwrap();
    let bytes: Vec<_> = context.stream().try_collect().await.unwrap();

    let took = started.elapsed();
    eprintln!("10,000 patterns on 520 paths: {took:?}");
    let bytes = bytes.concat();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let sent = archive.entries().unwrap().count();
    // The folders, all files but one of each, the Dockerfile and the ignore file.
    assert_eq!(sent, 20 + 20 * 24 + 2);
    assert!(took < Duration::from_secs(20), "10,000 patterns on 520 paths took {took:?}");
}
