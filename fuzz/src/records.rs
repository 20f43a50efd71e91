//! Target: record batches as producers send them: checking, reading, searching, recompressing.
//!
//! Held: a batch that was accepted can be read record by record, by everyone, and says the same in
//! every codec; what the check told of it is true; what was refused can still be walked without
//! harm.

use bytes::Bytes;
use millrace_protocol::records::{
    Batch, BatchBuilder, BatchHeader, Codec, Depth, Marker, Options, ProduceRules, Produced,
    Record, Scratch, TimestampType, batches, check_produced, emptied, first_at_or_after,
    greatest_timestamp, record_iter, verify_crc,
};

use crate::allocation::{Bound, within};
use crate::input::Input;
use crate::{progress, seals};

/// The cap on a batch's content.
const INFLATED_BYTES_MAX: usize = 64 * 1024;

/// Content in a vector that doubles as it grows, one block of it, and the codecs' contexts.
const READING: Bound = Bound::with_fixed(4 * INFLATED_BYTES_MAX + 128 * 1024);

const SEALED: u8 = 1;
const HEADER_ONLY: u8 = 1 << 1;
const COMPACTED: u8 = 1 << 2;
const LOG_APPEND_TIME: u8 = 1 << 3;
const ZSTD_REFUSED: u8 = 1 << 4;
const TIMES_BOUND: u8 = 1 << 5;
const TRANSACTIONAL: u8 = 1 << 6;

/// One input: which rules, then the batch. With a bit set its length and checksum are made right,
/// so that what lies behind them is reached.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let flags = input.byte();
    let mut batch = input.0.to_vec();
    if flags & SEALED != 0 {
        seals::batch(&mut batch);
    }
    let batch = Bytes::from(batch);
    walk(&batch);
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    let rules = rules(flags);
    let produced = within(READING, batch.len(), || {
        check_produced(&batch, &rules, &mut scratch)
    });
    if verify_crc(&batch) {
        progress::past_the_header();
    }
    match produced {
        Ok(produced) => accepted(&batch, &rules, &produced, &mut scratch),
        Err(refusal) => drop((refusal.to_string(), refusal.error_code())),
    }
}

fn rules(flags: u8) -> ProduceRules {
    let bound = flags & TIMES_BOUND != 0;
    ProduceRules {
        depth: if flags & HEADER_ONLY == 0 {
            Depth::Full
        } else {
            Depth::Header
        },
        batch_bytes_max: 1 << 20,
        inflated_bytes_max: INFLATED_BYTES_MAX,
        compacted: flags & COMPACTED != 0,
        zstd_allowed: flags & ZSTD_REFUSED == 0,
        transactional_allowed: flags & TRANSACTIONAL != 0,
        timestamp_type: if flags & LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        },
        now_ms: 1_700_000_000_000,
        before_max_ms: if bound { 3_600_000 } else { i64::MAX },
        after_max_ms: if bound { 3_600_000 } else { i64::MAX },
    }
}

/// What a reader of a log does with bytes it knows nothing of.
fn walk(bytes: &Bytes) {
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    let (mut taken, mut run) = (0, batches(bytes.clone()));
    while let Some(batch) = run.next() {
        let Ok(batch) = batch else {
            assert!(run.next().is_none(), "nothing follows an error");
            break;
        };
        taken += batch.bytes.len();
        assert_eq!(batch.verify_crc().is_ok(), verify_crc(&batch.bytes));
        within(READING, bytes.len(), || read_on(&batch, &mut scratch));
        let kept = emptied(&batch.header);
        let kept = Batch::parse(kept).expect("an emptied batch is a batch");
        kept.verify_crc().expect("with a right checksum");
        assert_eq!(kept.header.last_offset(), batch.header.last_offset());
    }
    assert!(taken <= bytes.len(), "batches are cut from the bytes there");
}

fn read_on(batch: &Batch, scratch: &mut Scratch) {
    if let Ok(mut records) = record_iter(batch, scratch) {
        let mut count = 0;
        while let Some(Ok(record)) = records.next() {
            let headers = record.headers.clone();
            assert_eq!(headers.len(), record.headers.count(), "headers are whole");
            count += 1;
        }
        assert!(
            records.next().is_none(),
            "nothing follows the end or an error"
        );
        assert!(count <= batch.header.record_count, "no more than was said");
    }
    // Malformed records are errors here as well; each has been told by its name above.
    drop(greatest_timestamp(batch, scratch));
    drop(first_at_or_after(batch, 0, 0, scratch));
    drop(Marker::of_batch(batch, scratch));
}

fn accepted(bytes: &Bytes, rules: &ProduceRules, produced: &Produced, scratch: &mut Scratch) {
    let stored = produced.finish(bytes.clone()).expect("it is a whole batch");
    let batch = Batch::parse(stored).expect("an accepted batch is one batch");
    batch.verify_crc().expect("with a right checksum");
    assert_eq!(batch.header.max_timestamp, produced.max_timestamp);
    assert_eq!(batch.header.timestamp_type(), rules.timestamp_type);
    if rules.depth == Depth::Header {
        return;
    }
    let records = contents(&batch, scratch);
    assert_eq!(records.len(), batch.header.record_count as usize);
    for (at, record) in (0..).zip(&records) {
        assert_eq!(record.offset, at, "offsets run from 0");
        assert!(record.key.is_some() || !rules.compacted, "a key is there");
    }
    let latest = records.iter().map(|record| record.timestamp).max();
    assert_eq!(latest.map(|at| at.max(-1)), Some(produced.max_timestamp));
    let greatest = greatest_timestamp(&batch, scratch).expect("its records can be read");
    let greatest = greatest.expect("it has records");
    assert_eq!(Some(greatest.timestamp), latest);
    let found = first_at_or_after(&batch, greatest.timestamp, 0, scratch);
    assert_eq!(found.expect("its records can be read"), Some(greatest));
    for codec in Codec::ALL {
        recompressed(&batch, codec, &records, scratch);
    }
}

/// A record that does not borrow from its batch.
#[derive(Debug, PartialEq)]
struct Content {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl From<Record<'_>> for Content {
    fn from(record: Record<'_>) -> Self {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let headers = record.headers.clone();
        Self {
            offset: record.offset,
            timestamp: record.timestamp,
            key: owned(record.key),
            value: owned(record.value),
            headers: headers
                .map(|header| (header.key.to_vec(), owned(header.value)))
                .collect(),
        }
    }
}

fn contents(batch: &Batch, scratch: &mut Scratch) -> Vec<Content> {
    let records = record_iter(batch, scratch).expect("an accepted batch can be opened");
    let content = |record: Result<Record<'_>, _>| {
        Content::from(record.expect("each of its records can be read"))
    };
    records.map(content).collect()
}

/// The batch in another codec, made as the broker makes it, says the same.
fn recompressed(batch: &Batch, codec: Codec, records: &[Content], scratch: &mut Scratch) {
    let header = batch.header;
    let mut builder = BatchBuilder::new(Options {
        codec,
        timestamp_type: header.timestamp_type(),
        producer: producer(&header),
        transactional: header.is_transactional(),
        ..Options::default()
    });
    for record in record_iter(batch, scratch).expect("it was read before") {
        let record = record.expect("it was read before");
        builder.push_record(&record).expect("there is room for it");
    }
    let made = Batch::parse(builder.build()).expect("what is built is a batch");
    made.verify_crc().expect("with a right checksum");
    let same = |header: BatchHeader| {
        (
            (header.base_offset, header.last_offset_delta),
            (header.record_count, header.timestamp_type()),
            (header.max_timestamp, header.is_transactional()),
            producer(&header),
        )
    };
    assert_eq!(same(made.header), same(header));
    assert_eq!(contents(&made, scratch), records, "{codec:?}");
}

fn producer(header: &BatchHeader) -> Option<(i64, i16, i32)> {
    let producer = (
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
    );
    header.has_producer_id().then_some(producer)
}
