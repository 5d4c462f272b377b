//! Images that pass their tests and do not work: each is taken back, remembered, and told of.

use serde_json::json;

use crate::world::World;
use crate::world::app::App;
use crate::world::hub::ListedTag;

/// The way of every bad image: the same container object serves again, nobody tries the image twice, and the next
/// good version goes through.
async fn is_taken_back(world: World, bad: &App, last_words: &str) {
    world.agent.set("/projects/0/deploy/prove/timeout", "2s");
    let one = world.deploy_page("hello one").await;
    world.repo.commit_app(bad).await;

    world.agent.once().await.expect_code(1);

    world.expect_back(&one).await;
    world.expect_serving("hello one").await;
    let rolled_back = ["1 ci pushed 1", "2 cd deployed 1", "3 ci pushed 2", "4 cd rolled-back at prove 2"];
    world.expect_runs(&rolled_back).await;
    let mail = world.expect_mail("2 rolled back").await;
    assert!(mail.subject.contains("1 is running again"), "{}", mail.subject);
    assert!(mail.text.contains(last_words), "the mail does not hold {last_words:?}:\n{}", mail.text);
    let log = world.log_of(4).await;
    assert!(log.contains(last_words), "the run log does not hold {last_words:?}:\n{log}");
    let status = world.agent.status_json().await;
    assert_eq!(status["projects"][0]["current"]["tag"], "1");
    assert_eq!(status["projects"][0]["current"]["container_id"], json!(one.id));

    let back = world.standing().await;
    world.agent.once().await.expect_success();
    world.expect_runs(&rolled_back).await;
    world.expect_untouched(&back).await;

    world.deploy_page("hello three").await;
    world.expect_tags(&["1", "2", "3"]).await;
    assert!(world.runs().await.last().unwrap().to_string().ends_with("cd deployed 3"));
    let subjects: Vec<String> = world.mail.inbox().into_iter().map(|mail| mail.subject).collect();
    assert!(subjects.iter().any(|subject| subject.contains("FIXED: 3 deployed")), "{subjects:?}");
    world.end().await;
}

#[tokio::test]
async fn an_image_that_exits_at_once_is_rolled_back() {
    is_taken_back(World::start().await, &App::ExitsAtOnce, "cannot read the settings").await;
}

#[tokio::test]
async fn an_image_that_never_answers_is_rolled_back() {
    is_taken_back(World::start().await, &App::NeverAnswers, "GET / got no answer").await;
}

#[tokio::test]
async fn an_image_that_answers_500_is_rolled_back() {
    is_taken_back(World::start().await, &App::Answers500, "GET / answered 500").await;
}

#[tokio::test]
async fn an_image_whose_healthcheck_says_no_is_rolled_back() {
    let world = World::start().await;
    world.agent.unset("/projects/0/deploy/prove/http");
    is_taken_back(world, &App::Unhealthy, "HEALTHCHECK says unhealthy").await;
}

#[tokio::test]
async fn an_image_that_listens_nowhere_is_rolled_back_though_its_published_port_accepts() {
    let world = World::start().await;
    world.agent.unset("/projects/0/deploy/prove/http");
    is_taken_back(world, &App::NeverAnswers, "nothing listens on port 8080").await;
}

#[tokio::test]
async fn an_image_for_other_machines_only_is_passed_over() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    let ours = world.registry.digest(&world.image(), "1").await.unwrap();
    world.registry.put_index(&world.image(), "2", &[("linux/s390x", &ours)]).await;

    world.agent.once().await.expect_success();

    world.expect_untouched(&one).await;
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1"]).await;
    let said = world.agent.transcript();
    assert!(said.contains("2 is passed over: it offers linux/s390x"), "{said}");
    world.end().await;
}

#[tokio::test]
async fn an_image_that_turns_out_to_be_for_other_machines_is_not_tried_again() {
    let world = World::start().await;
    let one = world.deploy_page("hello one").await;
    let ours = world.registry.digest(&world.image(), "1").await.unwrap();
    world.registry.put_index(&world.image(), "2", &[("linux/s390x", &ours)]).await;
    // Docker Hub has listed tags without their platforms for days.
    world.hub.alter_tag(&world.image(), "2", |tag: &mut ListedTag| tag.platforms.clear());

    world.agent.once().await.expect_code(1);
    world.agent.once().await.expect_success();

    world.expect_untouched(&one).await;
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1", "3 cd failed at pull 2"]).await;
    let mail = world.expect_mail("2 not deployed").await;
    assert!(mail.subject.contains("1 keeps running"), "{}", mail.subject);
    world.end().await;
}
