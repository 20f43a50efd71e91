//! How much memory a producer takes before a broker that answers nothing, and a consumer before an
//! application that takes nothing, counted by the allocator: at most 64 MiB each, with the defaults.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod wire;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use millrace_client::{
    Cluster, ClusterOptions, Consumer, ConsumerOptions, OffsetOrFind, Producer, ProducerOptions,
    Record,
};
use millrace_host::allocation::{Counting, begin_process, process_peak};
use millrace_host::real::{self, Options};
use millrace_host::{Connection, Host, Pool};
use millrace_protocol::api::Api;
use millrace_protocol::messages::api_versions_response::ApiVersion;
use millrace_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use millrace_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use millrace_protocol::messages::{
    ApiVersionsResponse, FetchResponse, InitProducerIdResponse, MetadataResponse, encode,
};
use millrace_protocol::records::{BatchBuilder, Options as BatchOptions};
use millrace_protocol::requests::{self, FetchRequest};
use wire::{framed, next_request};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMIT_BYTES: usize = 64 << 20;
const PARTITIONS: i32 = 40;
/// Bytes of the batch that every fetch of a partition brings, about.
const BATCH_BYTES: usize = 1_000_000;

/// One of those batches.
static BATCH: LazyLock<Bytes> = LazyLock::new(|| {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for _ in 0..BATCH_BYTES / 1000 {
        builder.push(0, None, Some(&[0; 990]), &[]).unwrap();
    }
    builder.build()
});

/// What a broker has heard and said.
#[derive(Debug, Default)]
struct Seen {
    produces: AtomicUsize,
    /// Partitions that had their batch.
    fetched: AtomicUsize,
}

/// A broker that answers no produce, and every fetch with as much as it may.
async fn broker(host: &Host) -> (u16, Arc<Seen>) {
    let any = ([127, 0, 0, 1], 0).into();
    let mut listener = host.net.listen(any, 8).await.unwrap();
    let port = listener.local_addr().port();
    let seen = Arc::new(Seen::default());
    let (spawner, told) = (host.clone(), Arc::clone(&seen));
    let accepting = async move {
        while let Ok(connection) = listener.accept().await {
            let serving = Box::pin(serve(connection, port, Arc::clone(&told)));
            drop(spawner.spawn.spawn(Pool::Data, "a connection", serving));
        }
    };
    drop(
        host.spawn
            .spawn(Pool::Data, "a broker", Box::pin(accepting)),
    );
    (port, seen)
}

async fn serve(mut connection: Connection, port: u16, seen: Arc<Seen>) {
    let mut buf = BytesMut::new();
    while let Some((header, body)) = next_request(&mut connection, &mut buf).await {
        let (api, version) = (Api::from_key(header.api_key), header.api_version);
        let answer = match api.unwrap().row().name {
            "ApiVersions" => encode(&versions(), version),
            "Metadata" => encode(&metadata(port), version),
            "InitProducerId" => encode(&InitProducerIdResponse::default(), version),
            "Fetch" => {
                let answer = fetched(version, &body, &seen);
                if answer.responses.is_empty() {
                    continue;
                }
                encode(&answer, version)
            }
            _ => {
                assert_eq!(api, Some(Api::Produce));
                seen.produces.fetch_add(1, Ordering::Relaxed);
                continue;
            }
        };
        let frame = framed(&header, answer.unwrap());
        if connection.write.send(frame).await.is_err() {
            return;
        }
    }
}

fn versions() -> ApiVersionsResponse {
    let row = |(api, max): (Api, i16)| {
        let mut row = ApiVersion::default();
        (row.api_key, row.min_version, row.max_version) = (api.key(), 0, max);
        row
    };
    let rows = [
        (Api::ApiVersions, 4),
        (Api::Metadata, 12),
        (Api::Fetch, 12),
        (Api::Produce, 9),
        (Api::InitProducerId, 4),
    ];
    let mut answer = ApiVersionsResponse::default();
    answer.api_keys = rows.map(row).to_vec();
    answer
}

fn metadata(port: u16) -> MetadataResponse {
    let mut broker = MetadataResponseBroker::default();
    broker.host = "127.0.0.1".into();
    broker.port = port.into();
    let part = |index| {
        let mut part = MetadataResponsePartition::default();
        part.partition_index = index;
        part
    };
    let mut topic = MetadataResponseTopic::default();
    topic.name = Some("t".into());
    topic.partitions = (0..PARTITIONS).map(part).collect();
    let mut answer = MetadataResponse::default();
    answer.brokers = vec![broker];
    answer.topics = vec![topic];
    answer
}

/// A batch of each partition, as many as the request allows, at least one.
fn fetched(version: i16, request: &[u8], seen: &Seen) -> FetchResponse {
    let request: FetchRequest<'_> = requests::read(version, request).unwrap();
    let room = usize::try_from(request.max_bytes).unwrap() / BATCH.len();
    let asked = request.topics.into_iter().flat_map(|t| t.partitions);
    let row = |asked: requests::fetch::FetchPartition| {
        let mut row = PartitionData::default();
        row.partition_index = asked.partition;
        row.high_watermark = i64::MAX;
        row.records = Some(BATCH.clone());
        row
    };
    let mut topic = FetchableTopicResponse::default();
    topic.topic = "t".into();
    topic.partitions = asked.take(room.max(1)).map(row).collect();
    let rows = topic.partitions.len();
    seen.fetched.fetch_add(rows, Ordering::Relaxed);
    let mut answer = FetchResponse::default();
    answer.responses = (rows > 0).then_some(topic).into_iter().collect();
    answer
}

/// Waits until a count is reached, for a minute.
async fn reaches(host: &Host, count: &AtomicUsize, least: usize) {
    let deadline = host.clock.now().mono + Duration::from_mins(1);
    while count.load(Ordering::Relaxed) < least {
        let now = host.clock.now().mono;
        assert!(now < deadline, "{count:?} of {least}");
        host.clock.sleep_until(now + Duration::from_millis(1)).await;
    }
}

fn within(what: &str, begin: usize, least: usize) {
    let taken = process_peak() - begin;
    assert!(taken >= least, "{what}: {taken} bytes, is it counted?");
    assert!(taken <= LIMIT_BYTES, "{what}: {taken} of {LIMIT_BYTES}");
}

#[tokio::test]
async fn neither_takes_more_than_64_mebibytes() {
    let host = real::host(&Options::default()).unwrap();
    let (port, seen) = broker(&host).await;
    let options = ClusterOptions::new([format!("127.0.0.1:{port}")]);
    let cluster = Cluster::connect(&host, options).await.unwrap();

    let options = ProducerOptions::default();
    let value = [0; 1000];
    // What a record of them holds of the buffer, at most.
    let records = options.buffer_bytes_max / (value.len() + 36);
    let begin = begin_process();
    let producer = Producer::new(&cluster, &options).unwrap();
    for number in 0..records {
        let partition = i32::try_from(number).unwrap() % PARTITIONS;
        let record = Record::to("t").partition(partition).value(&value);
        drop(producer.send(&record).await.unwrap());
    }
    // The first batch of each partition goes alone, in requests of 1 MiB.
    reaches(&host, &seen.produces, 5).await;
    within("a producer", begin, records * value.len());
    drop(producer);

    let options = ConsumerOptions::default();
    let ahead = options.prefetch_bytes_max / BATCH.len() + 1;
    let begin = begin_process();
    let consumer = Consumer::new(&cluster, options);
    let from = OffsetOrFind::Offset(0);
    let all = (0..PARTITIONS).map(|partition| ("t", partition, from));
    consumer.assign(all).await.unwrap();
    reaches(&host, &seen.fetched, ahead).await;
    // It has what was sent to it, and gives it out.
    let records = consumer.next().await.unwrap();
    assert_eq!(records.batches().len(), 1);
    within("a consumer", begin, options_bytes());
}

/// What the consumer has fetched ahead, at least.
fn options_bytes() -> usize {
    ConsumerOptions::default().prefetch_bytes_max / 2
}
