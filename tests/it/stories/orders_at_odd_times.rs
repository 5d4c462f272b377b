//! The owner's orders when they come at an odd time or to an odd machine: each gets a clear answer, and what was
//! accepted is done.

use serde_json::json;

use crate::stub_server::StubServer;
use crate::stub_server::answer;
use crate::world::World;
use crate::world::app::App;

fn page(text: &str) -> App {
    App::Page(text.to_owned())
}

/// A world that only deploys, in which 1 and then 2 held.
async fn two_versions() -> World {
    let world = World::start().await;
    world.only_deploy();
    world.deploy("1", &page("hello one")).await;
    world.deploy("2", &page("hello two")).await;
    world
}

async fn refusal(world: &World, words: &[&str]) -> String {
    world.agent.command(words).await.expect_code(2).stderr
}

#[tokio::test]
async fn an_order_in_the_midst_of_a_deployment_is_done_when_that_has_ended() {
    let world = two_versions().await;
    world.publish("3", &App::StartsSlowly(5000, "hello three".to_owned())).await;
    let agent = world.agent.spawn_run().await;
    world.wait_for_stage("cd", "prove").await;

    let said = refusal(&world, &["rollback", world.project()]).await;
    assert!(said.contains("is being deployed: wait") && said.contains("--to TAG"), "{said}");
    let order = world.agent.spawn(&["deploy", world.project(), "1", "--wait"]).await;
    order.wait_for_stdout("is deployed next, when the deployment of 3 (").await;
    assert!(order.wait_end().await.success(), "{}", order.stderr());

    world.expect_serving("hello one").await;
    world.expect_mail("3 deployed").await;
    world.expect_mail("1 deployed by command: back from 3").await;
    let one = world.standing().await;
    world.wait_for_next_hub_poll().await;
    world.wait_for_next_hub_poll().await;
    world.expect_untouched(&one).await;
    let runs = ["1 cd deployed 1", "2 cd deployed 2", "3 cd deployed 3", "4 cd deployed 1"];
    world.expect_runs(&runs).await;
    let held = world.agent.status_json().await["projects"][0]["held"].clone();
    assert!(held.as_array().unwrap().contains(&json!("3")), "{held}");
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_machine_that_only_builds_deploys_nothing_by_command_either() {
    let world = World::start().await;
    world.only_build();
    world.repo.commit_page("hello one").await;
    let agent = world.agent.spawn_run().await;
    world.expect_mail("1 pushed").await;

    for words in [&["deploy", world.project(), "1"][..], &["rollback", world.project()]] {
        let said = refusal(&world, words).await;
        assert!(said.contains("this machine only builds") && said.contains("add `deploy`"), "{said}");
    }

    let retried = world.agent.command(&["retry", world.project()]).await.expect_success();
    assert!(retried.stdout.contains("nothing was held against"), "{}", retried.stdout);
    world.expect_runs(&["1 ci pushed 1"]).await;
    world.expect_nothing_deployed().await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_rollback_holds_until_the_next_commit_where_tags_are_commits() {
    let world = World::start().await;
    world.agent.set("/projects/0/image/tag", json!({"scheme": "commit"}));
    world.deploy_page("hello one").await;
    world.deploy_page("hello two").await;
    let [first, second] = [2, 4].map(async |run| world.run(run).await.tag.unwrap());
    let (first, second) = (first.await, second.await);
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;

    let back = world.agent.command(&["rollback", world.project(), "--wait"]).await.expect_success();

    assert!(back.stdout.contains(&format!("only what is newer than {second}")), "{}", back.stdout);
    world.expect_serving("hello one").await;
    world.expect_mail(&format!("{first} deployed by command: back from {second}")).await;
    let one = world.standing().await;
    world.wait_for_next_hub_poll().await;
    world.wait_for_next_hub_poll().await;
    world.expect_untouched(&one).await;
    assert!(agent.terminate().await.success());
    world.agent.once().await.expect_success();
    world.expect_untouched(&one).await;
    assert_eq!(world.agent.status_json().await["projects"][0]["held"], json!([second]));

    world.deploy_page("hello three").await;

    assert_eq!(world.agent.status_json().await["projects"][0]["held"], json!([]));
    world.end().await;
}

#[tokio::test]
async fn before_a_lost_database_is_rebuilt_an_order_is_refused_and_a_pause_is_kept() {
    let world = two_versions().await;
    let two = world.standing().await;
    for ending in ["", "-wal", "-shm"] {
        std::fs::remove_file(world.agent.state_dir().join(format!("homeport.db{ending}"))).ok();
    }
    let host = world.engine.host().to_owned();
    let asleep = world.folder().join("docker.sock");
    world.agent.set("/docker/host", format!("unix://{}", asleep.display()));
    let agent = world.agent.spawn_run().await;
    agent.wait_for_stderr("Docker has to say whether something is deployed").await;

    let name = world.project();
    for words in [&["rollback", name][..], &["deploy", name, "1"], &["retry", name], &["plan", name]] {
        let said = refusal(&world, words).await;
        assert!(said.contains("is not known until Docker has said it: ask again"), "{words:?}: {said}");
    }
    world.agent.command(&["pause", name]).await.expect_success();
    world.publish("3", &page("hello three")).await;
    std::os::unix::fs::symlink(host.trim_start_matches("unix://"), &asleep).unwrap();

    world.expect_mail("is rebuilt").await;
    agent.wait_for_stderr("paused, so nothing is started").await;
    world.expect_untouched(&two).await;
    world.agent.command(&["rollback", name, "--wait"]).await.expect_success();
    world.expect_serving("hello one").await;
    world.expect_mail("1 deployed by command: back from 2").await;
    world.expect_runs(&["1 cd deployed 1", "2 cd deployed 2", "3 cd deployed 1"]).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn while_a_deployment_that_was_cut_off_cannot_be_taken_up_an_order_is_refused_and_told_why() {
    let world = two_versions().await;
    world.publish("3", &App::StartsSlowly(4000, "hello three".to_owned())).await;
    let agent = world.agent.spawn_run().await;
    world.wait_for_stage("cd", "prove").await;
    agent.kill().await;
    // An engine that answers, and is of no use.
    let broken = StubServer::start(|_, _| answer(500, &[], r#"{"message": "out of order"}"#)).await;
    let address = format!("tcp://{}", broken.url.authority());
    let host = world.agent.config()["docker"]["host"].clone();
    world.agent.set("/docker/host", address);
    let agent = world.agent.spawn_run().await;
    agent.wait_for_stderr("suspended, to be taken up again").await;

    for words in [&["rollback", world.project()][..], &["rollback", world.project(), "--to", "1"]] {
        let said = refusal(&world, words).await;
        assert!(said.contains("was cut off is taken up first: ask again"), "{said}");
    }

    assert!(agent.terminate().await.success());
    world.agent.set("/docker/host", host);
    let agent = world.agent.spawn_run().await;
    world.expect_mail("3 deployed").await;
    world.expect_serving("hello three").await;
    world.agent.command(&["rollback", world.project(), "--wait"]).await.expect_success();
    world.expect_serving("hello two").await;
    world.expect_mail("2 deployed by command: back from 3").await;
    let runs = ["1 cd deployed 1", "2 cd deployed 2", "3 cd deployed 3", "4 cd deployed 2"];
    world.expect_runs(&runs).await;
    assert!(agent.terminate().await.success());
    world.end().await;
}
