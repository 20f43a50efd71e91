//! A client library at work: Millrace's own, librdkafka by its perf tool, Apache Kafka's Java client by
//! its perf tools. What is measured is the client: its processor time for a record, and its rate where
//! the broker is not the limit.
//!
//! What always holds: all get the same settings; processor time is that of the client's whole process,
//! its start included; a run after which not every record is in the topic, or was read, has no figure.

mod own;
mod program;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use millrace_host::Host;

use crate::cpu::cpu_time;
use crate::report::{cpu_per_million, figure};
use crate::{load, text};

/// How long a batch waits for more records, and how large it gets: the same for all.
const LINGER_MS: u64 = 5;
const BATCH_BYTES: usize = 128 * 1024;

/// Who does what.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClientArguments {
    /// What the client does.
    work: Work,
    /// Whose client.
    #[arg(long, default_value = "millrace", requires_ifs = [("librdkafka", "program"), ("java", "program")])]
    library: Library,
    /// `rdkafka_performance` (`cargo xtask librdkafka` builds it), or `xtask/kafka-peer` for Java's.
    #[arg(long)]
    program: Option<PathBuf>,
    /// The broker, as address and port.
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: SocketAddr,
    /// The topic; made when missing.
    #[arg(long, default_value = "client")]
    topic: String,
    /// Its partitions when it is made.
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// A configuration of the topic when it is made, KEY=VALUE; may be given often.
    #[arg(long = "topic-config", value_parser = load::key_value)]
    topic_configs: Vec<(String, String)>,
    /// Records to produce or to read.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Bytes of each record's value.
    #[arg(long, default_value_t = 100)]
    record_bytes: usize,
    /// Records a second, of a producer: latencies from sending to delivery. Without it as fast as they
    /// go.
    #[arg(long)]
    rate: Option<u32>,
    /// The broker's process id: prints its CPU time too.
    #[arg(long)]
    pid: Option<u32>,
}

/// What a client does.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Sends records without keys, each acknowledged by all, idempotent.
    Produce,
    /// Reads a topic from its start, in which there must be that many records.
    Consume,
}

/// Whose client it is.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Library {
    /// This tree's crate.
    Millrace,
    /// librdkafka.
    Librdkafka,
    /// Apache Kafka's.
    Java,
}

/// What a client came to.
struct Done {
    /// By its own clock: from the first record to the last.
    records_per_second: f64,
    /// User and system time of its process.
    cpu: Duration,
    /// Percentiles from sending to delivery, in milliseconds, at a fixed rate.
    latencies: Vec<(&'static str, f64)>,
}

/// Runs one client and prints its figures.
pub(crate) async fn run(host: &Host, arguments: &ClientArguments) -> Result<(), String> {
    if arguments.work == Work::Consume && arguments.rate.is_some() {
        return Err("--rate is for producers".to_owned());
    }
    let admin = load::connect(host, arguments.bootstrap, 1).await?;
    let (name, partitions) = (&arguments.topic, arguments.partitions);
    let topic = load::new_topic(&admin, name, partitions, &arguments.topic_configs).await?;
    let before: i64 = load::ends(host, &admin, &topic).await?.values().sum();
    let wanted = i64::try_from(arguments.records).map_err(text)?;
    if arguments.work == Work::Consume && before < wanted {
        return Err(format!("{} has {before} records, not {wanted}", topic.name));
    }
    let broker = arguments.pid.map(cpu_time).transpose().map_err(text)?;
    let done = match (arguments.library, &arguments.program) {
        (Library::Millrace, _) => own::run(host, arguments, &topic).await?,
        (Library::Librdkafka, Some(program)) => program::librdkafka(program, arguments)?,
        (Library::Java, Some(program)) => program::java(program, arguments)?,
        (_, None) => return Err("--program says where the client is".to_owned()),
    };
    let broker_after = arguments.pid.map(cpu_time).transpose().map_err(text)?;
    let after: i64 = load::ends(host, &admin, &topic).await?.values().sum();
    let records = arguments.records;
    let came = after - before;
    if arguments.work == Work::Produce && came != wanted {
        return Err(format!("no figure, {came} of {wanted} records are there"));
    }
    figure("records", records, "");
    figure(
        "records per second",
        format!("{:.0}", done.records_per_second),
        "/s",
    );
    for (part, ms) in done.latencies {
        figure(&format!("latency {part}"), format!("{ms:.3}"), "ms");
    }
    cpu_per_million("client", done.cpu, records);
    if let (Some(before), Some(after)) = (broker, broker_after) {
        cpu_per_million("broker", after.saturating_sub(before), records);
    }
    Ok(())
}
