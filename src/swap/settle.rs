//! A project whose journal is lost: what its containers' names, restart policies and run numbers alone say about
//! which of them serves, and the one next thing to do until exactly that one does.
//!
//! It leans on the two rules of the transaction. What Docker restarts by itself was proven; what it does not is a
//! candidate, or a way back. And a candidate's run is younger than the one that it was to replace. As with
//! [`crate::swap::next`], each answer is derived from what Docker shows now, so it may be cut off anywhere.

use crate::config::settings::ContainerSpec;
use crate::model::Container;
use crate::model::ContainerId;
use crate::model::LABEL_RUN;
use crate::model::Life;
use crate::model::RestartPolicy;
use crate::model::RunNumber;
use crate::swap::Slot;
use crate::swap::is_up;
use crate::swap::journal::attempt_of;

/// The one next thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settling {
    /// Change when Docker starts a container by itself.
    SetPolicy(ContainerId, RestartPolicy),
    /// Stop a container with its grace.
    Stop(ContainerId),
    /// Start a container.
    Start(ContainerId),
    /// Remove a container.
    Remove(ContainerId),
    /// Give a container the name of a slot.
    Rename(ContainerId, Slot),
    /// Nothing is left to do.
    Settled(Settled),
}

/// What stands where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// The container in the service's place.
    pub serving: Option<ContainerId>,
    /// The stopped one behind it.
    pub previous: Option<ContainerId>,
}

/// The run that made a container of ours, by its label; `None` for one that homeport did not make.
pub fn run_of(container: &Container) -> Option<RunNumber> {
    container.labels.get(LABEL_RUN)?.parse().ok().map(RunNumber)
}

/// The next thing to do for the service containers of a project; `strangers` are the names of all others.
pub fn settle(spec: &ContainerSpec, containers: &[Container], strangers: &[String]) -> Settling {
    let Some(serving) = serving_among(spec, containers) else { return nothing_serves(spec, containers) };
    let others = || containers.iter().filter(|other| other.id != serving.id);
    if serving.policy != RestartPolicy::Always {
        return Settling::SetPolicy(serving.id.clone(), RestartPolicy::Always);
    }
    if !is_up(serving) {
        if let Some(other) = others().find(|other| is_up(other)) {
            return Settling::Stop(other.id.clone());
        }
        // Whether a person stopped it or a cut did, nobody can tell; Docker would start it at the next boot too.
        return Settling::Start(serving.id.clone());
    }
    if let Some(other) = others().find(|other| other.policy != RestartPolicy::No) {
        return Settling::SetPolicy(other.id.clone(), RestartPolicy::No);
    }
    if let Some(other) = others().find(|other| is_up(other)) {
        return Settling::Stop(other.id.clone());
    }
    let previous = others().filter(|other| is_younger(serving, other)).max_by_key(|other| age(other));
    let is_in_a_slot = |c: &Container| Slot::ALL.into_iter().any(|slot| is_at(c, spec, slot));
    let mut spare = others().filter(|other| previous.is_none_or(|previous| previous.id != other.id));
    if let Some(left) = spare.find(|other| is_younger(other, serving) || is_in_a_slot(other)) {
        return Settling::Remove(left.id.clone());
    }
    let places = [Some((serving, Slot::Current)), previous.map(|previous| (previous, Slot::Previous))];
    let rename = rename(spec, containers, strangers, places.into_iter().flatten());
    let settled =
        Settled { serving: Some(serving.id.clone()), previous: previous.map(|previous| previous.id.clone()) };
    rename.unwrap_or(Settling::Settled(settled))
}

/// What Docker keeps, running before stopped, in its place before elsewhere, the younger before the older. Where it
/// keeps none, what runs: more than nothing.
fn serving_among<'a>(spec: &ContainerSpec, containers: &'a [Container]) -> Option<&'a Container> {
    let rank = |c: &&Container| (is_up(c), is_at(c, spec, Slot::Current), age(c));
    let kept = containers.iter().filter(|c| c.policy != RestartPolicy::No && c.life != Life::Created);
    kept.max_by_key(rank).or_else(|| containers.iter().filter(|c| is_up(c)).max_by_key(rank))
}

/// A first deployment that was cut off leaves its candidate; the way back of a service that a person removed stays.
fn nothing_serves(spec: &ContainerSpec, containers: &[Container]) -> Settling {
    let left = [Slot::Current, Slot::Next, Slot::Before]
        .into_iter()
        .find_map(|slot| containers.iter().find(|c| is_at(c, spec, slot)));
    let previous = containers.iter().find(|c| is_at(c, spec, Slot::Previous));
    match left {
        Some(left) => Settling::Remove(left.id.clone()),
        None => Settling::Settled(Settled { serving: None, previous: previous.map(|c| c.id.clone()) }),
    }
}

/// The next rename that leads to these places. Names that strangers hold are left to them; two that hold each
/// other's make way by a third.
fn rename<'a>(
    spec: &ContainerSpec,
    containers: &[Container],
    strangers: &[String],
    places: impl Iterator<Item = (&'a Container, Slot)>,
) -> Option<Settling> {
    let is_strange = |slot: Slot| strangers.iter().any(|name| name == slot.name(spec).as_str());
    let is_free = |slot: Slot| !is_strange(slot) && !containers.iter().any(|c| is_at(c, spec, slot));
    let misplaced: Vec<_> = places.filter(|(c, slot)| !is_at(c, spec, *slot) && !is_strange(*slot)).collect();
    let direct = misplaced.iter().find(|(_, slot)| is_free(*slot));
    let aside = misplaced.first().filter(|_| is_free(Slot::Next)).map(|(c, _)| (*c, Slot::Next));
    let (container, slot) = direct.copied().or(aside)?;
    Some(Settling::Rename(container.id.clone(), slot))
}

fn is_at(container: &Container, spec: &ContainerSpec, slot: Slot) -> bool {
    container.name == slot.name(spec).as_str()
}

fn is_younger(one: &Container, other: &Container) -> bool {
    age(one) > age(other)
}

fn age(container: &Container) -> (Option<RunNumber>, u32) {
    (run_of(container), attempt_of(container))
}
