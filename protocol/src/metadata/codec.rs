//! Metadata records to bytes and back, in Kafka's frame.
//!
//! What holds: a record that is read has been read to its last byte; what can't be kept (an unknown
//! type, version, or a field without a place in our values) is an error, never dropped.

use bytes::Bytes;

use super::error::MetadataError;
use super::record::{
    BrokerRegistrationChangeRecord, ConfigRecord, FeatureLevelRecord, MetadataRecord,
    PartitionChangeRecord, PartitionRecord, ProducerIdsRecord, RegisterBrokerRecord,
    RemovedTopicData, TopicRecord,
};
use super::settings::NoOp;
use super::topic::RemoveTopic;
use super::wire::{Broken, Layout, Reader, write_unsigned};

/// The version of the frame (type and version in front of the record).
const FRAME_VERSION: u32 = 1;

impl MetadataRecord {
    /// The value of a record in the metadata log.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::RegisterBroker(record) => frame(record, &mut out),
            Self::BrokerRegistrationChange(record) => frame(record, &mut out),
            Self::Topic(record) => frame(record, &mut out),
            Self::Partition(record) => frame(record, &mut out),
            Self::PartitionChange(record) => frame(record, &mut out),
            Self::RemoveTopic(topic_id) => {
                let record = RemoveTopic {
                    topic_id: *topic_id,
                    pending: None,
                };
                frame(&record, &mut out);
            }
            Self::RemovedTopicData(data) => {
                let record = RemoveTopic {
                    topic_id: data.topic_id,
                    pending: Some(data.pending.clone()),
                };
                frame(&record, &mut out);
            }
            Self::Config(record) => frame(record, &mut out),
            Self::FeatureLevel(record) => frame(record, &mut out),
            Self::ProducerIds(record) => frame(record, &mut out),
            Self::NoOp => frame(&NoOp, &mut out),
        }
        Bytes::from(out)
    }

    /// Reads the value of a record in the metadata log, all of it.
    pub fn decode(value: &[u8]) -> Result<Self, MetadataError> {
        let mut bytes = Reader::new(value);
        let frame_version = bytes.unsigned().ok();
        if frame_version != Some(FRAME_VERSION) {
            return Err(MetadataError::Frame(frame_version));
        }
        let broken = |_| MetadataError::Malformed {
            record: "frame",
            what: "ends too early",
        };
        let key = bytes.unsigned().map_err(broken)?;
        let version = bytes.unsigned().map_err(broken)?;
        Ok(match key {
            RegisterBrokerRecord::KEY => Self::RegisterBroker(unframe(bytes, version)?),
            BrokerRegistrationChangeRecord::KEY => {
                Self::BrokerRegistrationChange(unframe(bytes, version)?)
            }
            TopicRecord::KEY => Self::Topic(unframe(bytes, version)?),
            PartitionRecord::KEY => Self::Partition(unframe(bytes, version)?),
            PartitionChangeRecord::KEY => Self::PartitionChange(unframe(bytes, version)?),
            RemoveTopic::KEY => {
                let RemoveTopic { topic_id, pending } = unframe(bytes, version)?;
                match pending {
                    None => Self::RemoveTopic(topic_id),
                    Some(pending) => Self::RemovedTopicData(RemovedTopicData { topic_id, pending }),
                }
            }
            ConfigRecord::KEY => Self::Config(unframe(bytes, version)?),
            FeatureLevelRecord::KEY => Self::FeatureLevel(unframe(bytes, version)?),
            ProducerIdsRecord::KEY => Self::ProducerIds(unframe(bytes, version)?),
            NoOp::KEY => {
                let NoOp = unframe(bytes, version)?;
                Self::NoOp
            }
            other => return Err(MetadataError::UnknownType(other)),
        })
    }
}

fn frame<R: Layout>(record: &R, out: &mut Vec<u8>) {
    write_unsigned(out, FRAME_VERSION);
    write_unsigned(out, R::KEY);
    write_unsigned(out, R::WRITTEN);
    record.write(out);
}

/// Reads all of `bytes` as one record of `version`.
pub(super) fn unframe<R: Layout>(mut bytes: Reader<'_>, version: u32) -> Result<R, MetadataError> {
    let record = R::NAME;
    if version > R::NEWEST {
        return Err(MetadataError::UnknownVersion {
            record,
            version,
            known: R::NEWEST,
        });
    }
    let value = R::read(&mut bytes, version).map_err(|broken| match broken {
        Broken::Layout(what) => MetadataError::Malformed { record, what },
        Broken::Unsupported(what) => MetadataError::Unsupported { record, what },
    })?;
    if !bytes.is_at_end() {
        return Err(MetadataError::Malformed {
            record,
            what: "bytes follow its end",
        });
    }
    Ok(value)
}
