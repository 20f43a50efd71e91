//! A history of keys in a compacted topic of any broker, for `cargo xtask compaction`: written,
//! compacted, and read back. Prints a line for each batch and each record that is left, so that two
//! brokers can be held against each other.
//!
//! `compacted ADDRESS`. Fails when what is left is not the last of each key.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use millrace_client::{
    Acks, Client, ClientOptions, Error, FetchFrom, FetchOptions, NewTopic, ProducerIdentity, Topic,
};
use millrace_host::Host;
use millrace_host::real::{Options as Machine, RealHost};
use millrace_probe::hunt::say;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::{
    Batch, BatchBuilder, Codec, Options, Scratch, batches, record_iter,
};
use millrace_tests::faults::schedule::Draw;

/// Both brokers have looked several times by then: Kafka looks every 15 s.
const WITHIN: Duration = Duration::from_mins(3);
const TOPIC: &str = "compacted";
const BATCHES: i64 = 400;
const KEYS: u64 = 60;
/// Batches of an idempotent producer, which then writes no more: its last one must stay known.
const NUMBERED: i64 = 40;
/// Batches lie so far apart in time, and segments end after ten of them.
const APART_MS: i64 = 10;
/// Times in the past, the same for every broker.
const FIRST_MS: i64 = 1_700_000_000_000;

fn main() -> ExitCode {
    match run() {
        Ok(lines) => {
            say(&lines);
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("compacted: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let address = std::env::args()
        .nth(1)
        .ok_or("usage: compacted HOST:PORT")?;
    let address: SocketAddr = address
        .parse()
        .map_err(|_| format!("{address} is no address"))?;
    let machine = RealHost::start(&Machine::default()).map_err(|error| error.to_string())?;
    let host = machine.host();
    let compacted = machine.block_on(compacted(&host, address));
    compacted.map_err(|error| error.to_string())?
}

/// What is left, line by line.
async fn compacted(host: &Host, address: SocketAddr) -> Result<Result<String, String>, Error> {
    let client = Client::connect(host, address, ClientOptions::default()).await?;
    let new = NewTopic::new(TOPIC, 1)
        .with("cleanup.policy", "compact")
        .with("segment.ms", (APART_MS * 10).to_string())
        .with("min.cleanable.dirty.ratio", "0.001");
    let topic = client.create_topic(&new).await?;
    // A broker that has just started may still be loading what it knows of identities.
    let identity = loop {
        match client.init_producer_id().await {
            Err(error) if error.is_retriable() => pause(host).await,
            given => break given?,
        }
    };
    let wanted = write((&client, identity), &topic).await?;
    let deadline = host.clock.now().mono + WITHIN;
    loop {
        let found = read(&client, &topic).await?;
        let offsets: Vec<i64> = found
            .iter()
            .flat_map(|(_, records)| offsets(records))
            .collect();
        if offsets == wanted {
            break;
        }
        if host.clock.now().mono > deadline {
            return Ok(Err(format!(
                "{} records are left after {WITHIN:?}, {} are the last of their keys",
                offsets.len(),
                wanted.len()
            )));
        }
        pause(host).await;
    }
    // What a round leaves of batches besides their records is seen once it has ended.
    pause(host).await;
    Ok(Ok(shown(&read(&client, &topic).await?)))
}

async fn pause(host: &Host) {
    let clock = &host.clock;
    clock
        .sleep_until(clock.now().mono + Duration::from_secs(3))
        .await;
}

/// Writes the history. The offsets of the last record of each key, in order.
async fn write(
    (client, identity): (&Client, ProducerIdentity),
    topic: &Topic,
) -> Result<Vec<i64>, Error> {
    let mut draw = Draw::new(7);
    let mut last = BTreeMap::new();
    let mut sequence = 0;
    for at in 0..=BATCHES {
        let is_end = at == BATCHES;
        let mut options = Options {
            codec: Codec::ALL[draw.below(5) as usize],
            ..Options::default()
        };
        let count = if is_end { 1 } else { 1 + draw.below(12) };
        if (BATCHES / 4..BATCHES / 4 + NUMBERED).contains(&at) {
            options.producer = Some((identity.id.0, identity.epoch.0, sequence));
            sequence += i32::try_from(count).unwrap_or(0);
        }
        // The last one begins a segment of its own, so that all before it may be compacted.
        let time = FIRST_MS + at * APART_MS + if is_end { 100_000 } else { 0 };
        let mut builder = BatchBuilder::new(options);
        let mut keys = Vec::new();
        for number in 0..count {
            let key = if is_end { KEYS } else { draw.below(KEYS) };
            let value = (draw.below(5) > 0).then(|| format!("{at} {number}"));
            let (name, value) = (format!("key {key}"), value.as_deref().map(str::as_bytes));
            let pushed = builder.push(time + number as i64 % 7, Some(name.as_bytes()), value, &[]);
            pushed.expect("a few small records fit a batch");
            keys.push(key);
        }
        let produced = client
            .produce(topic, 0, Acks::All, builder.build())
            .await?
            .expect("acks=all is answered");
        for (number, key) in keys.into_iter().enumerate() {
            last.insert(key, produced.base_offset + number as i64);
        }
    }
    let mut offsets: Vec<i64> = last.into_values().collect();
    offsets.sort_unstable();
    Ok(offsets)
}

/// A record: offset, time, key, value.
type Left = (i64, i64, String, Option<String>);

fn offsets(records: &[Left]) -> Vec<i64> {
    records.iter().map(|record| record.0).collect()
}

async fn read(client: &Client, topic: &Topic) -> Result<Vec<(Batch, Vec<Left>)>, Error> {
    let mut scratch = Scratch::new(1 << 24);
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let from = FetchFrom {
            partition: 0,
            offset: at,
        };
        let fetched = client
            .fetch(topic, &[from], &FetchOptions::default())
            .await?;
        let Some(fetched) = fetched.into_iter().next() else {
            return Ok(found);
        };
        if fetched.error != ErrorCode::None {
            return Err(Error::Broker {
                what: "a fetch".to_owned(),
                code: fetched.error,
            });
        }
        for batch in batches(fetched.records).map_while(Result::ok) {
            if batch.header.last_offset() < at {
                continue;
            }
            at = batch.header.last_offset() + 1;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let records = record_iter(&batch, &mut scratch).expect("a broker's batch can be read");
            let records = records.map(|record| {
                let record = record.expect("a broker's record can be read");
                let key = text(record.key.unwrap_or_default());
                (record.offset, record.timestamp, key, record.value.map(text))
            });
            let records = records.collect();
            found.push((batch, records));
        }
        if at >= fetched.high_watermark {
            return Ok(found);
        }
    }
}

/// Everything that two brokers must agree about. Not how well the codec did, nor, of a batch that
/// deletes nothing any more, whether it did in an earlier round and has its horizon from then; nor
/// what time an emptied one had before its last record went.
fn shown(found: &[(Batch, Vec<Left>)]) -> String {
    let mut lines = String::new();
    for (batch, records) in found {
        let header = &batch.header;
        let deletes = records.iter().any(|record| record.3.is_none());
        // Writing to memory does not fail.
        writeln!(
            lines,
            "batch {}-{} records={} codec={:?} producer={} epoch={} sequence={} max_time={:?} \
             horizon={}",
            header.base_offset,
            header.last_offset(),
            header.record_count,
            header.codec(),
            header.has_producer_id(),
            header.producer_epoch,
            header.base_sequence,
            (header.record_count > 0).then_some(header.max_timestamp),
            deletes && header.has_delete_horizon(),
        )
        .ok();
        for record in records {
            writeln!(lines, "record {record:?}").ok();
        }
    }
    lines
}
