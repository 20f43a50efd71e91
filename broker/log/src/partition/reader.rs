//! The reader half: look-ups and regions, outside the partition's lock.
//!
//! A reader works on the segment list as it stood when the call began. What always holds: a region
//! begins at the first byte of a batch, holds at least one whole batch unless the caller refused
//! that, and no byte of the batch that starts at `upto` or of any later one; it never reaches behind
//! what recovery found intact, nor behind a batch that does not follow the one before (A5).

use millrace_host::FileSlice;
use millrace_host::sync::atomic::{AtomicU64, Ordering};
use millrace_host::sync::{Arc, ArcSwap, Weak};

use crate::error::Error;
use crate::handles::Handles;
use crate::segment::Segment;
use crate::segment::list::SegmentList;
use crate::segment::names;
use crate::segment::tail::Span;
use crate::segment::{headers, lookup};

/// Reads one partition. Shared by everyone; never blocks the writer.
#[derive(Debug)]
pub struct LogReader {
    list: ArcSwap<SegmentList>,
    handles: Arc<Handles>,
    index_interval_bytes: AtomicU64,
    /// The leader epochs of what was there when the log was opened, and their first offsets.
    pub(super) epochs: Vec<(i32, i64)>,
}

/// The segments of a log as they were once: to be told later whether they still are.
#[derive(Clone, Debug)]
pub struct Shape(Weak<SegmentList>);

/// What a read found.
#[derive(Debug)]
pub enum Read {
    /// Bytes of whole batches; the last one may be cut off behind a first whole one, as in Kafka.
    Region(ReadRegion),
    /// Nothing between the offset and the bound, or the first batch is larger than allowed.
    Empty,
    /// The offset lies outside the log.
    OutOfRange {
        /// First offset of the log.
        log_start: i64,
        /// The offset after its last record.
        log_end: i64,
    },
}

/// A part of one segment, ready to be sent.
#[derive(Clone, Debug)]
pub struct ReadRegion {
    /// The bytes. The file stays open as long as this lives.
    pub slice: FileSlice,
    /// Base offset of the first batch; at or below the offset asked for, unless that lies in a hole.
    pub first_offset: i64,
    /// Bytes of the first batch.
    pub first_size: u64,
}

impl LogReader {
    pub(super) fn new(
        list: SegmentList,
        handles: Arc<Handles>,
        index_interval_bytes: u64,
        epochs: Vec<(i32, i64)>,
    ) -> Self {
        Self {
            list: ArcSwap::from_pointee(list),
            handles,
            index_interval_bytes: AtomicU64::new(index_interval_bytes),
            epochs,
        }
    }

    /// The list as it stands.
    pub(crate) fn list(&self) -> Arc<SegmentList> {
        self.list.load_full()
    }

    /// Which segments there are now.
    pub fn shape(&self) -> Shape {
        Shape(Arc::downgrade(&self.list()))
    }

    /// Whether no segment came or went since, nor the log's start moved. Cheap.
    pub fn is_still(&self, shape: &Shape) -> bool {
        // A list that is watched is not given to another use of its memory.
        std::ptr::eq(Arc::as_ptr(&self.list()), shape.0.as_ptr())
    }

    /// Makes another list of the present one, in one step: a cut does so outside the partition's
    /// lock, while the log start moves under it. Readers under way keep theirs.
    pub(super) fn change(&self, mut change: impl FnMut(&SegmentList) -> SegmentList) {
        self.list.rcu(|list| change(list));
    }

    /// Shows another list from now on, of the same offsets in other files.
    pub(super) fn show(&self, list: &Arc<SegmentList>) {
        self.list.store(Arc::clone(list));
    }

    pub(super) fn handles(&self) -> &Arc<Handles> {
        &self.handles
    }

    pub(super) fn interval(&self) -> u64 {
        self.index_interval_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn set_interval(&self, bytes: u64) {
        self.index_interval_bytes.store(bytes, Ordering::Relaxed);
    }

    /// First offset of the log.
    pub fn log_start(&self) -> i64 {
        self.list.load().log_start
    }

    /// The offset after the last record written.
    pub fn log_end(&self) -> i64 {
        self.list.load().log_end()
    }

    /// Finds the bytes from the batch that holds `from` on.
    ///
    /// `upto` is exclusive and the base offset of a batch (or at or past the log end): no byte of
    /// the batch there is given out. At most `max_bytes`, except that with `min_one` a first batch
    /// larger than that is given out whole.
    pub async fn read(
        &self,
        from: i64,
        upto: i64,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<Read, Error> {
        let list = self.list();
        let read = self.read_in(&list, from, upto, max_bytes, min_one).await;
        if read.is_err() && !Arc::ptr_eq(&list, &self.list()) {
            // The segment may have been removed since the list was taken.
            return self
                .read_in(&self.list(), from, upto, max_bytes, min_one)
                .await;
        }
        read
    }

    async fn read_in(
        &self,
        list: &SegmentList,
        from: i64,
        upto: i64,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<Read, Error> {
        let (log_start, log_end) = (list.log_start, list.log_end());
        if from < log_start || from > log_end {
            return Ok(Read::OutOfRange { log_start, log_end });
        }
        let upto = upto.min(log_end);
        let Some((segment, first)) = self.first_batch(list, from, upto).await? else {
            return Ok(Read::Empty);
        };
        let max_bytes = max_bytes as u64;
        let len = if first.size > max_bytes {
            if !min_one {
                return Ok(Read::Empty);
            }
            first.size
        } else {
            let end = self.end_position(segment, upto).await?;
            end.saturating_sub(first.position)
                .min(max_bytes)
                .max(first.size)
        };
        let proven = self.prove(segment, &first, first.position + len).await?;
        let len = len.min(proven - first.position);
        let file = self.open(segment)?;
        Ok(Read::Region(ReadRegion {
            slice: FileSlice {
                file,
                offset: first.position,
                len,
                vouched: segment.vouched().clone(),
            },
            first_offset: first.base_offset,
            first_size: first.size,
        }))
    }

    /// The first batch at or behind `from` that starts below `upto`, and its segment.
    pub(super) async fn first_batch<'a>(
        &self,
        list: &'a SegmentList,
        from: i64,
        upto: i64,
    ) -> Result<Option<(&'a Arc<Segment>, Span)>, Error> {
        let first = list.floor(from).unwrap_or(0);
        for segment in list.all().get(first..).unwrap_or_default() {
            let target = from.max(segment.base());
            if target >= upto {
                break;
            }
            let found = lookup::find(&self.handles, segment, target, self.interval()).await?;
            if let Some(span) = found {
                return Ok((span.base_offset < upto).then_some((segment, span)));
            }
            if segment.is_quarantined() {
                return Err(headers::damaged(
                    segment,
                    segment.end().bytes,
                    "quarantined",
                ));
            }
        }
        Ok(None)
    }

    /// Where in `segment` the bytes end that lie below `upto`.
    pub(super) async fn end_position(
        &self,
        segment: &Arc<Segment>,
        upto: i64,
    ) -> Result<u64, Error> {
        let end = segment.end();
        if upto >= end.offset {
            return Ok(end.bytes);
        }
        let bound = lookup::find(&self.handles, segment, upto, self.interval()).await?;
        Ok(bound.map_or(end.bytes, |span| span.position))
    }

    pub(super) fn open(
        &self,
        segment: &Arc<Segment>,
    ) -> Result<Arc<dyn millrace_host::File>, Error> {
        self.handles
            .log(segment)
            .map_err(Error::io("open", &segment.path(names::LOG)))
    }
}
