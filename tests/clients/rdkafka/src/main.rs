//! The rdkafka crate, which is librdkafka, in the client matrix.

mod consumer;
mod producer;

use std::process::ExitCode;

use millrace_matrix::{Client, Consumer, Failure, Outcome, PATIENCE, Producer, Reading, Writing};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

fn main() -> ExitCode {
    millrace_matrix::main(|bootstrap| {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap);
        Ok(Rdkafka {
            admin: config.create()?,
            asker: config.create()?,
            config,
        })
    })
}

struct Rdkafka {
    config: ClientConfig,
    admin: AdminClient<DefaultClientContext>,
    /// Asks for metadata and ends of partitions.
    asker: BaseConsumer,
}

/// What an admin's call gave for its one thing.
fn one<T, N>(mut answers: Vec<Result<T, (N, RDKafkaErrorCode)>>) -> Outcome<T> {
    match answers.pop() {
        Some(Ok(answer)) => Ok(answer),
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Err(Failure::Exists),
        Some(Err((_, code))) => Err(Failure::Wrong(code.to_string())),
        None => Err(Failure::Wrong("an answer about nothing".to_owned())),
    }
}

impl Rdkafka {
    fn options() -> AdminOptions {
        AdminOptions::new().operation_timeout(Some(PATIENCE))
    }
}

impl Client for Rdkafka {
    const HAS_REPEATED_HEADERS: bool = true;

    fn create(&self, topic: &str, partitions: i32, config: (&str, &str)) -> Outcome<()> {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = new.set(config.0, config.1);
        one(block_on(
            self.admin.create_topics(&[new], &Self::options()),
        )?)
        .map(drop)
    }

    fn partitions(&self, topic: &str) -> Outcome<Vec<i32>> {
        let metadata = self.asker.fetch_metadata(Some(topic), PATIENCE)?;
        let topics = metadata.topics().iter();
        let mut found: Vec<i32> = topics
            .flat_map(|t| t.partitions())
            .map(|p| p.id())
            .collect();
        found.sort_unstable();
        Ok(found)
    }

    fn config(&self, topic: &str, name: &str) -> Outcome<String> {
        let resource = ResourceSpecifier::Topic(topic);
        let described = self.admin.describe_configs([&resource], &Self::options());
        let described = block_on(described)?.pop().ok_or(Failure::Exists)?;
        let described = described.map_err(|code| Failure::Wrong(code.to_string()))?;
        let value = described.get(name).and_then(|entry| entry.value.clone());
        Ok(value.unwrap_or_default())
    }

    fn alter(&self, topic: &str, name: &str, value: &str) -> Outcome<()> {
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
        let altered = self.admin.alter_configs([&change], &Self::options());
        one(block_on(altered)?).map(drop)
    }

    fn grow(&self, topic: &str, partitions: usize) -> Outcome<()> {
        let new = NewPartitions::new(topic, partitions);
        let grown = self.admin.create_partitions([&new], &Self::options());
        one(block_on(grown)?).map(drop)
    }

    fn list_topics(&self) -> Outcome<Vec<String>> {
        let metadata = self.asker.fetch_metadata(None, PATIENCE)?;
        let topics = metadata.topics().iter();
        Ok(topics.map(|topic| topic.name().to_owned()).collect())
    }

    fn delete_topics(&self, topics: &[&str]) -> Outcome<()> {
        for deleted in block_on(self.admin.delete_topics(topics, &Self::options()))? {
            deleted.map_err(|(_, code)| Failure::Wrong(code.to_string()))?;
        }
        Ok(())
    }

    fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Outcome<()> {
        let mut places = TopicPartitionList::new();
        places.add_partition_offset(topic, partition, Offset::Offset(before))?;
        let deleted = block_on(self.admin.delete_records(&places, &Self::options()))?;
        for place in deleted.elements() {
            place.error()?;
        }
        Ok(())
    }

    fn list_groups(&self) -> Outcome<Vec<String>> {
        let listed = self.asker.fetch_group_list(None, PATIENCE)?;
        let groups = listed.groups().iter();
        Ok(groups.map(|group| group.name().to_owned()).collect())
    }

    fn describe_group(&self, group: &str) -> Outcome<(String, usize)> {
        let listed = self.asker.fetch_group_list(Some(group), PATIENCE)?;
        let group = listed.groups().first().ok_or(Failure::Exists)?;
        Ok((group.state().to_owned(), group.members().len()))
    }

    fn delete_group(&self, group: &str) -> Outcome<()> {
        one(block_on(
            self.admin.delete_groups(&[group], &Self::options()),
        )?)
        .map(drop)
    }

    fn describe_cluster(&self) -> Outcome<(Vec<i32>, i32)> {
        Err(Failure::Lacks("AdminClient::describe_cluster"))
    }

    fn bounds(&self, topic: &str, partitions: i32) -> Outcome<Vec<(i64, i64)>> {
        let ask = |partition| Ok(self.asker.fetch_watermarks(topic, partition, PATIENCE)?);
        (0..partitions).map(ask).collect()
    }

    fn producer(&self, topic: &str, how: Writing) -> Outcome<Box<dyn Producer>> {
        producer::create(&self.config, topic, how)
    }

    fn consumer(&self, topic: &str, how: Reading) -> Outcome<Box<dyn Consumer>> {
        consumer::create(&self.config, topic, how)
    }
}

/// The crate's admin calls are futures that its own threads wake.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
