//! The oracle of durability: what each promise is worth, and whether it was kept.
//!
//! A *claim* is one value seen at one offset: acknowledged, or shown to a consumer. How much it is
//! worth is its [`Strength`]. The broker's time is cut into *lives*, numbered from 0; an end is
//! *lossy* when the page cache went with it. The rules, with the catalogue's numbers:
//!
//! - a durable claim is in the log at its offset from then on (A1, A4, A7, A11);
//! - a cached one too, until a lossy end after it was last seen: then it may be gone, and with it
//!   every later offset that was there before that end: what is lost is a suffix, never a hole;
//!   its offset may hold another value afterwards (A1, A4). That a value was there before and after
//!   an end says nothing unless it was acknowledged before: else its producer may have sent it
//!   again, and it may have come to stand where it stood;
//! - a value stands at one offset (A3); one producer's values stand in order (A9); every value is
//!   what was made, where it was meant to be, in the incarnation of the topic it was made for
//!   (A12, A15);
//! - the log of now has no offset without a record: nothing is compacted (A10);
//! - a log start never moves back, and never over what retention does not allow (A14).
//!
//! acks=0 claims nothing: its values are held to the rules of place, number and order alone. What a
//! producer without an identity sent again may stand there twice, and out of order (A3, A9).

use std::collections::{BTreeMap, BTreeSet};

use crate::anomaly::Anomaly;
use crate::times::Timed;
use crate::value::Value;

/// What a claim is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// It outlives the process, not the page cache.
    Cached,
    /// It outlives everything.
    Durable,
}

/// How the broker's lives ended so far, in order.
#[derive(Clone, Debug, Default)]
pub struct Lives {
    lossy: Vec<bool>,
}

impl Lives {
    /// The life of now.
    pub fn current(&self) -> usize {
        self.lossy.len()
    }

    /// The current life is over; `lossy` when the page cache went with it.
    pub fn end(&mut self, lossy: bool) {
        self.lossy.push(lossy);
    }

    /// As it was in the life `life`, which is then the current one.
    #[must_use]
    pub fn until(&self, life: usize) -> Self {
        let lossy = self.lossy.iter().take(life).copied().collect();
        Self { lossy }
    }

    /// How many ends were lossy.
    pub fn lossy_ends(&self) -> usize {
        self.lossy.iter().filter(|lossy| **lossy).count()
    }

    /// The first lossy end at or after the life `from` and before the life `until`.
    pub fn lossy_end(&self, from: usize, until: usize) -> Option<usize> {
        let until = until.min(self.lossy.len());
        (from..until).find(|life| self.lossy[*life])
    }
}

/// One value at one offset, and when it was seen there.
#[derive(Clone, Copy, Debug)]
struct Claim {
    value: Value,
    strength: Strength,
    first: usize,
    last: usize,
    /// The first life in which its producer was answered: it isn't sent again after that.
    answered: Option<usize>,
}

impl Claim {
    /// Whether it certainly is there in a life.
    fn is_there(&self, life: usize, lives: &Lives) -> bool {
        let cached = self.first <= life && lives.lossy_end(self.last, life).is_none();
        cached || self.strength == Strength::Durable
    }
}

/// All claims at one offset: one, as a rule.
#[derive(Clone, Debug)]
struct Claims {
    first: Claim,
    more: Vec<Claim>,
}

impl Claims {
    fn iter(&self) -> impl Iterator<Item = &Claim> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// The claim of this value; `None` when there is none.
    fn of(&mut self, value: Value) -> Option<&mut Claim> {
        let mut all = std::iter::once(&mut self.first).chain(&mut self.more);
        all.find(|claim| claim.value == value)
    }
}

/// What was claimed of one incarnation of the topic, to be held against what the logs say.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    incarnation: u32,
    claims: BTreeMap<(i32, i64), Claims>,
    /// Producers without an identity that sent something again.
    repeating: BTreeSet<u32>,
}

/// What holding a log against its promises came to.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What must not be.
    pub anomalies: Vec<Anomaly>,
    /// Claims that lossy ends took, as they may.
    pub taken: usize,
}

/// One record as read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it stands.
    pub offset: i64,
    /// What it says of itself; `None` when it is not what was made.
    pub value: Option<Value>,
}

impl Found {
    /// A record with these bytes for a value, and this timestamp.
    pub fn new(offset: i64, bytes: &[u8], ms: i64) -> Self {
        let value = Value::decode(bytes).filter(|value| value.made_ms == ms);
        Self { offset, value }
    }
}

/// Where a log of one partition has no record though it goes on behind (A10).
pub fn gaps(partition: i32, log_start: i64, log: &[Found]) -> Vec<Anomaly> {
    let first = log.first().map_or(log_start, |found| found.offset);
    let mut expected = first.min(log_start);
    let mut gaps = Vec::new();
    for found in log {
        if found.offset != expected {
            gaps.push(Anomaly::Skipped {
                partition,
                expected,
                found: found.offset,
            });
        }
        expected = found.offset + 1;
    }
    gaps
}

impl Promises {
    /// Of the how-manieth incarnation of the topic, from 0.
    pub fn new(incarnation: u32) -> Self {
        Self {
            incarnation,
            ..Self::default()
        }
    }

    /// Values of this producer may be there more than once, and out of order.
    pub fn may_repeat(&mut self, producer: u32) {
        self.repeating.insert(producer);
    }

    /// Takes over from `later` who may repeat: what was read may hold what was sent again since these
    /// were taken.
    pub fn repeat_as(&mut self, later: &Self) {
        self.repeating.clone_from(&later.repeating);
    }

    /// Notes that `value` was seen at `offset` in a life.
    pub fn claim(&mut self, offset: i64, value: Value, strength: Strength, life: usize) {
        self.note(offset, value, strength, life);
    }

    /// Notes that `value` was acknowledged at `offset` in a life.
    pub fn acknowledge(&mut self, offset: i64, value: Value, strength: Strength, life: usize) {
        let claim = self.note(offset, value, strength, life);
        claim.answered = Some(claim.answered.map_or(life, |first| first.min(life)));
    }

    fn note(&mut self, offset: i64, value: Value, strength: Strength, life: usize) -> &mut Claim {
        let fresh = Claim {
            value,
            strength,
            first: life,
            last: life,
            answered: None,
        };
        let claims = self.claims.entry((value.partition, offset));
        let claims = claims.or_insert_with(|| Claims {
            first: fresh,
            more: Vec::new(),
        });
        if claims.of(value).is_none() {
            claims.more.push(fresh);
        }
        let claim = claims.of(value).expect("it was just put there");
        claim.strength = claim.strength.max(strength);
        claim.first = claim.first.min(life);
        claim.last = claim.last.max(life);
        claim
    }

    /// How many records were claimed.
    pub fn len(&self) -> usize {
        self.claims.len()
    }

    /// `true` when nothing was claimed: a run that proves nothing.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// The values claimed of `partition` at offsets from `from` up to `to`.
    pub fn between(
        &self,
        partition: i32,
        from: i64,
        to: i64,
    ) -> impl Iterator<Item = (i64, Value)> + '_ {
        let range = (partition, from)..(partition, to.max(from));
        self.claims
            .range(range)
            .flat_map(|((_, offset), claims)| claims.iter().map(|claim| (*offset, claim.value)))
    }

    /// The times of the records that certainly are there in a life, at offsets from `from` up to
    /// `to`.
    pub fn there<'a>(
        &'a self,
        partition: i32,
        (from, to): (i64, i64),
        (life, lives): (usize, &'a Lives),
    ) -> impl Iterator<Item = Timed> + 'a {
        let claims = self
            .claims
            .range((partition, from)..(partition, to.max(from)));
        claims.filter_map(move |((_, offset), claims)| {
            let claim = claims.iter().find(|claim| claim.is_there(life, lives))?;
            Some(Timed {
                offset: *offset,
                ms: claim.value.made_ms,
            })
        })
    }

    /// What was found in `partition`, or what is wrong with it.
    pub fn read(&self, partition: i32, found: &Found) -> Result<Value, Anomaly> {
        let offset = found.offset;
        let value = found.value.filter(|value| value.partition == partition);
        let value = value.ok_or(Anomaly::Altered { partition, offset })?;
        if value.incarnation == self.incarnation {
            Ok(value)
        } else {
            Err(Anomaly::OldTopic {
                offset,
                value,
                incarnation: self.incarnation,
            })
        }
    }

    /// Holds the whole log of one partition, in the order in which it was read in the current
    /// life, against what was claimed. `log_start` is the first offset that the log still owes.
    pub fn check(&self, partition: i32, log_start: i64, log: &[Found], lives: &Lives) -> Verdict {
        let mut anomalies = Vec::new();
        let mut all = Self::new(self.incarnation);
        all.repeating.clone_from(&self.repeating);
        let mut newest: BTreeMap<u32, Value> = BTreeMap::new();
        for found in log {
            let value = match self.read(partition, found) {
                Ok(value) => value,
                Err(anomaly) => {
                    anomalies.push(anomaly);
                    continue;
                }
            };
            if let Some(before) = newest.insert(value.producer, value)
                && before.sequence > value.sequence
                && !self.repeating.contains(&value.producer)
            {
                anomalies.push(Anomaly::Reordered {
                    before,
                    after: value,
                });
            }
            all.claim(found.offset, value, Strength::Cached, lives.current());
        }
        let claimed = self.claims.range((partition, 0)..=(partition, i64::MAX));
        for (place, claims) in claimed {
            for claim in claims.iter() {
                all.claim(place.1, claim.value, claim.strength, claim.first);
                let noted = all.note(place.1, claim.value, claim.strength, claim.last);
                noted.answered = claim.answered;
            }
        }
        let taken = all.judge(log_start, lives, &mut anomalies);
        all.judge_places(lives, &mut anomalies);
        Verdict { anomalies, taken }
    }

    /// Judges what became of every claim, all of one partition, the log of now among them. Gives
    /// how many lossy ends took.
    fn judge(&self, log_start: i64, lives: &Lives, anomalies: &mut Vec<Anomaly>) -> usize {
        let mut count = 0;
        let now = lives.current();
        // By the first lossy end that may have taken it, the lowest offset behind which every such
        // end left something.
        let mut holes: BTreeMap<usize, (i64, (i64, Value))> = BTreeMap::new();
        let survivors = self.survivors(lives);
        for ((_, offset), claims) in &self.claims {
            if claims.more.is_empty() && (claims.first.last >= now || *offset < log_start) {
                continue;
            }
            let mut claims: Vec<Claim> = claims.iter().copied().collect();
            claims.sort_by_key(|claim| (claim.first, claim.last));
            let nexts = claims.iter().skip(1).map(Some).chain([None]);
            for (claim, next) in claims.iter().zip(nexts) {
                let until = match next {
                    Some(next) => next.first,
                    // Alive, or gone with the log's front.
                    None if claim.last >= now || *offset < log_start => continue,
                    None => now,
                };
                let end = lives.lossy_end(claim.last, until);
                match end.filter(|_| claim.strength == Strength::Cached) {
                    Some(end) => {
                        count += 1;
                        let mut ends = (end..until.min(now)).filter(|life| lives.lossy[*life]);
                        let behind = |end| survivors.get(&end).filter(|last| last.0 > *offset);
                        if ends.all(|end| behind(end).is_some())
                            && let Some(last) = behind(end)
                        {
                            holes.entry(end).or_insert((*offset, *last));
                        }
                    }
                    None => anomalies.push(match next {
                        Some(next) => Anomaly::OtherValue {
                            offset: *offset,
                            claimed: claim.value,
                            found: next.value,
                        },
                        None => Anomaly::Lost {
                            offset: *offset,
                            value: claim.value,
                        },
                    }),
                }
            }
        }
        for (offset, (survivor, value)) in holes.into_values() {
            anomalies.push(Anomaly::Hole {
                offset,
                survivor,
                value,
            });
        }
        count
    }

    /// Of each lossy end, the last offset with a value that it certainly left, and the value.
    fn survivors(&self, lives: &Lives) -> BTreeMap<usize, (i64, Value)> {
        let mut last = BTreeMap::new();
        for ((_, offset), claims) in &self.claims {
            for claim in claims.iter() {
                let Some(answered) = claim.answered else {
                    continue;
                };
                for end in answered..claim.last.min(lives.lossy.len()) {
                    if lives.lossy[end] {
                        last.insert(end, (*offset, claim.value));
                    }
                }
            }
        }
        last
    }

    /// Judges that no value was seen at two offsets, unless a lossy end took it from the first.
    fn judge_places(&self, lives: &Lives, anomalies: &mut Vec<Anomaly>) {
        let mut all: Vec<(Value, usize, usize, i64)> = self
            .claims
            .iter()
            .flat_map(|((_, offset), claims)| {
                claims
                    .iter()
                    .map(|claim| (claim.value, claim.first, claim.last, *offset))
            })
            .filter(|(value, ..)| !self.repeating.contains(&value.producer))
            .collect();
        all.sort_unstable();
        for pair in all.windows(2) {
            let [(value, _, until, first), (again, since, _, second)] = pair else {
                continue;
            };
            if value == again && lives.lossy_end(*until, *since).is_none() {
                anomalies.push(Anomaly::Doubled {
                    value: *value,
                    first: *first,
                    second: *second,
                });
            }
        }
    }
}

#[cfg(test)]
#[path = "oracle_tests.rs"]
mod tests;
