//! `./scripts/bench`: what the release binary costs, measured in the simulated world on real Docker, how long a
//! service is away in a swap, beside a bare `docker stop` and `docker start`, and how soon what goes wrong is
//! noticed. Takes the path of the binary;
//! prints one table. It judges nothing: a slow or busy machine makes other figures, and only the ratios of one
//! run say something.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_image;
mod bare;
mod figures;
mod gap;
mod idle;
mod moment;
mod process;
mod ready;
mod recovery;
mod socket;
mod table;
mod visitor;
#[path = "../../tests/it/world/mod.rs"]
mod world;

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

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
    /// Watch the idle agent for 10 seconds instead of 60.
    #[arg(long)]
    quick: bool,
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
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = Arguments::parse();
    let window = Duration::from_secs(if arguments.quick { 10 } else { 60 });
    let binary = arguments.binary.canonicalize().expect("find the release binary: build it first");
    let world = World::start_with(Options { binary: Some(binary.clone()), ..Options::default() }).await;
    if Path::new(SYSTEM_CERTIFICATES).exists() {
        world.agent.env("SSL_CERT_FILE", SYSTEM_CERTIFICATES);
    }

    let mut table = Table::new();
    tell("a first deployment");
    deploy_first(&world).await;
    tell(&format!("{} starts", arguments.starts));
    let ready = ready::measure(&binary, &world, arguments.starts);
    tell(&format!("{} s of idling", window.as_secs()));
    idle::measure(&world, window).await.report(&mut table);
    let size = std::fs::metadata(&binary).expect("look at the release binary").len();
    table.add(Row::of("release binary", megabytes(size)).aim_at_most(megabytes(9_000_000), size, 9_000_000));
    ready.report(&mut table);
    tell(&format!("{} swaps of each kind", arguments.swaps));
    gap::measure(&world, arguments.swaps).await.report(&mut table);
    tell(&format!("{} images that exit at once", arguments.bad_images));
    let page = format!("<{}>", arguments.swaps);
    bad_image::measure(&world, arguments.bad_images, arguments.swaps + 2, &page).await.report(&mut table);
    world.end().await;
    tell(&format!("{} power cuts", arguments.power_cuts));
    recovery::measure(&binary, arguments.power_cuts).await.report(&mut table);
    print!("{table}");
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
