//! The deploy transaction walked through every state it can reach: after each effect the agent may die,
//! Docker may die, and the proof may end either way. A small model of Docker stands in for the engine.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::time::Duration;

use chrono::DateTime;
use homeport::config::settings::ContainerSpec;
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
use homeport::swap::Ending;
use homeport::swap::Journal;
use homeport::swap::Next;
use homeport::swap::Role;
use homeport::swap::Shown;
use homeport::swap::Step;
use homeport::swap::next;

const RUNNING: Life = Life::Running { since: DateTime::UNIX_EPOCH };
const KILLED: Life = Life::Exited { code: 255, out_of_memory: false };

/// Docker and the journal at one instant.
#[derive(Debug, Clone)]
struct Model {
    journal: Journal,
    shown: Shown,
    /// Whether Docker has died on the way here: once is enough to reach every state.
    docker_died: bool,
    /// Whether the candidate would hold if it were proven.
    candidate_is_good: bool,
}

impl Model {
    fn new(with_old: bool, with_older: bool, candidate_is_good: bool) -> Self {
        let release = Release {
            tag: "2".parse().unwrap(),
            digest: format!("sha256:{}", "2".repeat(64)).parse().unwrap(),
        };
        let spec = ContainerSpec {
            name: "web".parse().unwrap(),
            ports: Vec::new(),
            env: BTreeMap::new(),
            volumes: Vec::new(),
            network: None,
            stop_grace: Duration::from_secs(1),
        };
        let old = with_old.then(|| container("01d", "web", RUNNING, RestartPolicy::Always));
        let older = with_older.then(|| container("01de4", "web.previous", KILLED, RestartPolicy::No));
        let journal = Journal {
            run: RunNumber(2),
            project: "web".parse().unwrap(),
            made_by: RunNumber(2),
            candidate: release,
            image_id: String::new(),
            spec,
            step: Step::Create,
            old: old.as_ref().map(|c| c.id.clone()),
            older: older.as_ref().map(|c| c.id.clone()),
        };
        Self { journal, shown: Shown { new: None, old, older }, docker_died: false, candidate_is_good }
    }

    fn get(&mut self, role: Role) -> &mut Option<Container> {
        match role {
            Role::New => &mut self.shown.new,
            Role::Old => &mut self.shown.old,
            Role::Older => &mut self.shown.older,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Container> {
        [&self.shown.new, &self.shown.old, &self.shown.older].into_iter().flatten()
    }

    /// What the effect does to Docker; `Err` where Docker would refuse it.
    fn act(&mut self, act: Act) -> Result<(), String> {
        match act {
            Act::Create => {
                let mut new = container("2e", "web.next", Life::Created, RestartPolicy::No);
                new.labels.insert(LABEL_RUN.to_owned(), "2".to_owned());
                self.shown.new = Some(new);
            }
            Act::SetPolicy(role, policy) => self.get(role).as_mut().unwrap().policy = policy,
            Act::Stop(role) => self.get(role).as_mut().unwrap().life = KILLED,
            Act::Start(role) => {
                if self.all().any(Container::is_running) {
                    return Err("port is already allocated".to_owned());
                }
                self.get(role).as_mut().unwrap().life = RUNNING;
            }
            Act::Rename(role, slot) => {
                let name = slot.name(&self.journal.spec).to_string();
                if self.all().any(|c| c.name == name) {
                    return Err(format!("the name {name} is taken"));
                }
                self.get(role).as_mut().unwrap().name = name;
            }
            Act::Bury(role) | Act::Remove(role) => {
                let gone = self.get(role).take().unwrap();
                assert!(!gone.is_running(), "a running container is removed");
            }
        }
        Ok(())
    }

    /// Docker dies and comes back: it starts what its policies say; `winner` gets the port first.
    fn docker_dies(&self, winner: Role) -> Self {
        let mut after = self.clone();
        after.docker_died = true;
        for role in [Role::New, Role::Old, Role::Older] {
            if let Some(container) = after.get(role).as_mut().filter(|c| c.life != Life::Created) {
                container.life = KILLED;
            }
        }
        for role in [winner, Role::New, Role::Old, Role::Older] {
            let taken = after.all().any(Container::is_running);
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

    fn fail(&mut self, stage: Stage, reason: &str) {
        let failure = Failure { stage, blame: Blame::Image, reason: reason.to_owned() };
        self.journal.step = Step::Rollback(failure);
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

/// Where a walk ended.
#[derive(Debug, Default)]
struct Walked {
    seen: HashSet<String>,
    deployed: u32,
    rolled_back: u32,
    nothing_before: u32,
}

/// Takes every way on from a state. The agent's own death changes nothing in the model: the next thing to
/// do is derived from journal and Docker alone, which is all that start-up has.
fn walk(model: Model, walked: &mut Walked) {
    if !walked.seen.insert(format!("{model:?}")) {
        return;
    }
    check_docker_alone_restores_service(&model);
    if !model.docker_died {
        walk(model.docker_dies(Role::New), walked);
        walk(model.docker_dies(Role::Old), walked);
    }
    let mut after = model.clone();
    match next(&model.journal, &model.shown) {
        Next::Act(act) => {
            if let Err(refusal) = after.act(act) {
                match act {
                    Act::Start(Role::New) => after.fail(Stage::Swap, &refusal),
                    _ => panic!("{act:?} was refused: {refusal}\n{model:#?}"),
                }
            }
            walk(after, walked);
        }
        Next::Enter(step) => {
            after.journal.step = step;
            walk(after, walked);
        }
        Next::Prove(Role::New) => {
            let runs = model.shown.new.as_ref().is_some_and(Container::is_running);
            if runs && model.candidate_is_good {
                after.journal.step = Step::Commit;
            } else {
                after.fail(Stage::Prove, "it did not hold");
            }
            walk(after, walked);
        }
        Next::Prove(_) => {
            assert_eq!(names_running(&model), ["web"], "{model:#?}");
            check_end(&model, "01d");
            walked.rolled_back += 1;
        }
        Next::End(Ending::Deployed) => {
            check_end(&model, "2e");
            walked.deployed += 1;
        }
        Next::End(Ending::NothingBefore(_)) => {
            assert!(model.shown.new.is_none() && model.journal.old.is_none(), "{model:#?}");
            walked.nothing_before += 1;
        }
        Next::End(ending) => panic!("{ending:?} in\n{model:#?}"),
    }
}

fn names_running(model: &Model) -> Vec<&str> {
    model.all().filter(|c| c.is_running()).map(|c| c.name.as_str()).collect()
}

/// Pulling the plug now, with no agent ever after: the last good version, or the new one that has proven
/// itself, is what Docker brings back.
fn check_docker_alone_restores_service(model: &Model) {
    if model.journal.old.is_none() {
        return;
    }
    for winner in [Role::New, Role::Old] {
        let after = model.docker_dies(winner);
        let serving: Vec<_> = after.all().filter(|c| c.is_running()).collect();
        let is_proven = matches!(model.journal.step, Step::Commit);
        let is_good = |c: &&Container| c.id.as_str() == "01d" || (c.id.as_str() == "2e" && is_proven);
        assert!(
            serving.len() == 1 && serving.iter().all(is_good),
            "a power cut here ends badly:\n{model:#?}"
        );
    }
}

fn check_end(model: &Model, serving: &str) {
    let at = |name: &str| model.all().find(|c| c.name == name);
    let current = at("web").unwrap();
    assert_eq!(current.id.as_str(), serving, "{model:#?}");
    assert!(current.is_running() && current.policy == RestartPolicy::Always, "{model:#?}");
    for other in model.all().filter(|c| c.name != "web") {
        assert!(other.name == "web.previous", "left over: {other:?}");
        assert!(!other.is_running() && other.policy == RestartPolicy::No, "{model:#?}");
    }
}

#[test]
fn a_good_candidate_is_deployed_or_the_cut_is_undone_from_every_state() {
    for (with_old, with_older) in [(true, true), (true, false), (false, false)] {
        let mut walked = Walked::default();
        walk(Model::new(with_old, with_older, true), &mut walked);
        assert!(walked.deployed > 0, "{walked:?}");
        assert_eq!(walked.rolled_back > 0, with_old, "Docker's death while proving leads back: {walked:?}");
    }
}

#[test]
fn a_bad_candidate_never_serves_in_the_end() {
    for (with_old, with_older) in [(true, true), (true, false), (false, false)] {
        let mut walked = Walked::default();
        walk(Model::new(with_old, with_older, false), &mut walked);
        assert_eq!(walked.deployed, 0, "{walked:?}");
        assert!(walked.rolled_back + walked.nothing_before > 0, "{walked:?}");
    }
}
