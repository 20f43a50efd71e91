//! Kafka's rules for what a client may append: one partition's `records` of a Produce request.
//!
//! What passes is one batch of format 2, complete, with a right checksum, whose records every consumer
//! can read (compressed ones are opened in a stream that keeps one chunk), whose offsets run 0..n and
//! whose times the topic accepts. Nothing is allocated for a batch that passes, beyond the reused
//! [`Scratch`]. Records inside a batch are records: a batch within a batch (message formats 0 and 1)
//! doesn't exist in format 2, so compression can't nest.

use bytes::Bytes;

use super::batch::{Stamp, checksum};
use super::compression::Codec;
use super::error::RecordError;
use super::header::{BatchHeader, HEADER_LEN, MAGIC, NONE, TimestampType};
use super::read::{Scratch, record_time};
use super::refusal::{RECORD_FAULTS_MAX, RecordFault, Refusal};
use super::scan::{Inflating, Outline, Plain, Source, Walk};

/// How much of a batch is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// Header, checksum and every record, as Kafka does (`record.validation=full`).
    #[default]
    Full,
    /// Header and checksum only, for trusted producers (`record.validation=header`). Null keys and the
    /// records' own times are then not seen; the header's times are.
    Header,
}

/// The rules of the topic and the request a batch is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProduceRules {
    /// How much of the batch is looked at.
    pub depth: Depth,
    /// Largest batch, in bytes (`max.message.bytes`).
    pub batch_bytes_max: usize,
    /// Largest decompressed content, in bytes.
    pub inflated_bytes_max: usize,
    /// Whether records need a key (`cleanup.policy` contains `compact`).
    pub compacted: bool,
    /// Whether zstd may be used (Produce v7 and later).
    pub zstd_allowed: bool,
    /// Whether transactional batches may be appended.
    pub transactional_allowed: bool,
    /// The topic's timestamp type (`message.timestamp.type`).
    pub timestamp_type: TimestampType,
    /// The time of the append (ms since 1970).
    pub now_ms: i64,
    /// How far in the past a record may be (`message.timestamp.before.max.ms`).
    pub before_max_ms: i64,
    /// How far in the future a record may be (`message.timestamp.after.max.ms`).
    pub after_max_ms: i64,
}

/// A batch that may be appended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Produced {
    /// Its header, as the client sent it.
    pub header: BatchHeader,
    /// What must be stamped into the batch before it is appended, if anything: the time of append on
    /// `LogAppendTime` topics, or the true greatest time where the client's header states another
    /// (Kafka corrects that too).
    pub stamp: Option<Stamp>,
    /// Greatest time of the batch as it will be stored (ms).
    pub max_timestamp: i64,
}

impl Produced {
    /// The batch as it is to be appended: `bytes` itself, or a stamped copy.
    pub fn finish(&self, bytes: Bytes) -> Result<Bytes, RecordError> {
        match self.stamp {
            None => Ok(bytes),
            Some(stamp) => stamp.stamped(bytes),
        }
    }
}

/// Holds `bytes` to `rules`; see the module's head for what a batch must be.
///
/// Checks run from cheap to dear, so that a refused batch costs little: shape and header, size,
/// checksum, then (if asked for) the records.
pub fn check_produced(
    bytes: &Bytes,
    rules: &ProduceRules,
    scratch: &mut Scratch,
) -> Result<Produced, Refusal> {
    let header = shape(bytes)?;
    if bytes.len() > rules.batch_bytes_max {
        return Err(Refusal::TooLarge {
            size: bytes.len(),
            limit: rules.batch_bytes_max,
        });
    }
    let computed = checksum(bytes);
    if computed != header.crc {
        return Err(Refusal::Corrupt(RecordError::Crc {
            stored: header.crc,
            computed,
        }));
    }
    check_header(&header, rules)?;
    let codec = header.codec().map_err(Refusal::from_walk)?;
    if codec == Codec::Zstd && !rules.zstd_allowed {
        return Err(Refusal::Codec(codec.id()));
    }
    let records = &bytes[HEADER_LEN..];
    let true_maximum = match (rules.depth, codec) {
        (Depth::Header, _) => {
            check_header_times(&header, rules)?;
            header.max_timestamp
        }
        (Depth::Full, Codec::None) => check_records(&header, rules, Plain::new(records))?,
        (Depth::Full, _) => {
            let stream = scratch
                .decompressor
                .stream(codec, records, rules.inflated_bytes_max)
                .map_err(|error| Refusal::from_walk(error.into()))?;
            check_records(&header, rules, Inflating::new(stream))?
        }
    };
    let (stamp, max_timestamp) = match rules.timestamp_type {
        TimestampType::LogAppendTime => (true, rules.now_ms),
        TimestampType::CreateTime => (true_maximum != header.max_timestamp, true_maximum),
    };
    let stamp = stamp.then_some(Stamp {
        timestamp_type: rules.timestamp_type,
        max_timestamp,
    });
    Ok(Produced {
        header,
        stamp,
        max_timestamp,
    })
}

/// Whether `bytes` are exactly one batch of format 2, by its length.
fn shape(bytes: &Bytes) -> Result<BatchHeader, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::BatchCount("none"));
    }
    let Some(head) = bytes.first_chunk::<HEADER_LEN>() else {
        let cut = RecordError::Truncated {
            needed: HEADER_LEN,
            available: bytes.len(),
        };
        return Err(match bytes.get(16) {
            Some(&magic) if magic != MAGIC as u8 => Refusal::Magic(magic as i8),
            _ => Refusal::Corrupt(cut),
        });
    };
    let header = BatchHeader::read(head);
    if header.magic != MAGIC {
        return Err(Refusal::Magic(header.magic));
    }
    let size = header.size();
    if size < HEADER_LEN {
        return Err(Refusal::Corrupt(RecordError::Length(header.batch_length)));
    }
    if size > bytes.len() {
        let cut = RecordError::Truncated {
            needed: size,
            available: bytes.len(),
        };
        return Err(Refusal::Corrupt(cut));
    }
    if size < bytes.len() {
        return Err(match BatchHeader::parse(&bytes[size..]) {
            Ok(_) => Refusal::BatchCount("several"),
            Err(_) => Refusal::Corrupt(RecordError::TrailingBytes(bytes.len() - size)),
        });
    }
    Ok(header)
}

/// The rules for header fields; the checksum is right, so a wrong field is the client's doing.
fn check_header(header: &BatchHeader, rules: &ProduceRules) -> Result<(), Refusal> {
    let none = i64::from(NONE);
    let broken = if header.base_offset != 0 {
        "base offset is not 0"
    } else if header.record_count <= 0 {
        "record count is not positive"
    } else if header.last_offset_delta.checked_add(1) != Some(header.record_count) {
        "last offset delta does not fit the record count"
    } else if header.is_control() {
        "clients may not write control records"
    } else if header.has_delete_horizon() {
        "clients may not set a delete horizon"
    } else if header.producer_id < none {
        "producer id is below -1"
    } else if header.has_producer_id() && header.base_sequence < 0 {
        "producer id without a sequence number"
    } else if header.has_producer_id() && header.producer_epoch < 0 {
        "producer id without an epoch"
    } else if header.is_transactional() && !header.has_producer_id() {
        "transactional batch without a producer id"
    } else if header.is_transactional() && !rules.transactional_allowed {
        "transactional batches are not accepted here"
    } else {
        return Ok(());
    };
    Err(Refusal::Invalid(broken))
}

/// All that can be said about times without opening the batch.
fn check_header_times(header: &BatchHeader, rules: &ProduceRules) -> Result<(), Refusal> {
    let mut faults = Vec::new();
    for timestamp in [header.base_timestamp, header.max_timestamp] {
        check_time(header, rules, 0, timestamp, &mut faults);
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Refusal::Timestamps(faults))
    }
}

/// Walks all records and gives their greatest time.
fn check_records(
    header: &BatchHeader,
    rules: &ProduceRules,
    source: impl Source,
) -> Result<i64, Refusal> {
    let mut walk = Walk::new(source);
    let mut max_timestamp = i64::from(NONE);
    let (mut late, mut faults) = (Vec::new(), Vec::new());
    for index in 0..header.record_count {
        let outline = walk.record().map_err(Refusal::from_walk)?;
        check_place(rules, index, outline, &mut faults);
        let Some(timestamp) = record_time(header, outline.timestamp_delta) else {
            let what = "timestamp outside 64 bits";
            let index = usize::try_from(index).unwrap_or(0);
            return Err(Refusal::Unreadable(RecordError::Record { index, what }));
        };
        check_time(header, rules, index, timestamp, &mut late);
        max_timestamp = max_timestamp.max(timestamp);
    }
    walk.finish().map_err(Refusal::from_walk)?;
    if !late.is_empty() {
        // As in Kafka: one record out of time makes the batch's error, whatever else is wrong.
        late.append(&mut faults);
        late.sort_by_key(|fault| fault.index);
        late.truncate(RECORD_FAULTS_MAX);
        return Err(Refusal::Timestamps(late));
    }
    if !faults.is_empty() {
        return Err(Refusal::Records(faults));
    }
    Ok(max_timestamp)
}

/// A record's offset delta is its position, and it has a key where one is needed.
fn check_place(rules: &ProduceRules, index: i32, outline: Outline, faults: &mut Vec<RecordFault>) {
    if faults.len() >= RECORD_FAULTS_MAX {
        return;
    }
    if outline.offset_delta != index {
        let found = outline.offset_delta;
        faults.push(RecordFault {
            index,
            message: format!("record {index} has offset delta {found}, expected {index}"),
        });
    } else if rules.compacted && !outline.has_key {
        faults.push(RecordFault {
            index,
            message: format!("record {index} has no key; compacted topics need one"),
        });
    }
}

/// A record's time is within the topic's bounds; "no timestamp" (-1) always is.
fn check_time(
    header: &BatchHeader,
    rules: &ProduceRules,
    index: i32,
    timestamp: i64,
    faults: &mut Vec<RecordFault>,
) {
    if rules.timestamp_type == TimestampType::LogAppendTime || faults.len() >= RECORD_FAULTS_MAX {
        return;
    }
    let behind = rules.now_ms.saturating_sub(timestamp);
    let ahead = timestamp.saturating_sub(rules.now_ms);
    let message = if header.timestamp_type() == TimestampType::LogAppendTime {
        "a producer must not set the timestamp type to LogAppendTime".to_owned()
    } else if timestamp == i64::from(NONE) {
        return;
    } else if behind > rules.before_max_ms {
        let limit = rules.before_max_ms;
        format!("timestamp {timestamp} lies {behind} ms in the past, at most {limit} allowed")
    } else if ahead > rules.after_max_ms {
        let limit = rules.after_max_ms;
        format!("timestamp {timestamp} lies {ahead} ms in the future, at most {limit} allowed")
    } else {
        return;
    };
    faults.push(RecordFault { index, message });
}
