//! Records in the administrator's topics: what was acknowledged is there, in the codec and with the
//! time that the topic's configuration asked for then, behind a log start that somebody moved.

use std::collections::BTreeMap;

use millrace_client::{Acks, Client, Error, OffsetOf, PartitionReader, Topic};
use millrace_host::Host;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::records::{
    BatchBuilder, Codec, Options, Scratch, TimestampType, record_iter,
};

use super::draws::Draw;
use crate::ledger::Progress;
use crate::reader::{INFLATED_BYTES_MAX, is_out_of_range, malformed};

/// Bytes of a value: small ones, and such as are too large for the smallest `max.message.bytes`.
const VALUE_BYTES: [usize; 4] = [10, 100, 300, 5000];

/// What a topic goes by, as far as records show it.
#[derive(Clone, Debug, Default)]
pub(super) struct GoesBy {
    /// `compression.type`, where it is known.
    pub(super) compression: Option<String>,
    /// `max.message.bytes`, where it is known.
    pub(super) batch_bytes_max: Option<usize>,
    /// Whether the broker's time is a record's.
    pub(super) stamped: bool,
    /// Whether acks=all waits for stable storage.
    pub(super) durable: bool,
    /// Whether records may be deleted: not from a topic that is compacted alone.
    pub(super) deletes: bool,
}

/// A record that was acknowledged.
#[derive(Clone, Debug)]
struct Claim {
    value: Vec<u8>,
    codec: Option<Codec>,
    stamped: bool,
    durable: bool,
    /// The broker's life that acknowledged it.
    life: usize,
}

/// What is known of one partition.
#[derive(Debug, Default)]
struct Log {
    claims: BTreeMap<i64, Claim>,
    /// The log begins here at least: that was acknowledged, or seen.
    begins: i64,
    /// It begins here at most: nobody asked for more.
    asked: i64,
    /// The broker's clock, which may be years off, said when its records are old.
    may_retire: bool,
}

/// What is known of all partitions.
#[derive(Debug, Default)]
pub(super) struct Records {
    logs: BTreeMap<(TopicId, i32), Log>,
    made: u64,
}

impl Records {
    /// Sends one batch; what is wrong with the outcome.
    pub(super) async fn produce(
        &mut self,
        (client, host, life): (&Client, &Host, usize),
        (topic, partition): (&Topic, i32),
        goes_by: &GoesBy,
        draw: &mut Draw,
    ) -> Result<Result<(), String>, Error> {
        let mut builder = BatchBuilder::new(Options::default());
        let wall_ms = host.clock.now().wall_ms;
        let bytes = VALUE_BYTES[draw.below(VALUE_BYTES.len())];
        let mut values = Vec::new();
        for _ in 0..=draw.below(3) {
            self.made += 1;
            let mut value = format!("{} {partition} {} ", topic.id, self.made).into_bytes();
            value.resize(value.len().max(bytes), b'.');
            // A key of its own: what is compacted keeps it.
            let key = self.made.to_be_bytes();
            builder
                .push(wall_ms, Some(&key), Some(&value), &[])
                .expect("a few values fit into a batch");
            values.push(value);
        }
        let batch = builder.build();
        let too_large = goes_by.batch_bytes_max.map(|most| batch.len() > most);
        let produced = client.produce(topic, partition, Acks::All, batch).await;
        let log = self.logs.entry((topic.id, partition)).or_default();
        log.may_retire |= goes_by.stamped;
        let at = match produced {
            Ok(at) => at.map_or(0, |produced| produced.base_offset),
            Err(Error::Broker {
                code: ErrorCode::MessageTooLarge,
                ..
            }) if too_large != Some(false) => return Ok(Ok(())),
            Err(Error::Broker {
                code:
                    code @ (ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::UnknownTopicId
                    | ErrorCode::MessageTooLarge),
                ..
            }) => {
                let why = format!("{topic:?}-{partition} refuses a batch: {code:?}, {goes_by:?}");
                return Ok(Err(why));
            }
            Err(error) => return Err(error),
        };
        let codec = goes_by.compression.as_deref().and_then(codec);
        for (offset, value) in (at..).zip(values) {
            let claim = Claim {
                value,
                codec,
                stamped: goes_by.stamped,
                durable: goes_by.durable,
                life,
            };
            log.claims.insert(offset, claim);
        }
        if too_large == Some(true) {
            let why = format!("{topic:?}-{partition} took a batch that {goes_by:?} refuses");
            return Ok(Err(why));
        }
        Ok(Ok(()))
    }

    /// Deletes records up to one that is certainly there.
    pub(super) async fn trim(
        &mut self,
        client: &Client,
        (topic, partition): (&Topic, i32),
        goes_by: &GoesBy,
        draw: &mut Draw,
    ) -> Result<Result<(), String>, Error> {
        let Some(log) = self.logs.get_mut(&(topic.id, partition)) else {
            return Ok(Ok(()));
        };
        let durable = log.claims.iter().filter(|(_, claim)| claim.durable);
        let offsets: Vec<i64> = durable.map(|(offset, _)| *offset).collect();
        let Some(before) = offsets.get(draw.below(offsets.len())) else {
            return Ok(Ok(()));
        };
        if goes_by.deletes {
            log.asked = log.asked.max(*before);
        }
        let low = match client.delete_records(topic, partition, Some(*before)).await {
            Ok(low) => low,
            Err(Error::Broker {
                code: ErrorCode::PolicyViolation,
                ..
            }) if !goes_by.deletes => return Ok(Ok(())),
            Err(error) => return Err(error),
        };
        if !goes_by.deletes {
            return Ok(Err(format!("{topic:?} is compacted, records were deleted")));
        }
        let judged = if low < *before {
            Err(format!(
                "{topic:?}-{partition} begins at {low}, not at {before}"
            ))
        } else {
            Ok(())
        };
        log.begins = log.begins.max(low);
        Ok(judged)
    }

    /// Reads one partition and holds it against what is known.
    pub(super) async fn read(
        &mut self,
        client: &Client,
        (topic, partition): (&Topic, i32),
        (progress, life): (&Progress, usize),
    ) -> Result<Result<(), String>, Error> {
        let mut reader = PartitionReader::new(client, topic, partition).await?;
        let mut found = BTreeMap::new();
        let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
        loop {
            let batches = match reader.next().await {
                // Its front left meanwhile.
                Err(error) if is_out_of_range(&error) => return Ok(Ok(())),
                batches => batches?,
            };
            if batches.is_empty() {
                break;
            }
            for batch in &batches {
                let codec = batch.header.codec().ok();
                let stamped = batch.header.timestamp_type() == TimestampType::LogAppendTime;
                let records =
                    record_iter(batch, &mut scratch).map_err(|error| malformed(client, &error))?;
                for record in records {
                    let record = record.map_err(|error| malformed(client, &error))?;
                    let value = record.value.unwrap_or_default().to_vec();
                    found.insert(record.offset, (value, codec, stamped));
                }
            }
        }
        let start = client
            .list_offset(topic, partition, OffsetOf::Start)
            .await?;
        let start = start.unwrap_or_else(|| reader.start());
        let Some(log) = self.logs.get_mut(&(topic.id, partition)) else {
            let name = topic.id.to_string();
            let is_own = |value: &[u8]| value.starts_with(name.as_bytes());
            let mut foreign = found.values().filter(|(value, ..)| !is_own(value));
            let judged = foreign.next().map_or(Ok(()), |_| {
                Err(format!("{topic:?}-{partition} holds records of another"))
            });
            return Ok(judged);
        };
        let lost = |claim: &Claim| {
            let lossy = progress.ledger().lives.lossy_end(claim.life, life);
            !claim.durable && lossy.is_some()
        };
        log.claims.retain(|_, claim| !lost(claim));
        let judged = log.judge(start, &found);
        log.begins = log.begins.max(start);
        Ok(judged.map_err(|why| format!("{}-{partition}: {why}", topic.name)))
    }
}

type Found = BTreeMap<i64, (Vec<u8>, Option<Codec>, bool)>;

impl Log {
    fn judge(&self, start: i64, found: &Found) -> Result<(), String> {
        if start < self.begins {
            return Err(format!("it begins at {start}, behind {}", self.begins));
        }
        if start > self.asked.max(self.begins) && !self.may_retire {
            let most = self.asked.max(self.begins);
            return Err(format!("it begins at {start}, {most} was asked for"));
        }
        for (offset, claim) in self.claims.range(start..) {
            let Some((value, codec, stamped)) = found.get(offset) else {
                return Err(format!("offset {offset} is gone"));
            };
            if *value != claim.value {
                return Err(format!("offset {offset} holds another value"));
            }
            if claim.codec.is_some() && *codec != claim.codec {
                return Err(format!(
                    "offset {offset} is in {codec:?}, not {:?}",
                    claim.codec
                ));
            }
            if *stamped != claim.stamped {
                return Err(format!("offset {offset}: broker's time {stamped}"));
            }
        }
        Ok(())
    }
}

/// In which codec batches are stored; those of the administrator come uncompressed.
fn codec(compression: &str) -> Option<Codec> {
    match compression {
        "producer" | "uncompressed" => Some(Codec::None),
        "gzip" => Some(Codec::Gzip),
        "snappy" => Some(Codec::Snappy),
        "lz4" => Some(Codec::Lz4),
        "zstd" => Some(Codec::Zstd),
        _ => None,
    }
}
