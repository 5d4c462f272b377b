//! The deploy transaction as a state machine: what the journal says, and what Docker shows, in; the one
//! next thing to do, out. Start-up recovery is the same function, called on whatever a crash left.
//!
//! Every answer is derived from what Docker shows *now*, never from what was done a moment ago. So each
//! effect may be cut off before or after it took place, and asking again is always right.
//!
//! Two rules keep the house from ever standing empty:
//!
//! - The container that is known to be good has restart policy `always` from before it is stopped until
//!   its successor has it too. Docker starts such a container after a power cut even if it was stopped
//!   through the API, so Docker alone brings the last good version back, with or without homeport.
//! - The candidate has policy `no` until it has proven itself, and never starts by itself before.
//!
//! Names are changed while the old container still serves: between its stop and the candidate's start
//! nothing else happens, which keeps the gap of service as short as Docker itself allows.

mod journal;

pub use journal::Act;
pub use journal::Ending;
pub use journal::Journal;
pub use journal::Next;
pub use journal::Role;
pub use journal::Shown;
pub use journal::Slot;
pub use journal::Step;

use crate::model::Blame;
use crate::model::Container;
use crate::model::Failure;
use crate::model::Life;
use crate::model::RestartPolicy;
use crate::model::Stage;

/// The next thing to do for a deployment, given what Docker shows.
pub fn next(journal: &Journal, shown: &Shown) -> Next {
    match &journal.step {
        Step::Create => create(shown),
        Step::Swap => swap(journal, shown),
        Step::Prove => prove(shown),
        Step::Commit => commit(journal, shown),
        Step::Rollback(failure) => rollback(journal, shown, failure),
    }
}

fn create(shown: &Shown) -> Next {
    match shown.new {
        None => Next::Act(Act::Create),
        Some(_) => Next::Enter(Step::Swap),
    }
}

fn swap(journal: &Journal, shown: &Shown) -> Next {
    let Some(new) = &shown.new else {
        return give_up(Blame::World, "the new container vanished before it was started");
    };
    if new.life != Life::Created {
        return Next::Enter(Step::Prove);
    }
    if let Some(act) = shown.old.as_ref().and_then(|old| ensure_policy(Role::Old, old, RestartPolicy::Always))
    {
        return act;
    }
    let places = [(Role::Older, Slot::Before), (Role::Old, Slot::Previous), (Role::New, Slot::Current)];
    if let Some(act) = ensure_names(journal, shown, &places) {
        return act;
    }
    match &shown.old {
        Some(old) if occupies_the_port(old) => Next::Act(Act::Stop(Role::Old)),
        Some(_) | None => Next::Act(Act::Start(Role::New)),
    }
}

fn prove(shown: &Shown) -> Next {
    match (&shown.new, &shown.old) {
        (None, _) => {
            give_up(Blame::World, "the new container was removed by someone while it was being proven")
        }
        // Docker came back after a power cut or an upgrade: it started the old one, by its policy, and left
        // the candidate. That says nothing against the image.
        (Some(new), Some(old)) if !new.is_running() && occupies_the_port(old) => {
            give_up(Blame::World, "Docker was restarted while the new container was being proven")
        }
        (Some(_), _) => Next::Prove(Role::New),
    }
}

/// Forward only. The candidate gets `always` before the old one loses it: a cut between the two leaves
/// both, one of which wins the port; the other order would leave neither.
fn commit(journal: &Journal, shown: &Shown) -> Next {
    let Some(new) = &shown.new else {
        return give_up(Blame::World, "the new container was removed by someone just after it was proven");
    };
    if let Some(act) = ensure_policy(Role::New, new, RestartPolicy::Always) {
        return act;
    }
    if let Some(old) = &shown.old {
        if let Some(act) = ensure_policy(Role::Old, old, RestartPolicy::No) {
            return act;
        }
        if occupies_the_port(old) {
            return Next::Act(Act::Stop(Role::Old));
        }
    }
    if !occupies_the_port(new) {
        return Next::Act(Act::Start(Role::New));
    }
    let places = [(Role::Old, Slot::Previous), (Role::New, Slot::Current)];
    if let Some(act) = ensure_names(journal, shown, &places) {
        return act;
    }
    match shown.older {
        Some(_) => Next::Act(Act::Remove(Role::Older)),
        None => Next::End(Ending::Deployed),
    }
}

/// Service first, tidiness after: the old container is started before the failed one is looked into.
fn rollback(journal: &Journal, shown: &Shown, failure: &Failure) -> Next {
    if let Some(act) = shown.old.as_ref().and_then(|old| ensure_policy(Role::Old, old, RestartPolicy::Always))
    {
        return act;
    }
    if let Some(new) = &shown.new {
        if let Some(act) = ensure_policy(Role::New, new, RestartPolicy::No) {
            return act;
        }
        if occupies_the_port(new) {
            return Next::Act(Act::Stop(Role::New));
        }
    }
    if shown.old.as_ref().is_some_and(|old| !occupies_the_port(old)) {
        return Next::Act(Act::Start(Role::Old));
    }
    if shown.new.is_some() {
        return Next::Act(Act::Bury(Role::New));
    }
    let places = [(Role::Old, Slot::Current), (Role::Older, Slot::Previous)];
    if let Some(act) = ensure_names(journal, shown, &places) {
        return act;
    }
    match (&shown.old, &journal.old) {
        (Some(_), _) => Next::Prove(Role::Old),
        (None, Some(_)) => Next::End(Ending::Lost(failure.clone())),
        (None, None) => Next::End(Ending::NothingBefore(failure.clone())),
    }
}

fn give_up(blame: Blame, reason: &str) -> Next {
    Next::Enter(Step::Rollback(Failure { stage: Stage::Prove, blame, reason: reason.to_owned() }))
}

/// A paused or restarting container holds its port as a running one does.
const fn occupies_the_port(container: &Container) -> bool {
    match container.life {
        Life::Running { .. } | Life::Paused | Life::Restarting => true,
        Life::Created | Life::Exited { .. } | Life::Dead => false,
    }
}

fn ensure_policy(role: Role, container: &Container, policy: RestartPolicy) -> Option<Next> {
    (container.policy != policy).then_some(Next::Act(Act::SetPolicy(role, policy)))
}

fn ensure_names(journal: &Journal, shown: &Shown, places: &[(Role, Slot)]) -> Option<Next> {
    places.iter().find_map(|&(role, slot)| {
        let container = shown.get(role)?;
        (container.name != slot.name(&journal.spec).as_str()).then_some(Next::Act(Act::Rename(role, slot)))
    })
}
