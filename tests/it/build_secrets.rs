//! Secrets that a build is given, against a real engine: who sees them, and who does not.

use std::fs;
use std::process::Command;
use std::time::Duration;
use std::time::SystemTime;

use homeport::clients::docker::BuildError;
use homeport::clients::docker::Builder;
use homeport::clients::docker::Docker;
use homeport::model::Blame;
use tokio::net::TcpListener;
use tokio::net::UnixStream;

use crate::docker_bed::Bed;
use crate::docker_bed::LIMIT;
use crate::docker_bed::Line;
use crate::docker_bed::eventually;
use crate::docker_bed::is_running;
use crate::stub_server::StubServer;
use crate::stub_server::answer;

/// A Dockerfile with one line of shell and a secret that is mounted with these options.
fn using(bed: &Bed, mount: &str, script: &str) -> String {
    let shell = format!("RUN --mount=type=secret,{mount} [\"/busybox\", \"sh\", \"-c\"");
    // Each has a line of its own: secrets have no part in what is found in the cache.
    format!("FROM scratch\nCOPY busybox /\n{shell}, \": {}; {script}\"]\n", bed.project)
}

#[tokio::test]
async fn a_line_that_mounts_a_secret_sees_it_and_nothing_else_ever_does() {
    let bed = Bed::new();
    let secret = format!("first line of {}\n\"second\", ünd läst\n", bed.project);
    let dockerfile = using(
        &bed,
        "id=netrc,target=/netrc",
        "/busybox sha256sum /netrc > /seen; /busybox sh -c '/busybox ls -l /netrc; /busybox env'",
    ) + "RUN [\"/busybox\", \"sh\", \"-c\", \"! /busybox test -s /netrc\"]\n";
    let secrets = [("netrc", secret.as_str()), ("other", "never asked for")];

    let built = bed.try_build_with(Builder::BuildKit, &dockerfile, &secrets, LIMIT).await;

    let id = built.unwrap_or_else(|error| panic!("{error}\n{}", bed.output()));
    let saved = bed.files().join("saved");
    let docker = |arguments: &[&str]| Command::new("docker").args(arguments).output().unwrap();
    assert!(docker(&["save", "--output", saved.to_str().unwrap(), &id]).status.success());
    let mut places = vec![("the saved image", fs::read(saved).unwrap())];
    for look in [["image", "inspect"], ["history", "--no-trunc"]] {
        places.push((look[0], docker(&[look[0], look[1], &id]).stdout));
    }
    places.push(("the output", bed.output().into_bytes()));
    for (place, content) in &places {
        for part in ["first line of it", "second\", ", "never asked"] {
            let is_there = content.windows(part.len()).any(|window| window == part.as_bytes());
            assert!(!is_there, "{place} holds `{part}`");
        }
    }
    fs::write(bed.files().join("expected"), &secret).unwrap();
    let expected = Command::new("sha256sum").arg(bed.files().join("expected")).output().unwrap();
    let sum = String::from_utf8(expected.stdout).unwrap().split(' ').next().unwrap().to_owned();
    let (_, image) = &places[0];
    assert!(image.windows(sum.len()).any(|window| window == sum.as_bytes()), "the line saw another text");
}

#[tokio::test]
async fn a_required_secret_that_is_not_configured_is_the_commits_fault() {
    let bed = Bed::new();
    let required = using(&bed, "id=npm-token,required=true", "echo never");
    for secrets in [&[][..], &[("npm", "of another name")]] {
        let built = bed.try_build_with(Builder::BuildKit, &required, secrets, LIMIT).await;
        let error = built.unwrap_err();
        assert_eq!(error.blame(), Blame::Commit, "{error}");
        assert!(matches!(&error, BuildError::NoSecret { id, .. } if id == "npm-token"), "{error}");
        assert!(error.to_string().contains("`image.secrets` has no `npm-token`"), "{error}");
    }
    let optional = using(&bed, "id=npm-token", "test ! -e /run/secrets/npm-token && echo without");
    for secrets in [&[][..], &[("npm", "of another name")]] {
        bed.try_build_with(Builder::BuildKit, &optional, secrets, LIMIT).await.unwrap();
    }
}

#[tokio::test]
async fn two_builds_at_once_get_their_own_secrets_over_a_socket_and_a_port() {
    let mut beds = [Bed::new(), Bed::new()];
    beds[1].docker = Docker::connect(&behind_a_port().await).unwrap();
    let build = async |bed: &Bed, own: &str, then: &str| {
        let script = format!("test $(/busybox cat /run/secrets/word) = {own} && {then}");
        let dockerfile = using(bed, "id=word,required=true", &script);
        bed.try_build_with(Builder::BuildKit, &dockerfile, &[("word", own)], LIMIT).await
    };
    // The first has seen its own and goes on until the second has, too.
    let (seconds, wait) = ("86022", "/busybox sleep 86022");
    let mut left = Box::pin(build(&beds[0], "left", wait));
    while !is_running(seconds) {
        let a_moment = tokio::time::timeout(Duration::from_millis(50), &mut left).await;
        assert!(a_moment.is_err(), "{a_moment:?}\n{}", beds[0].output());
    }
    let right = async {
        let built = build(&beds[1], "right", "echo done").await;
        built.unwrap_or_else(|error| panic!("{error}\n{}", beds[1].output()))
    };
    tokio::select! {
        _ = right => {}
        ended = &mut left => panic!("{ended:?}\n{}", beds[0].output()),
    }
    drop(left);
    eventually("the first build ends", async || !is_running(seconds)).await;
}

#[tokio::test]
async fn the_classic_builder_gets_no_build_that_has_secrets() {
    let bed = Bed::new();
    let built = bed.try_build_with(Builder::Classic, "FROM scratch\n", &[("a", "secret")], LIMIT).await;
    let error = built.unwrap_err();
    insta::assert_snapshot!(error, @"the build was not begun: only BuildKit gives a build its secrets (`image.secrets`), and Docker at unix:///var/run/docker.sock has none; use an engine that has it (Docker 18.09 or later, not Podman), or remove the key");
    assert_eq!((error.blame(), bed.output().as_str()), (Blame::World, ""));
}

/// The engine, reached by TCP.
async fn behind_a_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
            });
        }
    });
    format!("tcp://{address}")
}

/// A bed whose engine is at the end of a line.
fn bed_on(line: &Line) -> Bed {
    let mut bed = Bed::new();
    bed.docker = Docker::connect(&line.host).unwrap();
    bed
}

#[tokio::test]
async fn a_session_lives_as_long_as_its_build_and_no_longer() {
    let line = Line::new();
    let bed = bed_on(&line);
    let seconds = "86021";
    let endless = using(&bed, "id=a,required=true", &format!("/busybox sleep {seconds}"));
    {
        let mut build = Box::pin(bed.try_build_with(Builder::BuildKit, &endless, &[("a", "secret")], LIMIT));
        while !is_running(seconds) {
            let a_moment = tokio::time::timeout(Duration::from_millis(50), &mut build).await;
            assert!(a_moment.is_err(), "{a_moment:?}");
        }
        assert_eq!(line.connections(), 2, "the session and the build");
    }
    eventually("the dropped build ends", async || line.connections() == 0 && !is_running(seconds)).await;

    let short = using(&bed, "id=a,required=true", "echo done");
    bed.try_build_with(Builder::BuildKit, &short, &[("a", "secret")], LIMIT).await.unwrap();
    eventually("the session is over", async || line.connections() == 0).await;
    bed.try_build(Builder::BuildKit, "FROM scratch\nCOPY busybox /\n", LIMIT).await.unwrap();
    eventually("that without secrets is too", async || line.connections() == 0).await;
}

#[tokio::test]
async fn a_session_that_breaks_off_is_told_and_is_the_worlds_fault() {
    let line = Line::new();
    let mut bed = bed_on(&line);
    // In no cache yet.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seconds = format!("3.{}", now.as_nanos());
    let dockerfile = format!("FROM scratch\nCOPY busybox /\nRUN [\"/busybox\", \"sleep\", \"{seconds}\"]\n")
        + "RUN --mount=type=secret,id=a,required=true [\"/busybox\", \"true\"]\n";
    let cut = async {
        eventually("the build is under way", async || is_running(&seconds)).await;
        line.cut_oldest();
    };
    let build = bed.try_build_with(Builder::BuildKit, &dockerfile, &[("a", "secret")], LIMIT);
    let (built, ()) = tokio::join!(build, cut);
    let error = built.unwrap_err();
    assert!(matches!(error, BuildError::Session(_)), "{error}\n{}", bed.output());
    assert_eq!(error.blame(), Blame::World);

    let refusing = StubServer::start(|_, _| answer(501, &[], r#"{"message": "no sessions here"}"#)).await;
    bed.docker = Docker::connect(&refusing.url.as_str().replace("http://", "tcp://")).unwrap();
    let error =
        bed.try_build_with(Builder::BuildKit, &dockerfile, &[("a", "secret")], LIMIT).await.unwrap_err();
    insta::assert_snapshot!(error, @"open the session over which the build gets its files and secrets: Docker refused (501): no sessions here");

    line.mute();
    bed.docker = Docker::connect(&line.host).unwrap().with_patience(Duration::from_millis(200));
    let error =
        bed.try_build_with(Builder::BuildKit, &dockerfile, &[("a", "secret")], LIMIT).await.unwrap_err();
    insta::assert_snapshot!(error, @"open the session over which the build gets its files and secrets: no answer from Docker within 200ms");
}
