//! How a log is given to be copied, and how the copy takes its place (`durability.md` M1 to M5).
//!
//! What always holds: an outline is taken under the partition's lock, of a log that takes records;
//! a copy takes a log's place only when it holds the same offsets, leader epochs and cut count; the
//! reader stays the same one, so that whoever reads goes on in the other files.

use std::sync::Arc;

use super::{LogReader, LogSettings, PartitionLog};
use crate::dir::LogDir;
use crate::error::Error;
use crate::flusher::Durable;
use crate::mark::{Durability, Incarnation};
use crate::segment::Segment;
use crate::segment::list::SegmentList;
use crate::segment::tail::End;

/// How a log stands at one moment: what a copy of it is to become.
#[derive(Clone, Debug)]
pub struct Outline {
    pub(super) incarnation: Incarnation,
    pub(super) topic: Arc<str>,
    pub(super) list: Arc<SegmentList>,
    /// Where the active segment ended then.
    active_end: Option<End>,
    pub(super) epochs: Vec<(i32, i64)>,
    pub(super) cut_count: u32,
    pub(super) mode: Durability,
    pub(super) settings: LogSettings,
    pub(super) active_since_ms: i64,
    pub(super) reader: Arc<LogReader>,
    /// Where it lies.
    pub(super) dir: Arc<LogDir>,
    /// While somebody has it, no segment's replacement begins.
    pub(super) copies: Arc<()>,
}

impl Outline {
    /// Bytes in all segments.
    pub fn bytes(&self) -> u64 {
        self.segments().map(|(_, end)| end.bytes).sum()
    }

    /// The offset after the last record.
    pub fn log_end(&self) -> i64 {
        let end = self.active_end.map_or(0, |end| end.offset);
        end.max(self.list.log_start)
    }

    /// The segments and where they ended; the last one is the active one.
    pub(super) fn segments(&self) -> impl DoubleEndedIterator<Item = (&Arc<Segment>, End)> {
        let all = self.list.all();
        let (sealed, active) = all.split_at(all.len().saturating_sub(1));
        let sealed = sealed.iter().map(|segment| (segment, segment.end()));
        sealed.chain(active.first().zip(self.active_end))
    }
}

impl PartitionLog {
    /// How the log stands, for a copy of it.
    ///
    /// # Errors
    ///
    /// A log that takes no records is not copied (it is damaged, closed, removed, being cut or its
    /// directory is offline), nor is one whose durability is being changed.
    pub fn outline(&self) -> Result<Outline, Error> {
        let refused = |reason: String| Error::PartitionOffline {
            partition: self.name(),
            reason,
        };
        self.writable()
            .map_err(|error| refused(error.to_string()))?;
        if self.switching {
            return Err(refused("its durability is being changed".to_owned()));
        }
        Ok(Outline {
            incarnation: self.incarnation,
            topic: self.topic.clone(),
            active_end: self.position().map(|end| End {
                bytes: end.bytes,
                offset: end.offset,
            }),
            list: self.reader.list(),
            epochs: self.epochs.clone(),
            cut_count: self.cut_count,
            mode: self.mode,
            settings: self.settings,
            active_since_ms: self.active_since_ms,
            reader: self.reader.clone(),
            dir: self.dir.clone(),
            copies: self.copies.clone(),
        })
    }

    /// Makes all that was written durable in the segment files. Afterwards the bytes can be read
    /// from anywhere: no journal is needed for them.
    pub fn settle(&self) -> Durable {
        self.flush_now();
        self.flush.settle()
    }

    /// Whether what the bytes are written under is what the settings say.
    pub fn is_as_configured(&self) -> bool {
        self.settings.durability == self.mode
    }

    /// Puts a copy, which [`super::LogCopy::finish`] gave, in the log's place; gives the old one,
    /// to be removed. Settings and leader epochs that came since its outline are carried over.
    #[must_use = "the old log is to be removed"]
    pub fn hand_over(&mut self, mut copy: Self) -> Self {
        debug_assert_eq!(
            copy.log_end(),
            self.log_end(),
            "a copy ends where its log does"
        );
        copy.configure(self.settings);
        for &(epoch, start_offset) in &self.epochs {
            copy.begin_epoch(epoch, start_offset);
        }
        self.reader.show(&copy.reader.list());
        copy.reader = Arc::clone(&self.reader);
        std::mem::replace(self, copy)
    }
}
