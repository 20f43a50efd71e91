//! Which transactional batches a pass meets, and whether their markers still say something.
//!
//! Always: batches are told in the order of their offsets. A marker may go once no data of its
//! transaction is left in front of it; data of an aborted transaction may go at once. A transaction is
//! aborted if the log's index of aborted transactions says so, since its marker comes behind its data.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use millrace_protocol::records::{Batch, ControlType, RecordError, Scratch, record_iter};

/// A transaction that was aborted, as the log's index has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer_id: i64,
    /// Offset of its first record.
    pub first_offset: i64,
    /// Offset of its marker.
    pub last_offset: i64,
}

/// The transactions that a pass is in the middle of.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Those the pass has not come to, by first offset.
    ahead: VecDeque<AbortedTransaction>,
    /// By producer the aborted transaction that the pass is in.
    aborted: BTreeMap<i64, Aborted>,
    /// Producers of which data was met that no marker has aborted.
    committed: BTreeSet<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Aborted {
    /// Offset of the marker. It may be gone; then nothing else tells where the transaction ends.
    last_offset: i64,
    /// Whether data of it was met.
    met: bool,
}

impl Transactions {
    /// At the start of a pass over a range in which these transactions were aborted.
    pub(super) fn new(mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_by_key(|transaction| (transaction.first_offset, transaction.last_offset));
        Self {
            ahead: aborted.into(),
            ..Self::default()
        }
    }

    /// Whether a batch of data is one of an aborted transaction.
    pub(super) fn is_aborted(&mut self, batch: &Batch) -> bool {
        self.come_to(batch.header.last_offset());
        if !batch.header.is_transactional() {
            return false;
        }
        let producer_id = batch.header.producer_id;
        if let Some(aborted) = self.aborted.get_mut(&producer_id) {
            if batch.header.base_offset <= aborted.last_offset {
                aborted.met = true;
                return true;
            }
            self.aborted.remove(&producer_id);
        }
        self.committed.insert(producer_id);
        false
    }

    /// Whether a control batch is a marker of a transaction of which no data was met.
    pub(super) fn is_spent(
        &mut self,
        batch: &Batch,
        scratch: &mut Scratch,
    ) -> Result<bool, RecordError> {
        self.come_to(batch.header.last_offset());
        let Some(record) = record_iter(batch, scratch)?.next() else {
            return Ok(true);
        };
        let key = record?.key.ok_or(RecordError::Control("no key"))?;
        let producer_id = batch.header.producer_id;
        Ok(match ControlType::parse_key(key)? {
            ControlType::Abort => !self
                .aborted
                .remove(&producer_id)
                .is_some_and(|aborted| aborted.met),
            ControlType::Commit => !self.committed.remove(&producer_id),
            ControlType::LeaderChange
            | ControlType::SnapshotHeader
            | ControlType::SnapshotFooter
            | ControlType::KRaftVersion
            | ControlType::Voters
            | ControlType::Unknown(_) => false,
        })
    }

    fn come_to(&mut self, offset: i64) {
        while let Some(next) = self
            .ahead
            .front()
            .filter(|next| next.first_offset <= offset)
        {
            // Of one producer the earlier one ended before the later one began.
            let aborted = Aborted {
                last_offset: next.last_offset,
                met: false,
            };
            self.aborted.insert(next.producer_id, aborted);
            self.ahead.pop_front();
        }
    }
}
