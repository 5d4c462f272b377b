//! `homeport rollback`, `deploy`, `retry`, `trigger`, `pause`, `resume` and `plan`: what a running agent is asked to do,
//! and what it says.

use anyhow::Context;
use clap::Subcommand;

use crate::cli::Exit;
use crate::cli::block_on;
use crate::cli::complain;
use crate::cli::say;
use crate::cli::status::orders_in_words;
use crate::config::load::Loaded;
use crate::control::ask::ask;
use crate::model::CommitPrefix;
use crate::model::InvalidName;
use crate::model::Move;
use crate::model::Order;
use crate::model::Ordered;
use crate::model::Plan;
use crate::model::ProjectName;
use crate::model::Prospect;
use crate::model::Reply;
use crate::model::Tag;

/// The commands that a running agent is asked to do.
#[derive(Debug, Subcommand)]
pub enum Orders {
    /// Say what would happen to a project now, and why. Changes nothing.
    Plan {
        /// The project.
        project: ProjectName,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Go back to what was deployed before, or to another version that held. Polls leave what was gone back from.
    Rollback {
        /// The project.
        project: ProjectName,
        /// A tag that was deployed, or the number of the run that deployed it; `#N` is always a run.
        #[arg(long, value_name = "N|TAG")]
        to: Option<String>,
        /// Wait until it has ended, and exit with 1 if it failed.
        #[arg(long)]
        wait: bool,
    },
    /// Deploy a tag, also one that failed before. Polls leave what is newer already.
    Deploy {
        /// The project.
        project: ProjectName,
        /// The tag on Docker Hub.
        tag: Tag,
        /// Wait until it has ended, and exit with 1 if it failed.
        #[arg(long)]
        wait: bool,
    },
    /// Try again what failed: the newest commit, the newest image.
    Retry {
        /// The project.
        project: ProjectName,
        /// Wait until the runs that it starts have ended, and exit with 1 if one failed.
        #[arg(long)]
        wait: bool,
    },
    /// Run the newest commit now, or the one given, also one that failed or was left out.
    Trigger {
        /// The project.
        project: ProjectName,
        /// A commit on GitHub by its id, or by its first digits.
        #[arg(long, value_name = "SHA", value_parser = commit_prefix)]
        commit: Option<CommitPrefix>,
        /// Wait until it has ended, and exit with 1 if it failed.
        #[arg(long)]
        wait: bool,
    },
    /// Start nothing by itself for a project, until `resume`. Polls go on.
    Pause {
        /// The project.
        project: ProjectName,
    },
    /// End a pause, and start what is due.
    Resume {
        /// The project.
        project: ProjectName,
    },
}

/// How much of the answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// What becomes of the order.
    Answered,
    /// The end of the runs that it starts.
    Ended,
}

/// How the answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// For a person.
    Words,
    /// For a script.
    Json,
}

impl Orders {
    fn meant(self) -> (Ordered, Until, Form) {
        let until = |wait| if wait { Until::Ended } else { Until::Answered };
        let (project, order, until, form) = match self {
            Self::Plan { project, json } => {
                let form = if json { Form::Json } else { Form::Words };
                (project, Order::Plan, Until::Answered, form)
            }
            Self::Rollback { project, to, wait } => {
                (project, Order::Rollback { to }, until(wait), Form::Words)
            }
            Self::Deploy { project, tag, wait } => (project, Order::Deploy { tag }, until(wait), Form::Words),
            Self::Retry { project, wait } => (project, Order::Retry, until(wait), Form::Words),
            Self::Trigger { project, commit, wait } => {
                (project, Order::Trigger { commit }, until(wait), Form::Words)
            }
            Self::Pause { project } => (project, Order::Pause, Until::Answered, Form::Words),
            Self::Resume { project } => (project, Order::Resume, Until::Answered, Form::Words),
        };
        (Ordered { project, order }, until, form)
    }
}

fn commit_prefix(text: &str) -> Result<CommitPrefix, InvalidName> {
    text.to_ascii_lowercase().parse()
}

/// Gives an order and prints what becomes of it.
pub fn give(loaded: &Loaded, orders: Orders) -> Exit {
    match block_on(ask_and_print(loaded, orders)) {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => {
            complain(&format!("{error:#}"));
            Exit::Unreachable
        }
        Err(error) => {
            complain(&format!("cannot start the runtime: {error}"));
            Exit::Usage
        }
    }
}

async fn ask_and_print(loaded: &Loaded, orders: Orders) -> anyhow::Result<Exit> {
    let (ordered, until, form) = orders.meant();
    let mut replies = ask(&loaded.settings.state_dir, &ordered).await?;
    let mut exit = None;
    while let Some(reply) = replies.next().await? {
        print(&reply, form)?;
        exit = exit.max(Some(exit_of(&reply)));
        if until == Until::Answered {
            break;
        }
    }
    exit.context("the agent stopped before it answered: `homeport status` shows what is")
}

fn exit_of(reply: &Reply) -> Exit {
    match reply {
        Reply::Accepted(_) | Reply::Plan(_) | Reply::Ended { well: true, .. } => Exit::Ok,
        Reply::Ended { well: false, .. } => Exit::RunFailed,
        Reply::Refused(_) => Exit::Usage,
        Reply::Unreachable(_) => Exit::Unreachable,
    }
}

fn print(reply: &Reply, form: Form) -> anyhow::Result<()> {
    match (reply, form) {
        (Reply::Plan(plan), Form::Json) => say(&serde_json::to_string_pretty(plan)?),
        (Reply::Plan(plan), Form::Words) => say(&in_words(plan)),
        (Reply::Accepted(text) | Reply::Ended { well: true, text }, _) => say(text),
        (Reply::Refused(text) | Reply::Unreachable(text) | Reply::Ended { well: false, text }, _) => {
            complain(text)
        }
    }
    Ok(())
}

fn in_words(plan: &Plan) -> String {
    let mut lines = vec![plan.project.to_string()];
    lines.extend(orders_in_words(plan.paused, &plan.held));
    lines.push(format!("  ci        {}", prospect(plan.ci.as_ref(), "nothing is built here")));
    lines.push(format!("  cd        {}", prospect(plan.cd.as_ref(), "nothing is deployed here")));
    lines.join("\n")
}

fn prospect(prospect: Option<&Prospect>, none: &str) -> String {
    let Some(Prospect { next, about, why }) = prospect else { return none.to_owned() };
    match (next, about) {
        (Move::Start | Move::Wait, Some(about)) => format!("{about} {}: {why}", next.word()),
        (Move::Start | Move::Wait | Move::Nothing | Move::Unknown, _) => format!("{}: {why}", next.word()),
    }
}
