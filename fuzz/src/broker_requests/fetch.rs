//! Fetch requests without sessions, and what a row of any fetch's answer must be.

use millrace_protocol::api::Api;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millrace_protocol::messages::fetch_response::PartitionData;
use millrace_protocol::messages::{FetchRequest, FetchResponse, Uuid};
use millrace_protocol::records::{Scratch, batches, record_iter};

use super::model::{Log, Model, Seen};
use super::{Run, no_id, place, text, version};
use crate::input::Input;

/// First version with leader epochs, with diverging epochs, that names topics by id, that has the
/// replica's state in a tag, that says the log start.
const EPOCHS_FROM: i16 = 9;
const DIVERGING_FROM: i16 = 12;
const IDS_FROM: i16 = 13;
const REPLICA_STATE_FROM: i16 = 15;
const LOG_START_FROM: i16 = 5;

/// What a limit is when it is meant to limit nothing.
pub(super) const PLENTY: i32 = 1 << 20;

/// What is asked of one partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) name: &'static str,
    pub(super) id: Uuid,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) current_epoch: i32,
    pub(super) last_epoch: i32,
    pub(super) max_bytes: i32,
}

impl Ask {
    /// The topic of a request with this partition alone.
    pub(super) fn topic(&self, version: i16) -> FetchTopic {
        let mut partition = FetchPartition::default();
        partition.partition = self.partition;
        partition.fetch_offset = self.offset;
        partition.partition_max_bytes = self.max_bytes;
        if version >= EPOCHS_FROM {
            partition.current_leader_epoch = self.current_epoch;
        }
        if version >= DIVERGING_FROM {
            partition.last_fetched_epoch = self.last_epoch;
        }
        let mut topic = FetchTopic::default();
        if version >= IDS_FROM {
            topic.topic_id = self.id;
        } else {
            topic.topic = text(self.name);
        }
        topic.partitions = vec![partition];
        topic
    }
}

/// What a row must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Refused(ErrorCode),
    Diverging(i32, i64),
    Records,
}

impl Run<'_> {
    /// One or two partitions.
    pub(super) async fn fetch(&mut self, input: &mut Input<'_>) {
        let api = (Api::Fetch, version(Api::Fetch, input));
        let flags = input.byte();
        let mut request = FetchRequest::default();
        request.max_wait_ms = [0, 0, 20, -1][usize::from(flags % 4)];
        request.min_bytes = [1, 0, 1, 1 << 20][usize::from(flags / 4 % 4)];
        request.max_bytes = [PLENTY, PLENTY, 200, 0][usize::from(flags / 16 % 4)];
        request.isolation_level = (flags >> 6) as i8 & 1;
        let mut asks: Vec<Ask> = Vec::new();
        for _ in 0..=(flags >> 7) {
            let ask = self.ask(api.1, input);
            let same = |other: &Ask| {
                let by_id = api.1 >= IDS_FROM;
                by_id && other.id == ask.id || !by_id && other.name == ask.name
            };
            if asks.iter().any(same) {
                break;
            }
            asks.push(ask);
        }
        request.topics = asks.iter().map(|ask| ask.topic(api.1)).collect();
        let follower = flags == 0x7f;
        if follower && api.1 >= REPLICA_STATE_FROM {
            request.replica_state.replica_id = 2;
        } else if follower {
            request.replica_id = 2;
        }
        let answer: Option<FetchResponse> = self.wire.ask(api, &request).await;
        let answer = answer.expect("it is answered");
        assert_eq!((answer.error_code, answer.session_id), (0, 0));
        assert_eq!(answer.responses.len(), asks.len(), "each row once");
        let plenty = request.max_bytes == PLENTY;
        let mut empty = true;
        for (topic, ask) in answer.responses.iter().zip(&asks) {
            let [row] = &topic.partitions[..] else {
                panic!("one partition was asked for: {topic:?}");
            };
            assert_eq!(row.partition_index, ask.partition);
            if follower {
                let code = ErrorCode::ClusterAuthorizationFailed.code();
                assert_eq!(row.error_code, code, "nobody follows yet");
                continue;
            }
            let must_show = plenty && ask.max_bytes == PLENTY || empty;
            let limit = request.max_bytes.min(ask.max_bytes);
            let length = self
                .model
                .check_row((api.1, ask), row, (must_show, limit, empty));
            empty &= length == 0;
        }
    }

    /// What is asked of one partition, by four bytes.
    pub(super) fn ask(&mut self, version: i16, input: &mut Input<'_>) -> Ask {
        let (name, partition) = place(input);
        let (from, shape) = (input.byte(), input.byte());
        let id = if version >= IDS_FROM {
            self.id_of(name)
        } else {
            no_id()
        };
        let mut ask = Ask {
            name,
            id,
            partition,
            offset: i64::from(from) - 1,
            current_epoch: -1,
            last_epoch: -1,
            max_bytes: [PLENTY, PLENTY, 100, 0][usize::from(shape % 4)],
        };
        if let Some(log) = self.model.log(name, partition) {
            let readable = *log.high_watermark().start();
            ask.offset = match from % 8 {
                0 | 1 => log.start,
                2 => log.end,
                3 => readable,
                4 => log.start - 1,
                5 => log.end + 1,
                _ => log.start + i64::from(from / 8) % (log.end - log.start + 1),
            };
            if version >= EPOCHS_FROM {
                ask.current_epoch = log.epoch_near(shape / 4 % 8);
            }
            if version >= DIVERGING_FROM && shape >= 0x80 {
                ask.last_epoch = log.epoch_near(shape / 32 % 4 + 2);
            }
        }
        ask
    }
}

impl Log {
    /// A leader epoch that a client names: none, the present one, the one before, the one after.
    pub(super) fn epoch_near(&self, choice: u8) -> i32 {
        match choice % 8 {
            0 | 1 => -1,
            4 => self.epoch - 1,
            5 => self.epoch + 1,
            _ => self.epoch,
        }
    }

    /// What a session was asked in one version it answers in every other.
    fn wanted(&self, ask: &Ask) -> Wanted {
        if let Err(code) = self.check_epoch(ask.current_epoch) {
            return Wanted::Refused(code);
        }
        if ask.last_epoch >= 0 {
            let (epoch, end) = self.epoch_end(ask.last_epoch);
            if epoch < 0 || ask.offset < self.start {
                return Wanted::Refused(ErrorCode::OffsetOutOfRange);
            }
            if epoch < ask.last_epoch || end < ask.offset {
                return Wanted::Diverging(epoch, end);
            }
        }
        if (self.start..=self.end).contains(&ask.offset) {
            Wanted::Records
        } else {
            Wanted::Refused(ErrorCode::OffsetOutOfRange)
        }
    }
}

impl Model {
    /// What the row of a partition must be.
    pub(super) fn wanted(&mut self, (version, ask): (i16, &Ask)) -> Wanted {
        let name = if version >= IDS_FROM {
            self.name_of(ask.id)
        } else {
            Some(ask.name.to_owned())
        };
        let Some(topic) = name.and_then(|name| self.topics.get_mut(&name)) else {
            return Wanted::Refused(if version >= IDS_FROM {
                ErrorCode::UnknownTopicId
            } else {
                ErrorCode::UnknownTopicOrPartition
            });
        };
        match topic.log(ask.partition) {
            Some(log) => log.wanted(ask),
            None => Wanted::Refused(ErrorCode::UnknownTopicOrPartition),
        }
    }

    /// The log that an ask names; [`Self::wanted`] says whether it is there.
    pub(super) fn log_of(&mut self, (version, ask): (i16, &Ask)) -> Option<&mut Log> {
        let name = if version >= IDS_FROM {
            self.name_of(ask.id)?
        } else {
            ask.name.to_owned()
        };
        self.log(&name, ask.partition)
    }

    /// Holds a row to what it must be; gives the bytes of its records. `must_show`: if there is
    /// anything to read, some of it is in the row. At most `limit` bytes are, or one batch where
    /// the row is the `first` with any.
    pub(super) fn check_row(
        &mut self,
        asked: (i16, &Ask),
        row: &PartitionData,
        (must_show, limit, first): (bool, i32, bool),
    ) -> usize {
        let (version, ask) = asked;
        let wanted = self.wanted(asked);
        let records = row.records.clone().expect("records are never null");
        let code = match wanted {
            Wanted::Refused(code) => code.code(),
            Wanted::Diverging(..) | Wanted::Records => 0,
        };
        assert_eq!(row.error_code, code, "{ask:?}: {row:?}");
        if version >= DIVERGING_FROM {
            let told = (row.diverging_epoch.epoch, row.diverging_epoch.end_offset);
            match wanted {
                Wanted::Diverging(epoch, end) => assert_eq!(told, (epoch, end), "{ask:?}"),
                Wanted::Refused(_) | Wanted::Records => assert_eq!(told, (-1, -1), "{ask:?}"),
            }
        }
        let Some(log) = self.log_of(asked).filter(|_| code == 0) else {
            assert!(records.is_empty(), "{ask:?}: records with an error");
            return 0;
        };
        let readable = *log.high_watermark().start();
        log.shown(row.high_watermark);
        assert_eq!(row.last_stable_offset, row.high_watermark);
        if version >= LOG_START_FROM {
            assert_eq!(row.log_start_offset, log.start);
        }
        if wanted != Wanted::Records {
            assert!(records.is_empty(), "{ask:?}: records after a divergence");
            return 0;
        }
        assert!(
            !records.is_empty() || !must_show || ask.offset >= readable,
            "{ask:?}: nothing"
        );
        let length = records.len();
        let first_length = log.check_records(ask.offset, row);
        let limit = usize::try_from(limit).unwrap_or(0);
        assert!(
            length <= limit || first && length == first_length,
            "{ask:?}: {length} bytes for {limit}"
        );
        length
    }
}

impl Log {
    /// The records are those of the log, from the batch that holds `offset` on, none at or past the
    /// high watermark. Gives the bytes of the first batch.
    fn check_records(&self, offset: i64, row: &PartitionData) -> usize {
        let records = row.records.clone().unwrap_or_default();
        let mut own = self.from(offset).iter();
        let mut scratch = Scratch::new(1 << 20);
        let mut first_length = None;
        for batch in batches(records).map_while(Result::ok) {
            first_length.get_or_insert(batch.bytes.len());
            batch.verify_crc().expect("a batch of the log is whole");
            let own = own.next().expect("no more batches than were written");
            let header = &batch.header;
            assert_eq!(
                (header.base_offset, header.last_offset()),
                (own.base, own.last())
            );
            assert!(
                own.base < row.high_watermark,
                "{} is not readable",
                own.base
            );
            assert_eq!(header.partition_leader_epoch, own.epoch, "at {}", own.base);
            let producer = header.has_producer_id().then_some((
                header.producer_id,
                header.producer_epoch,
                header.base_sequence,
            ));
            assert_eq!(producer, own.producer, "at {}", own.base);
            assert_eq!(header.max_timestamp, own.max_time_ms(), "at {}", own.base);
            let read = record_iter(&batch, &mut scratch).expect("its records can be read");
            let seen = read.map(|record| {
                let record = record.expect("each of them");
                let owned = |part: Option<&[u8]>| part.map(bytes::Bytes::copy_from_slice);
                Seen {
                    time_ms: record.timestamp,
                    key: owned(record.key),
                    value: owned(record.value),
                }
            });
            assert_eq!(seen.collect::<Vec<_>>(), own.records, "at {}", own.base);
        }
        first_length.unwrap_or(0)
    }
}
