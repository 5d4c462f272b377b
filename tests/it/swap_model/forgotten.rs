//! A deployment whose journal is lost at this very moment: what the containers alone say must lead to one service.

use homeport::model::Container;
use homeport::model::RestartPolicy;
use homeport::swap::Act;
use homeport::swap::Role;
use homeport::swap::Settled;
use homeport::swap::Settling;
use homeport::swap::Step;
use homeport::swap::settle;

use super::docker::Model;
use super::docker::ROLES;

const MOST_STEPS: u32 = 30;

/// What is wrong with where it leads from here; also if it is cut off by the death of Docker anywhere.
pub fn complaint(model: &Model) -> Option<String> {
    let mut forgotten = model.clone();
    // The service's former name is forgotten too: what counts is what the configuration says.
    forgotten.journal.former_name = None;
    follow(&forgotten, true)
}

fn follow(model: &Model, may_cut: bool) -> Option<String> {
    let mut now = model.clone();
    for _ in 0..MOST_STEPS {
        if may_cut {
            for winner in [Role::New, Role::Old] {
                if let Some(wrong) = follow(&now.docker_dies(winner), false) {
                    return Some(format!("after a cut at\n{now:#?}\n{wrong}"));
                }
            }
        }
        let all: Vec<Container> = now.all().cloned().collect();
        let next = settle(&now.journal.spec, &all, &[]);
        let role = |id: &_| ROLES.into_iter().find(|role| now.shown.get(*role).is_some_and(|c| c.id == *id));
        let done = match &next {
            Settling::Settled(settled) => return check(model, &now, settled),
            Settling::SetPolicy(id, policy) => now.act(Act::SetPolicy(role(id)?, *policy)),
            Settling::Stop(id) => now.act(Act::Stop(role(id)?)),
            Settling::Start(id) => now.act(Act::Start(role(id)?)),
            Settling::Remove(id) => now.act(Act::Remove(role(id)?)),
            Settling::Rename(id, slot) => now.rename(role(id)?, *slot),
        };
        if let Err(refusal) = done {
            return Some(format!("{next:?} is refused: {refusal}\n{now:#?}"));
        }
    }
    Some(format!("this does not come to rest: {now:#?}"))
}

fn check(before: &Model, after: &Model, settled: &Settled) -> Option<String> {
    let is_committed = before.journal.step == Step::Commit || before.journal.committed.is_some();
    let is_empty = before.journal.old.is_none();
    let is_good =
        |c: &Container| c.id.as_str() == "01d" || (c.id.as_str() == "2e" && (is_committed || is_empty));
    let serves = |c: &Container| {
        Some(&c.id) == settled.serving.as_ref() && c.name == "web" && c.policy == RestartPolicy::Always
    };
    let is_behind = |c: &Container| {
        Some(&c.id) == settled.previous.as_ref()
            && c.name == "web.previous"
            && c.policy == RestartPolicy::No
            && !c.is_running()
    };
    // Nobody knows any more whether a person put it there.
    let is_left =
        |c: &Container| c.name == "shop.previous" && c.policy == RestartPolicy::No && !c.is_running();
    let serving = after.all().filter(|c| c.is_running()).count();
    let is_well = match serving {
        0 => is_empty && after.all().next().is_none(),
        1 => after
            .all()
            .all(|c| if c.is_running() { serves(c) && is_good(c) } else { is_behind(c) || is_left(c) }),
        _ => false,
    };
    (!is_well).then(|| format!("forgotten here, it ends badly:\n{before:#?}\n{after:#?}"))
}
