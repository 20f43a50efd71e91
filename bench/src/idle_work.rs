//! What is asked of a broker with many partitions: one request for all partitions of a topic, some
//! of them under way at once.

use std::collections::VecDeque;
use std::path::Path;

use bytes::Bytes;
use millrace_client::{Acks, Client, FetchFrom, FetchOptions, NewTopic, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use millrace_protocol::messages::delete_topics_request::DeleteTopicState;
use millrace_protocol::messages::produce_request::PartitionProduceData;
use millrace_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, DescribeLogDirsRequest,
};
use millrace_protocol::records::{BatchBuilder, Options};

use crate::text;

/// Requests without an answer at once.
const IN_FLIGHT: usize = 4;
/// How long the broker may take for a request that makes or deletes.
const TIMEOUT_MS: i32 = 120_000;
/// What a deleted topic's directory is called until it is gone.
const DELETED: &str = "-delete";

/// The batch at `offset` of a partition: one record, that no other partition has.
pub(crate) fn batch(partition: u64, offset: i64) -> Result<Bytes, String> {
    let mut batch = BatchBuilder::new(Options::default());
    let value = format!("partition {partition:>9}, offset {offset:>4}");
    batch
        .push(1_700_000_000_000, None, Some(value.as_bytes()), &[])
        .map_err(text)?;
    Ok(batch.build())
}

/// Makes the topics in one request.
pub(crate) async fn create(client: &Client, wanted: &[NewTopic]) -> Result<Vec<Topic>, String> {
    let creatable = |topic: &NewTopic| {
        let mut creatable = CreatableTopic::default();
        creatable.name = topic.name.as_str().into();
        creatable.num_partitions = topic.partitions;
        creatable.replication_factor = topic.replication_factor;
        for (key, value) in &topic.configs {
            let mut config = CreatableTopicConfig::default();
            config.name = key.as_str().into();
            config.value = Some(value.as_str().into());
            creatable.configs.push(config);
        }
        creatable
    };
    let mut request = CreateTopicsRequest::default();
    request.topics = wanted.iter().map(creatable).collect();
    request.timeout_ms = TIMEOUT_MS;
    let answer = client.call(&request).await.map_err(text)?;
    let mut made = Vec::new();
    for topic in answer.read().map_err(text)?.topics {
        expect(topic.error_code, topic.name)?;
        made.push(Topic {
            name: topic.name.to_owned(),
            id: topic.topic_id,
            partitions: topic.num_partitions,
        });
    }
    Ok(made)
}

/// One record to each partition, at that offset.
pub(crate) async fn write(client: &Client, topics: &[Topic], offset: i64) -> Result<(), String> {
    let mut pending = VecDeque::new();
    let mut first = 0;
    for topic in topics {
        let mut request = client.produce_request(topic, 0, Acks::All, batch(first, offset)?);
        let partitions = &mut request.topic_data[0].partition_data;
        for index in 1..topic.partitions {
            let mut data = PartitionProduceData::default();
            data.index = index;
            data.records = Some(batch(first + u64::from(index.unsigned_abs()), offset)?);
            partitions.push(data);
        }
        first += u64::from(topic.partitions.unsigned_abs());
        if pending.len() == IN_FLIGHT {
            written(pending.pop_front(), offset).await?;
        }
        pending.push_back(client.send(&request).await.map_err(text)?);
    }
    while !pending.is_empty() {
        written(pending.pop_front(), offset).await?;
    }
    Ok(())
}

type Pending = millrace_client::Pending<millrace_protocol::messages::ProduceRequest>;

async fn written(pending: Option<Pending>, offset: i64) -> Result<(), String> {
    let Some(pending) = pending else {
        return Ok(());
    };
    let answer = pending.wait().await.map_err(text)?;
    let topics = answer.read().map_err(text)?.responses.into_iter();
    for partition in topics.flat_map(|topic| topic.partition_responses) {
        let what = partition.error_message.unwrap_or("a produce");
        expect(partition.error_code, what)?;
        if partition.base_offset != offset {
            let got = partition.base_offset;
            return Err(format!("a record got offset {got} in place of {offset}"));
        }
    }
    Ok(())
}

/// Reads every partition from its start and holds it against what was sent: `rounds` records.
pub(crate) async fn read_back(
    client: &Client,
    topics: &[Topic],
    rounds: i64,
) -> Result<u64, String> {
    let (mut records, mut first) = (0, 0);
    let options = FetchOptions::default();
    for topic in topics {
        let from = |partition| FetchFrom {
            partition,
            offset: 0,
        };
        let from: Vec<FetchFrom> = (0..topic.partitions).map(from).collect();
        let fetched = client.fetch(topic, &from, &options).await.map_err(text)?;
        if fetched.len() != from.len() {
            return Err(format!("a fetch from {} left out partitions", topic.name));
        }
        for of in fetched {
            expect(of.error.code(), &topic.name)?;
            let at = first + u64::from(of.partition.unsigned_abs());
            check(&of.records, at, rounds)
                .map_err(|what| format!("{}-{}: {what}", topic.name, of.partition))?;
            records += rounds.unsigned_abs();
        }
        first += u64::from(topic.partitions.unsigned_abs());
    }
    Ok(records)
}

/// Offset and leader epoch are the broker's, the rest is as it was sent.
fn check(records: &[u8], partition: u64, rounds: i64) -> Result<(), String> {
    /// Behind base offset, length and leader epoch, which stand before the checksummed part.
    const SENT_FROM: usize = 16;
    let mut rest = records;
    for offset in 0..rounds {
        let sent = batch(partition, offset)?;
        let (found, behind) = rest
            .split_at_checked(sent.len())
            .ok_or_else(|| format!("the record at offset {offset} is missing"))?;
        if found[..8] != offset.to_be_bytes() || found[SENT_FROM..] != sent[SENT_FROM..] {
            return Err(format!("the record at offset {offset} is another one"));
        }
        rest = behind;
    }
    match rest.len() {
        0 => Ok(()),
        more => Err(format!("{more} bytes more than were sent")),
    }
}

/// Of how many partitions the broker tells where they lie.
pub(crate) async fn describe_log_dirs(client: &Client) -> Result<usize, String> {
    let mut request = DescribeLogDirsRequest::default();
    request.topics = None;
    let answer = client.call(&request).await.map_err(text)?;
    let answer = answer.read().map_err(text)?;
    expect(answer.error_code, "DescribeLogDirs")?;
    let topics = answer.results.into_iter().flat_map(|dir| dir.topics);
    Ok(topics.map(|topic| topic.partitions.len()).sum())
}

/// Deletes the topics in one request.
pub(crate) async fn delete(client: &Client, topics: &[Topic]) -> Result<(), String> {
    let state = |topic: &Topic| {
        let mut state = DeleteTopicState::default();
        state.name = Some(topic.name.as_str().into());
        state
    };
    let mut request = DeleteTopicsRequest::default();
    request.topics = topics.iter().map(state).collect();
    request.timeout_ms = TIMEOUT_MS;
    let answer = client.call(&request).await.map_err(text)?;
    for topic in answer.read().map_err(text)?.responses {
        expect(topic.error_code, topic.name.unwrap_or_default())?;
    }
    Ok(())
}

/// How many directories of deleted partitions, or of topics made here, are there still.
pub(crate) fn left_on_disk(data: &Path) -> Result<usize, String> {
    let listed = std::fs::read_dir(data).map_err(text)?;
    let is_left = |name: &str| name.starts_with("idle-") || name.ends_with(DELETED);
    let names = listed.filter_map(|entry| Some(entry.ok()?.file_name()));
    Ok(names
        .filter(|name| name.to_str().is_some_and(is_left))
        .count())
}

fn expect(code: i16, what: &str) -> Result<(), String> {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => Ok(()),
        Some(refused) => Err(format!("{what}: {refused:?}")),
        None => Err(format!("{what}: error {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a broker makes of the batch.
    fn stored(partition: u64, offset: i64) -> Vec<u8> {
        let mut bytes = batch(partition, offset).unwrap().to_vec();
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        bytes
    }

    #[test]
    fn a_partition_holds_what_was_sent_to_it_and_nothing_else() {
        let both = [stored(7, 0), stored(7, 1)].concat();
        assert_eq!(check(&both, 7, 2), Ok(()));
        assert!(check(&both, 8, 2).is_err());
        assert!(check(&both, 7, 1).is_err());
        assert!(check(&both, 7, 3).is_err());
        assert!(check(&both[1..], 7, 2).is_err());
    }
}
