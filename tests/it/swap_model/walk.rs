//! Walks a deployment from a state to every end it can come to, and notes what is wrong on the way.

use std::collections::HashSet;

use homeport::config::project::Order;
use homeport::model::Container;
use homeport::model::RestartPolicy;
use homeport::model::Stage;
use homeport::swap::Act;
use homeport::swap::Ending;
use homeport::swap::Journal;
use homeport::swap::Next;
use homeport::swap::Role;
use homeport::swap::Shown;
use homeport::swap::Slot;
use homeport::swap::Step;
use homeport::swap::View;

use super::docker::Candidate;
use super::docker::Hand;
use super::docker::Model;
use super::docker::hands;
use super::forgotten;

/// An end must be reached within so many steps from anywhere: the driver allows 80.
const MOST_STEPS: usize = 60;

type Machine = fn(&Journal, &Shown) -> Next;

/// What may still happen on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    pub cuts: u32,
    pub hands: u32,
}

/// How many walks came to which end.
#[derive(Debug, Default)]
pub struct Ends {
    pub deployed: u32,
    pub rolled_back: u32,
    pub nothing_before: u32,
    /// The way back is gone.
    pub lost: u32,
    /// It waits for a person to give back what they took.
    pub suspended: u32,
}

/// A walk.
pub struct Walk {
    machine: Machine,
    seen: HashSet<String>,
    pub ends: Ends,
    pub violations: Vec<String>,
}

/// What one step of the agent leads to.
enum Stepped {
    On(Box<Model>),
    Over,
}

impl Walk {
    pub fn new(machine: Machine) -> Self {
        Self { machine, seen: HashSet::new(), ends: Ends::default(), violations: Vec::new() }
    }

    /// Takes every way on from a state, as long as nothing is wrong.
    pub fn from(&mut self, model: Model, budget: Budget) {
        self.follow(model, budget, 0);
    }

    fn follow(&mut self, model: Model, budget: Budget, steps: usize) {
        if !self.violations.is_empty() || !self.seen.insert(format!("{budget:?}{model:?}")) {
            return;
        }
        if steps > MOST_STEPS {
            return self.complain("this does not come to an end", &model);
        }
        self.check_standing(&model);
        if budget.cuts > 0 {
            let budget = Budget { cuts: budget.cuts - 1, ..budget };
            for winner in [Role::New, Role::Old] {
                self.follow(model.docker_dies(winner), budget, 0);
            }
        }
        if budget.hands > 0 {
            let budget = Budget { hands: budget.hands - 1, ..budget };
            for after in hands().filter_map(|hand| model.touched(hand)) {
                self.follow(after, budget, 0);
            }
        }
        // The agent dies and is started again: all that it has is the journal and what Docker shows.
        let mut reborn = model.clone();
        reborn.shown.view = View::Broken;
        self.follow(reborn, budget, steps);
        for next in self.step(&model) {
            match next {
                Stepped::On(next) => self.follow(*next, budget, steps + 1),
                Stepped::Over => {}
            }
        }
    }

    /// One way at random: each number of the dice is a cut, a hand or nothing before the next step.
    pub fn at_random(&mut self, mut model: Model, dice: &[u8]) {
        let all: Vec<Hand> = hands().collect();
        for throw in dice {
            self.check_standing(&model);
            let choice = usize::from(*throw);
            match choice % 8 {
                0 => model = model.docker_dies(if choice % 16 == 0 { Role::New } else { Role::Old }),
                1 => model = model.touched(all[choice / 8 % all.len()]).unwrap_or(model),
                2 => model.shown.view = View::Broken,
                _ => match self.step(&model).into_iter().next_back() {
                    Some(Stepped::On(next)) => model = *next,
                    Some(Stepped::Over) | None => return,
                },
            }
        }
        for _ in 0..MOST_STEPS {
            match self.step(&model).into_iter().next_back() {
                Some(Stepped::On(next)) => model = *next,
                Some(Stepped::Over) | None => return,
            }
        }
        self.complain("this does not come to an end", &model);
    }

    /// What the agent does next, in each way in which it can come out.
    fn step(&mut self, model: &Model) -> Vec<Stepped> {
        let mut after = model.clone();
        match (self.machine)(&model.journal, &model.shown) {
            Next::Act(act) => return self.act(model, act),
            Next::Enter(step) => after.journal.step = step,
            Next::Prove(Role::New) => {
                let runs = model.shown.new.as_ref().is_some_and(Container::is_running);
                if runs && model.candidate == Candidate::Good {
                    after.journal.step = Step::Commit;
                } else {
                    after.fail(Stage::Prove);
                }
            }
            Next::Prove(_) => {
                self.ends.rolled_back += 1;
                self.check_end(model, Role::Old);
                return vec![Stepped::Over];
            }
            Next::End(ending) => {
                self.end(model, &ending);
                return vec![Stepped::Over];
            }
        }
        vec![Stepped::On(Box::new(after))]
    }

    /// As the driver does it: a refusal gives the candidate up, or suspends the deployment.
    fn act(&mut self, model: &Model, act: Act) -> Vec<Stepped> {
        let mut after = model.clone();
        let mut ways = Vec::new();
        if act == Act::HandOver {
            // Cut off in the middle.
            let mut half = model.clone();
            if half.rename(Role::Old, Slot::Previous).is_ok() {
                ways.push(Stepped::On(Box::new(half)));
            }
        }
        match (after.act(act), &model.journal.step) {
            (Ok(()), _) => ways.push(Stepped::On(Box::new(after))),
            (Err(_), Step::Create) => {
                self.ends.suspended += 1;
                ways.push(Stepped::Over);
            }
            (Err(_), Step::Swap | Step::Prove) => {
                let mut after = model.clone();
                after.fail(Stage::Swap);
                ways.push(Stepped::On(Box::new(after)));
            }
            (Err(_), Step::Commit | Step::Rollback(_) | Step::Leave(_)) if model.is_touched => {
                self.ends.suspended += 1;
                ways.push(Stepped::Over);
            }
            (Err(refusal), Step::Commit | Step::Rollback(_) | Step::Leave(_)) => {
                self.complain(&format!("{act:?} is refused: {refusal}"), model);
            }
        }
        ways
    }

    fn end(&mut self, model: &Model, ending: &Ending) {
        match ending {
            Ending::Deployed => {
                self.ends.deployed += 1;
                self.check_end(model, Role::New);
            }
            Ending::NothingBefore(_) => {
                self.ends.nothing_before += 1;
                if model.shown.new.is_some() || model.journal.old.is_some() {
                    self.complain("something is left", model);
                }
            }
            Ending::Lost(_) => {
                self.ends.lost += 1;
                if !model.is_touched {
                    self.complain("the way back is lost, and nobody took it", model);
                }
            }
            Ending::RolledBack(_) | Ending::NotRestored(_) | Ending::Left(_) => {
                self.complain(&format!("an end that cannot be here: {ending:?}"), model);
            }
        }
    }

    /// Of the containers that hold the port there is one at most; and pulling the plug now, with no agent ever
    /// after, leaves the last good version serving, or the new one that has proven itself.
    fn check_standing(&mut self, model: &Model) {
        let running = |model: &Model| model.all().filter(|c| c.is_running()).count();
        if model.journal.order == Order::StopFirst && running(model) > 1 {
            self.complain("two containers on one port", model);
        }
        if model.journal.old.is_none() || model.is_touched {
            return;
        }
        if let Some(wrong) = forgotten::complaint(model) {
            self.complain(&wrong, model);
        }
        for winner in [Role::New, Role::Old] {
            let after = model.docker_dies(winner);
            let is_committed = model.journal.step == Step::Commit || model.journal.committed.is_some();
            let is_good = |c: &Container| c.id.as_str() == "01d" || (c.id.as_str() == "2e" && is_committed);
            let serving: Vec<_> = after.all().filter(|c| c.is_running()).collect();
            if serving.is_empty() || !serving.into_iter().all(is_good) {
                self.complain("a power cut here ends badly", model);
            }
        }
    }

    /// The right one serves, Docker keeps it, and what is beside it is a way back at most.
    fn check_end(&mut self, model: &Model, serving: Role) {
        let Some(current) = model.shown.get(serving) else {
            return self.complain("nothing serves", model);
        };
        // A name that a person took, or changed when all was done, is left to them.
        let is_named = current.name == model.journal.name_of(Slot::Current).as_str()
            || model.shown.taken.contains(&Slot::Current);
        if !is_named || !current.is_running() || current.policy != RestartPolicy::Always {
            self.complain("the service does not stand as it should", model);
        }
        let way_back = model.journal.name_of(Slot::Previous);
        for other in model.all().filter(|c| c.id != current.id) {
            let is_way_back = other.name == way_back.as_str() || model.shown.taken.contains(&Slot::Previous);
            if !is_way_back || other.is_running() || other.policy != RestartPolicy::No {
                self.complain(&format!("{} is left over", other.name), model);
            }
        }
    }

    fn complain(&mut self, what: &str, model: &Model) {
        self.violations.push(format!("{what}:\n{model:#?}"));
    }
}
