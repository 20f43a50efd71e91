//! One run of load: topic, bodies, the run itself at the greatest or at a fixed rate, the check.
//!
//! What always holds: the clock runs over sending and answers only, never over encoding or
//! checking; at a fixed rate a request's latency counts from when it was due, not from when it was
//! sent (no coordinated omission); a run whose records are not all there has no figure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use millrace_client::{
    Acks, Client, ClientOptions, Error, NewTopic, OffsetOf, PendingReply, Topic,
};
use millrace_host::{Host, Mono, Pool};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::ProduceRequest;
use millrace_protocol::records::Codec;
use tokio::sync::{mpsc, oneshot};

use crate::cpu::{cpu_time, resident_bytes};
use crate::payload::{Payload, Shape};
use crate::report::{figure, latencies, per_second};
use crate::{readback, text};

/// How long the partitions of a new topic may be without a leader.
const LEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at them.
const LEADER_TRY_EVERY: Duration = Duration::from_millis(20);

/// How a load is shaped.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArguments {
    /// The broker, as address and port.
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: SocketAddr,
    /// The topic; made when missing.
    #[arg(long, default_value = "bench")]
    topic: String,
    /// Its partitions when it is made.
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// A configuration of the topic when it is made, KEY=VALUE; may be given often.
    #[arg(long = "topic-config", value_parser = key_value)]
    topic_configs: Vec<(String, String)>,
    /// Records to produce within the clock, rounded up to whole batches.
    #[arg(long, default_value_t = 1_000_000)]
    records: usize,
    /// Records to produce before the clock starts, for brokers that need warming.
    #[arg(long, default_value_t = 0)]
    warmup_records: usize,
    /// Bytes of each record's value.
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
    /// Bytes of values in each batch.
    #[arg(long, default_value_t = 1_000_000, conflicts_with = "batch_records")]
    batch_bytes: usize,
    /// Records of each batch, in place of its bytes.
    #[arg(long)]
    batch_records: Option<usize>,
    /// When a batch counts as produced.
    #[arg(long, default_value = "all")]
    acks: AcksArgument,
    /// The codec of the batches.
    #[arg(long, default_value = "none")]
    codec: CodecArgument,
    /// Connections that send at the same time.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Requests without an answer on each connection.
    #[arg(long, default_value_t = 5)]
    depth: usize,
    /// Records a second; without it as fast as answers come.
    #[arg(long)]
    rate: Option<f64>,
    /// The broker's process id: prints its CPU time and memory too.
    #[arg(long)]
    pid: Option<u32>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum AcksArgument {
    #[value(name = "0")]
    None,
    #[value(name = "1")]
    Leader,
    #[value(name = "all", alias = "-1")]
    All,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum CodecArgument {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl LoadArguments {
    fn shape(&self) -> Shape {
        let by_bytes = self.batch_bytes / self.record_bytes.max(1);
        Shape {
            record_bytes: self.record_bytes,
            batch_records: self.batch_records.unwrap_or(by_bytes).max(1),
            codec: match self.codec {
                CodecArgument::None => Codec::None,
                CodecArgument::Gzip => Codec::Gzip,
                CodecArgument::Snappy => Codec::Snappy,
                CodecArgument::Lz4 => Codec::Lz4,
                CodecArgument::Zstd => Codec::Zstd,
            },
        }
    }

    fn acks(&self) -> Acks {
        match self.acks {
            AcksArgument::None => Acks::None,
            AcksArgument::Leader => Acks::Leader,
            AcksArgument::All => Acks::All,
        }
    }
}

pub(crate) fn key_value(argument: &str) -> Result<(String, String), String> {
    let (key, value) = argument.split_once('=').ok_or("KEY=VALUE is wanted")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// What one pass over the wire measured.
struct Measured {
    elapsed: Duration,
    latencies: Histogram<u64>,
}

/// Runs one load and prints its figures.
pub(crate) async fn run(host: &Host, arguments: &LoadArguments) -> Result<(), String> {
    let shape = arguments.shape();
    let client = connect(host, arguments).await?;
    let topic = topic(&client, arguments).await?;
    let from = ends(host, &client, &topic).await?;
    let warmup = arguments.warmup_records.div_ceil(shape.batch_records);
    let requests = arguments.records.div_ceil(shape.batch_records);
    let payload = Payload::encode(&client, &topic, arguments.acks(), shape, warmup + requests)?;
    let run = Run {
        host: host.clone(),
        payload: Arc::new(payload),
        acks: arguments.acks(),
        depth: arguments.depth.max(1),
        // Whole batches a second.
        interval: arguments
            .rate
            .map(|rate| Duration::from_secs_f64(shape.batch_records as f64 / rate.max(1e-3))),
    };
    let mut connections = Vec::new();
    for _ in 0..arguments.connections.max(1) {
        connections.push(connect(host, arguments).await?);
    }
    if warmup > 0 {
        run.pass(&connections, 0..warmup).await?;
    }
    let (own, broker) = (cpu(Some(std::process::id()))?, cpu(arguments.pid)?);
    let measured = run.pass(&connections, warmup..warmup + requests).await?;
    let broker = spent(broker, cpu(arguments.pid)?);
    let own = spent(own, cpu(Some(std::process::id()))?);
    let memory = arguments
        .pid
        .map(resident_bytes)
        .transpose()
        .map_err(text)?;

    let expected = run.payload.expected(warmup + requests);
    let read = readback::check(host, &client, &topic, &from, expected)
        .await
        .map_err(|reason| format!("no figure, the records are not all there: {reason}"))?;

    let records = (requests * shape.batch_records) as u64;
    figure("records", records, "");
    figure("records read back", read, "all there");
    measured.print(records, shape.record_bytes);
    let per_million = |cpu: Duration| format!("{:.3}", cpu.as_secs_f64() * 1e6 / records as f64);
    if let Some(broker) = broker {
        figure("broker cpu per million", per_million(broker), "s");
    }
    if let Some(own) = own {
        figure("client cpu per million", per_million(own), "s");
    }
    if let Some((peak, now)) = memory {
        figure("broker peak resident", peak >> 20, "MiB");
        figure("broker resident", now >> 20, "MiB");
    }
    Ok(())
}

impl Measured {
    fn print(&self, records: u64, record_bytes: usize) {
        figure("elapsed", format!("{:.3}", self.elapsed.as_secs_f64()), "s");
        let rate = per_second(records, self.elapsed);
        figure("records per second", format!("{rate:.0}"), "/s");
        let mib = rate * record_bytes as f64 / f64::from(1 << 20);
        figure("values per second", format!("{mib:.1}"), "MiB/s");
        if !self.latencies.is_empty() {
            latencies(&self.latencies);
        }
    }
}

fn cpu(pid: Option<u32>) -> Result<Option<Duration>, String> {
    pid.map(cpu_time).transpose().map_err(text)
}

fn spent(before: Option<Duration>, after: Option<Duration>) -> Option<Duration> {
    Some(after?.saturating_sub(before?))
}

async fn connect(host: &Host, arguments: &LoadArguments) -> Result<Client, String> {
    let options = ClientOptions {
        client_id: "millrace-bench".to_owned(),
        in_flight_max: arguments.depth.max(1),
        ..ClientOptions::default()
    };
    Client::connect(host, arguments.bootstrap, options)
        .await
        .map_err(text)
}

/// The topic, made when it is missing. Without retention: the records' times are old on purpose.
async fn topic(client: &Client, arguments: &LoadArguments) -> Result<Topic, String> {
    let mut new = NewTopic::new(&arguments.topic, arguments.partitions).with("retention.ms", "-1");
    new.configs.extend(arguments.topic_configs.iter().cloned());
    match client.create_topic(&new).await {
        Err(Error::Broker {
            code: ErrorCode::TopicAlreadyExists,
            ..
        }) => client.topic(&arguments.topic).await.map_err(text),
        made => made.map_err(text),
    }
}

/// Where each partition ends now.
async fn ends(host: &Host, client: &Client, topic: &Topic) -> Result<BTreeMap<i32, i64>, String> {
    let mut ends = BTreeMap::new();
    for partition in 0..topic.partitions {
        // In a cluster the leaders of a new topic take a moment.
        let deadline = host.clock.now().mono + LEADER_TIMEOUT;
        let end = loop {
            match client.list_offset(topic, partition, OffsetOf::End).await {
                Err(error) if error.is_retriable() && host.clock.now().mono < deadline => {
                    host.clock
                        .sleep_until(host.clock.now().mono + LEADER_TRY_EVERY)
                        .await;
                }
                end => break end.map_err(text)?,
            }
        };
        ends.insert(partition, end.unwrap_or(0));
    }
    Ok(ends)
}

/// A request that was sent, with the time that its latency counts from.
type Sent = (Mono, PendingReply);

/// What all connections of a run share.
#[derive(Clone)]
struct Run {
    host: Host,
    payload: Arc<Payload>,
    acks: Acks,
    depth: usize,
    interval: Option<Duration>,
}

impl Run {
    /// Sends the requests with these numbers over all connections and waits for every answer.
    async fn pass(
        &self,
        connections: &[Client],
        numbers: std::ops::Range<usize>,
    ) -> Result<Measured, String> {
        let next = Arc::new(AtomicUsize::new(numbers.start));
        let start = self.host.clock.now().mono;
        let mut ends = Vec::new();
        for client in connections {
            let (done, end) = oneshot::channel();
            let pass = Pass {
                run: self.clone(),
                client: client.clone(),
                next: Arc::clone(&next),
                numbers: numbers.clone(),
                start,
            };
            let task = self.host.spawn.spawn(
                Pool::Data,
                "load connection",
                Box::pin(async move {
                    // Nobody waits for it any more when another connection failed first.
                    drop(done.send(pass.run().await));
                }),
            );
            drop(task);
            ends.push(end);
        }
        let mut latencies = new_histogram()?;
        for end in ends {
            let of_connection = end
                .await
                .map_err(|_| "a connection's task died".to_owned())??;
            latencies.add(of_connection).map_err(text)?;
        }
        let elapsed = self.host.clock.now().mono.since(start);
        Ok(Measured { elapsed, latencies })
    }
}

/// One connection's part of a pass.
struct Pass {
    run: Run,
    client: Client,
    next: Arc<AtomicUsize>,
    numbers: std::ops::Range<usize>,
    start: Mono,
}

impl Pass {
    async fn run(self) -> Result<Histogram<u64>, String> {
        let (sent, answers) = mpsc::channel(self.run.depth);
        let (sending, received) = tokio::join!(self.send(sent), self.receive(answers));
        sending?;
        received
    }

    async fn send(&self, sent: mpsc::Sender<Sent>) -> Result<(), String> {
        let (clock, payload) = (&self.run.host.clock, &self.run.payload);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.numbers.end {
                break;
            }
            let from = match self.run.interval {
                None => clock.now().mono,
                Some(interval) => {
                    let nth = u32::try_from(number - self.numbers.start).map_err(text)?;
                    let due = self.start + interval.saturating_mul(nth);
                    clock.sleep_until(due).await;
                    due
                }
            };
            let body = payload.of(number).body.clone();
            let connection = self.client.connection();
            if self.run.acks == Acks::None {
                connection
                    .send_without_reply(payload.call, body)
                    .await
                    .map_err(text)?;
                continue;
            }
            let reply = connection.send(payload.call, body).await.map_err(text)?;
            if sent.send((from, reply)).await.is_err() {
                // The receiving side failed and says why.
                return Ok(());
            }
        }
        if self.run.acks == Acks::None {
            // Answered after everything before it on this connection has taken effect.
            self.client.metadata(Some(&[])).await.map_err(text)?;
        }
        Ok(())
    }

    async fn receive(&self, mut answers: mpsc::Receiver<Sent>) -> Result<Histogram<u64>, String> {
        let mut latencies = new_histogram()?;
        let call = self.run.payload.call;
        while let Some((from, reply)) = answers.recv().await {
            let body = reply.wait().await.map_err(text)?;
            let latency = self.run.host.clock.now().mono.since(from);
            latencies.saturating_record(u64::try_from(latency.as_micros()).map_err(text)?);
            let answer = self.client.answer::<ProduceRequest>(call, body);
            let topics = answer.read().map_err(text)?.responses.into_iter();
            for outcome in topics.flat_map(|topic| topic.partition_responses) {
                if outcome.error_code != 0 {
                    let reason = outcome.error_message.unwrap_or_default();
                    return Err(format!(
                        "a batch was refused: {} {reason}",
                        outcome.error_code
                    ));
                }
            }
        }
        Ok(latencies)
    }
}

/// Microseconds up to two minutes, three digits.
fn new_histogram() -> Result<Histogram<u64>, String> {
    Histogram::new_with_max(120_000_000, 3).map_err(text)
}
