//! What compaction costs: how fast it goes, and what producers notice of it.
//!
//! What always holds: tables are dirty, and held back by their configuration, before the clock starts;
//! a round lasts from the moment they are let go until the partition's size has changed for the last
//! time; what a consumer reads afterwards, outside the clock, is every key with its last value at its
//! old offset, and every batch of the producers, or the run ends without a figure.

mod cleaning;
mod steady;
mod table;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use millrace_client::{Client, ClientOptions, NewTopic};
use millrace_host::{Host, Mono};

use self::cleaning::{Round, Watch, release};
use self::steady::{Load, Sample, Steady};
use self::table::{Table, TableShape};
use crate::groups::make;
use crate::idle_work::delete;
use crate::report::figure;
use crate::text;

/// What the producers' first moments are is in nobody's figure.
const SETTLE: Duration = Duration::from_secs(2);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);

/// How large, how dirty, beside which load.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompactionArguments {
    /// The broker, as address and port.
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: SocketAddr,
    /// The broker's process id: prints its CPU time and memory too.
    #[arg(long)]
    pid: Option<u32>,
    /// Mebibytes of values in each of the two tables.
    #[arg(long, default_value_t = 1024)]
    mib: usize,
    /// Bytes of each value.
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
    /// Bytes of values in each batch of a table.
    #[arg(long, default_value_t = 16_384)]
    batch_bytes: usize,
    /// Keys for each record: about so much stays.
    #[arg(long, default_value_t = 0.1)]
    live_share: f64,
    /// `segment.bytes` of the tables.
    #[arg(long, default_value_t = 64 << 20)]
    segment_bytes: u64,
    /// Records a second of the producers, in batches of ten records of a kibibyte.
    #[arg(long, default_value_t = 10_000.0)]
    rate: f64,
    /// How long the producers run before the cleaner does, in seconds.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// What the names of the topics begin with; without it, something of this run alone.
    #[arg(long)]
    prefix: Option<String>,
}

/// Writes two tables, has one compacted alone and one beside producers, and prints the figures.
pub(crate) async fn run(host: &Host, arguments: &CompactionArguments) -> Result<(), String> {
    let client = connect(host, arguments.bootstrap, 64).await?;
    let prefix = arguments.prefix.clone();
    let prefix = prefix.unwrap_or_else(|| format!("bench-compaction-{}", std::process::id()));
    let shape = TableShape::new(
        (arguments.mib.max(1) << 20, arguments.record_bytes.max(16)),
        arguments.batch_bytes,
        arguments.live_share,
    );
    let mut tables = Vec::new();
    for name in ["alone", "beside"] {
        let topic = cleaning::held(format!("{prefix}-{name}"), arguments.segment_bytes);
        let topic = make(host, &client, &topic).await?;
        tables.push(Table::fill(host, &client, topic, shape).await?);
    }
    let new = NewTopic::new(format!("{prefix}-load"), 10).with("retention.ms", "-1");
    let load_topic = make(host, &client, &new).await?;
    let load = Load::encode(&client, &load_topic, arguments.rate)?;
    let connections = [
        connect(host, arguments.bootstrap, steady::DEPTH).await?,
        connect(host, arguments.bootstrap, steady::DEPTH).await?,
    ];

    written_back();
    let alone = compact(host, &client, &tables[0], arguments).await?;
    written_back();
    let producers = Steady::start(host, &load, &connections);
    let pause = |span: Duration| host.clock.sleep_until(host.clock.now().mono + span);
    pause(SETTLE).await;
    let from = host.clock.now().mono;
    pause(Duration::from_secs_f64(arguments.seconds.max(0.1))).await;
    let let_go = host.clock.now().mono;
    let beside = compact(host, &client, &tables[1], arguments).await;
    let (requests, samples) = producers.end().await?;
    let beside = beside?;

    for table in &tables {
        let left = table.read_back(&client).await;
        let left = left.map_err(|reason| format!("no figure, the table is wrong: {reason}"))?;
        // All but what is in the segment that is still written to.
        let in_active = arguments.segment_bytes / table.bytes_per_record().max(1);
        if left > table.live() + in_active {
            return Err(format!("{left} records are left of {} keys", table.live()));
        }
        figure("records left, read back", left, "all right");
    }
    load.read_back(host, &client, &load_topic, requests).await?;
    print(&tables[0], &alone, &beside);
    let before = latencies(&samples, (from, let_go))?;
    let during = latencies(&samples, (let_go, beside.end))?;
    print_latencies(&before, &during);
    let mut all = vec![load_topic];
    all.extend(tables.into_iter().map(|table| table.topic));
    delete(&client, &all).await
}

/// Has the disk done with what was written before: else whatever is measured next waits behind it.
fn written_back() {
    rustix::fs::sync();
}

/// Lets a table go and waits until it is compacted.
async fn compact(
    host: &Host,
    client: &Client,
    table: &Table,
    arguments: &CompactionArguments,
) -> Result<Round, String> {
    let watch = Watch {
        host,
        client,
        topic: &table.topic,
        pid: arguments.pid,
    };
    let start = watch.begin().await?;
    release(client, &table.topic).await?;
    let at_most = table.bytes_once_compacted() + arguments.segment_bytes;
    watch.until_compacted(start, at_most).await
}

fn print(table: &Table, alone: &Round, beside: &Round) {
    figure("records", table.records(), "");
    figure("keys", table.live(), "");
    for (name, round) in [("alone", alone), ("beside", beside)] {
        let mb = |bytes: u64| format!("{:.0}", bytes as f64 / 1e6);
        figure(&format!("{name}: before"), mb(round.before), "MB");
        figure(&format!("{name}: after"), mb(round.after), "MB");
        let seconds = round.elapsed.as_secs_f64();
        figure(&format!("{name}: elapsed"), format!("{seconds:.3}"), "s");
        let rate = round.before as f64 / 1e6 / seconds.max(1e-9);
        figure(&format!("{name}: compacted"), format!("{rate:.1}"), "MB/s");
        if let Some(cpu) = round.cpu {
            let per_gb = cpu.as_secs_f64() * 1e9 / round.before as f64;
            figure(&format!("{name}: cpu per GB"), format!("{per_gb:.3}"), "s");
        }
        if let Some((least, most)) = round.resident {
            figure(&format!("{name}: resident before"), least >> 20, "MiB");
            figure(&format!("{name}: resident at most"), most >> 20, "MiB");
        }
    }
}

/// Of the requests that were due in this time.
fn latencies(samples: &[Sample], (from, to): (Mono, Mono)) -> Result<Histogram<u64>, String> {
    let mut latencies = Histogram::new_with_max(120_000_000, 3).map_err(text)?;
    let due = samples
        .iter()
        .filter(|sample| (from..to).contains(&sample.due));
    for sample in due {
        latencies.saturating_record(sample.us);
    }
    if latencies.is_empty() {
        return Err("no request was due while the cleaner ran: too little to compact".to_owned());
    }
    Ok(latencies)
}

fn print_latencies(before: &Histogram<u64>, during: &Histogram<u64>) {
    let ms = |us: u64| format!("{:.3}", us as f64 / 1e3);
    for (name, latencies) in [("without", before), ("during", during)] {
        figure(&format!("{name}: requests"), latencies.len(), "");
        for (part, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let us = latencies.value_at_quantile(quantile);
            figure(&format!("{name}: {part}"), ms(us), "ms");
        }
        figure(&format!("{name}: max"), ms(latencies.max()), "ms");
    }
    let p99 = |latencies: &Histogram<u64>| latencies.value_at_quantile(0.99).max(1) as f64;
    let ratio = p99(during) / p99(before);
    figure("p99 during / without", format!("{ratio:.2}"), "");
}

async fn connect(host: &Host, bootstrap: SocketAddr, depth: usize) -> Result<Client, String> {
    let options = ClientOptions {
        client_id: "millrace-bench".to_owned(),
        in_flight_max: depth,
        request_timeout: REQUEST_TIMEOUT,
        ..ClientOptions::default()
    };
    let client = Client::connect(host, bootstrap, options).await;
    client.map_err(text)
}
