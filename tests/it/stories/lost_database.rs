//! The database lost or damaged: what can be found out again is, from the containers and the logs; what serves is
//! not touched, no number and no tag comes twice, and the owner is told once.

use std::path::PathBuf;

use crate::world::World;
use crate::world::app::App;
use crate::world::assertions::eventually;
use crate::world::standing::Standing;

const REBUILT: &str = "is rebuilt";
const TWO_VERSIONS: [&str; 4] = ["1 ci pushed 1", "2 cd deployed 1", "3 ci pushed 2", "4 cd deployed 2"];

/// A world whose second version serves, with the first one behind it.
async fn settled() -> (World, Standing) {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    let two = world.deploy_page("hello two").await;
    (world, two)
}

fn database(world: &World) -> PathBuf {
    world.agent.state_dir().join("homeport.db")
}

fn set_aside(world: &World) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(world.agent.state_dir()).unwrap().map(|entry| entry.unwrap().path());
    let is_kept = |path: &PathBuf| path.to_string_lossy().contains("homeport.db.damaged-");
    let mut kept: Vec<PathBuf> = entries.filter(is_kept).collect();
    kept.sort();
    kept
}

fn remove_database(world: &World) {
    for ending in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{}{ending}", database(world).display())).ok();
    }
}

/// Everything is known again, nothing was done twice, and the next commit takes the next numbers.
async fn expect_remembered(world: &World, two: &Standing) {
    world.expect_untouched(two).await;
    world.expect_runs(&TWO_VERSIONS).await;
    let status = world.agent.status_json().await;
    let project = &status["projects"][0];
    assert_eq!((&project["current"]["tag"], &project["previous"]["tag"]), (&"2".into(), &"1".into()));
    assert_eq!(project["current"]["container_id"], two.id.as_str());
    world.expect_mail(REBUILT).await;
    world.agent.once().await.expect_success();
    world.expect_no_unread_mail().await;
    world.expect_runs(&TWO_VERSIONS).await;
    world.deploy_page("hello three").await;
    world.expect_runs(&[&TWO_VERSIONS[..], &["5 ci pushed 3", "6 cd deployed 3"]].concat()).await;
    world.expect_tags(&["1", "2", "3"]).await;
}

#[tokio::test]
async fn a_database_that_is_gone_is_rebuilt_and_nothing_is_done_twice() {
    let (world, two) = settled().await;
    remove_database(&world);

    world.agent.once().await.expect_success();

    expect_remembered(&world, &two).await;
    assert_eq!(set_aside(&world), Vec::<PathBuf>::new());
    world.end().await;
}

#[tokio::test]
async fn a_database_of_length_zero_is_rebuilt() {
    let (world, two) = settled().await;
    std::fs::write(database(&world), b"").unwrap();

    world.agent.once().await.expect_success();

    expect_remembered(&world, &two).await;
    world.end().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_set_aside_whole_and_the_rest_goes_on() {
    let (world, two) = settled().await;
    let garbage = "not a database at all, ".repeat(500);
    std::fs::write(database(&world), &garbage).unwrap();

    let looked = world.agent.command(&["runs"]).await.expect_failure();
    assert!(looked.stderr.contains("the next start of the service sets it aside"), "{}", looked.stderr);
    assert_eq!(set_aside(&world), Vec::<PathBuf>::new());
    world.agent.once().await.expect_success();

    let kept = set_aside(&world);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(std::fs::read_to_string(&kept[0]).unwrap(), garbage);
    expect_remembered(&world, &two).await;
    world.end().await;
}

#[tokio::test]
async fn records_whose_last_part_is_lost_are_not_taken_for_the_truth() {
    let world = World::start().await;
    world.deploy_page("hello one").await;
    world.repo.commit_page("hello two").await;
    let agent = world.agent.spawn_run().await;
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed").await;
    agent.kill().await;
    let two = world.standing().await;
    // The second version's runs stand in the write-ahead log alone, which is overwritten.
    let log = database(&world).with_file_name("homeport.db-wal");
    let length = std::fs::metadata(&log).unwrap().len();
    assert!(length > 0);
    std::fs::write(&log, vec![0x5a; usize::try_from(length).unwrap()]).unwrap();

    world.agent.once().await.expect_success();

    expect_remembered(&world, &two).await;
    world.end().await;
}

#[tokio::test]
async fn a_database_that_breaks_while_it_is_used_ends_the_agent_and_the_next_start_rebuilds_it() {
    let (world, two) = settled().await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    // A run that begins has to find the table of runs unreadable.
    let file = std::fs::OpenOptions::new().write(true).open(database(&world)).unwrap();
    let length = file.metadata().unwrap().len();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0xff; usize::try_from(length).unwrap() - 100], 100)
        .unwrap();
    std::fs::write(database(&world).with_file_name("homeport.db-wal"), b"").unwrap();
    world.repo.commit_page("hello three").await;

    let ended = agent.wait_end().await;

    assert!(!ended.success());
    assert!(agent.stderr().contains("the next start sets it aside and rebuilds it"), "{}", agent.stderr());
    world.expect_untouched(&two).await;
    world.agent.once().await.expect_success();
    world.expect_mail(REBUILT).await;
    world.expect_mail("3 deployed").await;
    world.expect_serving("hello three").await;
    assert!(!set_aside(&world).is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_deployment_that_was_cut_and_forgotten_ends_with_the_proven_version_alone() {
    let world = World::start().await;
    world.agent.set("/projects/0/deploy/prove/timeout", "4s");
    let one = world.deploy_page("hello one").await;
    world.repo.commit_app(&App::NeverAnswers).await;
    let agent = world.agent.spawn_run().await;
    world.wait_for_stage("cd", "prove").await;
    // The run's stage is recorded before its container is started.
    let running = eventually(async || match world.engine.containers().await {
        all if all.iter().any(|c| c.name == world.project() && c.state == "running") => Ok(()),
        all => Err(format!("{all:?}")),
    });
    running.await.unwrap();
    // The log is all that will be known of it.
    let is_of_proving = |line: &str| line.get(25..33).is_some_and(|stage| stage.trim_end() == "prove");
    let told = eventually(async || match world.log_of(4).await {
        log if log.lines().any(is_of_proving) => Ok(()),
        log => Err(log),
    });
    told.await.unwrap();
    agent.kill().await;
    remove_database(&world);
    // Only the start is looked at: without Docker Hub nothing is found due again.
    world.agent.set("/docker_hub/api_url", "http://127.0.0.1:9");

    let agent = world.agent.spawn_run().await;

    let mail = world.expect_mail(REBUILT).await;
    assert!(mail.text.contains("was in the middle of something"), "{}", mail.text);
    world.expect_back(&one).await;
    world.expect_serving("hello one").await;
    assert!(agent.terminate().await.success());
    world
        .expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 ci pushed 2", "4 cd interrupted at prove"])
        .await;
    world.end().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_reached_is_left_as_it_is() {
    let (world, two) = settled().await;
    let elsewhere = database(&world).with_file_name("elsewhere.db");
    std::fs::rename(database(&world), &elsewhere).unwrap();
    std::fs::create_dir(database(&world)).unwrap();

    let refused = world.agent.once().await.expect_failure();

    assert!(refused.stderr.contains("open the database"), "{}", refused.stderr);
    assert_eq!(set_aside(&world), Vec::<PathBuf>::new());
    world.expect_untouched(&two).await;
    std::fs::remove_dir(database(&world)).unwrap();
    std::fs::rename(elsewhere, database(&world)).unwrap();
    world.agent.once().await.expect_success();
    world.expect_runs(&TWO_VERSIONS).await;
    world.end().await;
}

#[tokio::test]
async fn without_docker_a_lost_database_waits_and_nothing_is_run_from_half_the_truth() {
    let (world, two) = settled().await;
    remove_database(&world);
    let host = world.engine.host().to_owned();
    let asleep = world.folder().join("docker.sock");
    world.agent.set("/docker/host", format!("unix://{}", asleep.display()));
    world.repo.commit_page("hello three").await;
    let polls = world.github.requests().all().len();
    world.agent.once().await.expect_code(3);
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    agent.wait_for_stderr("Docker has to say whether something is deployed").await;
    assert_eq!(world.github.requests().all().len(), polls);
    world.expect_untouched(&two).await;

    // Docker is there again.
    std::os::unix::fs::symlink(host.trim_start_matches("unix://"), &asleep).unwrap();

    world.expect_mail(REBUILT).await;
    world.expect_mail("3 deployed").await;
    world.expect_serving("hello three").await;
    assert!(agent.terminate().await.success());
    world.expect_runs(&[&TWO_VERSIONS[..], &["5 ci pushed 3", "6 cd deployed 3"]].concat()).await;
    world.end().await;
}
