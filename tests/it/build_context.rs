//! The folder of a build as a tar stream: what is sent, in which order, and what is refused.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use futures_util::TryStreamExt;
use homeport::ci::context::Context;
use homeport::ci::context::ContextError;
use tempfile::TempDir;

/// A tree with these files; a name that ends with `/` is an empty folder.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        if name.ends_with('/') {
            fs::create_dir_all(&path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
        }
    }
    dir
}

async fn bytes(context: Context) -> std::io::Result<Vec<u8>> {
    let chunks: Vec<_> = context.stream().try_collect().await?;
    Ok(chunks.concat())
}

async fn names(context: Context) -> Vec<String> {
    let bytes = bytes(context).await.unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().trim_end_matches('/').to_owned())
        .collect()
}

async fn sent(dir: &Path) -> Vec<String> {
    names(Context::for_build(dir, ".", "Dockerfile").await.unwrap()).await
}

#[tokio::test]
async fn what_an_image_had_better_not_hold_is_named_once_it_is_read_unless_it_is_ignored() {
    let dir = tree(&[
        ("Dockerfile", "FROM scratch"),
        (".env", "PASSWORD=hunter2"),
        ("tls/site.pem", "-----BEGIN PRIVATE KEY-----\nMII"),
        (".git/config", "[core]"),
    ]);
    let context = Context::for_build(dir.path(), ".", "Dockerfile").await.unwrap();
    let findings = context.findings();
    bytes(context).await.unwrap();
    let warning = findings.warning().unwrap();
    assert!(warning.contains("gets `.env` (settings), `tls/site.pem` (a private key);"), "{warning}");

    fs::write(dir.path().join(".dockerignore"), ".env\ntls\n").unwrap();
    let context = Context::for_build(dir.path(), ".", "Dockerfile").await.unwrap();
    let findings = context.findings();
    bytes(context).await.unwrap();
    assert_eq!(findings.warning(), None);
}

#[tokio::test]
async fn a_tree_is_sent_in_a_fixed_order_without_its_history() {
    let dir = tree(&[
        ("b/z", ""),
        ("b/a", ""),
        ("Dockerfile", ""),
        ("a.txt", ""),
        (".git/HEAD", ""),
        ("b/.git", "gitdir: x"),
        ("empty/", ""),
    ]);
    assert_eq!(sent(dir.path()).await, ["Dockerfile", "a.txt", "b", "b/a", "b/z", "empty"]);
}

#[tokio::test]
async fn what_the_ignore_file_names_stays_here_but_not_what_the_builder_needs() {
    let dir = tree(&[
        (".dockerignore", "*\n!src/**/*.py\nsrc/secret.py\n"),
        ("Dockerfile", ""),
        ("notes", ""),
        ("src/deep/a.py", ""),
        ("src/deep/a.txt", ""),
        ("src/secret.py", ""),
        ("src/nothing/x", ""),
    ]);
    assert_eq!(sent(dir.path()).await, [".dockerignore", "Dockerfile", "src", "src/deep", "src/deep/a.py"]);
}

#[tokio::test]
async fn the_dockerfiles_own_ignore_file_wins() {
    let dir = tree(&[
        (".dockerignore", "a\n"),
        ("docker/prod", ""),
        ("docker/prod.dockerignore", "b\ndocker\n"),
        ("a", ""),
        ("b", ""),
    ]);
    let context = Context::for_build(dir.path(), ".", "./docker/prod").await.unwrap();
    assert_eq!(
        names(context).await,
        [".dockerignore", "a", "docker", "docker/prod", "docker/prod.dockerignore"]
    );
}

#[tokio::test]
async fn a_folder_below_the_root_can_be_the_context() {
    let dir = tree(&[("web/Dockerfile", ""), ("web/a", ""), ("b", "")]);
    let context = Context::for_build(dir.path(), "web", "Dockerfile").await.unwrap();
    assert_eq!(names(context).await, ["Dockerfile", "a"]);
}

#[tokio::test]
async fn links_are_kept_and_of_modes_what_git_knows_and_files_belong_to_root() {
    let dir = tree(&[("Dockerfile", "FROM scratch\n"), ("run.sh", "#!/bin/sh\n")]);
    fs::set_permissions(dir.path().join("run.sh"), fs::Permissions::from_mode(0o4750)).unwrap();
    fs::set_permissions(dir.path().join("Dockerfile"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("/etc/passwd", dir.path().join("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    let bytes = bytes(Context::for_build(dir.path(), ".", "Dockerfile").await.unwrap()).await.unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut seen = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        let link = entry.link_name().unwrap().map(|l| l.to_string_lossy().into_owned());
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        seen.insert(name, (header.mode().unwrap(), link, text));
    }
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["Dockerfile", "link", "run.sh"]);
    assert_eq!(seen["run.sh"], (0o755, None, "#!/bin/sh\n".to_owned()));
    assert_eq!(seen["link"].1.as_deref(), Some("/etc/passwd"));
    assert_eq!(seen["Dockerfile"], (0o644, None, "FROM scratch\n".to_owned()));
}

#[tokio::test]
async fn nothing_outside_the_tree_is_ever_used() {
    let outside = tree(&[("Dockerfile", "FROM stolen\n"), ("ignore", "secret\n")]);
    let dir = tree(&[("Dockerfile", ""), ("inner/", "")]);
    let path = dir.path();
    symlink(outside.path(), path.join("away")).unwrap();
    symlink(outside.path().join("Dockerfile"), path.join("stolen")).unwrap();
    for (context, dockerfile) in
        [("..", "Dockerfile"), ("/", "etc/passwd"), ("away", "Dockerfile"), (".", "stolen"), (".", "../x")]
    {
        let refused = Context::for_build(path, context, dockerfile).await.unwrap_err();
        assert!(matches!(refused, ContextError::Outside { .. }), "{context} {dockerfile}: {refused}");
    }
    symlink(outside.path().join("ignore"), path.join(".dockerignore")).unwrap();
    let refused = Context::for_build(path, ".", "Dockerfile").await.unwrap_err();
    assert!(matches!(refused, ContextError::Outside { what: "ignore file", .. }), "{refused}");
}

#[tokio::test]
async fn a_dockerfile_may_be_a_link_inside_the_tree() {
    let dir = tree(&[("docker/real", ""), (".dockerignore", "docker\n")]);
    symlink("docker/real", dir.path().join("Dockerfile")).unwrap();
    assert_eq!(sent(dir.path()).await, [".dockerignore", "Dockerfile", "docker", "docker/real"]);
}

#[tokio::test]
async fn what_is_missing_or_malformed_is_named() {
    let dir = tree(&[("x", "")]);
    let refused = Context::for_build(dir.path(), ".", "Dockerfile").await.unwrap_err();
    insta::assert_snapshot!(refused, @"the commit has no Dockerfile at `Dockerfile`; set its path in the configuration, or add the file");
    let refused = Context::for_build(dir.path(), "web", "Dockerfile").await.unwrap_err();
    insta::assert_snapshot!(refused, @"the commit has no context at `web`; set its path in the configuration, or add the file");
    let dir = tree(&[("Dockerfile", ""), (".dockerignore", "a\n[\n")]);
    let refused = Context::for_build(dir.path(), ".", "Dockerfile").await.unwrap_err();
    insta::assert_snapshot!(refused, @".dockerignore: `[` is not a pattern of a .dockerignore: a `[` is not closed");
}

#[tokio::test]
async fn long_names_and_large_files_arrive_whole() {
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(200));
    let dir = tree(&[("Dockerfile", ""), (&long, "x"), ("empty", "")]);
    fs::write(dir.path().join("large"), vec![7; 3_000_001]).unwrap();
    let bytes = bytes(Context::for_build(dir.path(), ".", "Dockerfile").await.unwrap()).await.unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let sizes: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.path().unwrap().to_string_lossy().into_owned(), entry.size()))
        .collect();
    assert!(sizes.contains(&(long, 1)), "{sizes:?}");
    assert!(sizes.contains(&("large".to_owned(), 3_000_001)), "{sizes:?}");
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_an_error() {
    let dir = tree(&[("Dockerfile", "")]);
    let large = dir.path().join("large");
    let file = fs::File::create(&large).unwrap();
    file.set_len(50_000_000).unwrap();
    let mut stream = Context::for_build(dir.path(), ".", "Dockerfile").await.unwrap().stream();
    // The reader is held by its full channel in the midst of the file.
    for _ in 0..4 {
        assert!(stream.try_next().await.unwrap().is_some());
    }
    file.set_len(20_000_000).unwrap();
    let error = stream.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.to_string(), "read large: the file changed while it was read");
}
