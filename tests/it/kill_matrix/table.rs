//! The matrix as a table: what was done, how it ended, and where the record of each violation lies.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::kill_matrix::round::End;
use crate::kill_matrix::round::Passage;

/// What was killed in a row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// The agent, once.
    Agent,
    /// The agent, and again while it took the story up.
    AgentTwice,
    /// Docker and all containers, and the agent.
    Everything,
    /// All of them, and again while the agent took the story up.
    EverythingTwice,
}

impl Row {
    const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent killed",
            Self::AgentTwice => "agent killed twice",
            Self::Everything => "Docker killed too",
            Self::EverythingTwice => "Docker killed twice",
        }
    }
}

/// The counts so far.
#[derive(Debug, Default)]
pub struct Table {
    counts: BTreeMap<(&'static str, Row), BTreeMap<End, usize>>,
    /// A line for each violation.
    pub violations: Vec<String>,
}

impl Table {
    /// Enters a passage.
    pub fn enter(&mut self, scenario: &'static str, row: Row, point: &str, passage: &Passage) {
        *self.counts.entry((scenario, row)).or_default().entry(passage.end).or_default() += 1;
        if passage.end == End::Violated {
            self.violate(scenario, row, point, &passage.wrong.join("\n  "), &passage.transcript);
        }
    }

    /// Notes what is wrong, with a record of the passage in a file.
    pub fn violate(&mut self, scenario: &str, row: Row, point: &str, wrong: &str, transcript: &str) {
        let name = format!("{scenario}-{}-{point}", row.name()).replace([' ', '#', '/', ','], "-");
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/kill-matrix");
        fs::create_dir_all(&folder).expect("make the folder of violations");
        let file = folder.join(format!("{name}.txt"));
        fs::write(&file, format!("{wrong}\n\n{transcript}")).expect("record a violation");
        let line = format!("{scenario}, {} at {point}:\n  {wrong}\n  see {}", row.name(), file.display());
        println!("VIOLATION {line}");
        self.violations.push(line);
    }

    /// Takes another table's counts in.
    pub fn take_in(&mut self, other: Self) {
        for (key, counts) in other.counts {
            let own = self.counts.entry(key).or_default();
            counts.into_iter().for_each(|(end, count)| *own.entry(end).or_default() += count);
        }
        self.violations.extend(other.violations);
    }

    /// The table in text.
    pub fn print(&self) {
        println!(
            "{:<26}{:<20}{:>7}{:>12}{:>12}{:>13}{:>11}",
            "scenario", "", "points", "old serves", "new serves", "not reached", "violated"
        );
        let mut all = 0;
        for ((scenario, row), counts) in &self.counts {
            let of = |end| counts.get(&end).copied().unwrap_or_default();
            let points: usize = counts.values().sum();
            all += points;
            println!(
                "{scenario:<26}{:<20}{points:>7}{:>12}{:>12}{:>13}{:>11}",
                row.name(),
                of(End::OldServes),
                of(End::NewServes),
                of(End::NotReached),
                of(End::Violated)
            );
        }
        println!("{all} passages, {} violations", self.violations.len());
        self.violations.iter().for_each(|line| println!("- {line}"));
    }
}
