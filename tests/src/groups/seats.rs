//! Who was in which generation of a group with what, and who takes what for its own now.
//!
//! What always holds: a generation counts once an assignment of it was told, for that is kept: one
//! that nobody was told an assignment of may come again after a start. Time to live is counted from
//! when a member asked, so that it takes nothing for its own for longer than the coordinator leaves it
//! to it.

use std::collections::{BTreeMap, BTreeSet};

use millrace_host::Mono;

use super::calls::Seat;
use super::wire::Place;

/// An assignment, and the turn of a leader that it is from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) turn: u64,
    pub(super) places: BTreeSet<Place>,
}

/// One who takes partitions for its own.
#[derive(Clone, Debug)]
pub(super) struct Claimant {
    pub(super) task: u64,
    /// Now.
    pub(super) now: Mono,
    /// Until when, unless it lives longer.
    pub(super) until: Mono,
}

/// One turn of a leader, as members were told of it.
#[derive(Debug)]
struct Turn {
    number: u64,
    /// When it was told first.
    first: u64,
    /// Who has what: static members by their names.
    owners: BTreeMap<Place, String>,
}

/// Somebody under a static name.
#[derive(Debug)]
struct Holder {
    member_id: String,
    join_begin: u64,
    synced: u64,
}

/// What is known of the members of a group.
#[derive(Debug, Default)]
pub(super) struct Seats {
    /// Turns by their generation.
    generations: BTreeMap<i32, Vec<Turn>>,
    /// The newest generation so far, each time that it rose, and when.
    newest: Vec<(u64, i32)>,
    instances: BTreeMap<String, Vec<Holder>>,
    /// What leaders gave out, by their turns.
    shares: BTreeMap<u64, BTreeSet<BTreeSet<Place>>>,
    claims: BTreeMap<u64, (Claimant, BTreeSet<Place>)>,
    resting: BTreeMap<u64, (Given, Mono)>,
}

impl Seats {
    /// The newest generation that was served before a moment, and since when.
    pub(super) fn newest_before(&self, moment: u64) -> Option<(u64, i32)> {
        let before = self.newest.iter().filter(|(at, _)| *at < moment);
        before.copied().max_by_key(|(_, generation)| *generation)
    }

    /// Why somebody who joined then and asked at `begin` was no member any more.
    pub(super) fn newer_than(&self, seat: &Seat, begin: u64) -> Option<String> {
        let between = |at: u64| at > seat.joined.1 && at < begin;
        let mut newer = self.newest.iter();
        let newer = newer.find(|(at, generation)| between(*at) && *generation > seat.generation);
        if let Some((at, generation)) = newer {
            return Some(format!("generation {generation} was served at {at}"));
        }
        let of_instance = self.instances.get(seat.instance.as_ref()?)?;
        let other = of_instance.iter().find(|holder| {
            let is_other = holder.member_id != seat.member_id;
            is_other && holder.join_begin > seat.joined.1 && holder.synced < begin
        });
        other.map(|other| format!("{other:?} has its place"))
    }

    /// A leader gives that out.
    pub(super) fn shares(&mut self, turn: u64, shares: BTreeSet<BTreeSet<Place>>) {
        self.shares.insert(turn, shares);
    }

    /// Another turn of the same generation that was told before, and when first.
    pub(super) fn others_of(&self, generation: i32, given: &Given) -> Option<(u64, u64)> {
        let turns = self.generations.get(&generation)?.iter();
        let others = turns.filter(|one| one.number != given.turn);
        others.map(|one| (one.number, one.first)).max()
    }

    /// A member was told its assignment.
    pub(super) fn give(&mut self, seat: &Seat, given: &Given, now: u64) -> Result<(), String> {
        if self
            .newest_before(u64::MAX)
            .is_none_or(|(_, newest)| newest < seat.generation)
        {
            self.newest.push((now, seat.generation));
        }
        if let Some(instance) = &seat.instance {
            let holders = self.instances.entry(instance.clone()).or_default();
            holders.push(Holder {
                member_id: seat.member_id.clone(),
                join_begin: seat.joined.0,
                synced: now,
            });
        }
        let shares = self.shares.get(&given.turn);
        if shares.is_none_or(|shares| !shares.contains(&given.places)) {
            return Err(format!("nobody shared out {given:?}"));
        }
        let turns = self.generations.entry(seat.generation).or_default();
        if turns.iter().all(|one| one.number != given.turn) {
            turns.push(Turn {
                number: given.turn,
                first: now,
                owners: BTreeMap::new(),
            });
        }
        let own = seat.instance.as_ref().unwrap_or(&seat.member_id);
        let turn = turns.iter_mut().find(|one| one.number == given.turn);
        for place in &given.places {
            let Some(turn) = &turn else { break };
            if let Some(other) = turn.owners.get(place)
                && other != own
            {
                return Err(format!("{place:?} is {other}'s in the same turn"));
            }
        }
        if let Some(turn) = turn {
            let places = given.places.iter();
            turn.owners
                .extend(places.map(|place| (place.clone(), own.clone())));
        }
        Ok(())
    }

    /// Somebody takes these for its own, and nothing else.
    pub(super) fn claim(&mut self, of: &Claimant, places: &BTreeSet<Place>) -> Result<(), String> {
        let mut others = self
            .claims
            .iter()
            .filter(|(task, (other, _))| **task != of.task && other.until > of.now);
        let other = others.find_map(|(task, (other, theirs))| {
            let place = theirs.intersection(places).next()?;
            Some(format!(
                "{place:?} is member {task}'s until {:?}",
                other.until
            ))
        });
        self.claims.insert(of.task, (of.clone(), places.clone()));
        other.map_or(Ok(()), |why| {
            Err(format!(
                "{why}, and member {}'s now at {:?}",
                of.task, of.now
            ))
        })
    }

    pub(super) fn extend(&mut self, task: u64, until: Mono) {
        if let Some((claimant, _)) = self.claims.get_mut(&task) {
            claimant.until = claimant.until.max(until);
        }
    }

    pub(super) fn give_up(&mut self, task: u64, places: &BTreeSet<Place>) {
        if let Some((_, claimed)) = self.claims.get_mut(&task) {
            claimed.retain(|place| !places.contains(place));
        }
    }

    pub(super) fn rest(&mut self, task: u64, rest: Option<(Given, Mono)>) {
        match rest {
            Some(rest) => self.resting.insert(task, rest),
            None => self.resting.remove(&task),
        };
    }

    /// What keeps it from rest, in words.
    pub(super) fn unrest(&self) -> String {
        format!("at rest are {:?}", self.resting)
    }

    /// Since when so many members are at rest with one turn, which has every partition.
    pub(super) fn at_rest(&self, members: usize, places: &BTreeSet<Place>) -> Option<Mono> {
        let turns: BTreeSet<u64> = self.resting.values().map(|(given, _)| given.turn).collect();
        let had = self.resting.values().flat_map(|(given, _)| &given.places);
        let had: BTreeSet<Place> = had.cloned().collect();
        let is_whole = self.resting.len() == members && turns.len() == 1 && had == *places;
        let since = self.resting.values().map(|(_, since)| *since);
        since.max().filter(|_| is_whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(member_id: &str, generation: i32, joined: (u64, u64)) -> Seat {
        Seat {
            member_id: member_id.to_owned(),
            generation,
            joined,
            ..Seat::default()
        }
    }

    fn given(turn: u64, numbers: &[i32]) -> Given {
        let places = numbers.iter().map(|number| ("t".to_owned(), *number));
        Given {
            turn,
            places: places.collect(),
        }
    }

    fn seats() -> Seats {
        let mut seats = Seats::default();
        for turn in 1..4 {
            let all = [&[0][..], &[1], &[0, 1]];
            let all = all.map(|numbers| given(turn, numbers).places);
            seats.shares(turn, all.into());
        }
        seats
    }

    #[test]
    fn two_members_have_not_the_same_in_one_turn() {
        let mut seats = seats();
        assert!(
            seats
                .give(&seat("a", 1, (1, 2)), &given(1, &[0]), 3)
                .is_ok()
        );
        assert!(
            seats
                .give(&seat("a", 1, (1, 2)), &given(1, &[0]), 4)
                .is_ok()
        );
        assert!(
            seats
                .give(&seat("b", 1, (1, 2)), &given(1, &[0]), 5)
                .is_err()
        );
        assert!(
            seats
                .give(&seat("b", 2, (1, 2)), &given(2, &[0]), 6)
                .is_ok()
        );
        assert_eq!(seats.others_of(2, &given(3, &[])), Some((2, 6)));
        let altered = seats.give(&seat("b", 2, (1, 2)), &given(2, &[0, 2]), 7);
        assert!(altered.is_err());
    }

    #[test]
    fn who_joined_before_a_newer_generation_was_served_is_no_member() {
        let mut seats = seats();
        let old = seat("a", 1, (1, 2));
        seats.give(&old, &given(1, &[0]), 3).unwrap();
        assert_eq!(seats.newer_than(&old, 5), None);
        seats
            .give(&seat("b", 2, (3, 4)), &given(2, &[0]), 6)
            .unwrap();
        assert!(seats.newer_than(&old, 7).is_some());
        assert_eq!(seats.newer_than(&old, 6), None, "it was asked for before");
    }

    #[test]
    fn a_static_name_has_one_member() {
        let mut seats = seats();
        let named = |seat: Seat| Seat {
            instance: Some("i".to_owned()),
            ..seat
        };
        let old = named(seat("a", 1, (1, 2)));
        seats.give(&old, &given(1, &[0]), 3).unwrap();
        let new = named(seat("b", 1, (4, 5)));
        assert!(
            seats.give(&new, &given(1, &[0]), 6).is_ok(),
            "it has the same"
        );
        assert!(seats.newer_than(&old, 7).is_some());
        assert_eq!(seats.newer_than(&new, 7), None);
    }

    #[test]
    fn claims_do_not_overlap() {
        let mut seats = seats();
        let of = |task, now, until| Claimant {
            task,
            now: Mono(now),
            until: Mono(until),
        };
        assert!(seats.claim(&of(1, 0, 10), &given(1, &[0]).places).is_ok());
        assert!(seats.claim(&of(2, 5, 15), &given(1, &[1]).places).is_ok());
        assert!(seats.claim(&of(2, 9, 15), &given(1, &[0]).places).is_err());
        assert!(seats.claim(&of(3, 15, 20), &given(1, &[0]).places).is_ok());
    }

    #[test]
    fn a_group_is_at_rest_when_everybody_has_their_part_of_one_turn() {
        let mut seats = seats();
        let all = given(1, &[0, 1]).places;
        seats.rest(1, Some((given(1, &[0]), Mono(3))));
        assert_eq!(seats.at_rest(1, &all), None, "nobody has the rest");
        seats.rest(2, Some((given(2, &[1]), Mono(4))));
        assert_eq!(seats.at_rest(2, &all), None, "it is from another turn");
        seats.rest(1, Some((given(2, &[0]), Mono(5))));
        assert_eq!(seats.at_rest(2, &all), Some(Mono(5)));
        seats.rest(1, None);
        assert_eq!(seats.at_rest(2, &all), None);
    }
}
