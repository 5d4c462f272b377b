//! A child process that cannot outlive the test: a shell in between holds the reading end of a pipe, and kills
//! the child when the pipe closes, be it on purpose, by a drop, or because the test was killed.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

/// The group's end takes what the child has left running, such as a delivery of exim's.
const SCRIPT: &str =
    r#""$@" & child=$!; read -r signal; kill -s "${signal:-KILL}" $child; wait $child; kill -s KILL -- -$$"#;

/// A running child process.
pub struct Leash {
    shell: Child,
    log: PathBuf,
}

impl Leash {
    /// Starts `argv`; both its outputs go to the file `log`.
    pub fn start(argv: &[&str], log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("open a child's log");
        let errors = output.try_clone().expect("share a child's log");
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "leash"])
            .args(argv)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("start {argv:?}: {error}"));
        Self { shell, log: log.to_owned() }
    }

    /// Waits until the child accepts connections.
    pub async fn wait_listening(&self, address: SocketAddr) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            assert!(Instant::now() < deadline, "nothing listens on {address} after 10 s; its log:\n{log}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sends the signal, such as `TERM` or `KILL`, and waits for the end.
    pub fn stop(mut self, signal: &str) {
        self.end(signal);
    }

    fn end(&mut self, signal: &str) {
        if let Some(mut pipe) = self.shell.stdin.take() {
            writeln!(pipe, "{signal}").ok();
        }
        self.shell.wait().ok();
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.end("KILL");
    }
}
