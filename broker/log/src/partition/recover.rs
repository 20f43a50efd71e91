//! Recovery of one dirty partition (`durability.md` R2 to R6).
//!
//! From the settled mark on, across segments: read, verify, write again in place, sync, before
//! anyone is served. What always holds: nothing below the durable mark is ever cut; above it, bytes
//! are cut only when the machine may have lost some (other boot) or when they are the one write that
//! was under way (same boot); every cut follows its durable intent; a file the ledger does not know
//! is set aside, never overwritten.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use millrace_host::OpenMode;
use millrace_probe::{Branch, Bug, planted, reached};

use super::known::{Known, sealed_segment};
use super::verify::{Check, Stop, Verified, verify};
use super::{NoSink, Partitions, position};
use crate::error::Error;
use crate::flusher::FlushHandle;
use crate::ledger::{SegmentEntry, UNKNOWN_GENERATION};
use crate::mark::{Durability, Mark, Position, SegmentId};
use crate::partition_metadata;
use crate::segment::tail::{End, Tail};
use crate::segment::{Segment, names, rebuild};

/// A partition as recovery (or a clean open) found it.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) log_start: i64,
    pub(super) has_dir: bool,
    pub(super) epochs: Vec<(i32, i64)>,
    pub(super) cut_count: u32,
    pub(super) may_have_lost: bool,
    pub(super) quarantined: Option<String>,
    /// Durable by itself; behind it the page cache is believed (A3).
    pub(super) flushed: Position,
    /// Segments with bytes behind it: nothing may call them settled before they are synced.
    pub(super) unsettled: Vec<Arc<Segment>>,
}

/// Recovers the partition; what comes back is verified and, for topics that count on the disk,
/// durable.
pub(super) async fn recover(
    partitions: &Partitions,
    known: &Known<'_>,
) -> Result<Recovered, Error> {
    let entry = known.entry;
    let from = entry
        .flushed
        .or_else(|| entry.active().map(Position::start_of));
    let flush = partitions.dir.flush_handle(
        known.incarnation,
        from.unwrap_or_default(),
        entry.cut_count,
        Arc::new(NoSink),
    );
    let mut sweep = Sweep {
        partitions,
        known,
        flush,
        files: BTreeMap::new(),
        same_boot: partitions.dir.same_boot(entry),
        after_failure: partitions.dir.is_after_failure(),
        segments: Vec::new(),
        verified: Vec::new(),
        epochs: entry.epochs.clone(),
        epoch: -1,
        expected: None,
        cut_count: entry.cut_count,
        quarantined: None,
        untold: false,
    };
    sweep.run().await
}

/// One recovery on its way through the segments.
pub(super) struct Sweep<'a> {
    pub(super) partitions: &'a Partitions,
    pub(super) known: &'a Known<'a>,
    pub(super) flush: FlushHandle,
    /// Segment files in the directory: base offset to length.
    pub(super) files: BTreeMap<i64, u64>,
    pub(super) same_boot: bool,
    /// The page cache may lack what a failed sync dropped.
    pub(super) after_failure: bool,
    pub(super) segments: Vec<Arc<Segment>>,
    /// Segments whose bytes were verified by this sweep, to be synced.
    pub(super) verified: Vec<Arc<Segment>>,
    pub(super) epochs: Vec<(i32, i64)>,
    pub(super) epoch: i32,
    /// Where the next segment must begin; `None` before the first.
    pub(super) expected: Option<i64>,
    pub(super) cut_count: u32,
    pub(super) quarantined: Option<String>,
    /// Segments came in or went that no durable mark tells of yet: nobody is served before.
    pub(super) untold: bool,
}

impl Sweep<'_> {
    async fn run(&mut self) -> Result<Recovered, Error> {
        reached(if self.same_boot {
            Branch::RecoveredSameBoot
        } else {
            Branch::RecoveredOtherBoot
        });
        self.find_files().await?;
        if let Some(pending) = self.known.entry.pending_cut {
            reached(Branch::CutFinished);
            // The intent may be in the page cache only, and nothing goes by that (C5).
            self.partitions.dir.proven().await?;
            self.finish_cut(pending.to, pending.cut_count).await?;
        }
        let mut cut = None;
        for entry in self.entries() {
            cut = self.take(&entry).await?;
            if cut.is_some() {
                break;
            }
        }
        if cut.is_none() && self.quarantined.is_none() {
            cut = self.adopt().await?;
        }
        self.sync().await?;
        if let Some((to, why)) = cut {
            self.cut(to, &why).await?;
        }
        // What says that a file is no part of the log may be in the page cache only.
        self.partitions.dir.proven().await?;
        self.set_aside().await?;
        self.finish().await
    }

    /// The ledger's segments, those behind a pending cut left out.
    pub(super) fn entries(&self) -> Vec<SegmentEntry> {
        let entry = self.known.entry;
        let last = entry
            .pending_cut
            .map_or(i64::MAX, |cut| cut.to.segment.base_offset);
        entry
            .segments
            .iter()
            .filter(|known| known.id.base_offset <= last)
            .copied()
            .collect()
    }

    /// The durable mark, a pending cut applied.
    pub(super) fn flushed(&self) -> Option<Position> {
        let flushed = self.known.entry.flushed?;
        let cut = self.known.entry.pending_cut.map(|cut| cut.to);
        Some(cut.map_or(flushed, |to| flushed.min(to)))
    }

    fn settled(&self) -> Option<Position> {
        let settled = self.known.entry.settled?;
        let cut = self.known.entry.pending_cut.map(|cut| cut.to);
        Some(cut.map_or(settled, |to| settled.min(to)))
    }

    /// Lists the directory; one that was lost before anything in it was durable is made anew.
    async fn find_files(&mut self) -> Result<(), Error> {
        let path = self.known.path;
        let disk = &self.partitions.host.disk;
        let listed = match disk.list(path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let nothing = Position::default();
                if self.flushed().is_some_and(|mark| mark.bytes > 0)
                    || self
                        .settled()
                        .is_some_and(|mark| mark != nothing && mark.bytes > 0)
                {
                    reached(Branch::DirectoryMissing);
                    return Err(self.offline("its directory is missing"));
                }
                reached(Branch::DirectoryMadeAnew);
                disk.create_dir(path).map_err(Error::io("make", path))?;
                let text = partition_metadata::encode(self.known.incarnation.topic_id);
                let file = path.join(partition_metadata::FILE_NAME);
                super::overwrite(disk.as_ref(), &file, text.as_bytes())
                    .map_err(Error::io("write", &file))?;
                Vec::new()
            }
            result => result.map_err(Error::io("list", path))?,
        };
        self.files = listed
            .iter()
            .filter_map(|file| Some((names::parse(&file.name)?, file.len)))
            .filter(|((_, suffix), _)| *suffix == names::LOG)
            .map(|((base, _), len)| (base, len))
            .collect();
        Ok(())
    }

    /// Takes one segment of the ledger; where and why to cut if the log ends before its end.
    async fn take(&mut self, entry: &SegmentEntry) -> Result<Option<(Position, String)>, Error> {
        let base = entry.id.base_offset;
        let start = Position::start_of(entry.id);
        let settled = self.settled();
        if let Some(expected) = self.expected {
            // One that was cleaned, too, ends where the next begins (K2): what is missing behind it was
            // lost.
            if expected != base && !(entry.holes && expected < base) {
                let why = format!("the segment before {base} ends at {expected}");
                if self.flushed().is_some_and(|mark| mark > start) {
                    reached(Branch::ChainBrokenBelowMark);
                    self.quarantine_last(&why);
                } else {
                    reached(Branch::ChainBrokenAboveMark);
                    return Ok(self.end().map(|end| (end, why)));
                }
            }
        }
        let len = self.files.get(&base).copied();
        if settled.is_some_and(|settled| settled.segment.base_offset > base)
            && let Some(segment) =
                sealed_segment(self.known.path, self.partitions.dir.vouched(), entry)
            && len == Some(segment.end().bytes)
        {
            reached(Branch::SealedSegmentTrusted);
            self.expected = Some(segment.end().offset);
            self.segments.push(Arc::new(segment));
            return Ok(None);
        }
        if len.is_none() && self.flushed().is_some_and(|mark| mark > start) {
            reached(Branch::SegmentMissing);
            return Err(self.offline(&format!("segment {base} is missing")));
        }
        let from = settled
            .filter(|settled| settled.segment == entry.id)
            .filter(|settled| len.is_some_and(|len| len >= settled.bytes))
            .map_or(
                End {
                    bytes: 0,
                    offset: base,
                },
                |settled| End {
                    bytes: settled.bytes,
                    offset: settled.offset,
                },
            );
        let verified = self.verify(entry.id, entry.holes, from).await?;
        Ok(self.judge(entry, &verified)?.map(|why| {
            (
                Position {
                    segment: entry.id,
                    bytes: verified.end.bytes,
                    offset: verified.end.offset,
                },
                why,
            )
        }))
    }

    /// Verifies one segment from `from` and takes it into the list.
    pub(super) async fn verify(
        &mut self,
        id: SegmentId,
        holes: bool,
        from: End,
    ) -> Result<Verified, Error> {
        let path = self.known.path.clone();
        let vouched = self.partitions.dir.vouched();
        let segment = Segment::new(path.clone(), vouched, id, holes, Tail::new(from));
        let segment = Arc::new(segment);
        let log = segment.path(names::LOG);
        let disk = &self.partitions.host.disk;
        let file = disk
            .open(&log, OpenMode::Create)
            .map_err(Error::io("open", &log))?;
        segment.attach(file.clone());
        // Until it is synced: what is written again stays with the descriptor that wrote (S2).
        segment.pin(self.must_sync());
        self.partitions.handles.admit(&segment);
        if self.partitions.revive(&segment, None).await.is_err() {
            reached(Branch::FrontUnreadable);
            // The front is damaged below the settled mark; look-ups there will say so.
            segment.tail(|tail| *tail = Tail::new(from));
        }
        let mark = self
            .flushed()
            .filter(|mark| mark.segment == id)
            .map(|mark| mark.bytes);
        let check = Check {
            base: id.base_offset,
            holes,
            from,
            epoch: self.epoch,
            mark: mark.filter(|mark| *mark >= from.bytes),
            write_again: self.must_sync(),
        };
        let interval = self.known.settings.index_interval_bytes;
        let (epochs, seen_by) = (&mut self.epochs, segment.clone());
        let verified = verify(&file, &check, &mut |header| {
            seen_by.tail(|tail| tail.push(header, header.base_offset, interval));
            if epochs
                .last()
                .is_none_or(|last| last.0 < header.partition_leader_epoch)
            {
                epochs.push((header.partition_leader_epoch, header.base_offset));
            }
        })
        .await
        .map_err(Error::io("read", &log))?;
        if from.bytes == 0 {
            rebuild::write_fresh(disk.as_ref(), &segment)?;
        } else {
            segment
                .write_indexes(disk.as_ref(), true)
                .map_err(Error::io("write", &log))?;
        }
        self.epoch = verified.epoch;
        self.expected = Some(verified.end.offset);
        self.segments.push(segment.clone());
        self.verified.push(segment);
        Ok(verified)
    }

    /// What the end of a segment's proof means (R5): `Some(why)` when the log is to be cut there.
    fn judge(&mut self, entry: &SegmentEntry, found: &Verified) -> Result<Option<String>, Error> {
        let base = entry.id.base_offset;
        let at = Position {
            segment: entry.id,
            bytes: found.end.bytes,
            offset: found.end.offset,
        };
        let below_mark = self.flushed().is_some_and(|mark| {
            mark.segment.base_offset > base && found.stop != Stop::End
                || mark.segment.base_offset == base && mark.bytes > at.bytes
        });
        let why = match &found.stop {
            Stop::End if !below_mark => return Ok(None),
            Stop::End => "the file ends before its durable mark".to_owned(),
            Stop::Incomplete => "the last batch is incomplete".to_owned(),
            Stop::Zeros => "zeros up to the end of the file".to_owned(),
            Stop::Bad(what) => what.clone(),
        };
        if below_mark && !planted(Bug::CutBelowMark) {
            reached(Branch::QuarantinedBelowMark);
            self.quarantine_last(&why);
            return Ok(None);
        }
        let later = self
            .files
            .iter()
            .any(|(other, len)| *other > base && *len > 0);
        let last_write = matches!(found.stop, Stop::Incomplete | Stop::Zeros) && !later;
        if self.same_boot && !last_write && !self.after_failure {
            reached(Branch::DamagedWithoutReboot);
            return Err(self.offline(&format!(
                "segment {base} is damaged at byte {} though the machine did not restart: {why}",
                at.bytes
            )));
        }
        reached(match &found.stop {
            _ if self.same_boot && last_write => Branch::CutIncompleteWrite,
            _ if self.same_boot => Branch::CutAfterFailure,
            Stop::Zeros => Branch::CutZeros,
            Stop::Bad(_) => Branch::CutBadBatch,
            Stop::End | Stop::Incomplete => Branch::CutIncompleteBatch,
        });
        Ok(Some(why))
    }

    /// Takes segments that the process made and whose marks were still on their way when it was
    /// killed: they hold records acknowledged as written. Only where no older file can stand in
    /// that place: on the same boot, behind a clean close, which synced every name, or in a
    /// directory that the ledger did not know, where nothing was ever removed.
    async fn adopt(&mut self) -> Result<Option<(Position, String)>, Error> {
        let safe = self.same_boot || self.is_taken_in() || self.known.entry.close.is_some();
        let last = self.entries().last().map(|entry| entry.id.base_offset);
        while let Some(base) = self.expected.filter(|base| {
            safe && self.files.contains_key(base) && last.is_none_or(|last| last < *base)
        }) {
            let id = SegmentId {
                base_offset: base,
                generation: self.cut_count,
            };
            let topic = self.known.entry.topic.clone();
            let found = self
                .verify(
                    id,
                    false,
                    End {
                        bytes: 0,
                        offset: base,
                    },
                )
                .await?;
            self.flush.mark(Mark::Segment {
                id,
                topic,
                holes: false,
            });
            reached(Branch::SegmentAdopted);
            self.untold = true;
            let why = match found.stop {
                Stop::End if found.end.bytes == 0 => return Ok(None),
                Stop::End => continue,
                Stop::Incomplete | Stop::Zeros => "the last batch is incomplete".to_owned(),
                Stop::Bad(what) if self.same_boot && !self.after_failure => {
                    return Err(self.offline(&format!("segment {base} is damaged: {what}")));
                }
                Stop::Bad(what) => what,
            };
            reached(Branch::AdoptedSegmentCut);
            return Ok(Some((position(id, found.end), why)));
        }
        Ok(None)
    }

    /// Whether it is a directory that the ledger did not know.
    pub(super) fn is_taken_in(&self) -> bool {
        self.known.entry.since_generation == UNKNOWN_GENERATION
    }

    /// Whether the disk must hold what is verified. After a kill a page-cache topic counts on the
    /// cache (A3); after a power cut what is left is proven once and the debt is paid.
    pub(super) fn must_sync(&self) -> bool {
        let modes = [self.known.entry.mode, self.known.settings.durability];
        // What a failed sync left in the cache counts as clean there, and may be nowhere else.
        let trusted = self.same_boot && !self.after_failure;
        !trusted || modes.contains(&Durability::Fsync)
    }

    pub(super) fn end(&self) -> Option<Position> {
        self.segments
            .last()
            .map(|segment| position(segment.id(), segment.end()))
    }

    fn quarantine_last(&mut self, why: &str) {
        let Some(segment) = self.segments.last() else {
            return;
        };
        segment.quarantine();
        let what = format!(
            "segment {} is damaged at byte {}: {why}",
            segment.base(),
            segment.end().bytes
        );
        tracing::error!(partition = %self.name(), %what, "records below the durable end are damaged");
        self.quarantined.get_or_insert(what);
    }

    fn offline(&self, reason: &str) -> Error {
        Error::PartitionOffline {
            partition: self.name(),
            reason: reason.to_owned(),
        }
    }

    pub(super) fn name(&self) -> String {
        format!(
            "{}-{}",
            self.known.entry.topic, self.known.incarnation.partition
        )
    }
}
