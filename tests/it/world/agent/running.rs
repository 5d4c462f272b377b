//! A running service: its readiness as systemd learns of it, its stderr, its signals and its end.

use std::path::Path;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::BufReader;
use tokio::net::UnixDatagram;
use tokio::process::Command;
use tokio::sync::watch;

use super::Transcript;
use crate::world::simulators::Simulators;

const DEADLINE: Duration = Duration::from_secs(30);

/// The service. Dropped, it is killed.
pub struct RunningAgent {
    pid: u32,
    said: watch::Receiver<Said>,
    /// The thread that waits for the process must not end before it.
    _simulators: Arc<Simulators>,
}

/// What is known of the service so far.
#[derive(Debug, Clone, Default)]
struct Said {
    stdout: String,
    stderr: String,
    notified: Vec<String>,
    ended: Option<ExitStatus>,
}

impl RunningAgent {
    /// Starts the command on the simulators' thread, which outlives it; as a service if there is a notify socket.
    pub(super) async fn start(
        mut command: Command,
        socket: Option<PathBuf>,
        transcript: Transcript,
        simulators: Arc<Simulators>,
    ) -> Self {
        let (pid, said) = simulators
            .run(async move {
                let notified = socket.map(|socket| listen_for_notices(&socket, &mut command));
                let mut child = command.spawn().expect("start homeport");
                let pid = child.id().expect("a process just started has an id");
                let (sender, said) = watch::channel(Said::default());
                let sender = Arc::new(sender);
                let errors = child.stderr.take().expect("stderr is piped");
                let output = child.stdout.take().expect("stdout is piped");
                let (to_errors, to_output, to_notified) =
                    (Arc::clone(&sender), Arc::clone(&sender), Arc::clone(&sender));
                let errors = tokio::spawn(listen(errors, move |line| {
                    transcript.add(line);
                    to_errors.send_modify(|said| said.stderr.push_str(line));
                }));
                let output = tokio::spawn(listen(output, move |line| {
                    to_output.send_modify(|said| said.stdout.push_str(line));
                }));
                let notices =
                    notified.map(|socket| tokio::spawn(receive(socket, to_notified)).abort_handle());
                tokio::spawn(async move {
                    let status = child.wait().await.expect("wait for homeport");
                    errors.await.ok();
                    output.await.ok();
                    if let Some(notices) = notices {
                        notices.abort();
                    }
                    sender.send_modify(|said| said.ended = Some(status));
                });
                (pid, said)
            })
            .await;
        Self { pid, said, _simulators: simulators }
    }

    /// Waits until the service said `READY=1`.
    pub async fn wait_ready(&self) {
        self.wait_for("READY=1", |said| said.notified.iter().any(|line| line == "READY=1")).await;
    }

    /// Waits until stderr holds this text.
    pub async fn wait_for_stderr(&self, text: &str) {
        self.wait_for(text, |said| said.stderr.contains(text)).await;
    }

    /// Waits until stdout holds this text.
    pub async fn wait_for_stdout(&self, text: &str) {
        self.wait_for(text, |said| said.stdout.contains(text)).await;
    }

    /// Waits for the end.
    pub async fn wait_end(&self) -> ExitStatus {
        self.wait_end_within(DEADLINE).await
    }

    /// Waits for the end of something that may take longer.
    pub async fn wait_end_within(&self, deadline: Duration) -> ExitStatus {
        let mut said = self.said.clone();
        let in_time =
            tokio::time::timeout(deadline, said.wait_for(|said| said.ended.is_some())).await.is_ok();
        assert!(in_time, "homeport has not ended after {deadline:?}; stderr:\n{}", self.stderr());
        self.said.borrow().ended.expect("it has ended")
    }

    /// SIGTERM, as systemd stops a service, and waits for the end.
    pub async fn terminate(&self) -> ExitStatus {
        self.signal("TERM");
        self.wait_end().await
    }

    /// SIGKILL, as a crash or a power cut, and waits for the end.
    pub async fn kill(&self) -> ExitStatus {
        self.signal("KILL");
        self.wait_end().await
    }

    /// Sends a signal: `HUP`, `STOP`, `CONT` …
    pub fn signal(&self, name: &str) {
        if self.said.borrow().ended.is_none() {
            let sent = std::process::Command::new("kill").args(["-s", name, &self.pid.to_string()]).output();
            sent.expect("run kill");
        }
    }

    /// The service's process id.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.said.borrow().ended.is_none()
    }

    /// Its stderr so far.
    pub fn stderr(&self) -> String {
        self.said.borrow().stderr.clone()
    }

    /// Its stdout so far.
    pub fn stdout(&self) -> String {
        self.said.borrow().stdout.clone()
    }

    /// What it told systemd so far, line by line: `READY=1`, `WATCHDOG=1`, `STATUS=…`
    pub fn notified(&self) -> Vec<String> {
        self.said.borrow().notified.clone()
    }

    async fn wait_for(&self, what: &str, is_there: impl Fn(&Said) -> bool) {
        let mut said = self.said.clone();
        let is_over = said.wait_for(|said| is_there(said) || said.ended.is_some());
        // What `wait_for` gives is a lock on the value: it must be gone before the value is looked at again.
        let in_time = tokio::time::timeout(DEADLINE, is_over).await.is_ok();
        let now = self.said.borrow().clone();
        assert!(in_time, "waited {DEADLINE:?} in vain for {what}; stderr:\n{}", now.stderr);
        assert!(is_there(&now), "homeport ended ({:?}) before {what}; stderr:\n{}", now.ended, now.stderr);
    }
}

impl Drop for RunningAgent {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}

async fn listen(from: impl AsyncRead + Unpin, mut heard: impl FnMut(&str)) {
    let mut lines = BufReader::new(from);
    let mut raw = Vec::new();
    while lines.read_until(b'\n', &mut raw).await.is_ok_and(|count| count > 0) {
        heard(&String::from_utf8_lossy(&raw));
        raw.clear();
    }
}

fn listen_for_notices(socket: &Path, command: &mut Command) -> UnixDatagram {
    std::fs::remove_file(socket).ok();
    command.env("NOTIFY_SOCKET", socket);
    UnixDatagram::bind(socket).expect("bind the notify socket")
}

async fn receive(socket: UnixDatagram, said: Arc<watch::Sender<Said>>) {
    let mut raw = [0; 4096];
    while let Ok(length) = socket.recv(&mut raw).await {
        let text = String::from_utf8_lossy(raw.get(..length).unwrap_or_default()).into_owned();
        said.send_modify(|said| said.notified.extend(text.lines().map(str::to_owned)));
    }
}
