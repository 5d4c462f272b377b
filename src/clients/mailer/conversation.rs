//! The SMTP conversation, step by step, and what each way of failing at each step means. The step is kept, so
//! that a server which falls silent is reported with what it was asked last.

use std::error::Error;
use std::io;
use std::time::Duration;

use lettre::Message;
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::client::TlsParameters;
use lettre::transport::smtp::commands::Data;
use lettre::transport::smtp::commands::Mail;
use lettre::transport::smtp::commands::Noop;
use lettre::transport::smtp::commands::Rcpt;
use lettre::transport::smtp::extension::ClientId;
use secrecy::ExposeSecret;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::clients::mailer::MailError;
use crate::clients::mailer::Mailer;
use crate::clients::mailer::Sent;
use crate::config::SmtpSecurity;
use crate::fault_point::Effect;

/// How long one address of the server may take to accept a connection, so that a dead one (IPv6 without a route,
/// say) leaves time for the next.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// A conversation with the server, as far as it got.
pub struct Conversation<'a> {
    mailer: &'a Mailer,
    step: Step,
}

/// What the server is being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Greeting,
    StartTls,
    Login,
    Life,
    Sender,
    Recipients,
    Content,
}

impl<'a> Conversation<'a> {
    /// A conversation that has not begun.
    pub const fn new(mailer: &'a Mailer) -> Self {
        Self { mailer, step: Step::Greeting }
    }

    /// Connects, protects the connection as configured, logs in.
    pub async fn open(&mut self) -> Result<AsyncSmtpConnection, MailError> {
        let settings = &self.mailer.settings;
        let address = (settings.host.as_str(), settings.port);
        let us = ClientId::default();
        let tls_at_once = match settings.security {
            SmtpSecurity::Tls => Some(self.tls().await?),
            SmtpSecurity::None | SmtpSecurity::Starttls => None,
        };
        let limit = Some(CONNECT_LIMIT);
        let connected = AsyncSmtpConnection::connect_tokio1(address, limit, &us, tls_at_once, None).await;
        let mut connection = connected.map_err(|e| self.failed(&e))?;
        if settings.security == SmtpSecurity::Starttls {
            self.step = Step::StartTls;
            if !connection.can_starttls() {
                return Err(self.starttls_is_not_offered());
            }
            let tls = self.tls().await?;
            connection.starttls(tls, &us).await.map_err(|e| self.failed(&e))?;
        }
        if let Some(login) = &settings.login {
            self.step = Step::Login;
            let password = login.password.expose_secret().to_owned();
            let credentials = Credentials::new(login.username.clone(), password);
            connection.auth(DEFAULT_MECHANISMS, &credentials).await.map_err(|e| self.failed(&e))?;
        }
        Ok(connection)
    }

    /// Hands over a message. A recipient that is refused does not keep the others from getting it.
    pub async fn deliver(
        &mut self,
        _effect: &Effect,
        connection: &mut AsyncSmtpConnection,
        message: &Message,
    ) -> Result<Sent, MailError> {
        let envelope = message.envelope();
        self.step = Step::Sender;
        let sender = Mail::new(envelope.from().cloned(), Vec::new());
        connection.command(sender).await.map_err(|e| self.failed(&e))?;
        self.step = Step::Recipients;
        let mut refused = Vec::new();
        for address in envelope.to() {
            let recipient = Rcpt::new(address.clone(), Vec::new());
            match connection.command(recipient).await {
                Ok(_) => {}
                Err(error) if error.status().is_some() => refused.push((address, self.failed(&error))),
                Err(error) => return Err(self.failed(&error)),
            }
        }
        // The mildest verdict decides: one recipient may be greylisted beside another that does not exist.
        let mildest = refused.iter().min_by_key(|(_, why)| !matches!(why, MailError::Temporary(_)));
        if let Some((_, why)) = mildest
            && refused.len() == envelope.to().len()
        {
            return Err(why.clone());
        }
        self.step = Step::Content;
        connection.command(Data).await.map_err(|e| self.failed(&e))?;
        connection.message(&message.formatted()).await.map_err(|e| self.failed(&e))?;
        Ok(Sent { refused: refused.iter().map(|(address, why)| format!("{address}: {why}")).collect() })
    }

    /// Asks for nothing, to see that the server still answers.
    pub async fn ask_for_life(&mut self, connection: &mut AsyncSmtpConnection) -> Result<(), MailError> {
        self.step = Step::Life;
        connection.command(Noop).await.map(drop).map_err(|e| self.failed(&e))
    }

    /// The error for a conversation that ran out of time.
    pub fn too_slow(&self) -> MailError {
        let (server, limit) = (self.server(), self.mailer.limit.as_secs_f32());
        let security = self.mailer.settings.security;
        let hint = match (self.step, security) {
            (Step::Greeting, SmtpSecurity::None | SmtpSecurity::Starttls) => {
                "; a port that expects TLS from the first byte (465) says nothing until `email.smtp.security` is \"tls\""
            }
            (Step::Greeting, SmtpSecurity::Tls) => "; check `email.smtp.host` and `email.smtp.port`",
            (
                Step::StartTls | Step::Login | Step::Life | Step::Sender | Step::Recipients | Step::Content,
                _,
            ) => "",
        };
        MailError::Temporary(format!(
            "mail server {server} was too slow: no end within {limit} s, while {}{hint}",
            self.step.doing()
        ))
    }

    /// Reading the machine's certificates is slow on a small board, hence not done on the agent's thread; and
    /// done for each mail, since they are renewed, and are too large to keep between mails.
    async fn tls(&self) -> Result<TlsParameters, MailError> {
        let host = self.mailer.settings.host.clone();
        let problem = |why: String| {
            MailError::Settings(format!(
                "mail server {}: cannot check certificates: {why}; install the package ca-certificates",
                self.server()
            ))
        };
        match spawn_blocking(move || TlsParameters::new(host)).await {
            Ok(Ok(parameters)) => Ok(parameters),
            Ok(Err(error)) => Err(problem(error.to_string())),
            Err(error) => Err(problem(error.to_string())),
        }
    }

    /// The error for a step that failed.
    fn failed(&self, error: &smtp::Error) -> MailError {
        let server = self.server();
        if let Some(code) = error.status() {
            let said = Error::source(error).map(ToString::to_string).unwrap_or_default();
            return self.refused(u16::from(code), &format!("{code} {}", printable(&said)));
        }
        if let Some(certificate) = certificate_problem(error) {
            return MailError::Settings(format!(
                "mail server {server}: its certificate is not trusted: {certificate}; use the host name the certificate is \
                 made out to, or add the server's own authority to this machine's (SSL_CERT_FILE)"
            ));
        }
        if self.step == Step::Login && error.is_client() {
            return MailError::Settings(format!(
                "mail server {server} offers no login by user name and password on this connection; most do only \
                 with `email.smtp.security` \"starttls\" or \"tls\""
            ));
        }
        let way_out = match (self.step, io_kind(error)) {
            (Step::Greeting, Some(io::ErrorKind::ConnectionRefused)) => {
                "; nobody listens there: check `email.smtp.host` and `email.smtp.port`"
            }
            (Step::Greeting, _) => {
                "; check `email.smtp.host`, `email.smtp.port` and `email.smtp.security` (587 is for \"starttls\", 465 for \"tls\")"
            }
            (
                Step::StartTls | Step::Login | Step::Life | Step::Sender | Step::Recipients | Step::Content,
                _,
            ) => "",
        };
        MailError::Temporary(format!(
            "mail server {server}: failed while {}: {}{way_out}",
            self.step.doing(),
            plainly(error)
        ))
    }

    /// The error for a step that the server answered with a code of 400 or more.
    fn refused(&self, code: u16, said: &str) -> MailError {
        let server = self.server();
        if code < 500 {
            let doing = self.step.doing();
            return MailError::Temporary(format!("mail server {server}: put off while {doing}: {said}"));
        }
        let from = &self.mailer.from.email;
        match self.step {
            Step::Login => MailError::Settings(format!(
                "mail server {server} refused the login: {said}; check `email.smtp.username` and `email.smtp.password` \
                 (many providers want an app password)"
            )),
            // 530 and 538: the login, or its protection, is missing.
            _ if matches!(code, 530 | 538) => MailError::Settings(format!(
                "mail server {server} wants more first: {said}; set `email.smtp.username` and `email.smtp.password`, \
                 and `email.smtp.security` to \"starttls\" or \"tls\""
            )),
            Step::Sender => MailError::Settings(format!(
                "mail server {server} refused the sender {from}: {said}; set `email.from` to an address it may send for"
            )),
            Step::Recipients => MailError::Settings(format!(
                "mail server {server} refused the recipient: {said}; check `email.to`, and whether the server wants a login"
            )),
            Step::Content => MailError::Permanent(format!("mail server {server} refused this mail: {said}")),
            Step::Greeting | Step::StartTls | Step::Life => MailError::Settings(format!(
                "mail server {server} refused while {}: {said}",
                self.step.doing()
            )),
        }
    }

    fn starttls_is_not_offered(&self) -> MailError {
        MailError::Settings(format!(
            "mail server {} does not offer STARTTLS; set `email.smtp.security` to \"tls\" if the port is 465, or, on a \
             network you trust, to \"none\"",
            self.server()
        ))
    }

    fn server(&self) -> String {
        format!("{}:{}", self.mailer.settings.host, self.mailer.settings.port)
    }
}

/// Ends a connection whose work is done; whether the server answers is of no interest any more.
pub async fn say_goodbye(mut connection: AsyncSmtpConnection, limit: Duration) {
    drop(timeout(limit, connection.quit()).await);
}

impl Step {
    const fn doing(self) -> &'static str {
        match self {
            Self::Greeting => "connecting",
            Self::StartTls => "starting TLS",
            Self::Login => "logging in",
            Self::Life => "asking whether it is alive",
            Self::Sender => "naming the sender",
            Self::Recipients => "naming the recipients",
            Self::Content => "handing over the mail",
        }
    }
}

/// Why the server's certificate was refused, if that is what happened.
fn certificate_problem(error: &(dyn Error + 'static)) -> Option<String> {
    causes(error).find_map(|cause| match cause.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            Some("this machine does not know who issued it".to_owned())
        }
        Some(rustls::Error::InvalidCertificate(why)) => Some(why.to_string()),
        _ => None,
    })
}

/// What went wrong on the way to the server or back, in words that help.
fn plainly(error: &smtp::Error) -> String {
    if causes(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidMessage(_)))) {
        return "it does not speak TLS there".to_owned();
    }
    let innermost = causes(error).last().map(ToString::to_string).unwrap_or_default();
    match innermost.as_str() {
        "incomplete response" => "it hung up".to_owned(),
        _ => printable(&innermost),
    }
}

fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>().map(io::Error::kind))
}

/// The error and what lies below it. An IO error's own `source` skips the error it wraps, so that is asked for.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause: &&'a (dyn Error + 'static)| {
        let cause: &'a (dyn Error + 'static) = *cause;
        match cause.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => cause.source(),
        }
    })
}

/// A server's words on one line of bearable length: they go into logs and onto terminals.
fn printable(text: &str) -> String {
    const LONGEST: usize = 300;
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    clean.trim().to_owned()
}
