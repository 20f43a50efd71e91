//! What is known of the offsets that a group keeps of a topic that comes and goes: which topic of the
//! name each commit was for, and what an answer may show of it.
//!
//! What always holds: each commit has a number that no other has, and stands in the register of the
//! topic that it was for; one that may have met a later topic of the name as well, since it was sent
//! by name and its answer doesn't tell which one was there, may turn up in those, too.

use std::collections::{BTreeMap, BTreeSet};

use millrace_client::Topic;
use millrace_protocol::error_code::ErrorCode;

use super::book::{ANSWER, OFFSET, STALE, state};
use super::calls::Kept;
use super::register::{Register, State, Write, Wrong};

/// A rule that an answer broke, and how.
pub(super) type Broken = (&'static str, String);

/// Everything known.
#[derive(Debug, Default)]
pub(super) struct Passed {
    now: u64,
    life: usize,
    numbers: u64,
    /// Every topic of the name, in the order in which they were made.
    made: Vec<Passing>,
    /// Which of them a number was for.
    owners: BTreeMap<u64, usize>,
    /// Commits by name that may still meet a topic that is made later.
    loose: Vec<(i32, Write)>,
    /// Any offset may be too old at once, as the clock leaps.
    all_expire: bool,
    /// The life in which a topic was to be made or removed, without an answer.
    unanswered: Option<usize>,
}

/// One topic of the name.
#[derive(Debug)]
struct Passing {
    topic: Topic,
    is_removed: bool,
    offsets: BTreeMap<i32, Register>,
    /// Numbers of others that may turn up here.
    others: BTreeSet<u64>,
}

/// A commit under way.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// Of each offset, in their order.
    pub(super) numbers: Vec<u64>,
    /// A success doesn't say which topic it was for.
    is_loose: bool,
}

impl Passed {
    pub(super) fn new(all_expire: bool) -> Self {
        Self {
            all_expire,
            ..Self::default()
        }
    }

    /// The next moment, in a life of the broker.
    pub(super) fn tick(&mut self, life: usize) -> u64 {
        self.now += 1;
        if life > self.life {
            let (now, before) = (self.now, life - 1);
            let registers = self
                .made
                .iter_mut()
                .flat_map(|one| one.offsets.values_mut());
            registers.for_each(|register| register.life_ended(before, now));
            self.loose.clear();
            self.life = life;
        }
        self.now
    }

    /// A topic is to be made or removed in a life, or that was answered.
    pub(super) fn asks(&mut self, life: usize) {
        self.unanswered = Some(life);
    }

    /// Everything that was asked in a life was answered, unless something was not before.
    pub(super) fn is_answered(&mut self, before: Option<usize>) {
        self.unanswered = before;
    }

    /// The life in which a topic may come or go at any moment.
    pub(super) fn unanswered(&self) -> Option<usize> {
        self.unanswered
    }

    /// That topic is there; which one of the name it is.
    pub(super) fn is_there(&mut self, topic: &Topic) -> Result<usize, Broken> {
        let known = self.made.iter().position(|one| one.topic.id == topic.id);
        if let Some(at) = known {
            if self.made[at].is_removed || at + 1 < self.made.len() {
                return Err((ANSWER, format!("{topic:?} is back")));
            }
            return Ok(at);
        }
        let mut passing = Passing {
            topic: topic.clone(),
            is_removed: false,
            offsets: BTreeMap::new(),
            others: BTreeSet::new(),
        };
        for partition in 0..topic.partitions {
            passing.offsets.insert(partition, Register::default());
        }
        for (partition, write) in &self.loose {
            passing.others.insert(write.number);
            let register = passing.offsets.entry(*partition).or_default();
            register.push(write.clone());
        }
        self.made.push(passing);
        Ok(self.made.len() - 1)
    }

    /// A topic is about to be removed: whoever asks may find its offsets, or none.
    pub(super) fn removes(&mut self, of: usize, life: usize) {
        let write = self.write(None, life);
        for register in self.made[of].offsets.values_mut() {
            register.push(write.clone());
        }
    }

    /// It was.
    pub(super) fn removed(&mut self, of: usize) {
        self.made[of].is_removed = true;
    }

    /// Somebody is about to commit offsets of a topic; `may_meet_another` when the request names it
    /// and another one may be there by then.
    pub(super) fn sends(
        &mut self,
        of: usize,
        offsets: &[(i32, i64)],
        (by_name, may_meet_another): (bool, bool),
        life: usize,
    ) -> Sent {
        let mut numbers = Vec::new();
        for (partition, offset) in offsets {
            let write = self.write(Some(*offset), life);
            numbers.push(write.number);
            self.owners.insert(write.number, of);
            if by_name {
                self.loose.push((*partition, write.clone()));
            }
            // Those that were made since it was looked for last, too.
            let is_loose = by_name && may_meet_another;
            for later in self.made.iter_mut().skip(of + 1).filter(|_| is_loose) {
                later.others.insert(write.number);
                let register = later.offsets.entry(*partition).or_default();
                register.push(write.clone());
            }
            let register = self.made[of].offsets.entry(*partition).or_default();
            register.push(write);
        }
        Sent {
            numbers,
            is_loose: by_name && may_meet_another,
        }
    }

    /// What became of it: a code for each.
    pub(super) fn answered(&mut self, sent: &Sent, codes: &[ErrorCode], life: usize) {
        let now = self.tick(life);
        for (number, code) in sent.numbers.iter().zip(codes) {
            let state = state(*code, &[ErrorCode::None]);
            if state == State::Unknown || sent.is_loose && state == State::Happened {
                continue;
            }
            self.loose.retain(|(_, write)| write.number != *number);
            let registers = self
                .made
                .iter_mut()
                .flat_map(|one| one.offsets.values_mut());
            registers.for_each(|register| register.answered(*number, state, now));
        }
    }

    /// Offsets were shown while that topic was there, to whoever asked at `begin`.
    pub(super) fn seen(&mut self, of: usize, begin: u64, kept: &Kept, life: usize) -> Vec<Broken> {
        let now = self.tick(life);
        let (owners, passing) = (&self.owners, &mut self.made[of]);
        let mut broken = Vec::new();
        for (partition, register) in &mut passing.offsets {
            let place = (passing.topic.name.clone(), *partition);
            let found = kept.get(&place).map(|(offset, beside)| {
                let number = beside.split(' ').next().unwrap_or_default();
                (*offset, number.parse().unwrap_or(0))
            });
            if let Some((offset, number)) = found
                && let Some(owner) = owners.get(&number)
                && *owner != of
                && !passing.others.contains(&number)
            {
                let why =
                    format!("{place:?} shows {offset}, of a topic that is gone: {owner}, {of}");
                broken.push((OFFSET, why));
                continue;
            }
            match register.seen((begin, now), found) {
                Ok(()) | Err(Wrong::Expired(_)) => {}
                Err(Wrong::Altered(why)) => broken.push((ANSWER, format!("{place:?}: {why}"))),
                Err(Wrong::Refused(why)) => broken.push((STALE, format!("{place:?}: {why}"))),
                Err(Wrong::Lost(why)) => broken.push((OFFSET, format!("{place:?}: {why}"))),
            }
        }
        broken
    }

    fn write(&mut self, offset: Option<i64>, life: usize) -> Write {
        let begin = self.tick(life);
        self.numbers += 1;
        Write {
            number: self.numbers,
            offset,
            state: State::Unknown,
            begin,
            end: u64::MAX,
            life,
            expires: self.all_expire,
            member_id: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_protocol::ids::TopicId;

    use super::*;

    fn topic(id: u8) -> Topic {
        Topic {
            name: "t".to_owned(),
            id: TopicId::from_bytes([id; 16]),
            partitions: 1,
        }
    }

    fn kept(offset: i64, number: u64) -> Kept {
        Kept::from([(("t".to_owned(), 0), (offset, format!("{number} ")))])
    }

    /// The rules that are broken when this is shown now.
    fn rules(passed: &mut Passed, of: usize, kept: &Kept) -> Vec<&'static str> {
        let begin = passed.tick(0);
        let broken = passed.seen(of, begin, kept, 0);
        broken.into_iter().map(|(rule, _)| rule).collect()
    }

    fn commit(passed: &mut Passed, of: usize, offset: i64, how: (bool, bool)) -> u64 {
        let sent = passed.sends(of, &[(0, offset)], how, 0);
        passed.answered(&sent, &[ErrorCode::None], 0);
        sent.numbers[0]
    }

    #[test]
    fn the_next_topic_of_a_name_has_no_offsets_and_keeps_its_own() {
        let mut passed = Passed::new(false);
        assert_eq!(passed.is_there(&topic(1)), Ok(0));
        let first = commit(&mut passed, 0, 5, (true, false));
        assert!(rules(&mut passed, 0, &kept(5, first)).is_empty());
        assert_eq!(rules(&mut passed, 0, &Kept::new()), [OFFSET], "lost");
        passed.removes(0, 0);
        assert!(rules(&mut passed, 0, &Kept::new()).is_empty(), "on its way");
        passed.removed(0);
        assert_eq!(passed.is_there(&topic(2)), Ok(1));
        assert_eq!(
            rules(&mut passed, 1, &kept(5, first)),
            [OFFSET],
            "inherited"
        );
        assert!(rules(&mut passed, 1, &Kept::new()).is_empty());
        let second = commit(&mut passed, 1, 7, (false, true));
        assert!(rules(&mut passed, 1, &kept(7, second)).is_empty());
        assert_eq!(rules(&mut passed, 1, &Kept::new()), [OFFSET], "lost");
        assert!(passed.is_there(&topic(1)).is_err());
    }

    #[test]
    fn a_commit_by_name_may_be_for_the_next_topic_only_while_it_may_meet_that() {
        for (how, fits) in [
            ((true, true), true),
            ((true, false), false),
            ((false, true), false),
        ] {
            let mut passed = Passed::new(false);
            passed.is_there(&topic(1)).unwrap();
            let number = commit(&mut passed, 0, 5, how);
            passed.removed(0);
            passed.is_there(&topic(2)).unwrap();
            assert_eq!(
                rules(&mut passed, 1, &kept(5, number)).is_empty(),
                fits,
                "{how:?}"
            );
        }
    }

    #[test]
    fn a_commit_by_name_may_be_for_a_topic_that_was_made_before_it_was_sent() {
        let mut passed = Passed::new(false);
        passed.is_there(&topic(1)).unwrap();
        passed.is_there(&topic(2)).unwrap();
        let number = commit(&mut passed, 0, 5, (true, true));
        assert!(rules(&mut passed, 1, &kept(5, number)).is_empty());
        let number = commit(&mut passed, 0, 6, (false, true));
        assert_eq!(rules(&mut passed, 1, &kept(6, number)), [OFFSET]);
    }

    #[test]
    fn what_was_not_answered_meets_later_topics_until_its_life_ends() {
        let mut passed = Passed::new(false);
        passed.is_there(&topic(1)).unwrap();
        let sent = passed.sends(0, &[(0, 5)], (true, false), 0);
        passed.removed(0);
        passed.is_there(&topic(2)).unwrap();
        let number = sent.numbers[0];
        assert!(rules(&mut passed, 1, &kept(5, number)).is_empty());
        let begin = passed.tick(1);
        passed.removed(1);
        passed.is_there(&topic(3)).unwrap();
        let broken = passed.seen(2, begin, &kept(5, number), 1);
        assert_eq!(broken[0].0, OFFSET);
    }
}
