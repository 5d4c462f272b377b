//! Two prepared containers that take turns at one port, without homeport: the least a swap can cost. One is
//! stopped and the other started, by the `docker` command line or straight over the engine's socket.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

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

/// The two containers.
pub struct Bare<'a> {
    world: &'a World,
    port: ReservedPort,
    names: [String; 2],
    running: usize,
}

impl<'a> Bare<'a> {
    /// Makes them from images like the agent's, with the options of the agent's, and starts the first.
    pub async fn prepare(world: &'a World) -> Self {
        let port = ReservedPort::find();
        let names = [0, 1].map(|turn| format!("{}-bare-{turn}", world.prefix()));
        let publish = format!("{}:{APP_PORT}", port.number());
        for (turn, name) in names.iter().enumerate() {
            let image = format!("{name}:1");
            world.engine.build(&App::Page(page(turn)), &image).await;
            let options =
                ["--init", "--publish", &publish, "--log-opt", "max-size=10m", "--log-opt", "max-file=3"];
            let create = [&["create", "--name", name][..], &options[..], &[image.as_str()]].concat();
            world.engine.docker(&create).await.expect("create a bare container");
        }
        world.engine.docker(&["start", &names[0]]).await.expect("start a bare container");
        Self { world, port, names, running: 0 }
    }

    /// Lets the other one have the port, and gives the time without service.
    pub async fn swap(&mut self, by: By) -> Duration {
        let (old, new) = (self.running, 1 - self.running);
        let visitor = Visitor::send(self.port.number());
        visitor.wait_for(&page(old), DEADLINE).await;
        for (act, turn) in [("stop", old), ("start", new)] {
            match by {
                By::CommandLine => {
                    self.world.engine.docker(&[act, &self.names[turn]]).await.expect("swap bare containers");
                }
                By::Socket => self.post(&format!("/containers/{}/{act}", self.names[turn])).await,
            }
        }
        visitor.wait_for(&page(new), DEADLINE).await;
        self.running = new;
        visitor.gap(&page(old), &page(new))
    }

    async fn post(&self, path: &str) {
        let socket: PathBuf = self.world.engine.host().trim_start_matches("unix://").into();
        let mut stream = UnixStream::connect(socket).await.expect("reach the engine");
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("ask the engine");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("hear the engine");
        assert!(answer.starts_with("HTTP/1.1 204 "), "the engine refused {path}: {answer}");
    }
}

fn page(turn: usize) -> String {
    format!("bare page {turn}")
}
