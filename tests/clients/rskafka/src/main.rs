//! rskafka in the client matrix: partitions and offsets, without groups. Its futures run on tokio's
//! threads, where the scenarios, which know nothing of them, wait for them.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use millrace_matrix::{
    Changes, Client, Consumer, Failure, Outcome, PATIENCE, Producer, Reading, Record, Start,
    Writing,
};
use rskafka::BackoffConfig;
use rskafka::client::ClientBuilder;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use tokio::runtime::Runtime;

const GROUPS: Failure = Failure::Lacks("consumer groups");

fn main() -> ExitCode {
    millrace_matrix::main(|bootstrap| {
        let runtime = Arc::new(Runtime::new()?);
        let backoff = BackoffConfig {
            max_backoff: Duration::from_secs(1),
            deadline: Some(PATIENCE),
            ..BackoffConfig::default()
        };
        let client = ClientBuilder::new(vec![bootstrap.to_owned()]).backoff_config(backoff);
        let client = runtime.block_on(client.build())?;
        Ok(Rskafka { runtime, client })
    })
}

struct Rskafka {
    runtime: Arc<Runtime>,
    client: rskafka::client::Client,
}

impl Rskafka {
    fn partition(&self, topic: &str, partition: i32) -> Outcome<PartitionClient> {
        let unknown = UnknownTopicHandling::Retry;
        let made = self.client.partition_client(topic, partition, unknown);
        Ok(self.runtime.block_on(made)?)
    }

    fn topic(&self, topic: &str, partitions: i32) -> Outcome<Topic> {
        let clients = (0..partitions).map(|partition| self.partition(topic, partition));
        Ok(Topic {
            runtime: self.runtime.clone(),
            partitions: clients.collect::<Outcome<_>>()?,
        })
    }
}

fn is(error: &Error, protocol: ProtocolError) -> bool {
    matches!(error, Error::ServerError { protocol_error, .. } if *protocol_error == protocol)
}

impl Client for Rskafka {
    const HAS_REPEATED_HEADERS: bool = false;

    /// It can't configure a topic: `config` is for who can.
    fn create(&self, topic: &str, partitions: i32, _config: (&str, &str)) -> Outcome<()> {
        let controller = self.client.controller_client()?;
        let made = controller.create_topic(topic, partitions, 1, PATIENCE.as_millis() as i32);
        match self.runtime.block_on(made) {
            Err(error) if is(&error, ProtocolError::TopicAlreadyExists) => {
                return Err(Failure::Exists);
            }
            other => other?,
        }
        // Kafka may show a topic a little later, and the crate doesn't wait for that.
        let deadline = Instant::now() + PATIENCE;
        while self.partitions(topic)?.len() < partitions as usize {
            if Instant::now() > deadline {
                return Err(Failure::Wrong(format!("{topic} is not shown")));
            }
        }
        Ok(())
    }

    fn partitions(&self, topic: &str) -> Outcome<Vec<i32>> {
        let listed = self.runtime.block_on(self.client.list_topics())?;
        let found = listed.into_iter().find(|listed| listed.name == topic);
        Ok(found.map_or_else(Vec::new, |found| found.partitions.into_iter().collect()))
    }

    fn config(&self, _topic: &str, _name: &str) -> Outcome<String> {
        Err(Failure::Lacks("configurations of topics"))
    }

    fn alter(&self, _topic: &str, _name: &str, _value: &str) -> Outcome<()> {
        Err(Failure::Lacks("configurations of topics"))
    }

    fn grow(&self, _topic: &str, _partitions: usize) -> Outcome<()> {
        Err(Failure::Lacks("create_partitions"))
    }

    fn list_topics(&self) -> Outcome<Vec<String>> {
        let listed = self.runtime.block_on(self.client.list_topics())?;
        Ok(listed.into_iter().map(|topic| topic.name).collect())
    }

    fn delete_topics(&self, topics: &[&str]) -> Outcome<()> {
        let controller = self.client.controller_client()?;
        for &topic in topics {
            let deleted = controller.delete_topic(topic, PATIENCE.as_millis() as i32);
            self.runtime.block_on(deleted)?;
        }
        Ok(())
    }

    fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Outcome<()> {
        let partition = self.partition(topic, partition)?;
        let deleted = partition.delete_records(before, PATIENCE.as_millis() as i32);
        Ok(self.runtime.block_on(deleted)?)
    }

    fn list_groups(&self) -> Outcome<Vec<String>> {
        Err(GROUPS)
    }

    fn describe_group(&self, _group: &str) -> Outcome<(String, usize)> {
        Err(GROUPS)
    }

    fn delete_group(&self, _group: &str) -> Outcome<()> {
        Err(GROUPS)
    }

    fn describe_cluster(&self) -> Outcome<(Vec<i32>, i32)> {
        Err(Failure::Lacks("describing the cluster"))
    }

    fn bounds(&self, topic: &str, partitions: i32) -> Outcome<Vec<(i64, i64)>> {
        let topic = self.topic(topic, partitions)?;
        let bounds = |n| {
            Ok((
                topic.offset(n, OffsetAt::Earliest)?,
                topic.offset(n, OffsetAt::Latest)?,
            ))
        };
        (0..partitions).map(bounds).collect()
    }

    fn producer(&self, topic: &str, how: Writing) -> Outcome<Box<dyn Producer>> {
        if how.is_idempotent {
            return Err(Failure::Lacks("idempotent producer"));
        }
        let partitions = self.partitions(topic)?.len() as i32;
        let compression = match how.codec {
            "gzip" => Compression::Gzip,
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4,
            "zstd" => Compression::Zstd,
            _ => Compression::NoCompression,
        };
        Ok(Box::new(Batches {
            topic: self.topic(topic, partitions)?,
            compression,
        }))
    }

    fn consumer(&self, topic: &str, how: Reading) -> Outcome<Box<dyn Consumer>> {
        if how.group.is_some() {
            return Err(GROUPS);
        }
        let partitions = self.partitions(topic)?.len() as i32;
        Ok(Box::new(Fetches {
            topic: self.topic(topic, partitions)?,
            positions: BTreeMap::new(),
        }))
    }
}

/// The clients of a topic's partitions.
struct Topic {
    runtime: Arc<Runtime>,
    partitions: Vec<PartitionClient>,
}

impl Topic {
    fn offset(&self, partition: i32, at: OffsetAt) -> Outcome<i64> {
        let client = &self.partitions[partition as usize];
        Ok(self.runtime.block_on(client.get_offset(at))?)
    }
}

struct Batches {
    topic: Topic,
    compression: Compression,
}

impl Producer for Batches {
    /// One batch for each partition.
    fn send(&self, records: &[Record]) -> Outcome<Vec<i64>> {
        let mut offsets = vec![-1; records.len()];
        for (partition, client) in (0..).zip(&self.topic.partitions) {
            let (places, batch): (Vec<usize>, Vec<_>) = records
                .iter()
                .enumerate()
                .filter(|(_, record)| record.partition == partition)
                .map(|(at, record)| (at, to_crate(record)))
                .unzip();
            let sent = client.produce(batch, self.compression);
            let sent = self.topic.runtime.block_on(sent).map_err(|error| {
                if is(&error, ProtocolError::MessageTooLarge) {
                    Failure::TooLarge
                } else {
                    error.into()
                }
            })?;
            for (at, offset) in places.into_iter().zip(sent) {
                offsets[at] = offset;
            }
        }
        Ok(offsets)
    }
}

fn to_crate(record: &Record) -> rskafka::record::Record {
    rskafka::record::Record {
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.iter().cloned().collect(),
        timestamp: time(record.timestamp),
    }
}

fn time(timestamp_ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(timestamp_ms).unwrap_or_default()
}

struct Fetches {
    topic: Topic,
    positions: BTreeMap<i32, i64>,
}

impl Consumer for Fetches {
    fn subscribe(&mut self, _changes: Changes) -> Outcome<()> {
        Err(GROUPS)
    }

    fn assign(&mut self, places: &[(i32, Start)]) -> Outcome<()> {
        self.positions.clear();
        for &(partition, start) in places {
            let position = match start {
                Start::Beginning => self.topic.offset(partition, OffsetAt::Earliest)?,
                Start::End => self.topic.offset(partition, OffsetAt::Latest)?,
                Start::At(offset) => offset,
            };
            self.positions.insert(partition, position);
        }
        Ok(())
    }

    fn poll(&mut self) -> Outcome<Vec<Record>> {
        let mut found = Vec::new();
        for (&partition, position) in &mut self.positions {
            let client = &self.topic.partitions[partition as usize];
            let fetched = client.fetch_records(*position, 1..1 << 20, 30);
            let (records, _) = self.topic.runtime.block_on(fetched)?;
            for fetched in records {
                *position = fetched.offset + 1;
                let mut headers: Vec<_> = fetched.record.headers.into_iter().collect();
                // It keeps them sorted; a scenario's `h` stands first.
                headers.sort_by_key(|(name, _)| name != "h");
                found.push(Record {
                    partition,
                    offset: fetched.offset,
                    timestamp: fetched.record.timestamp.timestamp_millis(),
                    key: fetched.record.key,
                    value: fetched.record.value,
                    headers,
                });
            }
        }
        Ok(found)
    }

    fn assignment(&self) -> Outcome<Vec<i32>> {
        Ok(self.positions.keys().copied().collect())
    }

    fn seek(&mut self, partition: i32, offset: i64) -> Outcome<()> {
        self.positions.insert(partition, offset);
        Ok(())
    }

    fn position(&self, partition: i32) -> Outcome<i64> {
        Ok(self.positions[&partition])
    }

    /// It says -1 for none.
    fn offset_for_time(&self, partition: i32, timestamp_ms: i64) -> Outcome<Option<i64>> {
        let found = self
            .topic
            .offset(partition, OffsetAt::Timestamp(time(timestamp_ms)))?;
        Ok((found >= 0).then_some(found))
    }

    fn committed(&self, _partition: i32) -> Outcome<Option<i64>> {
        Err(GROUPS)
    }

    fn commit(&self, _offsets: &BTreeMap<i32, i64>) -> Outcome<()> {
        Err(GROUPS)
    }

    fn commit_async(&self, _offsets: &BTreeMap<i32, i64>) -> Outcome<()> {
        Err(GROUPS)
    }

    fn pause(&self, _partition: i32) -> Outcome<()> {
        Err(GROUPS)
    }

    fn resume(&self, _partition: i32) -> Outcome<()> {
        Err(GROUPS)
    }
}
