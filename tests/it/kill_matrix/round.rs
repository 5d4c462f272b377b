//! One passage with one or two deaths in it: provoked, struck at the point, taken up again, looked at.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use crate::kill_matrix::invariants;
use crate::kill_matrix::invariants::Before;
use crate::kill_matrix::records::Records;
use crate::kill_matrix::scenario::Bench;
use crate::kill_matrix::scenario::Scenario;
use crate::kill_matrix::scenario::Story;
use crate::world::agent::RunningAgent;

/// How long a passage may take, on a machine that does four at a time.
const DEADLINE: Duration = Duration::from_secs(90);
/// How long what must be so at the end may take to become so, and the last good version to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who dies at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The agent.
    Agent,
    /// The agent, the engine, containerd and every container, as in a power cut.
    Everything,
}

/// How a passage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The old version serves, as it must.
    OldServes,
    /// The new version serves, as it must.
    NewServes,
    /// The point was not passed this time; the passage ended well.
    NotReached,
    /// Something is not as it must be.
    Violated,
}

/// What became of a passage.
#[derive(Debug)]
pub struct Passage {
    /// How it ended.
    pub end: End,
    /// What is not as it must be.
    pub wrong: Vec<String>,
    /// The points that the last agent passed.
    pub trace: Vec<String>,
    /// What the agents said.
    pub transcript: String,
}

/// Goes through one passage in which the agent dies at each of these points in turn.
pub async fn pass(bench: &mut Bench, points: &[&str], victim: Victim) -> Passage {
    let said = bench.world.agent.transcript().len();
    let mut before = Before::of(bench);
    let story = bench.provoke().await;
    if bench.scenario == Scenario::First {
        before.forget_runs();
    }
    let mut wrong = Vec::new();
    let mut struck = 0;
    for point in points {
        if strike(bench, &story, point, victim, &mut wrong).await {
            struck += 1;
        }
    }
    let trace_file = bench.world.folder().join("trace");
    fs::remove_file(&trace_file).ok();
    let agent = start(bench, &[("HOMEPORT_FAULT_TRACE", &trace_file.display().to_string())]).await;
    if !wait_settled(bench, &story, &agent).await {
        wrong.push(format!("the story has not ended after {DEADLINE:?}"));
    }
    let mut found = invariants::violations(bench, &story, &before).await;
    let end = Instant::now() + PATIENCE;
    while !found.is_empty() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(100)).await;
        found = invariants::violations(bench, &story, &before).await;
    }
    let status = agent.terminate().await;
    if !status.success() {
        wrong.push(format!("the agent ended with {status}"));
    }
    if found.is_empty() {
        found = invariants::left_by_stop(bench, &story, &before).await;
    }
    wrong.extend(found);
    bench.goes_on_with(&story);
    let end = match (wrong.is_empty(), struck == points.len()) {
        (false, _) => End::Violated,
        (true, false) => End::NotReached,
        (true, true) if story.last == story.new => End::NewServes,
        (true, true) => End::OldServes,
    };
    let transcript = bench.world.agent.transcript().get(said..).unwrap_or_default().to_owned();
    Passage { end, wrong, trace: lines(&trace_file), transcript }
}

/// Lets the agent run until it dies at the point; whether it came there before the story had ended.
async fn strike(bench: &Bench, story: &Story, point: &str, victim: Victim, wrong: &mut Vec<String>) -> bool {
    let act = match victim {
        Victim::Agent => "kill",
        Victim::Everything => "stop",
    };
    let agent = start(bench, &[("HOMEPORT_FAULT_AT", point), ("HOMEPORT_FAULT_ACT", act)]).await;
    let end = Instant::now() + DEADLINE;
    let mut is_over = false;
    while agent.is_running() && !is_stopped(&agent) {
        if !is_over && (is_settled(bench, story) || Instant::now() >= end) {
            // Some points come only when the agent is told to stop.
            agent.signal("TERM");
            is_over = true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let was_struck = !is_over || is_stopped(&agent);
    if victim == Victim::Everything && is_stopped(&agent) {
        cut_power(bench, story, agent, wrong).await;
    } else {
        agent.kill().await;
    }
    was_struck
}

/// Docker dies with its containers and comes back first: by itself it lets the last good version answer.
async fn cut_power(bench: &Bench, story: &Story, agent: RunningAgent, wrong: &mut Vec<String>) {
    let engine = bench.world.private_engine.as_ref().expect("an engine that may be killed");
    engine.cut_power();
    agent.kill().await;
    engine.restart().await;
    let Some(old) = &story.old else { return };
    let end = Instant::now() + PATIENCE;
    loop {
        let last = bench.answer().await;
        if last.as_ref().is_ok_and(|page| page.contains(old) || page.contains(&story.new)) {
            return;
        }
        if Instant::now() >= end {
            let listed = bench.world.engine.containers().await;
            wrong.push(format!("with Docker alone nothing good answers: {last:?}; {listed:?}"));
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn start(bench: &Bench, environment: &[(&str, &str)]) -> RunningAgent {
    let agent = &bench.world.agent;
    for (name, value) in environment {
        agent.env(name, value);
    }
    let running = agent.spawn_run().await;
    for (name, _) in environment {
        agent.env(name, "");
    }
    running
}

async fn wait_settled(bench: &Bench, story: &Story, agent: &RunningAgent) -> bool {
    let end = Instant::now() + DEADLINE;
    while !is_settled(bench, story) {
        if Instant::now() >= end || !agent.is_running() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

fn is_settled(bench: &Bench, story: &Story) -> bool {
    Records::of(&bench.world).is_some_and(|records| records.is_settled(&story.goal))
}

/// Whether SIGSTOP has stopped it.
fn is_stopped(agent: &RunningAgent) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", agent.pid())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

fn lines(file: &PathBuf) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}
