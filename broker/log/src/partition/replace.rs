//! A cleaned segment takes the place of those that it was made of (`durability.md` K2).
//!
//! What always holds: the mark of it is durable before any name changes; names change in an order in
//! which each of them left half-way is finished by the next opening; whoever reads the old segments
//! goes on with the files that it has open. Nothing else changes the list meanwhile: the log is not
//! cut, its start moves but takes no segment that is being replaced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_host::{Disk, Host};
use millrace_probe::{Branch, Bug, planted, reached};

use super::clean::Cleaned;
use super::cleaning::{CleanError, is_settled};
use super::remove::hold_own;
use super::retention::Removal;
use super::{PartitionLog, Phase};
use crate::dir::LogDir;
use crate::error::Error;
use crate::flusher::Durable;
use crate::mark::{Incarnation, Mark};
use crate::segment::list::SegmentList;
use crate::segment::{Segment, names};

/// A replacement that has begun: to be run outside the lock.
pub struct Replacement {
    marked: Durable,
    cleaned: Cleaned,
    host: Host,
    dir: Arc<LogDir>,
    path: Arc<Path>,
    incarnation: Incarnation,
}

/// A replacement whose files are in place: for [`PartitionLog::finish_replacement`].
#[derive(Debug)]
pub struct Replaced {
    cleaned: Cleaned,
    /// What is left of the files of those that were replaced.
    left: Vec<PathBuf>,
}

impl PartitionLog {
    /// Begins to put a cleaned segment in the place of those that it was made of. Afterwards
    /// [`Replacement::run`] outside the lock, then [`Self::finish_replacement`] under it, whatever
    /// came of it: until then the log is not cut.
    ///
    /// # Errors
    ///
    /// When the log isn't any more what was cleaned, or is being moved: the log is as it was.
    pub fn begin_replacement(&mut self, cleaned: Cleaned) -> Result<Replacement, CleanError> {
        self.writable().map_err(|_| CleanError::Stopped)?;
        if self.replacing || self.flush.is_removing() {
            return Err(CleanError::Changed("it is being changed"));
        }
        if Arc::strong_count(&self.copies) > 1 {
            return Err(CleanError::Changed("it is being moved"));
        }
        if self.cut_count != cleaned.cut_count || !is_part_of(&self.reader.list(), &cleaned.old) {
            return Err(CleanError::Changed("its segments have changed"));
        }
        let entry = self.dir.entry(&self.incarnation);
        if !entry.is_some_and(|entry| is_settled(&entry, &cleaned.old)) {
            return Err(CleanError::Changed("not all of it is settled"));
        }
        self.retire(&cleaned.old)?;
        self.replacing = true;
        let marked = self.flush.mark_now(Mark::Replaced {
            old: cleaned.old.iter().map(|segment| segment.id()).collect(),
            new: cleaned.end(),
            max_timestamp_ms: cleaned.new.largest_timestamp().unwrap_or(-1),
            clean_upto: cleaned.clean_upto,
        });
        Ok(Replacement {
            marked,
            cleaned,
            host: self.host.clone(),
            dir: self.dir.clone(),
            path: self.path.clone(),
            incarnation: self.incarnation,
        })
    }

    /// Has the segments keep their files open, for whoever reads them still.
    fn retire(&self, old: &[Arc<Segment>]) -> Result<(), CleanError> {
        let handles = self.reader.handles();
        for (at, segment) in old.iter().enumerate() {
            let opened = segment.retire(handles.disk().as_ref());
            if matches!(opened, Ok(true)) {
                continue;
            }
            old[..=at].iter().for_each(|segment| segment.unretire());
            return Err(match opened {
                Err(error) => Error::io("open", &segment.path(names::LOG))(error).into(),
                Ok(_) => CleanError::Changed("an index of it is being made anew"),
            });
        }
        Ok(())
    }

    /// Ends a replacement after [`Replacement::run`]: shows the new segment. What comes back removes
    /// the files of the old ones, after `file.delete.delay.ms`.
    ///
    /// # Errors
    ///
    /// Those of the run: the directory is offline then, or the partition removed.
    pub fn finish_replacement(
        &mut self,
        outcome: Result<Replaced, Error>,
    ) -> Result<Removal, Error> {
        let was_replacing = std::mem::take(&mut self.replacing);
        let Replaced { cleaned, left } = outcome?;
        let Cleaned {
            old,
            new,
            clean_upto,
            ..
        } = cleaned;
        if !was_replacing || self.phase != Phase::Open {
            // Moved or closed since: its directory goes, or the next opening sees to the rest.
            return Ok(self.removal_of(&[]));
        }
        self.reader.change(|list| {
            let mut segments = list.all().to_vec();
            if let Some(at) = place_of(list, &old) {
                segments.splice(at..at + old.len(), [new.clone()]);
            }
            SegmentList::new(segments, list.log_start)
        });
        self.flush.mark(Mark::Cleaned {
            segment: new.id(),
            upto: clean_upto,
        });
        reached(Branch::SegmentsReplaced);
        let mut removal = self.drop_below_start();
        removal.add(left);
        Ok(removal)
    }
}

/// Where in the list these segments stand, one behind another.
fn place_of(list: &SegmentList, old: &[Arc<Segment>]) -> Option<usize> {
    let at = list.floor(old.first()?.base())?;
    let there = list.all().get(at..at.checked_add(old.len())?)?;
    let same = there
        .iter()
        .zip(old)
        .all(|(one, other)| Arc::ptr_eq(one, other));
    same.then_some(at)
}

/// Whether they are sealed segments of the list, one behind another.
fn is_part_of(list: &SegmentList, old: &[Arc<Segment>]) -> bool {
    place_of(list, old).is_some_and(|at| at + old.len() < list.all().len())
}

impl Replacement {
    /// Makes the mark durable, then changes the names: the new files end in `.swap`, the old ones in
    /// `.deleted`, then the new ones have the names. Each step is durable before the next.
    pub async fn run(self) -> Result<Replaced, Error> {
        let Self {
            marked,
            cleaned,
            host,
            dir,
            path,
            incarnation,
        } = self;
        marked.await?;
        let disk = host.disk.as_ref();
        let own = hold_own((dir.homes(), disk), &path, incarnation);
        let Some(_home) = own.await else {
            return Err(Error::PartitionOffline {
                partition: path.display().to_string(),
                reason: "it was removed while segments of it were replaced".to_owned(),
            });
        };
        let names = Names { disk, path: &path };
        let renamed = swap(&names, &dir, &cleaned).await;
        let left = renamed.inspect_err(|error| {
            // What is in memory isn't what the mark says, and nobody may build on either.
            dir.fail(&error.to_string());
        })?;
        Ok(Replaced { cleaned, left })
    }
}

/// Changes the names: what is left of the old ones.
async fn swap(names: &Names<'_>, dir: &LogDir, cleaned: &Cleaned) -> Result<Vec<PathBuf>, Error> {
    let sync = async || {
        if planted(Bug::ReplacedNamesNotSynced) {
            return Ok(());
        }
        dir.synced(names.path, names.disk.sync_dir(names.path).await)
    };
    let base = cleaned.new.base();
    names.turn(base, names::CLEANED, names::SWAP).await?;
    sync().await?;
    let mut left = Vec::new();
    for segment in &cleaned.old {
        left.extend(names.turn(segment.base(), "", names::DELETED).await?);
    }
    sync().await?;
    names.turn(base, names::SWAP, "").await?;
    sync().await?;
    Ok(left)
}

impl std::fmt::Debug for Replacement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replacement")
            .field("cleaned", &self.cleaned)
            .finish_non_exhaustive()
    }
}

/// The names in a partition's directory.
pub(super) struct Names<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) path: &'a Path,
}

impl Names<'_> {
    /// Gives the files of a segment names that end otherwise, the record file last; those that are
    /// there. Their new names.
    pub(super) async fn turn(
        &self,
        base: i64,
        from: &str,
        to: &str,
    ) -> Result<Vec<PathBuf>, Error> {
        let mut turned = Vec::new();
        for kind in names::OF_SEGMENT {
            let old = names::file(self.path, base, &format!("{kind}{from}"));
            let new = names::file(self.path, base, &format!("{kind}{to}"));
            match self.disk.rename(&old, &new).await {
                Ok(()) => turned.push(new),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("rename", &old)(error)),
            }
        }
        Ok(turned)
    }
}
