//! Keeps the output of a run within a number of bytes: the head is let through, what comes later is
//! left out, except for the last of it, which is given back at the end of the stage. Pure.

use std::collections::VecDeque;

/// How much of the end of a stage's output is kept once the limit is reached, in bytes.
const TAIL: usize = 64 * 1024;

/// The account of one run.
#[derive(Debug)]
pub struct OutputLimit {
    /// Bytes that may still pass.
    room: usize,
    tail: VecDeque<String>,
    tail_bytes: usize,
    dropped_lines: u64,
    dropped_bytes: u64,
    announced: bool,
}

/// What is to be done with a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// Write it.
    Write(String),
    /// It is kept back; it is the first of this stage, which is worth a note.
    FirstKeptBack,
    /// It is kept back.
    KeptBack,
}

/// What was kept back when a stage ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Remainder {
    /// Lines that are lost.
    pub dropped_lines: u64,
    /// Their length together, in bytes.
    pub dropped_bytes: u64,
    /// The last lines, oldest first.
    pub tail: Vec<String>,
}

impl OutputLimit {
    /// A run that may put out `bytes`.
    pub const fn new(bytes: usize) -> Self {
        Self {
            room: bytes,
            tail: VecDeque::new(),
            tail_bytes: 0,
            dropped_lines: 0,
            dropped_bytes: 0,
            announced: false,
        }
    }

    /// Takes a finished line with its line end.
    pub fn admit(&mut self, line: String) -> Admission {
        if !self.announced && line.len() <= self.room {
            self.room -= line.len();
            return Admission::Write(line);
        }
        self.room = 0;
        self.tail_bytes += line.len();
        self.tail.push_back(line);
        while self.tail_bytes > TAIL {
            let Some(oldest) = self.tail.pop_front() else { break };
            self.tail_bytes -= oldest.len();
            self.dropped_lines += 1;
            self.dropped_bytes += oldest.len() as u64;
        }
        if std::mem::replace(&mut self.announced, true) {
            Admission::KeptBack
        } else {
            Admission::FirstKeptBack
        }
    }

    /// Ends a stage: gives what was kept back, if anything was.
    pub fn end_stage(&mut self) -> Option<Remainder> {
        self.announced.then(|| {
            let next = Self::new(self.room);
            let ended = std::mem::replace(self, next);
            Remainder {
                dropped_lines: ended.dropped_lines,
                dropped_bytes: ended.dropped_bytes,
                tail: ended.tail.into(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::Admission;
    use super::OutputLimit;
    use super::TAIL;

    #[test]
    fn the_head_passes_and_the_end_is_given_back() {
        let mut limit = OutputLimit::new(10);
        assert_eq!(limit.admit("123456\n".into()), Admission::Write("123456\n".into()));
        assert_eq!(limit.admit("7890\n".into()), Admission::FirstKeptBack);
        assert_eq!(limit.admit("x\n".into()), Admission::KeptBack);
        let rest = limit.end_stage().unwrap();
        assert_eq!((rest.dropped_lines, rest.dropped_bytes), (0, 0));
        assert_eq!(rest.tail, ["7890\n", "x\n"]);
        assert_eq!(limit.end_stage(), None);
    }

    #[test]
    fn the_end_itself_is_limited_and_the_loss_counted() {
        let mut limit = OutputLimit::new(0);
        let line = "y".repeat(1024);
        for _ in 0..100 {
            limit.admit(line.clone());
        }
        let rest = limit.end_stage().unwrap();
        assert_eq!(rest.tail.len(), TAIL / 1024);
        assert_eq!((rest.dropped_lines, rest.dropped_bytes), (36, 36 * 1024));
    }

    #[test]
    fn a_later_stage_keeps_its_own_end() {
        let mut limit = OutputLimit::new(0);
        limit.admit("a\n".into());
        limit.end_stage();
        assert_eq!(limit.admit("b\n".into()), Admission::FirstKeptBack);
        assert_eq!(limit.end_stage().unwrap().tail, ["b\n"]);
    }
}
