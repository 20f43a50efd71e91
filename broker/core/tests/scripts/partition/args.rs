//! The arguments of a partition's commands.

use millrace_core::partition::{
    Acks, Append, BatchProducer, Condition, Durability, EpochStart, Origin, Reader, Recovered,
    Settings,
};

use crate::args::Args;

impl Args {
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
