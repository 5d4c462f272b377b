//! `./scripts/bench`: what the release binary costs, measured in the simulated world on real Docker: at rest, in a
//! swap beside a bare `docker stop` and `docker start`, when something goes wrong, and in a commit's whole way beside
//! the same commands by hand. Takes the path of the binary; prints one table. It judges nothing: a slow or busy
//! machine makes other figures, and only the ratios of one run say something. It is no part of the agent: what it cannot
//! set up or measure ends it at once, with the reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_image;
mod bare;
mod docker_client;
mod figures;
mod flood;
mod gap;
mod idle;
mod large_context;
mod moment;
mod neighbour;
mod process;
mod ready;
mod recovery;
mod socket;
mod table;
mod visitor;
mod watched;
mod whole_way;
#[path = "../../tests/it/world/mod.rs"]
mod world;

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::ValueEnum;

use crate::table::Row;
use crate::table::Table;
use crate::table::megabytes;
use crate::world::Options;
use crate::world::World;

/// The certificates a real machine has. A world's agent has one, which would make it look smaller than it is.
const SYSTEM_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Measures the release binary.
#[derive(Parser)]
struct Arguments {
    /// The release binary.
    #[arg(long)]
    binary: PathBuf,
    /// Less of everything that is long or large: 10 seconds of idling, a tree of 200 MB, one of each kind.
    #[arg(long)]
    quick: bool,
    /// Measure these parts alone.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// How many swaps of each kind are compared.
    #[arg(long, default_value_t = 9)]
    swaps: u32,
    /// How many starts are timed.
    #[arg(long, default_value_t = 10)]
    starts: usize,
    /// How many images that exit at once are published.
    #[arg(long, default_value_t = 5)]
    bad_images: u32,
    /// How many power cuts there are.
    #[arg(long, default_value_t = 5)]
    power_cuts: u32,
    /// How many commits go their whole way by homeport and by a script.
    #[arg(long, default_value_t = 7)]
    commits: u32,
}

/// What is measured together, in a world of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The agent at rest, its swaps, and images that exit at once.
    Service,
    /// Power cuts.
    Recovery,
    /// A commit's whole way beside a shell script.
    WholeWay,
    /// A tree of 1 GB.
    LargeContext,
    /// A test that prints 1 GB.
    Flood,
    /// A service beside tests and builds.
    Neighbour,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = Arguments::parse();
    arguments.binary = arguments.binary.canonicalize().expect("find the release binary: build it first");
    let mut table = Table::new();
    for part in Part::value_variants() {
        if arguments.only.is_empty() || arguments.only.contains(part) {
            measure(*part, &arguments, &mut table).await;
        }
    }
    print!("{table}");
}

async fn measure(part: Part, arguments: &Arguments, table: &mut Table) {
    let binary = &arguments.binary;
    let gigabyte = if arguments.quick { 200 } else { 1000 };
    match part {
        Part::Service => service(arguments, table).await,
        Part::Recovery => {
            tell(&format!("{} power cuts", arguments.power_cuts));
            recovery::measure(binary, arguments.power_cuts).await.report(table);
        }
        Part::WholeWay => {
            tell(&format!("{} commits on their whole way, and as many by a script", arguments.commits));
            let world = world_of(binary).await;
            whole_way::measure(&world, arguments.commits).await.report(table);
            world.end().await;
        }
        Part::LargeContext => {
            tell(&format!("trees of {gigabyte} MB"));
            let world = world_of(binary).await;
            let rounds = if arguments.quick { 1 } else { 3 };
            large_context::measure(&world, gigabyte, rounds).await.report(table);
            world.end().await;
        }
        Part::Flood => {
            tell(&format!("a test that prints {gigabyte} MB"));
            let world = world_of(binary).await;
            flood::measure(&world, gigabyte as u64 * 1_000_000).await.report(table);
            world.end().await;
        }
        Part::Neighbour => {
            tell("a service beside tests and builds");
            let world = world_of(binary).await;
            let each = Duration::from_secs(if arguments.quick { 5 } else { 15 });
            neighbour::measure(&world, each).await.report(table);
            world.end().await;
        }
    }
}

async fn world_of(binary: &Path) -> World {
    World::start_with(Options { binary: Some(binary.to_owned()), ..Options::default() }).await
}

async fn service(arguments: &Arguments, table: &mut Table) {
    let binary = &arguments.binary;
    let window = Duration::from_secs(if arguments.quick { 10 } else { 60 });
    let world = world_of(binary).await;
    if Path::new(SYSTEM_CERTIFICATES).exists() {
        world.agent.env("SSL_CERT_FILE", SYSTEM_CERTIFICATES);
    }
    tell("a first deployment");
    deploy_first(&world).await;
    tell(&format!("{} starts", arguments.starts));
    let ready = ready::measure(binary, &world, arguments.starts);
    tell(&format!("{} s of idling", window.as_secs()));
    idle::measure(&world, window).await.report(table);
    let size = std::fs::metadata(binary).expect("look at the release binary").len();
    table.add(Row::of("release binary", megabytes(size)).aim_at_most(megabytes(9_000_000), size, 9_000_000));
    ready.report(table);
    tell(&format!("{} swaps of each kind", arguments.swaps));
    gap::measure(&world, arguments.swaps).await.report(table);
    tell(&format!("{} images that exit at once", arguments.bad_images));
    let page = format!("<{}>", arguments.swaps);
    bad_image::measure(&world, arguments.bad_images, arguments.swaps + 2, &page).await.report(table);
    world.end().await;
}

/// One whole way from a commit to a deployment, so that what is measured has a history.
async fn deploy_first(world: &World) {
    world.agent.set("/projects/0/poll/github", "10s");
    world.agent.set("/projects/0/poll/docker_hub", "10s");
    world.repo.commit_page("hello").await;
    world.agent.once().await.expect_success();
    world.expect_serving("hello").await;
    world.expect_mail("1 deployed").await;
}

/// Says on stderr what takes the time.
fn tell(what: &str) {
    eprintln!("bench: {what} ...");
}
