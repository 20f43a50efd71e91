//! Memory of batches, used again: the buffer of a batch that was stored is the next one's.
//!
//! A buffer that grows as records come is copied each time it does, and memory that was just had of the
//! system costs a page fault for each four KiB of it: together a third of what a record of a KiB took.
//!
//! What always holds: what waits to be used again is at most an eighth of the producer's buffer, and so is
//! what open batches hold of it that they may never fill.

use std::sync::Arc;

use super::batch::Content;

/// The part of the producer's buffer that may be kept beside it, and that may be lent.
const SHARE: usize = 8;

/// The buffers.
#[derive(Debug)]
pub(super) struct Buffers {
    /// What a batch is closed at: each buffer holds so much.
    batch_bytes: usize,
    /// Most of them that wait, and most that are lent.
    count_max: usize,
    idle: Vec<Vec<u8>>,
    /// Held once by this and once by each that is lent.
    lent: Arc<()>,
}

/// Held by an open batch in a buffer that is larger than it may come to need.
#[derive(Debug)]
pub(super) struct Lent(#[expect(dead_code, reason = "it counts while it is held")] Arc<()>);

impl Buffers {
    pub(super) fn new(batch_bytes: usize, buffer_bytes_max: usize) -> Self {
        Self {
            batch_bytes,
            count_max: buffer_bytes_max / SHARE / batch_bytes.max(1),
            idle: Vec::new(),
            lent: Arc::default(),
        }
    }

    /// A buffer for a batch that is expected to become full, if there is one.
    pub(super) fn take(&mut self) -> Option<(Vec<u8>, Lent)> {
        // One of them is ours.
        if Arc::strong_count(&self.lent) > self.count_max {
            return None;
        }
        let mut buffer = self.idle.pop()?;
        buffer.reserve_exact(self.batch_bytes);
        Some((buffer, Lent(Arc::clone(&self.lent))))
    }

    /// Takes the buffer of a batch that nobody needs any more.
    pub(super) fn give_back(&mut self, content: Content) {
        let Content::Encoded { batch, .. } = content else {
            return;
        };
        let is_of_size = (self.batch_bytes / 2..=self.batch_bytes * 2).contains(&batch.len());
        if self.idle.len() >= self.count_max || !is_of_size || !batch.is_unique() {
            return;
        }
        let mut buffer = Vec::from(batch);
        buffer.clear();
        self.idle.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn stored(bytes: usize) -> Content {
        Content::Encoded {
            batch: Bytes::from(vec![7; bytes]),
            stamp: None,
        }
    }

    #[test]
    fn the_buffer_of_a_stored_batch_is_the_next_ones() {
        let mut buffers = Buffers::new(1000, 1 << 20);
        assert!(buffers.take().is_none());
        buffers.give_back(stored(900));
        let (buffer, _lent) = buffers.take().unwrap();
        assert!(buffer.is_empty() && buffer.capacity() >= 1000);
        let again = stored(1000);
        let same = again.bytes().map(|batch| batch.as_ptr());
        buffers.give_back(again);
        let (buffer, _lent) = buffers.take().unwrap();
        assert_eq!(same, Some(buffer.as_ptr()), "a full one isn't moved");
    }

    #[test]
    fn what_is_kept_and_what_is_lent_have_a_limit() {
        let mut buffers = Buffers::new(1000, 3 * SHARE * 1000);
        for bytes in [10, 2001, 1000, 1000, 1000, 1000] {
            buffers.give_back(stored(bytes));
        }
        assert_eq!(buffers.idle.len(), 3);
        let lent: Vec<_> = std::iter::from_fn(|| buffers.take()).collect();
        assert_eq!(lent.len(), 3);
        buffers.give_back(stored(1000));
        assert!(buffers.take().is_none(), "three are lent");
        drop(lent);
        assert!(buffers.take().is_some());
    }

    #[test]
    fn what_somebody_still_reads_is_not_taken() {
        let mut buffers = Buffers::new(1000, 1 << 20);
        let batch = stored(1000);
        let reader = batch.bytes();
        buffers.give_back(batch);
        assert!(buffers.take().is_none());
        assert_eq!(reader.map(|read| read.len()), Some(1000));
    }
}
