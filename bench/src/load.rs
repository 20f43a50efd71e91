//! One run of load: topic, bodies, the run itself at the greatest or at a fixed rate, the check.
//!
//! What always holds: the clock runs over sending and answers only, never over encoding or
//! checking; at a fixed rate a request's latency counts from when it was due, not from when it was
//! sent (no coordinated omission); a run whose records are not all there has no figure.

mod blocking;
mod pass;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use millrace_client::{Acks, Client, ClientOptions, Error, NewTopic, OffsetOf, Topic};
use millrace_host::Host;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::Codec;

use self::pass::{Measured, Run};
use crate::cpu::{cpu_time, resident_bytes};
use crate::payload::{Payload, Shape};
use crate::report::{cpu_per_million, figure, latencies, per_second};
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
    /// How much of each value repeats what is before it: something for the codec to do.
    #[arg(long, default_value_t = 0.0)]
    repeat_share: f64,
    /// Connections that send at the same time.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Requests without an answer on each connection.
    #[arg(long, default_value_t = 5)]
    depth: usize,
    /// Blocking sockets, a thread for each connection: the lightest client, and the one to take for
    /// what a request takes by itself. Not for acks=0.
    #[arg(long, conflicts_with = "rate")]
    blocking: bool,
    /// Records a second; without it as fast as answers come.
    #[arg(long)]
    rate: Option<f64>,
    /// The broker's process id: prints its CPU time and memory too.
    #[arg(long)]
    pid: Option<u32>,
}

/// When a batch counts as produced.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum AcksArgument {
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
            repeat_share: self.repeat_share.clamp(0.0, 1.0),
            codec: match self.codec {
                CodecArgument::None => Codec::None,
                CodecArgument::Gzip => Codec::Gzip,
                CodecArgument::Snappy => Codec::Snappy,
                CodecArgument::Lz4 => Codec::Lz4,
                CodecArgument::Zstd => Codec::Zstd,
            },
        }
    }
}

impl AcksArgument {
    pub(crate) fn acks(self) -> Acks {
        match self {
            Self::None => Acks::None,
            Self::Leader => Acks::Leader,
            Self::All => Acks::All,
        }
    }
}

pub(crate) fn key_value(argument: &str) -> Result<(String, String), String> {
    let (key, value) = argument.split_once('=').ok_or("KEY=VALUE is wanted")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs one load and prints its figures.
pub(crate) async fn run(host: &Host, arguments: &LoadArguments) -> Result<(), String> {
    let shape = arguments.shape();
    let client = connect(host, arguments.bootstrap, arguments.depth).await?;
    let configs = &arguments.topic_configs;
    let topic = new_topic(&client, &arguments.topic, arguments.partitions, configs).await?;
    let from = ends(host, &client, &topic).await?;
    let warmup = arguments.warmup_records.div_ceil(shape.batch_records);
    let requests = arguments.records.div_ceil(shape.batch_records);
    let acks = arguments.acks.acks();
    let payload = Payload::encode(&client, &topic, acks, shape, warmup + requests)?;
    let run = Run {
        host: host.clone(),
        payload: Arc::new(payload),
        acks,
        batch_records: shape.batch_records as u64,
        depth: arguments.depth.max(1),
        // Whole batches a second.
        interval: arguments
            .rate
            .map(|rate| Duration::from_secs_f64(shape.batch_records as f64 / rate.max(1e-3))),
    };
    let connections = Connections::open(host, arguments).await?;
    if warmup > 0 {
        connections.pass(&run, 0..warmup).await?;
    }
    let (own, broker) = (cpu(Some(std::process::id()))?, cpu(arguments.pid)?);
    let measured = connections.pass(&run, warmup..warmup + requests).await?;
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
    print(&measured, records, shape.record_bytes);
    if let Some(broker) = broker {
        cpu_per_million("broker", broker, records);
    }
    if let Some(own) = own {
        cpu_per_million("client", own, records);
    }
    if let Some((peak, now)) = memory {
        figure("broker peak resident", peak >> 20, "MiB");
        figure("broker resident", now >> 20, "MiB");
    }
    Ok(())
}

/// How requests leave.
enum Connections {
    /// Over connections of an executor.
    Tasks(Vec<Client>),
    /// Over so many connections with a thread each.
    Threads(SocketAddr, usize),
}

impl Connections {
    async fn open(host: &Host, arguments: &LoadArguments) -> Result<Self, String> {
        let count = arguments.connections.max(1);
        if arguments.blocking {
            if matches!(arguments.acks, AcksArgument::None) {
                return Err("--blocking waits for answers, and --acks 0 has none".to_owned());
            }
            return Ok(Self::Threads(arguments.bootstrap, count));
        }
        let mut clients = Vec::new();
        for _ in 0..count {
            clients.push(connect(host, arguments.bootstrap, arguments.depth).await?);
        }
        Ok(Self::Tasks(clients))
    }

    /// Sends the requests with these numbers and waits for every answer.
    async fn pass(&self, run: &Run, numbers: Range<usize>) -> Result<Measured, String> {
        match *self {
            Self::Tasks(ref clients) => run.pass(clients, numbers).await,
            Self::Threads(address, count) => blocking::pass(run, address, count, numbers),
        }
    }
}

fn print(measured: &Measured, records: u64, record_bytes: usize) {
    let elapsed = measured.elapsed;
    figure("elapsed", format!("{:.3}", elapsed.as_secs_f64()), "s");
    let rate = per_second(records, elapsed);
    figure("records per second", format!("{rate:.0}"), "/s");
    let mb = rate * record_bytes as f64 / 1e6;
    figure("values per second", format!("{mb:.1}"), "MB/s");
    measured.over_time.print("records per second");
    latencies("latency", &measured.latencies);
    // How late the generator itself was: counted in the latencies, and no broker's doing.
    latencies("sent late", &measured.late);
}

fn cpu(pid: Option<u32>) -> Result<Option<Duration>, String> {
    pid.map(cpu_time).transpose().map_err(text)
}

fn spent(before: Option<Duration>, after: Option<Duration>) -> Option<Duration> {
    Some(after?.saturating_sub(before?))
}

/// A connection with so many requests under way at most.
pub(crate) async fn connect(
    host: &Host,
    address: SocketAddr,
    depth: usize,
) -> Result<Client, String> {
    let options = ClientOptions {
        client_id: "millrace-bench".to_owned(),
        in_flight_max: depth.max(1),
        ..ClientOptions::default()
    };
    Client::connect(host, address, options).await.map_err(text)
}

/// The topic, made when it is missing. Without retention: the records' times are old on purpose.
pub(crate) async fn new_topic(
    client: &Client,
    name: &str,
    partitions: i32,
    configs: &[(String, String)],
) -> Result<Topic, String> {
    let mut new = NewTopic::new(name, partitions).with("retention.ms", "-1");
    new.configs.extend(configs.iter().cloned());
    match client.create_topic(&new).await {
        Err(Error::Broker {
            code: ErrorCode::TopicAlreadyExists,
            ..
        }) => client.topic(name).await.map_err(text),
        made => made.map_err(text),
    }
}

/// Where each partition ends now.
pub(crate) async fn ends(
    host: &Host,
    client: &Client,
    topic: &Topic,
) -> Result<BTreeMap<i32, i64>, String> {
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
