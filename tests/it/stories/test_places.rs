//! Where a commit is tested, and that its tests change nothing but their verdict.

use serde_json::json;

use crate::world::World;
use crate::world::app::App;
use crate::world::app::BASE_IMAGE;
use crate::world::assertions::eventually;
use crate::world::repository::Change;

/// A Dockerfile of two stages, the first of which tests by its build.
fn two_stages(test: &str) -> String {
    format!(
        "FROM {BASE_IMAGE} AS test\nWORKDIR /src\nCOPY . .\nRUN [\"sh\", \"-c\", \"{test}\"]\n\
         FROM {BASE_IMAGE}\nCOPY app /app\nCMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/app\"]\n"
    )
}

/// A commit of the app with this Dockerfile instead of its own.
async fn commit_with_dockerfile(world: &World, text: &str, dockerfile: &str) -> String {
    let mut changes = vec![Change::DeleteAll];
    let files = App::Page(text.to_owned()).files();
    changes.extend(files.into_iter().map(|(path, content)| Change::Write(path, content)));
    changes.push(Change::Write("Dockerfile".to_owned(), dockerfile.to_owned()));
    // The engine remembers what it built in other worlds: in this one nothing is known yet.
    changes.push(Change::Write("world".to_owned(), world.prefix().to_owned()));
    world.repo.commit_changes("main", &changes, &format!("Say {text}")).await
}

/// Commands that try to change what will be built.
const MEDDLING: [&str; 3] =
    ["echo meddled > app/index.html", "echo 'FROM nothing' > Dockerfile", "echo done meddling"];

async fn meddling_is_in_vain(world: World, place: serde_json::Value) {
    world.agent.set("/projects/0/test/in", place);
    world.agent.set("/projects/0/test/commands", json!(MEDDLING));
    world.repo.commit_page("hello untouched").await;

    world.agent.once().await.expect_success();

    let log = world.log_of(1).await;
    assert!(log.contains("| done meddling"), "{log}");
    let (_, page) = world.engine.http_get(world.port(), "/").await.unwrap();
    assert_eq!(page.trim(), "hello untouched");
    world.expect_no_leftovers().await;
    world.expect_mail("1 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn tests_in_an_image_cannot_change_what_is_built() {
    meddling_is_in_vain(World::start().await, json!({"image": BASE_IMAGE})).await;
}

#[tokio::test]
async fn tests_on_the_host_cannot_change_what_is_built() {
    meddling_is_in_vain(World::start().await, json!("host")).await;
}

#[tokio::test]
async fn tests_in_a_dockerfile_cannot_change_what_is_built() {
    let world = World::start().await;
    world.agent.set("/projects/0/test/in", json!({"dockerfile": "Dockerfile", "target": "test"}));
    world.agent.set("/projects/0/test/commands", json!(MEDDLING));
    commit_with_dockerfile(&world, "hello untouched", &two_stages("test -d app")).await;

    world.agent.once().await.expect_success();

    assert!(world.log_of(1).await.contains("| done meddling"));
    let (_, page) = world.engine.http_get(world.port(), "/").await.unwrap();
    assert_eq!(page.trim(), "hello untouched");
    world.expect_mail("1 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn the_build_of_a_stage_is_a_test_by_itself() {
    let world = World::start().await;
    world.agent.set("/projects/0/test", json!({"in": {"dockerfile": "Dockerfile", "target": "test"}}));
    commit_with_dockerfile(&world, "hello one", &two_stages("sh test.sh")).await;
    world.agent.once().await.expect_success();
    world.expect_mail("1 deployed").await;
    assert!(world.log_of(1).await.contains("all tests passed"));

    commit_with_dockerfile(&world, "hello two", &two_stages("echo expected 2, got 3; exit 1")).await;
    world.agent.once().await.expect_code(1);

    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 ci failed at test"]).await;
    world.expect_serving("hello one").await;
    let mail = world.expect_mail("tests failed").await;
    assert!(mail.text.contains("expected 2, got 3"), "{}", mail.text);
    world.end().await;
}

#[tokio::test]
async fn commands_run_in_the_image_that_the_dockerfile_describes() {
    let world = World::start().await;
    let place = json!({"dockerfile": "Dockerfile", "target": "test"});
    let commands = ["sh test.sh", "echo in $PWD", "cat /src/README.md"];
    world.agent.set("/projects/0/test", json!({"in": place, "commands": commands}));
    commit_with_dockerfile(&world, "hello one", &two_stages("true")).await;

    world.agent.once().await.expect_success();

    let log = world.log_of(1).await;
    assert!(log.contains("| in /src") && log.contains("| A sample."), "{log}");
    world.expect_mail("1 deployed").await;
    let names = world.engine.images().await;
    assert!(names.iter().all(|name| name.ends_with("/web:1")), "a test leaves images behind: {names:?}");
    world.end().await;
}

#[tokio::test]
async fn red_tests_on_the_host_end_with_all_their_processes() {
    let world = World::start().await;
    let marker = format!("{}-stray", world.prefix());
    let stray = format!("sh -c 'exec -a {marker} sleep 600' & sh -c 'echo begun; sleep 600' {marker} &");
    let commands = [stray.as_str(), "sleep 0.2", "echo 'expected 2, got 3'; false"];
    world.agent.set("/projects/0/test", json!({"in": "host", "commands": commands}));
    world.repo.commit_page("hello one").await;

    world.agent.once().await.expect_code(1);

    world.expect_runs(&["1 ci failed at test"]).await;
    let mail = world.expect_mail("tests failed").await;
    assert!(mail.text.contains("expected 2, got 3"), "{}", mail.text);
    let left = world.processes_naming(&marker);
    assert!(left.is_empty(), "the tests left processes running: {left:?}");
    world.end().await;
}

#[tokio::test]
async fn tests_on_the_host_do_not_reach_what_is_homeports() {
    let world = World::start().await;
    let files = [
        world.agent.state_dir().join("homeport.db"),
        world.agent.config_file(),
        world.agent.log_dir().join("canary"),
    ];
    std::fs::create_dir_all(world.agent.log_dir()).unwrap();
    std::fs::write(&files[2], "canary").unwrap();
    let commands: Vec<String> = files
        .iter()
        .map(|file| format!("cat {} >/dev/null 2>&1 && echo read || echo fenced", file.display()))
        .collect();
    world.agent.set("/projects/0/test", json!({"in": "host", "commands": commands}));
    world.repo.commit_page("hello one").await;

    world.agent.once().await.expect_success();

    let log = world.log_of(1).await;
    let said = |what: &str| log.lines().filter(|line| line.ends_with(what)).count();
    // What holds depends on the kernel, and the log says which it is.
    let is_fenced = log.contains("Landlock holds: they read the system");
    assert_ne!(is_fenced, log.contains("kernel without Landlock: tests on the host can read"), "{log}");
    assert_eq!((said("| fenced"), said("| read")), if is_fenced { (3, 0) } else { (0, 3) }, "{log}");
    world.expect_mail("1 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn an_owner_may_say_that_there_are_no_tests() {
    let world = World::start().await;
    world.agent.set("/projects/0/test", "none");
    world.repo.commit_app(&App::FailingTest("hello untested".to_owned())).await;

    world.agent.once().await.expect_success();

    world.expect_serving("hello untested").await;
    assert!(world.log_of(1).await.contains("the configuration says that there are no tests"));
    world.expect_mail("1 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn a_stage_named_test_is_found_by_itself() {
    let world = World::start().await;
    world.agent.unset("/projects/0/test");
    commit_with_dockerfile(&world, "hello found", &two_stages("sh test.sh")).await;

    world.agent.once().await.expect_success();

    world.expect_serving("hello found").await;
    let log = world.log_of(1).await;
    assert!(log.contains("the Dockerfile has a stage named `test`"), "{log}");
    assert!(log.contains("all tests passed"), "{log}");
    world.expect_mail("1 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn a_repository_without_any_sign_of_tests_fails_with_a_way_out() {
    let world = World::start().await;
    world.agent.unset("/projects/0/test");
    world.repo.commit_page("hello untested").await;

    world.agent.once().await.expect_code(1);

    world.expect_runs(&["1 ci failed at test"]).await;
    let mail = world.expect_mail("tests failed").await;
    assert!(mail.text.contains("\"test\": \"none\""), "{}", mail.text);
    world.expect_nothing_deployed().await;
    world.end().await;
}

#[tokio::test]
async fn a_test_image_that_cannot_be_had_is_no_fault_of_the_commit() {
    let world = World::start().await;
    let image = format!("{}/{}/no-such:1", world.registry.address(), world.prefix());
    world.agent.set("/projects/0/test/in", json!({"image": image}));
    world.repo.commit_page("hello one").await;
    world.agent.once().await.expect_code(1);
    world.expect_mail("tests failed").await;

    world.agent.set("/projects/0/test/in", json!({"image": BASE_IMAGE}));
    world.agent.once().await.expect_success();

    world.expect_runs(&["1 ci failed at test", "2 ci pushed 1", "3 cd deployed 1"]).await;
    world.expect_mail("FIXED: 1 deployed").await;
    world.end().await;
}

#[tokio::test]
async fn no_swap_begins_beside_the_build_of_a_dockerfile_that_tests() {
    let world = World::start().await;
    // An image that is nothing for this machine until the build goes on.
    world.publish("1", &App::Page("hello one".to_owned())).await;
    world.hub.alter_tag(&world.image(), "1", |tag| {
        tag.platforms.iter_mut().for_each(|platform| platform.architecture = "s390x".to_owned());
    });
    world.agent.set("/projects/0/test", json!({"in": {"dockerfile": "Dockerfile", "target": "test"}}));
    let wait = format!("sleep 7{}", world.prefix().chars().filter(char::is_ascii_digit).collect::<String>());
    commit_with_dockerfile(&world, "hello two", &two_stages(&format!("{wait} || echo let go"))).await;
    let agent = world.agent.spawn_run().await;
    let begun =
        eventually(async || match world.processes_naming(&wait).iter().any(|line| line.trim() == wait) {
            true => Ok(()),
            false => Err("the build has not come to its wait"),
        });
    begun.await.unwrap();
    world.hub.clear_alterations();
    let pulled = eventually(async || match world.runs().await.iter().find(|run| run.kind == "cd") {
        Some(run) if world.log_of(run.number).await.contains(" pull      done") => Ok(()),
        found => Err(format!("the image has not come: {found:?}")),
    });
    pulled.await.unwrap();
    // Only then the build goes on.
    let ended = std::process::Command::new("pkill").args(["-KILL", "-x", "-f", &wait]).status();
    assert!(ended.unwrap().success(), "nobody waits in the build");

    world.expect_mail("1 deployed").await;
    world.expect_mail("2 deployed").await;

    let times = |log: &str, part: &str| -> Vec<String> {
        log.lines().filter(|line| line.contains(part)).map(|line| line[..24].to_owned()).collect()
    };
    // The line is shown as it is begun, and its words when they are said.
    let built = times(&world.log_of(1).await, "let go").pop().unwrap();
    let swapping = world.log_of(2).await;
    assert!(times(&swapping, " swap ")[0] > built, "a swap went on beside the build");
    world.expect_runs(&["1 ci pushed 2", "2 cd deployed 1", "3 cd deployed 2"]).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn the_files_of_a_submodule_are_tested_and_built_in() {
    let world = World::start().await;
    let page = world.github.create_repository(&format!("{}-page", world.repo.name())).await;
    let sha = page.commit(&[("index.html", "hello submodule\n")], "Say hello").await;
    let name = page.name().rsplit('/').next().unwrap();
    let modules = format!("[submodule \"page\"]\n\tpath = app/page\n\turl = ../{name}.git\n");
    world.agent.set("/projects/0/submodules", true);
    world.agent.set("/projects/0/test/commands", json!(["cat app/page/index.html"]));
    world.repo.commit_page("hello one").await;
    let changes =
        [Change::Write(".gitmodules".to_owned(), modules), Change::Submodule("app/page".to_owned(), sha)];
    world.repo.commit_changes("main", &changes, "Add a submodule").await;

    world.agent.once().await.expect_success();

    world.expect_mail("1 deployed").await;
    assert!(world.log_of(1).await.contains("| hello submodule"), "{}", world.log_of(1).await);
    let (_, page) = world.engine.http_get(world.port(), "/page/").await.unwrap();
    assert_eq!(page.trim(), "hello submodule");
    world.end().await;
}
