//! What producers were told of their records, held against what a log holds.
//!
//! What always holds: [`Promises::judge`] names each record that was acknowledged and isn't at its place,
//! one that is there twice, behind a later one of its producer, or though it was refused; an offset
//! without a record; and a record that nobody sent.

use std::collections::BTreeMap;

/// A record: whose it is, and the how-manieth of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Its producer.
    pub producer: u32,
    /// Its number.
    pub number: u64,
}

impl Id {
    /// Its value: it names the record, and is filled up to a length of its own.
    pub fn value(self) -> String {
        let letters = usize::try_from(self.number % 97).unwrap_or(0);
        format!("{} {} {}", self.producer, self.number, "x".repeat(letters))
    }

    /// The record that has this value, which must be whole.
    pub fn of(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut words = text.split(' ');
        let id = Self {
            producer: words.next()?.parse().ok()?,
            number: words.next()?.parse().ok()?,
        };
        (id.value() == text).then_some(id)
    }
}

/// What a producer was told of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is stored; where, if that was told.
    Stored(i32, Option<i64>),
    /// It is not, for this reason.
    Refused(String),
    /// It was given up and may be stored; the reason.
    Unclear(String),
}

/// A log: what lies at each offset of each partition.
pub type Log = BTreeMap<(i32, i64), Id>;

/// What was sent, and what became of it.
#[derive(Debug, Default)]
pub struct Promises {
    fates: BTreeMap<Id, Option<Fate>>,
    stored: usize,
}

impl Promises {
    /// A record is about to be sent.
    pub fn sent(&mut self, id: Id) {
        self.fates.insert(id, None);
    }

    /// What became of it.
    pub fn told(&mut self, id: Id, fate: Fate) {
        self.stored += usize::from(matches!(fate, Fate::Stored(..)));
        self.fates.insert(id, Some(fate));
    }

    /// How many are stored, as far as was told.
    pub fn stored(&self) -> usize {
        self.stored
    }

    /// How many were given up, told to be stored or not.
    pub fn given_up(&self) -> usize {
        let given_up = |fate: &&Option<Fate>| !matches!(fate, Some(Fate::Stored(..)));
        self.fates.values().filter(given_up).count()
    }

    /// The first record of these producers that wasn't stored, with the reason.
    pub fn first_given_up(&self, producers: std::ops::Range<u32>) -> Option<String> {
        let mut all = self.fates.iter();
        all.find_map(|(id, fate)| match fate {
            Some(Fate::Stored(..)) => None,
            _ if !producers.contains(&id.producer) => None,
            other => Some(format!("{id:?}: {other:?}")),
        })
    }

    /// What is wrong with a log, the first of each kind first.
    pub fn judge(&self, log: &Log) -> Vec<String> {
        let mut broken = Vec::new();
        let mut places = BTreeMap::new();
        let mut last = BTreeMap::new();
        let mut next = BTreeMap::new();
        for (&(partition, offset), id) in log {
            let here = format!("{id:?} at {partition}/{offset}");
            if next.insert(partition, offset + 1).unwrap_or(0) != offset {
                broken.push(format!("nothing lies right before {here}"));
            }
            if let Some(before) = places.insert(*id, (partition, offset)) {
                broken.push(format!("doubled: {here}, and at {before:?}"));
            }
            let before = last.insert((partition, id.producer), id.number);
            if before.is_some_and(|before| before >= id.number) {
                broken.push(format!("reordered: {here} comes behind {before:?}"));
            }
            match self.fates.get(id) {
                None => broken.push(format!("nobody sent {here}")),
                Some(Some(Fate::Refused(why))) => {
                    broken.push(format!("{here} was refused: {why}"));
                }
                Some(_) => {}
            }
        }
        for (id, fate) in &self.fates {
            let place = places.get(id).copied();
            match fate {
                Some(Fate::Stored(partition, Some(offset))) => {
                    if place != Some((*partition, *offset)) {
                        broken.push(format!(
                            "{id:?} was acknowledged at {partition}/{offset}; it is at {place:?}"
                        ));
                    }
                }
                Some(Fate::Stored(partition, None)) => {
                    if place.is_none_or(|(at, _)| at != *partition) {
                        broken.push(format!(
                            "{id:?} was acknowledged in {partition}; it is at {place:?}"
                        ));
                    }
                }
                Some(_) => {}
                None => broken.push(format!("nothing was told of {id:?}")),
            }
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> Id {
        Id {
            producer: 0,
            number,
        }
    }

    fn log(numbers: &[u64]) -> Log {
        let places = numbers.iter().zip(0..);
        places.map(|(number, at)| ((0, at), id(*number))).collect()
    }

    fn promises(fates: &[Fate]) -> Promises {
        let mut promises = Promises::default();
        for (number, fate) in fates.iter().enumerate() {
            let id = id(number as u64);
            promises.sent(id);
            promises.told(id, fate.clone());
        }
        promises
    }

    #[test]
    fn a_value_names_its_record_and_is_whole() {
        for number in [0, 1, 96, 97, 12_345] {
            let value = id(number).value();
            assert_eq!(Id::of(value.as_bytes()), Some(id(number)));
            assert_eq!(Id::of(format!("{value}x").as_bytes()), None);
        }
    }

    #[test]
    fn each_broken_promise_is_named() {
        let at = |offset| Fate::Stored(0, Some(offset));
        let three = promises(&[at(0), at(1), at(2)]);
        assert_eq!(three.judge(&log(&[0, 1, 2])), Vec::<String>::new());
        let named = |promises: &Promises, log: &Log, word: &str| {
            let broken = promises.judge(log);
            assert!(broken.iter().any(|one| one.contains(word)), "{broken:?}");
        };
        named(&three, &log(&[0, 1]), "it is at None");
        named(&three, &log(&[0, 2, 1]), "reordered");
        named(&three, &log(&[0, 1, 2, 1]), "doubled");
        named(&three, &log(&[0, 1, 2, 3]), "nobody sent");
        let mut gap = log(&[0, 1]);
        gap.insert((0, 3), id(2));
        named(&three, &gap, "right before");
        let somewhere = promises(&[at(0), Fate::Stored(0, None)]);
        named(&somewhere, &log(&[0]), "it is at None");
        assert!(somewhere.judge(&log(&[0, 1])).is_empty());
        let refused = promises(&[at(0), Fate::Refused("why".into())]);
        named(&refused, &log(&[0, 1]), "was refused: why");
        let unclear = promises(&[at(0), Fate::Unclear("why".into())]);
        assert!(unclear.judge(&log(&[0])).is_empty());
        assert!(unclear.judge(&log(&[0, 1])).is_empty());
        assert_eq!(unclear.given_up(), 1);
        assert!(unclear.first_given_up(0..1).is_some());
        assert_eq!(unclear.first_given_up(1..2), None);
        let mut silent = promises(&[at(0)]);
        silent.sent(id(1));
        named(&silent, &log(&[0]), "nothing was told");
    }
}
