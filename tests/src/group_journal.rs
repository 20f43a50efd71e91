//! What the members of one group were given, by whom it was owned, and whether that is what a group
//! promises.
//!
//! What always holds: a member that skips, begins behind something that nobody was given (so that
//! somebody committed ahead of what was given), is given what was revoked from it, or owns what another
//! owns in the same generation, is told by [`Journal::broken`].

use std::collections::{BTreeMap, BTreeSet};

/// What a member's life has to do with a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// It is its own, and this offset comes next, once it is known.
    Owned(Option<i64>),
    /// It was given up: nothing more of it may come.
    Revoked,
    /// It was somebody else's when the member heard of it: something may be on its way still.
    Lost,
}

/// What a group did.
#[derive(Debug, Default)]
pub struct Journal {
    /// Of each partition, the offsets that somebody was given.
    given: BTreeMap<i32, BTreeSet<i64>>,
    holds: BTreeMap<(u64, i32), Hold>,
    /// Who owned what in each generation.
    owners: BTreeMap<(i32, i32), String>,
    again: usize,
    broken: Vec<String>,
}

impl Journal {
    /// A life of a member was assigned these in a generation, beside what it has.
    pub fn assigned(&mut self, life: u64, owner: &str, generation: i32, partitions: &[i32]) {
        for &partition in partitions {
            let was = self.holds.insert((life, partition), Hold::Owned(None));
            if matches!(was, Some(Hold::Owned(_))) {
                self.broken
                    .push(format!("{owner} was assigned partition {partition} twice"));
            }
        }
        let lives = (life, i32::MIN)..=(life, i32::MAX);
        for ((_, partition), hold) in self.holds.range(lives) {
            if !matches!(hold, Hold::Owned(_)) {
                continue;
            }
            let at = (generation, *partition);
            let before = self.owners.insert(at, owner.to_owned());
            if let Some(before) = before.filter(|before| before != owner) {
                self.broken.push(format!(
                    "{before} and {owner} own partition {partition} in generation {generation}"
                ));
            }
        }
    }

    /// It gave these up.
    pub fn revoked(&mut self, life: u64, partitions: &[i32]) {
        let revoked = partitions.iter().map(|at| ((life, *at), Hold::Revoked));
        self.holds.extend(revoked);
    }

    /// It heard that these are somebody else's.
    pub fn lost(&mut self, life: u64, partitions: &[i32]) {
        let lost = partitions.iter().map(|at| ((life, *at), Hold::Lost));
        self.holds.extend(lost);
    }

    /// It ended without a word to anybody: what it was given and hadn't committed comes again.
    pub fn vanished(&mut self, life: u64) {
        self.holds.retain(|(of, _), _| *of != life);
    }

    /// Of these ends, those up to which whoever owns the partition now was not given it: it was given to
    /// somebody who may not have committed it, or its owner began there.
    pub fn not_at_end(&self, ends: &BTreeMap<i32, i64>) -> BTreeMap<i32, i64> {
        let at_end = |partition: i32, end: i64| {
            let mut holds = self.holds.iter();
            holds.any(|((_, of), hold)| *of == partition && *hold == Hold::Owned(Some(end)))
        };
        let ends = ends.iter().map(|(partition, end)| (*partition, *end));
        ends.filter(|(partition, end)| !at_end(*partition, *end))
            .collect()
    }

    /// It was given these offsets, in this order.
    pub fn give(&mut self, life: u64, partition: i32, offsets: &[i64]) {
        let given = self.given.entry(partition).or_default();
        let mut hold = self.holds.get_mut(&(life, partition));
        for &offset in offsets {
            let place = format!("life {life}, partition {partition}, offset {offset}");
            match hold.as_deref() {
                Some(Hold::Owned(Some(next))) if *next != offset => {
                    self.broken.push(format!("{place}: {next} came next"));
                }
                Some(Hold::Owned(None)) if !(0..offset).all(|at| given.contains(&at)) => {
                    let place = format!("{place}: it begins there, and what lies before");
                    self.broken.push(format!("{place} was given to nobody"));
                }
                Some(Hold::Owned(_) | Hold::Lost) => {}
                Some(Hold::Revoked) | None => {
                    self.broken.push(format!("{place}: it doesn't own that"));
                }
            }
            if let Some(Hold::Owned(next)) = hold.as_deref_mut() {
                *next = Some(offset + 1);
            }
            self.again += usize::from(!given.insert(offset));
        }
    }

    /// How many records were given to somebody.
    pub fn count(&self) -> usize {
        self.given.values().map(BTreeSet::len).sum()
    }

    /// How often one was given that somebody had been given before.
    pub fn again(&self) -> usize {
        self.again
    }

    /// What was wrong so far.
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    /// What was wrong once all is over: also whatever nobody was given below these ends.
    pub fn judge(&self, ends: &BTreeMap<i32, i64>) -> Vec<String> {
        let mut broken = self.broken.clone();
        let none = BTreeSet::new();
        for (partition, end) in ends {
            let given = self.given.get(partition).unwrap_or(&none);
            if let Some(skipped) = (0..*end).find(|at| !given.contains(at)) {
                broken.push(format!("nobody was given {partition}/{skipped}"));
            }
            if let Some(last) = given.last().filter(|last| *last >= end) {
                broken.push(format!(
                    "{partition}/{last} was given, the log ends at {end}"
                ));
            }
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_group_is_sound() {
        let mut journal = Journal::default();
        journal.assigned(1, "a", 1, &[0, 1]);
        journal.give(1, 0, &[0, 1, 2]);
        journal.revoked(1, &[0]);
        journal.assigned(2, "b", 2, &[0]);
        journal.assigned(1, "a", 2, &[]);
        journal.give(2, 0, &[2, 3]);
        journal.give(1, 1, &[0]);
        journal.lost(1, &[1]);
        journal.give(1, 1, &[1]);
        let ends = BTreeMap::from([(0, 4), (1, 2)]);
        assert_eq!(journal.judge(&ends), Vec::<String>::new());
        assert_eq!((journal.count(), journal.again()), (6, 1));
    }

    #[test]
    fn what_a_vanished_life_was_given_is_not_at_its_end() {
        let ends = BTreeMap::from([(0, 2)]);
        let mut journal = Journal::default();
        journal.assigned(1, "a", 1, &[0]);
        journal.give(1, 0, &[0]);
        assert_eq!(journal.not_at_end(&ends), ends);
        journal.give(1, 0, &[1]);
        assert_eq!(journal.not_at_end(&ends), BTreeMap::new());
        journal.vanished(1);
        assert_eq!((journal.not_at_end(&ends), journal.count()), (ends, 2));
    }

    #[test]
    fn each_broken_promise_of_a_group_is_named() {
        let named = |word: &str, act: fn(&mut Journal)| {
            let mut journal = Journal::default();
            journal.assigned(1, "a", 1, &[0]);
            journal.give(1, 0, &[0]);
            act(&mut journal);
            let broken = journal.judge(&BTreeMap::from([(0, 1)]));
            assert!(broken.iter().any(|one| one.contains(word)), "{broken:?}");
        };
        named("came next", |journal| journal.give(1, 0, &[2]));
        named("doesn't own", |journal| {
            journal.revoked(1, &[0]);
            journal.give(1, 0, &[1]);
        });
        named("doesn't own", |journal| journal.give(1, 7, &[0]));
        named("given to nobody", |journal| {
            journal.assigned(2, "b", 2, &[0]);
            journal.give(2, 0, &[2]);
        });
        named("own partition 0 in generation 1", |journal| {
            journal.assigned(2, "b", 1, &[0]);
        });
        named("twice", |journal| journal.assigned(1, "a", 2, &[0]));
        named("the log ends", |journal| journal.give(1, 0, &[1]));
        let skipped = Journal::default().judge(&BTreeMap::from([(0, 1)]));
        assert_eq!(skipped, ["nobody was given 0/0"]);
    }
}
