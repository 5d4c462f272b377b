//! A power cut while a new version is being proven: how soon the agent decides what becomes of it, once Docker
//! answers again. The agent was started before Docker is there, as may happen on a real board.

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use chrono::DateTime;
use chrono::Utc;

use crate::figures::Figures;
use crate::moment;
use crate::socket;
use crate::table::Row;
use crate::table::Table;
use crate::world::Options;
use crate::world::World;
use crate::world::app::App;

const DEADLINE: Duration = Duration::from_secs(60);
const PACE: Duration = Duration::from_millis(2);
const MOST: u64 = 1000;
/// Longer than it takes to cut the power in it.
const SLOW: u32 = 4000;

/// What was measured.
pub struct Recoveries(Figures);

/// So many power cuts, each in a world whose Docker is its own.
pub async fn measure(binary: &Path, cuts: u32) -> Recoveries {
    let options = Options { binary: Some(binary.into()), private_engine: true, ..Options::default() };
    let world = World::start_with(options).await;
    world.only_deploy();
    world.agent.unset("/email");
    world.publish("1", &App::Page("hello".to_owned())).await;
    world.agent.once().await.expect_success();
    let mut took = Vec::new();
    for number in 1..=cuts {
        let tag = (number + 1).to_string();
        world.publish(&tag, &App::StartsSlowly(SLOW, format!("<{tag}>"))).await;
        took.push(cut(&world).await);
    }
    world.end().await;
    Recoveries(Figures::of(took))
}

/// One of them; the candidate is rolled back by it, and deployed afterwards.
async fn cut(world: &World) -> Duration {
    let engine = world.private_engine.as_ref().expect("the engine is the world's own");
    let agent = world.agent.spawn_run().await;
    let run = world.wait_for_stage("cd", "prove").await;
    engine.cut_power();
    agent.kill().await;
    let agent = world.agent.spawn_run().await;
    agent.wait_ready().await;
    let (answers, ()) = tokio::join!(answers_at(engine.host()), engine.restart());
    agent.wait_for_stderr("run ended: rolled back").await;
    assert!(agent.terminate().await.success(), "the agent did not end well:\n{}", agent.stderr());
    let log = world.log_of(run.number).await;
    let decided = moment::of_line(&log, " failed: ").expect("the run log says what was decided");
    world.agent.once().await.expect_success();
    moment::between(answers, decided)
}

/// When the engine has answered a ping. Asked at a pace that does not blur what is measured.
async fn answers_at(host: String) -> DateTime<Utc> {
    let end = Instant::now() + DEADLINE;
    loop {
        if socket::ask(&host, "GET /_ping").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 ")) {
            return Utc::now();
        }
        assert!(Instant::now() < end, "Docker has not answered after {DEADLINE:?}");
        tokio::time::sleep(PACE).await;
    }
}

impl Recoveries {
    /// Adds its row.
    pub fn report(&self, table: &mut Table) {
        let row = Row::of("from Docker's first answer after a power cut to a decision", self.0.to_string());
        table.add(row.aim_at_most(format!("{MOST} ms"), self.0.median().round() as u64, MOST));
    }
}
