//! The deploy transaction walked through every state it can reach, in a small model of Docker: after each effect
//! the agent may die, Docker may die, a person may interfere, and the proof may end either way.
//!
//! Two walks. One is exhaustive: every sequence with at most [`CUTS`] deaths of Docker and [`HANDS`] interferences of
//! a person, at every point, and the agent dying at any point of it. The other draws longer sequences at random.
//! A wrong order that is planted on purpose is found, so the walks can see what they look for.

mod docker;
mod forgotten;
mod walk;

use homeport::config::project::Order;
use homeport::model::RestartPolicy;
use homeport::swap::Act;
use homeport::swap::Journal;
use homeport::swap::Next;
use homeport::swap::Role;
use homeport::swap::Shown;
use homeport::swap::Step;
use homeport::swap::next;
use proptest::prelude::any;
use proptest::prelude::prop_assert;
use proptest::proptest;

use crate::swap_model::docker::Candidate;
use crate::swap_model::docker::House;
use crate::swap_model::docker::Model;
use crate::swap_model::walk::Budget;
use crate::swap_model::walk::Walk;

/// Deaths of Docker in one sequence of the exhaustive walk.
const CUTS: u32 = 2;
/// Interferences of a person in one sequence of the exhaustive walk.
const HANDS: u32 = 1;

const HOUSES: [House; 5] = [House::Empty, House::Settled, House::Young, House::Renamed, House::TakenBack];
const ORDERS: [Order; 2] = [Order::StopFirst, Order::StartFirst];

fn walk_all(candidate: Candidate, budget: Budget) -> Vec<(House, Order, Walk)> {
    let mut walks = Vec::new();
    for house in HOUSES {
        for order in ORDERS {
            let mut walk = Walk::new(next);
            walk.from(Model::new(house, order, candidate), budget);
            assert!(walk.violations.is_empty(), "{house:?}, {order:?}:\n{}", walk.violations.join("\n"));
            walks.push((house, order, walk));
        }
    }
    walks
}

#[test]
fn a_good_candidate_is_deployed_or_the_cut_is_undone_from_every_state() {
    for (house, order, walk) in walk_all(Candidate::Good, Budget { cuts: CUTS, hands: 0 }) {
        assert_eq!(walk.ends.deployed > 0, house != House::TakenBack, "{house:?} {order:?} {:?}", walk.ends);
        let cut_leads_back =
            house != House::Empty && (order == Order::StopFirst || house == House::TakenBack);
        assert_eq!(walk.ends.rolled_back > 0, cut_leads_back, "{house:?} {order:?} {:?}", walk.ends);
        assert_eq!(walk.ends.lost, 0, "{house:?} {order:?} {:?}", walk.ends);
    }
}

#[test]
fn a_bad_candidate_never_serves_in_the_end() {
    for (house, order, walk) in walk_all(Candidate::Bad, Budget { cuts: CUTS, hands: 0 }) {
        assert_eq!(walk.ends.deployed, 0, "{house:?} {order:?} {:?}", walk.ends);
        assert!(walk.ends.rolled_back + walk.ends.nothing_before > 0, "{house:?} {order:?} {:?}", walk.ends);
    }
}

#[test]
fn a_persons_hand_at_any_point_ends_in_an_answer_and_never_in_two_services() {
    for candidate in [Candidate::Good, Candidate::Bad] {
        let walks = walk_all(candidate, Budget { cuts: 1, hands: HANDS });
        let lost: u32 = walks.iter().map(|(_, _, walk)| walk.ends.lost).sum();
        assert!(lost > 0, "a way back that a person removed is missed");
    }
}

#[test]
fn a_planted_wrong_order_is_found() {
    fn previous_loses_its_policy_first(journal: &Journal, shown: &Shown) -> Next {
        let old_is_kept = shown.old.as_ref().is_some_and(|old| old.policy == RestartPolicy::Always);
        let new_is_kept = shown.new.as_ref().is_some_and(|new| new.policy == RestartPolicy::Always);
        if journal.step == Step::Commit && old_is_kept && !new_is_kept {
            return Next::Act(Act::SetPolicy(Role::Old, RestartPolicy::No));
        }
        next(journal, shown)
    }
    fn candidate_is_kept_before_it_is_proven(journal: &Journal, shown: &Shown) -> Next {
        let is_kept = shown.new.as_ref().is_some_and(|new| new.policy == RestartPolicy::Always);
        match next(journal, shown) {
            Next::Act(Act::Start(Role::New)) if journal.step == Step::Swap && !is_kept => {
                Next::Act(Act::SetPolicy(Role::New, RestartPolicy::Always))
            }
            right => right,
        }
    }
    for wrong in [previous_loses_its_policy_first, candidate_is_kept_before_it_is_proven] {
        let mut walk = Walk::new(wrong);
        walk.from(Model::new(House::Young, Order::StopFirst, Candidate::Good), Budget { cuts: 1, hands: 0 });
        assert!(!walk.violations.is_empty(), "the wrong order was not noticed");
    }
}

proptest! {
    #[test]
    fn long_sequences_of_cuts_and_hands_end_in_an_answer(
        dice in proptest::collection::vec(any::<u8>(), 0..200),
        house in 0..HOUSES.len(),
        is_start_first: bool,
        is_good: bool,
    ) {
        let order = if is_start_first { Order::StartFirst } else { Order::StopFirst };
        let candidate = if is_good { Candidate::Good } else { Candidate::Bad };
        let mut walk = Walk::new(next);
        walk.at_random(Model::new(HOUSES[house], order, candidate), &dice);
        prop_assert!(walk.violations.is_empty(), "{}", walk.violations.join("\n"));
    }
}
