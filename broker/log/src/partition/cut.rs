//! Moving the end of a log back: follower truncation, and the cuts of recovery.
//!
//! What always holds (`durability.md` C5, C6): the intent is durable before any byte or name
//! changes; later segments go first, the last one first, then the names are synced, then the file is
//! shortened and synced, then *done* is made durable; the log takes no record in between, and
//! completions from before the cut count for nothing.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use millrace_host::{Disk, File, OpenMode};
use millrace_probe::{Branch, Bug, planted, reached};

use super::remove::hold_own;
use super::{LogReader, PartitionLog, Phase, position};
use crate::dir::homes::Homes;
use crate::error::Error;
use crate::flusher::{Durable, FlushHandle};
use crate::mark::{Incarnation, Mark, Position};
use crate::segment::list::SegmentList;
use crate::segment::names;
use crate::segment::tail::End;
use crate::segment::{Segment, rebuild};
use crate::segment::{headers, lookup};

/// A truncation whose place is known; made outside the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    to: Position,
}

/// A truncation that has begun: to be run outside the lock.
pub struct CutWork {
    intent: Durable,
    to: Position,
    cut_count: u32,
    path: Arc<Path>,
    incarnation: Incarnation,
    homes: Arc<Homes>,
    reader: Arc<LogReader>,
    flush: Arc<FlushHandle>,
}

impl LogReader {
    /// Finds where the log must be cut so that no record at or above `offset` remains; `None` when
    /// there is none. A batch that holds `offset` goes whole.
    pub async fn plan_truncation(&self, offset: i64) -> Result<Option<Truncation>, Error> {
        let list = self.list();
        if offset >= list.log_end() {
            return Ok(None);
        }
        let Some(at) = list.floor(offset).or((!list.all().is_empty()).then_some(0)) else {
            return Ok(None);
        };
        let segment = &list.all()[at];
        let target = offset.max(segment.base());
        let found = lookup::find(self.handles(), segment, target, self.interval()).await?;
        let end = match found {
            Some(span) if span.position == 0 => End {
                bytes: 0,
                offset: segment.base(),
            },
            Some(span) => self.end_before(segment, span.position).await?,
            None => segment.end(),
        };
        Ok(Some(Truncation {
            to: position(segment.id(), end),
        }))
    }

    /// The end of the batches before byte `bytes`: their offset end, which a hole may set apart
    /// from the next base offset.
    async fn end_before(&self, segment: &Arc<Segment>, bytes: u64) -> Result<End, Error> {
        let mut walk = headers::walk(self.handles(), segment, 0)?;
        let mut end = End {
            bytes: 0,
            offset: segment.base(),
        };
        while end.bytes < bytes {
            match headers::next(&mut walk, segment).await? {
                Some(step) => {
                    end = End {
                        bytes: step.end(),
                        offset: step.header.last_offset().saturating_add(1),
                    };
                }
                None => break,
            }
        }
        Ok(end)
    }
}

impl PartitionLog {
    /// Begins a truncation: from now until [`Self::finish_truncation`] the log takes no records.
    /// Fails when a change since the planning makes it impossible, or when one is under way, of
    /// the durability too.
    pub fn begin_truncation(&mut self, truncation: Truncation) -> Result<CutWork, Error> {
        let to = truncation.to;
        let refused = |reason: String| Error::PartitionOffline {
            partition: self.name(),
            reason,
        };
        self.writable()
            .map_err(|error| refused(error.to_string()))?;
        if self.switching {
            return Err(refused("its durability is being changed".to_owned()));
        }
        if self.replacing {
            return Err(refused("segments of it are being replaced".to_owned()));
        }
        let known = self
            .reader
            .list()
            .all()
            .iter()
            .any(|segment| segment.id() == to.segment && segment.end().bytes >= to.bytes);
        if !known {
            return Err(refused("the place to cut at is gone".to_owned()));
        }
        self.closed = false;
        self.phase = Phase::Cutting;
        let cut_count = self.flush.cut(to);
        self.cut_count = cut_count;
        let intent = self.flush.mark_now(Mark::CutIntent { to, cut_count });
        Ok(CutWork {
            intent,
            to,
            cut_count,
            path: self.path.clone(),
            incarnation: self.incarnation,
            homes: self.dir.homes().clone(),
            reader: self.reader.clone(),
            flush: self.flush.clone(),
        })
    }

    /// Ends a truncation after [`CutWork::run`]: the log takes records again at the new end. After
    /// a failed run the log stays closed to records and the next start finishes the cut.
    pub fn finish_truncation(&mut self, outcome: Result<i64, Error>) -> Result<(), Error> {
        let end = outcome.inspect_err(|_| self.phase = Phase::Failed)?;
        self.epochs.retain(|(_, start)| *start < end);
        self.snapshots.cut(end);
        self.written_back = self.position().map_or(0, |end| end.bytes);
        self.phase = Phase::Open;
        Ok(())
    }
}

impl CutWork {
    /// Waits for the intent and does no more, as a process that is killed then.
    #[cfg(test)]
    pub(super) async fn intent_only(self) {
        self.intent
            .await
            .expect("the directory is online in this test");
    }

    /// Makes the intent durable, shows the new end, changes the files, makes *done* durable. The
    /// offset at which the log now ends, for [`PartitionLog::finish_truncation`].
    pub async fn run(self) -> Result<i64, Error> {
        self.intent.await?;
        let list = self.reader.list();
        let handles = self.reader.handles().clone();
        let Some(old) = list
            .all()
            .iter()
            .find(|segment| segment.id() == self.to.segment)
        else {
            return Err(Error::BadFile {
                what: "the segment to cut is gone".to_owned(),
            });
        };
        let end = End {
            bytes: self.to.bytes,
            offset: self.to.offset,
        };
        let tail = rebuild::scan(&handles, old, end, self.reader.interval()).await?;
        let fresh = Segment::new(
            self.path.clone(),
            old.vouched(),
            old.id(),
            old.holes(),
            tail,
        );
        let fresh = Arc::new(fresh);
        let file = self.reader.open(old)?;
        fresh.attach(file.clone());
        self.reader.change(|list| {
            let before = |segment: &&Arc<Segment>| segment.base() < self.to.segment.base_offset;
            let kept = list.all().iter().filter(before).chain([&fresh]);
            SegmentList::new(kept.cloned().collect(), list.log_start)
        });
        handles.admit(&fresh);
        let own = hold_own(
            (&self.homes, handles.disk().as_ref()),
            &self.path,
            self.incarnation,
        );
        let Some(_home) = own.await else {
            return Err(Error::PartitionOffline {
                partition: self.path.display().to_string(),
                reason: "it was removed while it was cut".to_owned(),
            });
        };
        let disk = (handles.disk(), self.flush.as_ref());
        shorten(disk, &self.path, self.to, &file).await?;
        rebuild::remove_indexes(handles.disk(), &fresh).await;
        rebuild::write_fresh(handles.disk().as_ref(), &fresh)?;
        self.flush
            .mark_now(Mark::CutDone {
                cut_count: self.cut_count,
            })
            .await?;
        Ok(self.to.offset)
    }
}

impl std::fmt::Debug for CutWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CutWork")
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

/// Removes every later segment, the last first, syncs the names, shortens the file and syncs it.
pub(super) async fn shorten(
    (disk, flush): (&Arc<dyn Disk>, &FlushHandle),
    dir: &Path,
    to: Position,
    file: &Arc<dyn File>,
) -> Result<(), Error> {
    let mut later: Vec<(i64, String)> = disk
        .list(dir)
        .await
        .map_err(Error::io("list", dir))?
        .into_iter()
        .filter_map(|entry| {
            names::parse(&entry.name)
                .map(|(base, suffix)| (base, suffix.to_owned(), entry.name.clone()))
        })
        .filter(|(base, suffix, _)| gone(*base, suffix, to))
        .map(|(base, _, name)| (base, name))
        .collect();
    later.sort();
    if later.iter().any(|(_, name)| name.ends_with(names::LOG)) {
        reached(Branch::CutOverSegments);
    }
    for (_, name) in later.iter().rev() {
        let path = dir.join(name);
        disk.remove(&path)
            .await
            .map_err(Error::io("remove", &path))?;
    }
    if later.is_empty() || !planted(Bug::UnlinkOfCutSegmentLost) {
        flush.synced(dir, disk.sync_dir(dir).await)?;
    }
    file.set_len(to.bytes)
        .map_err(Error::io("shorten", file.path()))?;
    flush.synced(file.path(), file.sync().await)
}

/// Whether a file belongs to what lies behind the cut: segments by their base, snapshots by the
/// offset they describe.
fn gone(base: i64, suffix: &str, to: Position) -> bool {
    match suffix {
        names::LOG | names::INDEX | names::TIME_INDEX | names::TXN_INDEX => {
            base > to.segment.base_offset
        }
        names::SNAPSHOT | names::PRODUCERS => base > to.offset,
        _ => false,
    }
}

/// Keeps the bytes of `file` from byte `from` on aside, at most `limit`, in a file named by the
/// segment's base, its generation and the position. How many bytes were kept.
pub(super) async fn keep_aside(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    to: Position,
    file: &Arc<dyn File>,
    limit: u64,
) -> io::Result<u64> {
    let name = format!(
        "{:020}.{}.{}.cut",
        to.segment.base_offset, to.segment.generation, to.bytes
    );
    let len = file.len()?.saturating_sub(to.bytes).min(limit);
    if len == 0 {
        return Ok(0);
    }
    let kept = match disk.open(&dir.join(name), OpenMode::CreateNew) {
        // Kept by an earlier attempt at the same cut.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(0),
        result => result?,
    };
    let mut at = 0;
    while at < len {
        let chunk = file
            .read_at(to.bytes + at, (len - at).min(1 << 20) as usize)
            .await?;
        if chunk.is_empty() {
            break;
        }
        let written = kept.write_vectored_at(&[IoSlice::new(&chunk)], at)?;
        at += written as u64;
        if written < chunk.len() {
            break;
        }
    }
    kept.sync().await?;
    Ok(at)
}
