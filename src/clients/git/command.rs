//! One run of git in a room of its own: no configuration but ours, no prompts, no hooks, an empty
//! home, and only the environment that it needs. Takes arguments and where output goes; gives how it ended.
//! Must never put a secret into an argument, a file or the output: the token travels in one environment
//! variable, to the one command that talks to the server, and is answered only to that server.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::process::Stdio;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process_group;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use url::Url;

use crate::clients::git::Output;
use crate::clients::git::error::GitError;
use crate::fault_point::Effect;

/// What every git here is told. A repository is never trusted: nothing it contains is run, and names that
/// would hit `.git` on other systems are refused.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.symlinks=true",
    "core.autocrlf=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.askPass=",
    "credential.helper=",
    "submodule.recurse=false",
    "filter.lfs.smudge=",
    "filter.lfs.process=",
    "filter.lfs.required=false",
    "init.defaultBranch=main",
    "advice.detachedHead=false",
    // It would go on in the background, behind the back of whoever counts on git having ended.
    "gc.auto=0",
    "maintenance.auto=false",
    // A server that sends nothing at all for a minute has gone; one that still counts sends keep-alives.
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
    "transfer.fsckObjects=true",
    // Harmless sins of old tools, found in well-known repositories.
    "fetch.fsck.badTimezone=ignore",
    "fetch.fsck.missingNameBeforeEmail=ignore",
    "fetch.fsck.missingSpaceBeforeDate=ignore",
    "fetch.fsck.missingSpaceBeforeEmail=ignore",
    "fetch.fsck.badEmail=ignore",
    "fetch.fsck.multipleAuthors=ignore",
    "fetch.fsck.zeroPaddedDate=ignore",
    "fetch.fsck.zeroPaddedFilemode=ignore",
];

/// What housekeeping is told beside: in the foreground, soon, and with the memory of a small board.
const HOUSEKEEPING: &[&str] = &[
    "gc.auto=1000",
    "gc.autoPackLimit=20",
    "gc.autoDetach=false",
    "gc.pruneExpire=now",
    "pack.threads=1",
    "pack.windowMemory=32m",
    "pack.deltaCacheSize=32m",
];

/// The variables that are taken over from this process: how to find programs and the way out.
const KEPT: &[&str] = &[
    "PATH",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

const TOKEN: &str = "HOMEPORT_GIT_TOKEN";
/// Answers git's question for a login with the token. The text names the variable, not its value.
const ANSWER_WITH_TOKEN: &str = r#"!f() { test "$1" = get && printf 'username=x-access-token\npassword=%s\n' "$HOMEPORT_GIT_TOKEN"; }; f"#;

/// The most of git's words that is kept; they all go to the output.
const KEPT_OUTPUT: usize = 16 << 10;

/// A git command that has not run yet.
#[derive(Debug)]
pub(super) struct GitCommand {
    settings: Vec<OsString>,
    place: Vec<OsString>,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    token: Option<SecretString>,
    input: Option<File>,
    is_question: bool,
    /// The most of its words that is kept, in bytes.
    kept: usize,
}

/// How git ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) verb: String,
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Ended {
    pub(super) fn is_success(&self) -> bool {
        self.status.success()
    }
}

impl GitCommand {
    /// One that changes the mirror or a tree.
    pub(super) fn new(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(OsString::from).collect();
        // A command that has no business with a server reaches none.
        let environment = vec![("GIT_ALLOW_PROTOCOL", OsString::new())];
        let command = Self {
            settings: vec![],
            place: vec![],
            arguments,
            environment,
            token: None,
            input: None,
            is_question: false,
            kept: KEPT_OUTPUT,
        };
        command.with_settings(SETTINGS)
    }

    /// One that changes nothing.
    pub(super) fn question(arguments: &[&str]) -> Self {
        Self { is_question: true, ..Self::new(arguments) }
    }

    /// Keeps more of its words than usual, in bytes.
    pub(super) fn keeping(self, kept: usize) -> Self {
        Self { kept, ..self }
    }

    /// Adds a path as the last argument.
    pub(super) fn path(mut self, path: &Path) -> Self {
        self.arguments.push(path.into());
        self
    }

    /// Works on this repository, whatever the current folder is.
    pub(super) fn in_repository(mut self, mirror: &Path) -> Self {
        self.place.push(joined("--git-dir=", mirror));
        self
    }

    /// Writes files into this folder, with an index of its own.
    pub(super) fn into_tree(mut self, tree: &Path, index: &Path) -> Self {
        self.place.push(joined("--work-tree=", tree));
        self.environment.push(("GIT_INDEX_FILE", index.into()));
        self
    }

    /// May talk to the server at `url`, over its protocol alone, and log in there with the token. Another
    /// server that it is redirected to gets no token.
    pub(super) fn talking_to(mut self, url: &Url, token: Option<&SecretString>) -> Self {
        let protocols = if url.scheme() == "file" { "file" } else { "http:https" };
        self.environment.push(("GIT_ALLOW_PROTOCOL", protocols.into()));
        if let Some(token) = token.filter(|_| url.has_host()) {
            let origin = url.origin().ascii_serialization();
            self.settings.push("-c".into());
            self.settings.push(format!("credential.{origin}.helper={ANSWER_WITH_TOKEN}").into());
            self.token = Some(token.clone());
        }
        self
    }

    /// Has this in its environment.
    pub(super) fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Has this as its standard input.
    pub(super) fn input(self, input: File) -> Self {
        Self { input: Some(input), ..self }
    }

    /// May repack.
    pub(super) fn with_housekeeping(self) -> Self {
        self.with_settings(HOUSEKEEPING)
    }

    /// Is told this beside what every git here is told.
    pub(super) fn with_settings(mut self, settings: &[&str]) -> Self {
        self.settings.extend(settings.iter().flat_map(|setting| ["-c".into(), OsString::from(setting)]));
        self
    }

    /// Is told one thing more, `KEY=VALUE`.
    pub(super) fn setting(mut self, setting: OsString) -> Self {
        self.settings.extend(["-c".into(), setting]);
        self
    }

    /// Runs it to its end. Dropped before, it is killed with all its children.
    pub(super) async fn run(self, program: &Path, out: Output<'_>) -> Result<Ended, GitError> {
        self.run_into(program, out, &|_| {}).await
    }

    /// The same, with another place for what it prints to stdout, of which only the end is kept.
    pub(super) async fn run_into(
        self,
        program: &Path,
        out: Output<'_>,
        printed: Output<'_>,
    ) -> Result<Ended, GitError> {
        let verb =
            self.arguments.first().map_or_else(String::new, |verb| verb.to_string_lossy().into_owned());
        let _effect = (!self.is_question).then(|| Effect::begin("git", &verb));
        let kept = self.kept;
        let mut command = self.prepare(program);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => GitError::NotInstalled { program: program.to_owned() },
            _ => GitError::Failed { message: format!("start {}: {error}", program.display()) },
        };
        let mut child = command.spawn().map_err(failed)?;
        let mut group = Group::of(child.id());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr, status) =
            tokio::join!(collect(stdout, kept, printed), collect(stderr, kept, out), child.wait());
        group.has_ended();
        let status =
            status.map_err(|error| GitError::Failed { message: format!("wait for git {verb}: {error}") })?;
        Ok(Ended { verb, status, stdout, stderr })
    }

    fn prepare(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.args(self.settings).args(self.place).args(self.arguments);
        command.env_clear();
        let kept = KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.envs(kept);
        // The names by which git's own TLS knows the same settings.
        for (ours, gits) in [("SSL_CERT_FILE", "GIT_SSL_CAINFO"), ("SSL_CERT_DIR", "GIT_SSL_CAPATH")] {
            if let Some(value) = std::env::var_os(ours) {
                command.env(gits, value);
            }
        }
        command
            .env("LC_ALL", "C")
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .envs(self.environment);
        if let Some(token) = &self.token {
            command.env(TOKEN, token.expose_secret());
        }
        command
            .current_dir("/")
            .stdin(self.input.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// The process group of a running git: the helpers it starts die with it.
struct Group(Option<Pid>);

impl Group {
    fn of(id: Option<u32>) -> Self {
        Self(id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    fn has_ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            kill_process_group(pid, Signal::KILL).ok();
        }
    }
}

/// Passes a stream on piece by piece, and keeps its end.
async fn collect(stream: Option<impl AsyncRead + Unpin>, most: usize, out: Output<'_>) -> String {
    let mut kept = Vec::new();
    let mut piece = vec![0; 8 << 10];
    if let Some(mut stream) = stream {
        while let Ok(length @ 1..) = stream.read(&mut piece).await {
            let piece = piece.get(..length).unwrap_or_default();
            out(piece);
            kept.extend_from_slice(piece);
            // What is kept moves at each of these, so not at each piece.
            if kept.len() > 2 * most {
                kept.drain(..kept.len() - most);
            }
        }
    }
    kept.drain(..kept.len().saturating_sub(most));
    String::from_utf8_lossy(&kept).into_owned()
}

fn joined(option: &str, path: &Path) -> OsString {
    let mut text = OsString::from(option);
    text.push(path);
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::collect;

    #[tokio::test]
    async fn of_a_long_output_all_is_passed_on_and_the_end_is_kept() {
        let text: String = (0..9000).map(|number| format!("{number} ")).collect();
        for (most, kept) in [(5, "8999 "), (text.len(), &text), (2 * text.len(), &text)] {
            let passed = std::sync::Mutex::new(Vec::new());
            let out = |piece: &[u8]| passed.lock().unwrap().extend_from_slice(piece);
            assert_eq!(collect(Some(text.as_bytes()), most, &out).await, kept);
            assert_eq!(passed.into_inner().unwrap(), text.as_bytes());
        }
    }
}
