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
//! - a log start never moves back, and never over what retention does not allow (A14).
//!
//! acks=0 claims nothing: its values are held to the rules of place, number and order alone.

use std::collections::BTreeMap;

use crate::value::Value;

/// What a claim is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// It outlives the process, not the page cache.
    Cached,
    /// It outlives everything.
    Durable,
}

/// One thing that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// A1: claimed, and not in the log, though nothing allowed to lose it happened.
    Lost {
        /// Where it was claimed.
        offset: i64,
        /// What was claimed.
        value: Value,
    },
    /// A1: a lossy end took `offset` and left a later one that was there before it.
    Hole {
        /// What is gone.
        offset: i64,
        /// What lay behind it and is still there.
        survivor: i64,
        /// The value there.
        value: Value,
    },
    /// A3: one value at two offsets.
    Doubled {
        /// The value.
        value: Value,
        /// Where it stands first.
        first: i64,
        /// Where it stands again.
        second: i64,
    },
    /// A4, A11: claimed at an offset that holds another value.
    OtherValue {
        /// The offset.
        offset: i64,
        /// What was claimed there.
        claimed: Value,
        /// What was seen there too, and nothing between the two made room for it.
        found: Value,
    },
    /// A9: a later value of one producer before an earlier one.
    Reordered {
        /// What stands first.
        before: Value,
        /// What stands after it.
        after: Value,
    },
    /// A12: bytes that nobody made, or made for another partition.
    Altered {
        /// Where they were found.
        partition: i32,
        /// At which offset.
        offset: i64,
    },
    /// A15: a value of another incarnation of the topic.
    OldTopic {
        /// At which offset.
        offset: i64,
        /// The value.
        value: Value,
        /// The incarnation in which it turned up.
        incarnation: u32,
    },
    /// A14: a log start that was seen moved back.
    StartMovedBack {
        /// The partition.
        partition: i32,
        /// Where it was seen.
        seen: i64,
        /// Where it is.
        found: i64,
    },
    /// A14: a log start over records that retention keeps.
    StartTooFar {
        /// The partition.
        partition: i32,
        /// The log start.
        start: i64,
        /// Why it may not be there.
        why: String,
    },
    /// R15: acknowledged by a directory of which a sync had failed.
    AfterSyncError {
        /// What was acknowledged.
        value: Value,
    },
    /// T10: an idempotent producer's sequences are not known, though nothing allowed to lose them.
    Forgotten {
        /// What was refused as out of order.
        value: Value,
    },
    /// A16: a topic is not what the last answer about it said.
    Topic(String),
}

impl Anomaly {
    /// The rule's name, for tables.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "lost",
            Self::Hole { .. } => "hole",
            Self::Doubled { .. } => "doubled",
            Self::OtherValue { .. } => "other value",
            Self::Reordered { .. } => "reordered",
            Self::Altered { .. } => "altered",
            Self::OldTopic { .. } => "old topic",
            Self::StartMovedBack { .. } => "start moved back",
            Self::StartTooFar { .. } => "start too far",
            Self::AfterSyncError { .. } => "after sync error",
            Self::Forgotten { .. } => "forgotten",
            Self::Topic(_) => "topic",
        }
    }
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

/// What was claimed of one incarnation of the topic, to be held against what the logs say.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    incarnation: u32,
    claims: BTreeMap<(i32, i64), Vec<Claim>>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it stands.
    pub offset: i64,
    /// Its value's bytes.
    pub value: Vec<u8>,
}

impl Promises {
    /// Of the how-manieth incarnation of the topic, from 0.
    pub fn new(incarnation: u32) -> Self {
        Self {
            incarnation,
            claims: BTreeMap::new(),
        }
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
        let claims = self.claims.entry((value.partition, offset)).or_default();
        let known = claims.iter().position(|claim| claim.value == value);
        let at = known.unwrap_or(claims.len());
        if known.is_none() {
            claims.push(Claim {
                value,
                strength,
                first: life,
                last: life,
                answered: None,
            });
        }
        let claim = &mut claims[at];
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

    /// What `bytes` at `offset` of `partition` are, or what is wrong with them.
    pub fn read(&self, partition: i32, offset: i64, bytes: &[u8]) -> Result<Value, Anomaly> {
        let value = Value::decode(bytes).filter(|value| value.partition == partition);
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
        let mut newest: BTreeMap<u32, Value> = BTreeMap::new();
        let mut places = BTreeMap::new();
        for found in log {
            let value = match self.read(partition, found.offset, &found.value) {
                Ok(value) => value,
                Err(anomaly) => {
                    anomalies.push(anomaly);
                    continue;
                }
            };
            if let Some(first) = places.insert(value, found.offset) {
                anomalies.push(Anomaly::Doubled {
                    value,
                    first,
                    second: found.offset,
                });
            }
            if let Some(before) = newest.insert(value.producer, value)
                && before.sequence > value.sequence
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
            for claim in claims {
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
            let mut claims = claims.clone();
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
            for claim in claims {
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
        let mut seen: BTreeMap<Value, (i64, usize)> = BTreeMap::new();
        let mut all: Vec<(usize, usize, Value, i64)> = self
            .claims
            .iter()
            .flat_map(|((_, offset), claims)| {
                claims
                    .iter()
                    .map(|claim| (claim.first, claim.last, claim.value, *offset))
            })
            .collect();
        all.sort_unstable();
        for (first, last, value, offset) in all {
            if let Some((earlier, until)) = seen.insert(value, (offset, last))
                && lives.lossy_end(until, first).is_none()
            {
                anomalies.push(Anomaly::Doubled {
                    value,
                    first: earlier,
                    second: offset,
                });
            }
        }
    }
}

#[cfg(test)]
#[path = "oracle_tests.rs"]
mod tests;
