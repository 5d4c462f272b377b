//! The sample application of the plan: a Flask service with pytest tests, `FROM python:3.9-alpine`, `COPY . .`, no
//! `.dockerignore`, no HEALTHCHECK, port 5000, and a first process that ignores SIGTERM. It comes as it is, and its
//! owner writes five lines.

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use serde_json::json;

use crate::world::Options;
use crate::world::World;
use crate::world::app::BASE_IMAGE;
use crate::world::repository::Change;

/// Stands in for the interpreter: it tests by counting tests, and serves what the application would return. As the
/// first process of a container it ignores SIGTERM, as Python does.
const PYTHON: &str = r#"#!/bin/sh
case "$1 $2" in
"-m pytest")
    count=$(cat tests/test_*.py | grep -c '^def test_')
    echo "$count passed"
    exit $(( count == 0 ));;
"-m src.app")
    mkdir -p /served
    sed -n 's/.*return "\(.*\)"/\1/p' src/app.py > /served/index.html
    exec httpd -f -p 5000 -h /served;;
esac
echo "nothing is known of python $*" >&2
exit 2
"#;
const PIP: &str = "#!/bin/sh\necho \"pip $*\"\n";

/// Names an archive of a file system with a real Python, pip and the wheels it needs, to be taken instead.
const REAL_PYTHON: &str = "HOMEPORT_PYTHON_IMAGE";

/// An engine that has `python:3.9-alpine` without the internet. It must be the world's own: under this name the
/// developer may have the real one.
async fn world_with_python() -> World {
    let world = World::start_with(Options { private_engine: true, ..Options::default() }).await;
    if let Ok(archive) = std::env::var(REAL_PYTHON) {
        world.engine.docker(&["import", &archive, "python:3.9-alpine"]).await.unwrap();
        return world;
    }
    let context = world.folder().join("python");
    std::fs::create_dir(&context).unwrap();
    let files = [
        ("python", PYTHON.to_owned()),
        ("pip", PIP.to_owned()),
        (
            "Dockerfile",
            format!("FROM {BASE_IMAGE}\nCOPY python pip /bin/\nRUN chmod 755 /bin/python /bin/pip\n"),
        ),
    ];
    for (name, text) in files {
        std::fs::write(context.join(name), text).unwrap();
    }
    let build = ["build", "--quiet", "--tag", "python:3.9-alpine", context.to_str().unwrap()];
    world.engine.docker(&build).await.unwrap();
    world
}

async fn commit_sample(world: &World) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/flask-service");
    let files = [
        "Dockerfile",
        "README.md",
        "requirements.txt",
        "src/__init__.py",
        "src/app.py",
        "tests/__init__.py",
        "tests/test_app.py",
    ];
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    let changes = files.map(|file| Change::Write(file.to_owned(), read(file)));
    world.repo.commit_changes("main", &changes, "Say hello").await;
}

#[tokio::test]
async fn the_sample_application_of_the_plan_goes_through_with_five_lines() {
    let world = world_with_python().await;
    let project = json!({
        "name": world.project(),
        "repository": world.repo.name(),
        "image": {"name": world.image()},
        "deploy": {"ports": [format!("{}:5000", world.port())]}
    });
    world.agent.set("/projects/0", project);
    commit_sample(&world).await;

    world.agent.once().await.expect_success();

    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1"]).await;
    world.expect_serving("hello from Flask").await;
    let log = world.log_of(1).await;
    assert!(log.contains("python:3.9-alpine") && log.contains("requirements.txt"), "{log}");
    assert!(log.contains("| 4 passed"), "{log}");
    world.expect_mail("1 deployed").await;

    eprintln!("{log}\n{}", world.log_of(2).await);
    let asked = Instant::now();
    world.engine.docker(&["stop", world.project()]).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(8), "the stop took {:?}", asked.elapsed());
    world.end().await;
}
