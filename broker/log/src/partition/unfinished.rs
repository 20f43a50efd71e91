//! What cleaning left half-way, at an opening (`durability.md` K3).
//!
//! What always holds: a replacement whose mark is found is finished, whatever names it had reached,
//! and nothing is changed by a mark that may be in the page cache only; what no mark tells of was
//! never part of the log and goes.

use millrace_host::DirEntry;
use millrace_probe::{Branch, Bug, planted, reached};

use super::Partitions;
use super::known::Known;
use super::replace::Names;
use crate::error::Error;
use crate::ledger::{LedgerEntry, SegmentEntry};
use crate::mark::Mark;
use crate::segment::names;

impl Partitions {
    /// Finishes replacements and removes what cleaning or a replacement left. Gives the marks that
    /// say so, for the log's own way to durability, and the names that stood there before; none
    /// where the directory is missing, of which recovery says whether that is a loss.
    pub(super) async fn finish_replacements(
        &self,
        known: &Known<'_>,
    ) -> Result<(Vec<Mark>, Vec<DirEntry>), Error> {
        let listed = match self.host.disk.list(known.path).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            result => result.map_err(Error::io("list", known.path))?,
        };
        let mut marks = Vec::new();
        for (at, segment) in known.entry.segments.iter().enumerate() {
            if segment.swapping || takes_what_no_mark_names(segment, &listed) {
                self.finish_replacement(known, at, &listed).await?;
                marks.extend(segment.cleaned.map(|upto| Mark::Cleaned {
                    segment: segment.id,
                    upto,
                }));
            }
        }
        self.sweep_cleaned(known, &listed).await?;
        Ok((marks, listed))
    }

    async fn finish_replacement(
        &self,
        known: &Known<'_>,
        at: usize,
        listed: &[DirEntry],
    ) -> Result<(), Error> {
        reached(Branch::ReplacementFinished);
        // The mark may be in the page cache only, and nothing goes by that (C5).
        self.dir.proven().await?;
        let segment = &known.entry.segments[at];
        let base = segment.id.base_offset;
        if segment.swapping {
            check_whole(known.entry, segment, listed)?;
        }
        let names = Names {
            disk: self.host.disk.as_ref(),
            path: known.path,
        };
        // Where a kill left both, the later names are as good: nothing was written in between.
        names.turn(base, names::CLEANED, "").await?;
        names.turn(base, names::SWAP, "").await?;
        let synced = names.disk.sync_dir(names.path).await;
        self.dir.synced(names.path, synced)?;
        let next = known.entry.segments.get(at + 1);
        let next = next.map_or(base, |next| next.id.base_offset);
        let replaced = |file: &&DirEntry| {
            names::parse(&file.name).is_some_and(|(other, suffix)| {
                base < other && other < next && names::OF_SEGMENT.contains(&suffix)
            })
        };
        for file in listed.iter().filter(replaced) {
            let path = known.path.join(&file.name);
            let removed = names.disk.remove(&path).await;
            removed.map_err(Error::io("remove", &path))?;
        }
        let synced = names.disk.sync_dir(names.path).await;
        self.dir.synced(names.path, synced)
    }

    /// Removes files that are no part of the log: half made, or replaced.
    async fn sweep_cleaned(&self, known: &Known<'_>, listed: &[DirEntry]) -> Result<(), Error> {
        let is_swapping = |base: i64| {
            let mut segments = known.entry.segments.iter();
            segments.any(|segment| segment.swapping && segment.id.base_offset == base)
        };
        let is_left = |file: &&DirEntry| {
            names::parse(&file.name).is_some_and(|(base, suffix)| {
                let is_new = suffix.ends_with(names::CLEANED) || suffix.ends_with(names::SWAP);
                suffix.ends_with(names::DELETED) || (is_new && !is_swapping(base))
            })
        };
        for file in listed.iter().filter(is_left) {
            // What says that they are no part of it may be in the page cache only.
            self.dir.proven().await?;
            reached(Branch::CleanedSwept);
            if let Err(error) = self.host.disk.remove(&known.path.join(&file.name)).await {
                tracing::debug!(file = file.name, %error, "a file of no use stays");
            }
        }
        Ok(())
    }
}

/// A bug to be planted: what was half made is taken for whole.
fn takes_what_no_mark_names(segment: &SegmentEntry, listed: &[DirEntry]) -> bool {
    let suffix = format!("{}{}", names::LOG, names::CLEANED);
    planted(Bug::HalfCleanedTaken)
        && listed
            .iter()
            .any(|file| names::parse(&file.name) == Some((segment.id.base_offset, suffix.as_str())))
}

/// The new file, where it hasn't its name yet, has the length that the mark tells.
fn check_whole(
    entry: &LedgerEntry,
    segment: &SegmentEntry,
    listed: &[DirEntry],
) -> Result<(), Error> {
    let base = segment.id.base_offset;
    let bytes = segment.sealed.map(|sealed| sealed.bytes);
    for end in [names::CLEANED, names::SWAP] {
        let suffix = format!("{}{end}", names::LOG);
        let found = listed
            .iter()
            .find(|file| names::parse(&file.name) == Some((base, suffix.as_str())));
        if let Some(found) = found.filter(|found| bytes.is_some_and(|bytes| bytes != found.len)) {
            return Err(Error::PartitionOffline {
                partition: entry.topic.to_string(),
                reason: format!(
                    "{} has {} bytes and not {}, as its mark says",
                    found.name,
                    found.len,
                    bytes.unwrap_or_default()
                ),
            });
        }
    }
    Ok(())
}
