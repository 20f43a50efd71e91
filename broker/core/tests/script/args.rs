//! The arguments of a command: `key=value` and flags. An argument that no command reads fails the
//! test, so that a misspelt one is not silently nothing.

use std::cell::RefCell;
use std::collections::BTreeSet;

use millrace_core::partition::{
    Acks, Append, BatchProducer, Condition, Durability, EpochStart, Origin, Reader, Recovered,
    Settings,
};

pub(crate) struct Args {
    line: String,
    name: String,
    pairs: Vec<(String, String)>,
    used: RefCell<BTreeSet<String>>,
}

impl Args {
    pub(crate) fn parse(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default().to_owned();
        let pair = |word: &str| {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            (key.to_owned(), value.to_owned())
        };
        Self {
            line: line.to_owned(),
            name,
            pairs: words.map(pair).collect(),
            used: RefCell::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn assert_all_used(&self) {
        let used = self.used.borrow();
        for (key, _) in &self.pairs {
            assert!(used.contains(key), "{}: what is {key}?", self.line);
        }
    }

    pub(crate) fn optional(&self, key: &str) -> Option<&str> {
        self.used.borrow_mut().insert(key.to_owned());
        let found = self.pairs.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.optional(key).is_some()
    }

    pub(crate) fn number(&self, key: &str, default: i64) -> i64 {
        self.optional(key).map_or(default, |value| {
            value
                .parse()
                .unwrap_or_else(|_| panic!("{}: {key} is no number", self.line))
        })
    }

    pub(crate) fn int(&self, key: &str, default: i32) -> i32 {
        i32::try_from(self.number(key, i64::from(default)))
            .unwrap_or_else(|_| panic!("{}: {key} has more than 32 bits", self.line))
    }

    fn unsigned(&self, key: &str, default: u64) -> u64 {
        self.optional(key).map_or(default, |value| {
            value
                .parse()
                .unwrap_or_else(|_| panic!("{}: {key} is no number", self.line))
        })
    }

    fn count(&self, key: &str, default: usize) -> usize {
        usize::try_from(self.unsigned(key, default as u64)).expect("a count fits")
    }

    pub(crate) fn list(&self, key: &str) -> Vec<i32> {
        let value = self.optional(key).unwrap_or_default();
        let items = value.split(',').filter(|item| !item.is_empty());
        items
            .map(|item| item.parse().expect("a list of numbers"))
            .collect()
    }

    pub(crate) fn reader(&self) -> Reader {
        match self.optional("as").unwrap_or("consumer") {
            "consumer" => Reader::Uncommitted,
            "read-committed" => Reader::Committed,
            "follower" => Reader::Replica,
            other => panic!("{}: no such reader: {other}", self.line),
        }
    }

    pub(crate) fn condition(&self) -> Condition {
        let (flushed, committed) = (self.optional("flushed"), self.optional("committed"));
        match (flushed.is_some(), committed.is_some()) {
            (false, false) => Condition::Written,
            (true, false) => Condition::Flushed(self.number("flushed", 0)),
            (false, true) => Condition::HighWatermark(self.number("committed", 0)),
            (true, true) => Condition::FlushedHighWatermark(self.number("committed", 0)),
        }
    }

    pub(crate) fn producer(&self) -> Option<BatchProducer> {
        let (epoch, sequence) = (self.int("producer-epoch", 0), self.int("seq", 0));
        self.optional("pid").map(|_| BatchProducer {
            producer_id: self.number("pid", 0),
            producer_epoch: i16::try_from(epoch).expect("a producer epoch has 16 bits"),
            base_sequence: sequence,
        })
    }

    pub(crate) fn append(&self) -> Append {
        let records = self.int("records", 1);
        Append {
            leader_epoch: self.optional("epoch").map(|_| self.int("epoch", 0)),
            acks: match self.optional("acks").unwrap_or("all") {
                "0" => Acks::None,
                "1" => Acks::Leader,
                "all" => Acks::All,
                other => panic!("{}: no such acks: {other}", self.line),
            },
            producer: self.producer(),
            last_offset_delta: self.int("delta", records - 1),
            max_timestamp: self.number("timestamp", 0),
            transactional: self.flag("transactional"),
            control: self.flag("control"),
            crowded: self.flag("crowded"),
            origin: if self.flag("broker") {
                Origin::Broker
            } else {
                Origin::Client
            },
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        let default = Settings::default();
        Settings {
            min_insync_replicas: self.count("min-isr", default.min_insync_replicas),
            flush_messages: self.unsigned("flush-messages", default.flush_messages),
            flush_ms: self.unsigned("flush-ms", default.flush_ms),
            replica_lag_time_max_ms: self.unsigned("lag-ms", default.replica_lag_time_max_ms),
            producer_id_expiration_ms: self
                .unsigned("expire-ms", default.producer_id_expiration_ms),
            producers_max: self.count("producers-max", default.producers_max),
            ack_waiters_max: self.count("acks-max", default.ack_waiters_max),
            fetch_waiters_max: self.count("fetches-max", default.fetch_waiters_max),
        }
    }

    pub(crate) fn recovered(&self) -> Recovered {
        let log_end = self.number("end", 0);
        let epoch = |item: &str| {
            let (epoch, start) = item.split_once('@').expect("an epoch is epoch@offset");
            EpochStart {
                epoch: epoch.parse().expect("an epoch is a number"),
                start_offset: start.parse().expect("an offset is a number"),
            }
        };
        let epochs = self.optional("epochs").unwrap_or_default().split(',');
        Recovered {
            broker_id: 1,
            settings: self.settings(),
            durability: if self.flag("page-cache") {
                Durability::PageCache
            } else {
                Durability::Fsync
            },
            log_start: self.number("start", 0),
            log_end,
            flushed: self.number("flushed", log_end),
            high_watermark: self.number("high-watermark", log_end),
            cut_count: 0,
            epochs: epochs.filter(|item| !item.is_empty()).map(epoch).collect(),
            may_have_lost: self.flag("may-have-lost"),
            read_only: self.flag("read-only"),
        }
    }
}
