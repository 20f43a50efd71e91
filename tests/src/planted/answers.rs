//! Answers that are changed on their way to the client, one function for each API.

use bytes::{Bytes, BytesMut};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::{
    FetchResponse, ListOffsetsResponse, MetadataResponse, OffsetForLeaderEpochResponse,
    ProduceResponse,
};
use millrace_protocol::records::batches;

use super::wire::State;
use super::{Bug, batch};

/// Where a batch's leader epoch lies; no checksum covers it.
const EPOCH: std::ops::Range<usize> = 12..16;

pub(super) fn produced(state: &mut State, mut answer: ProduceResponse) -> ProduceResponse {
    let partitions = answer.responses.iter_mut();
    for partition in partitions.flat_map(|topic| &mut topic.partition_responses) {
        if partition.error_code != 0 {
            continue;
        }
        state.ends_at(partition.index, partition.base_offset + 1);
        if state.bug == Bug::AnswersTheNextOffset && state.lies() {
            partition.base_offset += 1;
        }
        if state.bug == Bug::AnswersNoOffset && state.lies() {
            partition.base_offset = -1;
        }
    }
    answer
}

pub(super) fn fetched(state: &mut State, mut answer: FetchResponse) -> FetchResponse {
    if state.bug == Bug::ShowsNothing {
        return emptied(state, answer);
    }
    for topic in &mut answer.responses {
        let brings = |records: &Option<Bytes>| records.as_ref().is_some_and(|r| !r.is_empty());
        let full: Vec<usize> = (0..topic.partitions.len())
            .filter(|at| brings(&topic.partitions[*at].records))
            .collect();
        if state.bug == Bug::MixesPartitions
            && let [first, second, ..] = full[..]
            && state.lies()
        {
            let taken = topic.partitions[first].records.take();
            topic.partitions[first].records = topic.partitions[second].records.take();
            topic.partitions[second].records = taken;
        }
        for at in full {
            let partition = &mut topic.partitions[at];
            if state.bug == Bug::ForgetsTheLogStart && partition.log_start_offset > 0 {
                partition.log_start_offset = 0;
            }
            if state.bug == Bug::ForgetsTheEnd && state.lies() {
                partition.high_watermark = 0;
            }
            if state.bug == Bug::RefusesWhatIsThere && state.lies() {
                partition.error_code = ErrorCode::OffsetOutOfRange.code();
                partition.records = Some(Bytes::new());
            }
            let told = partition.records.as_ref().and_then(|it| shown(state, it));
            partition.records = told.or(partition.records.take());
        }
    }
    answer
}

/// What is shown in place of records; `None` when that is the records themselves.
fn shown(state: &mut State, records: &Bytes) -> Option<Bytes> {
    if state.bug == Bug::ShowsTheNextOffset {
        return state.lies().then(|| batch::moved(records, 1));
    }
    if state.bug == Bug::ChangesTheEpoch && state.lies() {
        let mut bytes = BytesMut::from(&records[..]);
        bytes.get_mut(EPOCH)?.copy_from_slice(&77_i32.to_be_bytes());
        return Some(bytes.freeze());
    }
    if state.bug == Bug::SkipsABatch {
        let mut all = batches(records.clone());
        all.next()?.ok()?;
        let rest = all.rest().clone();
        all.next()?.ok()?;
        return state.lies().then_some(rest);
    }
    None
}

/// The same answer without any record.
fn emptied(state: &mut State, mut answer: FetchResponse) -> FetchResponse {
    let partitions = || answer.responses.iter().flat_map(|topic| &topic.partitions);
    let brings = partitions().any(|partition| {
        let records = partition.records.as_ref();
        records.is_some_and(|records| !records.is_empty())
    });
    if brings && state.lies() {
        let topics = answer.responses.iter_mut();
        for partition in topics.flat_map(|topic| &mut topic.partitions) {
            partition.records = Some(Bytes::new());
        }
    }
    answer
}

/// Offsets by time are one too far, those of the log's ends are not.
pub(super) fn listed(state: &mut State, mut answer: ListOffsetsResponse) -> ListOffsetsResponse {
    let partitions = answer.topics.iter_mut();
    for partition in partitions.flat_map(|topic| &mut topic.partitions) {
        let is_by_time = partition.timestamp >= 0 && partition.offset >= 0;
        if state.bug == Bug::AnswersALaterTime && is_by_time && state.lies() {
            partition.offset += 1;
        }
    }
    answer
}

/// Epochs end where they began.
pub(super) fn ended(
    state: &mut State,
    mut answer: OffsetForLeaderEpochResponse,
) -> OffsetForLeaderEpochResponse {
    let partitions = answer.topics.iter_mut();
    for partition in partitions.flat_map(|topic| &mut topic.partitions) {
        if state.bug == Bug::EndsAnEpochEarly && partition.end_offset > 0 && state.lies() {
            partition.end_offset = 0;
        }
    }
    answer
}

/// A topic beside the workload's own is not there.
pub(super) fn described(state: &mut State, mut answer: MetadataResponse) -> MetadataResponse {
    let beside = answer.topics.iter_mut().filter(|topic| {
        let name = topic.name.as_ref().map(ToString::to_string);
        topic.error_code == 0 && name.is_some_and(|name| name.starts_with("beside"))
    });
    for topic in beside {
        if state.bug == Bug::LosesATopic && state.lies() {
            topic.error_code = ErrorCode::UnknownTopicOrPartition.code();
            topic.partitions.clear();
        }
    }
    answer
}
