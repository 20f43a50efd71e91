//! End to end: records are sent at a fixed rate, a consumer waits for them, and a record's latency is
//! from when it was due to when the consumer had it.
//!
//! What always holds: nothing of a request depends on the ones before it, so a stall shows in every
//! record that it delayed; the consumer sees every batch with the checksum it was sent with, at the
//! offset that its number says, or the run has no figure.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use millrace_client::{Acks, Topic};
use millrace_host::{Clock, Host, Mono};
use millrace_protocol::records::Codec;

use crate::cpu::{cpu_time, resident_bytes};
use crate::fetching::{Asking, Fetching};
use crate::load::{self, AcksArgument};
use crate::payload::{Payload, Shape};
use crate::report::{OverTime, cpu_per_million, figure, latencies, micros, new_histogram};
use crate::wire::{self, Receiver, Sender, connect};
use crate::{pace, text};

/// How long after the last request was due the consumer may wait for the rest.
const REST_MAX: Duration = Duration::from_secs(30);
/// From the start to the first request: every thread is there by then.
const BEGIN_AFTER: Duration = Duration::from_millis(200);

/// What is sent, and how it is consumed.
#[derive(Args, Clone, Debug)]
pub(crate) struct TailArguments {
    /// The broker, as address and port.
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: SocketAddr,
    /// The broker's process id: prints its CPU time and memory too.
    #[arg(long)]
    pid: Option<u32>,
    /// The topic; made anew, and left behind.
    #[arg(long, default_value = "tail")]
    topic: String,
    /// Its partitions: a multiple of the connections.
    #[arg(long, default_value_t = 10)]
    partitions: i32,
    /// A configuration of the topic, KEY=VALUE; may be given often.
    #[arg(long = "topic-config", value_parser = load::key_value)]
    topic_configs: Vec<(String, String)>,
    /// Records a second.
    #[arg(long, default_value_t = 50_000.0)]
    rate: f64,
    /// How long they are sent, in seconds.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// How long before that they are sent without counting, in seconds.
    #[arg(long, default_value_t = 2.0)]
    warmup_seconds: f64,
    /// Bytes of each record's value.
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
    /// Records of each batch.
    #[arg(long, default_value_t = 10)]
    batch_records: usize,
    /// When a batch counts as produced.
    #[arg(long, default_value = "all")]
    acks: AcksArgument,
    /// Connections that send.
    #[arg(long, default_value_t = 2)]
    connections: usize,
    /// The consumer asks for all partitions each time, without a fetch session.
    #[arg(long)]
    no_session: bool,
    /// The longest time that a fetch waits for data, in milliseconds.
    #[arg(long, default_value_t = 500)]
    max_wait_ms: u64,
}

/// The schedule of a run.
struct Plan<'a> {
    clock: &'a dyn Clock,
    payload: &'a Payload,
    start: Mono,
    interval: Duration,
    requests: usize,
    /// The first request that counts.
    counted_from: usize,
    connections: usize,
    partitions: usize,
    records: u64,
    /// Set when somebody failed: nobody waits for what will not come.
    failed: AtomicBool,
}

/// What was measured at one place.
struct Seen {
    latencies: Histogram<u64>,
    over_time: OverTime,
}

/// Sends, consumes, prints the figures.
pub(crate) async fn run(host: &Host, arguments: &TailArguments) -> Result<(), String> {
    let connections = arguments.connections.max(1);
    let partitions = usize::try_from(arguments.partitions).map_err(text)?;
    if partitions == 0 || !partitions.is_multiple_of(connections) {
        return Err("--partitions must be a multiple of --connections".to_owned());
    }
    let client = load::connect(host, arguments.bootstrap, 64).await?;
    let configs = &arguments.topic_configs;
    let topic = load::new_topic(&client, &arguments.topic, arguments.partitions, configs).await?;
    let from = load::ends(host, &client, &topic).await?;
    if from.values().any(|end| *end != 0) {
        return Err(format!("{} is not empty", topic.name));
    }
    let shape = Shape {
        record_bytes: arguments.record_bytes,
        batch_records: arguments.batch_records.max(1),
        repeat_share: 0.0,
        codec: Codec::None,
    };
    let rate = arguments.rate.max(1e-3) / shape.batch_records as f64;
    let requests = |seconds: f64| (rate * seconds.max(0.0)).ceil() as usize;
    let warmup = requests(arguments.warmup_seconds);
    let all = (warmup + requests(arguments.seconds)).max(1);
    let acks = arguments.acks.acks();
    if acks == Acks::None {
        return Err("--acks 0 has no answer to time".to_owned());
    }
    let payload = Payload::encode(&client, &topic, acks, shape, all)?;
    let plan = Plan {
        clock: &*host.clock,
        payload: &payload,
        start: host.clock.now().mono + BEGIN_AFTER,
        interval: Duration::from_secs_f64(1.0 / rate),
        requests: all,
        counted_from: warmup,
        connections,
        partitions,
        records: shape.batch_records as u64,
        failed: AtomicBool::new(false),
    };
    let asking = Asking {
        max_wait: Duration::from_millis(arguments.max_wait_ms),
        partition_bytes_max: 1 << 20,
        bytes_max: 50 << 20,
        in_session: !arguments.no_session,
        verified: true,
    };
    let consumer = Fetching::new(&client, &topic, asking, from)?;
    measure(&plan, arguments, consumer, &topic)
}

/// Runs every thread, and prints what they measured.
fn measure(
    plan: &Plan<'_>,
    arguments: &TailArguments,
    consumer: Fetching,
    topic: &Topic,
) -> Result<(), String> {
    let mut ends = Vec::new();
    for _ in 0..plan.connections {
        ends.push(connect(arguments.bootstrap)?);
    }
    let cpu = || arguments.pid.map(cpu_time).transpose().map_err(text);
    let before = cpu()?;
    let (seen, acknowledged, late) = std::thread::scope(|scope| {
        let consuming = scope.spawn(|| plan.noting(plan.consume(consumer)));
        let mut threads = Vec::new();
        for (connection, (sender, receiver)) in ends.into_iter().enumerate() {
            let sending = scope.spawn(move || plan.noting(plan.send(connection, sender)));
            let hearing = scope.spawn(move || plan.noting(plan.hear(connection, receiver)));
            threads.push((sending, hearing));
        }
        let died = |_| "a thread died".to_owned();
        let (mut acknowledged, mut late) = (new_histogram()?, new_histogram()?);
        for (sending, hearing) in threads {
            late.add(sending.join().map_err(died)??).map_err(text)?;
            acknowledged
                .add(hearing.join().map_err(died)??)
                .map_err(text)?;
        }
        let seen = consuming.join().map_err(died)??;
        Ok::<_, String>((seen, acknowledged, late))
    })?;
    let elapsed = plan.clock.now().mono.since(plan.start);
    let records = (plan.requests - plan.counted_from) as u64 * plan.records;
    figure("topic", &topic.name, "");
    figure("records", records, "all consumed");
    latencies("end to end", &seen.latencies);
    latencies("acknowledged", &acknowledged);
    latencies("sent late", &late);
    seen.over_time.print("records per second");
    if let (Some(before), Some(after)) = (before, cpu()?) {
        let spent = after.saturating_sub(before);
        cpu_per_million("broker", spent, plan.requests as u64 * plan.records);
        let share = spent.as_secs_f64() / elapsed.as_secs_f64();
        figure("broker cpu", format!("{share:.3}"), "cores");
    }
    if let Some(pid) = arguments.pid {
        let (peak, _) = resident_bytes(pid).map_err(text)?;
        figure("broker peak resident", peak >> 20, "MiB");
    }
    Ok(())
}

impl Plan<'_> {
    fn due(&self, number: usize) -> Mono {
        pace::due(self.start, self.interval, number)
    }

    /// Tells the others when this went wrong.
    fn noting<T>(&self, done: Result<T, String>) -> Result<T, String> {
        if done.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        done
    }

    fn numbers(&self, connection: usize) -> impl Iterator<Item = usize> + use<> {
        (connection..self.requests).step_by(self.connections)
    }

    /// Sends what is due on this connection; how late each was.
    fn send(&self, connection: usize, mut sender: Sender) -> Result<Histogram<u64>, String> {
        let mut late = new_histogram()?;
        for number in self.numbers(connection) {
            let due = self.due(number);
            pace::wait_until(self.clock, due);
            if self.failed.load(Ordering::Relaxed) {
                break;
            }
            if number >= self.counted_from {
                let now = self.clock.now().mono;
                late.saturating_record(micros(now.since(due)));
            }
            sender.send(self.payload.call, &self.payload.of(number).body)?;
        }
        Ok(late)
    }

    /// Takes the answers on this connection.
    fn hear(&self, connection: usize, mut receiver: Receiver) -> Result<Histogram<u64>, String> {
        let mut latencies = new_histogram()?;
        let call = self.payload.call;
        for number in self.numbers(connection) {
            let body = receiver.receive(call)?;
            let now = self.clock.now().mono;
            wire::accepted(call, body)?;
            if number >= self.counted_from {
                latencies.saturating_record(micros(now.since(self.due(number))));
            }
        }
        Ok(latencies)
    }

    /// Consumes every batch: its partition and offset say which request it was.
    fn consume(&self, mut consumer: Fetching) -> Result<Seen, String> {
        let mut seen = Seen {
            latencies: new_histogram()?,
            over_time: OverTime::default(),
        };
        let deadline = self.due(self.requests) + REST_MAX;
        let mut left = self.requests;
        while left > 0 {
            let mut came = Vec::new();
            consumer.fetch(&mut |batch| {
                came.push(batch);
                Ok(())
            })?;
            let now = self.clock.now().mono;
            for batch in &came {
                let number = self.number(batch.partition, batch.base_offset)?;
                if batch.crc != self.payload.of(number).crc || batch.records != self.records {
                    return Err(format!("request {number} was another one"));
                }
                if number >= self.counted_from {
                    let latency = micros(now.since(self.due(number)));
                    seen.latencies.saturating_record(latency);
                }
                seen.over_time.add(now.since(self.start), self.records);
            }
            left -= came.len();
            if self.failed.load(Ordering::Relaxed) {
                return Err("the sending side failed".to_owned());
            }
            if left > 0 && now > deadline {
                return Err(format!("no figure, {left} batches have not come"));
            }
        }
        Ok(seen)
    }

    /// The request that a partition holds at an offset: all of one partition go by one connection.
    fn number(&self, partition: i32, offset: i64) -> Result<usize, String> {
        let nth = u64::try_from(offset).map_err(text)? / self.records;
        let number = nth as usize * self.partitions + partition.unsigned_abs() as usize;
        if number < self.requests && offset.unsigned_abs().is_multiple_of(self.records) {
            Ok(number)
        } else {
            Err(format!("nothing was sent to {partition} at {offset}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_host::real::{Options, RealHost};

    #[test]
    fn partition_and_offset_name_the_request() {
        let machine = RealHost::start(&Options::default()).unwrap();
        let host = machine.host();
        let payload = Payload::empty();
        let plan = Plan {
            clock: &*host.clock,
            payload: &payload,
            start: Mono(0),
            interval: Duration::from_millis(1),
            requests: 23,
            counted_from: 0,
            connections: 2,
            partitions: 4,
            records: 10,
            failed: AtomicBool::new(false),
        };
        for connection in 0..2 {
            for number in plan.numbers(connection) {
                let partition = number % 4;
                assert_eq!(partition % 2, connection, "a partition has one connection");
                let offset = (number / 4 * 10) as i64;
                assert_eq!(plan.number(partition as i32, offset), Ok(number));
            }
        }
        assert!(plan.number(0, 5).is_err());
        assert!(plan.number(3, 50).is_err(), "request 23 was never sent");
    }
}
