//! Defaults of the limits on memory where there is little of it.
//!
//! What always holds: a default is only ever lowered; what somebody set stays as it was set, and
//! what is related to it is chosen so that the two agree.

use crate::BrokerConfig;
use crate::error::{ConfigError, Source};
use crate::load::{self, Relation};
use crate::values::Values;

/// A limit whose default is at most a share of the memory.
struct Share {
    key: &'static str,
    /// The share is one part of this many.
    parts: u64,
    /// Bytes that one of what is counted takes; 1 where bytes are counted.
    unit_bytes: u64,
    /// Least that is of use.
    floor: u64,
    /// Each log directory has as much.
    per_directory: bool,
}

const fn share(key: &'static str, parts: u64, floor: u64) -> Share {
    Share {
        key,
        parts,
        unit_bytes: 1,
        floor,
        per_directory: false,
    }
}

/// Three quarters for requests, answers, unflushed bytes, sessions and producers together (the second
/// and third are inside the first, journals are in the page cache): the rest is for buffers, indexes.
const SHARES: [Share; 9] = [
    share("queued.max.request.bytes", 6, 4 << 20),
    share("socket.request.max.bytes", 12, 2 << 20),
    share("connection.request.bytes.max", 12, 1 << 20),
    share("queued.response.bytes.max", 12, 1 << 20),
    Share {
        per_directory: true,
        ..share("log.unflushed.bytes.max", 6, 1 << 20)
    },
    Share {
        per_directory: true,
        ..share("log.journal.file.bytes.max", 12, 1 << 20)
    },
    // The kernel keeps what it knows of three open files.
    Share {
        unit_bytes: 8 << 10,
        per_directory: true,
        ..share("log.open.files.max", 16, 256)
    },
    Share {
        unit_bytes: 500,
        ..share("fetch.session.partitions.max", 4, 1000)
    },
    Share {
        unit_bytes: 250,
        ..share("producer.ids.max", 8, 1000)
    },
];

/// Limits whose default was lowered: key and value.
pub type Lowered = Vec<(&'static str, u64)>;

impl BrokerConfig {
    /// Lowers the defaults of the limits on memory to their share of `memory_bytes`, which is what
    /// the process may use. Gives what was chosen, by key; nothing where the defaults fit.
    pub fn fit_memory(&self, memory_bytes: u64) -> Result<(Self, Lowered), ConfigError> {
        let mut values = self.values().clone();
        let directories = self.log.dirs.len().max(1) as u64;
        for share in &SHARES {
            let among = if share.per_directory { directories } else { 1 };
            let fair = memory_bytes / share.parts / among / share.unit_bytes;
            lower(&mut values, share.key, fair.max(share.floor))?;
        }
        agree(&mut values)?;
        let mut chosen = Vec::new();
        for share in &SHARES {
            let now = values.count(share.key);
            if now != self.values().count(share.key) {
                chosen.push((share.key, now));
            }
        }
        Ok((Self::from_values(values)?, chosen))
    }
}

/// The default becomes `most`, if that is less.
fn lower(values: &mut Values, key: &'static str, most: u64) -> Result<(), ConfigError> {
    if values.count(key) > most {
        values.set(key, &most.to_string(), Source::Default)?;
    }
    Ok(())
}

/// What was set on one side of a relation moves the default on the other.
fn agree(values: &mut Values) -> Result<(), ConfigError> {
    for Relation {
        small,
        factor,
        large,
        ..
    } in load::RELATIONS
    {
        let (least, most) = (
            values.number(small).saturating_mul(factor),
            values.number(large),
        );
        if least <= most {
            continue;
        }
        let is_default = |key: &str| {
            let set = values.setting(key);
            set.is_none_or(|set| set.source == Source::Default)
        };
        if is_default(large) {
            // At most what the default of the table was, or the relation did not hold before.
            values.set(large, &least.to_string(), Source::Default)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn fitted(pairs: &[(&str, &str)], memory: u64) -> (BrokerConfig, Lowered) {
        let config = BrokerConfig::from_pairs(pairs.iter().copied()).unwrap();
        config.fit_memory(memory).unwrap()
    }

    #[test]
    fn with_memory_enough_the_defaults_stay() {
        for memory in [2 << 30, u64::MAX] {
            let (config, chosen) = fitted(&[], memory);
            assert_eq!(config, BrokerConfig::default());
            assert_eq!(chosen, []);
        }
    }

    #[test]
    fn with_little_memory_defaults_are_a_share_of_it_and_never_below_their_floor() {
        let (config, chosen) = fitted(&[], 120 * MIB);
        assert_eq!(config.network.queued_bytes_max, 20 * MIB);
        assert_eq!(u64::from(config.network.request_bytes_max), 10 * MIB);
        assert_eq!(config.network.connection_bytes_max, 10 * MIB);
        assert_eq!(config.network.response_bytes_max, 10 * MIB);
        assert_eq!(config.log.unflushed_bytes_max, 20 * MIB);
        assert_eq!(config.log.journal_file_bytes_max, 10 * MIB);
        assert_eq!(chosen.len(), SHARES.len());
        let described = config.describe();
        let row = described.iter().find(|row| row.key.name == SHARES[0].key);
        assert_eq!(row.unwrap().value.as_deref(), Some("20971520"));
        for memory in [0, 1, MIB, 16 * MIB] {
            let (config, _) = fitted(&[], memory);
            assert_eq!(config.network.queued_bytes_max, 4 * MIB);
            assert_eq!(
                config.fetch.session_partitions_max,
                1000.max((memory / 2000) as u32)
            );
        }
    }

    #[test]
    fn directories_share_what_each_of_them_has() {
        let (config, _) = fitted(&[("log.dirs", "/a,/b")], 120 * MIB);
        assert_eq!(config.log.unflushed_bytes_max, 10 * MIB);
        assert_eq!(config.log.journal_file_bytes_max, 5 * MIB);
    }

    #[test]
    fn what_was_set_stays_and_what_is_related_agrees_with_it() {
        let set = "67108864";
        for key in [
            "queued.response.bytes.max",
            "message.max.bytes",
            "socket.request.max.bytes",
            "log.journal.initial.bytes",
            "log.unflushed.bytes.max",
        ] {
            let (config, _) = fitted(&[(key, set)], 64 * MIB);
            let described = config.describe();
            let row = described.iter().find(|row| row.key.name == key).unwrap();
            assert_eq!(row.value.as_deref(), Some(set), "{key}");
        }
        let (config, _) = fitted(&[("message.max.bytes", set)], 64 * MIB);
        assert_eq!(u64::from(config.network.request_bytes_max), 64 * MIB);
        assert_eq!(config.network.queued_bytes_max, 64 * MIB);
    }
}
