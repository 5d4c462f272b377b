//! The Docker client against a real engine and real registries.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use homeport::ci::context::Context;
use homeport::clients::docker::BuildError;
use homeport::clients::docker::BuildRequest;
use homeport::clients::docker::Builder;
use homeport::clients::docker::Docker;
use homeport::clients::docker::DockerError;
use homeport::clients::docker::Ended;
use homeport::clients::docker::ImageReference;
use homeport::clients::docker::ImageRemoval;
use homeport::clients::docker::Stopped;
use homeport::config::settings::PortMapping;
use homeport::config::settings::Protocol;
use homeport::model::Blame;
use homeport::model::HealthStatus;
use homeport::model::LABEL_PROJECT;
use homeport::model::Life;
use homeport::model::ROLE_SERVICE;
use homeport::model::RestartPolicy;

use crate::docker_bed::Bed;
use crate::docker_bed::LIMIT;
use crate::docker_bed::Line;
use crate::docker_bed::Registry;
use crate::docker_bed::SERVICE;
use crate::docker_bed::eventually;
use crate::docker_bed::is_running;
use crate::docker_bed::login;

#[tokio::test]
async fn the_engine_describes_itself_and_its_machine() {
    let engine = Bed::new().docker.engine().await.unwrap();
    assert_eq!(engine.os, "linux");
    assert!(engine.buildkit && engine.cpus > 0 && engine.memory > 0, "{engine:?}");
    assert!(
        engine.data_root.starts_with('/') && !engine.goarch.is_empty() && !engine.kernel_machine.is_empty()
    );
}

#[tokio::test]
async fn an_absent_engine_is_an_error_of_the_first_call_with_the_way_out() {
    let docker = Docker::connect("unix:///nowhere/docker.sock").unwrap();
    let error = docker.engine().await.unwrap_err();
    insta::assert_snapshot!(error, @"ask for the engine's version: Docker at unix:///nowhere/docker.sock cannot be reached: there is no socket at /nowhere/docker.sock; install Docker, or start it with `sudo systemctl start docker`");
    assert!(matches!(error, DockerError::Unreachable { .. }));
    let error = Docker::connect("tcp://127.0.0.1:1").unwrap().engine().await.unwrap_err();
    insta::assert_snapshot!(error, @"ask for the engine's version: Docker at tcp://127.0.0.1:1 cannot be reached: client error (Connect): tcp connect error: Connection refused (os error 111); start it with `sudo systemctl start docker`");
    assert!(matches!(error, DockerError::Unreachable { .. }));
    insta::assert_snapshot!(Docker::connect("ssh://me@there").unwrap_err(), @"connect to Docker: Docker at ssh://me@there cannot be reached: the address must be `unix:///PATH` or `tcp://HOST:PORT`");
}

#[tokio::test]
async fn both_builders_make_the_same_image() {
    for builder in [Builder::BuildKit, Builder::Classic] {
        let bed = Bed::new();
        fs::write(bed.files().join("hello"), "hello\n").unwrap();
        fs::write(bed.files().join(".dockerignore"), "secret\n").unwrap();
        fs::write(bed.files().join("secret"), "").unwrap();
        let dockerfile = "FROM scratch\nARG WORD\nCOPY . /\n\
             RUN [\"/busybox\", \"sh\", \"-c\", \"/busybox cat /hello; echo said $WORD; ! test -e /secret\"]\n\
             EXPOSE 80 53/udp\nHEALTHCHECK CMD true\n";
        let id = bed
            .try_build(builder, dockerfile, LIMIT)
            .await
            .unwrap_or_else(|e| panic!("{e}\n{}", bed.output()));
        let image = bed.docker.image(&id).await.unwrap().unwrap();
        assert_eq!(image.id, id);
        assert_eq!(image.repo_tags, [bed.image_in("docker.io", "built").to_string()]);
        assert_eq!(image.labels, bed.labels("image"));
        assert_eq!(image.exposed_ports, [(53, Protocol::Udp), (80, Protocol::Tcp)]);
        assert!(image.has_healthcheck && image.size > 1_000_000 && image.created.is_some());
        let output = bed.output();
        assert!(
            output.contains("\nhello\n") && output.contains("said from an arg\n"),
            "{builder:?}: {output}"
        );
    }
}

#[tokio::test]
async fn a_failed_build_says_whose_fault_it_is() {
    for builder in [Builder::BuildKit, Builder::Classic] {
        let bed = Bed::new();
        let run =
            "FROM scratch\nCOPY busybox /\nRUN [\"/busybox\", \"sh\", \"-c\", \"echo too bad; exit 3\"]\n";
        let full = run.replace("too bad", "No space left on device");
        for (dockerfile, blame) in [
            (run, Blame::Commit),
            ("FROM scratch\nCOPY nothing /\n", Blame::Commit),
            ("FORM scratch\n", Blame::Commit),
            ("FROM 127.0.0.1:1/nothing\n", Blame::World),
            (&full, Blame::World),
        ] {
            let error = bed.try_build(builder, dockerfile, LIMIT).await.unwrap_err();
            assert_eq!(error.blame(), blame, "{builder:?} {dockerfile}: {error}\n{}", bed.output());
        }
        assert!(bed.output().contains("too bad\n"));
    }
}

#[tokio::test]
async fn a_build_that_is_dropped_or_too_long_ends_in_the_engine() {
    for (builder, seconds) in [(Builder::BuildKit, "86001"), (Builder::Classic, "86002")] {
        let bed = Bed::new();
        let dockerfile =
            format!("FROM scratch\nCOPY busybox /\nRUN [\"/busybox\", \"sleep\", \"{seconds}\"]\n");
        {
            let mut build = Box::pin(bed.try_build(builder, &dockerfile, LIMIT));
            let began = Instant::now();
            while !is_running(seconds) {
                assert!(began.elapsed() < LIMIT, "{}", bed.output());
                let a_moment = tokio::time::timeout(Duration::from_millis(50), &mut build).await;
                assert!(a_moment.is_err(), "{builder:?}: {a_moment:?}");
            }
        }
        eventually("the dropped build ends", async || !is_running(seconds)).await;

        let error = bed.try_build(builder, &dockerfile, Duration::from_secs(3)).await.unwrap_err();
        assert!(matches!(error, BuildError::TooLong(_)), "{error}");
        eventually("the overlong build ends", async || !is_running(seconds)).await;
    }
}

#[tokio::test]
async fn a_build_that_is_a_test_may_be_without_a_network() {
    let bed = Bed::new();
    bed.image("").await;
    for builder in [Builder::BuildKit, Builder::Classic] {
        for has_network in [true, false] {
            // Each has a line of its own, since what one has built another takes from the cache, in another run too.
            let base = bed.image_in("docker.io", "built");
            let script =
                format!(": {base} {has_network}; ls /sys/class/net; cat /sys/fs/cgroup/cpu/cpu.shares || :");
            let dockerfile = format!("FROM {base}\nRUN [\"sh\", \"-c\", \"{script}\"]\n");
            fs::write(bed.files().join("Dockerfile"), dockerfile).unwrap();
            let context = Context::for_build(bed.files(), ".", "Dockerfile").await.unwrap();
            let request = BuildRequest { has_network, ..bed.request(Arc::new(context)) };
            let told = bed.output().len();
            bed.docker.build_with(builder, request, &bed.out()).await.unwrap();
            let output = bed.output().split_off(told);
            let told = |word: &str| output.lines().any(|line| line.split(' ').any(|part| part == word));
            assert_eq!((told("eth0"), told("lo")), (has_network, true), "{builder:?}: {output}");
            let is_control_group_1 = Path::new("/sys/fs/cgroup/cpu").is_dir();
            assert_eq!(
                told("256"),
                builder == Builder::Classic && is_control_group_1,
                "{builder:?}: {output}"
            );
        }
    }
}

#[tokio::test]
async fn a_container_lives_through_all_its_states() {
    let bed = Bed::new();
    let image = bed.image(SERVICE).await;
    let mut spec = bed.spec();
    spec.env.insert("GREETING".to_owned(), "a=b".to_owned());
    let labels = bed.labels(ROLE_SERVICE);
    let id = bed.docker.create(&bed.name(".next"), &spec, &image, &labels).await.unwrap();
    let made = bed.docker.inspect(id.as_str()).await.unwrap().unwrap();
    assert_eq!(
        (made.name.as_str(), made.life, made.policy),
        (bed.name(".next").as_str(), Life::Created, RestartPolicy::No)
    );
    assert_eq!((&made.image_id, made.address, made.health), (&image, None, None));

    bed.docker.start(&id).await.unwrap();
    bed.docker.start(&id).await.unwrap();
    let running = bed.docker.inspect(bed.name(".next").as_str()).await.unwrap().unwrap();
    assert!(running.is_running() && running.address.is_some(), "{running:?}");

    bed.docker.rename(&id, &bed.name("")).await.unwrap();
    bed.docker.rename(&id, &bed.name("")).await.unwrap();
    for policy in
        [RestartPolicy::Always, RestartPolicy::UnlessStopped, RestartPolicy::OnFailure, RestartPolicy::No]
    {
        bed.docker.set_policy(&id, policy).await.unwrap();
    }
    eventually("it says that it is up", async || bed.docker.logs_tail(&id, 5).await.unwrap() == ["up"]).await;
    let stopped = bed.docker.stop(&id, Duration::from_secs(20)).await.unwrap();
    assert_eq!(stopped, Stopped::ByItself);
    bed.docker.stop(&id, Duration::from_secs(20)).await.unwrap();
    let ended = bed.docker.inspect(id.as_str()).await.unwrap().unwrap();
    assert_eq!(
        (ended.life, ended.name.as_str()),
        (Life::Exited { code: 0, out_of_memory: false }, bed.name("").as_str())
    );

    bed.docker.remove(&id, false).await.unwrap();
    bed.docker.remove(&id, false).await.unwrap();
    assert_eq!(bed.docker.inspect(id.as_str()).await.unwrap(), None);
    assert!(matches!(bed.docker.stop(&id, Duration::ZERO).await, Err(DockerError::NotFound { .. })));
    assert!(matches!(bed.docker.start(&id).await, Err(DockerError::NotFound { .. })));
}

#[tokio::test]
async fn a_container_that_ignores_the_signal_is_killed_after_its_grace() {
    let bed = Bed::new();
    let image =
        bed.image(r#"CMD ["/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"]"#).await;
    let id = bed.started(&image, "").await;
    eventually("it is up", async || !bed.docker.logs_tail(&id, 1).await.unwrap().is_empty()).await;
    let stopped = bed.docker.stop(&id, Duration::from_secs(1)).await.unwrap();
    assert_eq!(stopped, Stopped::Killed);
    assert!(matches!(
        bed.docker.remove(&bed.started(&image, ".b").await, false).await,
        Err(DockerError::Conflict { .. })
    ));
}

#[tokio::test]
async fn a_taken_name_and_a_taken_port_are_conflicts() {
    let bed = Bed::new();
    let image = bed.image(SERVICE).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut spec = bed.spec();
    spec.ports.push(PortMapping {
        address: Some("127.0.0.1".parse().unwrap()),
        host: taken.local_addr().unwrap().port(),
        container: 80,
        protocol: Protocol::Tcp,
    });
    let labels = bed.labels(ROLE_SERVICE);
    let id = bed.docker.create(&bed.name(""), &spec, &image, &labels).await.unwrap();
    let name = bed.docker.create(&bed.name(""), &spec, &image, &labels).await.unwrap_err();
    assert!(
        matches!(&name, DockerError::Conflict { message, .. } if message.contains("already in use")),
        "{name}"
    );
    let port = bed.docker.start(&id).await.unwrap_err();
    assert!(matches!(&port, DockerError::Conflict { .. }), "{port}");
    assert_eq!(bed.docker.inspect(id.as_str()).await.unwrap().unwrap().life, Life::Created);
    drop(taken);
    bed.docker.start(&id).await.unwrap();
    let second = bed.docker.create(&bed.name(".b"), &spec, &image, &labels).await.unwrap();
    let port = bed.docker.start(&second).await.unwrap_err();
    assert!(matches!(&port, DockerError::Conflict { .. }), "{port}");
    assert!(matches!(bed.docker.rename(&second, &bed.name("")).await, Err(DockerError::Conflict { .. })));
    assert_eq!(bed.docker.containers_of(&bed.project).await.unwrap().len(), 2);
    let absent = bed.docker.create(&bed.name(".c"), &spec, "sha256:0000", &labels).await.unwrap_err();
    assert!(matches!(absent, DockerError::NotFound { .. }), "{absent}");
}

#[tokio::test]
async fn an_exit_is_seen_at_once() {
    let bed = Bed::new();
    let image = bed.image(SERVICE).await;
    let id = bed.started(&image, "").await;
    let kill = async {
        assert!(tokio::time::timeout(Duration::from_millis(300), bed.docker.wait_exit(&id)).await.is_err());
        let began = Instant::now();
        bed.docker.stop(&id, Duration::from_secs(20)).await.unwrap();
        began
    };
    let (ended, _) = tokio::join!(bed.docker.wait_exit(&id), kill);
    assert_eq!(ended.unwrap(), Ended::Exited { code: 0 });
    assert_eq!(bed.docker.wait_exit(&id).await.unwrap(), Ended::Exited { code: 0 });
    bed.docker.remove(&id, true).await.unwrap();
    assert_eq!(bed.docker.wait_exit(&id).await.unwrap(), Ended::Removed);

    let failing = bed.image(r#"CMD ["/bin/sh", "-c", "echo out; echo err >&2; printf last; exit 7"]"#).await;
    let id = bed.started(&failing, "").await;
    assert_eq!(bed.docker.wait_exit(&id).await.unwrap(), Ended::Exited { code: 7 });
    let mut lines = bed.docker.logs_tail(&id, 10).await.unwrap();
    lines.sort();
    assert_eq!(lines, ["err", "last", "out"]);
    assert_eq!(bed.docker.logs_tail(&id, 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_healthcheck_is_shown() {
    let bed = Bed::new();
    let check = "HEALTHCHECK --interval=1s --retries=1 CMD [\"/bin/sh\", \"-c\", \"test ! -e /sick\"]\n";
    let image = bed.image(&format!("{check}{SERVICE}")).await;
    let id = bed.started(&image, "").await;
    eventually("it is healthy", async || {
        let seen = bed.docker.inspect(id.as_str()).await.unwrap().unwrap();
        seen.health == Some(HealthStatus::Healthy)
    })
    .await;
}

#[tokio::test]
async fn an_image_goes_to_a_registry_and_comes_back_by_digest() {
    let (bed, registry) = (Bed::new(), Registry::open());
    let id = bed.image("").await;
    let reference = bed.image_in(&registry.address, "1");
    assert_eq!(bed.docker.registry_digest(&reference, None).await.unwrap(), None);
    bed.docker.tag(&id, &reference).await.unwrap();
    let digest = bed.docker.push(&reference, None, LIMIT, &bed.out()).await.unwrap();
    assert_eq!(bed.docker.registry_digest(&reference, None).await.unwrap(), Some(digest.clone()));

    for name in [reference.to_string(), bed.image_in("docker.io", "built").to_string()] {
        assert_eq!(bed.docker.remove_image(&name).await.unwrap(), ImageRemoval::Removed);
    }
    assert_eq!(bed.docker.remove_image(&reference.to_string()).await.unwrap(), ImageRemoval::Absent);
    assert_eq!(bed.docker.image(&id).await.unwrap(), None);

    let name = format!("me/{}", bed.project).parse().unwrap();
    let pinned = ImageReference::pinned(&registry.address, &name, &digest);
    let pulled = bed.docker.pull(&pinned, None, None, LIMIT, &bed.out()).await.unwrap();
    assert_eq!(pulled.digest_in(pinned.repository()), Some(digest));
    assert_eq!(pulled.repo_tags, Vec::<String>::new());
    assert_eq!(
        bed.docker.images_of(&bed.project, "nobody/nothing").await.unwrap(),
        std::slice::from_ref(&pulled)
    );
    assert_eq!(
        bed.docker.images_of(&"nobody".parse().unwrap(), pinned.repository()).await.unwrap(),
        [pulled]
    );

    // What is here by its digest is not asked for again, even if the registry is gone.
    drop(registry);
    bed.docker.pull(&pinned, None, None, LIMIT, &bed.out()).await.unwrap();
    assert!(bed.output().ends_with("is already here\n"), "{}", bed.output());
    let error = bed.docker.pull(&reference, None, None, LIMIT, &bed.out()).await.unwrap_err();
    assert!(matches!(error, DockerError::Refused { .. } | DockerError::Stream { .. }), "{error}");
}

#[tokio::test]
async fn an_image_in_use_is_left_alone() {
    let bed = Bed::new();
    let image = bed.image(SERVICE).await;
    let id = bed.started(&image, "").await;
    bed.docker.stop(&id, Duration::ZERO).await.unwrap();
    assert_eq!(bed.docker.remove_image(&image).await.unwrap(), ImageRemoval::InUse);
    let built = bed.image_in("docker.io", "built").to_string();
    assert_eq!(bed.docker.remove_image(&built).await.unwrap(), ImageRemoval::InUse);
    bed.docker.remove(&id, false).await.unwrap();
    assert_eq!(bed.docker.remove_image(&image).await.unwrap(), ImageRemoval::Removed);
}

#[tokio::test]
async fn a_registry_that_wants_a_login_gets_the_right_one() {
    // In the standard alphabet this login holds both characters that the engine cannot read.
    let password = "a?~>b?>~c??~>";
    let (bed, registry) = (Bed::new(), Registry::with_user("me", password));
    let good = login("me", password);
    let id = bed.image("").await;
    let reference = bed.image_in(&registry.address, "1");
    bed.docker.tag(&id, &reference).await.unwrap();
    for bad in [None, Some(login("me", "wrong"))] {
        let error = bed.docker.push(&reference, bad.as_ref(), LIMIT, &bed.out()).await.unwrap_err();
        assert!(matches!(error, DockerError::Denied { .. }), "{error}");
        let error = bed.docker.registry_digest(&reference, bad.as_ref()).await.unwrap_err();
        assert!(matches!(error, DockerError::Denied { .. }), "{error}");
        let error = bed.docker.pull(&reference, None, bad.as_ref(), LIMIT, &bed.out()).await.unwrap_err();
        assert!(matches!(error, DockerError::Denied { .. }), "{error}");
    }
    let digest = bed.docker.push(&reference, Some(&good), LIMIT, &bed.out()).await.unwrap();
    assert_eq!(bed.docker.registry_digest(&reference, Some(&good)).await.unwrap(), Some(digest));
    bed.docker.pull(&reference, None, Some(&good), LIMIT, &bed.out()).await.unwrap();
    let absent = bed.image_in(&registry.address, "2");
    assert_eq!(bed.docker.registry_digest(&absent, Some(&good)).await.unwrap(), None);
    let error = bed.docker.pull(&absent, None, Some(&good), LIMIT, &bed.out()).await.unwrap_err();
    assert!(matches!(error, DockerError::NotFound { .. }), "{error}");
    assert!(!bed.output().contains(password));
}

#[tokio::test]
async fn a_private_base_image_is_pulled_with_the_login() {
    let password = "a?~>b?>~c??~>";
    let registry = Registry::with_user("me", password);
    let good = login("me", password);
    for builder in [Builder::BuildKit, Builder::Classic] {
        let bed = Bed::new();
        let id = bed.image("").await;
        let base = bed.image_in(&registry.address, "base");
        bed.docker.tag(&id, &base).await.unwrap();
        bed.docker.push(&base, Some(&good), LIMIT, &bed.out()).await.unwrap();
        for name in [base.to_string(), bed.image_in("docker.io", "built").to_string()] {
            bed.docker.remove_image(&name).await.unwrap();
        }
        // Over one session BuildKit asks for both, the login and the secret.
        let (secrets, line) = match builder {
            Builder::BuildKit => (
                BTreeMap::from([("a".to_owned(), "secret".into())]),
                "RUN --mount=type=secret,id=a,required=true test -s /run/secrets/a\n",
            ),
            Builder::Classic => (BTreeMap::new(), ""),
        };
        let dockerfile = format!("FROM {base}\nCOPY Dockerfile /\n{line}");
        fs::write(bed.files().join("Dockerfile"), dockerfile).unwrap();
        for (user, is_good) in [(None, false), (Some((registry.address.as_str(), &good)), true)] {
            let context = Context::for_build(bed.files(), ".", "Dockerfile").await.unwrap();
            let request = BuildRequest { secrets: &secrets, login: user, ..bed.request(Arc::new(context)) };
            let built = bed.docker.build_with(builder, request, &bed.out()).await;
            assert_eq!(built.is_ok(), is_good, "{builder:?}: {built:?}\n{}", bed.output());
        }
    }
}

#[tokio::test]
async fn a_mute_engine_is_given_up() {
    let line = Line::new();
    line.mute();
    let docker = Docker::connect(&line.host).unwrap().with_patience(Duration::from_millis(100));
    let error = docker.engine().await.unwrap_err();
    insta::assert_snapshot!(error, @"ask for the engine's version: no answer from Docker within 100ms");
    assert!(matches!(error, DockerError::TimedOut { .. }));
}

#[tokio::test]
async fn waiting_for_an_exit_survives_a_cut() {
    let (bed, line) = (Bed::new(), Line::new());
    let image = bed.image(SERVICE).await;
    let id = bed.started(&image, "").await;
    let docker = Docker::connect(&line.host).unwrap();
    let mut waiting = Box::pin(docker.wait_exit(&id));
    for _ in 0..3 {
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err());
        line.cut();
    }
    let (ended, _) = tokio::join!(waiting, bed.docker.stop(&id, Duration::from_secs(20)));
    assert_eq!(ended.unwrap(), Ended::Exited { code: 0 });
}

#[tokio::test]
async fn a_build_whose_engine_vanishes_is_the_worlds_fault() {
    for (builder, seconds) in [(Builder::BuildKit, "86011"), (Builder::Classic, "86012")] {
        let (mut bed, line) = (Bed::new(), Line::new());
        bed.docker = Docker::connect(&line.host).unwrap();
        let dockerfile =
            format!("FROM scratch\nCOPY busybox /\nRUN [\"/busybox\", \"sleep\", \"{seconds}\"]\n");
        let cut = async {
            eventually("the build is under way", async || is_running(seconds)).await;
            line.cut();
        };
        let (built, ()) = tokio::join!(bed.try_build(builder, &dockerfile, LIMIT), cut);
        let error = built.unwrap_err();
        assert_eq!(error.blame(), Blame::World, "{builder:?}: {error}");
        eventually("the build ends in the engine", async || !is_running(seconds)).await;
    }
}

#[tokio::test]
async fn the_log_of_a_container_with_a_terminal_is_read_as_well() {
    let bed = Bed::new();
    let image = bed.image("").await;
    let label = format!("{LABEL_PROJECT}={}", bed.project);
    let started = std::process::Command::new("docker")
        .args([
            "run",
            "-d",
            "-t",
            "--label",
            &label,
            &image,
            "sh",
            "-c",
            "echo one; echo two >&2; printf three",
        ])
        .output()
        .unwrap();
    let id = String::from_utf8(started.stdout).unwrap().trim().parse().unwrap();
    assert_eq!(bed.docker.wait_exit(&id).await.unwrap(), Ended::Exited { code: 0 });
    assert_eq!(bed.docker.logs_tail(&id, 10).await.unwrap(), ["one", "two", "three"]);
    assert_eq!(bed.docker.logs_tail(&id, 2).await.unwrap(), ["two", "three"]);
}

#[tokio::test]
async fn the_output_of_a_build_reads_as_a_log() {
    let bed = Bed::new();
    // The project's name keeps the step out of other runs' cache.
    let step = format!("echo {}; printf two", bed.project);
    bed.image(&format!(
        "FROM scratch AS last\nCOPY busybox /\nRUN [\"/busybox\", \"sh\", \"-c\", \"{step}\"]"
    ))
    .await;
    let output = bed.output();
    assert!(output.contains(&format!("{step}\"]\n{}\ntwo\n#", bed.project)), "{output}");
    assert!(output.contains(" DONE ") && output.contains(" exporting to image\n"), "{output}");
}
