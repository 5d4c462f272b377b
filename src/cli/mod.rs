//! The command line: what may be asked, and the exit codes that answer.

mod check;
mod desk;
mod history;
mod lock;
mod once;
mod order;
mod run;
mod schema;
mod status;
mod table;
mod test_mail;

use std::ffi::OsString;
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::Subcommand;

use crate::clients::process::SUPERVISE;
use crate::clients::process::supervise;
use crate::config::load::Loaded;
use crate::config::load::load;
use crate::config::load::load_to_look;
use crate::config::problem::ConfigErrors;
use crate::config::secret::Environment;
use crate::model::ProjectName;
use crate::model::RunNumber;

/// Tests, builds, pushes and deploys what is pushed to the branches you name, and mails when it cannot.
#[derive(Debug, Parser)]
#[command(name = "homeport", version, propagate_version = true, disable_help_subcommand = true)]
struct Cli {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "/etc/homeport/config.json", global = true)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be the service: poll, test, build, push, deploy, until told to stop.
    Run,
    /// Poll everything now, run what is due until nothing is, and exit.
    Once,
    /// Check the configuration, and whether Docker, GitHub, Docker Hub and the mail server answer.
    Check {
        /// Check the file only; ask nobody.
        #[arg(long)]
        offline: bool,
    },
    /// Show what runs of each project, what ran before it, and how the last runs ended.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the runs, newest first.
    Runs {
        /// Only of this project.
        #[arg(long)]
        project: Option<ProjectName>,
        /// At most so many.
        #[arg(long, short = 'n', default_value_t = 20)]
        limit: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the log of a run.
    Logs {
        /// The run's number; the newest run without one.
        #[arg(value_parser = run_number)]
        run: Option<RunNumber>,
        /// Go on printing until the run ends.
        #[arg(long, short)]
        follow: bool,
    },
    #[command(flatten)]
    Order(order::Orders),
    /// Send a test mail.
    TestMail,
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Run tests on this machine, as the agent orders it to.
    #[command(hide = true, name = SUPERVISE)]
    Supervise {
        /// The order.
        order: String,
    },
}

/// The exit codes, part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Exit {
    /// All well.
    Ok,
    /// A run failed.
    RunFailed,
    /// The configuration or the usage is wrong.
    Usage,
    /// Docker, GitHub, Docker Hub or the running agent could not be reached.
    Unreachable,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::RunFailed => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
        })
    }
}

/// Reads the arguments, does what they ask, and says how it went.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Also how `--help` and `--version` end. A closed pipe is no reason to complain.
            let is_error = error.use_stderr();
            error.print().ok();
            return if is_error { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    dispatch(cli).into()
}

fn dispatch(Cli { config, command }: Cli) -> Exit {
    match command {
        Command::Run => with_config(&config, |loaded| run::run(loaded, config.clone())),
        Command::Once => with_config(&config, once::once),
        Command::Check { offline } => check::check(&config, offline),
        Command::Status { json } => looking(&config, |loaded| status::status(&loaded, json)),
        Command::Runs { project, limit, json } => {
            looking(&config, |loaded| history::runs(&loaded, project, limit, json))
        }
        Command::Logs { run, follow } => looking(&config, |loaded| history::logs(&loaded, run, follow)),
        Command::Order(orders) => looking(&config, |loaded| order::give(&loaded, orders)),
        Command::TestMail => with_config(&config, |loaded| test_mail::test_mail(&loaded)),
        Command::Schema => schema::schema(),
        Command::Supervise { order } => match supervise(&order) {
            Ok(()) => Exit::Ok,
            Err(error) => {
                complain(&format!("{error:#}"));
                Exit::Usage
            }
        },
    }
}

/// Loads the configuration, says all that is wrong with it, and goes on if nothing is.
fn with_config(path: &Path, then: impl FnOnce(Loaded) -> Exit) -> Exit {
    or_complain(load(path, &Environment::of_this_process()), then)
}

/// As [`with_config`], for commands that only look at what happened and need no secret.
fn looking(path: &Path, then: impl FnOnce(Loaded) -> Exit) -> Exit {
    or_complain(load_to_look(path, &Environment::of_this_process()), then)
}

fn or_complain(loaded: Result<Loaded, ConfigErrors>, then: impl FnOnce(Loaded) -> Exit) -> Exit {
    match loaded {
        Ok(loaded) => then(loaded),
        Err(errors) => {
            complain(&errors);
            Exit::Usage
        }
    }
}

/// Runs a future on the one thread that an agent which mostly waits needs.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, std::io::Error> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
    Ok(runtime.block_on(work))
}

/// One line to stderr. Nothing can be done where even that fails.
fn complain(what: &dyn std::fmt::Display) {
    writeln!(std::io::stderr(), "{what}").ok();
}

/// Text to stdout; a closed pipe ends the command quietly, as with other tools.
fn say(what: &dyn std::fmt::Display) {
    writeln!(std::io::stdout(), "{what}").ok();
}

fn run_number(text: &str) -> Result<RunNumber, String> {
    let number = text.strip_prefix('#').unwrap_or(text);
    number.parse().map(RunNumber).map_err(|_| "a run number, as `homeport runs` shows it".to_owned())
}
