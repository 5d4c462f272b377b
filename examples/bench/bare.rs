//! A swap without homeport, the least it can cost: the container that has a port is stopped and a prepared one
//! started, by the `docker` command line or straight over the engine's socket.

use std::time::Duration;
use std::time::Instant;

use crate::socket;
use crate::visitor::Swap;
use crate::visitor::Visitor;
use crate::world::World;
use crate::world::app::APP_PORT;
use crate::world::app::App;
use crate::world::port::ReservedPort;

const DEADLINE: Duration = Duration::from_secs(30);

/// How a bare swap is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// `docker stop` and `docker start`.
    CommandLine,
    /// The same two requests on the engine's socket.
    Socket,
}

/// Who is process 1 of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pid1 {
    /// Docker's init, as in the agent's containers.
    Init,
    /// The program itself. Linux keeps a SIGTERM from it unless it asked for one, which the samples' does not.
    Program,
}

/// The container that has the port, and how the next ones are made.
pub struct Bare<'a> {
    world: &'a World,
    port: ReservedPort,
    pid1: Pid1,
    turn: u32,
}

impl<'a> Bare<'a> {
    /// Builds two images like the agent's, and starts a container of the first.
    pub async fn prepare(world: &'a World, pid1: Pid1) -> Self {
        let bare = Self { world, port: ReservedPort::find(), pid1, turn: 0 };
        for turn in [0, 1] {
            world.engine.build(&App::Page(page(turn)), &bare.image(turn)).await;
        }
        bare.create(0).await;
        bare.docker(&["start", &bare.name(0)]).await;
        bare
    }

    /// Lets a new container have the port. It is created before, as the agent's is, and the old one is removed
    /// after.
    pub async fn swap(&mut self, by: By) -> Swap {
        let (old, new) = (self.turn, self.turn + 1);
        self.create(new).await;
        let visitor = Visitor::send(self.port.number());
        visitor.wait_for(&page(old), DEADLINE).await;
        let asked = Instant::now();
        for (act, turn) in [("stop", old), ("start", new)] {
            match by {
                By::CommandLine => self.docker(&[act, &self.name(turn)]).await,
                By::Socket => self.post(&format!("/containers/{}/{act}", self.name(turn))).await,
            }
        }
        visitor.wait_for(&page(new), DEADLINE).await;
        let swap = Swap::seen(&visitor, asked, (&page(old), &page(new)));
        self.docker(&["rm", &self.name(old)]).await;
        self.turn = new;
        swap
    }

    /// With the options of the agent's containers.
    async fn create(&self, turn: u32) {
        let (name, image) = (self.name(turn), self.image(turn));
        let publish = format!("{}:{APP_PORT}", self.port.number());
        let options = ["--publish", &publish, "--log-opt", "max-size=10m", "--log-opt", "max-file=3"];
        let init = match self.pid1 {
            Pid1::Init => &["--init"][..],
            Pid1::Program => &[],
        };
        self.docker(&[&["create", "--name", &name][..], init, &options[..], &[image.as_str()]].concat())
            .await;
    }

    async fn docker(&self, arguments: &[&str]) {
        self.world.engine.docker(arguments).await.expect("handle a bare container");
    }

    fn name(&self, turn: u32) -> String {
        format!("{}-bare-{:?}-{turn}", self.world.prefix(), self.pid1)
    }

    fn image(&self, turn: u32) -> String {
        format!("{}-bare:{}", self.world.prefix(), turn % 2)
    }

    async fn post(&self, path: &str) {
        let answer = socket::ask(self.world.engine.host(), &format!("POST {path}")).await;
        let answer = answer.expect("ask the engine");
        assert!(answer.starts_with("HTTP/1.1 204 "), "the engine refused {path}: {answer}");
    }
}

fn page(turn: u32) -> String {
    format!("bare page {}", turn % 2)
}
