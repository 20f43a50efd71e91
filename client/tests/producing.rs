//! The producer against a whole broker on the simulated machine: what it delivers is read back, while
//! the broker is killed, loses power, and its connections are cut.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod node;
#[path = "runs/producing.rs"]
mod runs;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_client::{Delivered, Error, Producer, ProducerOptions, Record, Report};
use millrace_host::Pool;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::{Codec, Header};
use node::{PARTITIONS, cluster, run, topic, trouble};
use runs::{read, store};

/// Room for ten records of 900 bytes, which are given up after 20 s.
fn cramped() -> ProducerOptions {
    ProducerOptions {
        request_bytes_max: 2000,
        buffer_bytes_max: 10_000,
        delivery_timeout: Duration::from_secs(20),
        ..ProducerOptions::default()
    }
}

#[test]
fn records_come_back_as_they_were_sent_with_each_codec() {
    run(1, async |_world, host, _broker| {
        let cluster = cluster(&host).await;
        for codec in [
            Codec::None,
            Codec::Gzip,
            Codec::Snappy,
            Codec::Lz4,
            Codec::Zstd,
        ] {
            let name = codec.name();
            topic(&cluster, name, &[]).await;
            let options = ProducerOptions {
                codec,
                ..ProducerOptions::default()
            };
            let producer = Producer::new(&cluster, &options).unwrap();
            let headers = [
                Header {
                    key: b"h",
                    value: Some(b"v"),
                },
                Header {
                    key: b"h",
                    value: None,
                },
            ];
            let full = Record::to(name).partition(1).key("k").value("v");
            let records = [
                full.headers(&headers).timestamp_ms(5),
                Record::to(name).partition(1).value(""),
                Record::to(name).partition(1).key("deleted"),
                Record::to(name).partition(1).timestamp_ms(0),
            ];
            for (offset, record) in records.iter().enumerate() {
                let delivered = producer.send(record).await.unwrap().wait().await.unwrap();
                let expected = Delivered {
                    topic: name.into(),
                    partition: 1,
                    offset: Some(offset as i64),
                };
                assert_eq!(delivered, expected);
            }
            let stored = read(&cluster, name, 1).await;
            for (record, stored) in records.iter().zip(stored.values()) {
                assert_eq!(record.key, stored.key.as_deref());
                assert_eq!(record.value, stored.value.as_deref());
                let sent = record.headers.iter();
                let sent: Vec<_> = sent
                    .map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec)))
                    .collect();
                assert_eq!(sent, stored.headers);
                if let Some(timestamp_ms) = record.timestamp_ms {
                    assert_eq!(timestamp_ms, stored.timestamp_ms);
                } else {
                    assert!(stored.timestamp_ms >= 1_700_000_000_000, "now");
                }
            }
            assert_eq!(stored.len(), records.len());
        }
    });
}

#[test]
fn keys_stay_with_a_partition_and_the_rest_is_spread() {
    run(2, async |_world, host, _broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        let options = ProducerOptions {
            batch_bytes: 2000,
            ..ProducerOptions::default()
        };
        let producer = Producer::new(&cluster, &options).unwrap();
        let mut deliveries = Vec::new();
        for number in 0..3000 {
            let value = [7; 100];
            let key = format!("{}", number % 10);
            let record = Record::to("t").value(&value);
            let record = if number % 2 == 0 {
                record.key(&key)
            } else {
                record
            };
            deliveries.push((
                record.key.is_some().then(|| key.clone()),
                producer.send(&record).await.unwrap(),
            ));
        }
        producer.flush().await;
        let mut of_key = BTreeMap::new();
        let mut spread = BTreeMap::<_, u32>::new();
        for (key, delivery) in deliveries {
            let delivered = delivery.wait().await.unwrap();
            match key {
                Some(key) => {
                    let partition = *of_key.entry(key).or_insert(delivered.partition);
                    assert_eq!(delivered.partition, partition);
                }
                None => *spread.entry(delivered.partition).or_default() += 1,
            }
        }
        assert_eq!(spread.len(), PARTITIONS as usize, "{spread:?}");
        assert!(spread.values().all(|count| *count > 200), "{spread:?}");
    });
}

#[test]
fn each_record_is_stored_once_in_order_whatever_happens_to_the_broker() {
    for seed in 100..120 {
        store(seed);
    }
}

#[test]
fn what_waits_is_bounded_and_given_up_in_time() {
    run(3, async |world, host, broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        let producer = Producer::new(&cluster, &cramped()).unwrap();
        let value = [0; 900];
        let record = Record::to("t").partition(0).value(&value);
        producer.send(&record).await.unwrap().wait().await.unwrap();
        world.kill("broker");
        drop(broker);
        let begin = world.elapsed();
        let mut deliveries = Vec::new();
        for _ in 0..10 {
            deliveries.push(producer.send(&record).await.unwrap());
        }
        assert_eq!(world.elapsed(), begin, "ten of them fit");
        // The eleventh waits until the first are given up.
        world.pause(Duration::from_secs(1)).await;
        let eleventh = producer.send(&record).await.unwrap();
        let waited = world.elapsed().saturating_sub(begin);
        assert!((20..60).contains(&waited.as_secs()), "{waited:?}");
        for delivery in deliveries {
            let error = delivery.wait().await.unwrap_err();
            assert!(matches!(error, Error::Undelivered { .. }), "{error}");
        }
        let begin = world.elapsed();
        let error = eleventh.wait().await.unwrap_err();
        let expected =
            "a record for t-0 was given up, it is not stored: can't connect to 127.0.0.1:9092";
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!((15..60).contains(&world.elapsed().saturating_sub(begin).as_secs()));
    });
}

#[test]
fn refusals_name_the_record_and_the_limit() {
    run(4, async |_world, host, _broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[("max.message.bytes", "1000")]).await;
        let producer = Producer::new(&cluster, &ProducerOptions::default()).unwrap();
        let large = vec![0; 2 << 20];
        let error = producer
            .send(&Record::to("t").value(&large))
            .await
            .unwrap_err();
        let expected =
            "a record for topic t takes 2097249 bytes, the limit is 1048576 (request_bytes_max)";
        assert_eq!(error.to_string(), expected);
        let error = producer
            .send(&Record::to("t").partition(3).value("v"))
            .await
            .unwrap_err();
        let expected = "the broker refused a record for t-3: the topic has 3 partitions: \
                        UNKNOWN_TOPIC_OR_PARTITION (3)";
        assert_eq!(error.to_string(), expected);
        let medium = [0; 2000];
        let refused = producer
            .send(&Record::to("t").partition(0).value(&medium))
            .await
            .unwrap();
        let error = refused.wait().await.unwrap_err();
        assert!(
            matches!(
                &error,
                Error::Broker {
                    code: ErrorCode::MessageTooLarge,
                    ..
                }
            ),
            "{error}"
        );
        assert!(
            error.to_string().contains("a record of 2070 bytes for t-0"),
            "{error}"
        );
        // What comes behind it is stored.
        let next = producer
            .send(&Record::to("t").partition(0).value("v"))
            .await
            .unwrap();
        assert_eq!(next.wait().await.unwrap().offset, Some(0));
    });
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    run(5, async |_world, host, _broker| {
        let cluster = cluster(&host).await;
        let options = ProducerOptions {
            acks: millrace_client::Acks::Leader,
            ..ProducerOptions::default()
        };
        let error = Producer::new(&cluster, &options).unwrap_err();
        let expected = "the options can't be followed: an idempotent producer takes acks=all: choose \
                        it, or idempotent: false";
        assert_eq!(error.to_string(), expected);
        let unordered = ProducerOptions {
            acks: millrace_client::Acks::None,
            idempotent: false,
            ..ProducerOptions::default()
        };
        topic(&cluster, "t", &[]).await;
        let producer = Producer::new(&cluster, &unordered).unwrap();
        let delivery = producer
            .send(&Record::to("t").partition(0).value("v"))
            .await
            .unwrap();
        assert_eq!(delivery.wait().await.unwrap().offset, None);
        // On another connection the record may come later.
        while read(&cluster, "t", 0).await.is_empty() {
            host.clock
                .sleep_until(host.clock.now().mono + Duration::from_millis(1))
                .await;
        }
    });
}

/// Sends so many records, each tagged with its number; those that a multiple of 50 numbers are larger
/// than the topic takes.
async fn send_tagged(producer: &Producer, count: u64) {
    for number in 0..count {
        let mut value = number.to_be_bytes().to_vec();
        value.resize(if number % 50 == 0 { 2000 } else { 40 }, 0);
        let partition = i32::try_from(number).unwrap() % PARTITIONS;
        let record = Record::to("t").partition(partition).value(&value);
        producer.send(&record.tag(number)).await.unwrap();
    }
}

#[test]
fn batches_that_are_too_large_are_cut_until_they_pass_whatever_happens() {
    const COUNT: u64 = 600;
    for seed in 300..310 {
        run(seed, async |world, host, broker| {
            let cluster = cluster(&host).await;
            topic(&cluster, "t", &[("max.message.bytes", "1000")]).await;
            let codecs = [Codec::None, Codec::Lz4];
            let options = ProducerOptions {
                codec: codecs[usize::try_from(seed % 2).unwrap()],
                batch_bytes: 16_000,
                buffer_bytes_max: 2 << 20,
                ..ProducerOptions::default()
            };
            let (producer, mut reports) = Producer::reporting(&cluster, &options).unwrap();
            let after = Arc::new(Mutex::new(None));
            let troubled = {
                let (world, after) = (world.clone(), Arc::clone(&after));
                let trouble = async move {
                    *after.lock().unwrap() = Some(trouble(world, broker, 4).await);
                };
                host.spawn.spawn(Pool::Data, "trouble", Box::pin(trouble))
            };
            send_tagged(&producer, COUNT).await;
            producer.flush().await;
            drop(producer);
            let mut told = BTreeMap::new();
            while let Some(Report { tag, result }) = reports.next().await {
                assert!(told.insert(tag, result).is_none(), "{tag} twice");
            }
            assert!(troubled.join().await, "the trouble itself failed");
            assert_eq!(told.len(), usize::try_from(COUNT).unwrap());
            let mut stored = BTreeMap::new();
            for partition in 0..PARTITIONS {
                for (offset, record) in read(&cluster, "t", partition).await {
                    let number = record.value.unwrap()[..8].try_into().unwrap();
                    stored.insert((partition, offset), u64::from_be_bytes(number));
                }
            }
            let in_order = stored
                .iter()
                .zip(stored.iter().skip(1))
                .all(|(one, next)| one.0.0 != next.0.0 || one.1 < next.1);
            assert!(in_order, "seed {seed}: {stored:?}");
            let mut doubtful = 0;
            for (tag, result) in told {
                let mut at = stored.iter().filter(|(_, stored)| **stored == tag);
                let (first, again) = (at.next().map(|(at, _)| *at), at.next());
                assert_eq!(again, None, "seed {seed}: {tag} is stored twice");
                match result {
                    Ok(Delivered {
                        partition, offset, ..
                    }) => assert_eq!(first, Some((partition, offset.unwrap())), "{tag}"),
                    // Behind a number that is lost, what was on its way may be stored or not.
                    Err(Error::Undelivered {
                        may_be_stored: true,
                        ..
                    }) => doubtful += 1,
                    Err(error) => {
                        // Compressed, zeros pass.
                        let is_large = tag % 50 == 0 && seed % 2 == 0;
                        assert!(is_large, "seed {seed}, {tag}: {error}");
                        assert_eq!(first, None, "{tag}: {error}");
                    }
                }
            }
            assert!(doubtful < COUNT / 2, "seed {seed}: {doubtful}");
        });
    }
}

#[test]
fn reports_that_nobody_reads_hold_up_whoever_sends() {
    run(6, async |world, host, _broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        let (producer, mut reports) = Producer::reporting(&cluster, &cramped()).unwrap();
        let value = [0; 900];
        let record = Record::to("t").partition(0).value(&value);
        for tag in 0..10 {
            producer.send(&record.tag(tag)).await.unwrap();
        }
        producer.flush().await;
        let begin = world.elapsed();
        let error = producer.send(&record.tag(10)).await.unwrap_err();
        assert!(error.to_string().contains("stayed full"), "{error}");
        assert!(world.elapsed().saturating_sub(begin) >= Duration::from_secs(20));
        // One batch's worth of them gives room again.
        for tag in 0..2 {
            assert_eq!(reports.next().await.unwrap().tag, tag);
        }
        producer.send(&record.tag(11)).await.unwrap();
        // So does dropping them, and nobody is held up any more.
        drop(reports);
        for tag in 12..50 {
            producer.send(&record.tag(tag)).await.unwrap();
        }
        producer.flush().await;
        assert_eq!(read(&cluster, "t", 0).await.len(), 49);
    });
}
