//! A consumer with a rack reads from the replica there (KIP-392), and from the leader once that replica's
//! broker is gone.
//!
//! What always holds: where records came from is told by the bytes that came from each broker's port.

use std::collections::BTreeMap;

use millrace_client::{Admin, ConsumerOptions, Producer, ProducerOptions, Record, TopicPartition};
use millrace_client::{Cluster, Consumer};

use crate::stage::{Stage, from_the_start, one, same, text};

const TOPIC: &str = "followers";
/// Records of a round, and bytes of each.
const RECORDS: usize = 200;
const BYTES: usize = 20_000;

/// From a follower, and from the leader while that is away.
pub(crate) async fn followers(stage: &Stage) -> crate::Told {
    let cluster = stage.topic(TOPIC, 1).await?;
    send(&cluster).await?;
    let told = one(Admin::new(&cluster).describe_topics(&[TOPIC]).await).map_err(text)?;
    let partition = told.partition(0).ok_or("the topic has no partition")?;
    let leader = partition.leader.ok_or("nobody leads the partition")?;
    let follower = partition.replicas.iter().copied().find(|id| *id != leader);
    let follower = follower.ok_or("the partition has one replica")?;
    let described = Admin::new(&cluster)
        .describe_cluster()
        .await
        .map_err(text)?;
    let broker = described.brokers.iter().find(|one| one.id == follower);
    let broker = broker.ok_or("the follower is no broker of the cluster")?;
    let port = u16::try_from(broker.port).map_err(|error| error.to_string())?;
    let rack = broker.rack.clone().ok_or("the follower has no rack")?;
    let options = ConsumerOptions {
        rack: Some(rack.clone()),
        // Many fetches, so that it moves over early.
        partition_bytes_max: 100_000,
        fetch_bytes_max: 100_000,
        prefetch_bytes_max: 200_000,
        ..from_the_start()
    };
    let cluster = stage.connect().await?;
    let reader = stage.reader(&cluster, TOPIC, 1, options).await?;
    let before = stage.wires.read();
    let near = round(stage, &reader, 0).await?;
    let came = of_port(&stage.wires.read(), port) - of_port(&before, port);
    let all = u64::try_from(near).unwrap_or(0);
    if came * 2 < all {
        return Err(format!(
            "{came} of {all} bytes came from node {follower} in {rack}: less than half"
        ));
    }
    stage.nodes.kill(follower)?;
    send(&cluster).await?;
    round(stage, &reader, RECORDS).await?;
    stage.nodes.start(follower)?;
    send(&cluster).await?;
    round(stage, &reader, 2 * RECORDS).await?;
    stage
        .until("the follower in sync", async || {
            let told = Admin::new(&cluster).describe_topics(&[TOPIC]).await;
            let told = one(told).map_err(text)?;
            let in_sync = told.partition(0).map_or(0, |one| one.in_sync.len());
            Ok((in_sync < 3).then(|| format!("{in_sync} of 3 are")))
        })
        .await?;
    let item = TopicPartition::new(TOPIC, 0);
    Ok(format!(
        "{} records of {item}; of the first {all} bytes {came} came from the follower",
        3 * RECORDS
    ))
}

fn of_port(read: &BTreeMap<u16, u64>, port: u16) -> u64 {
    read.get(&port).copied().unwrap_or(0)
}

async fn send(cluster: &Cluster) -> Result<(), String> {
    let producer = Producer::new(cluster, &ProducerOptions::default()).map_err(text)?;
    let value = vec![b'f'; BYTES];
    let mut deliveries = Vec::new();
    for _ in 0..RECORDS {
        let record = Record::to(TOPIC).partition(0).value(&value);
        deliveries.push(producer.send(&record).await.map_err(text)?);
    }
    for delivery in deliveries {
        delivery.wait().await.map_err(text)?;
    }
    Ok(())
}

/// Reads one round, in order; how many bytes its values have.
async fn round(stage: &Stage, reader: &Consumer, from: usize) -> Result<usize, String> {
    let read = stage.take(reader, RECORDS).await?;
    let offsets: Vec<_> = read.iter().map(|record| record.offset).collect();
    let first = i64::try_from(from).map_err(|error| error.to_string())?;
    let count = i64::try_from(RECORDS).map_err(|error| error.to_string())?;
    same(
        "the offsets read",
        offsets,
        (first..first + count).collect(),
    )?;
    let bytes = read.iter().filter_map(|record| record.value.as_ref());
    Ok(bytes.map(bytes::Bytes::len).sum())
}
