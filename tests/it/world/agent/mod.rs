//! The real agent, driven as its owner and systemd drive it: a configuration file, commands, a service that says
//! when it is ready and takes signals. Nothing of the library is used: the binary is all there is.

mod configuration;
mod running;

pub use configuration::Surroundings;
pub use running::RunningAgent;

use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::SystemTime;

use serde_json::Value;
use tokio::process::Command;

use crate::world::simulators::Simulators;

const COMMAND_DEADLINE: Duration = Duration::from_secs(180);

/// The agent: its binary, its configuration, its folders.
pub struct Agent {
    binary: PathBuf,
    folder: PathBuf,
    enter: Vec<String>,
    config: Mutex<Value>,
    environment: Mutex<Vec<(String, String)>>,
    transcript: Transcript,
    simulators: Arc<Simulators>,
}

/// Everything that agents have said on stderr, for the journal of a failed test.
#[derive(Clone, Default)]
pub struct Transcript(Arc<Mutex<String>>);

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it logged or complained about.
    pub stderr: String,
}

impl Agent {
    /// An agent with this binary in these surroundings, its files below `folder`.
    pub fn new(
        binary: &Path,
        folder: &Path,
        surroundings: &Surroundings<'_>,
        enter: Vec<String>,
        simulators: Arc<Simulators>,
    ) -> Self {
        std::fs::create_dir_all(folder).expect("make the agent's folder");
        let config = surroundings.configuration(folder);
        let environment = vec![
            ("PATH".to_owned(), std::env::var("PATH").unwrap_or_default()),
            ("HOME".to_owned(), folder.display().to_string()),
            ("SSL_CERT_FILE".to_owned(), surroundings.mail.authority().display().to_string()),
        ];
        Self {
            binary: binary.to_owned(),
            folder: folder.to_owned(),
            enter,
            config: Mutex::new(config),
            environment: Mutex::new(environment),
            transcript: Transcript::default(),
            simulators,
        }
    }

    /// Sets a key of the configuration by its JSON pointer, `/projects/0/deploy/prove/http`; objects on the way
    /// are made. It is in the file with the next command, or with [`Self::write_config`].
    pub fn set(&self, pointer: &str, value: impl Into<Value>) {
        let mut config = self.config.lock().unwrap();
        let mut place = &mut *config;
        for key in pointer.trim_start_matches('/').split('/') {
            place = match key.parse::<usize>() {
                Ok(index) => {
                    place.get_mut(index).unwrap_or_else(|| panic!("{pointer}: there is no item {index}"))
                }
                Err(_) => &mut place[key],
            };
        }
        *place = value.into();
    }

    /// Removes a key of the configuration.
    pub fn unset(&self, pointer: &str) {
        let (parent, key) = pointer.rsplit_once('/').expect("a JSON pointer");
        let mut config = self.config.lock().unwrap();
        if let Some(fields) = config.pointer_mut(parent).and_then(Value::as_object_mut) {
            fields.remove(key);
        }
    }

    /// The configuration as it is meant now.
    pub fn config(&self) -> Value {
        self.config.lock().unwrap().clone()
    }

    /// Sets an environment variable for the commands to come.
    pub fn env(&self, name: &str, value: &str) {
        self.environment.lock().unwrap().push((name.to_owned(), value.to_owned()));
    }

    /// Writes a secret beside the configuration, for its user alone; what the configuration says for it.
    pub fn write_secret(&self, name: &str, value: &str) -> Value {
        configuration::write_secret(&self.folder, name, value)
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("config.json")
    }

    /// `state_dir`.
    pub fn state_dir(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// `log_dir`.
    pub fn log_dir(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Writes the configuration file in one step, as a careful editor saves.
    pub fn write_config(&self) {
        let text = serde_json::to_string_pretty(&self.config()).expect("print the configuration");
        self.write_config_text(&text);
    }

    /// Writes this text as the configuration file.
    pub fn write_config_text(&self, text: &str) {
        let draft = self.folder.join("config.json.draft");
        std::fs::write(&draft, text).expect("write the configuration");
        std::fs::rename(&draft, self.config_file()).expect("put the configuration in place");
    }

    /// `homeport once`: each project's GitHub and Docker Hub looked at once, and what is due done.
    pub async fn once(&self) -> Finished {
        self.command(&["once"]).await
    }

    /// Runs `homeport COMMAND --config FILE …` to its end.
    pub async fn command(&self, arguments: &[&str]) -> Finished {
        let running = self.start(arguments, None).await;
        let code = running.wait_end_within(COMMAND_DEADLINE).await.code();
        Finished { code, stdout: running.stdout(), stderr: running.stderr() }
    }

    /// Starts `homeport run` as systemd would. It dies with the test.
    pub async fn spawn_run(&self) -> RunningAgent {
        self.start(&["run"], Some(self.folder.join("notify.socket"))).await
    }

    /// Starts a command that goes on, such as `logs --follow`, as a person would.
    pub async fn spawn(&self, arguments: &[&str]) -> RunningAgent {
        self.start(arguments, None).await
    }

    async fn start(&self, arguments: &[&str], notify: Option<PathBuf>) -> RunningAgent {
        self.write_config();
        self.transcript.add(&format!("$ homeport {}\n", arguments.join(" ")));
        let command = self.prepare(arguments);
        RunningAgent::start(command, notify, self.transcript.clone(), Arc::clone(&self.simulators)).await
    }

    /// `homeport status --json`.
    pub async fn status_json(&self) -> Value {
        self.command(&["status", "--json"]).await.expect_success().json()
    }

    /// `homeport runs --json`.
    pub async fn runs_json(&self) -> Value {
        self.command(&["runs", "--json"]).await.expect_success().json()
    }

    /// Every run log so far: its path below the log folder, and its text, oldest first.
    pub fn run_logs(&self) -> Vec<(String, String)> {
        let mut folders = vec![self.log_dir()];
        let mut logs = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    let raw = std::fs::read(entry.path()).unwrap_or_default();
                    let name =
                        entry.path().strip_prefix(self.log_dir()).map(|path| path.display().to_string());
                    logs.push((name.unwrap_or_default(), String::from_utf8_lossy(&raw).into_owned()));
                }
            }
        }
        logs.sort();
        logs
    }

    /// Every file below the state and log folders with its size and the time of its last change.
    pub fn files(&self) -> Vec<(PathBuf, u64, SystemTime)> {
        let mut folders = vec![self.state_dir(), self.log_dir()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
                // A file may go between the listing and the look.
                let Ok(facts) = entry.metadata() else { continue };
                if facts.is_dir() {
                    folders.push(entry.path());
                }
                files.push((entry.path(), facts.len(), facts.modified().expect("files have times")));
            }
        }
        files.sort();
        files
    }

    /// Lets every mail that waits be due now, about something that happened this many hours earlier than it did:
    /// as if the mail server had been away for so long.
    pub fn age_outbox(&self, hours: u32) {
        let database = rusqlite::Connection::open(self.state_dir().join("homeport.db"));
        let aged = database.expect("open the agent's database").execute(
            "UPDATE outbox SET happened_at = strftime('%Y-%m-%dT%H:%M:%fZ', happened_at, ?1),
                 next_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 second')",
            [format!("-{hours} hours")],
        );
        assert!(aged.expect("age the outbox") > 0, "no mail waits in the outbox");
    }

    /// Everything the agents of this world have said on stderr.
    pub fn transcript(&self) -> String {
        self.transcript.0.lock().unwrap().clone()
    }

    /// The command with nothing of the test's environment.
    fn prepare(&self, arguments: &[&str]) -> Command {
        // The agent must die with the test's process, however that ends.
        let leash = ["setpriv", "--pdeathsig", "KILL", "--"].map(str::to_owned);
        let (first, others) = arguments.split_at(1);
        let mut words = self.enter.iter().chain(&leash);
        let mut command = Command::new(words.next().expect("the leash has words"));
        command
            .args(words)
            .arg(&self.binary)
            .args(first)
            .arg("--config")
            .arg(self.config_file())
            .args(others)
            .env_clear()
            .envs(self.environment.lock().unwrap().iter().cloned())
            .current_dir(&self.folder)
            // Ctrl-C in the terminal is for whom the world belongs to.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

impl Transcript {
    /// Adds to it.
    pub fn add(&self, text: &str) {
        self.0.lock().unwrap().push_str(text);
    }
}

impl Finished {
    /// Fails the test unless the exit code is 0.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        self.expect_code(0)
    }

    /// Fails the test unless the exit code is this one.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        let Self { code: found, stdout, stderr } = &self;
        assert_eq!(*found, Some(code), "homeport's exit code\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
        self
    }

    /// Fails the test unless the exit code is another than 0.
    #[track_caller]
    pub fn expect_failure(self) -> Self {
        let Self { code, stdout, stderr } = &self;
        assert!(code.is_some_and(|code| code != 0), "homeport ended with {code:?}\n{stdout}\n{stderr}");
        self
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON: {error}\n{}", self.stdout))
    }
}
