//! A node in simulation with a client, and the requests that most tests make.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_config::BrokerConfig;
use millrace_host::{Host, Mono};
use millrace_protocol::api::Api;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use millrace_protocol::messages::create_topics_response::CreatableTopicResult;
use millrace_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millrace_protocol::messages::fetch_response::PartitionData;
use millrace_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millrace_protocol::messages::produce_response::PartitionProduceResponse;
use millrace_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, StrBytes, Uuid,
};
use millrace_protocol::records::{BatchBuilder, Options, Scratch, batches, record_iter};
use millrace_server::{Broker, Loggers, StartError};
use millrace_sim::{Sim, World};

use crate::wire::Client;

pub(crate) const PORT: u16 = 9092;

/// Wall time at the start of every simulation, in milliseconds.
pub(crate) const WALL_MS: i64 = 1_700_000_000_000;

/// Newest versions that are served.
pub(crate) const PRODUCE: i16 = 13;
pub(crate) const FETCH: i16 = 18;

/// A topic as its creation answered.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) name: StrBytes,
    pub(crate) id: Uuid,
}

/// A node, its machine and one connection to it.
pub(crate) struct Node {
    pub(crate) world: World,
    pub(crate) host: Host,
    pub(crate) client: Client,
    pub(crate) broker: Option<Broker>,
    pairs: Vec<(String, String)>,
}

/// Runs `test` against a node with a configuration beside the defaults.
pub(crate) fn with<F: Future>(pairs: &[(&str, &str)], test: impl FnOnce(Node) -> F) -> F::Output {
    let sim = Sim::new(7);
    let world = sim.world();
    sim.block_on(async {
        let node = Node::start(world, pairs).await.unwrap();
        test(node).await
    })
}

impl Node {
    /// Starts a node on the machine `broker` of `world`.
    pub(crate) async fn start(world: World, pairs: &[(&str, &str)]) -> Result<Self, StartError> {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let broker = Broker::start(config(&pairs), world.node("broker")).await?;
        let host = world.node("client");
        Ok(Self {
            client: Client::connect(&host, address()).await,
            world,
            host,
            broker: Some(broker),
            pairs,
        })
    }

    /// One more connection.
    pub(crate) async fn connect(&self) -> Client {
        Client::connect(&self.host, address()).await
    }

    /// Stops the node cleanly and starts it again; the client connects again.
    pub(crate) async fn restart(&mut self) {
        self.broker.take().unwrap().stop().await;
        self.start_again().await;
    }

    /// Ends the node as a loss of power does, and starts it again.
    pub(crate) async fn crash(&mut self) {
        self.world.crash("broker");
        drop(self.broker.take());
        self.start_again().await;
    }

    /// Changes the configuration of the next start.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.pairs.retain(|(known, _)| known != key);
        self.pairs.push((key.to_owned(), value.to_owned()));
    }

    /// The configuration of the next start.
    pub(crate) fn broker_config(&self) -> BrokerConfig {
        config(&self.pairs)
    }

    /// Stops the node cleanly, and says with which words it refuses to start again.
    pub(crate) async fn refusal(&mut self) -> String {
        if let Some(broker) = self.broker.take() {
            broker.stop().await;
        }
        let host = self.world.node("broker");
        let started = Broker::start(config(&self.pairs), host).await;
        started.unwrap_err().to_string()
    }

    /// Starts a node that was stopped before.
    pub(crate) async fn start_again(&mut self) {
        let host = self.world.node("broker");
        let broker = Broker::start(config(&self.pairs), host).await.unwrap();
        self.broker = Some(broker);
        self.client = self.connect().await;
    }

    /// Stops the node cleanly and starts it again with loggers.
    pub(crate) async fn restart_with(&mut self, loggers: Arc<dyn Loggers>) {
        self.broker.take().unwrap().stop().await;
        let host = self.world.node("broker");
        let broker = Broker::start_with(config(&self.pairs), host, loggers).await;
        self.broker = Some(broker.unwrap());
        self.client = self.connect().await;
    }

    /// The value of a metric's line, 0 when it isn't there.
    pub(crate) fn metric(&self, line: &str) -> u64 {
        let text = self.broker.as_ref().unwrap().metrics_text();
        let value = text
            .lines()
            .find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// The present time of the simulation.
    pub(crate) fn now(&self) -> Mono {
        self.host.clock.now().mono
    }

    /// How long it is since `start`.
    pub(crate) fn since(&self, start: Mono) -> Duration {
        self.now().since(start)
    }

    /// Creates a topic with one partition.
    pub(crate) async fn topic(&mut self, name: &str, configs: &[(&str, &str)]) -> Topic {
        self.topic_of(name, 1, configs).await
    }

    /// Creates a topic.
    pub(crate) async fn topic_of(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Topic {
        let mut request = CreateTopicsRequest::default();
        request.topics = vec![new_topic(name, partitions, configs)];
        let result = self.create(7, &request).await.remove(0);
        assert_eq!(result.error_code, 0, "{:?}", result.error_message);
        Topic {
            name: result.name,
            id: result.topic_id,
        }
    }

    /// Sends a request to create topics.
    pub(crate) async fn create(
        &mut self,
        version: i16,
        request: &CreateTopicsRequest,
    ) -> Vec<CreatableTopicResult> {
        let response: CreateTopicsResponse =
            self.client.ask(Api::CreateTopics, version, request).await;
        response.topics
    }

    /// Deletes a topic, and has the broker's word that it is gone.
    pub(crate) async fn remove_topic(&mut self, name: &str) {
        let mut request = DeleteTopicsRequest::default();
        request.topic_names = vec![name.to_owned().into()];
        request.timeout_ms = 30_000;
        let told: DeleteTopicsResponse = self.client.ask(Api::DeleteTopics, 5, &request).await;
        let row = &told.responses[0];
        assert_eq!(row.error_code, 0, "{:?}", row.error_message);
    }

    /// Produces with acks=all in the newest version.
    pub(crate) async fn produce(&mut self, topic: &Topic, records: Bytes) -> Outcome {
        self.produce_in(PRODUCE, topic, -1, Some(records)).await
    }

    /// Produces as clients do, who ask again while the topic's name is still being freed of the
    /// topic before it.
    pub(crate) async fn produce_soon(&mut self, topic: &Topic, records: Bytes) -> Outcome {
        for _ in 0..300 {
            let row = self.produce(topic, records.clone()).await;
            if ErrorCode::from_code(row.error_code) != Some(ErrorCode::KafkaStorageError) {
                return row;
            }
            self.world.pause(Duration::from_millis(100)).await;
        }
        self.produce(topic, records).await
    }

    /// Produces and gives back the row of the answer.
    pub(crate) async fn produce_in(
        &mut self,
        version: i16,
        topic: &Topic,
        acks: i16,
        records: Option<Bytes>,
    ) -> Outcome {
        let request = produce_request(topic, 0, acks, records);
        self.produce_row(version, &request).await
    }

    /// Sends a request for one partition.
    pub(crate) async fn produce_row(&mut self, version: i16, request: &ProduceRequest) -> Outcome {
        let mut response: ProduceResponse = self.client.ask(Api::Produce, version, request).await;
        assert_eq!(response.responses.len(), 1);
        let mut topic = response.responses.remove(0);
        let asked = &request.topic_data[0];
        if version >= 13 {
            assert_eq!((&*topic.name, topic.topic_id), ("", asked.topic_id));
        } else {
            assert_eq!(topic.name, asked.name);
        }
        assert_eq!(topic.partition_responses.len(), 1);
        topic.partition_responses.remove(0)
    }

    /// The codes with which the first `count` partitions take a batch.
    pub(crate) async fn produce_to_each(
        &mut self,
        topic: &Topic,
        count: i32,
        value: &str,
    ) -> Vec<i16> {
        let mut codes = Vec::new();
        for partition in 0..count {
            let request = produce_request(topic, partition, -1, Some(batch(&[value])));
            codes.push(self.produce_row(PRODUCE, &request).await.error_code);
        }
        codes
    }

    /// What the first `count` partitions have, or the error code of each.
    pub(crate) async fn read_each(
        &mut self,
        topic: &Topic,
        count: i32,
    ) -> Vec<Result<Vec<String>, i16>> {
        let mut found = Vec::new();
        for partition in 0..count {
            let request = fetch_request(topic, &[(partition, 0)]);
            let mut answer: FetchResponse = self.client.ask(Api::Fetch, FETCH, &request).await;
            let row = answer.responses.remove(0).partitions.remove(0);
            found.push(match row.error_code {
                0 => Ok(values(&row)),
                code => Err(code),
            });
        }
        found
    }

    /// Fetches from partition 0 in the newest version without waiting.
    pub(crate) async fn fetch(&mut self, topic: &Topic, offset: i64) -> PartitionData {
        self.fetch_in(FETCH, topic, offset).await
    }

    /// Fetches from partition 0 without waiting.
    pub(crate) async fn fetch_in(
        &mut self,
        version: i16,
        topic: &Topic,
        offset: i64,
    ) -> PartitionData {
        let request = fetch_request(topic, &[(0, offset)]);
        let mut response: FetchResponse = self.client.ask(Api::Fetch, version, &request).await;
        assert_eq!(response.error_code, 0);
        response.responses.remove(0).partitions.remove(0)
    }

    /// The values from `offset` on, in order.
    pub(crate) async fn values(&mut self, topic: &Topic, offset: i64) -> Vec<String> {
        let row = self.fetch(topic, offset).await;
        assert_eq!(row.error_code, 0);
        values(&row)
    }
}

pub(crate) type Outcome = PartitionProduceResponse;

/// Where the node listens.
pub(crate) fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], PORT))
}

fn config(pairs: &[(String, String)]) -> BrokerConfig {
    let listeners = format!("PLAINTEXT://127.0.0.1:{PORT}");
    let defaults = [
        ("listeners", listeners.as_str()),
        ("log.dirs", "/data"),
        ("admin.listener", ""),
    ];
    let given = pairs
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let missing = |key: &str| !pairs.iter().any(|(given, _)| given == key);
    let defaults = defaults.into_iter().filter(|(key, _)| missing(key));
    BrokerConfig::from_pairs(defaults.chain(given)).unwrap()
}

/// A topic to create.
pub(crate) fn new_topic(name: &str, partitions: i32, configs: &[(&str, &str)]) -> CreatableTopic {
    let mut topic = CreatableTopic::default();
    topic.name = name.into();
    topic.num_partitions = partitions;
    topic.replication_factor = 1;
    for (name, value) in configs {
        let mut config = CreatableTopicConfig::default();
        config.name = (*name).into();
        config.value = Some((*value).into());
        topic.configs.push(config);
    }
    topic
}

/// A batch of these values, with keys.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    batch_of(Options::default(), WALL_MS, values)
}

/// A batch of these values, all of one time.
pub(crate) fn batch_of(options: Options, timestamp_ms: i64, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder
            .push(timestamp_ms, Some(b"key"), Some(value.as_bytes()), &[])
            .unwrap();
    }
    builder.build()
}

/// A batch of an idempotent producer.
pub(crate) fn batch_from(producer: (i64, i16, i32), values: &[&str]) -> Bytes {
    let options = Options {
        producer: Some(producer),
        ..Options::default()
    };
    batch_of(options, WALL_MS, values)
}

/// A request to produce to one partition, with a timeout of 30 s.
pub(crate) fn produce_request(
    topic: &Topic,
    partition: i32,
    acks: i16,
    records: Option<Bytes>,
) -> ProduceRequest {
    let mut data = PartitionProduceData::default();
    data.index = partition;
    data.records = records;
    let mut of_topic = TopicProduceData::default();
    of_topic.name = topic.name.clone();
    of_topic.topic_id = topic.id;
    of_topic.partition_data = vec![data];
    let mut request = ProduceRequest::default();
    request.transactional_id = None;
    request.acks = acks;
    request.timeout_ms = 30_000;
    request.topic_data = vec![of_topic];
    request
}

/// A fetch without session from partitions at offsets, which doesn't wait.
pub(crate) fn fetch_request(topic: &Topic, partitions: &[(i32, i64)]) -> FetchRequest {
    let mut of_topic = FetchTopic::default();
    of_topic.topic = topic.name.clone();
    of_topic.topic_id = topic.id;
    for (index, offset) in partitions {
        let mut partition = FetchPartition::default();
        partition.partition = *index;
        partition.current_leader_epoch = -1;
        partition.fetch_offset = *offset;
        partition.partition_max_bytes = 1 << 20;
        of_topic.partitions.push(partition);
    }
    let mut request = FetchRequest::default();
    request.max_wait_ms = 0;
    request.min_bytes = 1;
    request.max_bytes = 1 << 20;
    request.session_epoch = -1;
    request.topics = vec![of_topic];
    request
}

/// The values in a row of a fetch's answer, from its first batch on. The last batch may be cut off
/// by the limits, as in Kafka, and is left out then.
pub(crate) fn values(row: &PartitionData) -> Vec<String> {
    let records = row.records.clone().expect("records are never null");
    let mut scratch = Scratch::new(1 << 20);
    let mut values = Vec::new();
    for batch in batches(records).map_while(Result::ok) {
        batch.verify_crc().unwrap();
        for record in record_iter(&batch, &mut scratch).unwrap() {
            let value = record.unwrap().value.unwrap_or_default().to_vec();
            values.push(String::from_utf8(value).unwrap());
        }
    }
    values
}
