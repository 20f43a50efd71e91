//! `millrace produce`: records from standard input or files.
//!
//! What always holds: it ends with 0 only when every record was stored as safely as `--acks` asks, and
//! in the order in which it was read, as far as one partition goes; the first record that can't be
//! stored ends it.

mod input;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use millrace_client::{Acks, Cluster, Delivery, NewTopic, Producer, ProducerOptions, Record};
use millrace_host::{Pool, TaskHandle};
use millrace_protocol::records::{Codec, Header};
use serde_json::json;
use tokio::sync::mpsc;

use super::failure::code_of;
use super::progress::Progress;
use super::{At, EXIT_CODES, Failure, Form, Session, put};
pub(super) use input::unescape;
use input::{Input, Read};

/// Deliveries that nobody has looked at yet.
const DELIVERIES_MAX: usize = 16 * 1024;

/// Where the input comes from, and how it becomes records.
const EXAMPLES: &str = "\
Examples:
  echo hello | millrace produce greetings
  millrace produce orders -K : <<< 'key:value'
  millrace produce images --whole a.png b.png -z zstd:6
  millrace consume orders -e --output json | millrace produce copy --json";

/// Produces records from standard input or files, a line each.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "flags of a command line, each of its own"
)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct ProduceOptions {
    /// The topic.
    topic: String,
    /// Files to read; standard input if none is named.
    files: Vec<PathBuf>,
    /// To this partition; else the key decides, as in Kafka's own clients.
    #[arg(short, long, value_name = "NUMBER")]
    partition: Option<i32>,
    /// The key of every record.
    #[arg(short, long, value_name = "TEXT", conflicts_with_all = ["key_separator", "json"])]
    key: Option<String>,
    /// What stands between key and value; a line without it has no key. \t, \n and \x1f are read.
    #[arg(short = 'K', long, value_name = "TEXT", value_parser = input::unescape, conflicts_with_all = ["whole", "json"])]
    key_separator: Option<Bytes>,
    /// A header of every record. May be repeated.
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = super::settings::pair)]
    header: Vec<(String, String)>,
    /// What stands between records, in place of a line's end.
    #[arg(short = 'D', long, value_name = "TEXT", value_parser = input::unescape, conflicts_with_all = ["whole", "json"])]
    delimiter: Option<Bytes>,
    /// Each file is one record.
    #[arg(long, conflicts_with = "json")]
    whole: bool,
    /// Each line is an object with key, value, headers and time, as consume --output json writes it.
    #[arg(long)]
    json: bool,
    /// A record with an empty value has none: it deletes its key from a compacted topic.
    #[arg(short = 'Z', long)]
    null: bool,
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd, with :LEVEL where it has levels.
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "none", value_parser = compression)]
    compression: (Codec, Option<i32>),
    /// When a record counts as stored.
    #[arg(long, value_enum, default_value = "all")]
    acks: AcksWanted,
    /// At most so many records in a second.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// The largest record, in bytes; the broker has a limit of its own.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1024..=1 << 30))]
    record_bytes_max: u32,
    /// Makes the topic, with the broker's defaults, if it isn't there.
    #[arg(long)]
    create: bool,
    /// Says of each record where it was stored.
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    at: At,
}

/// Bytes as they were meant.
pub(crate) type Bytes = Arc<[u8]>;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AcksWanted {
    /// When every in-sync replica has it; a retry never stores it twice.
    All,
    /// When the leader has it.
    Leader,
    /// When it was sent.
    None,
}

/// Reads `zstd` or `zstd:6`.
fn compression(text: &str) -> Result<(Codec, Option<i32>), String> {
    let (name, level) = match text.split_once(':') {
        Some((name, level)) => (name, Some(level)),
        None => (text, None),
    };
    let codec = Codec::ALL.into_iter().find(|codec| codec.name() == name);
    let codec =
        codec.ok_or_else(|| format!("{name:?} is no codec: none, gzip, snappy, lz4, zstd"))?;
    let range = match codec {
        Codec::Gzip => 1..=9,
        Codec::Lz4 => 1..=17,
        Codec::Zstd => -131_072..=22,
        Codec::None | Codec::Snappy => {
            return match level {
                None => Ok((codec, None)),
                Some(_) => Err(format!("{name} has no levels")),
            };
        }
    };
    let Some(level) = level else {
        return Ok((codec, None));
    };
    let level = level.parse().ok().filter(|level| range.contains(level));
    let (from, to) = (range.start(), range.end());
    level
        .map(|level| (codec, Some(level)))
        .ok_or_else(|| format!("{name} has the levels {from} to {to}"))
}

/// Runs the command.
pub(crate) fn run(options: &ProduceOptions) -> ExitCode {
    super::run(&options.at, async |session| produce(session, options).await)
}

async fn produce(session: &Session, options: &ProduceOptions) -> Result<(), Failure> {
    see_topic(session, options).await?;
    let producer = producer(&session.cluster, options)?;
    let mut input = Input::open(options)?;
    let (deliveries, received) = mpsc::channel(DELIVERIES_MAX);
    let told = Told::start(session, received, options.verbose);
    let fed = feed(session, options, &producer, &mut input, &deliveries).await;
    drop(deliveries);
    producer.flush().await;
    told.end().await;
    fed?.sum(&format!("to {}", options.topic));
    Ok(())
}

/// Sends what the input holds.
async fn feed(
    session: &Session,
    options: &ProduceOptions,
    producer: &Producer,
    input: &mut Input,
    deliveries: &mpsc::Sender<Delivery>,
) -> Result<Progress, Failure> {
    let clock = &session.host.clock;
    let mut progress = Progress::new(&session.host, input.total(), input.is_long());
    let headers: Vec<Header<'_>> = options.header.iter().map(header).collect();
    let began = clock.now().mono;
    while let Some(read) = input.next()? {
        if let Some(rate) = options.rate {
            let due = Duration::from_secs_f64(progress.records() as f64 / f64::from(rate));
            clock.sleep_until(began + due).await;
        }
        let delivery = send(producer, options, &headers, &read).await?;
        // Whoever hears of a lost record ends the process, so it is there.
        drop(deliveries.send(delivery).await);
        progress.step(read.bytes());
    }
    Ok(progress)
}

async fn see_topic(session: &Session, options: &ProduceOptions) -> Result<(), Failure> {
    let topic = options.topic.as_str();
    let described = session.admin.describe_topics(&[topic]).await?;
    let Some(Err(error)) = described.into_values().next() else {
        return Ok(());
    };
    if code_of(&error) != "UNKNOWN_TOPIC_OR_PARTITION" {
        return Err(error.into());
    }
    if !options.create {
        return Err(Failure::refused(format!("there is no topic {topic}")).advise(format!(
            "millrace topic create {topic}, or add --create to make it with the broker's defaults"
        )));
    }
    for outcome in session
        .admin
        .create_topics(&[NewTopic::new(topic, -1)])
        .await?
        .into_values()
    {
        outcome?;
    }
    session.cluster.topic(topic).await?;
    Ok(())
}

fn producer(cluster: &Cluster, options: &ProduceOptions) -> Result<Producer, Failure> {
    let defaults = ProducerOptions::default();
    let acks = match options.acks {
        AcksWanted::All => Acks::All,
        AcksWanted::Leader => Acks::Leader,
        AcksWanted::None => Acks::None,
    };
    let (codec, level) = options.compression;
    let record_bytes_max = options.record_bytes_max as usize;
    let producer = ProducerOptions {
        acks,
        idempotent: acks == Acks::All,
        codec,
        level,
        request_bytes_max: record_bytes_max,
        buffer_bytes_max: defaults.buffer_bytes_max.max(record_bytes_max),
        ..defaults
    };
    Ok(Producer::new(cluster, &producer)?)
}

fn header((name, value): &(String, String)) -> Header<'_> {
    Header {
        key: name.as_bytes(),
        value: Some(value.as_bytes()),
    }
}

async fn send(
    producer: &Producer,
    options: &ProduceOptions,
    headers: &[Header<'_>],
    read: &Read,
) -> Result<Delivery, Failure> {
    let own = read.headers.iter().map(|(name, value)| Header {
        key: name,
        value: value.as_deref(),
    });
    let headers: Vec<Header<'_>> = headers.iter().copied().chain(own).collect();
    let record = Record {
        topic: &options.topic,
        partition: options.partition,
        key: read
            .key
            .as_deref()
            .or(options.key.as_deref().map(str::as_bytes)),
        value: read.value.as_deref(),
        headers: &headers,
        timestamp_ms: read.timestamp_ms,
        tag: 0,
    };
    Ok(producer.send(&record).await?)
}

/// Who hears what became of the records, in order.
struct Told(Box<dyn TaskHandle>);

impl Told {
    fn start(session: &Session, received: mpsc::Receiver<Delivery>, verbose: bool) -> Self {
        let form = session.form;
        let listen = async move {
            if let Err(failure) = listen(received, verbose, form).await {
                // Whoever waits for the next line of input would not hear of it.
                failure.tell();
                std::process::exit(failure.code().into());
            }
        };
        let spawn = &session.host.spawn;
        Self(spawn.spawn(Pool::Data, "deliveries", Box::pin(listen)))
    }

    async fn end(self) {
        self.0.join().await;
    }
}

async fn listen(
    mut received: mpsc::Receiver<Delivery>,
    verbose: bool,
    form: Form,
) -> Result<(), Failure> {
    let mut stored = 0_u64;
    let mut is_told = verbose || form == Form::Json;
    while let Some(delivery) = received.recv().await {
        let delivered = delivery.wait().await.map_err(|error| {
            let advice = error.advice();
            let failure = Failure::from(error.clone());
            let before = format!("{stored} records before it were stored");
            failure.advise(match advice {
                Some(advice) => format!("{before}; {advice}"),
                None => before,
            })
        })?;
        stored += 1;
        if !is_told {
            continue;
        }
        let (topic, partition, offset) = (delivered.topic, delivered.partition, delivered.offset);
        let line = if form == Form::Json {
            json!({"topic": &*topic, "partition": partition, "offset": offset}).to_string()
        } else {
            format!(
                "{topic}-{partition} offset {}",
                super::table::or_dash(offset)
            )
        };
        if let Err(failure) = put(&format!("{line}\n")) {
            if !failure.nobody_listens() {
                return Err(failure);
            }
            // The records are stored all the same.
            is_told = false;
        }
    }
    Ok(())
}

impl From<input::Refused> for Failure {
    fn from(refused: input::Refused) -> Self {
        match refused {
            input::Refused::Io(path, error) => match path {
                Some(path) => Self::refused(format!("{}: {error}", path.display())),
                None => io::Error::new(error.kind(), format!("standard input: {error}")).into(),
            },
            input::Refused::Line(line, reason) => {
                Self::refused(format!("line {line} of the input is no record: {reason}"))
                    .advise("records before it were sent: correct it and go on from there")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_has_a_codec_and_a_level_where_there_are_levels() {
        assert_eq!(compression("none"), Ok((Codec::None, None)));
        assert_eq!(compression("zstd:6"), Ok((Codec::Zstd, Some(6))));
        assert_eq!(compression("gzip"), Ok((Codec::Gzip, None)));
        for text in ["", "zip", "snappy:1", "gzip:10", "lz4:x", "zstd:"] {
            assert!(compression(text).is_err(), "{text}");
        }
    }
}
