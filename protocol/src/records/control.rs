//! Control records: what brokers write among the records and no application sees.
//!
//! Key: version (int16, 0) and type (int16). Types: 0 ABORT and 1 COMMIT end a transaction in a
//! partition (value: version 0, coordinator epoch); 2 to 6 belong to Raft logs and are read by
//! the `metadata` module. Unknown types are legal and to be skipped.

use bytes::Bytes;

use super::batch::Batch;
use super::build::{BatchBuilder, Options};
use super::error::RecordError;
use super::read::{Record, Scratch, record_iter};

/// Version of control record keys and of the values of transaction markers.
const VERSION: i16 = 0;

/// The type in a control record's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlType {
    /// 0: the transaction was aborted.
    Abort,
    /// 1: the transaction was committed.
    Commit,
    /// 2: a new Raft leader.
    LeaderChange,
    /// 3: first record of a snapshot.
    SnapshotHeader,
    /// 4: last record of a snapshot.
    SnapshotFooter,
    /// 5: the finalized `kraft.version`.
    KRaftVersion,
    /// 6: the set of Raft voters.
    Voters,
    /// Any other: to be skipped.
    Unknown(i16),
}

impl ControlType {
    /// The type with this number.
    pub fn from_id(id: i16) -> Self {
        match id {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KRaftVersion,
            6 => Self::Voters,
            other => Self::Unknown(other),
        }
    }

    /// Its number.
    pub fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KRaftVersion => 5,
            Self::Voters => 6,
            Self::Unknown(id) => id,
        }
    }

    /// Reads a control record's key. Later versions of keys only add to the end, so they are accepted.
    pub fn parse_key(key: &[u8]) -> Result<Self, RecordError> {
        let (version, rest) = int16(key).ok_or(RecordError::Control("key too short"))?;
        if version < VERSION {
            return Err(RecordError::Control("negative key version"));
        }
        let (id, _) = int16(rest).ok_or(RecordError::Control("key too short"))?;
        Ok(Self::from_id(id))
    }

    /// The key of a control record of this type.
    pub fn key(self) -> [u8; 4] {
        let [v0, v1] = VERSION.to_be_bytes();
        let [t0, t1] = self.id().to_be_bytes();
        [v0, v1, t0, t1]
    }
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionEnd {
    /// Its records are to be skipped by readers of committed data.
    Abort,
    /// Its records count.
    Commit,
}

/// The end of one producer's transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Commit or abort.
    pub end: TransactionEnd,
    /// Epoch of the transaction coordinator that wrote it.
    pub coordinator_epoch: i32,
}

impl Marker {
    /// Reads a marker from a control record; `None` when the record is of another type.
    pub fn parse(record: &Record<'_>) -> Result<Option<Self>, RecordError> {
        let key = record.key.ok_or(RecordError::Control("no key"))?;
        let end = match ControlType::parse_key(key)? {
            ControlType::Abort => TransactionEnd::Abort,
            ControlType::Commit => TransactionEnd::Commit,
            ControlType::LeaderChange
            | ControlType::SnapshotHeader
            | ControlType::SnapshotFooter
            | ControlType::KRaftVersion
            | ControlType::Voters
            | ControlType::Unknown(_) => return Ok(None),
        };
        let value = record
            .value
            .ok_or(RecordError::Control("marker without a value"))?;
        let (version, rest) = int16(value).ok_or(RecordError::Control("marker too short"))?;
        if version < VERSION {
            return Err(RecordError::Control("negative marker version"));
        }
        let epoch = rest
            .first_chunk::<4>()
            .ok_or(RecordError::Control("marker too short"))?;
        Ok(Some(Self {
            end,
            coordinator_epoch: i32::from_be_bytes(*epoch),
        }))
    }

    /// Reads the marker of a control batch; `None` for a batch of other control records, or none.
    pub fn of_batch(batch: &Batch, scratch: &mut Scratch) -> Result<Option<Self>, RecordError> {
        if !batch.header.is_control() {
            return Ok(None);
        }
        match record_iter(batch, scratch)?.next() {
            Some(record) => Self::parse(&record?),
            None => Ok(None),
        }
    }

    /// The batch that ends the transaction of `(producer id, epoch)`: control and transactional, one
    /// record, no sequence number. Base offset and leader epoch are for the leader to set.
    pub fn batch(self, producer: (i64, i16), timestamp_ms: i64) -> Bytes {
        let mut value = [0; 6];
        value[..2].copy_from_slice(&VERSION.to_be_bytes());
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        let control_type = match self.end {
            TransactionEnd::Abort => ControlType::Abort,
            TransactionEnd::Commit => ControlType::Commit,
        };
        let options = Options {
            producer: Some((producer.0, producer.1, -1)),
            transactional: true,
            ..Options::default()
        };
        control_batch(options, control_type, &value, timestamp_ms)
    }
}

/// A batch of one control record; `options` say whose (its `control` is set here).
pub fn control_batch(
    options: Options,
    control_type: ControlType,
    value: &[u8],
    timestamp_ms: i64,
) -> Bytes {
    let mut builder = BatchBuilder::new(Options {
        control: true,
        ..options
    });
    builder
        .push(timestamp_ms, Some(&control_type.key()), Some(value), &[])
        .expect("one control record is far below a batch's limits");
    builder.build()
}

fn int16(bytes: &[u8]) -> Option<(i16, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    Some((i16::from_be_bytes(*head), rest))
}
