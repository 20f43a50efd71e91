//! Producer ids: handed out in blocks, never twice.

use std::ops::Range;

use millrace_protocol::metadata::{MetadataRecord, ProducerIdsRecord};

use super::Image;

/// Ids of one block, as in Kafka.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// The next block of producer ids for a broker, and the record that must be committed before an id
/// of it is used. `None` when the ids are used up.
pub fn allocate_producer_ids(
    image: &Image,
    broker_id: i32,
    broker_epoch: i64,
) -> Option<(Range<i64>, MetadataRecord)> {
    let first = image.next_producer_id();
    let next = first.checked_add(PRODUCER_ID_BLOCK)?;
    let record = ProducerIdsRecord {
        broker_id,
        broker_epoch,
        next_producer_id: next,
    };
    Some((first..next, MetadataRecord::ProducerIds(record)))
}
