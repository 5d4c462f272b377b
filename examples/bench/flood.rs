//! A test that prints 1 GB: what the agent holds of it in memory and in the log, and how long it takes beside a
//! `docker run` of the same whose output nobody keeps.

use std::time::Duration;
use std::time::Instant;

use crate::docker_client::DockerClient;
use crate::table::Row;
use crate::table::Table;
use crate::table::megabytes;
use crate::watched;
use crate::watched::Watched;
use crate::world::World;
use crate::world::app::App;
use crate::world::app::BASE_IMAGE;

const MOST_MEMORY: u64 = 32_000_000;
/// `log.max_run_bytes` as it is by default, and what is said of what was left out.
const MOST_LOG: u64 = 10 * (1 << 20) + (1 << 17);

/// What was measured.
pub struct Flood {
    printed: u64,
    pass: Watched,
    log: u64,
    docker: Duration,
}

/// A commit whose test prints so many bytes.
pub async fn measure(world: &World, printed: u64) -> Flood {
    let print = format!("yes all work and no play | head -c {printed}");
    world.agent.unset("/email");
    world.only_build();
    world
        .agent
        .set("/projects/0/test", serde_json::json!({"in": {"image": BASE_IMAGE}, "commands": [print]}));
    world.repo.commit_app(&App::Page("hello".to_owned())).await;
    let pass = watched::once(world).await;
    let log = world.runs().await.last().expect("the run is listed").log.clone();
    let log = std::fs::metadata(log).expect("look at the run's log").len();
    Flood { printed, pass, log, docker: by_docker(world, &print).await }
}

async fn by_docker(world: &World, print: &str) -> Duration {
    let script = r#"docker run --rm --log-driver=none "$1" sh -c "$2" >/dev/null"#;
    let docker = DockerClient::find(world).await;
    let began = Instant::now();
    let ended = docker.shell(script).args([BASE_IMAGE, print]).status().await;
    assert!(ended.expect("run a shell").success(), "docker run failed");
    began.elapsed()
}

impl Flood {
    /// Adds its rows.
    pub fn report(&self, table: &mut Table) {
        let took = |took: Duration| format!("{:.1} s", took.as_secs_f64());
        let printed = megabytes(self.printed);
        table.add(Row::of(format!("a commit whose test prints {printed}"), took(self.pass.took)));
        table.add(Row::of("docker run of the same test", took(self.docker)));
        let most = self.pass.most_memory;
        let row = Row::of("most memory of the agent in it, PSS", megabytes(most));
        table.add(row.aim_at_most(megabytes(MOST_MEMORY), most, MOST_MEMORY));
        let row = Row::of("the run's log", megabytes(self.log));
        table.add(row.aim_at_most(megabytes(MOST_LOG), self.log, MOST_LOG));
    }
}
