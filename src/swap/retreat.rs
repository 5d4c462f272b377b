//! The ways that lead back: the old container takes its place again; or, where nothing that holds is left,
//! what there is goes to Docker.

use crate::model::Failure;
use crate::model::RestartPolicy;
use crate::swap::Act;
use crate::swap::Ending;
use crate::swap::Journal;
use crate::swap::Next;
use crate::swap::Role;
use crate::swap::Shown;
use crate::swap::Slot;
use crate::swap::ensure_names;
use crate::swap::ensure_policy;
use crate::swap::is_up;

/// Service first, tidiness after: the old container is started before the failed one is looked into.
pub(super) fn rollback(journal: &Journal, shown: &Shown, failure: &Failure) -> Next {
    if is_last_hope(journal, shown) {
        return Next::End(Ending::Lost(failure.clone()));
    }
    if let Some(act) = shown.old.as_ref().and_then(|old| ensure_policy(Role::Old, old, RestartPolicy::Always))
    {
        return act;
    }
    if let Some(new) = &shown.new {
        if let Some(act) = ensure_policy(Role::New, new, RestartPolicy::No) {
            return act;
        }
        if is_up(new) {
            return Next::Act(Act::Stop(Role::New));
        }
    }
    if shown.old.as_ref().is_some_and(|old| !is_up(old)) {
        return Next::Act(Act::Start(Role::Old));
    }
    if shown.new.is_some() {
        return Next::Act(Act::Bury(Role::New));
    }
    if let Some(act) =
        ensure_names(journal, shown, &[(Role::Old, Slot::Current), (Role::Older, Slot::Previous)])
    {
        return act;
    }
    match (&shown.old, &journal.old, &journal.restoring) {
        (_, _, Some(_)) => Next::End(Ending::NotRestored(failure.clone())),
        (Some(_), _, None) => Next::Prove(Role::Old),
        (None, Some(_), None) => Next::End(Ending::Lost(failure.clone())),
        (None, None, None) => Next::End(Ending::NothingBefore(failure.clone())),
    }
}

/// A deployment that served, and is to be taken back, stays until there is something to take its place.
fn is_last_hope(journal: &Journal, shown: &Shown) -> bool {
    journal.committed.is_some() && shown.new.is_some() && shown.old.is_none()
}

/// A service that fails now and then is more than none.
pub(super) fn leave(journal: &Journal, shown: &Shown, failure: &Failure) -> Next {
    let (role, container) = match (&shown.new, &shown.old) {
        (Some(new), _) => (Role::New, new),
        (None, Some(old)) => (Role::Old, old),
        (None, None) => return Next::End(Ending::Left(failure.clone())),
    };
    if let Some(act) = ensure_policy(role, container, RestartPolicy::Always) {
        return act;
    }
    if let Some(act) = ensure_names(journal, shown, &[(role, Slot::Current)]) {
        return act;
    }
    if is_up(container) { Next::End(Ending::Left(failure.clone())) } else { Next::Act(Act::Start(role)) }
}
