//! First deployments, behind which there is nothing to go back to.

use crate::world::World;
use crate::world::app::App;

#[tokio::test]
async fn a_first_deployment_that_fails_leaves_nothing_and_the_next_goes_through() {
    let world = World::start().await;
    world.repo.commit_app(&App::ExitsAtOnce).await;

    world.agent.once().await.expect_code(1);

    world.expect_nothing_deployed().await;
    world.expect_runs(&["1 ci pushed 1", "2 cd failed at prove 1"]).await;
    let mail = world.expect_mail("1 not deployed").await;
    assert!(mail.subject.contains("nothing is running"), "{}", mail.subject);
    assert!(mail.text.contains("cannot read the settings"), "{}", mail.text);
    assert_eq!(world.agent.status_json().await["projects"][0]["current"], serde_json::Value::Null);

    world.agent.once().await.expect_success();
    assert_eq!(world.runs().await.len(), 2, "a quarantined image is not tried again");
    world.deploy_page("hello two").await;
    world.expect_no_leftovers().await;
    world.end().await;
}
