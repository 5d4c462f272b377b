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
//! Stop-first, names are changed while the old container still serves: between its stop and the candidate's
//! start nothing else happens, which keeps the gap of service as short as Docker itself allows. Start-first,
//! both run, and what is handed over is the name by which a reverse proxy finds the service.
//!
//! A deployment that fails and finds no old container that holds becomes, within the same run, the deployment
//! of an older release that held: the same machine, with [`Journal::restoring`] set.

mod journal;
mod retreat;
mod settle;

pub use journal::Act;
pub use journal::Ending;
pub use journal::Journal;
pub use journal::Next;
pub use journal::Restoring;
pub use journal::Role;
pub use journal::Shown;
pub use journal::Slot;
pub use journal::Step;
pub use journal::Tried;
pub use journal::View;
pub use settle::Settled;
pub use settle::Settling;
pub use settle::run_of;
pub use settle::settle;

use crate::config::project::Order;
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
        Step::Swap => match journal.order {
            Order::StopFirst => swap(journal, shown),
            Order::StartFirst => start_beside(journal, shown),
        },
        Step::Prove => prove(journal, shown),
        Step::Commit => commit(journal, shown),
        Step::Rollback(failure) => retreat::rollback(journal, shown, failure),
        Step::Leave(failure) => retreat::leave(journal, shown, failure),
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
        return give_up(Stage::Swap, "the new container vanished before it was started");
    };
    if new.life != Life::Created {
        return Next::Enter(Step::Prove);
    }
    if let Some(act) = shown.old.as_ref().and_then(|old| ensure_policy(Role::Old, old, RestartPolicy::Always))
    {
        return act;
    }
    let places = [(Role::Older, Slot::Before), (Role::Old, Slot::Previous), (Role::New, Slot::Current)];
    if let Some(refusal) = refuse_taken_names(journal, shown, &places) {
        return refusal;
    }
    if let Some(act) = ensure_names(journal, shown, &places) {
        return act;
    }
    match &shown.old {
        Some(old) if is_up(old) => Next::Act(Act::Stop(Role::Old)),
        Some(_) | None => Next::Act(Act::Start(Role::New)),
    }
}

/// The old container goes on serving under its name, and the new one is asked at its own address.
fn start_beside(journal: &Journal, shown: &Shown) -> Next {
    let Some(new) = &shown.new else {
        return give_up(Stage::Swap, "the new container vanished before it was started");
    };
    if new.life != Life::Created {
        return Next::Enter(Step::Prove);
    }
    let places = [(Role::Old, Slot::Previous), (Role::New, Slot::Current)];
    if let Some(refusal) = refuse_taken_names(journal, shown, &places) {
        return refusal;
    }
    match shown.old.as_ref().and_then(|old| ensure_policy(Role::Old, old, RestartPolicy::Always)) {
        Some(act) => act,
        None => Next::Act(Act::Start(Role::New)),
    }
}

fn prove(journal: &Journal, shown: &Shown) -> Next {
    let Some(new) = &shown.new else {
        return give_up(Stage::Prove, "the new container was removed by someone while it was being proven");
    };
    if is_up(new) {
        return Next::Prove(Role::New);
    }
    match (journal.order, &shown.old, shown.view) {
        // Docker came back after a power cut or an upgrade: it started the old one, by its policy, and left
        // the candidate. That says nothing against the image.
        (Order::StopFirst, Some(old), _) if is_up(old) => {
            give_up(Stage::Prove, "Docker was restarted while the new container was being proven")
        }
        // Whether it ended by itself, nobody saw: started once more, it shows it again.
        (_, _, View::Broken) => Next::Act(Act::Start(Role::New)),
        (_, _, View::Whole) => Next::Prove(Role::New),
    }
}

/// Forward only. The candidate gets `always` before the old one loses it: a cut between the two leaves
/// both, one of which wins the port; the other order would leave neither.
fn commit(journal: &Journal, shown: &Shown) -> Next {
    let Some(new) = &shown.new else {
        return give_up(Stage::Commit, "the new container was removed by someone just after it was proven");
    };
    if let Some(act) = ensure_policy(Role::New, new, RestartPolicy::Always) {
        return act;
    }
    let replaced = match journal.order {
        Order::StopFirst => replace(shown, new),
        Order::StartFirst => hand_over(journal, shown, new),
    };
    if let Some(act) = replaced {
        return act;
    }
    // Where nothing served, or someone removed it, the way back is the one before it still.
    let way_back = if shown.old.is_some() { Role::Old } else { Role::Older };
    let places = [(way_back, Slot::Previous), (Role::New, Slot::Current)];
    if let Some(act) = ensure_names(journal, shown, &places) {
        return act;
    }
    match (&shown.old, &shown.older, &journal.restoring) {
        // It was tried before the release that now serves, and did not hold.
        (Some(_), _, Some(_)) => Next::Act(Act::Bury(Role::Old)),
        (Some(_), Some(_), None) => Next::Act(Act::Remove(Role::Older)),
        (None, _, _) | (Some(_), None, None) => Next::End(Ending::Deployed),
    }
}

/// Stop-first: after a cut Docker may have started the old one again, by the policy that it still had.
fn replace(shown: &Shown, new: &Container) -> Option<Next> {
    if let Some(old) = &shown.old {
        if let Some(act) = ensure_policy(Role::Old, old, RestartPolicy::No) {
            return Some(act);
        }
        if is_up(old) {
            return Some(Next::Act(Act::Stop(Role::Old)));
        }
    }
    (!is_up(new)).then_some(Next::Act(Act::Start(Role::New)))
}

/// Start-first: the name goes over while both run, and only then does the old container go.
fn hand_over(journal: &Journal, shown: &Shown, new: &Container) -> Option<Next> {
    if !is_up(new) {
        return Some(Next::Act(Act::Start(Role::New)));
    }
    let old = shown.old.as_ref()?;
    // Its name is where the old one goes.
    if shown.older.is_some() {
        return Some(Next::Act(Act::Remove(Role::Older)));
    }
    let is_at = |container: &Container, slot: Slot| container.name == journal.name_of(slot).as_str();
    if !is_at(old, Slot::Previous) {
        return Some(Next::Act(Act::HandOver));
    }
    if !is_at(new, Slot::Current) {
        return Some(Next::Act(Act::Rename(Role::New, Slot::Current)));
    }
    if let Some(act) = ensure_policy(Role::Old, old, RestartPolicy::No) {
        return Some(act);
    }
    is_up(old).then_some(Next::Act(Act::Drain))
}

fn give_up(stage: Stage, reason: &str) -> Next {
    Next::Enter(Step::Rollback(Failure { stage, blame: Blame::World, reason: reason.to_owned() }))
}

/// A paused or restarting container holds its port as a running one does.
const fn is_up(container: &Container) -> bool {
    match container.life {
        Life::Running { .. } | Life::Paused | Life::Restarting => true,
        Life::Created | Life::Exited { .. } | Life::Dead => false,
    }
}

fn ensure_policy(role: Role, container: &Container, policy: RestartPolicy) -> Option<Next> {
    (container.policy != policy).then_some(Next::Act(Act::SetPolicy(role, policy)))
}

/// A name that someone else took meanwhile is left to them: what serves, serves under the name it has.
fn ensure_names(journal: &Journal, shown: &Shown, places: &[(Role, Slot)]) -> Option<Next> {
    misplaced(journal, shown, places)
        .find(|(_, slot)| !shown.taken.contains(slot))
        .map(|(role, slot)| Next::Act(Act::Rename(role, slot)))
}

/// As long as the old container serves untouched, a name that someone else has is a reason to stop.
fn refuse_taken_names(journal: &Journal, shown: &Shown, places: &[(Role, Slot)]) -> Option<Next> {
    misplaced(journal, shown, places).find(|(_, slot)| shown.taken.contains(slot)).map(|(_, slot)| {
        let name = journal.name_of(slot);
        let reason = format!(
            "the name {name} was taken by a container that is not homeport's: rename or remove that one"
        );
        give_up(Stage::Swap, &reason)
    })
}

/// The containers that do not have the name of their place.
fn misplaced<'a>(
    journal: &'a Journal,
    shown: &'a Shown,
    places: &'a [(Role, Slot)],
) -> impl Iterator<Item = (Role, Slot)> + 'a {
    places.iter().copied().filter(|&(role, slot)| {
        let container = shown.get(role);
        container.is_some_and(|container| container.name != journal.name_of(slot).as_str())
    })
}
