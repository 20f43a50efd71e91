//! The crate's producer in simulation, whatever happens to the broker, and what is stored then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_client::{Cluster, Delivered, PartitionReader, Producer, ProducerOptions, Record};
use millrace_host::Pool;
use millrace_protocol::records::{Header, Scratch, record_iter};

use crate::node::{PARTITIONS, cluster, run, topic, trouble};

/// A record as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(crate) timestamp_ms: i64,
}

/// All of a partition, by offset.
pub(crate) async fn read(cluster: &Cluster, name: &str, partition: i32) -> BTreeMap<i64, Stored> {
    let client = cluster.any_broker().await.unwrap();
    let topic = client.topic(name).await.unwrap();
    let mut reader = PartitionReader::new(&client, &topic, partition)
        .await
        .unwrap();
    let mut scratch = Scratch::new(1 << 20);
    let mut stored = BTreeMap::new();
    loop {
        let batches = reader.next().await.unwrap();
        if batches.is_empty() {
            return stored;
        }
        for batch in &batches {
            for record in record_iter(batch, &mut scratch).unwrap() {
                let record = record.unwrap();
                let header =
                    |header: Header<'_>| (header.key.to_vec(), header.value.map(<[u8]>::to_vec));
                let read = Stored {
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                    headers: record.headers.map(header).collect(),
                    timestamp_ms: record.timestamp,
                };
                assert!(
                    stored.insert(record.offset, read).is_none(),
                    "an offset twice"
                );
            }
        }
    }
}

/// Somebody sends while the broker is in trouble: each record is stored once, in order, where the
/// producer says.
pub(crate) fn store(seed: u64) {
    run(seed, async |world, host, broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        let options = ProducerOptions {
            batch_bytes: 1000,
            ..ProducerOptions::default()
        };
        let producer = Producer::new(&cluster, &options).unwrap();
        let after = Arc::new(Mutex::new(None));
        let troubled = {
            let (world, after) = (world.clone(), Arc::clone(&after));
            let trouble = async move {
                *after.lock().unwrap() = Some(trouble(world, broker, 5).await);
            };
            host.spawn.spawn(Pool::Data, "trouble", Box::pin(trouble))
        };
        let mut deliveries = Vec::new();
        for number in 0..2000_u64 {
            let partition = number as i32 % PARTITIONS;
            let value = number.to_be_bytes();
            let record = Record::to("t").partition(partition).value(&value);
            deliveries.push((number, producer.send(&record).await.unwrap()));
            if number % 20 == 0 {
                world.pause(Duration::from_millis(world.draw(30))).await;
            }
        }
        producer.flush().await;
        assert!(troubled.join().await, "the trouble itself failed");
        let mut delivered = BTreeMap::new();
        for (number, delivery) in deliveries {
            let Delivered {
                partition, offset, ..
            } = delivery.wait().await.unwrap();
            delivered.insert((partition, offset.unwrap()), number);
        }
        let mut stored = BTreeMap::new();
        for partition in 0..PARTITIONS {
            for (offset, record) in read(&cluster, "t", partition).await {
                let number = u64::from_be_bytes(record.value.unwrap().try_into().unwrap());
                stored.insert((partition, offset), number);
            }
        }
        assert_eq!(delivered, stored, "seed {seed}");
        let in_order = stored
            .iter()
            .zip(stored.iter().skip(1))
            .all(|(one, next)| one.0.0 != next.0.0 || one.1 < next.1);
        assert!(in_order, "seed {seed}: {stored:?}");
    });
}
