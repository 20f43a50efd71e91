//! Millrace's own client, as an application would use it.

use std::sync::Arc;
use std::time::Duration;

use millrace_client::{
    Acks, Cluster, ClusterOptions, Consumer, ConsumerOptions, OffsetOf, OffsetOrFind, Producer,
    ProducerOptions, Record, Records, Reset, Topic,
};
use millrace_host::{Host, Pool};
use tokio::sync::oneshot;

use super::{BATCH_BYTES, ClientArguments, Done, LINGER_MS, Work, done};
use crate::text;

/// Does the work in one task, as one thread of an application would.
pub(super) async fn run(
    host: &Host,
    arguments: &ClientArguments,
    topic: &Topic,
) -> Result<Done, String> {
    let bootstrap = [arguments.bootstrap.to_string()];
    let cluster = Cluster::connect(host, ClusterOptions::new(bootstrap)).await;
    let cluster = cluster.map_err(text)?;
    let (host, own, topic) = (host.clone(), arguments.clone(), topic.clone());
    let (tell, told) = oneshot::channel();
    let clock = Arc::clone(&host.clock);
    let work = Box::pin(async move {
        let start = clock.now().mono;
        let worked = match own.work {
            Work::Produce => produce(&cluster, &own).await,
            Work::Consume => consume(&cluster, &own, &topic).await,
        };
        let elapsed = clock.now().mono.since(start);
        // Whoever waits is there until it is told.
        drop(tell.send(worked.map(|()| elapsed)));
    });
    drop(host.spawn.spawn(Pool::Data, "client", work));
    let elapsed = told.await.map_err(text)?.map_err(text)?;
    done(arguments, elapsed)
}

async fn produce(cluster: &Cluster, arguments: &ClientArguments) -> Result<(), String> {
    let options = ProducerOptions {
        acks: Acks::All,
        idempotent: true,
        linger: Duration::from_millis(LINGER_MS),
        batch_bytes: BATCH_BYTES,
        ..ProducerOptions::default()
    };
    let producer = Producer::new(cluster, &options).map_err(text)?;
    let value = vec![b'v'; arguments.record_bytes];
    for _ in 0..arguments.records {
        let record = Record::to(&arguments.topic).value(&value);
        // Whether all came is told by the topic's ends.
        drop(producer.send(&record).await.map_err(text)?);
    }
    producer.flush().await;
    Ok(())
}

async fn consume(
    cluster: &Cluster,
    arguments: &ClientArguments,
    topic: &Topic,
) -> Result<(), String> {
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
        Ok(())
    } else {
        Err(format!(
            "no figure, {records} records of {bytes} bytes came: they are none of {} each",
            arguments.record_bytes
        ))
    }
}
