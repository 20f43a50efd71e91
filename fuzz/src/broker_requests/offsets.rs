//! Offsets by time and by epoch, deleting records, and where logs end after a restart.

use millrace_protocol::api::Api;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use millrace_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use millrace_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use millrace_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use millrace_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, ListOffsetsRequest, ListOffsetsResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

use super::model::{GROUPS, Log};
use super::{Run, place, text, version};
use crate::input::Input;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// First version with leader epochs.
const EPOCHS_FROM: i16 = 4;

/// Offset, time and leader epoch of an answer.
type Found = (i64, i64, i32);

const NOTHING: Found = (-1, -1, -1);

impl Run<'_> {
    /// Offsets of one or two partitions by time.
    pub(super) async fn list_offsets(&mut self, input: &mut Input<'_>) {
        let api = (Api::ListOffsets, version(Api::ListOffsets, input));
        let flags = input.byte();
        let mut request = ListOffsetsRequest::default();
        if api.1 >= 2 {
            request.isolation_level = (flags & 1) as i8;
        }
        request.replica_id = -1;
        let mut asked = Vec::new();
        for _ in 0..=(flags >> 7) {
            let (name, partition) = place(input);
            let (which, near) = (input.byte(), input.byte());
            let mut row = ListOffsetsPartition::default();
            row.partition_index = partition;
            row.current_leader_epoch = -1;
            row.timestamp = -i64::from(which % 8);
            if let Some(log) = self.model.log(name, partition) {
                if api.1 >= EPOCHS_FROM {
                    row.current_leader_epoch = log.epoch_near(flags / 2);
                }
                let batches = &log.batches;
                if which >= 0x80 && !batches.is_empty() {
                    let batch = &batches[usize::from(which) % batches.len()];
                    row.timestamp = batch.max_time_ms() + i64::from(near % 16) - 8;
                }
            }
            asked.push((name, row.clone()));
            let mut topic = ListOffsetsTopic::default();
            topic.name = text(name);
            topic.partitions = vec![row];
            request.topics.push(topic);
        }
        let answer: Option<ListOffsetsResponse> = self.wire.ask(api, &request).await;
        let answer = answer.expect("it is answered");
        let rows = || {
            let topics = answer.topics.iter();
            topics.flat_map(|topic| topic.partitions.iter().map(|row| (&*topic.name, row)))
        };
        for (name, ask) in &asked {
            // What is asked twice may be answered once, and one topic's rows stand together.
            let is_own = |(of, row): &(&str, &ListOffsetsPartitionResponse)| {
                (*of, row.partition_index) == (*name, ask.partition_index)
            };
            let (_, row) = rows().find(is_own).expect("each has a row");
            let same = |other: &&(&str, ListOffsetsPartition)| {
                (other.0, other.1.partition_index) == (*name, ask.partition_index)
            };
            let code = if asked.iter().filter(same).count() > 1 {
                ErrorCode::InvalidRequest
            } else {
                self.listing(api.1, name, ask)
            };
            assert_eq!(row.error_code, code.code(), "{name} {ask:?}: {row:?}");
            if code.is_none() {
                let log = self.model.log(name, ask.partition_index);
                log.expect("it is there")
                    .check_listed(api.1, ask.timestamp, row);
            }
        }
    }

    fn listing(&mut self, version: i16, name: &str, ask: &ListOffsetsPartition) -> ErrorCode {
        let known_from = match ask.timestamp {
            0.. | LATEST | EARLIEST => 1,
            MAX_TIMESTAMP => 7,
            EARLIEST_LOCAL => 8,
            LATEST_TIERED => 9,
            EARLIEST_PENDING_UPLOAD => 11,
            _ => i16::MAX,
        };
        if version < known_from {
            return ErrorCode::UnsupportedVersion;
        }
        match self.model.log(name, ask.partition_index) {
            None => ErrorCode::UnknownTopicOrPartition,
            Some(log) => log
                .check_epoch(ask.current_leader_epoch)
                .err()
                .unwrap_or(ErrorCode::None),
        }
    }

    /// Where leader epochs ended, of one partition.
    pub(super) async fn epoch_ends(&mut self, input: &mut Input<'_>) {
        let api = (
            Api::OffsetForLeaderEpoch,
            version(Api::OffsetForLeaderEpoch, input),
        );
        let (name, partition) = place(input);
        let shape = input.byte();
        let mut row = OffsetForLeaderPartition::default();
        row.partition = partition;
        row.current_leader_epoch = -1;
        row.leader_epoch = i32::from(shape / 8 % 8) - 1;
        if let Some(log) = self.model.log(name, partition) {
            row.current_leader_epoch = log.epoch_near(shape);
        }
        let mut topic = OffsetForLeaderTopic::default();
        topic.topic = text(name);
        topic.partitions = vec![row.clone()];
        let mut request = OffsetForLeaderEpochRequest::default();
        request.topics = vec![topic];
        let answer: Option<OffsetForLeaderEpochResponse> = self.wire.ask(api, &request).await;
        let answer = answer.expect("it is answered");
        let told = &answer.topics[0].partitions[0];
        let wanted = match self.model.log(name, partition) {
            None => Err(ErrorCode::UnknownTopicOrPartition),
            Some(log) => log
                .check_epoch(row.current_leader_epoch)
                .map(|()| log.epoch_end(row.leader_epoch)),
        };
        let code = wanted.err().map_or(0, ErrorCode::code);
        assert_eq!(told.error_code, code, "{name} {row:?}: {told:?}");
        let end = (told.leader_epoch, told.end_offset);
        assert_eq!(end, wanted.unwrap_or((-1, -1)), "{name} {row:?}");
    }

    /// Deletes records below an offset, of one partition.
    pub(super) async fn delete_records(&mut self, input: &mut Input<'_>) {
        let api = (Api::DeleteRecords, version(Api::DeleteRecords, input));
        let (name, partition) = place(input);
        let near = input.byte();
        let mut row = DeleteRecordsPartition::default();
        row.partition_index = partition;
        row.offset = i64::from(near);
        let readable = self.model.log(name, partition).map(|log| {
            let readable = *log.high_watermark().start();
            row.offset = match near % 8 {
                0 => -1,
                1 => log.start,
                2 => log.end + 1,
                3 => -2,
                4 => log.start - 1,
                _ => log.start + i64::from(near / 8) % (readable - log.start + 1),
            };
            log.high_watermark()
        });
        let mut topic = DeleteRecordsTopic::default();
        topic.name = text(name);
        topic.partitions = vec![row.clone()];
        let mut request = DeleteRecordsRequest::default();
        request.topics = vec![topic];
        request.timeout_ms = 10_000;
        let answer: Option<DeleteRecordsResponse> = self.wire.ask(api, &request).await;
        let answer = answer.expect("it is answered");
        let told = &answer.topics[0].partitions[0];
        let compacted = self.topic(name).is_some_and(|topic| topic.kind.compacted);
        let code = match &readable {
            None => ErrorCode::UnknownTopicOrPartition,
            // Compaction removes records, nobody else does.
            Some(_) if compacted => ErrorCode::PolicyViolation,
            Some(_) if row.offset < -1 => ErrorCode::OffsetOutOfRange,
            Some(range) if row.offset > *range.end() => ErrorCode::OffsetOutOfRange,
            Some(_) => ErrorCode::None,
        };
        assert_eq!(told.error_code, code.code(), "{name} {row:?}: {told:?}");
        if !code.is_none() {
            return;
        }
        let log = self.model.log(name, partition).expect("it is there");
        let low = told.low_watermark;
        if row.offset == -1 {
            assert!(log.high_watermark().contains(&low), "{name}: {told:?}");
        } else {
            assert_eq!(low, row.offset.max(log.start), "{name}");
        }
        log.delete_below(low);
    }

    /// After a restart: where each log begins and ends, and in which epoch. Nothing is gone, unless
    /// the power was.
    pub(super) async fn all_ends(&mut self, all_there: bool) {
        // How much is written of groups is the broker's business.
        let names = self.model.topics.keys().filter(|name| *name != GROUPS);
        let names: Vec<String> = names.cloned().collect();
        for name in names {
            for partition in 0..self.model.topics[&name].logs.len() as i32 {
                let (start, _) = self.end_of(&name, partition, EARLIEST).await;
                let (end, epoch) = self.end_of(&name, partition, LATEST).await;
                let log = self.model.log(&name, partition).expect("it is there");
                assert_eq!(start, log.start, "{name}-{partition} begins elsewhere");
                assert!(
                    !all_there || end == log.end,
                    "{name}-{partition}: {end} of {}",
                    log.end
                );
                log.restarted(end, epoch);
            }
        }
    }

    async fn end_of(&mut self, name: &str, partition: i32, which: i64) -> (i64, i32) {
        let mut row = ListOffsetsPartition::default();
        row.partition_index = partition;
        row.current_leader_epoch = -1;
        row.timestamp = which;
        let mut topic = ListOffsetsTopic::default();
        topic.name = text(name);
        topic.partitions = vec![row];
        let mut request = ListOffsetsRequest::default();
        request.replica_id = -1;
        request.topics = vec![topic];
        let api = (Api::ListOffsets, 5);
        let answer: Option<ListOffsetsResponse> = self.wire.ask(api, &request).await;
        let answer = answer.expect("it is answered");
        let row = &answer.topics[0].partitions[0];
        assert_eq!(row.error_code, 0, "{name}-{partition}: {row:?}");
        (row.offset, row.leader_epoch)
    }
}

impl Log {
    fn check_listed(&mut self, version: i16, timestamp: i64, row: &ListOffsetsPartitionResponse) {
        let epoch_of = |epoch: i32| if version >= EPOCHS_FROM { epoch } else { -1 };
        let found = (row.offset, row.timestamp, row.leader_epoch);
        match timestamp {
            LATEST => {
                assert_eq!(
                    (row.timestamp, row.leader_epoch),
                    (-1, epoch_of(self.epoch))
                );
                self.shown(row.offset);
            }
            EARLIEST | EARLIEST_LOCAL => {
                assert_eq!((row.offset, row.timestamp), (self.start, -1));
            }
            LATEST_TIERED | EARLIEST_PENDING_UPLOAD => assert_eq!(found, NOTHING),
            MAX_TIMESTAMP => self.check_greatest(found, epoch_of),
            _ => {
                let first = self.first_at_or_after(timestamp);
                let wanted = first.map_or(NOTHING, |(offset, time_ms, epoch)| {
                    (offset, time_ms, epoch_of(epoch))
                });
                let hidden = wanted.0 >= *self.high_watermark().start();
                assert!(
                    found == wanted || hidden && found == NOTHING,
                    "{found:?}, {wanted:?}"
                );
            }
        }
    }

    fn first_at_or_after(&self, timestamp: i64) -> Option<Found> {
        let batches = self.batches.iter();
        let mut records = batches.flat_map(|batch| {
            let records = (batch.base..).zip(&batch.records);
            records.map(|(offset, record)| (offset, record.time_ms, batch.epoch))
        });
        records.find(|(offset, time_ms, _)| *offset >= self.start && *time_ms >= timestamp)
    }

    /// The first record with the greatest time, of those that may be read.
    fn check_greatest(&self, found: Found, epoch_of: impl Fn(i32) -> i32) {
        let greatest = |upto: i64| {
            let batches = self.batches.iter().filter(|batch| batch.base < upto);
            let time_ms = batches.map(super::model::Batch::max_time_ms).max()?;
            let (offset, time_ms, epoch) = self.first_at_or_after(time_ms)?;
            Some((offset, time_ms, epoch_of(epoch)))
        };
        let ends = self.batches.iter().map(|batch| batch.last() + 1);
        let range = self.high_watermark();
        let mut ends = ends.chain([*range.start(), *range.end()]);
        // A batch of which a part is deleted keeps its greatest time.
        let torn = self
            .batches
            .first()
            .is_some_and(|batch| batch.base < self.start);
        let right =
            ends.any(|end| range.contains(&end) && greatest(end).unwrap_or(NOTHING) == found);
        assert!(right || torn, "{found:?}, {:?}", greatest(self.end));
    }
}
