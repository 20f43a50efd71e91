//! Millrace's own client, as an application would use it.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use millrace_client::{
    Acks, Cluster, ClusterOptions, Consumer, ConsumerOptions, OffsetOf, OffsetOrFind, Producer,
    ProducerOptions, Record, Records, Reset, Topic,
};
use millrace_host::{Clock, Host, Mono, Pool};
use tokio::sync::{mpsc, oneshot};

use super::{BATCH_BYTES, ClientArguments, Done, LINGER_MS, Work};
use crate::cpu::cpu_time;
use crate::report::{micros, new_histogram, per_second};
use crate::{pace, text};

/// Records that are due and not sent yet; with more the pace itself falls behind.
const DUE_MAX: usize = 65_536;
/// What is told of latencies.
const PERCENTILES: [(&str, f64); 2] = [("p50", 0.5), ("p99", 0.99)];

/// Does the work in one task, as one thread of an application would.
pub(super) async fn run(
    host: &Host,
    arguments: &ClientArguments,
    topic: &Topic,
) -> Result<Done, String> {
    let bootstrap = [arguments.bootstrap.to_string()];
    let cluster = Cluster::connect(host, ClusterOptions::new(bootstrap)).await;
    let cluster = cluster.map_err(text)?;
    let (own, topic) = (arguments.clone(), topic.clone());
    let (tell, told) = oneshot::channel();
    let clock = Arc::clone(&host.clock);
    let work = Box::pin(async move {
        let start = clock.now().mono;
        let worked = match (own.work, own.rate) {
            (Work::Produce, None) => produce(&cluster, &own).await,
            (Work::Produce, Some(rate)) => at_rate(&cluster, &own, &clock, rate).await,
            (Work::Consume, _) => consume(&cluster, &own, &topic).await,
        };
        let elapsed = clock.now().mono.since(start);
        // Whoever waits is there until it is told.
        drop(tell.send(worked.map(|latencies| (latencies, elapsed))));
    });
    drop(host.spawn.spawn(Pool::Data, "client", work));
    let (latencies, elapsed) = told.await.map_err(text)??;
    Ok(Done {
        records_per_second: per_second(arguments.records, elapsed),
        cpu: cpu_time(std::process::id()).map_err(text)?,
        latencies: PERCENTILES
            .into_iter()
            .filter(|_| !latencies.is_empty())
            .map(|(part, quantile)| (part, latencies.value_at_quantile(quantile) as f64 / 1e3))
            .collect(),
    })
}

fn options() -> ProducerOptions {
    ProducerOptions {
        acks: Acks::All,
        idempotent: true,
        linger: Duration::from_millis(LINGER_MS),
        batch_bytes: BATCH_BYTES,
        ..ProducerOptions::default()
    }
}

/// Sends each record when it is due; from then on its latency counts, in microseconds. The pace begins
/// once the first is delivered: the others' tools begin theirs when the first has found its topic.
async fn at_rate(
    cluster: &Cluster,
    arguments: &ClientArguments,
    clock: &Arc<dyn Clock>,
    rate: u32,
) -> Result<Histogram<u64>, String> {
    let (producer, mut reports) = Producer::reporting(cluster, &options()).map_err(text)?;
    let value = vec![b'v'; arguments.record_bytes];
    let paced_records = usize::try_from(arguments.records.saturating_sub(1)).map_err(text)?;
    let first = clock.now().mono;
    let record = Record::to(&arguments.topic).value(&value).tag(first.0);
    drop(producer.send(&record).await.map_err(text)?);
    let mut latencies = new_histogram()?;
    let mut hear = async || {
        let report = reports.next().await.ok_or("the producer is gone")?;
        report.result.map_err(text)?;
        let latency = clock.now().mono.since(Mono(report.tag));
        latencies.saturating_record(micros(latency));
        Ok::<(), String>(())
    };
    hear().await?;
    let (pacing, mut paced) = mpsc::channel(DUE_MAX);
    let (start, interval) = (clock.now().mono, Duration::from_secs(1) / rate.max(1));
    let give = move |_, due| pacing.blocking_send(due).is_ok();
    pace::start(clock, (start, interval), paced_records, give)?;
    let send = async {
        while let Some(due) = paced.recv().await {
            let record = Record::to(&arguments.topic).value(&value).tag(due.0);
            drop(producer.send(&record).await.map_err(text)?);
        }
        Ok(())
    };
    let all = async {
        for _ in 0..paced_records {
            hear().await?;
        }
        Ok(())
    };
    let (sent, heard): (Result<(), String>, Result<(), String>) = tokio::join!(send, all);
    sent.and(heard).map(|()| latencies)
}

async fn produce(cluster: &Cluster, arguments: &ClientArguments) -> Result<Histogram<u64>, String> {
    let producer = Producer::new(cluster, &options()).map_err(text)?;
    let value = vec![b'v'; arguments.record_bytes];
    for _ in 0..arguments.records {
        let record = Record::to(&arguments.topic).value(&value);
        // Whether all came is told by the topic's ends.
        drop(producer.send(&record).await.map_err(text)?);
    }
    producer.flush().await;
    new_histogram()
}

async fn consume(
    cluster: &Cluster,
    arguments: &ClientArguments,
    topic: &Topic,
) -> Result<Histogram<u64>, String> {
    let options = ConsumerOptions {
        reset: Reset::Fail,
        ..ConsumerOptions::default()
    };
    let consumer = Consumer::new(cluster, options);
    let start = OffsetOrFind::Find(OffsetOf::Start);
    let partitions = (0..topic.partitions).map(|one| (&*arguments.topic, one, start));
    consumer.assign(partitions).await.map_err(text)?;
    let mut scratch = Records::scratch();
    let (mut records, mut bytes) = (0_u64, 0_usize);
    while records < arguments.records {
        let came = consumer.next().await.map_err(text)?;
        let read = came.read_records(&mut scratch, |record| {
            records += 1;
            bytes += record.value.map_or(0, <[u8]>::len);
        });
        read.map_err(text)?;
    }
    if bytes == records as usize * arguments.record_bytes {
        new_histogram()
    } else {
        Err(format!(
            "no figure, {records} records of {bytes} bytes came: they are none of {} each",
            arguments.record_bytes
        ))
    }
}
