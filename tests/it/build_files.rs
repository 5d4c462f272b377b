//! What a real engine gets of a build's files: by BuildKit's file sync, and beside it by the classic builder's archive.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::SystemTime;

use homeport::ci::context::Context;
use homeport::clients::docker::BuildContext;
use homeport::clients::docker::BuildError;
use homeport::clients::docker::BuildRequest;
use homeport::clients::docker::Builder;
use homeport::clients::docker::Entry;
use homeport::clients::docker::EntryKind;
use homeport::clients::docker::Selection;
use homeport::clients::docker::TarStream;
use homeport::clients::docker::Visitor;
use homeport::clients::docker::nobody_listens;
use homeport::model::Blame;
use tokio::sync::Notify;

use crate::docker_bed::Bed;
use crate::docker_bed::eventually;

/// A context that remembers which files were read.
struct Watched {
    context: Context,
    read: Mutex<Vec<String>>,
}

impl Watched {
    async fn of(bed: &Bed) -> Arc<Self> {
        let context = Context::for_build(bed.files(), ".", "Dockerfile").await.unwrap();
        Arc::new(Self { context, read: Mutex::default() })
    }

    fn read(&self) -> Vec<String> {
        let mut read = self.read.lock().unwrap().clone();
        read.sort_unstable();
        read
    }
}

impl BuildContext for Watched {
    fn tar(&self) -> TarStream {
        self.context.tar()
    }

    fn walk(&self, wanted: &Selection, visitor: &mut dyn Visitor) -> io::Result<()> {
        self.context.walk(wanted, visitor)
    }

    fn open(&self, path: &Path, size: u64) -> io::Result<Box<dyn Read + Send>> {
        self.read.lock().unwrap().push(path.to_str().unwrap().to_owned());
        self.context.open(path, size)
    }
}

/// Writes the Dockerfile with these lines after its first; they have a shell and are no other test's.
fn write_dockerfile(bed: &Bed, lines: &str) {
    let text = format!("FROM scratch\nCOPY busybox /busybox\nENV TEST={}\n{lines}", bed.project);
    fs::write(bed.files().join("Dockerfile"), text).unwrap();
}

fn run(script: &str) -> String {
    format!("RUN [\"/busybox\", \"sh\", \"-c\", \"{script}\"]\n")
}

/// Builds from the context, and gives what the build wrote.
async fn build(bed: &Bed, builder: Builder, context: Arc<dyn BuildContext>) -> Result<String, BuildError> {
    let told = bed.output().len();
    bed.docker.build_with(builder, bed.request(context), &bed.out()).await?;
    Ok(bed.output().split_off(told))
}

/// The lines of an output that begin with `=`.
fn marked(output: &str) -> Vec<&str> {
    output.lines().filter(|line| line.starts_with('=')).collect()
}

#[tokio::test]
async fn both_builders_get_the_same_files_with_the_same_facts() {
    let bed = Bed::new();
    let tree = bed.files().join("tree");
    // Engines from Docker 28 on take only names in UTF-8.
    let version = bed.docker.engine().await.unwrap().version;
    let is_early = version.split('.').next().unwrap().parse::<u32>().unwrap() < 28;
    let odd: &[u8] = if is_early { b"latin-\xfc" } else { b"latin" };
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(200));
    for (name, content) in [
        (OsStr::new("large"), vec![7; 3_000_001]),
        (OsStr::new("one piece"), vec![b'x'; 32 * 1024]),
        (OsStr::new("empty"), Vec::new()),
        (OsStr::new(&long), b"deep".to_vec()),
        (OsStr::new("d.x/a"), bed.project.as_str().as_bytes().to_vec()),
        (OsStr::new("a-first/\u{fc}ml\u{e4}ut"), b"u".to_vec()),
        (OsStr::from_bytes(odd), b"in Latin-1, perhaps".to_vec()),
        (OsStr::new("run.sh"), b"#!/bin/sh\n".to_vec()),
        (OsStr::new("left/out"), b"ignored".to_vec()),
        (OsStr::new("left/in"), b"but this".to_vec()),
        (OsStr::new(".git/config"), b"[core]".to_vec()),
    ] {
        let path = tree.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::create_dir(tree.join("an empty folder")).unwrap();
    fs::set_permissions(tree.join("run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("/etc/passwd", tree.join("away")).unwrap();
    symlink("run.sh", tree.join("near")).unwrap();
    // The engine takes what is the same but for its time from its cache, with the time it had then.
    let touched = Command::new("find")
        .arg(&tree)
        .args(["-exec", "touch", "-h", "-d", "@1700000000", "{}", "+"])
        .status();
    assert!(touched.unwrap().success());
    fs::write(bed.files().join(".dockerignore"), "tree/left\n!tree/left/in\n").unwrap();
    // BuildKit sets no times of folders.
    let script = "cd /tree; /busybox find . -mindepth 1 | /busybox sort | while read -r f; do \
                  echo \\\"=$(/busybox stat -c '%n %F %a %u:%g %s' \\\"$f\\\") $(/busybox readlink \\\"$f\\\")\\\"; \
                  test -d \\\"$f\\\" || echo \\\"=$(/busybox stat -c %Y \\\"$f\\\")\\\"; done; \
                  /busybox find . -type f -exec /busybox md5sum {} + | /busybox sort | /busybox sed s/^/=/";
    write_dockerfile(&bed, &format!("COPY tree /tree\n{}", run(script)));

    let mut seen = Vec::new();
    for builder in [Builder::BuildKit, Builder::Classic] {
        let context = Context::for_build(bed.files(), ".", "Dockerfile").await.unwrap();
        seen.push(build(&bed, builder, Arc::new(context)).await.unwrap());
    }
    let [by_buildkit, by_classic] = [marked(&seen[0]), marked(&seen[1])];
    assert_eq!(by_buildkit, by_classic);
    let has = |part: &str| by_buildkit.iter().any(|line| line.contains(part));
    assert!(has("=./left/in regular file 644 0:0 8") && !has("left/out") && !has(".git"), "{by_buildkit:#?}");
    assert!(has("=./run.sh regular file 755 0:0 10 ") && has("=./large regular file 644 0:0 3000001 "));
    assert!(
        has("=./away symbolic link 777 ") && has(" /etc/passwd") && has("=./an empty folder directory 755")
    );
    assert_eq!(by_buildkit.len(), 16 + 11 + 9, "{by_buildkit:#?}");
}

#[tokio::test]
async fn only_what_the_dockerfile_copies_is_read() {
    let bed = Bed::new();
    for (path, text) in [
        ("app/main.py", "print()"),
        ("app/x/y.py", ""),
        ("data/large", "x"),
        ("fünf+ 1/a", ""),
        ("fünf/a", ""),
        (".env", "A=b"),
    ] {
        fs::create_dir_all(bed.files().join(path).parent().unwrap()).unwrap();
        fs::write(bed.files().join(path), text).unwrap();
    }
    symlink("data", bed.files().join("linked")).unwrap();
    write_dockerfile(&bed, "COPY app /app\nCOPY [\"fünf+ 1\", \"/five\"]\n");
    let context = Watched::of(&bed).await;
    build(&bed, Builder::BuildKit, Arc::clone(&context) as Arc<dyn BuildContext>).await.unwrap();
    assert_eq!(context.read(), ["Dockerfile", "app/main.py", "app/x/y.py", "busybox", "fünf+ 1/a"]);
    assert_eq!(context.context.findings().warning(), None, "of what the build does not get nobody is warned");

    write_dockerfile(&bed, &format!("COPY linked/l*e /data/\n{}", run("echo =$(/busybox cat /data/large)")));
    let context = Watched::of(&bed).await;
    let told = build(&bed, Builder::BuildKit, Arc::clone(&context) as Arc<dyn BuildContext>).await.unwrap();
    assert_eq!(marked(&told), ["=x"]);
    assert_eq!(
        context.read(),
        ["Dockerfile", "data/large"],
        "the engine still has the busybox of the last build"
    );
}

#[tokio::test]
async fn a_pattern_that_means_a_link_gets_what_the_link_leads_to() {
    let bed = Bed::new();
    for path in ["app", "shared"] {
        fs::create_dir_all(bed.files().join(path)).unwrap();
    }
    fs::write(bed.files().join("shared/a.txt"), "shared").unwrap();
    symlink("../shared/a.txt", bed.files().join("app/a.txt")).unwrap();
    write_dockerfile(&bed, &format!("COPY app/*.txt /x/\n{}", run("echo =$(/busybox cat /x/a.txt)")));
    let context = Context::for_build(bed.files(), ".", "Dockerfile").await.unwrap();
    let told = build(&bed, Builder::BuildKit, Arc::new(context)).await.unwrap();
    assert_eq!(marked(&told), ["=shared"]);
}

#[tokio::test]
async fn a_second_build_is_sent_only_what_has_changed() {
    let bed = Bed::new();
    for name in ["same", "changed", "gone"] {
        fs::write(bed.files().join(name), "before").unwrap();
    }
    write_dockerfile(
        &bed,
        &format!("COPY . /tree\n{}", run("cd /tree; echo =$(echo *) $(/busybox cat changed)")),
    );
    let first = Watched::of(&bed).await;
    let told = build(&bed, Builder::BuildKit, Arc::clone(&first) as Arc<dyn BuildContext>).await.unwrap();
    assert_eq!(marked(&told), ["=Dockerfile busybox changed gone same before"]);
    assert_eq!(
        first.read().len(),
        6,
        "the Dockerfile is read for the builder and for the image: {:?}",
        first.read()
    );

    fs::write(bed.files().join("changed"), "after!").unwrap();
    fs::remove_file(bed.files().join("gone")).unwrap();
    let second = Watched::of(&bed).await;
    let told = build(&bed, Builder::BuildKit, Arc::clone(&second) as Arc<dyn BuildContext>).await.unwrap();
    assert_eq!(marked(&told), ["=Dockerfile busybox changed same after!"]);
    // Later engines read the Dockerfile itself anew.
    assert_eq!(second.read().iter().filter(|path| *path != "Dockerfile").collect::<Vec<_>>(), ["changed"]);
}

#[tokio::test]
async fn two_commits_differ_even_where_a_clock_went_back_between_them() {
    let bed = Bed::new();
    write_dockerfile(&bed, &format!("COPY word /word\n{}", run("echo =$(/busybox cat /word)")));
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for (commit, word) in [("0a", "one"), ("0b", "two")] {
        fs::write(bed.files().join("word"), word).unwrap();
        fs::File::open(bed.files().join("word")).unwrap().set_modified(then).unwrap();
        let context = Context::for_build(bed.files(), ".", "Dockerfile").await.unwrap();
        let context = context.at(&commit.repeat(20).parse().unwrap());
        let told = build(&bed, Builder::BuildKit, Arc::new(context)).await.unwrap();
        assert_eq!(marked(&told), [format!("={word}")]);
    }
}

#[tokio::test]
async fn what_only_the_builder_needs_stays_out_of_the_image() {
    let bed = Bed::new();
    fs::write(bed.files().join(".dockerignore"), "Dockerfile\n.dockerignore\n").unwrap();
    write_dockerfile(&bed, &format!("COPY . /tree\n{}", run("cd /tree; echo =$(/busybox ls -A)")));
    let context = Context::for_build(bed.files(), ".", "Dockerfile").await.unwrap();
    let told = build(&bed, Builder::BuildKit, Arc::new(context)).await.unwrap();
    assert_eq!(marked(&told), ["=busybox"]);
}

#[tokio::test]
async fn the_longest_ignore_file_is_no_obstacle() {
    let bed = Bed::new();
    fs::write(bed.files().join(".dockerignore"), "a\n".repeat(128 * 1024)).unwrap();
    fs::write(bed.files().join("a"), "").unwrap();
    write_dockerfile(&bed, &format!("COPY . /tree\n{}", run("cd /tree; echo =$(echo *)")));
    let context = Context::for_build(bed.files(), ".", "Dockerfile").await.unwrap();
    let told = build(&bed, Builder::BuildKit, Arc::new(context)).await.unwrap();
    assert_eq!(marked(&told), ["=Dockerfile busybox"]);
}

#[tokio::test]
async fn a_tree_of_very_many_small_files_arrives_whole() {
    let bed = Bed::new();
    for number in 0..20_000 {
        let folder = bed.files().join(format!("tree/{}", number % 100));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(number.to_string()), number.to_string()).unwrap();
    }
    let count =
        "cd /tree; echo =$(/busybox find . -type f | /busybox wc -l) $(/busybox cat */* | /busybox wc -c)";
    write_dockerfile(&bed, &format!("COPY tree /tree\n{}", run(count)));
    let context = Context::for_build(bed.files(), ".", "Dockerfile").await.unwrap();
    let told = build(&bed, Builder::BuildKit, Arc::new(context)).await.unwrap();
    assert_eq!(marked(&told), ["=20000 88890"]);
}

/// A context whose only file, beside a Dockerfile that copies it, cannot be read to its end.
struct Torn;

impl BuildContext for Torn {
    fn tar(&self) -> TarStream {
        let chunks = [Ok(vec![0; 512].into()), Err(changed())];
        Box::pin(futures_util::stream::iter(chunks))
    }

    fn walk(&self, _: &Selection, visitor: &mut dyn Visitor) -> io::Result<()> {
        visitor.visit(entry("Dockerfile", 28))?;
        visitor.visit(entry("large", 1_000_000))
    }

    fn open(&self, path: &Path, _: u64) -> io::Result<Box<dyn Read + Send>> {
        match path.to_str() {
            Some("Dockerfile") => Ok(Box::new(&b"FROM scratch\nCOPY large /\n  "[..])),
            _ => Ok(Box::new((&[7; 200_000][..]).chain(Failing))),
        }
    }
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(changed())
    }
}

fn changed() -> io::Error {
    io::Error::other("read large: the file changed while it was read")
}

fn entry(path: &str, size: u64) -> Entry {
    Entry {
        path: PathBuf::from(path),
        kind: EntryKind::File(size),
        mode: 0o644,
        modified: Duration::from_secs(1_700_000_000),
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let bed = Bed::new();
    for builder in [Builder::BuildKit, Builder::Classic] {
        let error = build(&bed, builder, Arc::new(Torn)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the files of the build could not be sent: read large: the file changed while it was read",
            "{builder:?}"
        );
        assert_eq!(error.blame(), Blame::World);
    }
}

/// A tree without end, or with one file that has none.
#[derive(Default)]
struct Endless {
    is_one_file: bool,
    began: Notify,
}

impl BuildContext for Endless {
    fn tar(&self) -> TarStream {
        Box::pin(futures_util::stream::repeat_with(|| Ok(vec![0; 512].into())))
    }

    fn walk(&self, _: &Selection, visitor: &mut dyn Visitor) -> io::Result<()> {
        if self.is_one_file {
            return visitor.visit(entry("Dockerfile", u64::MAX / 2));
        }
        self.began.notify_one();
        for number in 0_u64.. {
            if !visitor.is_heard() {
                return Err(nobody_listens());
            }
            visitor.visit(entry(&format!("{number:020}"), 0))?;
        }
        Ok(())
    }

    fn open(&self, _: &Path, _: u64) -> io::Result<Box<dyn Read + Send>> {
        self.began.notify_one();
        if self.is_one_file { Ok(Box::new(io::repeat(b'#'))) } else { Ok(Box::new(io::empty())) }
    }
}

#[tokio::test]
async fn a_build_that_is_given_up_ends_the_reading() {
    for is_one_file in [false, true] {
        let bed = Bed::new();
        let context = Arc::new(Endless { is_one_file, ..Endless::default() });
        tokio::select! {
            ended = build(&bed, Builder::BuildKit, Arc::clone(&context) as Arc<dyn BuildContext>) => {
                panic!("{ended:?}")
            }
            () = context.began.notified() => {}
        }
        eventually("nobody reads the tree any more", async || Arc::strong_count(&context) == 1).await;
    }
}

#[tokio::test]
async fn an_image_that_is_to_tell_what_it_was_built_from_does() {
    let bed = Bed::new();
    for (value, is_told) in [("1", true), ("0", false)] {
        write_dockerfile(&bed, &format!("LABEL value={value}\n"));
        let context = Context::for_build(bed.files(), ".", "Dockerfile").await.unwrap();
        let args = BTreeMap::from([("BUILDKIT_INLINE_CACHE".to_owned(), value.to_owned())]);
        let request = BuildRequest { args: &args, ..bed.request(Arc::new(context)) };
        let id = bed.docker.build_with(Builder::BuildKit, request, &bed.out()).await.unwrap();
        let saved = Command::new("docker").args(["save", &id]).output().unwrap().stdout;
        let key: &[u8] = b"moby.buildkit.cache.v0";
        assert_eq!(saved.windows(key.len()).any(|window| window == key), is_told, "{value}");
    }
}
