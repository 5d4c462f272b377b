//! The kill matrix: the agent dies at every point at which it has an effect (`src/fault_point.rs`), before it and
//! after it, in every story of a deployment; alone, twice, or with Docker and all containers. Afterwards the story
//! ends as if nothing had been. The list of points is what a run of the story shows.
//!
//! | variable | meaning |
//! |---|---|
//! | `HOMEPORT_MATRIX=whole` | every point, as `./scripts/kill-matrix` does; else a few by the seed |
//! | `HOMEPORT_MATRIX_SEED=N` | which few, and where the second death is; else the day |
//! | `HOMEPORT_MATRIX_ONLY=TEXT` | only the parts whose name holds this: `start-first`, `Docker killed too` |
//! | `HOMEPORT_MATRIX_POINT=TEXT` | only the points whose name holds this |
//! | `HOMEPORT_MATRIX_WORKERS=N` | how many worlds at a time; 3 if not said |

#![cfg(feature = "fault-points")]

mod invariants;
mod records;
mod round;
mod scenario;
mod table;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use futures_util::FutureExt;

use crate::kill_matrix::round::End;
use crate::kill_matrix::round::Passage;
use crate::kill_matrix::round::Victim;
use crate::kill_matrix::scenario::Bench;
use crate::kill_matrix::scenario::Scenario;
use crate::kill_matrix::table::Row;
use crate::kill_matrix::table::Table;
use crate::world::Options;
use crate::world::World;

/// In the ordinary suite: how many points of a part, and in how many scenarios the agent dies, and Docker too.
const SAMPLE: usize = 1;
const SAMPLE_OF_KILLS: usize = 3;
const SAMPLE_OF_POWER_CUTS: usize = 1;

/// What is asked for.
struct Plan {
    is_whole: bool,
    seed: u64,
    only: String,
    point: String,
}

/// One scenario and one victim, in a world of their own; of its points every `of`th, from `share` on.
#[derive(Debug, Clone, Copy)]
struct Part {
    scenario: Scenario,
    victim: Victim,
    share: usize,
    of: usize,
}

#[test]
fn whatever_dies_wherever_in_a_deployment_a_good_version_serves_and_the_story_ends_once() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let day = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
    let plan = Plan {
        is_whole: variable("HOMEPORT_MATRIX") == "whole",
        seed: variable("HOMEPORT_MATRIX_SEED").parse().unwrap_or(day),
        only: variable("HOMEPORT_MATRIX_ONLY"),
        point: variable("HOMEPORT_MATRIX_POINT"),
    };
    println!("the seed of the kill matrix: HOMEPORT_MATRIX_SEED={}", plan.seed);
    let workers = variable("HOMEPORT_MATRIX_WORKERS").parse().unwrap_or(3);
    let parts = Mutex::new(plan.parts());
    let table = Mutex::new(Table::default());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(part) = next(&parts) {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    let done = runtime.block_on(AssertUnwindSafe(part.go_through(&plan)).catch_unwind());
                    let mut table = table.lock().unwrap();
                    match done {
                        Ok(done) => table.take_in(done),
                        Err(panic) => {
                            table.violate(&part.name(), Row::Agent, "a new world", &words(&*panic), "")
                        }
                    }
                }
            });
        }
    });
    let table = table.into_inner().unwrap();
    table.print();
    assert!(table.violations.is_empty(), "{} violations", table.violations.len());
}

fn next(parts: &Mutex<Vec<Part>>) -> Option<Part> {
    parts.lock().unwrap().pop()
}

impl Plan {
    /// The parts, the longest last, which is taken first.
    fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        for scenario in Scenario::ALL.into_iter().rev() {
            for victim in [Victim::Everything, Victim::Agent] {
                let of = if self.is_whole { 2 } else { 1 };
                parts.extend((0..of).map(|share| Part { scenario, victim, share, of }));
            }
        }
        parts.retain(|part| part.name().contains(&self.only));
        if !self.is_whole && self.only.is_empty() {
            let first = self.seed % Scenario::ALL.len() as u64;
            let scenarios = Scenario::ALL.into_iter().cycle().skip(first as usize);
            let chosen: Vec<_> = scenarios.take(SAMPLE_OF_KILLS).collect();
            parts.retain(|part| {
                let most = match part.victim {
                    Victim::Agent => SAMPLE_OF_KILLS,
                    Victim::Everything => SAMPLE_OF_POWER_CUTS,
                };
                chosen.iter().take(most).any(|scenario| *scenario == part.scenario)
            });
        }
        parts
    }

    /// The points of a trace that are gone through, in a share of them.
    fn points(&self, trace: &[String], part: Part) -> Vec<String> {
        let wanted = trace.iter().filter(|point| point.contains(&self.point));
        let own: Vec<_> = wanted.skip(part.share).step_by(part.of).cloned().collect();
        if self.is_whole || !self.point.is_empty() {
            return own;
        }
        let mut dice = part.dice(self, "first");
        (0..SAMPLE).filter_map(|_| dice.pick(&own).cloned()).collect()
    }
}

impl Part {
    fn name(self) -> String {
        let what = match self.victim {
            Victim::Agent => "agent killed",
            Victim::Everything => "Docker killed too",
        };
        format!("{}, {what}", self.scenario.name())
    }

    /// Other choices for each part and purpose.
    fn dice(self, plan: &Plan, purpose: &str) -> Dice {
        let text = format!("{} {} {purpose}", self.name(), self.share);
        Dice(text.bytes().fold(plan.seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())))
    }

    async fn bench(self) -> Bench {
        let private_engine = self.victim == Victim::Everything;
        Bench::new(World::start_with(Options { private_engine, ..Options::default() }).await, self.scenario)
            .await
    }

    /// Shows the points by a run without a death, then goes through them.
    async fn go_through(self, plan: &Plan) -> Table {
        let (mut table, name) = (Table::default(), self.scenario.name());
        let (row, twice) = match self.victim {
            Victim::Agent => (Row::Agent, Row::AgentTwice),
            Victim::Everything => (Row::Everything, Row::EverythingTwice),
        };
        let mut bench = self.bench().await;
        let shown = attempt(&mut bench, &[], self.victim).await;
        if shown.end == End::Violated {
            table.violate(name, row, "no death at all", &shown.wrong.join("\n  "), &shown.transcript);
            return table;
        }
        let points = plan.points(&shown.trace, self);
        println!("{}: {} of {} points", self.name(), points.len(), shown.trace.len());
        let mut dice = self.dice(plan, "second");
        for (number, point) in points.iter().enumerate() {
            let passage = attempt(&mut bench, &[point], self.victim).await;
            println!("{} {}/{} {point}: {:?}", self.name(), number + 1, points.len(), passage.end);
            table.enter(name, row, point, &passage);
            // All pairs would be ten thousand: one in three points gets a second death, wherever it falls.
            let is_due = !plan.is_whole || number % 3 == 0;
            let second = dice.pick(&passage.trace).filter(|_| is_due).cloned();
            let mut is_spoilt = passage.end == End::Violated;
            if let (false, Some(second)) = (is_spoilt, second) {
                let both = format!("{point}, then {second}");
                let passage = attempt(&mut bench, &[point, &second], self.victim).await;
                println!("{} {}/{} {both}: {:?}", self.name(), number + 1, points.len(), passage.end);
                table.enter(name, twice, &both, &passage);
                is_spoilt = passage.end == End::Violated;
            }
            if is_spoilt {
                bench = self.bench().await;
            }
        }
        table
    }
}

/// A passage whose own failure, such as a world that does not do what it is told, is a violation too.
async fn attempt(bench: &mut Bench, points: &[&str], victim: Victim) -> Passage {
    let passed = AssertUnwindSafe(round::pass(bench, points, victim)).catch_unwind().await;
    passed.unwrap_or_else(|panic| Passage {
        end: End::Violated,
        wrong: vec![words(&*panic)],
        trace: Vec::new(),
        transcript: bench.world.journal(),
    })
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    format!("it broke off: {}", text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default())
}

/// A sequence of choices that a seed repeats: splitmix64.
struct Dice(u64);

impl Dice {
    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let count = u64::try_from(from.len()).ok().filter(|count| *count > 0)?;
        from.get(usize::try_from((mixed ^ (mixed >> 31)) % count).ok()?)
    }
}
