//! Asking a leader where to begin and whether the log still holds what a position follows on:
//! `ListOffsets`, and `OffsetForLeaderEpoch` (KIP-320).
//!
//! What always holds: every question has one outcome, whatever the broker answers; all that is asked
//! of a broker at one time goes in one request.

use std::collections::VecDeque;

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use millrace_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use millrace_protocol::messages::{ListOffsetsRequest, OffsetForLeaderEpochRequest};

use super::core::Part;
use super::options::Isolation;
use super::reading::{Key, Outcome, Position};
use crate::cluster::is_of_leadership;
use crate::{Client, Error, OffsetOf, TopicPartition};

/// From this version on a consumer may ask where an epoch ends: before, only other brokers may.
const EPOCHS_OF_CONSUMERS_FROM: i16 = 3;

/// A question and what became of it.
pub(super) type Told = (Key, u64, Outcome);

/// Asks a leader for offsets.
pub(super) async fn find(
    client: &Client,
    parts: &[Part<OffsetOf>],
    isolation: Isolation,
) -> Vec<Told> {
    match find_all(client, parts, isolation).await {
        Ok(told) => told,
        Err(error) => all(parts, &error),
    }
}

async fn find_all(
    client: &Client,
    parts: &[Part<OffsetOf>],
    isolation: Isolation,
) -> Result<Vec<Told>, Error> {
    let of_partition = |part: &Part<OffsetOf>| {
        let mut partition = ListOffsetsPartition::default();
        partition.partition_index = part.key.1;
        partition.current_leader_epoch = part.leader_epoch;
        partition.timestamp = part.want.timestamp();
        partition
    };
    let of_topic = |parts: &[Part<OffsetOf>]| {
        let mut topic = ListOffsetsTopic::default();
        topic.name = parts[0].key.0.as_ref().into();
        topic.partitions = parts.iter().map(of_partition).collect();
        topic
    };
    let mut request = ListOffsetsRequest::default();
    request.replica_id = -1;
    let version = client.call_of::<ListOffsetsRequest>()?.api_version;
    if version >= 2 {
        request.isolation_level = isolation.wire();
    }
    if version >= 10 {
        request.timeout_ms = client.timeout_ms();
    }
    let topics = parts.chunk_by(|one, other| one.key.0 == other.key.0);
    request.topics = topics.map(of_topic).collect();
    let answer = client.call(&request).await?;
    let view = answer.read()?;
    let mut open = Open::of(parts);
    for topic in view.topics {
        for row in topic.partitions {
            open.tell(topic.name, row.partition_index, |part| {
                let what = || format!("an offset of {}-{}", part.key.0, part.key.1);
                match refused(row.error_code, what) {
                    Some(outcome) => outcome,
                    None => Outcome::Found((row.offset >= 0).then_some(Position {
                        offset: row.offset,
                        leader_epoch: row.leader_epoch,
                    })),
                }
            });
        }
    }
    Ok(open.told(client))
}

/// Asks a leader where the epochs end that positions follow on.
pub(super) async fn check(client: &Client, parts: &[Part<i32>]) -> Vec<Told> {
    match check_all(client, parts).await {
        Ok(told) => told,
        // A broker from before KIP-320: it can't be known.
        Err(Error::Unsupported { .. }) => unchecked(parts),
        Err(error) => all(parts, &error),
    }
}

async fn check_all(client: &Client, parts: &[Part<i32>]) -> Result<Vec<Told>, Error> {
    let call = client.call_of::<OffsetForLeaderEpochRequest>()?;
    if call.api_version < EPOCHS_OF_CONSUMERS_FROM {
        return Ok(unchecked(parts));
    }
    let of_partition = |part: &Part<i32>| {
        let mut partition = OffsetForLeaderPartition::default();
        partition.partition = part.key.1;
        partition.current_leader_epoch = part.leader_epoch;
        partition.leader_epoch = part.want;
        partition
    };
    let of_topic = |parts: &[Part<i32>]| {
        let mut topic = OffsetForLeaderTopic::default();
        topic.topic = parts[0].key.0.as_ref().into();
        topic.partitions = parts.iter().map(of_partition).collect();
        topic
    };
    let mut request = OffsetForLeaderEpochRequest::default();
    request.replica_id = -1;
    let topics = parts.chunk_by(|one, other| one.key.0 == other.key.0);
    request.topics = topics.map(of_topic).collect();
    let answer = client.call(&request).await?;
    let view = answer.read()?;
    let mut open = Open::of(parts);
    for topic in view.topics {
        for row in topic.partitions {
            open.tell(topic.topic, row.partition, |part| {
                let (topic, partition) = &part.key;
                let what = || format!("the end of epoch {} of {topic}-{partition}", part.want);
                match refused(row.error_code, what) {
                    Some(outcome) => outcome,
                    None => Outcome::Ends {
                        of: TopicPartition::new(topic.clone(), *partition),
                        end: (row.leader_epoch >= 0 && row.end_offset >= 0).then_some(Position {
                            offset: row.end_offset,
                            leader_epoch: row.leader_epoch,
                        }),
                    },
                }
            });
        }
    }
    Ok(open.told(client))
}

fn unchecked(parts: &[Part<i32>]) -> Vec<Told> {
    let told = |part: &Part<i32>| (part.key.clone(), part.turn, Outcome::Unchecked);
    parts.iter().map(told).collect()
}

/// What a code says of a question; `None` for success.
pub(super) fn refused(code: i16, what: impl FnOnce() -> String) -> Option<Outcome> {
    let error = crate::client::refuse(code, what).err()?;
    let of_leadership = ErrorCode::from_code(code).is_some_and(is_of_leadership);
    Some(if of_leadership {
        Outcome::Again(error)
    } else {
        again_or_failed(error)
    })
}

pub(super) fn again_or_failed(error: Error) -> Outcome {
    if error.is_retriable() {
        Outcome::Again(error)
    } else {
        Outcome::Failed(error)
    }
}

/// The same became of all questions.
pub(super) fn all<W>(parts: &[Part<W>], error: &Error) -> Vec<Told> {
    let told = |part: &Part<W>| (part.key.clone(), part.turn, again_or_failed(error.clone()));
    parts.iter().map(told).collect()
}

/// Questions without an answer yet, in the order in which they were asked: most brokers answer in it,
/// and then the first is the one.
struct Open<'a, W> {
    parts: VecDeque<&'a Part<W>>,
    told: Vec<Told>,
}

impl<'a, W> Open<'a, W> {
    fn of(parts: &'a [Part<W>]) -> Self {
        Self {
            parts: parts.iter().collect(),
            told: Vec::with_capacity(parts.len()),
        }
    }

    /// A partition's row. What nobody asked for, or was told already, is of no use.
    fn tell(&mut self, topic: &str, partition: i32, outcome: impl FnOnce(&Part<W>) -> Outcome) {
        let named = |part: &&Part<W>| *part.key.0 == *topic && part.key.1 == partition;
        let at = self.parts.iter().position(named);
        if let Some(part) = at.and_then(|at| self.parts.remove(at)) {
            self.told.push((part.key.clone(), part.turn, outcome(part)));
        }
    }

    /// All outcomes; what the answer didn't name goes again.
    fn told(mut self, client: &Client) -> Vec<Told> {
        for part in self.parts {
            let silent = Error::Malformed {
                address: client.connection().address().to_owned(),
                reason: format!("it says nothing of {}-{}", part.key.0, part.key.1),
            };
            self.told
                .push((part.key.clone(), part.turn, Outcome::Again(silent)));
        }
        self.told
    }
}

#[cfg(test)]
mod tests {
    use millrace_protocol::ids::TopicId;

    use super::*;

    #[test]
    fn each_question_is_told_of_once_and_nothing_that_was_not_asked() {
        let part = |topic: &str, partition, turn| Part {
            key: (topic.into(), partition),
            topic_id: TopicId::default(),
            leader_epoch: 0,
            turn,
            want: (),
        };
        let parts = [part("a", 0, 5), part("a", 1, 6), part("b", 0, 7)];
        let mut open = Open::of(&parts);
        for (topic, partition) in [("b", 0), ("b", 1), ("c", 0), ("a", 0), ("b", 0), ("a", 0)] {
            open.tell(topic, partition, |part| {
                assert_eq!((&*part.key.0, part.key.1), (topic, partition));
                Outcome::Unchecked
            });
        }
        let told: Vec<_> = open
            .told
            .iter()
            .map(|(key, turn, _)| (key, *turn))
            .collect();
        assert_eq!(told, [(&parts[2].key, 7), (&parts[0].key, 5)]);
        let left: Vec<_> = open.parts.iter().map(|part| part.turn).collect();
        assert_eq!(left, [6]);
    }
}
