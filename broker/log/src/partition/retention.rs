//! What leaves the front of a log: by time, by size, by `DeleteRecords`.
//!
//! What always holds: the new log start is durable before anyone is shown it, and the marks of the
//! removed segments before their files go (`durability.md` C5); nothing at or above the high
//! watermark leaves; nothing leaves before what is known of its producers is written down (A2); a
//! segment is condemned by the largest timestamp of its batches, never by an
//! index (A4); a wall clock that jumped stops retention by time, not by size.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace_host::{Disk, Host, Mono, Now};
use millrace_probe::{Branch, reached};

use super::remove::hold_own;
use super::{LogReader, PartitionLog, Phase};
use crate::dir::homes::Homes;
use crate::error::Error;
use crate::flusher::Durable;
use crate::flusher::wall::{DOUBT, STEP_MAX_MS, is_away};
use crate::mark::{Incarnation, Mark};
use crate::segment::list::SegmentList;
use crate::segment::{Segment, names, rebuild};

/// Decides whether wall time may be believed by what goes by it. One for each such task of a node.
#[derive(Clone, Copy, Debug)]
pub struct WallGuard {
    /// What waits meanwhile, for people.
    what: &'static str,
    last: Now,
    hold_until: Option<Mono>,
}

impl WallGuard {
    /// Begins at a start. `what` goes by it; `last_stamp_ms` is the last wall time that was
    /// remembered on disk.
    pub fn new(what: &'static str, now: Now, last_stamp_ms: Option<i64>) -> Self {
        let away = last_stamp_ms.is_some_and(|stamp| is_away(now.wall_ms, stamp));
        let mut guard = Self {
            what,
            last: now,
            hold_until: None,
        };
        if away {
            guard.hold(
                now,
                "the clock lies far from the last time that was remembered",
            );
        }
        guard
    }

    /// Whether what goes by time may act now. To be called at each pass.
    pub fn allows(&mut self, now: Now) -> bool {
        let mono_ms = i64::try_from(now.mono.since(self.last.mono).as_millis()).unwrap_or(i64::MAX);
        let wall_ms = now.wall_ms.saturating_sub(self.last.wall_ms);
        self.last = now;
        if wall_ms.saturating_sub(mono_ms).saturating_abs() > STEP_MAX_MS {
            self.hold(now, "the clock stepped");
        }
        self.hold_until.is_none_or(|until| now.mono >= until)
    }

    fn hold(&mut self, now: Now, why: &str) {
        reached(Branch::TimeRetentionHeld);
        self.hold_until = Some(now.mono + DOUBT);
        tracing::warn!(why, hours = 24, "{} waits", self.what);
    }
}

impl LogReader {
    /// Finds the largest timestamps that neither this process nor the ledger knows, by reading
    /// batch headers. To be called before a retention pass, outside the lock.
    pub async fn measure(&self) -> Result<(), Error> {
        for segment in self.list().all() {
            if segment.largest_timestamp().is_some() || segment.is_quarantined() {
                continue;
            }
            let end = segment.end();
            let seen = rebuild::scan(self.handles(), segment, end, self.interval()).await?;
            segment.tail(|tail| {
                // Batches appended meanwhile are counted in already.
                let newer = tail.largest.filter(|entry| entry.last_offset >= end.offset);
                tail.largest = [seen.largest, newer]
                    .into_iter()
                    .flatten()
                    .max_by_key(|entry| (entry.timestamp, -entry.last_offset));
                tail.largest_known = true;
            });
        }
        Ok(())
    }
}

/// When retention has to look at a log again, as long as nothing but time goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextLook {
    /// At the next check: something is due, or is not known yet.
    Soon,
    /// Not before this wall time, in ms since 1970.
    At(i64),
    /// Time alone makes nothing due.
    Never,
}

/// Files of removed segments, to be run outside the lock.
pub struct Removal {
    marked: Durable,
    segments: usize,
    files: Vec<PathBuf>,
    host: Host,
    homes: Arc<Homes>,
    path: Arc<Path>,
    incarnation: Incarnation,
    delay: Duration,
}

impl PartitionLog {
    /// Where the log should start by `retention.ms` and `retention.bytes`; `None` when all of it
    /// stays. `by_time` is [`WallGuard::allows`]. An active segment that is due is closed first.
    pub fn retention_due(&mut self, now: Now, high_watermark: i64, by_time: bool) -> Option<i64> {
        if !self.settings.delete || self.writable().is_err() {
            return None;
        }
        let list = self.reader.list();
        let by_time = by_time.then(|| self.due_by_time(&list, now.wall_ms, high_watermark));
        let by_size = self.due_by_size(&list, high_watermark);
        let count = by_time.unwrap_or(0).max(by_size);
        let last = list.all().get(count.checked_sub(1)?)?;
        let mut start = last.end().offset;
        if let Some(next) = list.all().get(count) {
            start = next.base();
        } else if let Err(error) = self.create_segment(start, false) {
            tracing::warn!(partition = %self.name(), %error, "the active segment stays for now");
            start = last.base();
        }
        (start > list.log_start).then_some(start)
    }

    /// When [`Self::retention_due`] may find something at the earliest, if nothing is written, no
    /// offset moves and no setting changes until then.
    pub fn next_retention(&self, high_watermark: i64) -> NextLook {
        if self.phase == Phase::Cutting {
            return NextLook::Soon;
        }
        if !self.settings.delete || self.writable().is_err() {
            return NextLook::Never;
        }
        let list = self.reader.list();
        if list.log_end() > high_watermark || self.due_by_size(&list, high_watermark) > 0 {
            return NextLook::Soon;
        }
        let oldest = list.all().first().filter(|oldest| oldest.end().bytes > 0);
        let Some((oldest, retention_ms)) = oldest.zip(self.settings.retention_ms) else {
            return NextLook::Never;
        };
        match oldest.largest_timestamp() {
            None => NextLook::Soon,
            // A segment without timestamps does not age.
            Some(largest) if largest < 0 => NextLook::Never,
            Some(largest) => {
                let retention_ms = i64::try_from(retention_ms).unwrap_or(i64::MAX);
                NextLook::At(largest.saturating_add(retention_ms).saturating_add(1))
            }
        }
    }

    fn due_by_time(&self, list: &SegmentList, wall_ms: i64, high_watermark: i64) -> usize {
        let Some(retention_ms) = self.settings.retention_ms else {
            return 0;
        };
        let oldest = wall_ms.saturating_sub(i64::try_from(retention_ms).unwrap_or(i64::MAX));
        let due = |segment: &Arc<Segment>| {
            let end = segment.end();
            let largest = segment.largest_timestamp().filter(|largest| *largest >= 0);
            end.bytes > 0
                && end.offset <= high_watermark
                && largest.is_some_and(|largest| largest < oldest)
        };
        list.all().iter().take_while(|segment| due(segment)).count()
    }

    fn due_by_size(&self, list: &SegmentList, high_watermark: i64) -> usize {
        let Some(retention_bytes) = self.settings.retention_bytes else {
            return 0;
        };
        let mut excess = list.bytes().saturating_sub(retention_bytes);
        let sealed = list.all().len().saturating_sub(1);
        let due = |segment: &Arc<Segment>| {
            let end = segment.end();
            let goes = end.offset <= high_watermark && excess >= end.bytes;
            excess -= if goes { end.bytes } else { 0 };
            goes
        };
        let mut due = due;
        list.all()[..sealed]
            .iter()
            .take_while(|segment| due(segment))
            .count()
    }

    /// Announces a new log start (retention, `DeleteRecords`). When the future is done it may be
    /// shown: call [`Self::finish_log_start`] then. `to` at or below the present start or above the
    /// log end is refused, and above what [`Self::cover_start`] has made room for.
    pub fn advance_log_start(&mut self, to: i64) -> Result<Durable, Error> {
        let partition = self.name();
        let refused = |reason| Error::PartitionOffline { partition, reason };
        if let Err(error) = self.writable() {
            return Err(refused(error.to_string()));
        }
        let (start, end) = (self.log_start(), self.log_end());
        // An empty log may start anywhere ahead: a follower that begins at its leader's start.
        if to <= start || (to > end && self.size_bytes() > 0) {
            return Err(refused(format!(
                "log start {to} is not within {start} to {end}"
            )));
        }
        // What lies ahead of an empty log replaces all that is known of it.
        if to <= end && self.start_within(to) != Some(to) {
            return Err(refused(format!(
                "what is known of producers below {to} is not written down"
            )));
        }
        self.closed = false;
        Ok(self.flush.mark_now(Mark::LogStart(to)))
    }

    /// Shows the announced log start and takes the segments below it out of the list.
    pub fn finish_log_start(&mut self, to: i64) -> Removal {
        self.reader.change(|list| {
            let segments = list.all().to_vec();
            SegmentList::new(segments, to.max(list.log_start))
        });
        self.drop_below_start()
    }

    /// Takes the segments below the log start out of the list, but for those that are being
    /// replaced: what replaces them goes then.
    pub(super) fn drop_below_start(&mut self) -> Removal {
        let mut removed = Vec::new();
        self.reader.change(|list| {
            let sealed = list.all().len().saturating_sub(1);
            let gone = list.all()[..sealed]
                .iter()
                .zip(list.all().iter().skip(1))
                .take_while(|(one, next)| next.base() <= list.log_start && !one.is_retired())
                .count();
            let (old, kept) = list.all().split_at(gone);
            removed = old.to_vec();
            SegmentList::new(kept.to_vec(), list.log_start)
        });
        let log_start = self.log_start();
        let mut marked: Durable = Box::pin(std::future::ready(Ok(())));
        for (at, segment) in removed.iter().enumerate() {
            let mark = Mark::SegmentRemoved(segment.id());
            if at + 1 == removed.len() {
                // Marks of one partition become durable in order: the last one covers all.
                marked = self.flush.mark_now(mark);
            } else {
                self.flush.mark(mark);
            }
        }
        // The epoch that holds the log start stays, moved up to it.
        let first = self
            .epochs
            .partition_point(|(_, start)| *start <= log_start);
        self.epochs.drain(..first.saturating_sub(1));
        if let Some(epoch) = self.epochs.first_mut() {
            epoch.1 = epoch.1.max(log_start);
        }
        Removal {
            marked,
            ..self.removal_of(&removed)
        }
    }

    /// The files of segments that are out of the list.
    pub(super) fn removal_of(&self, removed: &[Arc<Segment>]) -> Removal {
        // The log first: what stays of the others means nothing without it.
        let kinds = names::OF_SEGMENT.iter().rev();
        let paths = |segment: &Arc<Segment>| kinds.clone().map(|kind| segment.path(kind)).collect();
        let files: Vec<Vec<PathBuf>> = removed.iter().map(paths).collect();
        Removal {
            marked: Box::pin(std::future::ready(Ok(()))),
            segments: removed.len(),
            files: files.concat(),
            host: self.host.clone(),
            homes: self.dir.homes().clone(),
            path: self.path.clone(),
            incarnation: self.incarnation,
            delay: Duration::from_millis(self.settings.file_delete_delay_ms),
        }
    }
}

impl Removal {
    /// How many segments go.
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// These files go too.
    pub(super) fn add(&mut self, files: Vec<PathBuf>) {
        self.files.extend(files);
    }

    /// Waits for the marks and `file.delete.delay.ms`, then removes the files. A file that stays
    /// behind is removed at the next open.
    pub async fn run(self) -> Result<(), Error> {
        self.marked.await?;
        if self.files.is_empty() {
            return Ok(());
        }
        let deadline = self.host.clock.now().mono + self.delay;
        self.host.clock.sleep_until(deadline).await;
        let disk = self.host.disk.as_ref();
        let own = hold_own((&self.homes, disk), &self.path, self.incarnation);
        let Some(_home) = own.await else {
            // Removed since; files of these names are another topic's.
            return Ok(());
        };
        for path in &self.files {
            remove_file(disk, path).await;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Removal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Removal")
            .field("segments", &self.segments)
            .finish_non_exhaustive()
    }
}

/// Removes a segment's files, the log first: what stays of the others means nothing without it.
pub(super) async fn remove_files(disk: &dyn Disk, segment: &Segment) {
    for kind in names::OF_SEGMENT.iter().rev() {
        remove_file(disk, &segment.path(kind)).await;
    }
}

async fn remove_file(disk: &dyn Disk, path: &Path) {
    match disk.remove(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a removed segment's file stays");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    fn at(mono_hours: u64, wall_hours: i64) -> Now {
        Now {
            mono: Mono(mono_hours * HOUR),
            wall_ms: wall_hours * 3_600_000,
        }
    }

    #[test]
    fn steady_time_is_believed() {
        let mut guard = WallGuard::new("a test", at(0, 1000), Some(999 * 3_600_000));
        for hour in 1..50 {
            assert!(guard.allows(at(hour, 1000 + hour as i64)));
        }
    }

    #[test]
    fn a_jump_stops_retention_by_time_for_a_day_of_monotonic_time() {
        for jump in [-3, 3, 100_000] {
            let mut guard = WallGuard::new("a test", at(0, 1000), None);
            assert!(guard.allows(at(1, 1001)));
            assert!(!guard.allows(at(2, 1002 + jump)));
            assert!(!guard.allows(at(25, 1025 + jump)));
            assert!(guard.allows(at(26, 1026 + jump)));
        }
    }

    #[test]
    fn a_long_absence_is_a_jump() {
        let mut guard = WallGuard::new("a test", at(0, 1000), Some((1000 - 24 * 8) * 3_600_000));
        assert!(!guard.allows(at(1, 1001)));
        let mut guard = WallGuard::new("a test", at(0, 1000), Some((1000 - 24 * 6) * 3_600_000));
        assert!(guard.allows(at(1, 1001)));
        let mut guard = WallGuard::new("a test", at(0, 1000), Some(1002 * 3_600_000));
        assert!(!guard.allows(at(1, 1001)));
    }
}
