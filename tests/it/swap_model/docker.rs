//! Docker in small: at most three containers with their names, policies and lives, one port, and what a power cut
//! and a person do to them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::DateTime;
use homeport::config::project::Order;
use homeport::config::settings::ContainerSpec;
use homeport::config::settings::Proof;
use homeport::model::Blame;
use homeport::model::Container;
use homeport::model::ContainerId;
use homeport::model::Failure;
use homeport::model::LABEL_RUN;
use homeport::model::Life;
use homeport::model::Release;
use homeport::model::RestartPolicy;
use homeport::model::RunNumber;
use homeport::model::Stage;
use homeport::swap::Act;
use homeport::swap::Journal;
use homeport::swap::Role;
use homeport::swap::Shown;
use homeport::swap::Slot;
use homeport::swap::Step;
use homeport::swap::View;

const RUNNING: Life = Life::Running { since: DateTime::UNIX_EPOCH };
const KILLED: Life = Life::Exited { code: 255, out_of_memory: false };

pub const ROLES: [Role; 3] = [Role::New, Role::Old, Role::Older];

/// What stands when the deployment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum House {
    /// Nothing.
    Empty,
    /// A service and its way back.
    Settled,
    /// A service without a way back.
    Young,
    /// A service and its way back, under a name that the configuration used to say.
    Renamed,
    /// A committed candidate that is to be taken back, and the way back behind it.
    TakenBack,
}

/// Whether the candidate would hold if it were proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidate {
    Good,
    Bad,
}

/// What a person does with a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    Stop(Role),
    Remove(Role),
    Rename(Role),
    /// `docker container prune`: everything that does not run goes.
    Prune,
    /// A container of their own, stopped, takes a name of ours if it is free.
    TakeName(Slot),
}

/// Docker and the journal at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    pub journal: Journal,
    pub shown: Shown,
    pub candidate: Candidate,
    /// Whether a person has interfered: then the way back may be gone, by their own act.
    pub is_touched: bool,
}

impl Model {
    pub fn new(house: House, order: Order, candidate: Candidate) -> Self {
        let old = match house {
            House::Empty => None,
            House::Settled | House::Young => Some(container("01d", "web", RUNNING, RestartPolicy::Always)),
            House::Renamed => Some(container("01d", "shop", RUNNING, RestartPolicy::Always)),
            House::TakenBack => Some(container("01d", "web.previous", KILLED, RestartPolicy::No)),
        };
        let older = match house {
            House::Settled => Some("web.previous"),
            House::Renamed => Some("shop.previous"),
            House::Empty | House::Young | House::TakenBack => None,
        };
        let older = older.map(|name| container("01de4", name, KILLED, RestartPolicy::No));
        let new = (house == House::TakenBack).then(|| container("2e", "web", RUNNING, RestartPolicy::Always));
        let journal = Journal {
            run: RunNumber(2),
            project: "web".parse().unwrap(),
            attempt: 0,
            committed: new.as_ref().map(|c| c.id.clone()),
            candidate: Release {
                tag: "2".parse().unwrap(),
                digest: format!("sha256:{}", "2".repeat(64)).parse().unwrap(),
            },
            image_id: String::new(),
            spec: spec(),
            order,
            step: if new.is_some() { Step::Rollback(failure(Stage::Prove)) } else { Step::Create },
            old: old.as_ref().map(|c| c.id.clone()),
            older: older.as_ref().map(|c| c.id.clone()),
            former_name: (house == House::Renamed).then(|| "shop".parse().unwrap()),
            restoring: None,
        };
        // As the labels of the runs that made them.
        let of_run = |container: Option<Container>, run: &str| {
            container.map(|mut container| {
                container.labels.insert(LABEL_RUN.to_owned(), run.to_owned());
                container
            })
        };
        let (new, old, older) = (of_run(new, "2"), of_run(old, "1"), of_run(older, "0"));
        let shown = Shown { new, old, older, taken: Vec::new(), view: View::Whole };
        Self { journal, shown, candidate, is_touched: false }
    }

    pub fn get(&mut self, role: Role) -> &mut Option<Container> {
        match role {
            Role::New => &mut self.shown.new,
            Role::Old => &mut self.shown.old,
            Role::Older => &mut self.shown.older,
        }
    }

    pub fn all(&self) -> impl Iterator<Item = &Container> {
        [&self.shown.new, &self.shown.old, &self.shown.older].into_iter().flatten()
    }

    /// What the effect does to Docker; `Err` where Docker would refuse it.
    pub fn act(&mut self, act: Act) -> Result<(), String> {
        match act {
            Act::Create => {
                if self.shown.taken.contains(&Slot::Next) {
                    return Err("the name web.next is taken".to_owned());
                }
                let mut new = container("2e", "web.next", Life::Created, RestartPolicy::No);
                new.labels.insert(LABEL_RUN.to_owned(), "2".to_owned());
                self.shown.new = Some(new);
            }
            Act::SetPolicy(role, policy) => self.get(role).as_mut().unwrap().policy = policy,
            Act::Stop(role) => self.get(role).as_mut().unwrap().life = KILLED,
            Act::Drain => self.shown.old.as_mut().unwrap().life = KILLED,
            Act::Start(role) => {
                if self.is_port_taken() {
                    return Err("port is already allocated".to_owned());
                }
                self.get(role).as_mut().unwrap().life = RUNNING;
                if role == Role::New {
                    self.shown.view = View::Whole;
                }
            }
            Act::Rename(role, slot) => self.rename(role, slot)?,
            Act::HandOver => {
                self.rename(Role::Old, Slot::Previous)?;
                self.rename(Role::New, Slot::Current)?;
            }
            Act::Bury(role) | Act::Remove(role) => {
                let gone = self.get(role).take().unwrap();
                assert!(!gone.is_running(), "a running container is removed");
            }
        }
        Ok(())
    }

    pub fn rename(&mut self, role: Role, slot: Slot) -> Result<(), String> {
        let name = self.journal.name_of(slot).to_string();
        if self.all().any(|c| c.name == name) || self.shown.taken.contains(&slot) {
            return Err(format!("the name {name} is taken"));
        }
        self.get(role).as_mut().unwrap().name = name;
        Ok(())
    }

    /// Stop-first, the service publishes a port, which one container at a time can hold.
    fn is_port_taken(&self) -> bool {
        self.journal.order == Order::StopFirst && self.all().any(Container::is_running)
    }

    /// Docker dies and comes back: it starts what its policies say; `winner` gets the port first.
    pub fn docker_dies(&self, winner: Role) -> Self {
        let mut after = self.clone();
        after.shown.view = View::Broken;
        for role in ROLES {
            if let Some(container) = after.get(role).as_mut().filter(|c| c.life != Life::Created) {
                container.life = KILLED;
            }
        }
        for role in [winner, Role::New, Role::Old, Role::Older] {
            let taken = after.is_port_taken();
            if let Some(container) = after.get(role).as_mut()
                && container.policy == RestartPolicy::Always
                && container.life != Life::Created
                && !taken
            {
                container.life = RUNNING;
            }
        }
        after
    }

    /// What a person may do here, and what it leads to.
    pub fn touched(&self, hand: Hand) -> Option<Self> {
        let mut after = self.clone();
        after.is_touched = true;
        match hand {
            Hand::Stop(role) => after.get(role).as_mut().filter(|c| c.is_running())?.life = KILLED,
            Hand::Remove(role) => drop(after.get(role).take()?),
            Hand::Rename(role) => {
                let container = after.get(role).as_mut()?;
                container.name = format!("mine-{}", container.id.as_str());
            }
            Hand::Prune => {
                for role in ROLES {
                    after.get(role).take_if(|c| !c.is_running());
                }
            }
            Hand::TakeName(slot) => {
                let name = slot.name(&self.journal.spec);
                let is_free =
                    !self.all().any(|c| c.name == name.as_str()) && !self.shown.taken.contains(&slot);
                is_free.then(|| after.shown.taken.push(slot))?;
            }
        }
        (after != *self).then_some(after)
    }

    pub fn fail(&mut self, stage: Stage) {
        self.journal.step = Step::Rollback(failure(stage));
    }
}

/// Everything that a person may do.
pub fn hands() -> impl Iterator<Item = Hand> {
    let to_one =
        ROLES.into_iter().flat_map(|role| [Hand::Stop(role), Hand::Remove(role), Hand::Rename(role)]);
    to_one.chain([Hand::Prune]).chain(Slot::ALL.map(Hand::TakeName))
}

fn failure(stage: Stage) -> Failure {
    Failure { stage, blame: Blame::Image, reason: "it did not hold".to_owned() }
}

fn spec() -> ContainerSpec {
    ContainerSpec {
        name: "web".parse().unwrap(),
        ports: Vec::new(),
        env: BTreeMap::new(),
        volumes: Vec::new(),
        labels: BTreeMap::new(),
        network: None,
        stop_grace: Duration::from_secs(1),
        proof: Proof::default(),
    }
}

fn container(id: &str, name: &str, life: Life, policy: RestartPolicy) -> Container {
    Container {
        id: id.parse::<ContainerId>().unwrap(),
        name: name.to_owned(),
        image_id: String::new(),
        labels: BTreeMap::new(),
        policy,
        life,
        restarts: 0,
        health: None,
        address: None,
    }
}
