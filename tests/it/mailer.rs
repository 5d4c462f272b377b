//! The mailer against a real mail server (exim4) that delivers into a maildir, and against a scripted one for
//! the ways in which a server can fail.

use std::collections::BTreeMap;
use std::fs;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use chrono::DateTime;
use futures_util::future::join_all;
use homeport::clients::mailer::MailError;
use homeport::clients::mailer::Mailer;
use homeport::clients::mailer::OutgoingMail;
use homeport::clients::mailer::Sent;
use homeport::config::SmtpSecurity;
use homeport::config::settings::EmailSettings;
use homeport::config::settings::Login;
use mail_parser::HeaderValue;
use mail_parser::MessageParser;
use mail_parser::MimeHeaders;
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);
const PASSWORD: &str = "öpen sesame \\ \"quoted\"";

fn settings(port: u16, security: SmtpSecurity, password: Option<&str>) -> EmailSettings {
    EmailSettings {
        from: "homeport <pi@example.org>".to_owned(),
        to: vec!["Me <me@example.org>".to_owned()],
        host: "localhost".to_owned(),
        port,
        security,
        login: password.map(|p| Login { username: "me".to_owned(), password: p.into() }),
    }
}

fn mailer(port: u16, password: Option<&str>) -> Mailer {
    Mailer::new(&settings(port, SmtpSecurity::None, password)).unwrap().with_limit(PATIENCE)
}

fn a_mail() -> OutgoingMail {
    OutgoingMail {
        subject: "[hello] 42 deployed".to_owned(),
        text: "It works.\n".to_owned(),
        html: "<p>It works.</p>".to_owned(),
        attachment: None,
        message_id: "<run-42@pi>".to_owned(),
        urgent: false,
        date: DateTime::from_timestamp(1_795_414_500, 0).unwrap(),
    }
}

/// A real mail server for the domain example.org.
struct Exim {
    home: TempDir,
    port: u16,
    process: Child,
}

impl Exim {
    /// Starts one: `options` go into the main part of its configuration, `acl` before what it accepts.
    async fn start(options: &str, acl: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        Self::start_in(home, options, acl).await
    }

    async fn start_in(home: TempDir, options: &str, acl: &str) -> Self {
        let port = free_port().await;
        let folder = home.path().display();
        for name in ["mail", "spool"] {
            fs::create_dir_all(home.path().join(name)).unwrap();
            // The server runs as its own user.
            fs::set_permissions(home.path().join(name), Permissions::from_mode(0o777)).unwrap();
        }
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
        let options = options
            .replace("CERTIFICATE", &format!("{folder}/cert.pem"))
            .replace("KEY", &format!("{folder}/key.pem"))
            .replace("TLSPORT", &port.to_string());
        let config = format!(
            r#"
primary_hostname = mail.test
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
spool_directory = {folder}/spool
log_file_path = {folder}/spool/%slog
pid_file_path = {folder}/spool/exim.pid
domainlist local_domains = example.org
host_lookup =
rfc1413_query_timeout = 0s
keep_environment =
acl_smtp_rcpt = rcpt
acl_smtp_data = data
{options}
begin acl
rcpt:
{acl}
  accept domains = +local_domains
  deny message = relay not permitted
data:
  deny condition = ${{if match{{$h_subject:}}{{unwanted}}}}
       message = This message looks like spam
  accept
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{me}}}}{{eq{{${{str2b64:$auth3}}}}{{{password}}}}}}}}}
  server_set_id = $auth2
begin routers
all:
  driver = accept
  transport = maildir
begin transports
maildir:
  driver = appendfile
  maildir_format
  directory = {folder}/mail
  user = Debian-exim
begin retry
* * F,1m,1s
"#,
            password = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, PASSWORD),
        );
        let file = home.path().join("exim.conf");
        fs::write(&file, config).unwrap();
        let process = Command::new("/usr/sbin/exim4")
            .args(["-bdf", "-C"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(fs::File::create(home.path().join("stderr")).unwrap())
            .spawn()
            .expect("exim4 is needed: apt-get install exim4-daemon-light");
        let mut exim = Self { home, port, process };
        exim.wait_until_it_listens().await;
        exim
    }

    async fn wait_until_it_listens(&mut self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            let said = fs::read_to_string(self.home.path().join("stderr")).unwrap_or_default();
            assert!(self.process.try_wait().unwrap().is_none(), "exim ended: {said}");
            assert!(begun.elapsed() < PATIENCE, "exim does not listen: {said}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The next mail that was delivered, once it is there; it is taken out of the maildir.
    async fn next_mail(&self) -> Vec<u8> {
        let folder = self.home.path().join("mail/new");
        let begun = Instant::now();
        loop {
            let first = fs::read_dir(&folder).ok().and_then(|mut entries| entries.next());
            if let Some(entry) = first {
                let path = entry.unwrap().path();
                let bytes = fs::read(&path).unwrap();
                fs::remove_file(path).unwrap();
                return bytes;
            }
            assert!(begun.elapsed() < PATIENCE, "no mail arrived");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

const WANTS_LOGIN: &str = "  deny !authenticated = *\n       message = log in first";

#[tokio::test]
async fn a_mail_arrives_whole() {
    let exim = Exim::start("", "").await;
    let log = format!("line 1 ✓\n.\n..two dots\nFrom here\n{}\nlast line, no newline", "x".repeat(3000));
    let mail = OutgoingMail {
        subject: "[hello] tests failed for 1a2b3c4 \"Grüße ✓\": 41 keeps running".to_owned(),
        text: "Grüße\n.\nFrom me\n".to_owned(),
        attachment: Some(("hällo run 42.log".to_owned(), log.clone().into_bytes())),
        urgent: true,
        ..a_mail()
    };
    let sent = mailer(exim.port, None).send(&mail).await.unwrap();
    assert_eq!(sent, Sent { refused: Vec::new() });

    let bytes = exim.next_mail().await;
    assert!(bytes.is_ascii());
    let message = MessageParser::default().parse(&bytes).unwrap();
    assert_eq!(message.subject(), Some(mail.subject.as_str()));
    assert_eq!(message.message_id(), Some("run-42@pi"));
    assert_eq!(message.date().unwrap().to_timestamp(), mail.date.timestamp());
    assert_eq!(message.from().unwrap().first().unwrap().address(), Some("pi@example.org"));
    assert_eq!(message.to().unwrap().first().unwrap().name(), Some("Me"));
    let header = |name: &str| message.header(name).and_then(HeaderValue::as_text).map(str::to_owned);
    assert_eq!(header("Auto-Submitted").as_deref(), Some("auto-generated"));
    assert_eq!(header("X-Priority").as_deref(), Some("1 (Highest)"));
    assert_eq!(message.content_type().unwrap().subtype(), Some("mixed"));
    assert_eq!(message.body_text(0).unwrap().replace("\r\n", "\n"), mail.text);
    assert_eq!(message.body_html(0).unwrap(), mail.html);
    let file = message.attachment(0).unwrap();
    assert_eq!(file.attachment_name(), Some("hällo run 42.log"));
    assert_eq!(file.content_type().unwrap().attribute("charset"), Some("utf-8"));
    assert_eq!(file.text_contents().unwrap().replace("\r\n", "\n"), log);
}

#[tokio::test]
async fn a_subject_cannot_bring_headers_of_its_own() {
    let exim = Exim::start("", "").await;
    let mail = OutgoingMail {
        subject: "innocent\r\nBcc: you@example.org\r\n\r\nbody".to_owned(),
        attachment: Some(("a\r\nX-Evil: 1\"; x.log".to_owned(), b"log\n".to_vec())),
        message_id: "run 42>\r\nX-Evil: 2@pi".to_owned(),
        ..a_mail()
    };
    drop(mailer(exim.port, None).send(&mail).await.unwrap());
    let bytes = exim.next_mail().await;
    let message = MessageParser::default().parse(&bytes).unwrap();
    assert_eq!(message.subject().unwrap(), "innocent  Bcc: you@example.org    body");
    assert_eq!(message.message_id(), Some("run42X-Evil:2@pi"));
    assert!(message.bcc().is_none());
    assert!(message.header("X-Evil").is_none());
    assert!(message.attachment(0).unwrap().headers().iter().all(|header| header.name() != "X-Evil"));
}

#[tokio::test]
async fn a_login_is_used_and_a_wrong_or_missing_one_is_named() {
    // Exim offers AUTH only on protected connections unless told otherwise.
    let exim = Exim::start("auth_advertise_hosts = *\ntls_advertise_hosts =", WANTS_LOGIN).await;
    let good = mailer(exim.port, Some(PASSWORD));
    good.check().await.unwrap();
    drop(good.send(&a_mail()).await.unwrap());
    exim.next_mail().await;

    let wrong = mailer(exim.port, Some("hunter2"));
    let refused = wrong.send(&a_mail()).await.unwrap_err();
    assert_eq!(wrong.check().await.unwrap_err(), refused);
    assert!(matches!(refused, MailError::Settings(_)));
    insta::assert_snapshot!(hide(&refused, exim.port), @"settings: mail server localhost:PORT refused the login: 535 Incorrect authentication data; check `email.smtp.username` and `email.smtp.password` (many providers want an app password)");
    assert!(!format!("{wrong:?} {refused:?}").contains("hunter2"));

    let missing = mailer(exim.port, None).send(&a_mail()).await.unwrap_err();
    assert!(matches!(missing, MailError::Settings(_)));
    insta::assert_snapshot!(hide(&missing, exim.port), @"settings: mail server localhost:PORT refused the recipient: 550 log in first; check `email.to`, and whether the server wants a login");
}

#[tokio::test]
async fn content_that_a_real_server_rejects_is_refused_for_good() {
    let exim = Exim::start("", "").await;
    let mail = OutgoingMail { subject: "unwanted".to_owned(), ..a_mail() };
    let refused = mailer(exim.port, None).send(&mail).await.unwrap_err();
    assert!(matches!(refused, MailError::Permanent(_)));
    insta::assert_snapshot!(hide(&refused, exim.port), @"permanent: mail server localhost:PORT refused this mail: 550 This message looks like spam");
}

#[tokio::test]
async fn starttls_with_a_login_works_with_the_authority_that_ssl_cert_file_names() {
    let (home, authority) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_certificates(home.path(), authority.path());
    let exim =
        Exim::start_in(home, &tls_options("auth_advertise_hosts = ${if def:tls_in_cipher{*}}"), WANTS_LOGIN)
            .await;
    let said = send_from_a_child(&authority.path().join("ca.pem"), exim.port, "starttls");
    assert_eq!(said, "sent to me@example.org");
    let mail = exim.next_mail().await;
    assert!(String::from_utf8(mail).unwrap().contains("with esmtpsa"));
}

#[tokio::test]
async fn tls_from_the_first_byte_with_a_login_works() {
    let (home, authority) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_certificates(home.path(), authority.path());
    let options = tls_options("auth_advertise_hosts = *\ntls_on_connect_ports = TLSPORT");
    let exim = Exim::start_in(home, &options, WANTS_LOGIN).await;
    let said = send_from_a_child(&authority.path().join("ca.pem"), exim.port, "tls");
    assert_eq!(said, "sent to me@example.org");
    exim.next_mail().await;
}

#[tokio::test]
async fn a_certificate_of_a_stranger_is_refused_and_no_password_is_sent() {
    let (home, authority) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (other_home, stranger) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_certificates(home.path(), authority.path());
    make_certificates(other_home.path(), stranger.path());
    let exim = Exim::start_in(home, &tls_options("auth_advertise_hosts = *"), WANTS_LOGIN).await;
    let said = send_from_a_child(&stranger.path().join("ca.pem"), exim.port, "starttls");
    insta::assert_snapshot!(said.replace(&exim.port.to_string(), "PORT"), @"mail server localhost:PORT: its certificate is not trusted: this machine does not know who issued it; use the host name the certificate is made out to, or add the server's own authority to this machine's (SSL_CERT_FILE)");
    let log = fs::read_to_string(exim.home.path().join("spool/mainlog")).unwrap();
    assert!(!log.contains("A=plain"), "{log}");
}

#[tokio::test]
async fn a_port_without_tls_is_named_when_tls_is_wanted() {
    let exim = Exim::start("tls_advertise_hosts =", "").await;
    let tls = Mailer::new(&settings(exim.port, SmtpSecurity::Tls, None)).unwrap().with_limit(PATIENCE);
    insta::assert_snapshot!(hide(&tls.check().await.unwrap_err(), exim.port), @r#"temporary: mail server localhost:PORT: failed while connecting: it does not speak TLS there; check `email.smtp.host`, `email.smtp.port` and `email.smtp.security` (587 is for "starttls", 465 for "tls")"#);
    let starttls = Mailer::new(&settings(exim.port, SmtpSecurity::Starttls, Some(PASSWORD))).unwrap();
    let refused = starttls.with_limit(PATIENCE).check().await.unwrap_err();
    assert!(matches!(refused, MailError::Settings(_)));
    insta::assert_snapshot!(hide(&refused, exim.port), @r#"settings: mail server localhost:PORT does not offer STARTTLS; set `email.smtp.security` to "tls" if the port is 465, or, on a network you trust, to "none""#);
}

fn tls_options(more: &str) -> String {
    format!("tls_advertise_hosts = *\ntls_certificate = CERTIFICATE\ntls_privatekey = KEY\n{more}")
}

/// Makes an authority, and a certificate for `localhost` that it signed.
fn make_certificates(server: &Path, authority: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let issuer = authority.file_name().unwrap().to_str().unwrap();
    let (server, authority) = (server.display(), authority.display());
    fs::write(format!("{authority}/ext"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
        .unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {key} -days 2 -subj /CN={issuer} -keyout {authority}/ca.key -out {authority}/ca.pem"
    ));
    openssl(&format!("req {key} -subj /CN=localhost -keyout {server}/key.pem -out {authority}/server.csr"));
    openssl(&format!(
        "x509 -req -days 2 -in {authority}/server.csr -CA {authority}/ca.pem -CAkey {authority}/ca.key -CAcreateserial \
         -extfile {authority}/ext -out {server}/cert.pem"
    ));
    fs::set_permissions(format!("{server}/key.pem"), Permissions::from_mode(0o644)).unwrap();
}

/// What the binary says when it sends a test mail: a process of its own, since the environment that names the
/// authority belongs to a process.
fn send_from_a_child(authority: &Path, port: u16, security: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    let settings = serde_json::json!({
        "email": {
            "from": "pi@example.org",
            "to": ["me@example.org"],
            "smtp": {
                "host": "localhost", "port": port, "security": security, "username": "me", "password": PASSWORD,
            },
        },
        "projects": [{ "image": { "name": "me/hello" }, "deploy": { "ports": ["5000:5000"] } }],
    });
    fs::write(&config, settings.to_string()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_homeport"))
        .args(["test-mail", "--config"])
        .arg(&config)
        .env("SSL_CERT_FILE", authority)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let said = if output.status.success() { output.stdout } else { output.stderr };
    String::from_utf8(said).unwrap().trim_end().to_owned()
}

/// What a scripted server does when it is asked something.
#[derive(Clone, Copy)]
enum Answer {
    Say(&'static str),
    FallSilent,
    HangUp,
}

/// A mail server that takes everything, except where the script says otherwise: `""` is the greeting, `.` the
/// end of a mail, else the beginning of a command.
async fn scripted(script: &[(&'static str, Answer)]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let script: BTreeMap<&'static str, Answer> = script.iter().copied().collect();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, script.clone()));
        }
    });
    address
}

async fn converse(stream: TcpStream, script: BTreeMap<&'static str, Answer>) {
    let mut stream = BufReader::new(stream);
    let mut asked = String::new();
    let mut in_mail = false;
    loop {
        let scripted = script
            .iter()
            .rev()
            .find(|(key, _)| asked.starts_with(*key) && key.is_empty() == asked.is_empty());
        let answer = match scripted.map(|(_, answer)| *answer) {
            Some(answer) => answer,
            None if asked.is_empty() => Answer::Say("220 mail.test"),
            None if asked.starts_with("EHLO") => Answer::Say("250-mail.test\r\n250 AUTH PLAIN LOGIN"),
            None if asked.starts_with("DATA") => Answer::Say("354 go on"),
            None if asked.starts_with("AUTH") => Answer::Say("235 welcome"),
            None if asked.starts_with("QUIT") => Answer::Say("221 bye"),
            None => Answer::Say("250 fine"),
        };
        match answer {
            Answer::Say(words) => {
                in_mail = words.starts_with("354");
                if stream.write_all(format!("{words}\r\n").as_bytes()).await.is_err() {
                    return;
                }
            }
            Answer::FallSilent => std::future::pending().await,
            Answer::HangUp => return,
        }
        loop {
            asked.clear();
            if stream.read_line(&mut asked).await.unwrap_or(0) == 0 {
                return;
            }
            if !in_mail || asked == ".\r\n" {
                break;
            }
        }
    }
}

fn hide(error: &MailError, port: u16) -> String {
    let kind = match error {
        MailError::Temporary(_) => "temporary",
        MailError::Settings(_) => "settings",
        MailError::Permanent(_) => "permanent",
    };
    format!("{kind}: {error}").replace(&port.to_string(), "PORT")
}

async fn failure(step: &'static str, answer: Answer, limit: Duration) -> String {
    let address = scripted(&[(step, answer)]).await;
    let mailer = mailer(address.port(), Some(PASSWORD)).with_limit(limit);
    hide(&mailer.send(&a_mail()).await.unwrap_err(), address.port())
}

#[tokio::test]
async fn every_refusal_says_what_it_means_and_what_to_do() {
    let mut said = Vec::new();
    for (step, words) in [
        ("", "554 your address is on a list"),
        ("", "421 too busy"),
        ("AUTH", "535 5.7.8 no"),
        ("AUTH", "454 try later"),
        ("MAIL", "530 5.7.0 authentication required"),
        ("MAIL", "553 sender not owned"),
        ("RCPT", "550 no such user"),
        ("RCPT", "450 greylisted, come again"),
        ("DATA", "451 disk full"),
        (".", "554-spam\r\n554 really"),
        (".", "552 too large"),
        (".", "452 no space"),
    ] {
        said.push(format!("{step:?} {words:?}\n    {}", failure(step, Answer::Say(words), PATIENCE).await));
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    "" "554 your address is on a list"
        settings: mail server localhost:PORT refused while connecting: 554 your address is on a list
    "" "421 too busy"
        temporary: mail server localhost:PORT: put off while connecting: 421 too busy
    "AUTH" "535 5.7.8 no"
        settings: mail server localhost:PORT refused the login: 535 5.7.8 no; check `email.smtp.username` and `email.smtp.password` (many providers want an app password)
    "AUTH" "454 try later"
        temporary: mail server localhost:PORT: put off while logging in: 454 try later
    "MAIL" "530 5.7.0 authentication required"
        settings: mail server localhost:PORT wants more first: 530 5.7.0 authentication required; set `email.smtp.username` and `email.smtp.password`, and `email.smtp.security` to "starttls" or "tls"
    "MAIL" "553 sender not owned"
        settings: mail server localhost:PORT refused the sender pi@example.org: 553 sender not owned; set `email.from` to an address it may send for
    "RCPT" "550 no such user"
        settings: mail server localhost:PORT refused the recipient: 550 no such user; check `email.to`, and whether the server wants a login
    "RCPT" "450 greylisted, come again"
        temporary: mail server localhost:PORT: put off while naming the recipients: 450 greylisted, come again
    "DATA" "451 disk full"
        temporary: mail server localhost:PORT: put off while handing over the mail: 451 disk full
    "." "554-spam\r\n554 really"
        permanent: mail server localhost:PORT refused this mail: 554 spam really
    "." "552 too large"
        permanent: mail server localhost:PORT refused this mail: 552 too large
    "." "452 no space"
        temporary: mail server localhost:PORT: put off while handing over the mail: 452 no space
    "#);
}

#[tokio::test]
async fn a_server_that_falls_silent_or_hangs_up_is_left_in_time() {
    let limit = Duration::from_secs(1);
    let silent = ["", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "."].map(|step| async move {
        format!("silent at {step:?}: {}", failure(step, Answer::FallSilent, limit).await)
    });
    let mut said = join_all(silent).await;
    for step in ["", "EHLO", "AUTH", "MAIL", "."] {
        said.push(format!("gone at {step:?}: {}", failure(step, Answer::HangUp, PATIENCE).await));
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    silent at "": temporary: mail server localhost:PORT was too slow: no end within 1 s, while connecting; a port that expects TLS from the first byte (465) says nothing until `email.smtp.security` is "tls"
    silent at "EHLO": temporary: mail server localhost:PORT was too slow: no end within 1 s, while connecting; a port that expects TLS from the first byte (465) says nothing until `email.smtp.security` is "tls"
    silent at "AUTH": temporary: mail server localhost:PORT was too slow: no end within 1 s, while logging in
    silent at "MAIL": temporary: mail server localhost:PORT was too slow: no end within 1 s, while naming the sender
    silent at "RCPT": temporary: mail server localhost:PORT was too slow: no end within 1 s, while naming the recipients
    silent at "DATA": temporary: mail server localhost:PORT was too slow: no end within 1 s, while handing over the mail
    silent at ".": temporary: mail server localhost:PORT was too slow: no end within 1 s, while handing over the mail
    gone at "": temporary: mail server localhost:PORT: failed while connecting: it hung up; check `email.smtp.host`, `email.smtp.port` and `email.smtp.security` (587 is for "starttls", 465 for "tls")
    gone at "EHLO": temporary: mail server localhost:PORT: failed while connecting: it hung up; check `email.smtp.host`, `email.smtp.port` and `email.smtp.security` (587 is for "starttls", 465 for "tls")
    gone at "AUTH": temporary: mail server localhost:PORT: failed while logging in: it hung up
    gone at "MAIL": temporary: mail server localhost:PORT: failed while naming the sender: it hung up
    gone at ".": temporary: mail server localhost:PORT: failed while handing over the mail: it hung up
    "#);
}

#[tokio::test]
async fn a_mail_that_was_taken_stays_sent_whatever_the_goodbye() {
    for goodbye in [Answer::FallSilent, Answer::HangUp, Answer::Say("500 what")] {
        let address = scripted(&[("QUIT", goodbye)]).await;
        drop(mailer(address.port(), None).send(&a_mail()).await.unwrap());
    }
}

#[tokio::test]
async fn a_refused_recipient_does_not_keep_the_others_from_their_mail() {
    let address = scripted(&[("RCPT TO:<gone@", Answer::Say("550 no such user"))]).await;
    let mut settings = settings(address.port(), SmtpSecurity::None, None);
    settings.to.insert(0, "gone@example.org".to_owned());
    let sent = Mailer::new(&settings).unwrap().send(&a_mail()).await.unwrap();
    insta::assert_snapshot!(sent.refused.join("\n").replace(&address.port().to_string(), "PORT"), @"gone@example.org: mail server localhost:PORT refused the recipient: 550 no such user; check `email.to`, and whether the server wants a login");
}

#[tokio::test]
async fn of_two_refused_recipients_the_one_to_try_again_decides() {
    let gone = ("RCPT TO:<gone@", Answer::Say("550 no such user"));
    let address = scripted(&[gone, ("RCPT TO:<me@", Answer::Say("450 greylisted"))]).await;
    let mut settings = settings(address.port(), SmtpSecurity::None, None);
    settings.to.insert(0, "gone@example.org".to_owned());
    let refused = Mailer::new(&settings).unwrap().send(&a_mail()).await.unwrap_err();
    assert!(matches!(refused, MailError::Temporary(_)), "{refused}");
}

#[tokio::test]
async fn a_server_without_the_known_logins_or_without_anybody_is_named() {
    let strange = scripted(&[("EHLO", Answer::Say("250 mail.test"))]).await;
    let refused = mailer(strange.port(), Some(PASSWORD)).check().await.unwrap_err();
    insta::assert_snapshot!(hide(&refused, strange.port()), @r#"settings: mail server localhost:PORT offers no login by user name and password on this connection; most do only with `email.smtp.security` "starttls" or "tls""#);

    let port = free_port().await;
    let refused = mailer(port, None).check().await.unwrap_err();
    insta::assert_snapshot!(hide(&refused, port), @"temporary: mail server localhost:PORT: failed while connecting: Connection refused (os error 111); nobody listens there: check `email.smtp.host` and `email.smtp.port`");
}

#[test]
fn addresses_are_checked_before_anything_is_sent() {
    let mut settings = settings(25, SmtpSecurity::None, None);
    settings.to.push("not an address".to_owned());
    insta::assert_snapshot!(Mailer::new(&settings).unwrap_err(), @"`email.to` is not a mail address: `not an address`: Invalid input");
}
