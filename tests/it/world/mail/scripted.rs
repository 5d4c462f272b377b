//! A tiny SMTP server that misbehaves by a script: for what no healthy mail server answers. Without TLS; any login
//! is accepted unless the script says otherwise.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::world::simulators::Simulators;

/// What the server does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Nothing: it takes every mail.
    Accept,
    /// `451` to every recipient: try again later.
    DeferRecipient,
    /// `550` to every recipient: never.
    RefuseRecipient,
    /// Accepts the connection and says nothing, ever.
    MuteAfterConnect,
    /// `535` to every login.
    RefuseLogin,
    /// Ends the connection when the text of the mail begins.
    CloseAtData,
    /// Takes the whole text and ends the connection without an answer: delivered or not, who knows.
    CloseAfterData,
}

/// The running server.
pub struct ScriptedSmtp {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Mutex<Script>,
    commands: Mutex<Vec<String>>,
    taken: Mutex<Vec<String>>,
}

impl ScriptedSmtp {
    /// Starts it on any free port.
    pub async fn start(simulators: &Simulators, address: IpAddr, script: Script) -> Self {
        let (commands, taken) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { script: Mutex::new(script), commands, taken });
        let state = Arc::clone(&shared);
        let address = simulators
            .run(async move {
                let listener = TcpListener::bind((address, 0)).await.expect("bind the scripted mail server");
                let address = listener.local_addr().expect("read the scripted mail server's address");
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        let state = Arc::clone(&state);
                        tokio::spawn(async move { converse(&state, stream).await.ok() });
                    }
                });
                address
            })
            .await;
        Self { address, shared }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Follows another script from the next command on.
    pub fn follow(&self, script: Script) {
        *self.shared.script.lock().unwrap() = script;
    }

    /// The commands it was given, without arguments of logins.
    pub fn commands(&self) -> Vec<String> {
        self.shared.commands.lock().unwrap().clone()
    }

    /// The mails whose text it has seen to the end.
    pub fn taken(&self) -> Vec<String> {
        self.shared.taken.lock().unwrap().clone()
    }
}

async fn converse(shared: &Shared, stream: TcpStream) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let script = || *shared.script.lock().unwrap();
    if script() == Script::MuteAfterConnect {
        return std::future::pending().await;
    }
    write.write_all(b"220 mail.world.test ESMTP\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let noted = if verb == "AUTH" { "AUTH".to_owned() } else { line.clone() };
        shared.commands.lock().unwrap().push(noted);
        let answer = match verb.as_str() {
            "EHLO" => "250-mail.world.test\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN\r\n",
            "AUTH" if script() == Script::RefuseLogin => "535 5.7.8 Authentication credentials invalid\r\n",
            "AUTH" => "235 2.7.0 Accepted\r\n",
            "RCPT" if script() == Script::DeferRecipient => "451 4.7.1 Greylisted, try again later\r\n",
            "RCPT" if script() == Script::RefuseRecipient => "550 5.1.1 No such user\r\n",
            "DATA" if script() == Script::CloseAtData => return Ok(()),
            "DATA" => "354 Go on\r\n",
            "QUIT" => "221 Bye\r\n",
            _ => "250 OK\r\n",
        };
        write.write_all(answer.as_bytes()).await?;
        if verb == "DATA" {
            let mut text = String::new();
            while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                text.push_str(&line);
                text.push('\n');
            }
            shared.taken.lock().unwrap().push(text);
            if script() == Script::CloseAfterData {
                return Ok(());
            }
            write.write_all(b"250 2.0.0 Taken\r\n").await?;
        }
        if verb == "QUIT" {
            return Ok(());
        }
    }
    Ok(())
}
