//! How long a service's answers take while every core is busy with a test or a build of homeport's, beside the same
//! by plain `docker run` and `docker build`, and beside a machine that has nothing else to do.
//!
//! Where the engine's BuildKit takes a cgroup for builds (Docker 23 and later), they are given one such as
//! `homeport_build.slice` is on a machine that has it: without the first processor.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use serde_json::json;

use crate::docker_client::DockerClient;
use crate::figures::Figures;
use crate::moment;
use crate::table::Row;
use crate::table::Table;
use crate::visitor::Visitor;
use crate::world::World;
use crate::world::app::App;
use crate::world::app::BASE_IMAGE;

const PAGE: &str = "the neighbour";
const DEADLINE: Duration = Duration::from_secs(60);
const MOST_RATIO: f64 = 2.0;

/// What was measured.
pub struct Neighbour {
    idle: Figures,
    test: Figures,
    docker_run: Figures,
    build: Figures,
    docker_build: Figures,
    has_cgroup: bool,
}

/// Asks a deployed service for so long in each state of the machine.
pub async fn measure(world: &World, each: Duration) -> Neighbour {
    world.agent.unset("/email");
    let docker = DockerClient::find(world).await;
    let cgroup = BuildCgroup::make(world).await;
    if let Some(cgroup) = &cgroup {
        world.agent.set("/docker/build_cgroup", json!(cgroup.name));
    }
    world.repo.commit_page(PAGE).await;
    world.agent.once().await.expect_success();
    let visitor = Visitor::send(world.port());
    visitor.wait_for(PAGE, DEADLINE).await;
    let began = Instant::now();
    // The window that is measured; nothing is waited for.
    tokio::time::sleep(each).await;
    let idle = Figures::of(visitor.took(began, Instant::now()));

    let burn = burn(each);
    world.agent.set("/projects/0/test", json!({"in": {"image": BASE_IMAGE}, "commands": [burn]}));
    let dockerfile = format!("{}RUN {}\n", dockerfile(), json!(["sh", "-c", burn]));
    world.repo.commit(&[("Dockerfile", &dockerfile)], "Keep every core busy").await;
    world.agent.once().await.expect_success();
    let run = world.runs().await.iter().rfind(|run| run.kind == "ci").expect("the run is listed").number;
    let log = world.log_of(run).await;
    let at = |text: &str| moment::as_instant(moment::of_line(&log, text).expect("the run log says so"));
    let build = (at(" building Dockerfile "), at(" built sha256:"));
    let test = (build.0.checked_sub(each).expect("the machine runs for longer than that"), build.0);
    let [test, build] = [test, build].map(|(from, to)| Figures::of(visitor.took(from, to)));

    let docker_run = {
        let began = Instant::now();
        docker.run(&["run", "--rm", BASE_IMAGE, "sh", "-c", &burn]).await;
        Figures::of(visitor.took(began, Instant::now()))
    };
    let context = world.folder().join("busy");
    std::fs::create_dir_all(&context).expect("make a build context");
    std::fs::write(context.join("Dockerfile"), dockerfile.replace("COPY app /app\n", ""))
        .expect("write a Dockerfile");
    let began = Instant::now();
    let tag = format!("{}-busy:1", world.prefix());
    docker.run(&["build", "--no-cache", "--tag", &tag, context.to_str().expect("a path in UTF-8")]).await;
    let docker_build = Figures::of(visitor.took(began, Instant::now()));
    Neighbour { idle, test, docker_run, build, docker_build, has_cgroup: cgroup.is_some() }
}

/// A cgroup at the top that has no part in the first processor, and a quarter of the usual share of the others.
struct BuildCgroup {
    name: String,
    folders: Vec<PathBuf>,
}

impl BuildCgroup {
    async fn make(world: &World) -> Option<Self> {
        let version = world.engine.docker(&["version", "--format", "{{.Server.Version}}"]).await.ok()?;
        let major: u32 = version.split('.').next()?.trim().parse().ok()?;
        let last = std::thread::available_parallelism().ok()?.get() - 1;
        if major < 23 || last == 0 {
            return None;
        }
        let top = Path::new("/sys/fs/cgroup");
        let name = format!("{}_build", world.prefix().replace('-', "_"));
        let mut made = Self { name, folders: Vec::new() };
        // Of the second version of cgroups, or of the first, which has a tree for each of the two.
        let is_second = top.join("cgroup.controllers").is_file();
        let (share, quarter) = if is_second { ("cpu.weight", "25") } else { ("cpu.shares", "256") };
        let settings = [("cpu", share, quarter.to_owned()), ("cpuset", "cpuset.cpus", format!("1-{last}"))];
        for (tree, file, value) in settings {
            let tree = if is_second { top.to_owned() } else { top.join(tree) };
            let folder = tree.join(&made.name);
            if !folder.is_dir() {
                std::fs::create_dir(&folder).ok()?;
                made.folders.push(folder.clone());
            }
            std::fs::write(folder.join(file), value).ok()?;
            if !is_second && file == "cpuset.cpus" {
                let memory = std::fs::read(tree.join("cpuset.mems")).ok()?;
                std::fs::write(folder.join("cpuset.mems"), memory).ok()?;
            }
        }
        Some(made)
    }
}

impl Drop for BuildCgroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            // The engine's own folder in it goes first; a cgroup's files go with it.
            std::fs::remove_dir(folder.join("buildkit")).ok();
            std::fs::remove_dir(folder).ok();
        }
    }
}

/// Twice as many as there are cores, for so long.
fn burn(each: Duration) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let loops = format!("timeout {} sh -c 'while :; do :; done' & ", each.as_secs()).repeat(2 * cores);
    format!("{loops}wait")
}

fn dockerfile() -> String {
    let files = App::Page(PAGE.to_owned()).files();
    files.into_iter().find(|(path, _)| path == "Dockerfile").expect("the app has a Dockerfile").1
}

impl Neighbour {
    /// Adds its rows.
    pub fn report(&self, table: &mut Table) {
        let figure = |figures: &Figures| format!("{:.1} ms (median {:.1})", figures.p99(), figures.median());
        let ratio = |figures: &Figures| figures.p99() / self.idle.p99();
        let build = if self.has_cgroup {
            "a build that keeps every core busy, in a cgroup such as the slice"
        } else {
            "a build that keeps every core busy"
        };
        table.add(Row::of("p99 of a service's answers on an idle machine", figure(&self.idle)));
        for (what, by_homeport, plain) in [
            ("a test that keeps every core busy", &self.test, &self.docker_run),
            (build, &self.build, &self.docker_build),
        ] {
            table.add(Row::of(format!("p99 during {what}, by homeport"), figure(by_homeport)));
            table.add(Row::of("the same by plain docker", figure(plain)));
            let ratios = format!("{:.2} (plain docker {:.2})", ratio(by_homeport), ratio(plain));
            table.add(Row::of("busy / idle", ratios).ratio_at_most(ratio(by_homeport), MOST_RATIO));
        }
    }
}
