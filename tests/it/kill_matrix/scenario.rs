//! The stories in which the agent is killed. Each begins with a world in which a good version serves and the agent
//! is down, and ends in one again, so that a world can be used for many kills in a row.

use crate::kill_matrix::records::Goal;
use crate::world::World;
use crate::world::app::App;
use crate::world::app::BASE_IMAGE;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// A good commit goes all the way: checkout, tests, build, push, deployment.
    WholeWay,
    /// An image is published that exits at once, and is rolled back.
    BadImage,
    /// A good image is published, and nothing was deployed before it.
    First,
    /// A good image is published that dies in its watch, and is taken back.
    Watch,
    /// A good image is published, and proves itself beside the old one.
    StartFirst,
}

/// What the owner sees of one passage.
#[derive(Debug, Clone)]
pub struct Story {
    /// When it has ended.
    pub goal: Goal,
    /// What the page said before, if there was one.
    pub old: Option<String>,
    /// What it says if the new version serves.
    pub new: String,
    /// What it must say in the end.
    pub last: String,
}

/// A world with a good version in it.
pub struct Bench {
    /// The world.
    pub world: World,
    /// What happens in it.
    pub scenario: Scenario,
    serving: Option<String>,
    number: u32,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::WholeWay, Self::BadImage, Self::First, Self::Watch, Self::StartFirst];

    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WholeWay => "whole way",
            Self::BadImage => "bad image",
            Self::First => "first deployment",
            Self::Watch => "rolled back in its watch",
            Self::StartFirst => "start-first",
        }
    }
}

impl Bench {
    /// A world whose first version serves.
    pub async fn new(world: World, scenario: Scenario) -> Self {
        let mut bench = Self { world, scenario, serving: None, number: 0 };
        bench.configure().await;
        if scenario != Scenario::First {
            let text = bench.next_text();
            match scenario {
                Scenario::WholeWay => drop(bench.world.repo.commit_page(&text).await),
                _ => drop(bench.publish(&App::Page(text.clone())).await),
            }
            bench.world.agent.once().await.expect_success();
            bench.serving = Some(text);
        }
        bench
    }

    async fn configure(&self) {
        let agent = &self.world.agent;
        agent.set("/projects/0/poll/docker_hub", "100ms");
        if self.scenario == Scenario::WholeWay {
            agent.set("/projects/0/poll/github", "100ms");
        } else {
            for key in ["/projects/0/repository", "/projects/0/branch", "/projects/0/test", "/github"] {
                agent.unset(key);
            }
            agent.unset("/projects/0/poll/github");
        }
        agent.set("/projects/0/deploy/watch", if self.scenario == Scenario::Watch { "60s" } else { "1s" });
        if self.scenario == Scenario::StartFirst {
            self.world.engine.docker(&["network", "create", &self.network()]).await.expect("make a network");
            agent.unset("/projects/0/deploy/ports");
            agent.set("/projects/0/deploy/network", self.network());
            agent.set("/projects/0/deploy/order", "start-first");
        }
    }

    fn network(&self) -> String {
        format!("{}-net", self.world.prefix())
    }

    fn next_text(&mut self) -> String {
        self.number += 1;
        format!("this is version {}.", self.number)
    }

    async fn publish(&self, app: &App) -> String {
        self.world.publish(&self.number.to_string(), app).await
    }

    /// Makes the next passage due.
    pub async fn provoke(&mut self) -> Story {
        if self.scenario == Scenario::First {
            self.forget_everything().await;
        }
        let new = self.next_text();
        let old = self.serving.clone();
        match self.scenario {
            Scenario::WholeWay => {
                let goal = Goal::Commit(self.world.repo.commit_page(&new).await);
                Story { goal, old, last: new.clone(), new }
            }
            Scenario::First | Scenario::StartFirst => {
                let goal = Goal::Deployed(self.publish(&App::Page(new.clone())).await);
                Story { goal, old, last: new.clone(), new }
            }
            Scenario::BadImage => {
                let goal = Goal::TakenBack(self.publish(&App::ExitsAtOnce).await);
                Story { goal, last: old.clone().unwrap_or_default(), old, new: "ExitsAtOnce".to_owned() }
            }
            Scenario::Watch => {
                let app = App::CrashesAfter(1500);
                let new = format!("{app:?}");
                let goal = Goal::TakenBack(self.publish(&app).await);
                Story { goal, last: old.clone().unwrap_or_default(), old, new }
            }
        }
    }

    /// The story ended as it must.
    pub fn goes_on_with(&mut self, story: &Story) {
        self.serving = Some(story.last.clone());
    }

    /// The machine has never seen the project.
    async fn forget_everything(&mut self) {
        let world = &self.world;
        for container in world.engine.containers().await {
            world.engine.remove(&container.name).await;
        }
        let repository = format!("{}/{}", world.registry.address(), world.image());
        let listed = world.engine.docker(&["images", "--quiet", "--no-trunc", &repository]).await;
        for id in listed.unwrap_or_default().split_whitespace() {
            world.engine.docker(&["rmi", "--force", id]).await.ok();
        }
        for folder in [world.agent.state_dir(), world.agent.log_dir()] {
            std::fs::remove_dir_all(folder).ok();
        }
        self.serving = None;
    }

    /// What the service answers now.
    pub async fn answer(&self) -> Result<String, String> {
        if self.scenario == Scenario::StartFirst {
            let (network, url) = (self.network(), format!("http://{}:8080/", self.world.project()));
            // The limit is not wget's own, with which busybox's crashes.
            let ask = format!("timeout 3 wget -q -O - {url}");
            let ask = ["run", "--rm", "--network", &network, BASE_IMAGE, "sh", "-c", &ask];
            return self.world.engine.docker(&ask).await;
        }
        match self.world.engine.http_get(self.world.port(), "/").await? {
            (200, body) => Ok(body),
            other => Err(format!("{other:?}")),
        }
    }
}
