//! A commit's whole way to a deployment, by homeport and by a shell script of the same `git` and `docker` commands on
//! the same repository, in turns. Both prove the new container by one answer; neither mails.

use std::time::Instant;

use serde_json::json;

use crate::docker_client::DockerClient;
use crate::figures::Figures;
use crate::table::Row;
use crate::table::Table;
use crate::world::World;
use crate::world::app::APP_PORT;
use crate::world::app::BASE_IMAGE;
use crate::world::port::ReservedPort;

/// What homeport may take beside the commands, in milliseconds; or this share of them, if that is more.
const MOST: f64 = 300.0;
const MOST_SHARE: f64 = 0.05;

/// What an owner would write. `$1` is the number of the version, `$2` what its page says.
const SCRIPT: &str = r#"
git -C source fetch --quiet --depth 1 origin main
git -C source reset --quiet --hard FETCH_HEAD
docker run --rm --volume "$PWD/source:/work" --workdir /work "$BASE" sh test.sh
docker build --tag "$IMAGE:$1" source
docker push "$IMAGE:$1"
docker pull "$IMAGE:$1"
docker create --name "$NAME.next" --init --publish "$PORT" --log-opt max-size=10m --log-opt max-file=3 "$IMAGE:$1"
docker rename "$NAME" "$NAME.previous"
docker rename "$NAME.next" "$NAME"
docker stop --time 1 "$NAME.previous"
docker start "$NAME"
until curl --silent --fail "http://127.0.0.1:${PORT%:*}/" | grep --quiet "$2"; do sleep 0.05; done
docker update --restart always "$NAME"
docker rm "$NAME.previous"
"#;

/// What was measured.
pub struct WholeWays {
    homeport: Figures,
    script: Figures,
}

/// So many commits of each kind, after one of each that does not count.
pub async fn measure(world: &World, rounds: u32) -> WholeWays {
    world.agent.unset("/email");
    for (key, value) in [("good_samples", json!(1)), ("min_uptime", json!("0s"))] {
        world.agent.set(&format!("/projects/0/deploy/prove/{key}"), value);
    }
    let script = Script::prepare(world).await;
    let (mut by_homeport, mut by_script) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let page = format!("<{round} by homeport>");
        world.repo.commit_page(&page).await;
        let began = Instant::now();
        world.agent.once().await.expect_success();
        by_homeport.push(began.elapsed());
        world.expect_serving(&page).await;

        let page = format!("<{round} by script>");
        world.repo.commit_page(&page).await;
        let began = Instant::now();
        script.run(SCRIPT, &[&round.to_string(), &page]).await;
        by_script.push(began.elapsed());
    }
    let [homeport, script] =
        [by_homeport, by_script].map(|all| Figures::of(all.into_iter().skip(1).collect()));
    WholeWays { homeport, script }
}

/// A folder, a container and a registry's repository for the script alone.
struct Script<'a> {
    world: &'a World,
    docker: DockerClient,
    port: ReservedPort,
}

impl<'a> Script<'a> {
    /// Clones the repository and starts a container that the first round replaces.
    async fn prepare(world: &'a World) -> Self {
        let script = Self { world, docker: DockerClient::find(world).await, port: ReservedPort::find() };
        world.repo.commit_page("hello").await;
        let clone =
            format!("git clone --quiet --depth 1 {}/{} source", world.github.url(), world.repo.name());
        script.run(&clone, &[]).await;
        script.run(r#"docker run --detach --name "$NAME" "$BASE" sleep 1000000"#, &[]).await;
        script
    }

    async fn run(&self, text: &str, arguments: &[&str]) {
        let name = format!("{}-script", self.world.prefix());
        let output = self
            .docker
            .shell(text)
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("IMAGE", format!("{}/{name}/web", self.world.registry.address()))
            .env("NAME", &name)
            .env("BASE", BASE_IMAGE)
            .env("PORT", format!("{}:{APP_PORT}", self.port.number()))
            .output()
            .await
            .expect("run a shell");
        assert!(output.status.success(), "the script failed: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl WholeWays {
    /// Adds its rows.
    pub fn report(&self, table: &mut Table) {
        table.add(Row::of("a commit's whole way by homeport once", self.homeport.to_string()));
        table.add(Row::of("the same by a shell script", self.script.to_string()));
        let script = self.script.median();
        let more = self.homeport.median() - script;
        let most = MOST.max(MOST_SHARE * script);
        let figure = format!("{more:.0} ms, {:.1} %", 100.0 * more / script);
        table.add(Row::of("homeport takes more by", figure).ratio(format!("{most:.0} ms"), more / most));
    }
}
