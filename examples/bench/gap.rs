//! How long a service is away in a swap: homeport's, a bare one by the `docker` command line, and a bare one over
//! the engine's socket, in turns, so that a slow moment of the machine meets all three. And how long it is away in
//! a bare one where the program, which knows nothing of SIGTERM, is process 1 itself: that takes what Docker waits.

use std::time::Duration;

use crate::bare::Bare;
use crate::bare::By;
use crate::bare::Pid1;
use crate::figures::Figures;
use crate::process;
use crate::process::Memory;
use crate::table::Row;
use crate::table::Table;
use crate::table::megabytes;
use crate::visitor::Visitor;
use crate::world::World;
use crate::world::agent::RunningAgent;
use crate::world::app::App;

const DEADLINE: Duration = Duration::from_secs(60);
/// Between two swaps, for what the one before leaves to do.
const PAUSE: Duration = Duration::from_millis(700);
const MOST_RATIO: f64 = 1.15;
/// What an init is to keep a gap under.
const MOST: u64 = 1000;
/// Each takes over ten seconds.
const NAIVE_SWAPS: usize = 2;

/// What was measured.
pub struct Gaps {
    homeport: Figures,
    command_line: Figures,
    socket: Figures,
    naive: Figures,
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
    let [homeport, command_line, socket] =
        [homeport, command_line, socket].map(|all| Figures::of(all.into_iter().skip(1).collect()));
    let naive = naive(world).await;
    Gaps { homeport, command_line, socket, naive, memory }
}

async fn naive(world: &World) -> Figures {
    let mut bare = Bare::prepare(world, Pid1::Program).await;
    let mut gaps = Vec::new();
    for _ in 0..NAIVE_SWAPS {
        gaps.push(bare.swap(By::CommandLine).await);
    }
    Figures::of(gaps)
}

/// A new image appears on Docker Hub, and the agent deploys it. Tag 1 and the page `hello` serve at first.
async fn swap(world: &World, running: &RunningAgent, round: u32) -> Duration {
    let page = |round: Option<u32>| round.map_or_else(|| "hello".to_owned(), |round| format!("<{round}>"));
    let (old, new) = (page(round.checked_sub(1)), page(Some(round)));
    let tag = (round + 2).to_string();
    let visitor = Visitor::send(world.port());
    visitor.wait_for(&old, DEADLINE).await;
    world.publish(&tag, &App::Page(new.clone())).await;
    visitor.wait_for(&new, DEADLINE).await;
    running.wait_for_stderr(&format!("ended: deployed {tag} ")).await;
    visitor.gap(&old, &new)
}

impl Gaps {
    /// Adds its rows.
    pub fn report(&self, table: &mut Table) {
        let (homeport, bare) = (self.homeport.median(), self.command_line.median());
        let of_median = "median (least to most)";
        let row = Row::of(format!("gap in a swap by homeport, {of_median}"), self.homeport.to_string());
        table.add(row.aim_at_most(format!("{MOST} ms"), homeport.round() as u64, MOST));
        table.add(Row::of("gap in docker stop + docker start", self.command_line.to_string()));
        table.add(Row::of("gap in the same two requests on the socket", self.socket.to_string()));
        table.add(Row::of("gap in docker stop + docker start, without an init", self.naive.to_string()));
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
