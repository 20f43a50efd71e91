//! The consumer against a whole broker on the simulated machine: it gives every record once, in order,
//! while the broker is killed, loses power, and its connections are cut.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod node;

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::{
    Cluster, Consumer, ConsumerOptions, Error, OffsetOf, OffsetOrFind, Producer, ProducerOptions,
    Record, Records, Reset,
};
use millrace_host::Pool;
use millrace_protocol::error_code::ErrorCode;
use node::{PARTITIONS, cluster, run, topic, trouble};

const BEGIN: OffsetOrFind = OffsetOrFind::Find(OffsetOf::Start);

async fn produce(cluster: &Cluster, numbers: std::ops::Range<u64>) {
    let options = ProducerOptions {
        batch_bytes: 500,
        ..ProducerOptions::default()
    };
    let producer = Producer::new(cluster, &options).unwrap();
    let mut deliveries = Vec::new();
    for number in numbers {
        let record = Record::to("t").partition(number as i32 % PARTITIONS);
        let value = number.to_be_bytes();
        let record = record.value(&value).timestamp_ms(number as i64);
        deliveries.push(producer.send(&record).await.unwrap());
        if number % 50 == 0 {
            let clock = &cluster.host().clock;
            clock
                .sleep_until(clock.now().mono + Duration::from_millis(20))
                .await;
        }
    }
    producer.flush().await;
    for delivery in deliveries {
        delivery.wait().await.unwrap();
    }
}

/// The offsets and numbers in what came.
fn numbers(records: &Records) -> Vec<(i64, u64)> {
    let mut numbers = Vec::new();
    let mut scratch = Records::scratch();
    let each = |record: &millrace_protocol::records::Record<'_>| {
        let value = record.value.unwrap().try_into().unwrap();
        numbers.push((record.offset, u64::from_be_bytes(value)));
    };
    records.read_records(&mut scratch, each).unwrap();
    numbers
}

/// Reads until that many records came; by partition.
async fn read(consumer: &Consumer, count: usize) -> BTreeMap<i32, Vec<(i64, u64)>> {
    let mut read = BTreeMap::<_, Vec<_>>::new();
    let mut left = count;
    while left > 0 {
        let records = consumer.next().await.unwrap();
        let numbers = numbers(&records);
        left = left
            .checked_sub(numbers.len())
            .expect("no more than there are");
        read.entry(records.partition()).or_default().extend(numbers);
    }
    read
}

fn all(start: OffsetOrFind) -> Vec<(&'static str, i32, OffsetOrFind)> {
    (0..PARTITIONS)
        .map(|partition| ("t", partition, start))
        .collect()
}

#[test]
fn every_record_comes_once_in_order_whatever_happens_to_the_broker() {
    for seed in 200..220 {
        run(seed, async |world, host, broker| {
            let cluster = cluster(&host).await;
            topic(&cluster, "t", &[]).await;
            let options = ConsumerOptions {
                prefetch_bytes_max: 4000,
                partition_bytes_max: 2000,
                ..ConsumerOptions::default()
            };
            let consumer = Consumer::new(&cluster, options);
            consumer.assign(all(BEGIN)).await.unwrap();
            let producing = {
                let cluster = cluster.clone();
                let produce = async move { produce(&cluster, 0..1500).await };
                host.spawn.spawn(Pool::Data, "producing", Box::pin(produce))
            };
            let troubled = {
                let trouble = trouble(world.clone(), broker, 5);
                let hold = async move {
                    let _broker = trouble.await;
                    std::future::pending::<()>().await;
                };
                host.spawn.spawn(Pool::Data, "trouble", Box::pin(hold))
            };
            let read = read(&consumer, 1500).await;
            assert!(producing.join().await, "producing failed");
            for (partition, numbers) in read {
                let expected =
                    (0..1500_u64).filter(|number| *number as i32 % PARTITIONS == partition);
                let expected: Vec<_> = (0..).zip(expected).collect();
                assert_eq!(numbers, expected, "seed {seed}, partition {partition}");
                assert_eq!(consumer.position("t", partition).unwrap(), Some(500));
            }
            troubled.abort();
        });
    }
}

#[test]
fn seeking_pausing_and_resuming_do_as_they_say() {
    run(1, async |world, host, _broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        produce(&cluster, 0..300).await;
        let consumer = Consumer::new(&cluster, ConsumerOptions::default());
        let error = consumer.seek("t", 0, BEGIN).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the options can't be followed: t-0 is not assigned: assign it first"
        );
        let absent = consumer
            .assign([("t", PARTITIONS, BEGIN)])
            .await
            .unwrap_err();
        assert!(
            absent.to_string().contains("the topic has 3 partitions"),
            "{absent}"
        );
        consumer.assign(all(BEGIN)).await.unwrap();
        assert_eq!(read(&consumer, 300).await[&1].len(), 100);
        // Partition 1 again from its 90th record, by offset; partition 2 by time.
        consumer.seek("t", 1, OffsetOrFind::Offset(90)).unwrap();
        consumer
            .seek("t", 2, OffsetOrFind::Find(OffsetOf::Time(297)))
            .unwrap();
        let again = read(&consumer, 11).await;
        let tenth = (90..100)
            .map(|at| (at, 3 * at as u64 + 1))
            .collect::<Vec<_>>();
        assert_eq!(again, BTreeMap::from([(1, tenth), (2, vec![(99, 299)])]));
        // What is paused is not given out, also if it was fetched before.
        consumer.pause("t", 0).unwrap();
        consumer.seek("t", 0, BEGIN).unwrap();
        produce(&cluster, 300..303).await;
        let others = read(&consumer, 2).await;
        assert_eq!(
            others,
            BTreeMap::from([(1, vec![(100, 301)]), (2, vec![(100, 302)])])
        );
        world.pause(Duration::from_secs(2)).await;
        assert_eq!(consumer.position("t", 0).unwrap(), None);
        consumer.resume("t", 0).unwrap();
        assert_eq!(read(&consumer, 101).await[&0].len(), 101);
        // Assigned again, a partition goes on where it was; one that left begins anew.
        consumer.assign([("t", 0, BEGIN)]).await.unwrap();
        consumer.assign(all(BEGIN)).await.unwrap();
        let read = read(&consumer, 202).await;
        assert_eq!(read.keys().copied().collect::<Vec<_>>(), [1, 2]);
    });
}

#[test]
fn a_position_outside_the_log_is_reset_or_an_error() {
    run(2, async |_world, host, _broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        produce(&cluster, 0..30).await;
        let beyond = [("t", 0, OffsetOrFind::Offset(1000))];
        let with = async |reset| {
            let options = ConsumerOptions {
                reset,
                ..ConsumerOptions::default()
            };
            let consumer = Consumer::new(&cluster, options);
            consumer.assign(beyond).await.unwrap();
            consumer
        };
        assert_eq!(read(&with(Reset::Earliest).await, 10).await[&0].len(), 10);
        let latest = with(Reset::Latest).await;
        let failing = with(Reset::Fail).await;
        let error = failing.next().await.unwrap_err();
        let code = ErrorCode::OffsetOutOfRange;
        assert!(
            matches!(&error, Error::Broker { code: told, .. } if *told == code),
            "{error}"
        );
        while latest.position("t", 0).unwrap().is_none() {
            let clock = &host.clock;
            clock
                .sleep_until(clock.now().mono + Duration::from_millis(1))
                .await;
        }
        produce(&cluster, 30..33).await;
        assert_eq!(
            read(&latest, 1).await,
            BTreeMap::from([(0, vec![(10, 30)])])
        );
    });
}

#[test]
fn streams_give_what_next_gives_and_end_when_it_is_closed() {
    run(3, async |_world, host, _broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        produce(&cluster, 0..300).await;
        let consumer = Consumer::new(&cluster, ConsumerOptions::default());
        consumer.assign(all(BEGIN)).await.unwrap();
        // The first record of a batch that is begun within is left out here too.
        consumer.seek("t", 1, OffsetOrFind::Offset(3)).unwrap();
        let mut stream = consumer.record_stream();
        let mut read = BTreeMap::<i32, Vec<(i64, u64)>>::new();
        for _ in 0..297 {
            let record = stream.next().await.unwrap().unwrap();
            let value = record.value.as_deref().unwrap().try_into().unwrap();
            let number = u64::from_be_bytes(value);
            assert_eq!(record.timestamp_ms, number as i64);
            assert_eq!((&*record.topic, record.key), ("t", None));
            let of = read.entry(record.partition).or_default();
            of.push((record.offset, number));
        }
        for (partition, numbers) in read {
            let first = if partition == 1 { 3 } else { 0 };
            let expected: Vec<_> = (first..100)
                .map(|at| (at, 3 * at as u64 + partition as u64))
                .collect();
            assert_eq!(numbers, expected, "partition {partition}");
        }
        let mut batches = consumer.stream();
        produce(&cluster, 300..303).await;
        // Both ask: each record comes to one of them.
        let mut more = Vec::new();
        while more.len() < 3 {
            tokio::select! {
                records = batches.next() => more.extend(numbers(&records.unwrap().unwrap())),
                record = stream.next() => {
                    let record = record.unwrap().unwrap();
                    let value = record.value.as_deref().unwrap().try_into().unwrap();
                    more.push((record.offset, u64::from_be_bytes(value)));
                }
            }
        }
        more.sort_unstable();
        assert_eq!(more, [(100, 300), (100, 301), (100, 302)]);
        consumer.close().await.unwrap();
        assert!(stream.next().await.is_none() && batches.next().await.is_none());
        assert!(stream.next().await.is_none() && batches.next().await.is_none());
    });
}
