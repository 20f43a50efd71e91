//! The oracle of durability: acknowledged = present, once, in order, at its offset.
//!
//! Every value is unique and says who made it, for which partition, as which of its values; so a
//! record that turns up in another place, twice or out of order convicts itself. Anomalies are
//! numbered as in the catalogue: A1 lost, A3 doubled, A4 two values at one offset, A9 reordered,
//! A11 acknowledged at another offset, A12 altered or misplaced.

use std::collections::BTreeMap;

/// What one record says of itself; 24 bytes and a checksum over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value {
    /// Which producer made it.
    pub producer: u32,
    /// For which partition.
    pub partition: i32,
    /// The how-manieth value of this producer for this partition, from 0.
    pub sequence: u64,
}

impl Value {
    /// The bytes of the record's value, padded to `len` (at least 20).
    pub fn encode(self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len.max(20));
        bytes.extend_from_slice(&self.producer.to_be_bytes());
        bytes.extend_from_slice(&self.partition.to_be_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        let fill = (self.sequence as u8) ^ (self.producer as u8);
        bytes.resize(len.max(20) - 4, fill);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads a value back; `None` when its bytes are not what was made.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(content) != u32::from_be_bytes(*crc) {
            return None;
        }
        let (producer, rest) = content.split_first_chunk::<4>()?;
        let (partition, rest) = rest.split_first_chunk::<4>()?;
        let (sequence, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            producer: u32::from_be_bytes(*producer),
            partition: i32::from_be_bytes(*partition),
            sequence: u64::from_be_bytes(*sequence),
        })
    }
}

/// One thing that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// A1: acknowledged, and not in the log.
    Lost {
        /// Where it was acknowledged.
        offset: i64,
        /// What was acknowledged.
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
    /// A4, A11: acknowledged at an offset that holds another value.
    OtherValue {
        /// The offset.
        offset: i64,
        /// What was acknowledged there.
        acknowledged: Value,
        /// What stands there, or was acknowledged there before.
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
}

/// What producers were promised, to be held against what the logs say.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    acknowledged: BTreeMap<(i32, i64), Value>,
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
    /// Notes that `value` was acknowledged at `offset`. Gives back an anomaly when another value
    /// was acknowledged there before.
    pub fn acknowledge(&mut self, offset: i64, value: Value) -> Option<Anomaly> {
        let earlier = self.acknowledged.insert((value.partition, offset), value);
        earlier
            .filter(|earlier| *earlier != value)
            .map(|found| Anomaly::OtherValue {
                offset,
                acknowledged: value,
                found,
            })
    }

    /// How many records were acknowledged.
    pub fn len(&self) -> usize {
        self.acknowledged.len()
    }

    /// `true` when nothing was acknowledged: a run that proves nothing.
    pub fn is_empty(&self) -> bool {
        self.acknowledged.is_empty()
    }

    /// Holds the whole log of one partition, in the order in which it was read, against what was
    /// promised. `log_start` is the first offset that the log still owes.
    pub fn check(&self, partition: i32, log_start: i64, log: &[Found]) -> Vec<Anomaly> {
        let mut anomalies = Vec::new();
        let mut by_offset = BTreeMap::new();
        let mut offset_of = BTreeMap::new();
        let mut newest: BTreeMap<u32, Value> = BTreeMap::new();
        for found in log {
            let Some(value) = Value::decode(&found.value).filter(|v| v.partition == partition)
            else {
                anomalies.push(Anomaly::Altered {
                    partition,
                    offset: found.offset,
                });
                continue;
            };
            by_offset.insert(found.offset, value);
            if let Some(first) = offset_of.insert(value, found.offset) {
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
        }
        let owed = self
            .acknowledged
            .range((partition, log_start)..=(partition, i64::MAX));
        for ((_, offset), value) in owed {
            match by_offset.get(offset) {
                Some(found) if found == value => {}
                Some(found) => anomalies.push(Anomaly::OtherValue {
                    offset: *offset,
                    acknowledged: *value,
                    found: *found,
                }),
                None => anomalies.push(Anomaly::Lost {
                    offset: *offset,
                    value: *value,
                }),
            }
        }
        anomalies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(sequence: u64) -> Value {
        Value {
            producer: 1,
            partition: 0,
            sequence,
        }
    }

    fn found(offset: i64, sequence: u64) -> Found {
        Found {
            offset,
            value: value(sequence).encode(64),
        }
    }

    fn promised(count: u64) -> Promises {
        let mut promises = Promises::default();
        for sequence in 0..count {
            assert_eq!(promises.acknowledge(sequence as i64, value(sequence)), None);
        }
        promises
    }

    #[test]
    fn a_log_that_keeps_its_promises_has_no_anomaly() {
        let log = [found(0, 0), found(1, 1), found(2, 2)];
        assert_eq!(promised(2).check(0, 0, &log), []);
    }

    #[test]
    fn a_lost_record_is_found_unless_the_log_start_passed_it() {
        let log = [found(1, 1)];
        assert_eq!(
            promised(2).check(0, 0, &log),
            [Anomaly::Lost {
                offset: 0,
                value: value(0)
            }]
        );
        assert_eq!(promised(2).check(0, 1, &log), []);
    }

    #[test]
    fn a_doubled_record_is_found() {
        let log = [found(0, 0), found(1, 1), found(2, 1)];
        let doubled = Anomaly::Doubled {
            value: value(1),
            first: 1,
            second: 2,
        };
        assert_eq!(promised(2).check(0, 0, &log), [doubled]);
    }

    #[test]
    fn reordered_records_are_found() {
        let log = [found(0, 1), found(1, 0)];
        let anomalies = Promises::default().check(0, 0, &log);
        assert_eq!(
            anomalies,
            [Anomaly::Reordered {
                before: value(1),
                after: value(0)
            }]
        );
    }

    #[test]
    fn an_altered_or_misplaced_record_is_found() {
        let mut altered = found(0, 0);
        altered.value[9] ^= 1;
        let log = [altered];
        let anomalies = Promises::default().check(0, 0, &log);
        assert_eq!(
            anomalies,
            [Anomaly::Altered {
                partition: 0,
                offset: 0
            }]
        );
        let anomalies = Promises::default().check(1, 0, &[found(0, 0)]);
        assert_eq!(
            anomalies,
            [Anomaly::Altered {
                partition: 1,
                offset: 0
            }]
        );
    }

    #[test]
    fn another_value_at_an_acknowledged_offset_is_found() {
        let log = [found(0, 5)];
        assert!(matches!(
            promised(1).check(0, 0, &log)[..],
            [Anomaly::OtherValue { .. }]
        ));
        assert!(promised(1).acknowledge(0, value(7)).is_some());
    }
}
