//! What goes in comes out: codecs, keys, null and empty values, headers, timestamps, partitions.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_client::{Acks, Cluster, ConsumedRecord, Producer, ProducerOptions, Record};
use millrace_protocol::records::{Codec, Header};

use crate::stage::{Stage, from_the_start, same, text};

const PARTITIONS: i32 = 3;
/// Records of each codec.
const RECORDS: i32 = 600;
const CODECS: [(&str, Codec); 5] = [
    ("none", Codec::None),
    ("gzip", Codec::Gzip),
    ("snappy", Codec::Snappy),
    ("lz4", Codec::Lz4),
    ("zstd", Codec::Zstd),
];

/// A record as it was sent.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    timestamp_ms: i64,
}

impl Sent {
    fn new(stage: &Stage, number: i32) -> Self {
        let key = match number % 5 {
            0 => None,
            1 => Some(Vec::new()),
            _ => Some(format!("k{}", number % 7).into_bytes()),
        };
        let length = usize::try_from(number * 37 % 900).unwrap_or(0);
        let value = match number % 7 {
            3 => None,
            5 => Some(Vec::new()),
            _ => Some(format!("{number} {}", "v".repeat(length)).into_bytes()),
        };
        // A name may be there twice, and a value be absent.
        let headers = match number % 3 {
            0 => Vec::new(),
            _ => vec![
                (b"h".to_vec(), Some(number.to_string().into_bytes())),
                (b"h".to_vec(), Some(Vec::new())),
                (b"absent".to_vec(), None),
            ],
        };
        Self {
            key,
            value,
            headers,
            timestamp_ms: stage.time_of(number),
        }
    }

    fn of(record: &ConsumedRecord) -> Self {
        let bytes = |bytes: &Bytes| bytes.to_vec();
        let headers = record.headers.iter();
        Self {
            key: record.key.as_ref().map(bytes),
            value: record.value.as_ref().map(bytes),
            headers: headers
                .map(|header| (bytes(&header.key), header.value.as_ref().map(bytes)))
                .collect(),
            timestamp_ms: record.timestamp_ms,
        }
    }
}

/// Records of every form in each codec, each at a partition that was chosen.
pub(crate) async fn codecs(stage: &Stage) -> crate::Told {
    for (name, codec) in CODECS {
        let topic = format!("contents-{name}");
        let cluster = stage.topic(&topic, PARTITIONS).await?;
        let sent = send(stage, &cluster, &topic, codec).await?;
        let reader = stage
            .reader(&cluster, &topic, PARTITIONS, from_the_start())
            .await?;
        let read = stage.take(&reader, sent.len()).await?;
        let read = read
            .iter()
            .map(|record| ((record.partition, record.offset), Sent::of(record)));
        let read: BTreeMap<_, _> = read.collect();
        for (place, record) in &sent {
            let what = format!("{topic} {place:?}");
            same(&what, read.get(place), Some(record))?;
        }
        same(&topic, read.len(), sent.len())?;
    }
    Ok(format!(
        "{RECORDS} records in each of {} codecs",
        CODECS.len()
    ))
}

async fn send(
    stage: &Stage,
    cluster: &Cluster,
    topic: &str,
    codec: Codec,
) -> Result<BTreeMap<(i32, i64), Sent>, String> {
    let options = ProducerOptions {
        codec,
        ..ProducerOptions::default()
    };
    let producer = Producer::new(cluster, &options).map_err(text)?;
    let mut deliveries = Vec::new();
    for number in 0..RECORDS {
        let sent = Sent::new(stage, number);
        let headers: Vec<_> = sent
            .headers
            .iter()
            .map(|(key, value)| Header {
                key,
                value: value.as_deref(),
            })
            .collect();
        let record = Record {
            key: sent.key.as_deref(),
            value: sent.value.as_deref(),
            timestamp_ms: Some(sent.timestamp_ms),
            ..Record::to(topic)
                .partition(number % PARTITIONS)
                .headers(&headers)
        };
        deliveries.push((producer.send(&record).await.map_err(text)?, sent));
    }
    let mut places = BTreeMap::new();
    for ((delivery, sent), number) in deliveries.into_iter().zip(0..) {
        let stored = stage.within("a delivery", delivery.wait()).await?;
        let stored = stored.map_err(text)?;
        let place = (number % PARTITIONS, i64::from(number / PARTITIONS));
        let told = (stored.partition, stored.offset.unwrap_or(-1));
        same("where a record was stored", told, place)?;
        places.insert(place, sent);
    }
    Ok(places)
}

/// A key has one partition, the Java client's; acknowledgements of every kind.
pub(crate) async fn partitioning(stage: &Stage) -> crate::Told {
    const KEYS: i32 = 60;
    let cluster = stage.topic("partitioning", PARTITIONS).await?;
    let mut homes = BTreeMap::new();
    let ways = [
        (Acks::All, true),
        (Acks::All, false),
        (Acks::Leader, false),
        (Acks::None, false),
    ];
    for (acks, idempotent) in ways {
        let options = ProducerOptions {
            acks,
            idempotent,
            ..ProducerOptions::default()
        };
        let producer = Producer::new(&cluster, &options).map_err(text)?;
        for number in 0..KEYS {
            let key = format!("key {number}");
            let record = Record::to("partitioning").key(&key).value("v");
            let sent = producer.send(&record).await.map_err(text)?;
            producer.flush().await;
            let stored = stage.within("a delivery", sent.wait()).await?;
            let stored = stored.map_err(text)?;
            let home = *homes.entry(key).or_insert(stored.partition);
            same("the partition of a key", stored.partition, home)?;
            same(
                "an offset told",
                stored.offset.is_some(),
                acks != Acks::None,
            )?;
        }
    }
    // Of `org.apache.kafka.common.utils.Utils.murmur2`.
    same("where Java puts `key 0`", homes.get("key 0"), Some(&KEY_0))?;
    let reader = stage
        .reader(&cluster, "partitioning", PARTITIONS, from_the_start())
        .await?;
    let count = usize::try_from(KEYS).unwrap_or(0) * ways.len();
    for record in stage.take(&reader, count).await? {
        let key = record.key.as_deref().unwrap_or_default();
        let key = String::from_utf8_lossy(key).into_owned();
        let home = homes.get(&key).copied();
        same("where a key lies", Some(record.partition), home)?;
    }
    Ok(format!("{count} records by key, acks all, leader and none"))
}

/// The partition of `key 0` among three.
const KEY_0: i32 = 1;
