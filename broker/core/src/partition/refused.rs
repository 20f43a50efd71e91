//! First batches that the log did not take: what an unknown producer must send again first.
//!
//! Of a producer that a partition doesn't know, Kafka takes any sequence: its state may have
//! expired. When the first batch of several in flight is refused because there is no room, the one
//! behind it may fit, and would be in the log before it. Always: while a producer is here, nothing
//! of its epoch behind the refused sequence is taken; a new epoch, or the batch itself, ends that.

use std::collections::BTreeMap;

use super::append::PlannedWrite;
use super::producers::BatchProducer;
use super::reject::Reject;

/// Most producers remembered; beyond it the lowest producer id, the oldest one, is forgotten.
const REFUSED_FIRSTS_MAX: usize = 1_000;

/// Producer id to the epoch and the first sequence of the batch that was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RefusedFirsts(BTreeMap<i64, (i16, i32)>);

impl RefusedFirsts {
    /// Refuses a batch that comes behind one that was refused.
    pub(super) fn check(&self, producer: BatchProducer) -> Result<(), Reject> {
        match self.0.get(&producer.producer_id) {
            Some((epoch, first))
                if *epoch == producer.producer_epoch && producer.base_sequence > *first =>
            {
                Err(Reject::OutOfOrderSequence {
                    producer_id: producer.producer_id,
                    producer_epoch: producer.producer_epoch,
                    sequence: producer.base_sequence,
                    expected: *first,
                })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A batch of a producer that isn't known was not taken.
    pub(super) fn note(&mut self, producer: BatchProducer) {
        let refused = (producer.producer_epoch, producer.base_sequence);
        self.0.insert(producer.producer_id, refused);
        if self.0.len() > REFUSED_FIRSTS_MAX {
            self.0.pop_first();
        }
    }

    /// The log took a batch of that producer.
    pub(super) fn taken(&mut self, plan: &PlannedWrite) {
        if let Some(update) = &plan.producer {
            self.0.remove(&update.producer_id);
        }
    }
}
