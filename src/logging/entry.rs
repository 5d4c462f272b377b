//! How a line of a run log looks, and which lines are remembered for the mail. Pure.

use std::collections::VecDeque;

use crate::logging::output_limit::Admission;
use crate::logging::output_limit::OutputLimit;
use crate::model::Stage;

/// How many lines of each stage are kept for the mail.
const LAST_LINES: usize = 30;

/// Adds a line of a program's output to a batch, as far as the run's limit lets it.
pub fn admit_output(batch: &mut String, limit: &mut OutputLimit, now: &str, stage: Stage, line: &str) {
    match limit.admit(entry(now, Some(stage), "| ", line)) {
        Admission::Write(line) => batch.push_str(&line),
        Admission::FirstKeptBack => {
            let note = "the limit of output per run is reached: only the end of what follows is kept, \
                        and written when the stage ends";
            batch.push_str(&entry(now, Some(stage), "", note));
        }
        Admission::KeptBack => {}
    }
}

/// One line of the file. Without a stage the word `run` stands in its column.
pub fn entry(now: &str, stage: Option<Stage>, mark: &str, text: &str) -> String {
    let stage = stage.map_or("run", Stage::word);
    format!("{now} {stage:<8}  {mark}{text}\n")
}

/// Keeps a line, and of all kept lines only the last.
pub fn remember(last_lines: &mut VecDeque<String>, line: String) {
    if last_lines.len() == LAST_LINES {
        last_lines.pop_front();
    }
    last_lines.push_back(line);
}
