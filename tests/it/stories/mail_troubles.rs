//! The mail server in all its moods: a mail is never lost and never fails a run.

use crate::world::Options;
use crate::world::World;
use crate::world::app::App;
use crate::world::assertions::eventually;
use crate::world::mail::MailMode;
use crate::world::mail::Script;

#[tokio::test]
async fn a_mail_that_could_not_be_sent_is_kept_and_sent_once_and_says_that_it_is_late() {
    let world = World::start().await;
    world.mail.stop();
    world.repo.commit_page("hello one").await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello one").await;

    world.agent.age_outbox(3);
    world.mail.restart().await;
    world.agent.once().await.expect_success();

    let mail = world.expect_mail("1 deployed (delayed by 3 h").await;
    assert!(mail.text.starts_with("This mail is late"), "{}", mail.text);
    assert!(!mail.attachments.is_empty());
    world.agent.once().await.expect_success();
    assert_eq!(world.mail.inbox().len(), 1);
    world.end().await;
}

#[tokio::test]
async fn a_service_sends_by_itself_what_waited_for_the_mail_server() {
    let world = World::start().await;
    world.mail.stop();
    let agent = world.agent.spawn_run().await;
    world.repo.commit_page("hello one").await;
    agent.wait_for_stderr("waits, next try in").await;
    world.expect_serving("hello one").await;

    world.mail.restart().await;

    let mail = world.expect_mail("1 deployed").await;
    assert!(!mail.subject.contains("delayed"), "{}", mail.subject);
    assert!(agent.terminate().await.success());
    world.end().await;
}

#[tokio::test]
async fn mails_that_waited_come_in_the_order_in_which_things_happened() {
    let world = World::start().await;
    world.mail.stop();
    world.repo.commit_page("hello one").await;
    world.agent.once().await.expect_success();
    world.repo.commit_app(&App::FailingTest("hello two".to_owned())).await;
    world.agent.once().await.expect_code(1);

    world.agent.age_outbox(1);
    world.mail.restart().await;
    world.agent.once().await.expect_success();

    world.expect_mail("1 deployed").await;
    world.expect_mail("tests failed").await;
    // The order in which they were handed over: a busy mail server puts them into the box side by side.
    let said = world.agent.transcript();
    let sent: Vec<&str> = said.lines().filter(|line| line.contains("mail sent: ")).collect();
    assert!(sent[0].contains("1 deployed") && sent[1].contains("tests failed"), "{sent:?}");
    world.end().await;
}

async fn is_delivered_by(mode: MailMode) {
    let world = World::start_with(Options { mail: mode, ..Options::default() }).await;
    world.repo.commit_page("hello one").await;

    world.agent.once().await.expect_success();

    let mail = world.expect_mail("1 deployed").await;
    assert_eq!(mail.from, "homeport@example.org");
    assert_eq!(mail.to, ["owner@example.org"]);
    assert!(mail.html.contains("<body"), "{}", mail.html);
    world.agent.command(&["test-mail"]).await.expect_success();
    world.expect_mail("test mail").await;
    world.end().await;
}

#[tokio::test]
async fn mail_goes_out_with_a_login() {
    is_delivered_by(MailMode::Login).await;
}

#[tokio::test]
async fn mail_goes_out_by_starttls() {
    is_delivered_by(MailMode::StartTls).await;
}

#[tokio::test]
async fn mail_goes_out_by_tls() {
    is_delivered_by(MailMode::Tls).await;
}

/// A mail server that misbehaves fails no run; what becomes of the mail when it behaves again is the count of the
/// mails that it has taken in the end.
async fn fails_no_run(script: Script, taken_in_the_end: usize) {
    let world = World::start().await;
    let server = world.scripted_smtp(script).await;
    world.mail_goes_to(&server);
    world.repo.commit_page("hello one").await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello one").await;
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1"]).await;
    assert!(!server.commands().is_empty(), "nobody spoke to the mail server");

    server.follow(Script::Accept);
    if script != Script::RefuseRecipient {
        world.agent.age_outbox(1);
    }
    world.agent.once().await.expect_success();

    let taken = server.taken();
    assert_eq!(taken.len(), taken_in_the_end, "{taken:?}");
    let id = |text: &String| text.lines().find(|line| line.starts_with("Message-ID:")).map(str::to_owned);
    let ids: Vec<_> = taken.iter().map(id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1] && pair[0].is_some()), "{ids:?}");
    world.end().await;
}

#[tokio::test]
async fn a_refused_login_fails_no_run_and_the_mail_is_kept() {
    fails_no_run(Script::RefuseLogin, 1).await;
}

#[tokio::test]
async fn a_deferred_recipient_is_tried_again() {
    fails_no_run(Script::DeferRecipient, 1).await;
}

#[tokio::test]
async fn a_recipient_refused_for_good_is_not_tried_again() {
    fails_no_run(Script::RefuseRecipient, 0).await;
}

#[tokio::test]
async fn a_mail_that_may_have_arrived_is_sent_again_under_the_same_id() {
    fails_no_run(Script::CloseAfterData, 2).await;
}

#[tokio::test]
async fn a_mute_mail_server_holds_up_neither_a_deployment_nor_a_stop() {
    let world = World::start().await;
    let server = world.scripted_smtp(Script::MuteAfterConnect).await;
    world.mail_goes_to(&server);
    let agent = world.agent.spawn_run().await;
    world.repo.commit_page("hello one").await;
    world.expect_serving("hello one").await;
    world.expect_runs(&["1 ci pushed 1", "2 cd deployed 1"]).await;
    world.repo.commit_page("hello two").await;
    world.expect_serving("hello two").await;

    assert!(agent.terminate().await.success());

    server.follow(Script::Accept);
    world.agent.age_outbox(1);
    world.agent.once().await.expect_success();
    let sent = eventually(async || match server.taken().len() {
        2 => Ok(()),
        count => Err(format!("{count} mails")),
    });
    sent.await.unwrap();
    world.end().await;
}

#[tokio::test]
async fn an_owner_without_mail_still_gets_deployments() {
    let world = World::start().await;
    world.agent.unset("/email");
    world.repo.commit_page("hello one").await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello one").await;
    world.end().await;
}
