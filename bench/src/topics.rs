//! What many topics cost: making and deleting them, and asking a broker that has them.
//!
//! What always holds: the clock runs over requests and answers only; every answer that a figure is
//! made of was checked or is the very bytes of one that was; an answer that is wrong ends the run
//! without a figure. Nothing is subtracted: what a broker takes for nothing at all, and for a
//! request that says nothing, is printed beside the rest.

mod asking;
mod making;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use millrace_client::{Client, ClientOptions};
use millrace_host::Host;

use crate::cpu::{cpu_time, resident_bytes};
use crate::report::{figure, new_histogram, per_second};
use crate::text;
use making::{Change, Changed, Making};

/// Which topics, made how, and what is asked then.
#[derive(Args, Clone, Debug)]
pub(crate) struct TopicsArguments {
    /// The broker, as address and port.
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: SocketAddr,
    /// The broker's process id: prints its CPU time and memory too.
    #[arg(long)]
    pid: Option<u32>,
    /// Where the broker serves `/metrics`: measures a scrape too.
    #[arg(long)]
    admin: Option<SocketAddr>,
    /// Topics to make.
    #[arg(long, default_value_t = 10_000)]
    topics: usize,
    /// Partitions of each.
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// Topics in one request; all topics are made, and deleted again, once for each number.
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000")]
    batches: Vec<usize>,
    /// Connections that make and delete at the same time.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Requests without an answer on each of them.
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// Partitions that are written to before anything is asked: those have series in `/metrics`.
    #[arg(long, default_value_t = 10_000)]
    used: usize,
    /// How long each question is repeated, in seconds; 0 asks none.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// What the names of the topics begin with.
    #[arg(long, default_value = "bench-topics")]
    prefix: String,
    /// Leaves the topics of the last round in place.
    #[arg(long)]
    keep: bool,
}

impl TopicsArguments {
    /// The topics' names, in order.
    fn names(&self) -> Vec<String> {
        let name = |number| format!("{}-{number:06}", self.prefix);
        (0..self.topics).map(name).collect()
    }

    async fn connect(&self, host: &Host) -> Result<Client, String> {
        let options = ClientOptions {
            client_id: "millrace-bench".to_owned(),
            in_flight_max: self.depth.max(64),
            request_timeout: Duration::from_mins(2),
            ..ClientOptions::default()
        };
        Client::connect(host, self.bootstrap, options)
            .await
            .map_err(text)
    }

    /// The broker's CPU time so far.
    fn cpu(&self) -> Result<Option<Duration>, String> {
        self.pid.map(cpu_time).transpose().map_err(text)
    }
}

/// Makes the topics, asks about them, deletes them, prints the figures.
pub(crate) async fn run(host: &Host, arguments: &TopicsArguments) -> Result<(), String> {
    let client = arguments.connect(host).await?;
    let names = arguments.names();
    let mut clients = Vec::new();
    for _ in 0..arguments.connections.max(1) {
        clients.push(arguments.connect(host).await?);
    }
    let making = Making {
        host: host.clone(),
        clients,
        depth: arguments.depth.max(1),
        names: names.clone().into(),
        partitions: arguments.partitions,
    };
    let (last, others) = arguments.batches.split_last().ok_or("no --batches")?;
    for batch in others {
        change(arguments, &making, Change::Create, *batch).await?;
        asking::check(&client, &names, arguments.partitions).await?;
        change(arguments, &making, Change::Delete, *batch).await?;
    }
    change(arguments, &making, Change::Create, *last).await?;
    asking::check(&client, &names, arguments.partitions).await?;
    let used = making::write_to(&client, &names, arguments.partitions, arguments.used).await?;
    figure("partitions written to", used, "");
    if arguments.seconds > 0.0 {
        asking::run(host, arguments, &client, &names).await?;
    }
    if let Some(pid) = arguments.pid {
        let (peak, now) = resident_bytes(pid).map_err(text)?;
        figure("broker peak resident", peak >> 20, "MiB");
        figure("broker resident", now >> 20, "MiB");
    }
    if !arguments.keep {
        change(arguments, &making, Change::Delete, *last).await?;
    }
    Ok(())
}

/// Makes or deletes all topics and prints what it took.
async fn change(
    arguments: &TopicsArguments,
    making: &Making,
    change: Change,
    batch: usize,
) -> Result<(), String> {
    let before = arguments.cpu()?;
    let Changed { elapsed, latencies } = making.all(change, batch.max(1)).await?;
    let after = arguments.cpu()?;
    let name = |what: &str| format!("{} by {batch}: {what}", change.word());
    let topics = making.names.len() as u64;
    figure(&name("time"), seconds(elapsed), "s");
    let rate = per_second(topics, elapsed);
    figure(&name("topics per second"), format!("{rate:.0}"), "/s");
    percentiles(&name("request"), &latencies);
    if let (Some(before), Some(after)) = (before, after) {
        let cpu = after.saturating_sub(before);
        if cpu.is_zero() && elapsed > Duration::from_secs(1) {
            return Err("the process of --pid did nothing meanwhile: it is not the broker".into());
        }
        figure(&name("broker cpu"), seconds(cpu), "s");
    }
    Ok(())
}

fn seconds(span: Duration) -> String {
    format!("{:.3}", span.as_secs_f64())
}

/// The middle and the end of latencies in microseconds.
fn percentiles(name: &str, latencies: &Histogram<u64>) {
    for (part, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        let us = latencies.value_at_quantile(quantile);
        let ms = format!("{:.3}", us as f64 / 1e3);
        figure(&format!("{name} {part}"), ms, "ms");
    }
}
