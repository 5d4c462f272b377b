//! The mail server with a real SMTP client, in each of its modes, and the scripted one.

use std::time::Duration;

use lettre::AsyncSmtpTransport;
use lettre::AsyncTransport;
use lettre::Message;
use lettre::Tokio1Executor;
use lettre::message::Attachment;
use lettre::message::MultiPart;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::Certificate;
use lettre::transport::smtp::client::Tls;
use lettre::transport::smtp::client::TlsParameters;

use crate::world::Options;
use crate::world::World;
use crate::world::assertions::eventually;
use crate::world::mail::MailMode;
use crate::world::mail::MailServer;
use crate::world::mail::PASSWORD;
use crate::world::mail::Script;
use crate::world::mail::USERNAME;

fn message(subject: &str) -> Message {
    let attachment =
        Attachment::new("run.log".to_owned()).body("line one\n".to_owned(), ContentType::TEXT_PLAIN);
    let parts = MultiPart::mixed()
        .multipart(MultiPart::alternative_plain_html("the text".to_owned(), "<p>the html</p>".to_owned()))
        .singlepart(attachment);
    let builder = Message::builder().from("homeport@example.org".parse().unwrap());
    builder.to("owner@example.org".parse().unwrap()).subject(subject).multipart(parts).unwrap()
}

fn client(server: &MailServer, password: &str) -> AsyncSmtpTransport<Tokio1Executor> {
    let host = server.address().ip().to_string();
    let authority = Certificate::from_pem(&std::fs::read(server.authority()).unwrap()).unwrap();
    let tls = TlsParameters::builder(host.clone()).add_root_certificate(authority).build_rustls().unwrap();
    let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host).port(server.address().port());
    let credentials = Credentials::new(USERNAME.to_owned(), password.to_owned());
    match server.mode() {
        MailMode::Plain => builder.build(),
        MailMode::Login => builder.credentials(credentials).build(),
        MailMode::StartTls => builder.credentials(credentials).tls(Tls::Required(tls)).build(),
        MailMode::Tls => builder.credentials(credentials).tls(Tls::Wrapper(tls)).build(),
    }
}

async fn mail_is_delivered_by(mode: MailMode) {
    let world = World::start_with(Options { mail: mode, ..Options::default() }).await;
    client(&world.mail, PASSWORD).send(message("Täglich grüßt das Päckchen")).await.unwrap();
    let mail = world.expect_mail("grüßt").await;
    assert_eq!((mail.from.as_str(), mail.to), ("homeport@example.org", vec!["owner@example.org".to_owned()]));
    assert!(mail.text.contains("the text") && mail.html.contains("the html"), "{}", mail.raw);
    assert_eq!(mail.attachments.len(), 1);
    assert_eq!(mail.attachments[0].0, "run.log");
    if mode != MailMode::Plain {
        assert!(client(&world.mail, "wrong").send(message("never")).await.is_err());
    }
    world.end().await;
}

#[tokio::test]
async fn mail_is_delivered_without_login() {
    mail_is_delivered_by(MailMode::Plain).await;
}

#[tokio::test]
async fn mail_is_delivered_with_login() {
    mail_is_delivered_by(MailMode::Login).await;
}

#[tokio::test]
async fn mail_is_delivered_over_starttls() {
    mail_is_delivered_by(MailMode::StartTls).await;
}

#[tokio::test]
async fn mail_is_delivered_over_tls() {
    mail_is_delivered_by(MailMode::Tls).await;
}

#[tokio::test]
async fn a_login_without_tls_is_refused_where_starttls_is_required() {
    let world = World::start_with(Options { mail: MailMode::StartTls, ..Options::default() }).await;
    let host = world.mail.address().ip().to_string();
    let builder =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host).port(world.mail.address().port());
    assert!(builder.build().send(message("in the clear")).await.is_err());
}

#[tokio::test]
async fn the_mail_server_goes_down_and_comes_back_with_its_inbox() {
    let world = World::start().await;
    client(&world.mail, PASSWORD).send(message("before")).await.unwrap();
    world.expect_mail("before").await;
    world.mail.stop();
    assert!(client(&world.mail, PASSWORD).send(message("while")).await.is_err());
    world.mail.restart().await;
    client(&world.mail, PASSWORD).send(message("after")).await.unwrap();
    world.expect_mail("after").await;
    assert_eq!(world.mail.inbox().len(), 2);
    world.end().await;
}

#[tokio::test]
#[should_panic(expected = "mails that nobody expected: [\"unread\"]")]
async fn an_unread_mail_fails_the_test_at_its_end() {
    let world = World::start().await;
    client(&world.mail, PASSWORD).send(message("unread")).await.unwrap();
    let arrived = eventually(async || if world.mail.unread().is_empty() { Err("no mail") } else { Ok(()) });
    arrived.await.unwrap();
    world.end().await;
}

#[tokio::test]
async fn the_scripted_server_fails_as_it_is_told() {
    let world = World::start().await;
    let server = world.scripted_smtp(Script::Accept).await;
    let send = async || {
        let host = server.address().ip().to_string();
        let builder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host).port(server.address().port());
        let credentials = Credentials::new(USERNAME.to_owned(), PASSWORD.to_owned());
        let client = builder.credentials(credentials).build();
        tokio::time::timeout(Duration::from_secs(3), client.send(message("x"))).await
    };
    send().await.unwrap().unwrap();
    assert_eq!(server.taken().len(), 1);
    server.follow(Script::DeferRecipient);
    assert!(send().await.unwrap().unwrap_err().is_transient());
    server.follow(Script::RefuseRecipient);
    assert!(send().await.unwrap().unwrap_err().is_permanent());
    server.follow(Script::RefuseLogin);
    assert!(send().await.unwrap().unwrap_err().is_permanent());
    server.follow(Script::CloseAtData);
    assert!(send().await.unwrap().is_err());
    server.follow(Script::CloseAfterData);
    assert!(send().await.unwrap().is_err());
    assert_eq!(server.taken().len(), 2);
    server.follow(Script::MuteAfterConnect);
    assert!(send().await.is_err(), "it says nothing, for ever");
}
