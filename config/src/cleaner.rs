//! How logs are compacted on this node; what a topic wants of it is among the topic's keys.

use std::time::Duration;

use crate::error::ConfigError;
use crate::key::{Check, Key, Kind};
use crate::values::Values;

const THREADS: &str = "log.cleaner.threads";

pub(crate) const KEYS: &[Key] = &[
    Key::kafka(
        "log.cleaner.enable",
        Kind::Bool,
        Some("true"),
        "Whether logs of compacted topics are compacted at all.",
    ),
    Key::kafka(
        THREADS,
        Kind::Int,
        Some("1"),
        "How many logs are compacted at once; 0 compacts none.",
    )
    .check(Check::AtLeast(0))
    .dynamic(),
    Key::kafka(
        "log.cleaner.backoff.ms",
        Kind::Long,
        Some("15000"),
        "Time to the next look for a log to compact, when there was none.",
    )
    .check(Check::AtLeast(0))
    .dynamic(),
    // Kafka takes any value, and fails once it compacts when too little of it is left for each thread.
    Key::kafka(
        "log.cleaner.dedupe.buffer.size",
        Kind::Long,
        Some("134217728"),
        "Most memory for the keys of the logs that are compacted, all together; 24 bytes a key.",
    )
    .check(Check::AtLeast(0))
    .dynamic(),
    // Kafka takes any number; beyond these two its cleaner can't go on.
    Key::kafka(
        "log.cleaner.io.buffer.load.factor",
        Kind::Double,
        Some("0.9"),
        "How full the memory for keys gets before a log is compacted in parts.",
    )
    .check(Check::Between(0, 1))
    .dynamic(),
    Key::kafka(
        "log.cleaner.io.buffer.size",
        Kind::Int,
        Some("524288"),
        "Most memory for reading and writing while logs are compacted, all together; a batch that is \
         larger than that is held nevertheless.",
    )
    .check(Check::AtLeast(0))
    .dynamic(),
    // Kafka takes any number; with 0 its cleaner stands still.
    Key::kafka(
        "log.cleaner.io.max.bytes.per.second",
        Kind::Double,
        Some("1.7976931348623157E308"),
        "Most bytes that compaction reads and writes in a second, all logs together.",
    )
    .check(Check::AtLeast(1))
    .dynamic(),
    Key::own(
        "log.cleaner.retry.ms",
        Kind::Long,
        "3600000",
        "Time until a log that could not be compacted, because a batch can't be read, is tried again.",
    )
    .check(Check::AtLeast(1))
    .dynamic(),
];

/// Compaction on this node.
#[derive(Debug, Clone, PartialEq)]
pub struct CleanerConfig {
    /// `log.cleaner.enable`.
    pub enabled: bool,
    /// `log.cleaner.threads`: so many logs at once; 0 for none.
    pub threads: u32,
    /// `log.cleaner.backoff.ms`.
    pub backoff: Duration,
    /// `log.cleaner.dedupe.buffer.size`, in bytes, for all threads together.
    pub dedupe_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`, 0 to 1.
    pub load_factor: f64,
    /// `log.cleaner.io.buffer.size`, in bytes, for all threads together.
    pub io_buffer_bytes: u32,
    /// `log.cleaner.io.max.bytes.per.second`: 1 or more, read and written together.
    pub io_bytes_per_second_max: f64,
    /// `log.cleaner.retry.ms`.
    pub retry_after: Duration,
}

impl CleanerConfig {
    pub(crate) fn read(values: &Values) -> Self {
        Self {
            enabled: values.bool("log.cleaner.enable"),
            threads: values.count32(THREADS),
            backoff: values.millis("log.cleaner.backoff.ms"),
            dedupe_bytes: values.count("log.cleaner.dedupe.buffer.size"),
            load_factor: values.double("log.cleaner.io.buffer.load.factor"),
            io_buffer_bytes: values.count32("log.cleaner.io.buffer.size"),
            io_bytes_per_second_max: values.double("log.cleaner.io.max.bytes.per.second"),
            retry_after: values.millis("log.cleaner.retry.ms"),
        }
    }
}

/// Kafka's rule for a change while the broker runs: no fewer threads than half of those that there
/// are, no more than twice as many, and one at least.
pub(crate) fn check_change(live: &Values, wanted: &Values) -> Result<(), ConfigError> {
    let (now, next) = (live.count32(THREADS), wanted.count32(THREADS));
    if now == next || (next >= 1 && next >= now / 2 && next <= now.saturating_mul(2)) {
        return Ok(());
    }
    let allowed =
        format!("at least 1, at least half and at most twice as many as now, which is {now}");
    Err(wanted.refuse(THREADS, &allowed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BrokerConfig;
    use crate::topic::Overrides;

    fn with(pairs: &[(&str, &str)]) -> Overrides {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn the_defaults_are_kafkas() {
        let expected = CleanerConfig {
            enabled: true,
            threads: 1,
            backoff: Duration::from_secs(15),
            dedupe_bytes: 128 << 20,
            load_factor: 0.9,
            io_buffer_bytes: 512 << 10,
            io_bytes_per_second_max: f64::MAX,
            retry_after: Duration::from_hours(1),
        };
        assert_eq!(BrokerConfig::default().cleaner, expected);
    }

    #[test]
    fn every_key_reaches_its_field_while_a_broker_runs_but_for_enable() {
        let started = BrokerConfig::from_pairs([("log.cleaner.enable", "false")]).unwrap();
        let own = with(&[
            ("log.cleaner.threads", "2"),
            ("log.cleaner.backoff.ms", "3"),
            ("log.cleaner.dedupe.buffer.size", "4"),
            ("log.cleaner.io.buffer.load.factor", "0.5"),
            ("log.cleaner.io.buffer.size", "6"),
            ("log.cleaner.io.max.bytes.per.second", "7.5"),
            ("log.cleaner.retry.ms", "8"),
        ]);
        let (live, refused) = started.with_dynamic(&with(&[]), &own);
        assert_eq!(refused, []);
        let expected = CleanerConfig {
            enabled: false,
            threads: 2,
            backoff: Duration::from_millis(3),
            dedupe_bytes: 4,
            load_factor: 0.5,
            io_buffer_bytes: 6,
            io_bytes_per_second_max: 7.5,
            retry_after: Duration::from_millis(8),
        };
        assert_eq!(live.cleaner, expected);
    }

    #[test]
    fn threads_change_by_half_or_double_at_most_as_in_kafka() {
        let of = |threads: &str| BrokerConfig::from_pairs([(THREADS, threads)]).unwrap();
        for (now, next, allowed) in [
            ("1", "1", true),
            ("1", "2", true),
            ("1", "3", false),
            ("5", "2", true),
            ("5", "1", false),
            ("2", "0", false),
            ("0", "0", true),
        ] {
            let live = of(now);
            let checked = live.check_change(&live, &of(next));
            assert_eq!(checked.is_ok(), allowed, "{now} to {next}: {checked:?}");
        }
    }

    #[test]
    fn what_no_cleaner_can_go_by_is_refused() {
        for (key, value) in [
            ("log.cleaner.io.buffer.load.factor", "1.1"),
            ("log.cleaner.io.buffer.load.factor", "NaN"),
            ("log.cleaner.io.max.bytes.per.second", "0"),
            ("log.cleaner.io.max.bytes.per.second", "inf"),
            ("log.cleaner.dedupe.buffer.size", "-1"),
            (THREADS, "-1"),
        ] {
            BrokerConfig::from_pairs([(key, value)]).unwrap_err();
        }
    }
}
