//! Load of every kind on a broker that is watched, for `cargo xtask tsan`: producers at each acks
//! level, consumers that wait, connections that come and go, small segments that roll and are
//! retained, records that are deleted, topics that are made and removed meanwhile. It judges
//! nothing but that the broker lives; whoever watches the broker judges the rest.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use millrace_client::{
    Acks, Client, ClientOptions, Error, FetchFrom, FetchOptions, NewTopic, OffsetOf, Topic,
};
use millrace_host::real::{Options, RealHost};
use millrace_host::{BoxFuture, Host, Pool, TaskHandle};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::DeleteTopicsRequest;
use millrace_protocol::messages::delete_topics_request::DeleteTopicState;
use millrace_protocol::records::{self, BatchBuilder, Codec};
use millrace_tests::process::{Launch, Signal};

/// Partitions of every topic.
const PARTITIONS: i32 = 4;
/// Requests of one connection before it is made anew.
const REQUESTS: usize = 200;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("load: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let (Some(binary), Some(seconds)) = (arguments.next(), arguments.next()) else {
        return Err("usage: load BINARY SECONDS".to_owned());
    };
    let seconds = seconds
        .parse()
        .map_err(|_| format!("{seconds} is no number"))?;
    let data = tempfile::tempdir().map_err(|error| error.to_string())?;
    let launch = Launch::new(Path::new(&binary), &data.path().join("data"))
        .set("log.retention.check.interval.ms=1000")
        .set("log.direct.sync.bytes=65536");
    let machine = RealHost::start(&Options::default()).map_err(|error| error.to_string())?;
    let host = machine.host();
    // Two lives: the second one recovers and serves what the first one wrote.
    for life in 1..=2 {
        let mut broker = launch.start()?;
        let address = broker.address();
        machine.block_on(live(&host, address, Duration::from_secs(seconds)))?;
        if let Some(status) = broker.ended()? {
            return Err(format!("the broker ended under load: {status}"));
        }
        // ThreadSanitizer keeps a signal back until its thread makes a call that it knows: with all
        // threads asleep SIGTERM is not heard.
        broker.end(Signal::Kill)?;
        eprintln!("load: life {life} is over");
    }
    Ok(())
}

/// What all clients know.
struct Shared {
    host: Host,
    address: SocketAddr,
    stop: AtomicBool,
    produced: AtomicU64,
    fetched: AtomicU64,
    removed: AtomicU64,
    refused: AtomicU64,
}

async fn live(host: &Host, address: SocketAddr, time: Duration) -> Result<(), String> {
    let shared = Arc::new(Shared {
        host: host.clone(),
        address,
        stop: AtomicBool::new(false),
        produced: AtomicU64::new(0),
        fetched: AtomicU64::new(0),
        removed: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    });
    let client = shared.connect().await.map_err(|error| error.to_string())?;
    let topic = match client.topic("load").await {
        Ok(topic) => topic,
        Err(_) => make(&client, "load").await.map_err(|e| e.to_string())?,
    };
    let mut clients: Vec<BoxFuture<'static, ()>> = Vec::new();
    for (number, acks) in [Acks::All, Acks::All, Acks::Leader, Acks::None]
        .into_iter()
        .enumerate()
    {
        clients.push(Box::pin(produce(
            shared.clone(),
            topic.clone(),
            acks,
            number,
        )));
    }
    for number in 0..3 {
        clients.push(Box::pin(consume(shared.clone(), topic.clone(), number)));
    }
    for number in 0..2 {
        clients.push(Box::pin(churn(shared.clone(), number)));
    }
    clients.push(Box::pin(delete_records(shared.clone(), topic)));
    let tasks: Vec<Box<dyn TaskHandle>> = clients
        .into_iter()
        .map(|client| host.spawn.spawn(Pool::Data, "load", client))
        .collect();
    host.clock.sleep_until(host.clock.now().mono + time).await;
    shared.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        if !task.join().await {
            return Err("a client failed".to_owned());
        }
    }
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    eprintln!(
        "load: {} batches produced, {} bytes fetched, {} topics removed, {} requests refused",
        count(&shared.produced),
        count(&shared.fetched),
        count(&shared.removed),
        count(&shared.refused)
    );
    let enough = [&shared.produced, &shared.fetched, &shared.removed];
    if enough.into_iter().any(|one| count(one) == 0) {
        return Err("a part of the load did not happen".to_owned());
    }
    Ok(())
}

impl Shared {
    async fn connect(&self) -> Result<Client, Error> {
        let options = ClientOptions::default();
        Client::connect(&self.host, self.address, options).await
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Works on one connection after the other; what fails is counted.
    async fn work<F: Future<Output = Result<(), Error>>>(&self, work: impl Fn(Client) -> F) {
        while !self.is_stopping() {
            let done = match self.connect().await {
                Ok(client) => work(client).await,
                Err(error) => Err(error),
            };
            if done.is_err() {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

async fn make(client: &Client, name: &str) -> Result<Topic, Error> {
    let topic = NewTopic::new(name, PARTITIONS)
        .with("segment.bytes", "1048576")
        .with("retention.bytes", "2097152")
        .with("file.delete.delay.ms", "100");
    client.create_topic(&topic).await
}

/// A batch of a few records; every fifth is large enough to be synced beside the journal.
fn batch(number: usize) -> Bytes {
    let size = if number.is_multiple_of(5) {
        90_000
    } else {
        500
    };
    let codec = [Codec::None, Codec::Lz4, Codec::Zstd][number % 3];
    let mut builder = BatchBuilder::new(records::Options {
        codec,
        ..records::Options::default()
    });
    for record in 0..4_u8 {
        let value: Vec<u8> = (0..size / 4).map(|at| (at as u8) ^ record).collect();
        let pushed = builder.push(1_700_000_000_000, None, Some(&value), &[]);
        pushed.expect("a few records fit into a batch");
    }
    builder.build()
}

async fn produce(shared: Arc<Shared>, topic: Topic, acks: Acks, number: usize) {
    let (shared, topic) = (&shared, &topic);
    let work = async |client: Client| {
        for request in 0..REQUESTS {
            if shared.is_stopping() {
                break;
            }
            let partition = (request + number) as i32 % PARTITIONS;
            client
                .produce(topic, partition, acks, batch(request + number))
                .await?;
            shared.produced.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    shared.work(work).await;
}

async fn consume(shared: Arc<Shared>, topic: Topic, number: i32) {
    let (shared, topic) = (&shared, &topic);
    let work = async |client: Client| {
        let options = FetchOptions {
            max_wait: Duration::from_millis(50),
            min_bytes: 1 + number * 100_000,
            ..FetchOptions::default()
        };
        let mut from = Vec::new();
        for partition in 0..PARTITIONS {
            let first = client.list_offset(topic, partition, OffsetOf::Start);
            let offset = first.await?.unwrap_or(0);
            from.push(FetchFrom { partition, offset });
        }
        for _ in 0..REQUESTS {
            if shared.is_stopping() {
                break;
            }
            for found in client.fetch(topic, &from, &options).await? {
                if found.error != ErrorCode::None {
                    // Retained meanwhile: the next connection begins where the log does.
                    return Ok(());
                }
                let bytes = found.records.len() as u64;
                shared.fetched.fetch_add(bytes, Ordering::Relaxed);
                let next = if number == 0 {
                    found.high_watermark
                } else {
                    found.log_start_offset
                };
                from[found.partition as usize].offset = next;
            }
        }
        Ok(())
    };
    shared.work(work).await;
}

/// Makes a topic, writes to it, removes it.
async fn churn(shared: Arc<Shared>, number: usize) {
    let shared = &shared;
    let work = async |client: Client| {
        let name = format!("churn-{number}");
        let topic = match make(&client, &name).await {
            Ok(topic) => topic,
            Err(_) => client.topic(&name).await?,
        };
        for request in 0..20 {
            let partition = request % PARTITIONS;
            client
                .produce(&topic, partition, Acks::All, batch(request as usize))
                .await?;
        }
        let mut state = DeleteTopicState::default();
        state.name = None;
        state.topic_id = topic.id.into();
        let mut request = DeleteTopicsRequest::default();
        request.topics = vec![state];
        request.timeout_ms = 10_000;
        client.call(&request).await?;
        shared.removed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    shared.work(work).await;
}

async fn delete_records(shared: Arc<Shared>, topic: Topic) {
    let (shared, topic) = (&shared, &topic);
    let work = async |client: Client| {
        for partition in 0..PARTITIONS {
            client.delete_records(topic, partition, None).await?;
            let soon = shared.host.clock.now().mono + Duration::from_millis(200);
            shared.host.clock.sleep_until(soon).await;
        }
        Ok(())
    };
    shared.work(work).await;
}
