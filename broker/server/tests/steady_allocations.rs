//! How often a request makes the broker ask for memory once everything has its size: a fixed number of
//! times, whatever the batch holds.
//!
//! Client, simulated disk and net are in the counts: a bound is not the broker's alone, but it may only
//! go down.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod wire;

use std::net::SocketAddr;

use bytes::Bytes;
use millrace_config::BrokerConfig;
use millrace_host::allocation::{Counting, process_calls};
use millrace_protocol::api::Api;
use millrace_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use millrace_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millrace_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millrace_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, FetchRequest, ProduceRequest, encode,
};
use millrace_protocol::records::{BatchBuilder, Options};
use millrace_server::Broker;
use millrace_sim::Sim;
use wire::Client;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Requests before anything is counted: buffers, maps and series have their sizes by then.
const BEFORE: usize = 300;
/// Requests that are counted.
const COUNTED: usize = 400;

/// By name: topic ids are zero here.
const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9092))
}

fn batch(records: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Options::default());
    for _ in 0..records {
        builder
            .push(1_700_000_000_000, None, Some(&[7; 100]), &[])
            .unwrap();
    }
    builder.build()
}

fn produce(records: usize) -> Bytes {
    let mut data = PartitionProduceData::default();
    data.records = Some(batch(records));
    let mut topic = TopicProduceData::default();
    topic.name = "steady".into();
    topic.partition_data = vec![data];
    let mut request = ProduceRequest::default();
    request.transactional_id = None;
    request.acks = 1;
    request.timeout_ms = 30_000;
    request.topic_data = vec![topic];
    encode(&request, PRODUCE_VERSION).unwrap()
}

/// From the first offset, as much as one batch of any size here.
fn fetch() -> Bytes {
    let mut partition = FetchPartition::default();
    partition.current_leader_epoch = -1;
    partition.partition_max_bytes = 1;
    let mut topic = FetchTopic::default();
    topic.topic = "steady".into();
    topic.partitions = vec![partition];
    let mut request = FetchRequest::default();
    request.max_bytes = 1 << 20;
    request.session_epoch = -1;
    request.topics = vec![topic];
    encode(&request, FETCH_VERSION).unwrap()
}

/// Allocations for each request, in a node whose topic begins with a batch of so many records.
fn each(records: usize, (api, version): (Api, i16), body: &Bytes) -> f64 {
    let sim = Sim::new(7);
    sim.block_on(async {
        let config = BrokerConfig::from_pairs([
            ("listeners", "PLAINTEXT://127.0.0.1:9092"),
            ("log.dirs", "/data"),
            ("admin.listener", ""),
        ]);
        let broker = Broker::start(config.unwrap(), sim.node("broker")).await;
        let broker = broker.unwrap();
        let mut client = Client::connect(&sim.node("client"), address()).await;
        assert!(client.is_served().await);
        let mut topic = CreatableTopic::default();
        topic.name = "steady".into();
        topic.num_partitions = 1;
        topic.replication_factor = 1;
        for (key, value) in [("durability", "page-cache"), ("retention.ms", "-1")] {
            let mut config = CreatableTopicConfig::default();
            (config.name, config.value) = (key.into(), Some(value.into()));
            topic.configs.push(config);
        }
        let mut request = CreateTopicsRequest::default();
        request.topics = vec![topic];
        request.timeout_ms = 30_000;
        let made: CreateTopicsResponse = client.ask(Api::CreateTopics, 7, &request).await;
        assert_eq!(made.topics[0].error_code, 0);
        let first = produce(records);
        ask(&mut client, (Api::Produce, PRODUCE_VERSION), &first).await;
        for _ in 0..BEFORE {
            ask(&mut client, (api, version), body).await;
        }
        let begin = process_calls();
        for _ in 0..COUNTED {
            ask(&mut client, (api, version), body).await;
        }
        let calls = process_calls() - begin;
        drop(broker);
        calls as f64 / COUNTED as f64
    })
}

async fn ask(client: &mut Client, (api, version): (Api, i16), body: &[u8]) {
    client.send_request(api.key(), version, true, body).await;
    let reply = client.reply().await.unwrap();
    assert!(reply.len() > 8, "{api:?}: {reply:?}");
}

/// In one test, as there is one allocator.
#[test]
fn a_request_in_steady_state_allocates_a_fixed_number_of_times() {
    let append = (Api::Produce, PRODUCE_VERSION);
    let (one, many) = (produce(1), produce(500));
    let of_one = each(1, append, &one);
    let of_many = each(1, append, &many);
    println!("append: {of_one} of one record, {of_many} of 500");
    let read = (Api::Fetch, FETCH_VERSION);
    let (short, long) = (each(1, read, &fetch()), each(500, read, &fetch()));
    println!("fetch: {short} of one record, {long} of 500");
    assert!(of_one <= APPEND_MAX, "append: {of_one} allocations each");
    assert!(short <= FETCH_MAX, "fetch: {short} allocations each");
    // Reading and writing in pieces takes some more for larger batches, records none.
    assert!(of_many - of_one <= 20.0, "{of_one}, {of_many}");
    assert!(long - short <= 1.0, "{short}, {long}");
}

/// Allocations of one request, at most.
const APPEND_MAX: f64 = 42.0;
const FETCH_MAX: f64 = 62.0;
