//! Batches in the codec of their topic (`compression.type`).
//!
//! What always holds: the records, their times, offsets and sequence numbers are those of the
//! batch that was checked; a batch that has the topic's codec already is stamped at most; the header
//! that goes on to the log is that of the batch as it is stored.

use bytes::Bytes;
use millrace_config::{Compression, TopicConfig};
use millrace_protocol::records::{
    Batch, BatchBuilder, Codec, Options, Produced, RecordError, Scratch, record_iter,
};

/// A codec and its level; no level is Kafka's default.
pub(crate) type Target = (Codec, Option<i32>);

/// The codec that a topic's batches are stored in; `None` leaves it to the producer.
pub(crate) fn target(topic: &TopicConfig) -> Option<Target> {
    let codec = match topic.compression {
        Compression::Producer => return None,
        Compression::Uncompressed => Codec::None,
        Compression::Gzip => Codec::Gzip,
        Compression::Snappy => Codec::Snappy,
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
    };
    Some((codec, topic.compression_level))
}

/// A checked batch as it is to be stored: with what must be stamped into it, and in the codec of `to`.
pub(crate) fn stored(
    bytes: Bytes,
    produced: &Produced,
    to: Option<Target>,
    scratch: &mut Scratch,
) -> Result<(Bytes, Produced), RecordError> {
    let present = produced.header.codec()?;
    let Some((codec, level)) = to.filter(|(codec, _)| *codec != present) else {
        return finished(bytes, produced);
    };
    let batch = Batch::parse(bytes)?;
    let header = batch.header;
    let mut builder = BatchBuilder::new(Options {
        codec,
        level,
        producer: header.has_producer_id().then_some((
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        )),
        transactional: header.is_transactional(),
        control: header.is_control(),
        base_offset: header.base_offset,
        ..Options::default()
    });
    for record in record_iter(&batch, scratch)? {
        builder.push_record(&record?)?;
    }
    let (bytes, stored) = finished(builder.build(), produced)?;
    let header = Batch::parse(bytes.clone())?.header;
    Ok((bytes, Produced { header, ..stored }))
}

/// The batch with its stamp. The log's indexes and retention go by the times in the header.
fn finished(bytes: Bytes, produced: &Produced) -> Result<(Bytes, Produced), RecordError> {
    let bytes = produced.finish(bytes)?;
    let mut stored = *produced;
    if produced.stamp.is_some() {
        stored.header = Batch::parse(bytes.clone())?.header;
        stored.stamp = None;
    }
    Ok((bytes, stored))
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_protocol::records::{Depth, ProduceRules, TimestampType, check_produced};

    fn rules(timestamp_type: TimestampType) -> ProduceRules {
        ProduceRules {
            depth: Depth::Full,
            batch_bytes_max: 1 << 20,
            inflated_bytes_max: 1 << 20,
            compacted: false,
            zstd_allowed: true,
            transactional_allowed: false,
            timestamp_type,
            now_ms: 5000,
            before_max_ms: i64::MAX,
            after_max_ms: i64::MAX,
        }
    }

    fn batch(codec: Codec) -> Bytes {
        let mut builder = BatchBuilder::new(Options {
            codec,
            producer: Some((9, 1, 40)),
            ..Options::default()
        });
        for at in [1000, 3000, 2000] {
            let value = [b'v'; 200];
            builder
                .push(at, Some(&at.to_be_bytes()), Some(&value), &[])
                .unwrap();
        }
        builder.build()
    }

    #[test]
    fn a_batch_is_stored_in_the_topics_codec_and_says_the_same() {
        let all = [
            Codec::None,
            Codec::Gzip,
            Codec::Snappy,
            Codec::Lz4,
            Codec::Zstd,
        ];
        for timestamp_type in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
            for (from, to) in all.iter().flat_map(|from| all.map(|to| (*from, to))) {
                let mut scratch = Scratch::new(1 << 20);
                let sent = batch(from);
                let rules = rules(timestamp_type);
                let produced = check_produced(&sent, &rules, &mut scratch).unwrap();
                let (bytes, kept) =
                    stored(sent, &produced, Some((to, None)), &mut scratch).unwrap();
                let batch = Batch::parse(bytes).unwrap();
                batch.verify_crc().unwrap();
                assert_eq!(batch.header.codec().unwrap(), to);
                assert_eq!(batch.header.timestamp_type(), timestamp_type);
                assert_eq!(batch.header.base_sequence, 40);
                assert_eq!(batch.header.last_offset_delta, 2);
                assert_eq!(kept.max_timestamp, produced.max_timestamp);
                assert_eq!(kept.header, batch.header, "what the log goes by");
                let records = record_iter(&batch, &mut scratch).unwrap();
                let times: Vec<i64> = records.map(|record| record.unwrap().timestamp).collect();
                match timestamp_type {
                    TimestampType::CreateTime => assert_eq!(times, [1000, 3000, 2000]),
                    TimestampType::LogAppendTime => assert_eq!(times, [5000; 3]),
                }
            }
        }
    }

    #[test]
    fn a_producers_own_codec_is_left_alone() {
        let mut scratch = Scratch::new(1 << 20);
        let sent = batch(Codec::Lz4);
        let rules = rules(TimestampType::CreateTime);
        let produced = check_produced(&sent, &rules, &mut scratch).unwrap();
        for codec in [None, Some(Codec::Lz4)] {
            let (bytes, _) = stored(
                sent.clone(),
                &produced,
                codec.map(|codec| (codec, None)),
                &mut scratch,
            )
            .unwrap();
            assert_eq!(bytes.as_ptr(), sent.as_ptr(), "not even copied");
        }
    }
}
