//! How long a service is away in a swap: homeport's, a bare one by the `docker` command line, and a bare one over
//! the engine's socket, in turns, so that a slow moment of the machine meets all three. And how long each takes from
//! the order to stop, where the program knows nothing of SIGTERM: as process 1 it is deaf to it, and Docker waits.

use std::time::Duration;

use crate::bare::Bare;
use crate::bare::By;
use crate::bare::Pid1;
use crate::figures::Figures;
use crate::moment;
use crate::process;
use crate::process::Memory;
use crate::table::Row;
use crate::table::Table;
use crate::table::megabytes;
use crate::visitor::Swap;
use crate::visitor::Visitor;
use crate::world::World;
use crate::world::agent::RunningAgent;
use crate::world::app::App;

const DEADLINE: Duration = Duration::from_secs(60);
/// Between two swaps, for what the one before leaves to do.
const PAUSE: Duration = Duration::from_millis(700);
const MOST_RATIO: f64 = 1.15;
/// What an init is to keep a swap under.
const MOST: u64 = 1000;
/// Each takes over ten seconds.
const NAIVE_SWAPS: usize = 2;

/// What was measured.
pub struct Gaps {
    homeport: Figures,
    command_line: Figures,
    socket: Figures,
    with_init: Figures,
    without: Figures,
    memory: Memory,
}

/// So many swaps of each kind, after one of each that does not count.
pub async fn measure(world: &World, swaps: u32) -> Gaps {
    // Mail would be sent while the next swap is measured.
    world.agent.unset("/email");
    world.agent.set("/projects/0/poll/docker_hub", "500ms");
    let running = world.agent.spawn_run().await;
    running.wait_ready().await;
    let mut bare = Bare::prepare(world, Pid1::Init).await;
    let (mut homeport, mut command_line, mut socket) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=swaps {
        homeport.push(swap(world, &running, round).await);
        tokio::time::sleep(PAUSE).await;
        command_line.push(bare.swap(By::CommandLine).await);
        tokio::time::sleep(PAUSE).await;
        socket.push(bare.swap(By::Socket).await);
        tokio::time::sleep(PAUSE).await;
    }
    let memory = process::memory(running.pid());
    assert!(running.terminate().await.success(), "the agent did not end well:\n{}", running.stderr());
    let with_init = Figures::of(homeport.iter().skip(1).map(|swap| swap.since_stop).collect());
    let [homeport, command_line, socket] = [homeport, command_line, socket]
        .map(|all: Vec<Swap>| Figures::of(all.into_iter().skip(1).map(|swap| swap.gap).collect()));
    let without = without_init(world).await;
    Gaps { homeport, command_line, socket, with_init, without, memory }
}

async fn without_init(world: &World) -> Figures {
    let mut bare = Bare::prepare(world, Pid1::Program).await;
    let mut took = Vec::new();
    for _ in 0..NAIVE_SWAPS {
        took.push(bare.swap(By::CommandLine).await.since_stop);
    }
    Figures::of(took)
}

/// A new image appears on Docker Hub, and the agent deploys it. Tag 1 and the page `hello` serve at first.
async fn swap(world: &World, running: &RunningAgent, round: u32) -> Swap {
    let page = |round: Option<u32>| round.map_or_else(|| "hello".to_owned(), |round| format!("<{round}>"));
    let (old, new) = (page(round.checked_sub(1)), page(Some(round)));
    let tag = (round + 2).to_string();
    let visitor = Visitor::send(world.port());
    visitor.wait_for(&old, DEADLINE).await;
    world.publish(&tag, &App::Page(new.clone())).await;
    visitor.wait_for(&new, DEADLINE).await;
    running.wait_for_stderr(&format!("ended: deployed {tag} ")).await;
    let run = world.runs().await.last().expect("the run is listed").number;
    let stopping = moment::of_line(&world.log_of(run).await, " stopping ").expect("the run log says so");
    Swap::seen(&visitor, moment::as_instant(stopping), (&old, &new))
}

impl Gaps {
    /// Adds its rows.
    pub fn report(&self, table: &mut Table) {
        let (homeport, bare) = (self.homeport.median(), self.command_line.median());
        let of_median = "median (least to most)";
        table.add(Row::of(format!("gap in a swap by homeport, {of_median}"), self.homeport.to_string()));
        table.add(Row::of("gap in docker stop + docker start", self.command_line.to_string()));
        table.add(Row::of("gap in the same two requests on the socket", self.socket.to_string()));
        let took = self.with_init.median().round() as u64;
        let row = Row::of("from the stop to the new answer by homeport", self.with_init.to_string());
        table.add(row.aim_at_most(format!("{MOST} ms"), took, MOST));
        table
            .add(Row::of("the same in docker stop + docker start without an init", self.without.to_string()));
        let ratio = homeport / bare;
        let row = Row::of("homeport / docker stop + docker start", format!("{ratio:.2}"));
        table.add(row.ratio_at_most(ratio, MOST_RATIO));
        let ratio = homeport / self.socket.median();
        table.add(Row::of("homeport / two requests on the socket", format!("{ratio:.2}")));
        let figure =
            format!("{} (anonymous {})", megabytes(self.memory.pss), megabytes(self.memory.anonymous));
        table.add(Row::of("memory after these deployments, PSS", figure));
    }
}
