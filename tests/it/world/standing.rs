//! How the service stands: which container object serves, and how Docker would treat it after a power cut. Taken
//! before something happens and compared after it.

use std::future::Future;
use std::panic::Location;

use serde_json::Value;

use crate::world::World;
use crate::world::app::App;
use crate::world::assertions::eventually;

/// The service's container at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Docker's id of the container.
    pub id: String,
    /// The state: `running`, `exited` …
    pub state: String,
    /// The restart policy.
    pub policy: String,
    /// When it was started last.
    pub started_at: String,
}

impl Standing {
    /// By what `docker inspect` says.
    pub fn of(inspected: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            id: text(&inspected["Id"]),
            state: text(&inspected["State"]["Status"]),
            policy: text(&inspected["HostConfig"]["RestartPolicy"]["Name"]),
            started_at: text(&inspected["State"]["StartedAt"]),
        }
    }
}

impl World {
    /// Brings a good version into service by one pass of the agent, reads the mail about it, and says how it stands.
    pub async fn deploy_page(&self, text: &str) -> Standing {
        self.repo.commit_page(text).await;
        self.agent.once().await.expect_success();
        self.expect_serving(text).await;
        self.expect_mail("deployed").await;
        self.standing().await
    }

    /// From the next start of the agent on, it only deploys what others push.
    pub fn only_deploy(&self) {
        for key in ["repository", "branch", "test", "poll/github"] {
            self.agent.unset(&format!("/projects/0/{key}"));
        }
    }

    /// The project builds and deploys nothing here.
    pub fn only_build(&self) {
        for key in ["deploy", "poll/docker_hub"] {
            self.agent.unset(&format!("/projects/0/{key}"));
        }
    }

    /// Brings a version that another machine pushed into service by one pass of the agent, and reads the mail.
    pub async fn deploy(&self, tag: &str, app: &App) -> Standing {
        self.publish(tag, app).await;
        self.agent.once().await.expect_success();
        self.expect_mail(&format!("{tag} deployed")).await;
        self.standing().await
    }

    /// How the service stands now.
    pub async fn standing(&self) -> Standing {
        let inspected = self.engine.inspect(self.project()).await;
        Standing::of(&inspected.expect("the service's container exists"))
    }

    /// Nothing has been done to the service: the same container, never stopped in between.
    #[track_caller]
    pub fn expect_untouched(&self, before: &Standing) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let now = self.standing().await;
            assert!(now == *before, "{at}: the service stood as {before:?}, now as {now:?}");
            self.expect_way_back().await;
        }
    }

    /// The same container object serves again, and Docker would start it after a power cut.
    #[track_caller]
    pub fn expect_back(&self, before: &Standing) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let found = eventually(async || {
                let now = self.standing().await;
                let is_back = now.id == before.id && now.state == "running" && now.policy == "always";
                if is_back { Ok(()) } else { Err(format!("{now:?}")) }
            });
            if let Err(last) = found.await {
                panic!("{at}: {before:?} does not serve again but {last}");
            }
            self.expect_way_back().await;
        }
    }

    /// The containers besides the service's: the previous one, stopped and not to be started by Docker, or none.
    async fn expect_way_back(&self) {
        self.expect_no_leftovers().await;
        if let Some(previous) = self.engine.inspect(&format!("{}.previous", self.project())).await {
            let previous = Standing::of(&previous);
            let is_kept = previous.state == "exited" && previous.policy == "no";
            assert!(is_kept, "the previous container is not kept as a way back: {previous:?}");
        }
    }

    /// The command lines of this machine's processes that name this.
    pub fn processes_naming(&self, word: &str) -> Vec<String> {
        let entries = std::fs::read_dir("/proc").expect("list processes").filter_map(Result::ok);
        let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        let lines = lines.map(|raw| String::from_utf8_lossy(&raw).replace('\0', " "));
        lines.filter(|line| line.contains(word)).collect()
    }

    /// This world has no container at all, and nothing answers at the service's port.
    #[track_caller]
    pub fn expect_nothing_deployed(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let left = self.engine.containers().await;
            assert!(left.is_empty(), "{at}: there are containers: {left:?}");
            self.expect_not_serving().await;
        }
    }
}
