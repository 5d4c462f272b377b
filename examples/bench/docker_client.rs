//! The `docker` command line that an owner would use: one that builds with BuildKit, as the agent does. Since version
//! 23 that takes a plugin, which not every machine has; an older client has it built in.

use std::path::PathBuf;
use std::process::Output;
use std::process::Stdio;

use tokio::process::Command;

use crate::world::World;

/// A client that builds with BuildKit, and the engine it talks to.
pub struct DockerClient {
    program: PathBuf,
    host: String,
    folder: PathBuf,
}

impl DockerClient {
    /// The first on `PATH` that can do it.
    pub async fn find(world: &World) -> Self {
        let context = world.folder().join("nothing");
        std::fs::create_dir_all(&context).expect("make a build context");
        std::fs::write(context.join("Dockerfile"), "FROM scratch\nLABEL nothing=1\n")
            .expect("write a Dockerfile");
        let context = context.to_str().expect("a path in UTF-8");
        let path = std::env::var_os("PATH").unwrap_or_default();
        for folder in std::env::split_paths(&path) {
            let program = folder.join("docker");
            if !program.is_file() {
                continue;
            }
            let client =
                Self { program, host: world.engine.host().to_owned(), folder: world.folder().to_owned() };
            if client.output(&["build", "--quiet", context]).await.status.success() {
                return client;
            }
        }
        panic!("no docker on PATH builds with BuildKit: apt-get install docker-buildx");
    }

    /// Runs it to its end, which must be good; gives what it has said beside its output.
    pub async fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "docker {arguments:?}: {said}");
        said
    }

    async fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        let output = self.surround(&mut command).args(arguments).output().await;
        output.expect("run docker")
    }

    /// A shell in which `docker` is this client.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        let first = self.program.parent().map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = first.into_iter().chain(std::env::split_paths(&path));
        self.surround(&mut command)
            .env("PATH", std::env::join_paths(folders).expect("folders of PATH"))
            .args(["-euc", script, "sh"])
            .current_dir(&self.folder);
        command
    }

    fn surround<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("DOCKER_HOST", &self.host)
            .env("DOCKER_CONFIG", &self.folder)
            .env("DOCKER_BUILDKIT", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true)
    }
}
