//! Read buffers that are used again.
//!
//! Two sizes: one for the stream of small frames of a connection, one for a single large frame.
//! The pool keeps at most a fixed number of bytes; what is above, or of another size, goes back to
//! the allocator. It is emptied when nobody asked for a while, so that an idle node is small. A
//! buffer is never handed out with bytes in it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;

/// Capacity of a buffer for small frames.
pub(crate) const STREAM_BYTES: usize = super::budget::FREE_BYTES;

/// Capacity of a buffer for one large frame: Kafka's default batches of up to 1 MiB with room for
/// what surrounds them.
pub(crate) const LARGE_BYTES: usize = 1024 * 1024 + 64 * 1024;

/// Most buffers kept, of each size.
const STREAMS_KEPT_MAX: usize = 128;
const LARGE_KEPT_MAX: usize = 16;

/// The read buffers of a node that are not in use.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    streams: Vec<BytesMut>,
    large: Vec<BytesMut>,
    /// Most buffers of a size that were in the pool without being asked for since the last trim.
    streams_unused: usize,
    large_unused: usize,
}

impl BufferPool {
    /// An empty buffer with room for [`STREAM_BYTES`].
    pub(crate) fn stream(&self) -> BytesMut {
        let mut free = self.free();
        let buf = free.streams.pop();
        free.streams_unused = free.streams_unused.min(free.streams.len());
        drop(free);
        buf.unwrap_or_else(|| BytesMut::with_capacity(STREAM_BYTES))
    }

    /// An empty buffer with room for [`LARGE_BYTES`].
    pub(crate) fn large(&self) -> BytesMut {
        let mut free = self.free();
        let buf = free.large.pop();
        free.large_unused = free.large_unused.min(free.large.len());
        drop(free);
        buf.unwrap_or_else(|| BytesMut::with_capacity(LARGE_BYTES))
    }

    /// Takes a buffer back, whatever is in it. It is kept if nobody else holds a part of it, it has
    /// one of the two sizes and there is room in the pool.
    pub(crate) fn give(&self, mut buf: BytesMut) {
        buf.clear();
        let whole = |buf: &mut BytesMut, size| buf.capacity() == size || buf.try_reclaim(size);
        let is_large = buf.capacity() > STREAM_BYTES;
        let size = if is_large { LARGE_BYTES } else { STREAM_BYTES };
        if !whole(&mut buf, size) || buf.capacity() != size {
            return;
        }
        let mut free = self.free();
        if is_large && free.large.len() < LARGE_KEPT_MAX {
            free.large.push(buf);
        } else if !is_large && free.streams.len() < STREAMS_KEPT_MAX {
            free.streams.push(buf);
        }
    }

    /// Gives back to the allocator the buffers that nobody needed since the last call.
    pub(crate) fn trim(&self) {
        let mut free = self.free();
        let streams = free.streams.len() - free.streams_unused;
        let large = free.large.len() - free.large_unused;
        free.streams.truncate(streams);
        free.large.truncate(large);
        free.streams.shrink_to_fit();
        free.streams_unused = free.streams.len();
        free.large_unused = free.large.len();
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        // A list of free buffers is whole after any panic: each call changes it in one step.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pool: &BufferPool) -> (usize, usize) {
        let free = pool.free();
        (free.streams.len(), free.large.len())
    }

    #[test]
    fn a_buffer_comes_back_empty_and_whole() {
        let pool = BufferPool::default();
        let mut buf = pool.stream();
        buf.extend_from_slice(&[7; 100]);
        let frame = buf.split_to(60).freeze();
        let address = frame.as_ptr();
        drop(frame);
        pool.give(buf);
        let again = pool.stream();
        assert_eq!((again.len(), again.capacity()), (0, STREAM_BYTES));
        assert_eq!(again.as_ptr(), address, "the same memory is used again");
    }

    #[test]
    fn a_buffer_still_read_by_someone_is_not_kept() {
        let pool = BufferPool::default();
        let mut buf = pool.stream();
        buf.extend_from_slice(&[7; 100]);
        let frame = buf.split_to(60).freeze();
        pool.give(buf);
        assert_eq!(kept(&pool), (0, 0));
        assert_eq!(frame, vec![7; 60]);
    }

    #[test]
    fn odd_sizes_are_not_kept_and_the_number_kept_is_bounded() {
        let pool = BufferPool::default();
        pool.give(BytesMut::with_capacity(5 * 1024 * 1024));
        pool.give(BytesMut::with_capacity(10));
        assert_eq!(kept(&pool), (0, 0));
        for _ in 0..300 {
            pool.give(BytesMut::with_capacity(STREAM_BYTES));
            pool.give(BytesMut::with_capacity(LARGE_BYTES));
        }
        assert_eq!(kept(&pool), (STREAMS_KEPT_MAX, LARGE_KEPT_MAX));
    }

    #[test]
    fn what_nobody_needs_is_given_back() {
        let pool = BufferPool::default();
        for _ in 0..4 {
            pool.give(BytesMut::with_capacity(STREAM_BYTES));
        }
        pool.trim();
        let (a, b) = (pool.stream(), pool.stream());
        pool.give(a);
        pool.give(b);
        pool.trim();
        assert_eq!(
            kept(&pool).0,
            2,
            "two were in use at once since the last trim"
        );
        pool.trim();
        assert_eq!(kept(&pool).0, 0);
    }
}
