//! Catch-up: readers that go through a topic from its first offset to the end it has now, as fast as
//! they can or at a rate.
//!
//! What always holds: a pass counts when every record that was there came, each batch right behind the
//! one before; checksums are looked at in one more pass, outside the clock, unless they are asked for
//! within it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use millrace_client::{Client, OffsetOf, Topic};
use millrace_host::{Clock, Host, Mono};

use crate::cpu::{cpu_time, resident_bytes};
use crate::fetching::{Asking, Fetching};
use crate::report::{OverTime, figure, per_second};
use crate::{load, pace, text};

/// Fetches in a row that may bring nothing though the end is not reached.
const EMPTY_FETCHES_MAX: u32 = 100;

/// What is read, by how many, how.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReadArguments {
    /// The broker, as address and port.
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: SocketAddr,
    /// The broker's process id: prints its CPU time and memory too.
    #[arg(long)]
    pid: Option<u32>,
    /// The topic.
    #[arg(long, default_value = "bench")]
    topic: String,
    /// Readers, each of which reads all of it.
    #[arg(long, default_value_t = 1)]
    readers: usize,
    /// Megabytes a second of each reader; without it as fast as answers come.
    #[arg(long)]
    rate_mb: Option<f64>,
    /// Each reader begins anew until so many seconds are over; once when 0.
    #[arg(long, default_value_t = 0.0)]
    seconds: f64,
    /// Bytes that a fetch may bring of each partition.
    #[arg(long, default_value_t = 1 << 20)]
    partition_bytes_max: i32,
    /// Bytes that a fetch may bring.
    #[arg(long, default_value_t = 50 << 20)]
    bytes_max: i32,
    /// Names all partitions in each fetch, without a fetch session.
    #[arg(long)]
    no_session: bool,
    /// Looks at each checksum within the clock.
    #[arg(long)]
    verify: bool,
}

/// What all readers share.
struct Plan<'a> {
    clock: &'a dyn Clock,
    client: &'a Client,
    topic: &'a Topic,
    asking: Asking,
    from: BTreeMap<i32, i64>,
    upto: BTreeMap<i32, i64>,
    /// Between two bytes.
    nanos_per_byte: Option<f64>,
    start: Mono,
    until: Mono,
}

/// What one reader has read.
#[derive(Default)]
struct Got {
    bytes: u64,
    records: u64,
    passes: u64,
    over_time: OverTime,
}

/// Reads, and prints the figures.
pub(crate) async fn run(host: &Host, arguments: &ReadArguments) -> Result<(), String> {
    let client = load::connect(host, arguments.bootstrap, 64).await?;
    let topic = client.topic(&arguments.topic).await.map_err(text)?;
    let (mut from, mut upto) = (BTreeMap::new(), BTreeMap::new());
    for partition in 0..topic.partitions {
        let bound = async |of| client.list_offset(&topic, partition, of).await;
        let start = bound(OffsetOf::Start).await.map_err(text)?;
        let end = bound(OffsetOf::End).await.map_err(text)?;
        let (start, end) = (start.unwrap_or(0), end.unwrap_or(0));
        if start < end {
            from.insert(partition, start);
            upto.insert(partition, end);
        }
    }
    if from.is_empty() {
        return Err(format!("{} is empty", topic.name));
    }
    let asking = Asking {
        max_wait: Duration::from_millis(500),
        partition_bytes_max: arguments.partition_bytes_max,
        bytes_max: arguments.bytes_max,
        in_session: !arguments.no_session,
        verified: arguments.verify,
    };
    let start = host.clock.now().mono;
    let mut plan = Plan {
        clock: &*host.clock,
        client: &client,
        topic: &topic,
        asking,
        from,
        upto,
        nanos_per_byte: arguments.rate_mb.map(|rate| 1e3 / rate.max(1e-6)),
        start,
        until: start + Duration::from_secs_f64(arguments.seconds.max(0.0)),
    };
    figure("readers", arguments.readers.max(1), "begin");
    measure(&plan, arguments)?;
    if !arguments.verify {
        plan.asking.verified = true;
        (plan.nanos_per_byte, plan.until) = (None, plan.start);
        let got = plan.read(plan.start)?;
        figure("records read again", got.records, "all right");
    }
    Ok(())
}

fn measure(plan: &Plan<'_>, arguments: &ReadArguments) -> Result<(), String> {
    let cpu = |pid: Option<u32>| pid.map(cpu_time).transpose().map_err(text);
    let own = Some(std::process::id());
    let before = (cpu(arguments.pid)?, cpu(own)?);
    let got = std::thread::scope(|scope| {
        let count = arguments.readers.max(1);
        let reader = |index| scope.spawn(move || plan.read(plan.turn(index, count)));
        let readers: Vec<_> = (0..count).map(reader).collect();
        let mut all = Got::default();
        for reader in readers {
            let got = reader.join().map_err(|_| "a reader died".to_owned())??;
            all.bytes += got.bytes;
            all.records += got.records;
            all.passes += got.passes;
            all.over_time.join(&got.over_time);
        }
        Ok::<_, String>(all)
    })?;
    let elapsed = plan.clock.now().mono.since(plan.start);
    let after = (cpu(arguments.pid)?, cpu(own)?);
    figure("passes", got.passes, "whole");
    figure("records", got.records, "read");
    figure("elapsed", format!("{:.3}", elapsed.as_secs_f64()), "s");
    let rate = per_second(got.bytes, elapsed) / 1e6;
    figure("bytes per second", format!("{rate:.1}"), "MB/s");
    got.over_time.print("bytes per second");
    let spent = |before: Option<Duration>, after: Option<Duration>| {
        let spent = after?.saturating_sub(before?).as_secs_f64();
        Some(format!("{:.3}", spent * 1e9 / got.bytes as f64))
    };
    if let Some(each) = spent(before.0, after.0) {
        figure("broker cpu per GB", each, "s");
    }
    if let Some(each) = spent(before.1, after.1) {
        figure("client cpu per GB", each, "s");
    }
    if let Some(pid) = arguments.pid {
        let (peak, _) = resident_bytes(pid).map_err(text)?;
        figure("broker peak resident", peak >> 20, "MiB");
    }
    Ok(())
}

impl Plan<'_> {
    /// When a reader's pace begins. Readers at a rate take turns within the time that one answer lasts:
    /// if all began at once, all would ask at once for ever, which strangers don't.
    fn turn(&self, index: usize, readers: usize) -> Mono {
        let answer = i64::from(self.asking.partition_bytes_max) * self.upto.len() as i64;
        let answer = answer.min(i64::from(self.asking.bytes_max)) as f64;
        let nanos = self.nanos_per_byte.unwrap_or(0.0) * answer * index as f64 / readers as f64;
        self.start + Duration::from_nanos(nanos as u64)
    }

    /// Reads all of the topic, and again until the time is over; the pace begins at `start`.
    fn read(&self, start: Mono) -> Result<Got, String> {
        let mut got = Got::default();
        loop {
            self.pass(start, &mut got)?;
            got.passes += 1;
            if self.clock.now().mono >= self.until {
                return Ok(got);
            }
        }
    }

    fn pass(&self, start: Mono, got: &mut Got) -> Result<(), String> {
        let mut fetching = Fetching::new(self.client, self.topic, self.asking, self.from.clone())?;
        let mut empty = 0;
        while self.is_before_end(fetching.next()) {
            if let Some(nanos) = self.nanos_per_byte {
                let due = Duration::from_nanos((got.bytes as f64 * nanos) as u64);
                pace::wait_until(self.clock, start + due);
            }
            let mut records = 0;
            let bytes = fetching.fetch(&mut |batch| {
                records += batch.records;
                Ok(())
            })?;
            empty = if bytes == 0 { empty + 1 } else { 0 };
            if empty > EMPTY_FETCHES_MAX {
                return Err("nothing comes though the end is not reached".to_owned());
            }
            got.bytes += bytes;
            got.records += records;
            let after = self.clock.now().mono.since(self.start);
            got.over_time.add(after, bytes);
        }
        Ok(())
    }

    fn is_before_end(&self, next: &BTreeMap<i32, i64>) -> bool {
        let ends = self.upto.iter();
        ends.zip(next.values()).any(|((_, end), next)| next < end)
    }
}
