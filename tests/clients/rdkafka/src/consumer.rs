//! Consumers of the crate, by assignment and in groups.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millrace_matrix::{Changes, Failure, Outcome, PATIENCE, Reading, Record, Start};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

/// Hands on what changes in the assignment.
#[derive(Default)]
struct Hears(Mutex<Changes>);

impl ClientContext for Hears {}

impl ConsumerContext for Hears {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let (is_assigned, places) = match rebalance {
            Rebalance::Assign(places) => (true, places),
            Rebalance::Revoke(places) => (false, places),
            Rebalance::Error(_) => return,
        };
        let changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changes = changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.push((is_assigned, numbers(places)));
    }
}

fn numbers(places: &TopicPartitionList) -> Vec<i32> {
    let places = places.elements();
    places.iter().map(|place| place.partition()).collect()
}

struct Consumer {
    topic: String,
    consumer: BaseConsumer<Hears>,
    /// The ends that it came to: where a partition is read from its end, there is no other position.
    ends: BTreeMap<i32, i64>,
}

pub(crate) fn create(
    config: &ClientConfig,
    topic: &str,
    how: Reading,
) -> Outcome<Box<dyn millrace_matrix::Consumer>> {
    let mut config = config.clone();
    // It has no consumer without a group, though nothing asks for it by assignment.
    let group = how.group.unwrap_or_else(|| format!("{topic}-none"));
    let reset = if how.from_end { "latest" } else { "earliest" };
    let strategy = if how.is_cooperative {
        "cooperative-sticky"
    } else {
        "range"
    };
    config
        .set("group.id", group)
        .set("auto.offset.reset", reset)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("session.timeout.ms", "30000")
        .set("heartbeat.interval.ms", "500")
        .set("partition.assignment.strategy", strategy);
    if let Some(instance) = how.instance {
        config.set("group.instance.id", instance);
    }
    Ok(Box::new(Consumer {
        topic: topic.to_owned(),
        consumer: config.create_with_context(Hears::default())?,
        ends: BTreeMap::new(),
    }))
}

impl Consumer {
    fn at(&self, places: &[(i32, Offset)]) -> Outcome<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for &(partition, offset) in places {
            list.add_partition_offset(&self.topic, partition, offset)?;
        }
        Ok(list)
    }

    fn offsets(&self, offsets: &BTreeMap<i32, i64>) -> Outcome<TopicPartitionList> {
        let offsets = offsets.iter().map(|(&at, &n)| (at, Offset::Offset(n)));
        self.at(&offsets.collect::<Vec<_>>())
    }

    /// The offset of one partition in an answer, if it is one.
    fn offset(&self, found: &TopicPartitionList, partition: i32) -> Option<i64> {
        match found.find_partition(&self.topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }
}

impl millrace_matrix::Consumer for Consumer {
    fn subscribe(&mut self, changes: Changes) -> Outcome<()> {
        let context = self.consumer.context();
        *context.0.lock().unwrap_or_else(PoisonError::into_inner) = changes;
        Ok(self.consumer.subscribe(&[&self.topic])?)
    }

    fn assign(&mut self, places: &[(i32, Start)]) -> Outcome<()> {
        let offset = |start| match start {
            Start::Beginning => Offset::Beginning,
            Start::End => Offset::End,
            Start::At(offset) => Offset::Offset(offset),
        };
        let places: Vec<_> = places
            .iter()
            .map(|&(n, start)| (n, offset(start)))
            .collect();
        self.ends.clear();
        Ok(self.consumer.assign(&self.at(&places)?)?)
    }

    fn poll(&mut self) -> Outcome<Vec<Record>> {
        let mut found = Vec::new();
        let mut patience = Duration::from_millis(100);
        while let Some(message) = self.consumer.poll(patience) {
            match message {
                Ok(message) => found.push(record(&message)),
                Err(KafkaError::PartitionEOF(partition)) => {
                    let (_, end) =
                        self.consumer
                            .fetch_watermarks(&self.topic, partition, PATIENCE)?;
                    self.ends.insert(partition, end);
                }
                Err(KafkaError::MessageConsumption(code)) if is_passing(code) => {}
                Err(error) => return Err(error.into()),
            }
            if found.len() >= 500 {
                break;
            }
            patience = Duration::ZERO;
        }
        Ok(found)
    }

    fn assignment(&self) -> Outcome<Vec<i32>> {
        Ok(numbers(&self.consumer.assignment()?))
    }

    fn seek(&mut self, partition: i32, offset: i64) -> Outcome<()> {
        let offset = Offset::Offset(offset);
        Ok(self
            .consumer
            .seek(&self.topic, partition, offset, PATIENCE)?)
    }

    fn position(&self, partition: i32) -> Outcome<i64> {
        let at = self.offset(&self.consumer.position()?, partition);
        Ok(at
            .or_else(|| self.ends.get(&partition).copied())
            .unwrap_or(-1))
    }

    fn offset_for_time(&self, partition: i32, timestamp_ms: i64) -> Outcome<Option<i64>> {
        let asked = self.at(&[(partition, Offset::Offset(timestamp_ms))])?;
        let found = self.consumer.offsets_for_times(asked, PATIENCE)?;
        Ok(self.offset(&found, partition))
    }

    fn committed(&self, partition: i32) -> Outcome<Option<i64>> {
        let asked = self.at(&[(partition, Offset::Invalid)])?;
        let found = self.consumer.committed_offsets(asked, PATIENCE)?;
        Ok(self.offset(&found, partition))
    }

    fn commit(&self, offsets: &BTreeMap<i32, i64>) -> Outcome<()> {
        let places = self.offsets(offsets)?;
        self.consumer
            .commit(&places, CommitMode::Sync)
            .map_err(judged)
    }

    fn commit_async(&self, offsets: &BTreeMap<i32, i64>) -> Outcome<()> {
        let places = self.offsets(offsets)?;
        Ok(self.consumer.commit(&places, CommitMode::Async)?)
    }

    fn pause(&self, partition: i32) -> Outcome<()> {
        Ok(self
            .consumer
            .pause(&self.at(&[(partition, Offset::Invalid)])?)?)
    }

    fn resume(&self, partition: i32) -> Outcome<()> {
        Ok(self
            .consumer
            .resume(&self.at(&[(partition, Offset::Invalid)])?)?)
    }
}

/// What librdkafka tells of connections, which it makes again by itself.
fn is_passing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown
    )
}

fn judged(error: KafkaError) -> Failure {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::IllegalGeneration
            | RDKafkaErrorCode::RebalanceInProgress
            | RDKafkaErrorCode::UnknownMemberId,
        ) => Failure::Rejoining,
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::CoordinatorNotAvailable
            | RDKafkaErrorCode::CoordinatorLoadInProgress
            | RDKafkaErrorCode::NotCoordinator
            | RDKafkaErrorCode::WaitingForCoordinator
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut,
        ) => Failure::Unreachable,
        _ => error.into(),
    }
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().into_iter().flat_map(|headers| {
        let header = |h: rdkafka::message::Header<'_, &[u8]>| {
            (h.key.to_owned(), h.value.unwrap_or_default().to_vec())
        };
        headers.iter().map(header).collect::<Vec<_>>()
    });
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.collect(),
    }
}
