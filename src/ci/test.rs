//! Stage `test`: the project's own tests, on the files of the commit, in the place the owner chose.
//!
//! The tests never work on the tree that is built: a container gets a copy, the host a second checkout. What
//! a test leaves behind cannot end up in the image.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::anyhow;

use crate::ci::build::sent_tree;
use crate::ci::build::tree_name;
use crate::ci::cache;
use crate::ci::checkout;
use crate::ci::checkout::Checkout;
use crate::ci::context::Context;
use crate::ci::detect::detect;
use crate::ci::room::check_room;
use crate::ci::script::script;
use crate::clients::docker::BuildError;
use crate::clients::docker::BuildRequest;
use crate::clients::docker::Engine;
use crate::clients::docker::Sandbox;
use crate::clients::docker::SandboxEnd;
use crate::clients::docker::SandboxError;
use crate::clients::docker::SandboxLimits;
use crate::clients::docker::TarStream;
use crate::clients::docker::Volume;
use crate::clients::process::Fence;
use crate::clients::process::HostExit;
use crate::clients::process::HostRun;
use crate::clients::process::OWN_PROGRAM;
use crate::clients::process::all_but_one;
use crate::clients::process::passed_on;
use crate::clients::process::run_host;
use crate::config::project::TestDockerfile;
use crate::config::project::TestPlace;
use crate::config::settings::SourceSettings;
use crate::config::settings::TestPlan;
use crate::config::settings::TestTerms;
use crate::model::Blame;
use crate::model::Commit;
use crate::model::ContainerName;
use crate::model::LABEL_PROJECT;
use crate::model::LABEL_ROLE;
use crate::model::LABEL_RUN;
use crate::model::ROLE_TEST;
use crate::model::Stage;
use crate::model::StageError;
use crate::run::Run;
use crate::run::failed;

/// Where a test container finds the files.
const WORKDIR: &str = "/workspace";
/// How long a test on the host may take to end when it is told to.
const GRACE: Duration = Duration::from_secs(5);
/// What the tests' processes may be at most, so that one that forks without end does not take the board.
const MOST_PROCESSES: u32 = 2048;
/// Files larger than this are not read to find out how a repository is tested.
const READABLE: u64 = 256 * 1024;

/// Proof that the project's own tests passed on this checkout, or that its owner said there are none. Made
/// only by [`test`].
#[derive(Debug)]
pub struct TestedCheckout {
    checkout: Checkout,
}

impl TestedCheckout {
    /// The commit.
    pub const fn commit(&self) -> &Commit {
        self.checkout.commit()
    }

    /// The folder with its files.
    pub fn tree(&self) -> &Path {
        self.checkout.tree()
    }
}

/// Runs the project's tests.
///
/// # Errors
/// They fail, take too long, or cannot be found, which is the commit's fault; or Docker, the network or the
/// disk fail.
pub async fn test(
    run: &Run,
    source: &SourceSettings,
    checkout: Checkout,
) -> Result<TestedCheckout, StageError> {
    let (place, commands, terms) = match &source.test {
        TestPlan::None => {
            run.log.line(Stage::Test, "the configuration says that there are no tests");
            return Ok(TestedCheckout { checkout });
        }
        TestPlan::Run { place, commands, terms } => (place.clone(), commands.clone(), *terms),
        TestPlan::Detect(terms) => {
            let names = names_in(checkout.tree()).map_err(failed(Stage::Test, Blame::World))?;
            let found = detect(&names, &|name| small_text(&checkout.tree().join(name)));
            let found = found.map_err(failed(Stage::Test, Blame::Commit))?;
            run.log.line(Stage::Test, &found.to_string());
            (found.place, found.commands, *terms)
        }
    };
    let end = match &place {
        TestPlace::Image(image) => {
            let tree = Context::whole(checkout.tree()).stream();
            in_container(run, &image.image, Some((tree, WORKDIR)), &commands, terms).await
        }
        TestPlace::Dockerfile(dockerfile) => {
            in_dockerfile(run, &checkout, dockerfile, &commands, terms).await
        }
        TestPlace::Host(_) => on_host(run, source, &checkout, &commands, terms.timeout).await,
    };
    end.map(|()| TestedCheckout { checkout })
}

/// The image that the repository's Dockerfile describes; without commands, that it builds is the test.
async fn in_dockerfile(
    run: &Run,
    checkout: &Checkout,
    place: &TestDockerfile,
    commands: &[String],
    terms: TestTerms,
) -> Result<(), StageError> {
    let context = sent_tree(run, checkout.tree(), ".", &place.dockerfile, Stage::Test).await?;
    let cgroup = run.clients.build_cgroup().await.map_err(failed(Stage::Test, Blame::World))?;
    let request = BuildRequest {
        context: Arc::new(context.at(&checkout.commit().sha)),
        tree: &tree_name(run),
        dockerfile: &place.dockerfile,
        names: &[],
        args: &BTreeMap::new(),
        target: place.target.as_deref(),
        platform: None,
        labels: &labels(run),
        // Whoever's commit it is could change what the tests print.
        secrets: &BTreeMap::new(),
        login: run.clients.build_login(),
        cgroup_parent: cgroup.as_deref(),
        // Where commands follow, the build only lays out what they need; where none do, it is the test.
        has_network: !commands.is_empty() || terms.network.is_none(),
        timeout: terms.timeout,
    };
    let output = run.log.output(Stage::Test);
    // No swap is proven while a build keeps every core busy.
    let board = run.board.lock().await;
    check_room(run, Stage::Test).await?;
    let built = Box::pin(run.clients.docker.build(request, &output)).await;
    drop(board);
    let image = built.map_err(|error| match error {
        BuildError::TooLong(limit) => too_slow(limit),
        error => StageError { stage: Stage::Test, blame: error.blame(), source: error.into() },
    })?;
    let tested =
        if commands.is_empty() { Ok(()) } else { in_container(run, &image, None, commands, terms).await };
    // Its layers stay in the build cache, which makes the next test quick; the image itself has served.
    if let Err(error) = run.clients.docker.remove_image(&image).await {
        run.log.line(Stage::Test, &format!("the test image stays behind: {error}"));
    }
    tested
}

async fn in_container(
    run: &Run,
    image: &str,
    tree: Option<(TarStream, &str)>,
    commands: &[String],
    terms: TestTerms,
) -> Result<(), StageError> {
    let engine = run.clients.docker.engine().await.map_err(failed(Stage::Test, Blame::World))?;
    let name: ContainerName = format!("{}.test-{}", run.project.name, run.number)
        .parse()
        .map_err(failed(Stage::Test, Blame::World))?;
    let (tree, workdir) = tree.map_or((None, ""), |(tree, workdir)| (Some(tree), workdir));
    let cache = if tree.is_some() && terms.cache { own_cache(run).await } else { None };
    let mut env = BTreeMap::from([("CI".to_owned(), "true".to_owned())]);
    let mut script = script(commands);
    if cache.is_some() {
        env.extend(cache::variables());
        script.insert_str(0, &cache::prelude());
    }
    let sandbox = Sandbox {
        project: &run.project.name,
        name: &name,
        image,
        platform: None,
        login: run.clients.login_for(image),
        script: &script,
        tree,
        workdir,
        env: &env,
        labels: &labels(run),
        user: None,
        volume: cache.as_ref().map(|volume| (volume, cache::MOUNTED)),
        has_network: terms.network.is_none(),
        processors: processors(run, &engine),
        limits: limits(&engine, terms.timeout),
    };
    run.log.line(Stage::Test, &format!("in a container of {image}"));
    let output = run.log.output(Stage::Test);
    let end = Box::pin(run.clients.docker.run_sandbox(sandbox, &output)).await;
    let end = end.map_err(|error| {
        let blame = match &error {
            SandboxError::NoShell(_) | SandboxError::Link(_) => Blame::Commit,
            SandboxError::Tree(_) | SandboxError::Docker(_) => Blame::World,
        };
        StageError { stage: Stage::Test, blame, source: error.into() }
    })?;
    verdict(end, terms.timeout)
}

fn verdict(end: SandboxEnd, timeout: Duration) -> Result<(), StageError> {
    match end {
        SandboxEnd::Exited(0) => Ok(()),
        // Neither starved nor timed out, and yet killed: Docker was restarted, or somebody stopped it.
        SandboxEnd::Exited(code @ (137 | 143)) => {
            let why = anyhow!("the test container was stopped from outside (exit code {code})");
            Err(StageError { stage: Stage::Test, blame: Blame::World, source: why })
        }
        SandboxEnd::Exited(code) => Err(red(anyhow!("the tests exited with code {code}"))),
        SandboxEnd::OutOfMemory => Err(red(anyhow!("the tests were killed for want of memory"))),
        SandboxEnd::TimedOut => Err(too_slow(timeout)),
    }
}

/// The project's dependency cache. Without it tests take longer, so whatever keeps it away fails none.
async fn own_cache(run: &Run) -> Option<Volume> {
    match cache::of(&run.clients, &run.project.name).await {
        Ok(volume) => Some(volume),
        Err(error) => {
            run.log.line(Stage::Test, &format!("without a dependency cache: {error:#}"));
            None
        }
    }
}

/// The processors that tests may use; those of another machine are not known here.
fn processors(run: &Run, engine: &Engine) -> Option<String> {
    let is_here = engine.limits_processors && run.clients.docker.is_on_this_machine();
    is_here.then(all_but_one).flatten()
}

/// A quarter of the memory and as much as one core does are left to what serves.
fn limits(engine: &Engine, timeout: Duration) -> SandboxLimits {
    SandboxLimits {
        memory: engine.limits_memory.then_some(engine.memory / 4 * 3),
        cpus: Some(engine.cpus.saturating_sub(1).max(1) as f64),
        processes: Some(MOST_PROCESSES),
        time: timeout,
    }
}

async fn on_host(
    run: &Run,
    source: &SourceSettings,
    checkout: &Checkout,
    commands: &[String],
    timeout: Duration,
) -> Result<(), StageError> {
    let copy = checkout::copy(run, source, checkout).await?;
    let own = checkout::scratch(run)?;
    let host = HostRun {
        program: Path::new(OWN_PROGRAM),
        number: run.number,
        script: &script(commands),
        dir: copy.path(),
        home: &own.path().join("home"),
        tmp: &own.path().join("tmp"),
        hidden: &run.clients.hidden,
        env: passed_on(),
        timeout,
        grace: GRACE,
    };
    run.log.line(Stage::Test, "on this machine, as the agent's user");
    let output = run.log.output(Stage::Test);
    let fenced = |fence: Fence| run.log.line(Stage::Test, &fence.to_string());
    match run_host(&host, &fenced, &output).await.map_err(failed(Stage::Test, Blame::World))? {
        HostExit::Code(0) => Ok(()),
        HostExit::Code(code) => Err(red(anyhow!("the tests exited with code {code}"))),
        HostExit::Signal(signal) => Err(red(anyhow!("the tests were killed by signal {signal}"))),
        HostExit::TooMany { most } => Err(red(anyhow!(
            "the tests ran more than {most} processes and threads at once and were stopped: do they start others \
             without end?"
        ))),
        HostExit::TimedOut { .. } => Err(too_slow(timeout)),
    }
}

fn red(why: anyhow::Error) -> StageError {
    StageError { stage: Stage::Test, blame: Blame::Commit, source: why }
}

fn too_slow(timeout: Duration) -> StageError {
    red(anyhow!("the tests took longer than {timeout:?} and were stopped; `test.timeout` allows more"))
}

fn labels(run: &Run) -> BTreeMap<String, String> {
    let labels = [
        (LABEL_PROJECT, run.project.name.to_string()),
        (LABEL_ROLE, ROLE_TEST.to_owned()),
        (LABEL_RUN, run.number.to_string()),
    ];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn names_in(tree: &Path) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(tree).with_context(|| format!("read the folder {}", tree.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// A small file's text. A symlink is not followed: it could point at a file of this machine.
fn small_text(path: &Path) -> Option<String> {
    let facts = std::fs::symlink_metadata(path).ok()?;
    if facts.is_file() && facts.len() <= READABLE { std::fs::read_to_string(path).ok() } else { None }
}
