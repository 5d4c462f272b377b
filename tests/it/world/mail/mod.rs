//! A real mail server: exim as a child that accepts mail for anyone and delivers it to a maildir, which is read
//! back as parsed messages. It can be stopped and started again on its port. For answers that a healthy server
//! does not give there is [`ScriptedSmtp`].

mod certificate;
mod exim;
mod scripted;

pub use certificate::Certificate;
pub use scripted::Script;
pub use scripted::ScriptedSmtp;

use std::collections::HashSet;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use mail_parser::MessageParser;
use mail_parser::MimeHeaders;

use crate::world::leash::Leash;
use crate::world::port::ReservedPort;

/// The user name that the modes with a login accept.
pub const USERNAME: &str = "homeport";
/// The password that goes with [`USERNAME`].
pub const PASSWORD: &str = "smtp-s3cret-of-the-world";

/// How the server wants to be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MailMode {
    /// No TLS, no login: `"security": "none"`.
    #[default]
    Plain,
    /// No TLS, but a login (PLAIN or LOGIN).
    Login,
    /// A login, which is offered after STARTTLS only.
    StartTls,
    /// A login, TLS from the first byte.
    Tls,
}

/// A message as it was delivered.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    /// The file it stands in.
    file: String,
    /// The Subject, decoded.
    pub subject: String,
    /// The sender's address.
    pub from: String,
    /// The recipients' addresses.
    pub to: Vec<String>,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// The attachments: name and content.
    pub attachments: Vec<(String, Vec<u8>)>,
    /// The Message-ID, without angle brackets.
    pub message_id: String,
    /// Everything as it came.
    pub raw: String,
}

/// The server.
pub struct MailServer {
    mode: MailMode,
    address: SocketAddr,
    folder: PathBuf,
    certificate: Certificate,
    process: Mutex<Option<Leash>>,
    read: Mutex<HashSet<String>>,
    _port: ReservedPort,
}

impl MailServer {
    /// Starts the server with an empty inbox.
    pub async fn start(mode: MailMode, address: IpAddr, folder: &Path) -> Self {
        let port = ReservedPort::find();
        let address = SocketAddr::from((address, port.number()));
        std::fs::create_dir_all(folder).expect("make the mail server's folder");
        let certificate = Certificate::make(address.ip(), folder);
        exim::prepare(mode, address, folder, &certificate);
        let (process, read) = (Mutex::new(None), Mutex::default());
        let server =
            Self { mode, address, folder: folder.to_owned(), certificate, process, read, _port: port };
        server.restart().await;
        server
    }

    /// Starts it again on the same port, with the same inbox.
    pub async fn restart(&self) {
        self.stop();
        let process = exim::start(&self.folder);
        process.wait_listening(self.address).await;
        *self.process.lock().unwrap() = Some(process);
    }

    /// The server is down: connections are refused.
    pub fn stop(&self) {
        let running = self.process.lock().unwrap().take();
        if let Some(process) = running {
            process.stop("TERM");
        }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it wants to be spoken to.
    pub const fn mode(&self) -> MailMode {
        self.mode
    }

    /// The authority to trust, for a client's `SSL_CERT_FILE`.
    pub fn authority(&self) -> &Path {
        self.certificate.authority()
    }

    /// Every message that was delivered, oldest first, read or not.
    pub fn inbox(&self) -> Vec<Mail> {
        let mut files: Vec<PathBuf> = ["new", "cur"]
            .iter()
            .filter_map(|part| std::fs::read_dir(self.folder.join("inbox").join(part)).ok())
            .flat_map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())))
            .collect();
        files.sort();
        files.iter().filter_map(|file| read(file)).collect()
    }

    /// The messages that no [`Self::wait_for_mail`] has given yet.
    pub fn unread(&self) -> Vec<Mail> {
        let read = self.read.lock().unwrap();
        self.inbox().into_iter().filter(|mail| !read.contains(&mail.file)).collect()
    }

    /// Marks everything that has come as read.
    pub fn mark_all_read(&self) {
        let files = self.inbox().into_iter().map(|mail| mail.file);
        self.read.lock().unwrap().extend(files);
    }

    /// The first unread message of this kind, which is read then; `None` if none comes in time.
    pub async fn wait_for_mail(&self, wanted: impl Fn(&Mail) -> bool, deadline: Duration) -> Option<Mail> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(mail) = self.unread().into_iter().find(|mail| wanted(mail)) {
                self.read.lock().unwrap().insert(mail.file.clone());
                return Some(mail);
            }
            if Instant::now() >= end {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn read(file: &Path) -> Option<Mail> {
    let raw = std::fs::read(file).ok()?;
    let message = MessageParser::default().parse(&raw)?;
    let addresses = |address: Option<&mail_parser::Address<'_>>| -> Vec<String> {
        let all = address.into_iter().flat_map(|list| list.iter());
        all.filter_map(|one| one.address().map(str::to_owned)).collect()
    };
    let attachments = message
        .attachments()
        .map(|part| (part.attachment_name().unwrap_or_default().to_owned(), part.contents().to_vec()));
    Some(Mail {
        file: file.file_name()?.to_string_lossy().into_owned(),
        subject: message.subject().unwrap_or_default().to_owned(),
        from: addresses(message.from()).into_iter().next().unwrap_or_default(),
        to: addresses(message.to()),
        text: message.body_text(0).unwrap_or_default().into_owned(),
        html: message.body_html(0).unwrap_or_default().into_owned(),
        attachments: attachments.collect(),
        message_id: message.message_id().unwrap_or_default().to_owned(),
        raw: String::from_utf8_lossy(&raw).into_owned(),
    })
}
