//! homeport: continuous integration and deployment for one board behind a home router.
//!
//! It only ever calls out. One loop polls GitHub and takes a new commit to an image on Docker Hub; another
//! polls Docker Hub's tags and takes a new image to a running container that has proven itself, or back to
//! the container before it. Every run has a number and a log file and, where it matters, a mail.
//!
//! # The picture
//!
//! ```text
//!            GitHub                                        Docker Hub
//!      poll ↑↓ commit                               tags ↑↓ poll    ↑ push
//!   ┌─────────────────────────────────────────────────────────────────┼──────┐
//!   │ schedule, webhook, commands ──→ Event ─→ agent: one event at a time     │
//!   │                                   ↑        │ decide (pure)              │
//!   │                                   │        ↓ queue: lanes CI and CD     │
//!   │        ci: checkout → test → build → push  │                            │
//!   │        cd: pull → swap ⇄ prove → commit    │  run log, store, outbox    │
//!   │                       └→ rollback          ↓                            │
//!   └───────────────────────────────┬──────────────────────────┬──────────────┘
//!                             Docker engine                 mail server
//! ```
//!
//! A *project* is one watched repository with its image and its deployment. A *run* is one passage: a CI
//! run takes one commit through its stages, a CD run one image. A *nudge* (webhook, own push) is a hint to
//! poll now and carries no truth. *Current* is the container that serves, *previous* the one before it,
//! kept stopped and whole. A digest or commit that failed by its own fault is not tried again: it is
//! *quarantined*, or *judged*.
//!
//! # One commit, from push to proven container
//!
//! | # | what happens | where |
//! |---|---|---|
//! | 1 | a schedule comes round, an event is sent | [`schedule::Timetable`] → [`event::Event::PollDue`] |
//! | 2 | GitHub is asked whether the branch, or the newest tag, has moved; 304 ends it here; what a new commit says and changes is asked with it; by git over SSH where there is only a deploy key | `agent::polls` → `agent::ask` → [`clients::github::GitHub::head`] |
//! | 3 | is the commit due, to be left out, judged, in progress, or to be waited for? | `agent::commits` → [`decide::commit_due`] |
//! | 4 | it waits for the CI lane; a newer commit takes its place | [`queue::Queue`] |
//! | 5 | the run takes a number for good and opens its log | [`run::Run::begin`] |
//! | 6 | the files of exactly that commit → `Checkout` | [`ci::checkout`] → [`clients::ways`] → [`clients::git`] |
//! | 7 | the project's own tests, on a copy → `TestedCheckout` | [`ci::test`] |
//! | 8 | the image, from the files that were tested → `Image` | [`ci::build`] |
//! | 9 | the next tag (by how much it is raised: [`ci::raise`]) is reserved, *then* pushed, then confirmed with the registry → `Release` | [`ci::push`] |
//! | 10 | outcome, judgement, mail and what GitHub is told of the commit are recorded together; Docker Hub is polled at once | [`notify::Notifier::finish_ci`] |
//! | 11 | the listing shows the new tag: is it newer, for this machine, not quarantined? | [`decide::image_due`] |
//! | 12 | the image comes by digest → `Pulled` | [`cd::pull`] |
//! | 13 | names and ports are free or ours; the journal is opened: from here on the run has to be ended | [`cd::begin`] |
//! | 14 | step by step: what next, given the journal and what Docker shows *now*? | [`cd::drive`] → [`swap::next`] |
//! | 15 | the new container is looked at until it is proven or failed | [`cd::prove`] → [`health::ProvingWatch`] |
//! | 16 | **point of no return**: committed; the restart policies are handed over, new one first | [`swap::Step::Commit`] |
//! | 16' | or: the same old container is started again and proven | [`swap::Step::Rollback`] |
//! | 16'' | or, if it is gone or does not hold: an older release that held is made anew, back to 14 | `cd::ending` → `cd::ways` |
//! | 17 | deployment, end of the journal and mail are recorded together | [`notify::Notifier::finish_cd`] |
//! | 18 | the deployment is watched for a while; old images go | `agent::watch`, [`cd::retain`] |
//!
//! A process that dies anywhere in this is started again, finds the run without an end, and goes on:
//! `agent::start` ends a cut-off CI run as interrupted (step 3 finds the commit due again, and one that was ordered is
//! taken up by `agent::trigger`) and enters a cut-off deployment at step 14.
//!
//! # Invariants
//!
//! - A module uses only the modules above it in the list below. Those from [`tag`] to [`mail_text`] do no IO
//!   and read no clock. Each third-party client crate is named in one place. `tests/it/tidy.rs` checks it.
//! - A stage is a function from one noun to the next, and only that stage can make its noun: code that was
//!   not tested cannot be built, and an image that was not pulled cannot be deployed.
//! - While a project is deployed, there is at every instant a good container that Docker starts by itself
//!   after a power cut, with or without homeport. `tests/it/swap_model` walks every state to show it.
//! - "I could not ask" is never read as "there is nothing": a poll that fails changes nothing.
//! - A number, of a run or of a tag, is taken durably before it is used, and never given out again.
//! - Nothing that was learned is trusted after a restart but the database and Docker; nothing that can be
//!   derived from Docker is stored.
//! - Every effect on Docker, the database, a folder, the mail server or GitHub has a name, at which a test can kill the
//!   process, before and after: [`fault_point`]. `tests/it/kill_matrix` does so at each.
//! - What a run's end leads to (judgement, quarantine, deployment, mail) is one transaction with that end.
//! - A secret is masked before a line is written anywhere; it reaches no argument list, URL, image or mail.

pub mod fault_point;
pub mod model;
pub mod event;
pub mod config;
pub mod logging;
pub mod tag;
pub mod platform;
pub mod decide;
pub mod swap;
pub mod health;
pub mod retry;
pub mod queue;
pub mod fold;
pub mod mail_text;
pub mod clients;
pub mod run;
pub mod ci;
pub mod cd;
pub mod notify;
pub mod schedule;
pub mod webhook;
pub mod control;
pub mod agent;
pub mod cli;
