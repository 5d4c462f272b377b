//! What must be so when a story has ended, whatever was killed in it. What may remain of earlier stories, exactly:
//! the container `NAME`, running; `NAME.previous`, stopped and not to be started by Docker; images of these two,
//! and of as many more as `keep_images` says, with what was built or pulled since the newest deployment.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use crate::kill_matrix::records::EndedRun;
use crate::kill_matrix::records::Goal;
use crate::kill_matrix::records::Records;
use crate::kill_matrix::scenario::Bench;
use crate::kill_matrix::scenario::Scenario;
use crate::kill_matrix::scenario::Story;

/// What was there when the story began.
pub struct Before {
    mails: usize,
    pushes: usize,
    run: i64,
}

impl Before {
    /// Looks.
    pub fn of(bench: &Bench) -> Self {
        let mails = bench.world.mail.inbox().len();
        let pushes = bench.world.registry.pushes().len();
        Self { mails, pushes, run: Records::of(&bench.world).map_or(0, |records| records.newest_run()) }
    }

    /// The database has been removed: its runs begin at 1 again.
    pub fn forget_runs(&mut self) {
        self.run = 0;
    }
}

/// Everything that is not as it must be, while the agent is up.
pub async fn violations(bench: &Bench, story: &Story, before: &Before) -> Vec<String> {
    let mut wrong = Vec::new();
    match bench.answer().await {
        Ok(page) if page.contains(&story.last) => {}
        other => wrong.push(format!("{:?} does not serve: {other:?}", story.last)),
    }
    containers(bench, &mut wrong).await;
    images(bench, &mut wrong).await;
    files(bench, &mut wrong);
    match Records::of(&bench.world) {
        Some(records) => {
            ends_and_judgements(bench, story, before, &records, &mut wrong);
            agreement(bench, &records, &mut wrong).await;
            mails(bench, before, &records, &mut wrong);
        }
        None => wrong.push("there is no database".to_owned()),
    }
    pushes(bench, &mut wrong);
    wrong
}

/// Everything that a stop of the agent has left behind, or undone.
pub async fn left_by_stop(bench: &Bench, story: &Story, before: &Before) -> Vec<String> {
    let mut wrong = Vec::new();
    containers(bench, &mut wrong).await;
    files(bench, &mut wrong);
    match Records::of(&bench.world) {
        Some(records) => ends_and_judgements(bench, story, before, &records, &mut wrong),
        None => wrong.push("there is no database".to_owned()),
    }
    wrong
}

async fn containers(bench: &Bench, wrong: &mut Vec<String>) {
    let world = &bench.world;
    let (name, previous) = (world.project().to_owned(), format!("{}.previous", world.project()));
    let found = world.engine.containers().await;
    let serving: Vec<_> = found.iter().filter(|container| container.state == "running").collect();
    if serving.len() != 1 || serving[0].name != name {
        wrong.push(format!("not exactly {name} runs: {found:?}"));
    }
    if found.iter().any(|container| container.name != name && container.name != previous) {
        wrong.push(format!("a container is left over: {found:?}"));
    }
    for (name, wanted) in [(name, "always"), (previous, "no")] {
        let Some(found) = world.engine.inspect(&name).await else { continue };
        let policy = &found["HostConfig"]["RestartPolicy"]["Name"];
        if policy.as_str() != Some(wanted) {
            wrong.push(format!("the restart policy of {name} is {policy} and not {wanted}"));
        }
    }
}

async fn images(bench: &Bench, wrong: &mut Vec<String>) {
    let world = &bench.world;
    let kept = world.agent.config()["projects"][0]["deploy"]["keep_images"].as_u64().unwrap_or_default();
    let repository = format!("{}/{}", world.registry.address(), world.image());
    let found = world.engine.images().await;
    let strange: Vec<_> = found.iter().filter(|image| !image.starts_with(&repository)).collect();
    if !strange.is_empty() {
        wrong.push(format!("images are left over: {strange:?}"));
    }
    // The two containers' own images, and what was pulled or built since the newest deployment.
    if found.len() > usize::try_from(kept).unwrap_or(usize::MAX) + 3 {
        wrong.push(format!("more images are kept than {kept} and those in use: {found:?}"));
    }
    let label = format!("label=homeport.project={}", world.project());
    let test = ["images", "--quiet", "--filter", &label, "--filter", "label=homeport.role=test"];
    if let Ok(ids) = world.engine.docker(&test).await
        && !ids.trim().is_empty()
    {
        wrong.push(format!("an image of a test is left over: {ids}"));
    }
}

fn files(bench: &Bench, wrong: &mut Vec<String>) {
    let state = bench.world.agent.state_dir();
    for left in below(&state.join("trees")) {
        wrong.push(format!("a work tree is left over: {}", left.display()));
    }
    for left in below(&state.join("mirrors")) {
        let name = left.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_left_over = name.ends_with(".lock")
            || name.starts_with("tmp_")
            || name.ends_with(".discarded")
            || name == "homeport.index";
        if is_left_over {
            wrong.push(format!("a file of git's is left over: {}", left.display()));
        }
    }
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let paths = entries.map(|entry| entry.path());
    paths
        .flat_map(|path| [vec![path.clone()], if path.is_dir() { below(&path) } else { vec![] }].concat())
        .collect()
}

fn ends_and_judgements(
    bench: &Bench,
    story: &Story,
    before: &Before,
    records: &Records,
    wrong: &mut Vec<String>,
) {
    if !records.is_settled(&story.goal) {
        wrong.push(format!("the records do not say that the story has ended: {:?}", story.goal));
    }
    for (name, log) in bench.world.agent.run_logs() {
        let last = log.lines().last().unwrap_or_default();
        if !(last.contains("run ") && last.contains(" ended: ")) {
            wrong.push(format!("the log {name} does not end with the run's end but with {last:?}"));
        }
    }
    let failures = match story.goal {
        Goal::Commit(_) | Goal::Deployed(_) => 0,
        Goal::TakenBack(_) => 1,
    };
    if records.quarantined_after(before.run) != Some(failures) {
        wrong.push(format!(
            "{:?} digests are quarantined, not {failures}",
            records.quarantined_after(before.run)
        ));
    }
}

async fn agreement(bench: &Bench, records: &Records, wrong: &mut Vec<String>) {
    let world = &bench.world;
    let running = world.engine.digests_of(world.project()).await;
    let recorded = records.current().unwrap_or_default();
    let told = world.agent.status_json().await;
    let told = told["projects"][0]["current"]["digest"].as_str().unwrap_or_default().to_owned();
    if !running.contains(&recorded) || told != recorded || records.journals() != Some(0) {
        wrong.push(format!(
            "Docker runs {running:?}, the records say {recorded}, `status` says {told}, {:?} deployments are in flight",
            records.journals()
        ));
    }
}

/// A mail that the server took just before the agent was killed comes again, under the same Message-ID: it cannot
/// be known whether it was taken. So Message-IDs are counted.
fn mails(bench: &Bench, before: &Before, records: &Records, wrong: &mut Vec<String>) {
    let inbox = bench.world.mail.inbox();
    let told: BTreeSet<String> = inbox
        .iter()
        .skip(before.mails)
        .map(|mail| mail.message_id.split('@').next().unwrap_or_default().to_owned())
        .collect();
    let mut due = BTreeSet::new();
    let mut possible = BTreeSet::new();
    let mut excused = 0;
    for run in records.ended_after(before.run) {
        excused += usize::from(is_excused(bench, records, &run));
        let id = format!("homeport.{}.{}", run.number, run.outcome);
        match (run.kind.as_str(), run.outcome.as_str()) {
            (_, "interrupted" | "pushed") => {}
            // The like of a failure may have been told before.
            (_, "failed") => drop(possible.insert(id)),
            _ => drop(due.insert(id)),
        }
    }
    let missing: Vec<_> = due.difference(&told).collect();
    let strange: Vec<_> = told.iter().filter(|id| !due.contains(*id) && !possible.contains(*id)).collect();
    if !missing.is_empty() || !strange.is_empty() {
        wrong.push(format!("mails are missing: {missing:?}; mails nobody expected: {strange:?}"));
    }
    // What was pushed is not pushed again, also where the run that did so could not say it: one story has one outcome.
    let pushes = bench.world.registry.pushes();
    let tags: BTreeSet<_> = pushes.iter().skip(before.pushes).map(|push| &push.reference).collect();
    let most = match bench.scenario {
        Scenario::Watch => 2,
        Scenario::WholeWay | Scenario::BadImage | Scenario::First | Scenario::StartFirst => 1,
    };
    let outcomes = due.len() + possible.len();
    if outcomes == 0 || outcomes > most + excused {
        wrong.push(format!("of {tags:?} there are these outcomes: {due:?} {possible:?}"));
    }
}

/// A proof that a power cut broke off says nothing against the image, which is deployed afterwards.
fn is_excused(bench: &Bench, records: &Records, run: &EndedRun) -> bool {
    bench.world.private_engine.is_some()
        && run.outcome == "rolled-back"
        && records.quarantined_by(run.number) == Some(0)
}

fn pushes(bench: &Bench, wrong: &mut Vec<String>) {
    let mut contents: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for push in bench.world.registry.pushes() {
        contents.entry(push.reference).or_default().insert(push.digest);
    }
    for (tag, digests) in contents.into_iter().filter(|(_, digests)| digests.len() > 1) {
        wrong.push(format!("tag {tag} was pushed with different contents: {digests:?}"));
    }
}
