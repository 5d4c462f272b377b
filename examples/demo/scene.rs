//! What the story is played on: a world, the agent as a running service, and a visitor of the shop. It shows what
//! homeport says while it waits for what must happen; what does not happen in time fails the demo.

use std::cell::Cell;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use crate::app::Commit;
use crate::story::NAME;
use crate::tell;
use crate::visitor::Visitor;
use crate::world::Options;
use crate::world::World;
use crate::world::agent::RunningAgent;
use crate::world::mail::Mail;
use crate::world::repository::git;

const GLANCE: Duration = Duration::from_millis(20);
/// Longer than a page takes, shorter than a swap.
const SETTLED: Duration = Duration::from_millis(100);

/// Everything that plays a part. The agent ends before what it works with.
pub struct Scene {
    /// The agent, as systemd would run it.
    pub agent: RunningAgent,
    /// Who asks for the page all the time.
    pub visitor: Visitor,
    /// GitHub, Docker Hub, the registry, Docker and the mail server.
    pub world: World,
    shown: Cell<usize>,
}

impl Scene {
    /// A world without a commit.
    pub async fn build() -> World {
        let options = Options { binary: Some(built_binary()), name: Some(NAME), ..Options::default() };
        let world = World::start_with(options).await;
        // A failing proof is waited for to its end, and the reader waits with it.
        world.agent.set("/projects/0/deploy/prove/timeout", "3s");
        world
    }

    /// Starts `homeport run` in it.
    pub async fn enter(world: World) -> Self {
        let agent = world.agent.spawn_run().await;
        let scene = Self { agent, visitor: Visitor::send(world.port()), world, shown: Cell::new(0) };
        scene.watching(scene.agent.wait_ready()).await;
        scene
    }

    /// Pushes a commit and shows it.
    pub async fn push(world: &World, commit: &Commit) {
        let sha = world.repo.commit(commit.files, commit.message).await;
        let show = ["show", "--format=commit %h by %an: %s", "--unified=0", "--no-prefix", &sha];
        let shown = git(world.repo.directory(), &show).await.expect("show the commit");
        let is_news = |line: &&str| {
            !["diff --git", "index ", "new file", "--- ", "@@", "\\ No newline"]
                .iter()
                .any(|start| line.starts_with(start))
        };
        tell::patch(
            &shown.lines().filter(is_news).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n"),
        );
    }

    /// The next mail with this in its subject, and what homeport said until it had sent it.
    pub async fn mail(&self, subject_part: &str) -> Mail {
        let mail = self.watching(self.world.expect_mail(subject_part)).await;
        // Word of it may come after the mail itself.
        self.watching(self.agent.wait_for_stderr(&format!("mail sent: {}", mail.subject))).await;
        tell::mail(&mail);
        mail
    }

    /// The shop's page holds this text; it is shown.
    pub async fn page(&self, text: &str) {
        self.world.expect_serving(text).await;
        let url = format!("http://127.0.0.1:{}/", self.world.port());
        tell::command(&format!("curl {url}"));
        let (status, body) =
            self.world.engine.http_get(self.world.port(), "/").await.expect("ask for the page");
        assert_eq!(status, 200, "the status of the page");
        assert!(body.contains(text), "{body:?} should hold {text:?}");
        tell::quote(&body);
    }

    /// A command beside the running agent: its output is shown, and it must end well.
    pub async fn ask(&self, arguments: &[&str]) -> String {
        tell::command(&format!("homeport {}", arguments.join(" ")));
        let answer = self.world.agent.command(arguments).await.expect_success().stdout;
        tell::quote(&answer);
        answer
    }

    /// How long the visitor got no page since that moment.
    pub async fn absence_since(&self, moment: Instant) -> Duration {
        tokio::time::sleep(SETTLED).await;
        self.visitor.longest_wait_since(moment)
    }

    /// Waits for something and shows what homeport says meanwhile.
    pub async fn watching<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                result = &mut work => {
                    self.show_journal();
                    return result;
                }
                () = tokio::time::sleep(GLANCE) => self.show_journal(),
            }
        }
    }

    fn show_journal(&self) {
        let journal = self.agent.stderr();
        let news = &journal[self.shown.get()..];
        let complete = news.rfind('\n').map_or("", |end| &news[..=end]);
        complete.lines().for_each(tell::journal);
        self.shown.set(self.shown.get() + complete.len());
    }
}

/// Cargo puts an example one folder below the package's own programs.
fn built_binary() -> PathBuf {
    let this = std::env::current_exe().expect("know this program's path");
    let binary = this.ancestors().nth(2).expect("programs are built in folders").join("homeport");
    assert!(binary.exists(), "no {}: start the demo by ./scripts/demo", binary.display());
    binary
}
